/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * observe_socket: a process looked at from outside: its socket, npsteer conns, fibers, dump and
 * top, and a dump that a signal handler asks for
 */
#include <errno.h>
#include <fcntl.h>
#include <netpoll/observe.h>
#include <netpoll/server.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "support/child.h"
#include "support/json.h"
#include "support/log.h"
#include "support/peer.h"
#include "support/test.h"
#include "support/tool.h"

static struct np_pollers *set;
static _Atomic(int) begun, may_go;
static char *dir;
static char path[96];

static struct np_pollers *observed(const char *at)
{
	struct np_pollers *p;

	ck_assert_int_eq(np_pollers_start(NP_OPTS(np_pollers_opts, .count = 2, .pin = NP_OFF,
						  .observe = at, .log = keep_log),
					  &p),
			 0);
	return p;
}

static void unobserved(struct np_pollers **p)
{
	ck_assert_int_eq(np_pollers_stop(*p, AWAIT_MS), 0);
	ck_assert_int_eq(np_pollers_free(p), 0);
}

static void setup(void)
{
	tool_setup();
	dir = temp_dir();
	snprintf(path, sizeof path, "%s/observe", dir);
}

static void teardown(void)
{
	remove_tree(&dir);
	tool_teardown();
}

/* The answer of npsteer with VERB and the path behind it. */
static char *asked(const char *verb)
{
	char words[160];
	struct ran r;
	char *out;

	snprintf(words, sizeof words, "%s %s", verb, path);
	npsteer(&r, words);
	ck_assert_msg(r.code == 0, "npsteer %s: %d: %s%s", words, r.code, r.out, r.err);
	out = strdup(r.out);
	ran_free(&r);
	return out;
}

static bool asked_shows(const char *verb, const char *what)
{
	char *out = asked(verb);
	bool there = strstr(out, what);

	ck_assert_msg(!strstr(verb, "-j") || json_valid(out), "%s", out);
	free(out);
	return there;
}

static int connected(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
	if (connect(fd, (struct sockaddr *)&un, sizeof un) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* ------------------------------------------------------------------ what npsteer shows */

static int sleep_long(void *arg)
{
	begun++;
	return np_sleep(60000);
}

static int keep_the_thread(void *arg)
{
	begun++;
	while (!may_go)
		test_pause();
	return 0;
}

START_TEST(npsteer_shows_what_a_process_does)
{
	struct np_task *t;
	char *out;

	set = observed(path);
	ck_assert_int_eq(np_go(set, 1, sleep_long, NULL, &t), 0);
	AWAIT(begun);

	AWAIT(asked_shows("-j fibers", "\"waits\":\"sleep\""));
	ck_assert(asked_shows("fibers", "sleep"));
	ck_assert(asked_shows("-p fibers", "\"waits\": \"sleep\""));
	ck_assert(asked_shows("-j conns", "\"conns\":[]"));
	ck_assert(asked_shows("dump", "offload:"));
	out = asked("-p dump");
	ck_assert(json_valid(out));
	free(out);
	np_task_cancel(t);
	np_join(&t, NULL);
	unobserved(&set);
}
END_TEST

START_TEST(top_says_what_came_in_a_second)
{
	set = observed(path);
	ck_assert(asked_shows("-j -w 0.05 -n 1 top", "\"turns_per_second\":"));
	ck_assert(asked_shows("-w 0.05 -n 1 top", "turns/s"));
	unobserved(&set);
}
END_TEST

START_TEST(a_poller_that_is_stuck_is_shown_as_that)
{
	struct np_task *t;

	set = observed(path);
	ck_assert_int_eq(np_go(set, 1, keep_the_thread, NULL, &t), 0);
	AWAIT(begun);
	ck_assert(asked_shows("-j dump", "\"state\":\"stuck\""));
	may_go = 1;
	np_join(&t, NULL);
	unobserved(&set);
}
END_TEST

START_TEST(a_process_is_found_by_its_number)
{
	char words[64];

	NEEDS_RIGHTS();
	set = observed("");
	snprintf(words, sizeof words, "-j conns %d", (int)getpid());
	free(answer(words));
	snprintf(words, sizeof words, "-j -n 1 -w 0.05 top %d", (int)getpid());
	free(answer(words));
	snprintf(words, sizeof words, "conns %d", (int)getpid());
	unobserved(&set);
	fails_with(ABSENT, "np_pollers_opts.observe", words);
	must_sh("test -z \"$(ls -A /run/netpoll)\""); /* nothing stays */
}
END_TEST

static void observed_until_killed(int sock, void *arg)
{
	set = observed("");
	child_say(sock, 'y');
	child_hear(sock);
}

/* One that is bound there, and listens or not. */
static int socket_at(const char *at, bool listens)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(un.sun_path, sizeof un.sun_path, "%s", at);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
	if (listens)
		ck_assert_int_eq(listen(fd, 1), 0);
	return fd;
}

/* Beside what is this process's own. */
static void expect_there(const char *names)
{
	struct ran r;

	sh(&r, "ls -A /run/netpoll | grep -v '^%d[.]' | tr '\\n' ' '", (int)getpid());
	ck_assert_str_eq(r.out, names);
	ran_free(&r);
}

/* @arg: whose it is to be; 0 then. */
static void count_swept(void *arg, const char *at)
{
	char expected[64];
	pid_t *pid = arg;

	snprintf(expected, sizeof expected, "/run/netpoll/%d.sock", *pid);
	ck_assert_str_eq(at, expected);
	*pid = 0;
}

/* Process 1 lives; nobody has the number 999999999: neither says anything. */
START_TEST(what_killed_processes_left_is_taken_away_and_nothing_else)
{
	char part[64];
	struct child c;
	struct ran r;
	int fd, pid;

	NEEDS_RIGHTS();
	child_start(&c, observed_until_killed, NULL);
	ck_assert_int_eq(child_hear(c.sock), 'y');
	child_kill(&c);
	close(socket_at("/run/netpoll/1.sock", false));
	fd = socket_at("/run/netpoll/999999999.sock", true);
	close(socket_at("/run/netpoll/web.sock", false));
	must_sh("touch /run/netpoll/2.sock /run/netpoll/3.sock.lock");
	snprintf(part, sizeof part, "/run/netpoll/%d.sock of a process that has ended\n", c.pid);
	for (int look = 1; look >= 0; look--) {
		npsteer(&r, look ? "gc --all --dry-run" : "gc --all");
		ck_assert_int_eq(r.code, DONE);
		must_have(r.out, part);
		must_have(r.out, "/run/netpoll/1.sock of");
		must_have(r.out, "/run/netpoll/3.sock of");
		ck_assert_ptr_null(strstr(strstr(r.out, part) + 1, part));
		ran_free(&r);
	}
	expect_there("2.sock 999999999.sock web.sock ");
	must_have(answer("gc --all"), "\"services\":[],\"sockets\":[]}");

	child_start(&c, observed_until_killed, NULL); /* by a program */
	ck_assert_int_eq(child_hear(c.sock), 'y');
	ck_assert_int_eq(np_observe_sweep(count_swept, &c.pid), 0); /* it lives */
	child_kill(&c);
	pid = c.pid;
	ck_assert_int_eq(np_observe_sweep_look(count_swept, &c.pid), 1);
	ck_assert_int_eq(c.pid, 0);
	c.pid = pid;
	ck_assert_int_eq(np_observe_sweep(count_swept, &c.pid), 1);
	ck_assert_int_eq(c.pid, 0);
	ck_assert_int_eq(np_observe_sweep(NULL, NULL), 0);

	child_start(&c, observed_until_killed, NULL); /* and so where nobody asks for it */
	ck_assert_int_eq(child_hear(c.sock), 'y');
	child_kill(&c);
	set = observed("");
	expect_there("2.sock 999999999.sock web.sock ");
	unobserved(&set);
	expect_there("2.sock 999999999.sock web.sock ");
	close(fd);
}
END_TEST

START_TEST(words_that_are_no_process_are_refused)
{
	fails_with(MISUSED, "which process", "conns");
	fails_with(MISUSED, "no process number", "conns web");
	fails_with(ABSENT, "no socket", "fibers /nowhere/at/all");
}
END_TEST

/* ------------------------------------------------------------------ who may ask */

START_TEST(another_user_is_denied)
{
	char words[160];
	struct ran r;
	struct stat st;

	NEEDS_RIGHTS();
	set = observed(path);
	ck_assert_int_eq(lstat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_assert_int_eq(chmod(dir, 0755), 0);
	snprintf(words, sizeof words, "conns %s", path);
	npsteer_as(&r, 1234, words);
	ck_assert_int_eq(r.code, DENIED);
	ran_free(&r);
	/* not even where the file lets it in: it is the user that counts */
	ck_assert_int_eq(chmod(path, 0666), 0);
	npsteer_as(&r, 1234, words);
	ck_assert_int_ne(r.code, DONE);
	ran_free(&r);
	unobserved(&set);
}
END_TEST

START_TEST(what_it_is_asked_is_a_known_word_in_one_line)
{
	static const char *const bad[] = { "conns\n", "conns xml\n", "\n", "? text\n",
					   "conns text text" };
	char text[64];

	set = observed(path);
	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		int fd = connected();
		ssize_t n;

		peer_send(fd, bad[i], strlen(bad[i]));
		shutdown(fd, SHUT_WR);
		n = recv(fd, text, sizeof text, 0);
		ck_assert_msg(n <= 0 || !strncmp(text, "error ", 6), "%u: %.*s", i, (int)n, text);
		close(fd);
	}
	ck_assert(asked_shows("-j conns", "\"conns\":[]"));
	unobserved(&set);
}
END_TEST

START_TEST(one_that_asks_nothing_holds_up_no_stop)
{
	int fds[4];

	set = observed(path);
	for (int i = 0; i < 4; i++)
		fds[i] = connected();
	unobserved(&set);
	for (int i = 0; i < 4; i++)
		close(fds[i]);
	ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

/* ------------------------------------------------------------------ those that hold on */

#define ASKERS 16 /* so many are served at once */

static void connect_silent(int *fds, int n)
{
	for (int i = 0; i < n; i++) {
		fds[i] = connected();
		ck_assert_int_ge(fds[i], 0);
	}
}

static void close_all(int *fds, int n)
{
	for (int i = 0; i < n; i++)
		close(fds[i]);
}

static const int crowds[] = { 1, ASKERS - 1, ASKERS, ASKERS + 1, 4 * ASKERS };

START_TEST(those_that_say_nothing_keep_nobody_from_an_answer)
{
	int fds[4 * ASKERS], before, n = crowds[_i];

	set = observed(path);
	before = open_fds();
	connect_silent(fds, n);
	ck_assert(asked_shows("-j conns", "\"conns\":[]"));
	close_all(fds, n);
	AWAIT(open_fds() == before);
	unobserved(&set);
}
END_TEST

/* Its question has a time for the whole, which a byte now and then does not stretch. */
START_TEST(one_that_drips_is_ended)
{
	int fd;

	set = observed(path);
	fd = connected();
	AWAIT(send(fd, "c", 1, MSG_NOSIGNAL) < 0);
	close(fd);
	unobserved(&set);
}
END_TEST

START_TEST(a_new_one_gets_the_place_of_the_one_that_was_silent_for_longest)
{
	int fds[ASKERS + 1];
	char answer[3];

	set = observed(path);
	connect_silent(fds, ASKERS);
	peer_send(fds[0], "conns", 5); /* a part is nothing yet */
	fds[ASKERS] = connected();
	ck_assert_int_eq(recv(fds[0], answer, 1, 0), 0);
	peer_send(fds[1], "conns text\n", 11);
	peer_recv(fds[1], answer, 3);
	ck_assert_mem_eq(answer, "ok\n", 3);
	close_all(fds, ASKERS + 1);
	unobserved(&set);
}
END_TEST

static void given_a_long_answer(struct np_task **tasks, int n)
{
	for (int i = 0; i < n; i++)
		ck_assert_int_eq(np_go(set, i % 2, sleep_long, NULL, &tasks[i]), 0);
	AWAIT(begun == n);
}

/* More of an answer than a socket holds. */
START_TEST(those_that_take_nothing_of_their_answers_keep_nobody_from_one)
{
	static const char question[] = "fibers json\n";
	enum { TASKS = 4000, PEERS = ASKERS + 1 };
	static struct np_task *tasks[TASKS];
	int fds[PEERS];
	char c;

	set = observed(path);
	given_a_long_answer(tasks, TASKS);
	for (int i = 0; i < PEERS; i++) {
		connect_silent(&fds[i], 1);
		peer_send(fds[i], question, sizeof question - 1);
		await_fd(fds[i], POLLIN);
		peer_recv(fds[i], &c, 1);
	}
	ck_assert(asked_shows("-j conns", "\"conns\":[]"));
	for (int i = 0; i < TASKS; i++) {
		np_task_cancel(tasks[i]);
		np_join(&tasks[i], NULL);
	}
	unobserved(&set); /* and they hold up no stop */
	close_all(fds, PEERS);
}
END_TEST

/* ------------------------------------------------------------------ whose the file is */

static void observed_until_told(int sock, void *arg)
{
	set = observed(path);
	child_say(sock, in_log("cannot look") ? 'n' : 'y');
	child_hear(sock);
	unobserved(&set);
}

START_TEST(the_socket_of_a_process_that_died_is_replaced)
{
	struct child c;

	child_start(&c, observed_until_told, NULL);
	ck_assert_int_eq(child_hear(c.sock), 'y');
	child_kill(&c);
	ck_assert_int_eq(access(path, F_OK), 0);
	set = observed(path);
	ck_assert_uint_eq(in_log("cannot look"), 0);
	ck_assert(asked_shows("-j conns", "\"conns\":[]"));
	unobserved(&set);
}
END_TEST

START_TEST(that_of_one_that_lives_is_left_alone)
{
	struct child c;

	child_start(&c, observed_until_told, NULL);
	ck_assert_int_eq(child_hear(c.sock), 'y');
	set = observed(path);
	ck_assert_uint_eq(in_log("Address already in use"), 1);
	ck_assert(asked_shows("-j conns", "\"conns\":[]"));
	unobserved(&set);
	ck_assert(asked_shows("-j conns", "\"conns\":[]"));
	child_say(c.sock, 'g');
	child_join(&c);
}
END_TEST

START_TEST(what_is_no_socket_is_left_alone_and_the_log_says_so)
{
	struct stat st;

	must_sh("printf mine > %s", path);
	set = observed(path);
	ck_assert_uint_eq(in_log("np_pollers_opts.observe names another place"), 1);
	unobserved(&set);
	ck_assert_int_eq(lstat(path, &st), 0);
	ck_assert_int_eq(st.st_size, 4);
}
END_TEST

START_TEST(several_sets_have_one_socket_and_are_all_seen_there)
{
	struct np_pollers *other;
	char *out;

	set = observed(path);
	other = observed("/nowhere/at/all"); /* the first one's is the process's */
	ck_assert_uint_eq(in_log("cannot look"), 0);
	unobserved(&set);
	out = asked("-j dump");
	ck_assert_ptr_nonnull(strstr(out, "\"poller\":1"));
	free(out);
	unobserved(&other);
	ck_assert_int_eq(connected(), -1);
}
END_TEST

/* ------------------------------------------------------------------ by a signal */

static void on_signal(int sig)
{
	int was = errno = E2BIG;

	if (np_dump_request() < 0 || errno != was)
		_exit(9);
}

/* What comes until nothing does; cut at @cap. */
static size_t read_dump(int fd, char *dst, size_t cap)
{
	size_t n = 0;

	do {
		await_fd(fd, POLLIN);
		n += (size_t)read(fd, dst + n, cap - n - 1);
		dst[n] = '\0';
	} while (!strstr(dst, "offload:") || dst[n - 1] != '\n');
	return n;
}

START_TEST(a_signal_handler_may_ask_for_a_dump)
{
	char text[8192];
	int fds[2];

	ck_assert_int_eq(np_dump_request(), -ENOENT);
	ck_assert_int_eq(pipe(fds), 0);
	signal(SIGUSR1, on_signal);
	ck_assert_int_eq(np_dump_prepare(fds[1], NP_DUMP_TEXT), 0);
	set = observed(NULL);

	raise(SIGUSR1);
	read_dump(fds[0], text, sizeof text);
	must_have(text, "answers");
	ck_assert_int_eq(np_dump_prepare(-1, 0), 0);
	ck_assert_int_eq(np_dump_request(), -ENOENT);
	unobserved(&set);
	AWAIT(np_threads() == 0);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(a_dump_that_was_prepared_and_a_socket_share_a_thread)
{
	char text[8192];
	int fds[2], before = open_fds();

	ck_assert_int_eq(pipe(fds), 0);
	set = observed(path);
	ck_assert_int_eq(np_dump_prepare(fds[1], NP_DUMP_TEXT), 0);
	ck_assert_int_eq(np_dump_request(), 0);
	read_dump(fds[0], text, sizeof text);
	ck_assert(asked_shows("-j conns", "\"conns\":[]"));
	unobserved(&set);
	ck_assert_int_eq(np_dump_request(), 0);
	read_dump(fds[0], text, sizeof text);
	ck_assert_int_eq(np_dump_prepare(-1, 0), 0);
	close(fds[0]);
	close(fds[1]);
	ck_assert_int_eq(open_fds(), before);
	ck_assert_int_eq(np_dump_prepare(0, 7), -EINVAL);
	ck_assert_int_eq(np_dump_prepare(-2, 0), -EINVAL);
}
END_TEST

/*
 * Whether a dump that is under way when none is prepared any more has come. A poller that is kept
 * makes it take half a second; where its thread has not begun by then, there is none.
 */
static bool comes_though_it_is_the_last(const int fds[2])
{
	struct pollfd pfd = { .fd = fds[0], .events = POLLIN };
	char text[8192];

	ck_assert_int_eq(np_dump_prepare(fds[1], NP_DUMP_TEXT), 0);
	ck_assert_int_eq(np_dump_request(), 0);
	poll(NULL, 0, 100);
	ck_assert_int_eq(np_dump_prepare(-1, 0), 0);
	if (poll(&pfd, 1, 0) != 1)
		return false;
	read_dump(fds[0], text, sizeof text);
	must_have(text, "stuck");
	return true;
}

START_TEST(a_dump_under_way_is_written_though_no_other_is_to_come)
{
	bool came = false;
	int fds[2];

	ck_assert_int_eq(pipe(fds), 0);
	set = observed(NULL);
	ck_assert_int_eq(np_go(set, 1, keep_the_thread, NULL, NULL), 0);
	AWAIT(begun);
	for (int tries = 0; tries < 3 && !came; tries++)
		came = comes_though_it_is_the_last(fds);
	may_go = 1;
	ck_assert(came);
	unobserved(&set);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "socket");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, npsteer_shows_what_a_process_does);
	tcase_add_test(t, top_says_what_came_in_a_second);
	tcase_add_test(t, a_poller_that_is_stuck_is_shown_as_that);
	tcase_add_test(t, a_process_is_found_by_its_number);
	tcase_add_test(t, what_killed_processes_left_is_taken_away_and_nothing_else);
	tcase_add_test(t, words_that_are_no_process_are_refused);
	tcase_add_test(t, another_user_is_denied);
	tcase_add_test(t, what_it_is_asked_is_a_known_word_in_one_line);
	tcase_add_test(t, one_that_asks_nothing_holds_up_no_stop);
	tcase_add_loop_test(t, those_that_say_nothing_keep_nobody_from_an_answer, 0,
			    sizeof crowds / sizeof crowds[0]);
	tcase_add_test(t, one_that_drips_is_ended);
	tcase_add_test(t, a_new_one_gets_the_place_of_the_one_that_was_silent_for_longest);
	tcase_add_test(t, those_that_take_nothing_of_their_answers_keep_nobody_from_one);
	tcase_add_test(t, the_socket_of_a_process_that_died_is_replaced);
	tcase_add_test(t, that_of_one_that_lives_is_left_alone);
	tcase_add_test(t, what_is_no_socket_is_left_alone_and_the_log_says_so);
	tcase_add_test(t, several_sets_have_one_socket_and_are_all_seen_there);
	tcase_add_test(t, a_signal_handler_may_ask_for_a_dump);
	tcase_add_test(t, a_dump_that_was_prepared_and_a_socket_share_a_thread);
	tcase_add_test(t, a_dump_under_way_is_written_though_no_other_is_to_come);
}

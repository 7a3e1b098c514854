/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * npsteer_run: copies of programs that know nothing of each other, behind one port
 *
 * A static program of this test's own, which dies of SIGTERM where it stands, and those of others
 * where they are installed.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/json.h"
#include "support/reaper.h"
#include "support/test.h"
#include "support/tool.h"

#define PORT 7495

/* Blocks in accept(2); each answer takes it a millisecond, and ends with its process number. */
static const char server[] =
	"#include <netinet/in.h>\n#include <stdio.h>\n#include <stdlib.h>\n"
	"#include <sys/socket.h>\n#include <unistd.h>\n"
	"int main(int n, char **v)\n{\n"
	"	struct sockaddr_in in = { .sin_family = AF_INET,\n"
	"		.sin_port = htons(atoi(v[1])), .sin_addr.s_addr = htonl(0x7f000001) };\n"
	"	int one = 1, l = socket(AF_INET, SOCK_STREAM, 0), c;\n	char text[32];\n"
	"	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);\n"
	"	if (bind(l, (struct sockaddr *)&in, sizeof in) || listen(l, 512)) {\n"
	"		perror(v[0]);\n		return 1;\n	}\n"
	"	while ((c = accept(l, 0, 0)) >= 0) {\n"
	"		if (read(c, text, 1) == 1) {\n"
	"			usleep(1000);\n"
	"			write(c, text, sprintf(text, \"%d\\n\", getpid()));\n		}\n"
	"		close(c);\n	}\n}\n";

static bool given_program(bool is_static)
{
	struct ran r;
	bool yes;

	must_sh("cat > '%s/server.c' << 'E'\n%sE\n", tool_dir, server);
	sh(&r, "cc -w %1$s -o '%2$s/server' '%2$s/server.c'", is_static ? "-static" : "", tool_dir);
	yes = r.code == 0;
	ran_free(&r);
	return yes;
}

#define NEEDS_PROGRAM(is_static)                               \
	do {                                                   \
		NEEDS_RIGHTS();                                \
		if (!given_program(is_static))                 \
			SKIP("no compiler makes the program"); \
	} while (0)

/* ------------------------------------------------------------------ the tool while it runs */

struct tool {
	struct reaper reaper; /* the copies outlive a tool that is killed */
	char log[300];
};

static void tool_execute(void *line)
{
	execl("/bin/sh", "sh", "-c", line, NULL);
}

static void tool_start(struct tool *t, const char *words)
{
	char line[1024];

	snprintf(t->log, sizeof t->log, "%s/log", tool_dir);
	snprintf(line, sizeof line, "exec '%s/npsteer' %s >> '%s' 2>&1", tool_dir, words, t->log);
	reaper_start(&t->reaper, tool_execute, line);
}

static unsigned logged(const struct tool *t, const char *part)
{
	unsigned n = 0;
	char line[1024];
	FILE *f = fopen(t->log, "re");

	while (f && fgets(line, sizeof line, f))
		n += strstr(line, part) != NULL;
	if (f)
		fclose(f);
	return n;
}

static bool ended(const struct tool *t)
{
	return poll(&(struct pollfd){ .fd = t->reaper.told, .events = POLLIN }, 1, 0) == 1;
}

static void show(const struct tool *t)
{
	struct ran r;

	sh(&r, "cat '%s'", t->log);
	fprintf(stderr, "%s", r.out);
	ran_free(&r);
}

/* Until it has said so @times. */
static void await_log(const struct tool *t, const char *part, unsigned times)
{
	uint64_t end = now_ms() + 3 * AWAIT_MS;

	while (logged(t, part) < times) {
		if (ended(t) || now_ms() > end) {
			show(t);
			ck_abort_msg("it never said %u times: %s", times, part);
		}
		test_pause();
	}
}

static int tool_wait(struct tool *t)
{
	int status;

	AWAIT(ended(t));
	status = reaper_join(&t->reaper);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool is_copy(const char *pid)
{
	char path[64], exe[300], is[300];
	ssize_t len;

	snprintf(exe, sizeof exe, "%s/server", tool_dir);
	snprintf(path, sizeof path, "/proc/%.20s/exe", pid);
	len = readlink(path, is, sizeof is - 1);
	is[len > 0 ? len : 0] = '\0';
	return !strcmp(is, exe);
}

/*
 * SIGKILL to each process that runs this test's program, and none of them is there any more: one
 * that is about to die may accept. How many.
 */
static unsigned kill_copies(void)
{
	pid_t killed[16];
	unsigned n = 0;
	struct dirent *e;
	DIR *d = opendir("/proc");

	while ((e = readdir(d)))
		if (n < 16 && is_copy(e->d_name)) {
			killed[n] = (pid_t)atol(e->d_name);
			n += kill(killed[n], SIGKILL) == 0;
		}
	closedir(d);
	for (unsigned i = 0; i < n; i++)
		AWAIT(kill(killed[i], 0) < 0);
	return n;
}

/*
 * Its cgroup, and processes of this network namespace that hold a program of cgroup/bind (18) or
 * the link of one: without them it is gone, for it has no pin.
 */
static void look_for_left(struct ran *r, const struct tool *t)
{
	sh(r,
	   "find /sys/fs/cgroup -name 'npsteer-run.%d'\n"
	   "for p in /proc/[0-9]*; do\n"
	   "	[ $p/ns/net -ef /proc/self/ns/net ] || continue\n"
	   "	grep -lsE '^(link_type:\\s*cgroup|prog_type:\\s*18)$' $p/fdinfo/* || :\n"
	   "done 2>/dev/null",
	   (int)t->reaper.command);
}

/* No cgroup, no program attached in one, no process, no worker. */
static void expect_nothing_left(const struct tool *t)
{
	struct ran r;
	char *json;

	look_for_left(&r, t);
	ck_assert_str_eq(r.out, "");
	ran_free(&r);
	json = answer("status web");
	ck_assert_msg(strstr(json, "\"workers\":[]") != NULL, "%s", json);
	free(json);
}

static void end(struct tool *t)
{
	kill(t->reaper.command, SIGTERM);
	if (tool_wait(t) != DONE)
		show(t);
	expect_nothing_left(t);
	must("unload web");
}

/* ------------------------------------------------------------------ clients */

/* The process that answers; -errno. */
static int ask(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_port = htons(PORT),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct timeval deadline = { .tv_sec = AWAIT_MS / 1000 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), r = 0;
	char text[64] = "";
	ssize_t n;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline);
	if (connect(fd, (struct sockaddr *)&in, sizeof in) < 0 ||
	    send(fd, "x", 1, MSG_NOSIGNAL) < 0)
		r = -errno;
	n = r < 0 ? 0 : recv(fd, text, sizeof text - 1, MSG_WAITALL);
	if (n < 0)
		r = -errno;
	close(fd);
	return r < 0 ? r : n == 0 ? -EPROTO : atoi(text);
}

/* Answers by their process, for as long as it takes. */
static unsigned count_copies(unsigned ask_times)
{
	int seen[16];
	unsigned n = 0, k;

	while (ask_times--) {
		int pid = ask();

		ck_assert_msg(pid > 0, "%s", strerror(-pid));
		for (k = 0; k < n && seen[k] != pid; k++)
			;
		if (k == n && n < 16)
			seen[n++] = pid;
	}
	return n;
}

struct load {
	_Atomic(bool) end;
	_Atomic(unsigned) asked, lost;
	_Atomic(int) error;
	pthread_t thread[3];
};

static void *load_run(void *arg)
{
	struct load *l = arg;

	while (!l->end) {
		int r = ask();

		l->asked++;
		if (r <= 0) {
			l->lost++;
			l->error = r;
		}
	}
	return NULL;
}

static void load_start(struct load *l)
{
	memset(l, 0, sizeof *l);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_create(&l->thread[i], NULL, load_run, l), 0);
}

static void load_end(struct load *l, const char *what)
{
	l->end = true;
	for (unsigned i = 0; i < 3; i++)
		pthread_join(l->thread[i], NULL);
	fprintf(stderr, "%s: %u of %u lost\n", what, l->lost, l->asked);
	ck_assert_msg(l->lost == 0, "%u of %u lost, the last one: %s", l->lost, l->asked,
		      strerror(-l->error));
	ck_assert_uint_gt(l->asked, 100);
}

/* ------------------------------------------------------------------ the promises */

#define WORDS_MAX 300

static void copies_words(char words[WORDS_MAX], unsigned n, const char *options)
{
	snprintf(words, WORDS_MAX, "run web --port %d --copies %u %s -- %s/server %d", PORT, n,
		 options, tool_dir, PORT);
}

static void copies_start(struct tool *t, unsigned n, const char *options)
{
	char words[WORDS_MAX];

	copies_words(words, n, options);
	tool_start(t, words);
}

/* Both of them serve. */
static void given_two_copies(struct tool *t, const char *options)
{
	copies_start(t, 2, options);
	await_log(t, "2 copies of", 1);
}

static const char *const ways[] = { "", "--hold 5", "--preload" };

START_TEST(copies_of_a_program_share_a_port_and_end_with_the_tool)
{
	bool preload = !strcmp(ways[_i], "--preload");
	struct tool t;

	NEEDS_PROGRAM(!preload);
	must("load web --policy rr");
	if (preload)
		must_sh("cp \"${NP_BUILD:-build}/npsteer-preload.so\" '%s'", tool_dir);
	copies_start(&t, 3, ways[_i]);
	await_log(&t, "3 copies of", 1);
	ck_assert_uint_eq(count_copies(30), 3);
	end(&t);
	ck_assert_int_eq(ask(), -ECONNREFUSED);
}
END_TEST

/* Twice ten restarts, of a program that SIGTERM kills whatever it is doing. */
START_TEST(twenty_restarts_under_load_lose_no_connection)
{
	struct load l;
	struct tool t;

	NEEDS_PROGRAM(true);
	must("load web");
	given_two_copies(&t, ways[_i]);
	load_start(&l);
	for (unsigned i = 1; i <= 10; i++) {
		kill(t.reaper.command, SIGHUP);
		await_log(&t, "the copies have been replaced", i);
	}
	load_end(&l, *ways[_i] ? "20 copies replaced, held" : "20 copies replaced");
	end(&t);
}
END_TEST

START_TEST(a_copy_that_dies_is_started_again)
{
	struct tool t;
	int pid;

	NEEDS_PROGRAM(true);
	must("load web --policy rr");
	given_two_copies(&t, "");
	pid = ask();
	ck_assert_int_gt(pid, 0);
	kill(pid, SIGKILL);
	await_log(&t, "by signal 9", 1);
	AWAIT(count_copies(20) == 2 && kill(pid, 0) < 0);
	end(&t);
}
END_TEST

/* With --hold the port stays open though every copy is gone at once. */
START_TEST(under_hold_all_copies_may_die_at_once_and_nobody_is_refused)
{
	struct tool t;
	int pid;

	NEEDS_PROGRAM(true);
	must("load web --policy rr");
	given_two_copies(&t, "--hold 10");
	pid = ask();
	for (unsigned i = 0; i < 5; i++) {
		ck_assert_uint_eq(kill_copies(), 2);
		for (unsigned k = 0; k < 20; k++) {
			int r = ask();

			ck_assert_msg(r > 0, "round %u, %u: %s", i, k, strerror(-r));
		}
		AWAIT(count_copies(10) == 2);
	}
	ck_assert_int_gt(pid, 0);
	end(&t);
}
END_TEST

/* One of each two goes to the copy that is stopped, until it is seen to stand still. */
START_TEST(what_waits_at_a_copy_that_is_stopped_is_answered_by_another_one)
{
	struct tool t;
	int pid, r;

	NEEDS_PROGRAM(true);
	must("load web --policy rr --hang-ms 50");
	given_two_copies(&t, "");
	pid = ask();
	ck_assert_int_gt(pid, 0);
	ck_assert_int_eq(kill(pid, SIGSTOP), 0);
	for (unsigned i = 0; i < 20; i++) {
		r = ask();
		ck_assert_msg(r > 0 && r != pid, "%u: %d", i, r);
	}
	await_log(&t, "is stopped: 1 connections that waited there moved to others", 1);
	kill(pid, SIGCONT);
	AWAIT(count_copies(10) == 2);
	end(&t);
}
END_TEST

/* Killed at whatever step, it leaves copies that serve, and nothing else. */
START_TEST(a_tool_that_is_killed_leaves_no_cgroup_and_no_program)
{
	struct ran r;
	struct tool t;

	NEEDS_PROGRAM(true);
	must("load web");
	copies_start(&t, 2, "--hold 5");
	if (_i == 9) {
		await_log(&t, "2 copies of", 1);
		look_for_left(&r, &t);
		must_have(r.out, "/fdinfo/"); /* as long as it runs */
		ran_free(&r);
	} else {
		for (int k = 0; k < 4 * _i * _i; k++)
			test_pause();
	}
	kill(t.reaper.command, SIGKILL);
	ck_assert_int_eq(tool_wait(&t), 128 + SIGKILL);
	for (uint64_t until = now_ms() + AWAIT_MS;;) {
		look_for_left(&r, &t);
		if (!*r.out)
			break;
		ck_assert_msg(now_ms() < until, "left: %s", r.out);
		ran_free(&r);
		test_pause();
	}
	ran_free(&r);
	if (_i == 9)
		ck_assert_uint_eq(count_copies(40), 2);
	AWAIT(kill_copies() == 0);
	AWAIT(ask() == -ECONNREFUSED);
	must("unload web --force");
}
END_TEST

START_TEST(what_cannot_be_run_has_an_exit_code_and_a_sentence)
{
	char words[WORDS_MAX];
	struct tool t;

	NEEDS_PROGRAM(true);
	fails_with(MISUSED, "which port?", "run web -- /bin/true");
	fails_with(MISUSED, "the number of a port", "run web --port x -- /bin/true");
	fails_with(MISUSED, "which program?", "run web --port 7495");
	fails_with(MISUSED, "from 2 to", "run web --port 7495 --copies 1 -- /bin/true");
	fails_with(MISUSED, "takes no program", "status web -- /bin/true");
	fails_with(ABSENT, "no service web", "run web --port 7495 -- /bin/true");
	must("load web");
	fails_with(ABSENT, "cannot be run", "run web --port 7495 -- /nonexistent");
	fails_with(FAILED, "ended before it listened", "run web --port 7495 -- /bin/true");
	fails_with(ABSENT, "npsteer-preload.so", "run web --port 7495 --preload -- /bin/true");
	given_two_copies(&t, "");
	copies_words(words, 2, "");
	fails_with(BUSY, "listens on port 7495 already", words);
	end(&t);
}
END_TEST

/* ------------------------------------------------------------------ programs of others */

static const struct other {
	const char *name, *line;
} others[] = {
	{ "python3", "python3 -m http.server 7495 --bind 127.0.0.1" },
	{ "node", "node -e 'require(\"http\").createServer((q,s)=>s.end(\"ok\"))"
		  ".listen(7495,\"127.0.0.1\")'" },
};

START_TEST(programs_of_others_share_a_port)
{
	const struct other *o = &others[_i];
	char words[WORDS_MAX];
	struct tool t;
	struct ran r;

	NEEDS_RIGHTS();
	setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	sh(&r, "command -v %s && command -v curl", o->name);
	if (r.code != 0) {
		ran_free(&r);
		SKIP("%s or curl is not installed", o->name);
	}
	ran_free(&r);
	must("load web --policy rr");
	snprintf(words, sizeof words, "run web --port 7495 --copies 2 -- %s", o->line);
	tool_start(&t, words);
	await_log(&t, "2 copies of", 1);
	must_sh("cd '%s' && for i in 1 2 3 4 5 6 7 8; do curl -sSf -o /dev/null "
		"http://127.0.0.1:7495/; done",
		tool_dir);
	kill(t.reaper.command, SIGHUP);
	await_log(&t, "the copies have been replaced", 1);
	must_sh("curl -sSf -o /dev/null http://127.0.0.1:7495/");
	end(&t);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "run");

	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, tool_setup, tool_teardown);
	tcase_add_loop_test(t, copies_of_a_program_share_a_port_and_end_with_the_tool, 0, 3);
	tcase_add_loop_test(t, twenty_restarts_under_load_lose_no_connection, 0, 2);
	tcase_add_test(t, a_copy_that_dies_is_started_again);
	tcase_add_test(t, under_hold_all_copies_may_die_at_once_and_nobody_is_refused);
	tcase_add_test(t, what_waits_at_a_copy_that_is_stopped_is_answered_by_another_one);
	tcase_add_loop_test(t, a_tool_that_is_killed_leaves_no_cgroup_and_no_program, 0, 10);
	tcase_add_test(t, what_cannot_be_run_has_an_exit_code_and_a_sentence);
	tcase_add_loop_test(t, programs_of_others_share_a_port, 0,
			    sizeof others / sizeof others[0]);
}

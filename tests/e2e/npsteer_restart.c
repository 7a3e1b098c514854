/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * npsteer_restart: servers that are asked to start the next one, by npsteer restart; and those that
 * are left alone
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/child.h"
#include "support/json.h"
#include "support/peer.h"
#include "support/test.h"
#include "support/tool.h"

#define PORT    7424
#define ADDRESS "127.0.0.1:7424"

/* ------------------------------------------------------------------ given */

static void setup(void)
{
	tool_setup();
	/* the next generation is no child of the test's, once the one before has ended */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
}

static void exec_echo(int sock, void *options)
{
	const char *build = getenv("NP_BUILD");
	char command[512];

	snprintf(command, sizeof command,
		 "exec %s/examples/echo --pollers 2 --service web --listen " ADDRESS " %s",
		 build ? build : "build", (char *)options);
	dup2(sock, STDOUT_FILENO);
	execl("/bin/sh", "sh", "-c", command, NULL);
	child_fail("cannot run it: %s", strerror(errno));
}

static void given_echo(struct child *c, const char *options)
{
	char byte;

	child_start(c, exec_echo, (void *)options);
	do
		child_recv(c->sock, &byte, 1);
	while (byte != '\n');
}

static int connected(void)
{
	struct sockaddr_storage ss = { 0 };
	struct sockaddr_in *in = (struct sockaddr_in *)&ss;

	in->sin_family = AF_INET;
	in->sin_port = htons(PORT);
	in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return peer_connect(&ss, sizeof *in);
}

static bool answer_has(const char *words, const char *part)
{
	char *json = answer(words);
	bool has = strstr(json, part);

	free(json);
	return has;
}

/* Those that are there end in good order. */
static void end_all(void)
{
	char *json = answer("restart web --dry-run");

	for (char *at = json; (at = strstr(at, "\"pid\":")); at++)
		kill(atoi(at + 6), SIGTERM);
	free(json);
	while (waitpid(-1, NULL, 0) > 0)
		;
}

static int process_of(void)
{
	char *json = answer("restart web --dry-run");
	int pid = (int)json_number(json, "processes.pid");

	ck_assert_ptr_nonnull(strstr(json, "\"state\":\"serves\""));
	free(json);
	return pid;
}

/* ------------------------------------------------------------------ it is done */

START_TEST(who_serves_is_shown_and_whether_it_could_be_asked)
{
	struct child c;
	struct ran r;
	char *json;

	NEEDS_RIGHTS();
	must("load web");
	given_echo(&c, "");
	json = answer("restart web --dry-run");
	ck_assert_int_eq(json_number(json, "processes.pid"), c.pid);
	must_have(json, "\"state\":\"serves\",\"workers\":2,\"listeners\":2,\"conns\":0,"
			"\"can_be_restarted\":true,\"why\":null}]}");
	free(json);
	npsteer(&r, "restart web --dry-run");
	ck_assert_int_eq(r.code, DONE);
	must_have(r.out, "web: 1 process\n");
	ran_free(&r);
	ck_assert_int_eq(process_of(), c.pid); /* it is the same */
	close(c.sock);
	end_all();
}
END_TEST

static const char *const ways[] = { "", "--signal USR2", "--signal SIGHUP" };

/* Connections that are idle go along, or are waited for; new ones find somebody at any time. */
START_TEST(the_next_process_serves_and_the_old_one_leaves)
{
	char words[64], part[80];
	struct child c;
	struct ran r;
	int fd, old;

	NEEDS_RIGHTS();
	must("load web");
	given_echo(&c, "--stop-ms 400");
	for (int i = 0; i < 2; i++) {
		old = process_of();
		fd = connected();
		peer_echo(fd, 'e');
		snprintf(words, sizeof words, "%s restart web %s", i ? "-j" : "", ways[_i]);
		npsteer(&r, words);
		ck_assert_msg(r.code == DONE, "%s%s", r.out, r.err);
		ck_assert_int_ne(process_of(), old);
		if (i)
			snprintf(part, sizeof part, "\"event\":\"left\",");
		else
			snprintf(part, sizeof part, "web: process %d (old) has left, after ", old);
		must_have(r.out, part);
		if (i)
			snprintf(part, sizeof part, "\"old\":%d,\"new\":%d,", old, process_of());
		else
			snprintf(part, sizeof part, "web: process %d (new) serves\n", process_of());
		must_have(r.out, part);
		ran_free(&r);
		if (_i < 2)
			peer_echo(fd, 'e');
		peer_close(&fd);
	}
	close(c.sock);
	end_all();
}
END_TEST

/* A restart that is under way, and what it says. */
static FILE *begin_restart(void)
{
	char command[300];
	FILE *f;

	snprintf(command, sizeof command, "exec '%s/npsteer' restart web --timeout 30", tool_dir);
	f = popen(command, "r");
	ck_assert_ptr_nonnull(f);
	return f;
}

static void await_line(FILE *f, const char *part)
{
	char line[256];

	do
		ck_assert_msg(fgets(line, sizeof line, f), "it has not said: %s", part);
	while (!strstr(line, part));
}

/* Its peer takes none of its echo: the handler waits for room, in the old process. */
static int given_one_that_stays(struct child *c)
{
	static const char much[64 * 1024];
	char options[128], words[128];
	int fd;

	snprintf(options, sizeof options, "--observe=%s/observe", tool_dir);
	snprintf(words, sizeof words, "conns %s/observe", tool_dir);
	given_echo(c, options);
	fd = connected();
	do
		while (send(fd, much, sizeof much, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
			;
	while (!answer_has(words, "\"waits\":\"write\""));
	return fd;
}

START_TEST(a_second_one_at_the_same_time_is_refused)
{
	struct child c;
	struct ran r;
	FILE *first;
	int fd, old;

	NEEDS_RIGHTS();
	must("load web");
	fd = given_one_that_stays(&c);
	old = process_of();
	first = begin_restart();
	await_line(first, "(new) serves");
	ck_assert(answer_has("restart web --dry-run", "\"state\":\"leaves\""));
	fails_with(BUSY, "another npsteer restarts the service web", "restart web");
	npsteer(&r, "restart web --dry-run"); /* that may be looked at */
	ck_assert_int_eq(r.code, DONE);
	must_have(r.out, "web: 2 processes\n");
	ran_free(&r);
	await_line(first, "(old) has 1 connection left");
	peer_close(&fd);
	await_line(first, "(old) has left, after ");
	ck_assert_int_eq(pclose(first), 0);
	ck_assert_int_ne(process_of(), old);
	close(c.sock);
	end_all();
}
END_TEST

START_TEST(one_that_keeps_connections_for_too_long_is_named)
{
	char part[80];
	struct child c;
	struct ran r;
	int fd, old;

	NEEDS_RIGHTS();
	must("load web");
	fd = given_one_that_stays(&c);
	old = process_of();
	npsteer(&r, "restart web --timeout 1");
	ck_assert_int_eq(r.code, FAILED);
	snprintf(part, sizeof part, " serves, and 1 of process %d's connections are left", old);
	must_have(r.err, part);
	ran_free(&r);
	peer_close(&fd);
	close(c.sock);
	end_all();
}
END_TEST

/* ------------------------------------------------------------------ it is left alone */

enum at_signal { DIES, IGNORES, DOES_NOTHING, ENDS };

static void on_signal_end(int sig)
{
	_exit(0);
}

/* A worker of its own; @arg: what becomes of SIGUSR2. */
static void be_a_worker(int sock, void *arg)
{
	enum at_signal at = *(enum at_signal *)arg;
	static struct server s;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	if (at == IGNORES || at == ENDS)
		signal(SIGUSR2, at == IGNORES ? SIG_IGN : on_signal_end);
	if (at == DOES_NOTHING)
		sigprocmask(SIG_BLOCK, &set, NULL);
	given_server(&s, "web");
	child_say(sock, 'y');
	child_hear(sock);
	server_end(&s);
}

static void given_a_worker(struct child *c, enum at_signal at)
{
	must("load web");
	child_start(c, be_a_worker, &at);
	ck_assert_int_eq(child_hear(c->sock), 'y');
}

START_TEST(one_that_does_not_know_the_signal_is_left_alone)
{
	struct child c;

	NEEDS_RIGHTS();
	given_a_worker(&c, DIES);
	fails_with(FAILED, "does not know SIGUSR2", "restart web");
	fails_with(FAILED, "does not know SIGHUP", "restart web --signal HUP");
	ck_assert(answer_has("restart web --dry-run", "\"can_be_restarted\":false,"));
	child_say(c.sock, 'g');
	child_join(&c); /* it lives */
}
END_TEST

START_TEST(one_that_ignores_the_signal_is_not_waited_for)
{
	struct child c;

	NEEDS_RIGHTS();
	given_a_worker(&c, IGNORES);
	fails_with(FAILED, "does not know SIGUSR2", "restart web");
	child_say(c.sock, 'g');
	child_join(&c);
}
END_TEST

/* It is signalled once. */
static void restart_fails(const char *words, const char *part)
{
	struct ran r;

	npsteer(&r, words);
	ck_assert_int_eq(r.code, FAILED);
	must_have(r.err, part);
	ran_free(&r);
}

START_TEST(one_that_starts_no_next_one_is_named)
{
	struct child c;

	NEEDS_RIGHTS();
	given_a_worker(&c, DOES_NOTHING);
	restart_fails("restart web --timeout 1", "has started no next one in 1 s, and goes on");
	child_say(c.sock, 'g');
	child_join(&c);
}
END_TEST

START_TEST(one_that_ends_without_a_next_one_is_told_of)
{
	struct child c;

	NEEDS_RIGHTS();
	given_a_worker(&c, ENDS);
	restart_fails("restart web", "has ended, and no next one serves");
	child_join(&c);
}
END_TEST

/* A worker is the service's, and has no listener here. */
START_TEST(who_does_not_listen_is_not_asked)
{
	struct np_steer_worker *w;
	struct np_steer *s;

	NEEDS_RIGHTS();
	must("load web");
	fails_with(ABSENT, "nobody serves", "restart web");
	ck_assert_int_eq(np_steer_open("web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN), &s),
			 0);
	ck_assert_int_eq(np_steer_worker(s, "idler", &w), 0);
	fails_with(ABSENT, "nobody serves", "restart web");
	np_steer_close(&s);
}
END_TEST

START_TEST(that_of_another_user_is_not_asked)
{
	struct child c;
	struct ran r;

	NEEDS_RIGHTS();
	must("load web --group 4321");
	given_echo(&c, "");
	npsteer_as(&r, 4321, "restart web");
	ck_assert_int_eq(r.code, DENIED);
	must_have(r.err, "is another user's: run npsteer as that user, or as root");
	ran_free(&r);
	ck_assert_int_eq(process_of(), c.pid);
	close(c.sock);
	end_all();
}
END_TEST

START_TEST(words_that_make_no_sense_are_refused)
{
	NEEDS_RIGHTS();
	must("load web");
	fails_with(MISUSED, "--signal is USR2, to hand over, or HUP", "restart web --signal KILL");
	fails_with(MISUSED, "--timeout takes seconds", "restart web --timeout 0");
	fails_with(MISUSED, "--timeout takes seconds", "restart web --timeout 1h");
	fails_with(MISUSED, "--pid takes a process number", "restart web --pid x");
	fails_with(ABSENT, "process 1 does not serve", "restart web --pid 1");
	fails_with(ABSENT, "no service other", "restart other");
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "npsteer_restart");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, tool_teardown);
	tcase_add_test(t, who_serves_is_shown_and_whether_it_could_be_asked);
	tcase_add_loop_test(t, the_next_process_serves_and_the_old_one_leaves, 0,
			    sizeof ways / sizeof ways[0]);
	tcase_add_test(t, a_second_one_at_the_same_time_is_refused);
	tcase_add_test(t, one_that_keeps_connections_for_too_long_is_named);
	tcase_add_test(t, one_that_does_not_know_the_signal_is_left_alone);
	tcase_add_test(t, one_that_ignores_the_signal_is_not_waited_for);
	tcase_add_test(t, one_that_starts_no_next_one_is_named);
	tcase_add_test(t, one_that_ends_without_a_next_one_is_told_of);
	tcase_add_test(t, who_does_not_listen_is_not_asked);
	tcase_add_test(t, that_of_another_user_is_not_asked);
	tcase_add_test(t, words_that_make_no_sense_are_refused);
}

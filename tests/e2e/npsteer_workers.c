/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * npsteer_workers: the verbs about workers: drain, undrain, kick, weight, top, rescue, gc; and
 * parameters
 */
#include <errno.h>
#include <fcntl.h>
#include <netpoll/conn.h>
#include <netpoll/server.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/child.h"
#include "support/json.h"
#include "support/peer.h"
#include "support/serve.h"
#include "support/test.h"
#include "support/tool.h"

#define ADDRESS "127.0.0.1:7420"

/* ------------------------------------------------------------------ given */

/* Where all the others listen. */
static void given_one(struct server *s, const char *name)
{
	given_worker(s, "web", name, ADDRESS);
}

static int clients[256];
static int n_clients;

static void connect_some(const struct server *s, int n)
{
	for (int i = 0; i < n; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		ck_assert_int_eq(connect(fd, (const struct sockaddr *)&s->at, sizeof s->at), 0);
		clients[n_clients++] = fd;
	}
}

static void no_client_was_reset(void)
{
	char c;

	for (int i = 0; i < n_clients; i++) {
		ssize_t n = recv(clients[i], &c, 1, MSG_DONTWAIT);

		ck_assert_msg(n == 0 || errno == EAGAIN, "client %d: %s", i, strerror(errno));
		close(clients[i]);
	}
	n_clients = 0;
}

static int accept_all(const struct server *s)
{
	int fd, n = 0;

	while ((fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		np_steer_conn_inc(s->worker);
		close(fd);
		np_steer_conn_dec(s->worker);
		n++;
	}
	return n;
}

/* ------------------------------------------------------------------ moves */

static int moves_on(struct np_conn *c, void *arg)
{
	const void *p;
	int r = np_conn_next(c, 1, &p);

	if (r == 0)
		r = np_conn_write(c, "m", 1);
	if (r == 0)
		r = np_conn_flush(c);
	return r == 0 ? np_conn_move(c, !np_conn_poller(c)) : r;
}

static void on_move(struct np_conn *c, void *arg, bool arrived)
{
}

static void given_mover(struct np_server **ret)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_request = moves_on,
					      .on_move = on_move };
	struct np_pollers *p;

	ck_assert_int_eq(np_pollers_start(NP_OPTS(np_pollers_opts, .count = 2, .pin = NP_OFF), &p),
			 0);
	ck_assert_int_eq(np_server_new(p, &h, NULL, NP_OPTS(np_server_opts, .service = "web"), ret),
			 0);
	ck_assert_msg(np_server_listen(*ret, "tcp", ADDRESS) == 0, "%s", np_server_error(*ret));
	ck_assert_int_eq(np_server_start(*ret), 0);
}

static void mover_end(struct np_server **s)
{
	struct np_pollers *p = np_server_pollers(*s);

	serve_over(s);
	ck_assert_int_eq(np_pollers_stop(p, AWAIT_MS), 0);
	ck_assert_int_eq(np_pollers_free(&p), 0);
}

/* Of both workers together. */
static long long sum_of(const char *json, const char *key)
{
	const char *second = strstr(json, "\"worker\":1,");

	ck_assert_ptr_nonnull(second);
	return json_number(json, key) + json_number(second, key);
}

static bool moves_are(const char *words, int n)
{
	char *json = answer(words);
	bool are = sum_of(json, "moved_in") == n && sum_of(json, "moved_out") == n;

	free(json);
	return are;
}

/* conns = accepted - closed + moved_in - moved_out, for each worker */
START_TEST(connections_that_move_are_shown_where_they_went)
{
	struct sockaddr_storage ss;
	struct np_server *s;
	socklen_t len;
	struct ran r;
	char *json;
	int fd;

	NEEDS_RIGHTS();
	must("load web");
	given_mover(&s);
	ck_assert_int_eq(np_server_addr(s, 0, &ss, &len), 0);
	fd = peer_connect(&ss, len);
	for (int i = 0; i < 5; i++) {
		char c = 'm';

		peer_send(fd, &c, 1);
		peer_recv(fd, &c, 1);
	}
	AWAIT(moves_are("status web", 5));
	ck_assert(moves_are("top web -w 0.01 -n 1", 5));
	json = answer("status web");
	ck_assert_int_eq(sum_of(json, "conns"), 1);
	ck_assert_int_eq(sum_of(json, "accepted_total"), 1);
	free(json);
	npsteer(&r, "status web");
	must_have(r.out, " MOVED_IN  MOVED_OUT  HANDOFFS\n");
	ran_free(&r);
	npsteer(&r, "metrics web");
	must_have(r.out, "# TYPE npsteer_worker_moved_in counter\n");
	ran_free(&r);
	peer_close(&fd);
	mover_end(&s);
}
END_TEST

/* ------------------------------------------------------------------ drain, kick, weight */

START_TEST(who_drains_gets_nothing_until_undrained)
{
	struct server a, b;
	char *json;

	NEEDS_RIGHTS();
	must("load web");
	given_one(&a, "one");
	given_one(&b, "two");
	json = answer("drain web 0");
	must_have(
		json,
		"\"worker\":0,\"name\":\"one\",\"state\":\"draining\",\"weight\":100,\"conns\":0}");
	free(json);
	connect_some(&a, 40);
	ck_assert_int_eq(accept_all(&a), 0);
	ck_assert_int_eq(accept_all(&b), 40);

	must("undrain web one"); /* by its name */
	connect_some(&a, 40);
	ck_assert_int_gt(accept_all(&a), 0);
	accept_all(&b);

	/* Who drains serves if nobody else can, who was kicked does not. */
	must("drain web 0");
	must("kick web two");
	connect_some(&a, 10);
	ck_assert_int_eq(accept_all(&a), 10);
	no_client_was_reset();
	server_end(&a);
	server_end(&b);
}
END_TEST

START_TEST(weights_are_set_shown_and_checked)
{
	struct server a;
	struct ran r;

	NEEDS_RIGHTS();
	must("load web");
	given_one(&a, "one");
	npsteer(&r, "weight web 0 250");
	ck_assert_int_eq(r.code, DONE);
	ck_assert_str_eq(r.out, "worker 0: ready, weight 250, 0 connections\n");
	ran_free(&r);
	fails_with(MISUSED, "1 to 10000", "weight web 0 0");
	fails_with(MISUSED, "1 to 10000", "weight web 0 heavy");
	fails_with(MISUSED, "which weight?", "weight web 0");
	fails_with(MISUSED, "which worker?", "drain web");
	fails_with(ABSENT, "nobody is worker 7", "drain web 7");
	fails_with(ABSENT, "no worker nobody", "kick web nobody");
	server_end(&a);
}
END_TEST

START_TEST(a_name_that_two_workers_have_is_refused)
{
	struct server a, b;

	NEEDS_RIGHTS();
	must("load web");
	given_one(&a, "twin");
	given_one(&b, "twin");
	fails_with(MISUSED, "2 workers of web have the name twin", "drain web twin");
	server_end(&a);
	server_end(&b);
}
END_TEST

/* ------------------------------------------------------------------ parameters */

START_TEST(policies_take_parameters_by_name)
{
	char *json;
	struct ran r;

	NEEDS_RIGHTS();
	must("load web");
	npsteer(&r, "policy web rr hang_ms=300 on_exhausted=rst");
	ck_assert_str_eq(
		r.out,
		"rr hang_ms=300 on_exhausted=rst spill=200 bound=150 slow_start_ms=0 set=none\n");
	ran_free(&r);
	json = answer("policy web on_exhausted=serve");
	must_have(
		json,
		"\"parameters\":{\"hang_ms\":\"300\",\"on_exhausted\":\"serve\",\"spill\":\"200\"");
	free(json);
	npsteer(&r, "policy web maglev bound=125 slow_start_ms=2000 set=0-2,7");
	ck_assert_str_eq(
		r.out,
		"maglev hang_ms=300 on_exhausted=serve spill=200 bound=125 slow_start_ms=2000 set=0-2,7\n");
	ran_free(&r);
	fails_with(MISUSED, "bound takes per cent, 100 to 10000", "policy web bound=99");
	fails_with(MISUSED, "set takes workers, as 0-3,8, or none", "policy web set=300");
	fails_with(MISUSED, "on_exhausted takes serve, rst or full_queue, not \"drop\"",
		   "policy web on_exhausted=drop");
	fails_with(
		MISUSED,
		"no parameter \"colour\": try hang_ms, on_exhausted, spill, bound, slow_start_ms, set",
		"policy web colour=red");
	fails_with(MISUSED, "hang_ms 1: the clock", "policy web hang_ms=1");
}
END_TEST

/* The connections are refused as soon as nobody is fit, and served again. */
START_TEST(on_exhausted_decides_between_refusal_and_service)
{
	struct server a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	NEEDS_RIGHTS();
	must("load web");
	given_one(&a, "one");
	must("drain web 0");
	must("policy web on_exhausted=rst");
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&a.at, sizeof a.at), -1);
	ck_assert_int_eq(errno, ECONNREFUSED);
	close(fd);
	must("policy web on_exhausted=serve");
	connect_some(&a, 1);
	ck_assert_int_eq(accept_all(&a), 1);
	no_client_was_reset();
	server_end(&a);
}
END_TEST

/* ------------------------------------------------------------------ top */

START_TEST(top_shows_each_listener_and_its_queue)
{
	struct server a, b;
	char *json;
	struct ran r;

	NEEDS_RIGHTS();
	must("load web");
	given_one(&a, "one");
	given_one(&b, "two");
	must("kick web 1");
	connect_some(&a, 7);
	json = answer("top web -w 0.2 -n 1");
	must_have(json, "\"busy_ms\":0,\"hangs\":true,"); /* it takes nothing */
	must_have(json, "\"busy_ms\":0,\"hangs\":false,");
	must_have(json, "\"slots\":[{\"address\":\"" ADDRESS
			"\",\"group\":0,\"worker\":0,\"name\":\"one\","
			"\"state\":\"ready\",\"conns\":0,\"queued\":7,");
	must_have(json,
		  "\"worker\":1,\"name\":\"two\",\"state\":\"out\",\"conns\":0,\"queued\":0,");
	free(json);

	npsteer(&r, "top web -w 0.01 -n 3");
	ck_assert_int_eq(r.code, DONE);
	ck_assert_ptr_null(strchr(r.out, '\033')); /* not a terminal */
	must_have(r.out, "web: level 4, policy auto, hang_ms 100, 2 listeners\n");
	must_have(r.out, "STEERED/S");
	ran_free(&r);
	accept_all(&a);
	no_client_was_reset();
	server_end(&a);
	server_end(&b);
}
END_TEST

START_TEST(top_answers_with_one_object_for_each_tick)
{
	struct server a;
	struct ran r;
	int lines = 0;

	NEEDS_RIGHTS();
	must("load web");
	given_one(&a, "one");
	npsteer(&r, "top web -w 0.01 -n 3 -j");
	for (char *line = strtok(r.out, "\n"); line; line = strtok(NULL, "\n"), lines++)
		ck_assert_msg(json_valid(line), "no JSON: %s", line);
	ck_assert_int_eq(lines, 3);
	ran_free(&r);
	fails_with(MISUSED, "-w takes seconds", "top web -w soon");
	server_end(&a);
}
END_TEST

static atomic_bool enough;

static void *connect_until_enough(void *arg)
{
	while (!enough)
		connect_times(arg, 1);
	return NULL;
}

/* What is half open only the program sees, and only while SYNs come: what none has seen is not
 * known. */
START_TEST(top_shows_what_is_half_open_while_syns_come)
{
	struct server a;
	pthread_t t;
	char *json;

	NEEDS_RIGHTS();
	must("load web");
	given_one(&a, "one");
	ck_assert_int_eq(pthread_create(&t, NULL, connect_until_enough, &a), 0);
	json = answer("top web -w 0.2 -n 1");
	enough = true;
	ck_assert_int_eq(pthread_join(t, NULL), 0);
	must_have(json, "\"half_open\":0,");
	free(json);
	json = answer("top web -w 0.01 -n 1");
	must_have(json, "\"half_open\":null,");
	free(json);
	server_end(&a);
}
END_TEST

/* ------------------------------------------------------------------ rescue */

static void serve_in_child(int sock, void *arg)
{
	struct server s;
	struct pollfd p[2];
	char c;

	given_one(&s, "child");
	child_say(sock, 'r');
	p[0] = (struct pollfd){ .fd = s.fd, .events = POLLIN };
	p[1] = (struct pollfd){ .fd = sock, .events = POLLIN };
	for (;;) {
		np_steer_idle(s.worker);
		poll(p, 2, -1);
		np_steer_busy(s.worker);
		if (p[1].revents)
			break;
		accept_all(&s);
		if (errno == EINVAL && np_steer_relisten(s.worker, s.fd) < 0)
			child_fail("cannot listen again");
	}
	child_recv(sock, &c, 1);
	server_end(&s);
}

/* Another process is worker 0 and has served; worker 1 is ours, and its watchdog is off. */
static void given_stopped_sibling(struct child *c, struct server *ours)
{
	int status;

	must("load web --hang-ms 40");
	child_start(c, serve_in_child, NULL);
	child_hear(c->sock);
	given_one(ours, "ours");
	must("kick web ours");
	connect_some(ours, 3);
	for (;;) {
		char *json = answer("status web");
		bool served = json_number(json, "closed_total") == 3;

		free(json);
		if (served)
			break;
	}
	ck_assert_int_eq(kill(c->pid, SIGSTOP), 0);
	ck_assert_int_eq(waitpid(c->pid, &status, WUNTRACED), c->pid);
	connect_some(ours, 20);
	must("undrain web ours");
}

START_TEST(rescue_takes_the_queue_of_a_stopped_process)
{
	struct server ours;
	struct child c;
	struct ran r;
	char *json;

	NEEDS_RIGHTS();
	given_stopped_sibling(&c, &ours);
	npsteer(&r, "rescue web");
	ck_assert_int_eq(r.code, DONE);
	must_have(r.out, "worker 0 has taken nothing for");
	must_have(r.out, "the 20 connections that it had queued went to its siblings");
	ran_free(&r);
	ck_assert_int_eq(accept_all(&ours), 20);
	json = answer("rescue web");
	must_have(json, "\"rescued\":0}");
	free(json);

	kill(c.pid, SIGCONT);
	child_say(c.sock, 'e');
	child_join(&c);
	no_client_was_reset();
	server_end(&ours);
}
END_TEST

static void watch_in_child(int sock, void *arg)
{
	char path[256];

	snprintf(path, sizeof path, "%s/npsteer", tool_dir);
	dup2(sock, STDOUT_FILENO);
	execl(path, "npsteer", "rescue", "web", "--watch", "-j", NULL);
	child_fail("no npsteer");
}

START_TEST(rescue_watch_waits_for_somebody_to_hang)
{
	struct child c, watch;
	struct server ours;
	char line[400] = "";

	NEEDS_RIGHTS();
	must("load web --hang-ms 40");
	child_start(&watch, watch_in_child, NULL);
	must("unload web"); /* it has no claim, and keeps nobody from that */
	given_stopped_sibling(&c, &ours);
	child_kill(&watch);
	child_start(&watch, watch_in_child, NULL);

	await_fd(watch.sock, POLLIN);
	ck_assert_int_gt(recv(watch.sock, line, sizeof line - 1, 0), 0);
	ck_assert_msg(json_valid(line), "%s", line);
	must_have(line, "\"event\":\"worker 0 has taken nothing for");
	ck_assert_int_eq(accept_all(&ours), 20);
	child_kill(&watch);
	kill(c.pid, SIGCONT);
	child_say(c.sock, 'e');
	child_join(&c);
	no_client_was_reset();
	server_end(&ours);
}
END_TEST

START_TEST(where_nobody_is_called_hung_rescue_says_so)
{
	NEEDS_RIGHTS();
	must("load web --hang-ms 0");
	fails_with(MISUSED, "nobody is ever called hung: npsteer policy web hang_ms=100",
		   "rescue web");
}
END_TEST

/* ------------------------------------------------------------------ trace */

static void trace_in_child(int sock, void *arg)
{
	char path[256];

	snprintf(path, sizeof path, "%s/npsteer", tool_dir);
	dup2(sock, STDOUT_FILENO);
	execl(path, "npsteer", "trace", "web", "-n", "3", "-j", NULL);
	child_fail("no npsteer");
}

START_TEST(trace_tells_how_each_connection_was_given)
{
	char text[2048] = "";
	struct child c;
	struct server a;
	size_t n = 0;
	ssize_t got;
	int lines = 0;

	NEEDS_RIGHTS();
	must("load web --policy rr");
	given_one(&a, "one");
	child_start(&c, trace_in_child, NULL);
	/* It is not told when the other is ready: connect until three have been told of. */
	while (lines < 3) {
		connect_some(&a, 1);
		accept_all(&a);
		test_pause();
		while ((got = recv(c.sock, text + n, sizeof text - 1 - n, MSG_DONTWAIT)) > 0)
			n += (size_t)got;
		lines = 0;
		for (char *p = text; (p = strchr(p, '\n')); p++)
			lines++;
	}
	child_join(&c);
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		ck_assert_msg(json_valid(line), "no JSON: %s", line);
		must_have(
			line,
			"\"policy\":\"rr\",\"verdict\":\"steered\",\"worker\":0,\"candidates\":1,\"tried\":1,"
			"\"replay\":\"agrees\",\"stuck\":0}");
	}
	fails_with(MISUSED, "of 65536", "trace web --flows 0");
	no_client_was_reset();
	server_end(&a);
}
END_TEST

static bool is_traced(void)
{
	struct ran r;
	bool yes;

	sh(&r, "bpftool -j map dump pinned /sys/fs/bpf/netpoll/web/np_config");
	ck_assert_int_eq(r.code, 0);
	yes = json_valid(r.out) && !strstr(r.out, "\"trace\":0,");
	ran_free(&r);
	return yes;
}

/* Ctrl-C, a service manager, a terminal that is closed, and `npsteer trace | head`. */
START_TEST(trace_ends_with_its_reader)
{
	static const char *const ends[] = { "INT", "TERM", "HUP", NULL };
	const char *end = ends[_i];
	char command[512];
	struct server s;
	FILE *f;

	NEEDS_RIGHTS();
	must("load web");
	given_server(&s, "web");
	snprintf(command, sizeof command, "'%s/npsteer' trace web & echo $! && wait $!", tool_dir);
	f = popen(command, "r");
	ck_assert_ptr_nonnull(f);
	ck_assert_ptr_nonnull(fgets(command, sizeof command, f));
	AWAIT(is_traced());
	if (end) {
		must_sh("kill -%s %d", end, atoi(command));
		while (fgets(command, sizeof command, f))
			;
		ck_assert(!is_traced());
		ck_assert_int_eq(pclose(f), 0);
	} else {
		close(fileno(f));
		AWAIT((connect_times(&s, 1), !is_traced()));
	}
	server_end(&s);
}
END_TEST

/* ------------------------------------------------------------------ gc */

START_TEST(gc_takes_away_what_a_killed_process_left)
{
	struct child c;
	struct ran r;
	char *json;

	NEEDS_RIGHTS();
	must("load web");
	npsteer(&r, "gc web");
	ck_assert_str_eq(r.out, "nothing was left behind\n");
	ran_free(&r);
	child_start(&c, serve_in_child, NULL);
	child_hear(c.sock);
	json = answer("gc web"); /* it lives: nothing of it is garbage */
	must_have(json, "\"groups\":0,\"roster\":0,\"owners\":0,\"cpus\":0,\"workers\":0}");
	free(json);
	connect_some(&(struct server){ .at = { .sin_family = AF_INET,
					       .sin_port = htons(7420),
					       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) } },
		     1);
	await_fd(clients[0], POLLIN); /* served, so that its line is not empty */
	child_kill(&c);

	for (int i = 0; i < 2; i++) { /* a look leaves it there for the next one */
		json = answer("gc web --dry-run");
		must_have(json,
			  "\"dry_run\":true,\"pins\":0,\"groups\":1,\"roster\":1,\"owners\":1,"
			  "\"cpus\":0,\"workers\":1}");
		free(json);
	}
	npsteer(&r, "gc --all --dry-run");
	ck_assert_str_eq(r.out, "web: 1 addresses without a listener\n"
				"web: 1 listeners that are gone, on a roster\n"
				"web: 1 cookies of listeners that are gone\n"
				"web: 1 lines that nobody has claimed\n"
				"web: nobody is in it; it stays until `npsteer unload web`\n"
				"nothing was taken away: it was a dry run\n");
	ran_free(&r);
	json = answer("gc web");
	must_have(json, "\"dry_run\":false");
	must_have(json, "\"groups\":1,\"roster\":1,\"owners\":1,\"cpus\":0,\"workers\":1}");
	free(json);
	npsteer(&r, "gc web");
	ck_assert_str_eq(r.out, "nothing was left behind\n");
	ran_free(&r);
	close(clients[0]);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "workers");

	tcase_add_checked_fixture(t, tool_setup, tool_teardown);
	tcase_add_test(t, connections_that_move_are_shown_where_they_went);
	tcase_add_test(t, who_drains_gets_nothing_until_undrained);
	tcase_add_test(t, weights_are_set_shown_and_checked);
	tcase_add_test(t, a_name_that_two_workers_have_is_refused);
	tcase_add_test(t, policies_take_parameters_by_name);
	tcase_add_test(t, on_exhausted_decides_between_refusal_and_service);
	tcase_add_test(t, top_shows_each_listener_and_its_queue);
	tcase_add_test(t, top_answers_with_one_object_for_each_tick);
	tcase_add_test(t, top_shows_what_is_half_open_while_syns_come);
	tcase_add_test(t, rescue_takes_the_queue_of_a_stopped_process);
	tcase_add_test(t, rescue_watch_waits_for_somebody_to_hang);
	tcase_add_test(t, where_nobody_is_called_hung_rescue_says_so);
	tcase_add_test(t, trace_tells_how_each_connection_was_given);
	tcase_add_loop_test(t, trace_ends_with_its_reader, 0, 4);
	tcase_add_test(t, gc_takes_away_what_a_killed_process_left);
}

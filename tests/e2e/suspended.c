/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * suspended: a process that is stopped past its deadlines, and goes on, looks at what came
 * meanwhile before one of them acts
 *
 * The processes are children. A request is two bytes; each answer is the number of the process that
 * gave it. A handler that has one byte waits for the other, and nothing moves its connection.
 */
#include <errno.h>
#include <netpoll/linkbuf.h>
#include <netpoll/pool.h>
#include <netpoll/server.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/child.h"
#include "support/peer.h"
#include "support/test.h"

#define DEADLINE_MS 600
#define PAST_MS     100
#define DRAIN_MS    1000
#define ROUNDS      4 /* its threads go on in one order or another */

/* What a process says of a call. */
struct said {
	int r;
	struct np_handed_over handed;
	struct sockaddr_storage ss;
	socklen_t len;
};

static struct np_pollers *own;
static struct np_server *server;
static char where[32], upstream[32];
static int drain_ms = 1;

/* ------------------------------------------------------------------ in a process */

/*
 * The library's calls come here: the first that finds nobody at the path suspends its process right
 * behind it, where the next thing that the caller looks at is the clock.
 */
static _Atomic(bool) stops_at_connect, stops_at_accept;

static int suspended_behind(long r, _Atomic(bool) *stops)
{
	int e = errno;

	if (r < 0 && atomic_exchange(stops, false))
		raise(SIGSTOP);
	errno = e;
	return (int)r;
}

int connect(int fd, __CONST_SOCKADDR_ARG a, socklen_t len)
{
	return suspended_behind(syscall(SYS_connect, fd, a.__sockaddr__, len), &stops_at_connect);
}

int accept4(int fd, __SOCKADDR_ARG a, socklen_t *len, int flags)
{
	long r = syscall(SYS_accept4, fd, a.__sockaddr__, len, flags);

	return np_poller_self() < 0 ? suspended_behind(r, &stops_at_accept) : (int)r;
}

static int answer(struct np_conn *c, void *arg)
{
	uint32_t pid = (uint32_t)getpid();
	const void *p;
	int r = np_conn_next(c, 2, &p);

	if (r == 0)
		r = np_conn_write(c, &pid, sizeof pid);
	return r < 0 ? r : np_conn_flush(c);
}

static int on_export(struct np_conn *c, void *arg, struct np_linkbuf *blob)
{
	return 0;
}

static int on_import(struct np_conn *c, void *arg, const void *blob, size_t n)
{
	return 0;
}

static const struct np_handlers handlers = {
	.sz = sizeof handlers, .on_request = answer, .on_export = on_export, .on_import = on_import
};

static void must(int r, const char *what)
{
	if (r < 0)
		child_fail("%s: %s", what, np_strerror(r));
}

static void make(void)
{
	must(np_pollers_start(NP_OPTS(np_pollers_opts, .count = 1, .pin = NP_OFF), &own), "start");
	must(np_server_new(own, &handlers, NULL,
			   NP_OPTS(np_server_opts, .steer = NP_STEER_OFF, .drain_ms = drain_ms,
				   .fresh_ms = 1),
			   &server),
	     "new");
}

static void end(void)
{
	must(np_server_stop(server, AWAIT_MS, NULL), "stop");
	must(np_server_free(&server), "free");
	must(np_pollers_stop(own, AWAIT_MS), "stop");
	must(np_pollers_free(&own), "free");
}

static void serve_here(int sock)
{
	struct said s = { 0 };

	must(np_server_listen(server, "tcp", "127.0.0.1:0"), "listen");
	must(np_server_start(server), "start");
	must(np_server_addr(server, 0, &s.ss, &s.len), "address");
	child_send(sock, &s, sizeof s);
}

/* Serves; when it is told to it stops or hands over within the deadline, or drains. */
static void old_process(int sock, void *arg)
{
	struct said s = { .handed.sz = sizeof s.handed };

	make();
	serve_here(sock);
	switch (child_hear(sock)) {
	case 's':
		s.r = np_server_stop(server, DEADLINE_MS, NULL);
		break;
	case 'd':
		s.r = np_server_stop(server, AWAIT_MS, NULL);
		break;
	case 'c':
		stops_at_accept = true;
		s.r = np_server_hand_over(server, where,
					  NP_OPTS(np_hand_over_opts, .come_ms = DEADLINE_MS),
					  &s.handed);
		break;
	default:
		s.r = np_server_hand_over(server, where,
					  NP_OPTS(np_hand_over_opts, .work_ms = DEADLINE_MS),
					  &s.handed);
	}
	child_send(sock, &s, sizeof s);
	child_hear(sock);
	end();
}

/* @timeout_ms: it is suspended once, while nobody waits for it; NULL: never. */
static void next_process(int sock, void *timeout_ms)
{
	make();
	stops_at_connect = timeout_ms != NULL;
	must(np_server_take_over(server, where, timeout_ms ? *(int *)timeout_ms : AWAIT_MS),
	     "take over");
	must(np_server_start(server), "start");
	child_hear(sock);
	end();
}

/* One uses the only connection, and waits for an answer; the other waits for the connection. */
static struct np_pool *pool;
static struct np_event *out;

static int hold(void *arg)
{
	struct np_conn *c;
	const void *p;
	int r = np_pool_get(pool, &c);

	if (r < 0)
		return r;
	np_event_set(out);
	r = np_conn_write(c, "?", 1);
	if (r == 0)
		r = np_conn_flush(c);
	if (r == 0)
		r = np_conn_next(c, 1, &p);
	np_pool_put(pool, &c);
	return r;
}

static int wait_for_it(void *arg)
{
	struct np_conn *c;
	int r = np_event_wait(out, -1);

	if (r == 0)
		r = np_pool_get(pool, &c);
	if (r == 0)
		np_pool_put(pool, &c);
	return r;
}

static bool one_waits(void)
{
	struct np_pool_stats st = { .sz = sizeof st };

	np_pool_stats(pool, &st);
	return st.waiting == 1;
}

static void pool_process(int sock, void *arg)
{
	struct np_task *holder, *waiter;
	struct said s = { 0 };
	int held;

	make();
	must(np_event_new(&out), "event");
	must(np_pool_new(own, "tcp", upstream,
			 NP_OPTS(np_pool_opts, .max_open = 1, .wait_ms = DEADLINE_MS), &pool),
	     "pool");
	must(np_go(own, 0, hold, NULL, &holder), "go");
	must(np_go(own, 0, wait_for_it, NULL, &waiter), "go");
	while (!one_waits())
		test_pause();
	child_say(sock, 'w');
	must(np_join(&waiter, &s.r), "join");
	must(np_join(&holder, &held), "join");
	s.r = s.r ? s.r : held;
	child_send(sock, &s, sizeof s);
	np_event_free(&out);
	must(np_pool_free(&pool), "free");
	end();
}

/* A task waits for a byte of the test, and the stop of its pollers for the task. */
static int wait_readable(void *sock)
{
	return np_wait_fd(*(int *)sock, POLLIN, -1);
}

static void nothing(void *arg)
{
}

static void *say_stopping(void *sock)
{
	while (np_post(own, 0, nothing, NULL) == 0)
		test_pause();
	child_say(*(int *)sock, 'w');
	return NULL;
}

static void pollers_process(int sock, void *arg)
{
	struct np_task *task;
	struct said s = { 0 };
	pthread_t t;

	make();
	must(np_server_free(&server), "free");
	must(np_go(own, 0, wait_readable, &sock, &task), "go");
	pthread_create(&t, NULL, say_stopping, &sock);
	must(np_pollers_stop(own, DEADLINE_MS), "stop");
	pthread_join(t, NULL);
	must(np_join(&task, &s.r), "join");
	child_send(sock, &s, sizeof s);
	must(np_pollers_free(&own), "free");
}

/* ------------------------------------------------------------------ as the test sees them */

static struct child old, next;
static struct said said;

static void given_old(void)
{
	child_start(&old, old_process, NULL);
	child_recv(old.sock, &said, sizeof said);
}

static void await_suspended(const struct child *c)
{
	int status;

	ck_assert_int_eq(waitpid(c->pid, &status, WUNTRACED), c->pid);
	ck_assert(WIFSTOPPED(status));
}

static void suspend(const struct child *c)
{
	ck_assert_int_eq(kill(c->pid, SIGSTOP), 0);
	await_suspended(c);
}

/* The stall itself. */
static void resume_behind(const struct child *c, int deadline_ms)
{
	poll(NULL, 0, deadline_ms + PAST_MS);
	ck_assert_int_eq(kill(c->pid, SIGCONT), 0);
}

static uint32_t answered(int fd)
{
	uint32_t pid;

	peer_recv(fd, &pid, sizeof pid);
	return pid;
}

static uint32_t ask(int fd)
{
	peer_send(fd, "xy", 2);
	return answered(fd);
}

/* Its handler waits for the rest. */
static int half_asked(void)
{
	int fd = peer_connect(&said.ss, said.len);

	ck_assert_uint_eq(ask(fd), (uint32_t)old.pid);
	peer_send(fd, "x", 1);
	return fd;
}

static bool refuses(void)
{
	int fd = socket(said.ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool refused = connect(fd, (struct sockaddr *)&said.ss, said.len) < 0;

	close(fd);
	return refused;
}

/* The request is answered, then comes FIN, and what it was told to do has succeeded. */
static void old_answers_and_ends(int fd)
{
	char c;

	ck_assert_uint_eq(answered(fd), (uint32_t)old.pid);
	ck_assert_int_eq(recv(fd, &c, 1, 0), 0);
	peer_close(&fd);
	child_recv(old.sock, &said, sizeof said);
	ck_assert_int_eq(said.r, 0);
	child_say(old.sock, 'e');
	child_join(&old);
}

static void stop_answers_what_came(void)
{
	int fd;

	given_old();
	fd = half_asked();
	child_say(old.sock, 's');
	AWAIT(refuses());
	suspend(&old);
	peer_send(fd, "y", 1);
	resume_behind(&old, DEADLINE_MS);
	old_answers_and_ends(fd);
}

START_TEST(a_stop_answers_what_had_come_before_it_resets)
{
	for (int i = 0; i < ROUNDS; i++)
		stop_answers_what_came();
}
END_TEST

static void pollers_stop_wakes_what_came(void)
{
	child_start(&old, pollers_process, NULL);
	ck_assert_int_eq(child_hear(old.sock), 'w');
	suspend(&old);
	child_say(old.sock, '!');
	resume_behind(&old, DEADLINE_MS);

	child_recv(old.sock, &said, sizeof said);
	ck_assert_int_eq(said.r, POLLIN);
	child_join(&old);
}

START_TEST(a_stop_of_pollers_wakes_for_what_had_come_before_it_cancels)
{
	for (int i = 0; i < ROUNDS; i++)
		pollers_stop_wakes_what_came();
}
END_TEST

/* An idle one, whose time is over by then. */
START_TEST(a_drain_answers_what_had_come_before_it_closes)
{
	int fd;

	drain_ms = DRAIN_MS;
	given_old();
	fd = peer_connect(&said.ss, said.len);
	ck_assert_uint_eq(ask(fd), (uint32_t)old.pid);
	child_say(old.sock, 'd');
	AWAIT(refuses());
	suspend(&old);
	peer_send(fd, "xy", 2);
	resume_behind(&old, DRAIN_MS);
	old_answers_and_ends(fd);
}
END_TEST

static void hand_over_takes_what_came(int round)
{
	int fd, quiet;

	snprintf(where, sizeof where, "@np-suspended-%d-%d", (int)getpid(), round);
	given_old();
	child_start(&next, next_process, NULL);
	fd = half_asked();
	quiet = peer_connect(&said.ss, said.len);
	ck_assert_uint_eq(ask(quiet), (uint32_t)old.pid);
	child_say(old.sock, 'o');
	AWAIT(ask(quiet) == (uint32_t)next.pid); /* the other one is waited for */
	suspend(&old);
	peer_send(fd, "y", 1);
	resume_behind(&old, DEADLINE_MS);

	ck_assert_uint_eq(answered(fd), (uint32_t)old.pid);
	child_recv(old.sock, &said, sizeof said);
	ck_assert_int_eq(said.r, 0);
	ck_assert_uint_eq(said.handed.busy, 0);
	ck_assert_uint_eq(said.handed.handed, 2);
	ck_assert_uint_eq(ask(fd), (uint32_t)next.pid);
	peer_close(&fd);
	peer_close(&quiet);
	child_say(old.sock, 'e');
	child_say(next.sock, 'e');
	child_join(&old);
	child_join(&next);
}

START_TEST(a_hand_over_takes_along_what_has_come_to_rest_since)
{
	for (int i = 0; i < ROUNDS; i++)
		hand_over_takes_what_came(i);
}
END_TEST

/* The listener's, and one more for each process that has come. */
static int sockets_at(const char *path)
{
	FILE *f = fopen("/proc/net/unix", "re");
	size_t n = strlen(path), line_n;
	char line[256];
	int sockets = 0;

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof line, f)) {
		line_n = strcspn(line, "\n");
		sockets += line_n > n && memcmp(line + line_n - n, path, n) == 0;
	}
	fclose(f);
	return sockets;
}

static void given_place(void)
{
	snprintf(where, sizeof where, "@np-suspended-%d", (int)getpid());
}

static void old_hands_all_over(void)
{
	child_recv(old.sock, &said, sizeof said);
	ck_assert_int_eq(said.r, 0);
	child_say(old.sock, 'e');
	child_say(next.sock, 'e');
	child_join(&old);
	child_join(&next);
}

START_TEST(a_take_over_finds_the_process_before_that_came_before_it_gives_up)
{
	int timeout_ms = DEADLINE_MS;

	given_place();
	given_old();
	child_start(&next, next_process, &timeout_ms);
	await_suspended(&next);
	child_say(old.sock, 'o');
	AWAIT(sockets_at(where) == 1);
	resume_behind(&next, DEADLINE_MS);
	old_hands_all_over();
}
END_TEST

START_TEST(a_hand_over_finds_the_next_process_that_came_before_it_gives_up)
{
	given_place();
	given_old();
	child_say(old.sock, 'c');
	await_suspended(&old);
	child_start(&next, next_process, NULL);
	AWAIT(sockets_at(where) == 2);
	resume_behind(&old, DEADLINE_MS);
	old_hands_all_over();
}
END_TEST

START_TEST(who_waits_for_a_pools_connection_gets_the_one_that_is_free_again)
{
	int listener = peer_listen(upstream, sizeof upstream), fd;
	char c;

	child_start(&old, pool_process, NULL);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	peer_recv(fd, &c, 1);
	ck_assert_int_eq(child_hear(old.sock), 'w');
	suspend(&old);
	peer_send(fd, "!", 1);
	resume_behind(&old, DEADLINE_MS);

	child_recv(old.sock, &said, sizeof said);
	ck_assert_int_eq(said.r, 0);
	child_join(&old);
	peer_close(&fd);
	close(listener);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "suspended");

	tcase_add_test(t, a_stop_answers_what_had_come_before_it_resets);
	tcase_add_test(t, a_stop_of_pollers_wakes_for_what_had_come_before_it_cancels);
	tcase_add_test(t, a_drain_answers_what_had_come_before_it_closes);
	tcase_add_test(t, a_hand_over_takes_along_what_has_come_to_rest_since);
	tcase_add_test(t, a_take_over_finds_the_process_before_that_came_before_it_gives_up);
	tcase_add_test(t, a_hand_over_finds_the_next_process_that_came_before_it_gives_up);
	tcase_add_test(t, who_waits_for_a_pools_connection_gets_the_one_that_is_free_again);
}

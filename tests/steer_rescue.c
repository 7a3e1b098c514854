/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_rescue: what is queued at a worker that hangs is served by its siblings, and what must not
 * be touched is not
 *
 * Counted by the clients: no connection is ever reset. NP_ROUNDS sets how often the owner comes
 * back at the instant of the shutdown.
 */
#include <errno.h>
#include <netinet/in.h>
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

#include "given_hung.h"
#include "steer/rescue.h"
#include "steer/steer.h"
#include "support/child.h"
#include "support/steer.h"
#include "support/test.h"
#include "sys/addr.h"
#include "sys/clock.h"
#include "sys/sock.h"

#define HANG_MS 40

static int clients[512];
static unsigned n_clients;

static unsigned index_of(const struct rig *r, unsigned i)
{
	return (unsigned)np_steer_worker_index(r->w[i]);
}

static void connect_some(const struct rig *r, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		int fd = client_connect(r->address);

		ck_assert_msg(fd >= 0, "connect: %s", strerror(-fd));
		clients[n_clients++] = fd;
	}
}

/* @n connections, all queued at worker @w of the rig. */
static void queue_at(struct rig *r, unsigned w, unsigned n)
{
	for (unsigned i = 0; i < r->n; i++)
		if (i != w)
			np_steer_kick(r->s, index_of(r, i));
	connect_some(r, n);
	for (unsigned i = 0; i < r->n; i++)
		np_steer_undrain(r->s, index_of(r, i));
}

/* Closes them all, and fails the test if one was reset. */
static void no_client_was_reset(void)
{
	char c;

	for (unsigned i = 0; i < n_clients; i++) {
		ssize_t n = recv(clients[i], &c, 1, MSG_DONTWAIT);

		ck_assert_msg(n == 0 || (n < 0 && errno == EAGAIN), "client %u: %s", i,
			      strerror(errno));
		client_close(&clients[i]);
	}
	n_clients = 0;
}

static bool is_live_slot(const struct rig *r, unsigned w)
{
	uint32_t slot = NP_SLOT(0, w);
	uint64_t cookie;

	return map_lookup(&r->s->maps, MAP_np_socks, &slot, &cookie) == 0;
}

static struct np_steer_opts *quick(void)
{
	static struct np_steer_opts o;

	np_steer_opts_init(&o);
	o.hang_ms = HANG_MS;
	return &o;
}

static int port_of(int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss;

	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
	return addr_port(&ss);
}

/* What an owner does that has come back. False: its listener was not shut. */
static bool come_back(struct rig *r, unsigned i)
{
	int port = port_of(r->fd[i]), fd;

	np_steer_idle(r->w[i]);
	while ((fd = accept4(r->fd[i], NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		close(fd);
		r->accepted[i]++;
	}
	if (errno != EINVAL)
		return false;
	ck_assert_int_eq(np_steer_relisten(r->w[i], r->fd[i]), 0);
	ck_assert_int_eq(port_of(r->fd[i]), port);
	return true;
}

/* ------------------------------------------------------------------ it is done */

START_TEST(the_queue_of_a_hung_worker_is_served_by_its_sibling)
{
	struct np_steer_worker_info w;
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 2, quick());
	queue_at(&r, 0, 100);
	given_hung(&r, 0);
	await_fd(r.fd[1], POLLIN);
	rig_accept(&r);
	ck_assert_uint_eq(r.accepted[1], 100);
	AWAIT(rig_worker_info(&r, 0).moved == 100);
	w = rig_worker_info(&r, 0);
	ck_assert_uint_eq(w.rescued, 1);
	ck_assert_uint_eq(rig_stats(&r).migrated_child, 100);
	ck_assert_uint_eq(rig_worker_info(&r, 1).rescued, 0);

	ck_assert(come_back(&r, 0));
	no_client_was_reset();
	/* rig_drive() accepts when all are there */
	ck_assert_int_eq(np_steer_set_hang_ms(r.s, RIG_HANG_MS), 0);
	rig_drive(&r, 100);
	ck_assert_uint_gt(r.accepted[0], 0);
	ck_assert_uint_eq(rig_stats(&r).fallback_hash, 0);
	rig_stop(&r);
}
END_TEST

/* A queue that is empty when the worker hangs, and is filled by SYNs that were on their way. */
START_TEST(each_listener_of_a_hung_worker_is_shut)
{
	struct rig r;
	int second[2];

	OWN_STEERING();
	rig_start(&r, 2, quick());
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(np_steer_listen(r.w[i], "tcp", "127.0.0.1:7411", 0, &second[i]),
				 0);
	queue_at(&r, 0, 10);
	np_steer_kick(r.s, index_of(&r, 1));
	for (unsigned i = 0; i < 10; i++)
		clients[n_clients++] = client_connect("127.0.0.1:7411");
	np_steer_undrain(r.s, index_of(&r, 1));
	given_hung(&r, 0);
	AWAIT(rig_worker_info(&r, 0).moved == 20);
	ck_assert_uint_eq(rig_worker_info(&r, 0).rescued, 2);
	rig_accept(&r);
	ck_assert_uint_eq(r.accepted[1], 10);
	ck_assert_int_eq(accept4(second[0], NULL, NULL, 0), -1);
	ck_assert_int_eq(errno, EINVAL);
	no_client_was_reset();
	for (unsigned i = 0; i < 2; i++)
		close(second[i]);
	rig_stop(&r);
}
END_TEST

static void keep(void *arg, int level, const char *msg)
{
	char *text = arg;

	if (!text[0])
		snprintf(text, 256, "%s", msg);
}

START_TEST(a_rescue_is_told_in_one_sentence)
{
	char text[256] = "", *at;
	struct np_steer_opts o = *quick();
	unsigned long long ms;
	struct rig r;

	OWN_STEERING();
	o.log = keep;
	o.log_arg = text;
	rig_start(&r, 2, &o);
	queue_at(&r, 1, 3);
	given_hung(&r, 1);
	await_fd(r.fd[0], POLLIN);
	rig_accept(&r);
	no_client_was_reset();
	rig_stop(&r);
	at = strstr(text, "worker 1 has been busy for ");
	ck_assert_ptr_nonnull(at);
	ck_assert_int_eq(sscanf(at, "worker 1 has been busy for %llu ms", &ms), 1);
	ck_assert_uint_gt(ms, HANG_MS);
	ck_assert_uint_le(ms, sys_clock_ns() / 1000000);
	ck_assert_ptr_nonnull(
		strstr(text, "ms: the 3 connections that it had queued went to its siblings"));
}
END_TEST

/* Another descriptor number must never be shut: here the listener's has become a client's. */
START_TEST(a_reused_descriptor_number_is_never_shut)
{
	struct listeners_entry l;
	struct rig r;
	uint64_t cookie;
	int number, other, fd;

	OWN_STEERING();
	rig_start(&r, 2, quick());
	number = r.fd[0];
	ck_assert_int_eq(sys_getsockopt(number, SOL_SOCKET, SO_COOKIE, &cookie, sizeof cookie), 0);
	rig_close_listener(&r, 0);
	other = client_connect(r.address);
	ck_assert_int_eq(other, number);
	ck_assert_int_eq(listeners_find(&r.s->listeners, cookie, &l),
			 0); /* nobody told us of the close */
	ck_assert_int_eq(listeners_dup(&r.s->listeners, cookie, &fd), -ENOENT);
	rig_accept(&r);
	ck_assert_int_eq(send(other, "x", 1, MSG_NOSIGNAL), 1);
	client_close(&other);
	rig_stop(&r);
}
END_TEST

/* ------------------------------------------------------------------ it is not done */

/* Ten times hang_ms of watching, by the process's own watchdog and by one more. */
static void expect_no_rescue(struct rig *r)
{
	int done = np_steer_rescue(r->s, 10 * HANG_MS);

	ck_assert_msg(done == 0 || done == -ETIMEDOUT /* a busy machine */, "%d", done);
	for (unsigned i = 0; i < r->n; i++)
		ck_assert_uint_eq(rig_worker_info(r, i).rescued, 0);
}

START_TEST(with_all_workers_hung_nobody_is_shut)
{
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 4, quick());
	connect_some(&r, 100);
	for (unsigned i = 0; i < 4; i++)
		given_hung(&r, i);
	expect_no_rescue(&r);
	rig_accept(&r);
	ck_assert_uint_eq(rig_accepted(&r), 100);
	no_client_was_reset();
	rig_stop(&r);
}
END_TEST

START_TEST(a_single_worker_is_never_shut)
{
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 1, quick());
	connect_some(&r, 20);
	given_hung(&r, 0);
	expect_no_rescue(&r);
	rig_accept(&r);
	ck_assert_uint_eq(r.accepted[0], 20);
	no_client_was_reset();
	rig_stop(&r);
}
END_TEST

/* Their listeners are of other groups: the kernel could not move the queue to them. */
START_TEST(a_sibling_on_another_address_is_none)
{
	struct rig r;

	OWN_STEERING();
	rig_open(&r, NULL, quick());
	rig_worker(&r, "127.0.0.1:7412");
	rig_worker(&r, "127.0.0.1:7413");
	connect_some(&r, 20);
	given_hung(&r, 1);
	expect_no_rescue(&r);
	rig_accept(&r);
	ck_assert_uint_eq(r.accepted[1], 20);
	no_client_was_reset();
	rig_stop(&r);
}
END_TEST

START_TEST(siblings_that_drain_are_no_help)
{
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 2, quick());
	queue_at(&r, 0, 20);
	np_steer_drain(r.s, index_of(&r, 1));
	given_hung(&r, 0);
	expect_no_rescue(&r);
	rig_accept(&r);
	no_client_was_reset();
	rig_stop(&r);
}
END_TEST

START_TEST(hang_ms_0_and_no_rescue_switch_it_off)
{
	struct np_steer_opts o = *quick();
	struct rig r;

	OWN_STEERING();
	if (_i)
		o.hang_ms = -1;
	else
		o.rescue = NP_OFF;
	rig_start(&r, 2, &o);
	queue_at(&r, 0, 20);
	given_hung(&r, 0);
	if (_i) {
		expect_no_rescue(&r);
	} else {
		ck_assert_ptr_null(r.s->watchdog);
		ck_assert_int_eq(np_steer_rescue(r.s, 10 * HANG_MS), 1); /* another may */
	}
	rig_accept(&r);
	no_client_was_reset();
	rig_stop(&r);
}
END_TEST

/* Before Linux 5.14: a shutdown would reset what is queued. */
START_TEST(a_program_that_does_not_migrate_is_left_alone)
{
	char why[256] = "";
	struct rig r;

	OWN_STEERING();
	rig_open(&r, NULL, quick());
	close(r.s->progs[0]);
	r.s->level = NP_STEER_L2;
	ck_assert_int_eq(
		level_load_programs(&r.s->maps, r.s->level, 0, 1, r.s->progs, why, sizeof why), 0);
	for (unsigned i = 0; i < 2; i++)
		rig_worker(&r, "127.0.0.1:0");
	queue_at(&r, 0, 20);
	given_hung(&r, 0);
	ck_assert_ptr_null(r.s->watchdog);
	ck_assert_int_eq(np_steer_rescue(r.s, 10 * HANG_MS), -NP_EUNSUPPORTED);
	rig_accept(&r);
	ck_assert_uint_eq(r.accepted[0], 20);
	no_client_was_reset();
	rig_stop(&r);
}
END_TEST

/* ----------------------------------------------------------- one at a time, less and less often */

static void *watch(void *arg)
{
	return (void *)(intptr_t)np_steer_rescue(arg, 8 * HANG_MS);
}

START_TEST(two_watchdogs_shut_a_listener_once)
{
	pthread_t t[4];
	void *done;
	intptr_t sum = 0;
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 3, quick());
	queue_at(&r, 0, 50);
	given_hung(&r, 0);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, watch, r.s), 0);
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(t[i], &done);
		sum += (intptr_t)done;
	}
	ck_assert_int_le(sum, 1); /* 0: the process's own was the first */
	ck_assert_uint_eq(rig_worker_info(&r, 0).rescued, 1);
	ck_assert_uint_eq(rig_worker_info(&r, 0).moved, 50);
	rig_accept(&r);
	ck_assert_uint_eq(r.accepted[1] + r.accepted[2], 50);
	no_client_was_reset();
	rig_stop(&r);
}
END_TEST

static void watch_once(int sock, void *s)
{
	child_say(sock, 'w');
	child_hear(sock);
	if (np_steer_rescue(s, 3 * HANG_MS) != 1)
		child_fail("it has not seen who hangs: %s", np_steer_error(s));
	child_say(sock, 'd');
}

/* It is stopped for longer than it is to watch, in its first tick or before it. */
START_TEST(a_watch_that_was_held_up_goes_on_until_it_has_seen_who_hangs)
{
	struct np_steer_opts o = *quick();
	struct child c;
	struct rig r;

	OWN_STEERING();
	o.rescue = NP_OFF;
	rig_start(&r, 2, &o);
	queue_at(&r, 0, 20);
	given_hung(&r, 0);
	child_start(&c, watch_once, r.s);
	child_hear(c.sock);
	child_say(c.sock, 'g');
	ck_assert_int_eq(poll(NULL, 0, HANG_MS / 2), 0);
	ck_assert_int_eq(kill(c.pid, SIGSTOP), 0);
	ck_assert_int_eq(poll(NULL, 0, 4 * HANG_MS), 0);
	ck_assert_int_eq(kill(c.pid, SIGCONT), 0);
	child_hear(c.sock);
	child_join(&c);
	ck_assert_uint_eq(rig_worker_info(&r, 0).moved, 20);
	rig_accept(&r);
	ck_assert_uint_eq(r.accepted[1], 20);
	no_client_was_reset();
	rig_stop(&r);
}
END_TEST

/* It hangs, comes back and hangs again, all the time. Doubling from hang_ms, a second has room for
 * five. */
START_TEST(a_worker_that_goes_on_hanging_is_rescued_ever_less_often)
{
	struct rig r;
	uint64_t end;

	OWN_STEERING();
	rig_start(&r, 2, quick());
	queue_at(&r, 0, 5);
	given_hung(&r, 0);
	for (end = now_ms() + 1000; now_ms() < end; test_pause()) {
		if (is_live_slot(&r, index_of(&r, 0)))
			continue;
		come_back(&r, 0);
		rig_accept(&r);
		queue_at(&r, 0, 5);
		__atomic_store_n(&steer_worker_line(r.w[0])->busy_since_ns, 1, __ATOMIC_RELAXED);
	}
	ck_assert_uint_ge(rig_worker_info(&r, 0).rescued, 2);
	ck_assert_uint_le(rig_worker_info(&r, 0).rescued, 6);
	come_back(&r, 0);
	rig_accept(&r);
	ck_assert_uint_eq(rig_accepted(&r), n_clients);
	no_client_was_reset();
	rig_stop(&r);
}
END_TEST

START_TEST(a_lock_whose_holder_died_is_taken_over)
{
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 2, quick());
	__atomic_store_n(&r.s->maps.service->rescue, (uint32_t)(sys_clock_ns() / 1000000u) | 1u,
			 __ATOMIC_RELAXED);
	queue_at(&r, 0, 5);
	given_hung(&r, 0);
	await_fd(r.fd[1], POLLIN);
	rig_accept(&r);
	ck_assert_uint_eq(r.accepted[1], 5);
	no_client_was_reset();
	rig_stop(&r);
}
END_TEST

/* ------------------------------------------------------------------ the instant */

struct race {
	struct rig *r;
	pthread_barrier_t start;
	unsigned spin; /* the owner's delay: aimed at the shutdown */
	_Atomic(bool) over;
	unsigned relistened;
};

static void spin_for(unsigned n)
{
	for (volatile unsigned i = 0; i < n; i++)
		;
}

static void *owner(void *arg)
{
	struct race *x = arg;

	for (;;) {
		pthread_barrier_wait(&x->start);
		if (x->over)
			return NULL;
		spin_for(x->spin);
		x->relistened += come_back(x->r, 0);
		pthread_barrier_wait(&x->start);
	}
}

static unsigned rounds(unsigned usual)
{
	const char *n = getenv("NP_ROUNDS");

	return n ? (unsigned)atoi(n) : usual;
}

/* One round: worker 0 is found hung, with one to four in its queue, and comes back just then. */
static void race_once(struct race *x, struct rescuer *resc, unsigned *seed, unsigned *shut)
{
	struct rig *r = x->r;
	unsigned n = 1 + (unsigned)rand_r(seed) % 4, before = rig_accepted(r);
	uint64_t cookie, there;
	uint32_t slot = NP_SLOT(0, index_of(r, 0));
	int done;

	queue_at(r, 0, n);
	/* no back-off */
	memset(&r->s->maps.health[index_of(r, 0)], 0, sizeof r->s->maps.health[0]);
	judge_forget(&resc->judge);
	given_hung(r, 0);
	ck_assert_int_eq(rescuer_tick(resc, 3600000000000ull), 0);
	pthread_barrier_wait(&x->start);
	done = rescuer_tick(resc, 3600000000000ull);
	pthread_barrier_wait(&x->start);
	ck_assert_int_ge(done, 0);
	*shut += (unsigned)done;
	/*
	 * Earlier where it came too late, later where it came too early: around the very instant.
	 */
	x->spin += done ? 0u - x->spin / 16 : x->spin / 16 + 1 + (unsigned)rand_r(seed) % 100;
	x->relistened += come_back(r, 0);

	ck_assert_int_eq(sys_getsockopt(r->fd[0], SOL_SOCKET, SO_COOKIE, &cookie, sizeof cookie),
			 0);
	ck_assert_int_eq(map_lookup(&r->s->maps, MAP_np_socks, &slot, &there), 0);
	ck_assert_uint_eq(there, cookie);
	rig_accept(r);
	ck_assert_uint_eq(rig_accepted(r) - before, n);
	no_client_was_reset();
}

START_TEST(an_owner_back_at_the_instant_of_the_shutdown_loses_nothing)
{
	struct np_steer_opts o = *quick();
	unsigned seed = 5, shut = 0, n = rounds(300);
	struct race x = { .r = NULL };
	struct rescuer *resc;
	pthread_t t;
	struct rig r;

	OWN_STEERING();
	o.rescue = NP_OFF; /* only ours */
	rig_start(&r, 2, &o);
	/* The listeners are noted all the same, for np_steer_relisten(). */
	x.r = &r;
	ck_assert_int_eq(rescuer_new(r.s, &(struct rescue_scope){ .native = true }, &resc), 0);
	pthread_barrier_init(&x.start, NULL, 2);
	ck_assert_int_eq(pthread_create(&t, NULL, owner, &x), 0);
	for (unsigned i = 0; i < n; i++)
		race_once(&x, resc, &seed, &shut);
	x.over = true;
	pthread_barrier_wait(&x.start);
	pthread_join(t, NULL);
	rescuer_free(resc);
	ck_assert_uint_eq(shut, x.relistened);
	ck_assert_uint_gt(shut, 0);
	ck_assert_uint_lt(shut, n); /* else the two never met */
	fprintf(stderr, "%u rounds: %u shut and back, %u came back before\n", n, shut, n - shut);
	rig_stop(&r);
}
END_TEST

/* ------------------------------------------------------------------ other processes */

/* Accepts, publishes, and listens again when it was shut, until it is told to end. */
static void serve_child(int sock, void *arg)
{
	struct rig r;
	struct pollfd p[2];
	char c;

	rig_open(&r, "web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN, .rescue = NP_OFF));
	rig_worker(&r, "127.0.0.1:7414");
	child_say(sock, 'r');
	p[0] = (struct pollfd){ .fd = r.fd[0], .events = POLLIN };
	p[1] = (struct pollfd){ .fd = sock, .events = POLLIN };
	for (;;) {
		int fd;

		np_steer_idle(r.w[0]);
		poll(p, 2, -1);
		np_steer_busy(r.w[0]);
		if (p[1].revents)
			break;
		while ((fd = accept4(r.fd[0], NULL, NULL, SOCK_CLOEXEC)) >= 0) {
			np_steer_conn_inc(r.w[0]);
			close(fd);
			np_steer_conn_dec(r.w[0]);
		}
		if (errno == EINVAL && np_steer_relisten(r.w[0], r.fd[0]) < 0)
			child_fail("cannot listen again");
	}
	child_recv(sock, &c, 1);
	close(r.fd[0]);
	if (np_steer_worker_close(&r.w[0]) < 0 || np_steer_close(&r.s) < 0)
		child_fail("cannot leave: %s", np_steer_error(r.s));
}

/* The watchdog and others write meanwhile. */
static uint64_t word(const __u64 *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static void await_stopped(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, WUNTRACED), pid);
	ck_assert(WIFSTOPPED(status));
}

START_TEST(the_queue_of_a_stopped_process_is_served_by_the_other)
{
	struct rig r;
	struct child c;
	uint64_t asked;

	OWN_STEERING();
	ck_assert_int_eq(np_steer_load("web", NP_OPTS(np_steer_load_opts, .hang_ms = HANG_MS)), 0);
	child_start(&c, serve_child, NULL);
	child_hear(c.sock);
	rig_open(&r, "web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN));
	rig_worker(&r, "127.0.0.1:7414");

	/* It has served, and is idle. */
	np_steer_kick(r.s, index_of(&r, 0));
	connect_some(&r, 3);
	AWAIT(word(&r.s->maps.workers[0].closed_total) == 3 &&
	      !word(&r.s->maps.workers[0].busy_since_ns));
	np_steer_undrain(r.s, index_of(&r, 0));
	no_client_was_reset();

	ck_assert_int_eq(kill(c.pid, SIGSTOP), 0);
	await_stopped(c.pid);
	asked = now_ms();
	np_steer_kick(r.s, index_of(&r, 0));
	connect_some(&r, 50); /* all at the process that is stopped */
	np_steer_undrain(r.s, index_of(&r, 0));
	await_fd(r.fd[0], POLLIN);
	fprintf(stderr, "hang_ms %d: the queue of the stopped process came after %llu ms\n",
		HANG_MS, (unsigned long long)(now_ms() - asked));
	AWAIT((rig_accept(&r), r.accepted[0] == 50));
	ck_assert_uint_eq(word(&r.s->maps.health[0].rescued_total), 1);

	/* It goes on, and gets its place back. */
	ck_assert_int_eq(kill(c.pid, SIGCONT), 0);
	np_steer_kick(r.s, index_of(&r, 0));
	AWAIT(!word(&r.s->maps.workers[0].busy_since_ns) && is_live_slot(&r, 0));
	connect_some(&r, 10);
	AWAIT(word(&r.s->maps.workers[0].closed_total) == 13);
	np_steer_undrain(r.s, index_of(&r, 0));
	no_client_was_reset();
	child_say(c.sock, 'e');
	child_join(&c);
	rig_stop(&r);
	ck_assert_int_eq(np_steer_unload("web", NULL), 0);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "done");

	tcase_add_test(t, the_queue_of_a_hung_worker_is_served_by_its_sibling);
	tcase_add_test(t, each_listener_of_a_hung_worker_is_shut);
	tcase_add_test(t, a_rescue_is_told_in_one_sentence);
	tcase_add_test(t, a_reused_descriptor_number_is_never_shut);
	t = add_case(s, "not done");
	tcase_add_test(t, with_all_workers_hung_nobody_is_shut);
	tcase_add_test(t, a_single_worker_is_never_shut);
	tcase_add_test(t, a_sibling_on_another_address_is_none);
	tcase_add_test(t, siblings_that_drain_are_no_help);
	tcase_add_loop_test(t, hang_ms_0_and_no_rescue_switch_it_off, 0, 2);
	tcase_add_test(t, a_program_that_does_not_migrate_is_left_alone);
	t = add_case(s, "no storm");
	tcase_add_test(t, two_watchdogs_shut_a_listener_once);
	tcase_add_test(t, a_watch_that_was_held_up_goes_on_until_it_has_seen_who_hangs);
	tcase_add_test(t, a_worker_that_goes_on_hanging_is_rescued_ever_less_often);
	tcase_add_test(t, a_lock_whose_holder_died_is_taken_over);
	t = add_case(s, "instant");
	tcase_set_timeout(t, 1800);
	tcase_add_test(t, an_owner_back_at_the_instant_of_the_shutdown_loses_nothing);
	t = add_case(s, "processes");
	tcase_add_test(t, the_queue_of_a_stopped_process_is_served_by_the_other);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_stuck: a worker that takes nothing out of its queue is passed over, though it says nothing
 *
 * At level 4 the program sees how long the first one of a queue has waited. No watchdog helps here.
 */
#include <errno.h>
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

#include "steer/steer.h"
#include "support/child.h"
#include "support/steer.h"
#include "support/test.h"
#include "sys/clock.h"

#define MS      1000000ull
#define HANG_MS 100
#define WORKERS 4
#define SERVICE NP_OPTS(np_steer_load_opts, .hang_ms = HANG_MS)

static const char *const policies[] = { "hash",   "rr",          "random",    "p2c",     "least",
					"maglev", "least-exact", "p2c-exact", "weighted" };
#define POLICIES (int)(sizeof policies / sizeof *policies)

static void pass(uint64_t ms)
{
	uint64_t until = sys_clock_ns() + ms * MS;

	AWAIT(sys_clock_ns() >= until);
}

static uint64_t given(const struct rig *r, unsigned i)
{
	struct np_steer_worker_info w = rig_worker_info(r, i);

	return w.steered + w.fallback;
}

static void clients(struct rig *r, unsigned n)
{
	while (n--) {
		int fd = client_connect(r->address);

		ck_assert_msg(fd >= 0, "connect: %s", strerror(-fd));
		client_close(&fd);
	}
}

/* What is connected waits: nothing is closed before the end of the test. */
static void clients_that_stay(struct rig *r, unsigned n)
{
	while (n--)
		ck_assert_int_ge(client_connect(r->address), 0);
}

static void given_rig(struct rig *r, unsigned n, const char *policy, int hang_ms)
{
	rig_open(r, NULL,
		 NP_OPTS(np_steer_opts, .policy = policy, .hang_ms = hang_ms, .rescue = NP_OFF));
	for (unsigned i = 0; i < n; i++)
		rig_worker(r, "127.0.0.1:0");
}

/* Takes what worker @i has queued; the others keep theirs. */
static unsigned take(struct rig *r, unsigned i, unsigned most)
{
	unsigned n = 0;
	int fd;

	while (n < most && (fd = accept4(r->fd[i], NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		close(fd);
		n++;
	}
	return n;
}

/* ------------------------------------------------------------------ a process that is stopped */

/* Accepts, and publishes nothing. */
static void serve_silently(int sock, void *arg)
{
	struct pollfd p[2];
	struct rig r;
	int fd;

	rig_open(&r, "web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN, .rescue = NP_OFF));
	rig_worker(&r, "127.0.0.1:7415");
	child_say(sock, 'r');
	p[0] = (struct pollfd){ .fd = r.fd[0], .events = POLLIN };
	p[1] = (struct pollfd){ .fd = sock, .events = POLLIN };
	while (poll(p, 2, -1) > 0 && !p[1].revents)
		while ((fd = accept4(r.fd[0], NULL, NULL, SOCK_CLOEXEC)) >= 0)
			close(fd);
	close(r.fd[0]);
	if (np_steer_worker_close(&r.w[0]) < 0 || np_steer_close(&r.s) < 0)
		child_fail("cannot leave: %s", np_steer_error(r.s));
}

static void stop(const struct child *c)
{
	int status;

	ck_assert_int_eq(kill(c->pid, SIGSTOP), 0);
	ck_assert_int_eq(waitpid(c->pid, &status, WUNTRACED), c->pid);
	ck_assert(WIFSTOPPED(status));
}

static uint64_t given_to(struct np_steer *s, unsigned w)
{
	struct np_steer_worker_info i;

	np_steer_worker_info_init(&i);
	ck_assert_int_eq(np_steer_worker_info(s, w, &i), 0);
	return i.steered + i.fallback;
}

/* "maglev" has one worker for all clients of an address. */
static unsigned most_given(struct np_steer *s)
{
	unsigned most = 0;

	for (unsigned w = 1; w < WORKERS; w++)
		if (given_to(s, w) > given_to(s, most))
			most = w;
	return most;
}

/* Clients until worker @w has been given one more. */
static void until_given(struct rig *r, unsigned w)
{
	uint64_t before = given_to(r->s, w);

	AWAIT((clients(r, 8), given_to(r->s, w) > before));
}

/* What a worker is given from now on, a few clients at a time. */
struct watched {
	uint64_t first, last; /* when it was given something; the start, if nothing */
	uint64_t gap;         /* the longest between two of those */
	uint64_t round;       /* the longest that a few clients took: a busy machine */
	unsigned given, came;
};

static struct watched watch(struct rig *r, unsigned w, uint64_t ns)
{
	struct watched x = { .first = sys_clock_ns() };
	uint64_t had = given_to(r->s, w), now = x.first, until = now + ns, before, n;

	x.last = now;
	while (now < until) {
		before = now;
		clients(r, 4);
		test_pause();
		x.came += 4;
		n = given_to(r->s, w) - had;
		now = sys_clock_ns();
		x.round = now - before > x.round ? now - before : x.round;
		if (n == x.given)
			continue;
		if (!x.given)
			x.first = x.last = now;
		x.gap = now - x.last > x.gap ? now - x.last : x.gap;
		x.last = now;
		x.given = (unsigned)n;
	}
	return x;
}

/*
 * From its first one on that it does not take, a stopped worker gets more for hang_ms, and then
 * none. The second half of that counts from the first that comes in it.
 */
START_TEST(a_stopped_worker_that_publishes_nothing_gets_none_after_hang_ms)
{
	struct child c[WORKERS];
	struct watched x;
	unsigned w;
	struct rig r;

	OWN_STEERING();
	ck_assert_int_eq(np_steer_load("web", SERVICE), 0);
	rig_open(&r, "web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN));
	if (rig_level(&r) < NP_STEER_L4)
		SKIP("no level 4: %s", r.s->reason);
	ck_assert_int_eq(np_steer_set_policy(r.s, policies[_i]), 0);
	for (unsigned i = 0; i < WORKERS; i++) {
		child_start(&c[i], serve_silently, NULL);
		child_hear(c[i].sock);
	}
	strcpy(r.address, "127.0.0.1:7415");
	clients(&r, 100);

	w = most_given(r.s);
	stop(&c[w]);
	x = watch(&r, w, 5 * HANG_MS * MS);
	fprintf(stderr, "%-12s %u of %u, the last after %llu ms\n", policies[_i], x.given, x.came,
		(unsigned long long)((x.last - x.first) / MS));
	ck_assert_uint_le(x.last - x.first,
			  HANG_MS * MS + x.gap + x.round + 4 * sys_clock_tick_ns());

	ck_assert_int_eq(kill(c[w].pid, SIGCONT), 0);
	until_given(&r, w);
	for (unsigned i = 0; i < WORKERS; i++) {
		child_say(c[i].sock, 'e');
		child_join(&c[i]);
	}
	ck_assert_int_eq(np_steer_close(&r.s), 0);
	ck_assert_int_eq(np_steer_unload("web", NULL), 0);
}
END_TEST

/* ------------------------------------------------------------------ old, and not stuck */

/*
 * More than it can serve in hang_ms, and it serves: such a worker does not hang, and where all are
 * like it the policy goes on.
 */
START_TEST(a_queue_that_is_old_and_moves_is_no_hang)
{
	struct rig r;

	OWN_STEERING();
	given_rig(&r, 2, "least-exact", HANG_MS);
	if (rig_level(&r) < NP_STEER_L4)
		SKIP("needs level 4");
	clients_that_stay(&r, 200);
	pass(HANG_MS + 20);
	for (unsigned i = 0; i < 60; i++) {
		ck_assert_uint_eq(take(&r, 0, 1) + take(&r, 1, 1), 2);
		clients_that_stay(&r, 2);
	}
	ck_assert_uint_eq(rig_stats(&r).skipped_hung, 0);
	ck_assert_uint_eq(rig_stats(&r).steered, 320);
	ck_assert_uint_eq(given(&r, 0), 160);
	rig_accept(&r);
	rig_stop(&r);
}
END_TEST

/* Out of a listener that closed they come with their age. */
START_TEST(a_queue_that_was_moved_makes_nobody_hang)
{
	struct rig r;

	OWN_STEERING();
	given_rig(&r, 2, "hash", HANG_MS);
	if (rig_level(&r) < NP_STEER_L4)
		SKIP("needs level 4");
	ck_assert_int_eq(np_steer_kick(r.s, 1), 0);
	clients_that_stay(&r, 20);
	ck_assert_int_eq(np_steer_undrain(r.s, 1), 0);
	pass(HANG_MS + 20);
	rig_close_listener(&r, 0);
	clients_that_stay(&r, 1);
	ck_assert_uint_eq(rig_stats(&r).steered, 21);
	ck_assert_uint_eq(rig_stats(&r).skipped_hung, 0);
	ck_assert_uint_eq(take(&r, 1, 100), 21);
	rig_stop(&r);
}
END_TEST

START_TEST(hang_ms_0_sees_no_age)
{
	struct rig r;

	OWN_STEERING();
	given_rig(&r, 2, "rr", -1);
	clients_that_stay(&r, 2);
	pass(HANG_MS);
	clients_that_stay(&r, 2);
	pass(HANG_MS);
	clients_that_stay(&r, 2);
	ck_assert_uint_eq(rig_stats(&r).skipped_hung, 0);
	ck_assert_uint_eq(given(&r, 0), 3);
	rig_accept(&r);
	rig_stop(&r);
}
END_TEST

/* ------------------------------------------------------------------ late, and not stuck */

/*
 * Long before it counts as hung, a worker whose first one waits is behind one that has more
 * connections, and none that waits.
 */
START_TEST(a_worker_that_is_late_counts_some_connections_more)
{
	struct rig r;

	OWN_STEERING();
	given_rig(&r, 2, "least-exact", 60000);
	if (rig_level(&r) < NP_STEER_L4)
		SKIP("needs level 4");
	ck_assert_int_eq(np_steer_kick(r.s, 1), 0);
	clients_that_stay(&r, 1);
	pass(1000);
	ck_assert_int_eq(np_steer_undrain(r.s, 1), 0);
	ck_assert_int_eq(np_steer_kick(r.s, 0), 0);
	clients_that_stay(&r, 4);
	ck_assert_int_eq(np_steer_undrain(r.s, 0), 0);

	clients_that_stay(&r, 4);

	ck_assert_uint_eq(given(&r, 0), 1);
	clients_that_stay(&r, 20); /* some, and no more */
	ck_assert_uint_gt(given(&r, 0), 1);
	ck_assert_uint_eq(rig_stats(&r).skipped_hung, 0);
	ck_assert_uint_eq(rig_stats(&r).steered, 29);
	rig_accept(&r);
	rig_stop(&r);
}
END_TEST

/* ------------------------------------------------------------------ the tick */

/* The loader's word for it, and the jiffies that the program notes, against the clock. */
START_TEST(a_jiffy_is_as_long_as_the_loader_says)
{
	struct np_slot_stats all[256], last = { 0 };
	uint64_t at[2], jiffies[2], elapsed, tick;
	const uint32_t slot = 0;
	struct rig r;

	OWN_STEERING();
	given_rig(&r, 1, "hash", -1);
	if (rig_level(&r) < NP_STEER_L4)
		SKIP("needs level 4");
	tick = r.s->maps.config->tick_ns;
	ck_assert_uint_eq(tick, sys_clock_tick_ns());
	for (unsigned k = 0; k < 2; k++) {
		rig_drive(&r, 1);
		at[k] = sys_clock_ns();
		ck_assert_int_eq(map_lookup(&r.s->maps, MAP_np_worker_stats, &slot, all), 0);
		for (int cpu = 0; cpu < map_cpus(&r.s->maps); cpu++)
			if (all[cpu].seen_jiffies > last.seen_jiffies)
				last = all[cpu];
		jiffies[k] = last.seen_jiffies;
		pass(500);
	}
	elapsed = at[1] - at[0];
	fprintf(stderr, "%llu jiffies of %llu ns in %llu ns\n",
		(unsigned long long)(jiffies[1] - jiffies[0]), (unsigned long long)tick,
		(unsigned long long)elapsed);
	/* A process that was held up between the looks sees the clock go on, not the jiffies. */
	ck_assert_uint_le((jiffies[1] - jiffies[0]) * tick, elapsed + 2 * tick + 200 * MS);
	ck_assert_uint_ge((jiffies[1] - jiffies[0]) * tick + 2 * tick + 200 * MS, elapsed);
	rig_stop(&r);
}
END_TEST

/* ------------------------------------------------------------------ told */

#define TOLD 300

struct told {
	struct np_steer *s;
	_Atomic(unsigned) n;
	unsigned wrong, stuck;
};

static int hear(void *arg, const struct np_steer_decision *d)
{
	struct told *t = arg;

	if (!strcmp(d->verdict, "nonsyn"))
		return 0;
	t->wrong += d->replay != 0;
	t->stuck += d->stuck > 0;
	return ++t->n == TOLD;
}

static void *listen_to(void *arg)
{
	struct told *t = arg;

	return (void *)(intptr_t)np_steer_trace(t->s, 65536, -1, hear, t);
}

/* One worker takes nothing, the others do; the decisions say so, and the replay agrees. */
START_TEST(the_replay_agrees_and_a_decision_says_that_one_is_stuck)
{
	struct told t = { .n = 0 };
	unsigned stuck;
	pthread_t thread;
	struct rig r;

	OWN_STEERING();
	given_rig(&r, WORKERS, policies[_i], HANG_MS);
	if (rig_level(&r) < NP_STEER_L4)
		SKIP("needs level 4");
	t.s = r.s;
	ck_assert_int_eq(pthread_create(&thread, NULL, listen_to, &t), 0);
	AWAIT(__atomic_load_n(&r.s->maps.config->trace, __ATOMIC_RELAXED) == 65536);
	clients_that_stay(&r, 1);
	stuck = most_given(r.s);
	for (unsigned i = 1; i < TOLD; i++) {
		clients_that_stay(&r, 1);
		for (unsigned w = 0; w < WORKERS; w++)
			if (w != stuck)
				take(&r, w, 100);
		pass(1);
	}
	pthread_join(thread, NULL);
	ck_assert_uint_eq(t.wrong, 0);
	/* which looks at nobody who has more than others */
	if (strcmp(policies[_i], "least-exact"))
		ck_assert_uint_gt(t.stuck, 0);
	ck_assert_uint_eq(rig_stats(&r).syn_total, TOLD);
	rig_accept(&r);
	rig_stop(&r);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "stuck");

	tcase_add_loop_test(t, a_stopped_worker_that_publishes_nothing_gets_none_after_hang_ms, 0,
			    POLICIES);
	tcase_add_test(t, a_queue_that_is_old_and_moves_is_no_hang);
	tcase_add_test(t, a_queue_that_was_moved_makes_nobody_hang);
	tcase_add_test(t, hang_ms_0_sees_no_age);
	tcase_add_test(t, a_worker_that_is_late_counts_some_connections_more);
	tcase_add_test(t, a_jiffy_is_as_long_as_the_loader_says);
	tcase_add_loop_test(t, the_replay_agrees_and_a_decision_says_that_one_is_stuck, 0,
			    POLICIES);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* baton: a poller changes its thread, with and without what the kernel may refuse. */
#include <errno.h>
#include <netpoll/pollers.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "poll/baton.h"
#include "poll/poller_private.h"
#include "support/pollers.h"
#include "support/test.h"
#include "sys/clock.h"
#include "sys/fault.h"
#include "sys/fence.h"

static sem_t gate;
static _Atomic(int) begun;

static void given_set(int threads)
{
	begun = 0;
	sem_init(&gate, 0, 0);
	given_pollers(NP_OPTS(np_pollers_opts, .count = 1, .pin = NP_OFF, .handoff_ms = 1,
			      .handoff_threads = threads));
}

static void setup(void)
{
	given_set(0);
}

static void teardown(void)
{
	end_pollers();
	sem_destroy(&gate);
}

static void pass_gate(void *arg)
{
	begun++;
	while (sem_wait(&gate) < 0)
		;
}

/* As a handler with NP_MAY_BLOCK is called. */
static int block_unforeseen(void *arg)
{
	baton_user_begin();
	pass_gate(NULL);
	baton_user_end();
	return 0;
}

static int block_foreseen(void *arg)
{
	return np_blocking(pass_gate, NULL);
}

static int nothing(void *arg)
{
	return 7;
}

static struct np_task *given_blocked(int (*fn)(void *))
{
	int was = begun;
	struct np_task *t = given_task(0, fn, NULL);

	AWAIT(begun == was + 1);
	return t;
}

static void must_go_on(struct np_task *t)
{
	sem_post(&gate);
	ck_assert_int_eq(joined(t), 0);
}

START_TEST(what_nobody_foresaw_is_left_alone_in_time)
{
	struct np_task *t = given_blocked(block_unforeseen);

	ck_assert_int_eq(np_run(pollers, nothing, NULL), 7);
	ck_assert_uint_eq(pollers_stats().handoffs, 1);
	must_go_on(t);
}
END_TEST

static void verbs_while_the_looper_sleeps(void *arg)
{
	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(np_yield(), 0);
	ck_assert_int_eq(np_sleep(1), 0);
}

static int call_verbs(void *arg)
{
	return np_blocking(verbs_while_the_looper_sleeps, NULL);
}

START_TEST(a_verb_robs_a_looper_that_sleeps_and_wakes_it_for_what_it_leaves)
{
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(np_run(pollers, call_verbs, NULL), 0);
}
END_TEST

static pthread_t began_on;
static _Atomic(int) parked;

static int park_and_compare(void *arg)
{
	struct np_event *e = arg;

	began_on = pthread_self();
	parked = 1;
	ck_assert_int_eq(np_event_wait(e, 0), 0);
	return pthread_equal(began_on, pthread_self()) ? 1 : -EINVAL;
}

START_TEST(a_fiber_that_began_on_a_spare_thread_goes_on_there)
{
	struct np_task *stuck, *t;
	struct np_event *e;

	ck_assert_int_eq(np_event_new(&e), 0);
	parked = 0;
	stuck = given_blocked(block_foreseen);
	t = given_task(0, park_and_compare, e);
	AWAIT(parked);
	must_go_on(stuck); /* the loop is at home again */
	ck_assert_int_eq(np_run(pollers, nothing, NULL), 7);
	np_event_set(e);
	ck_assert_int_eq(joined(t), 1);
	np_event_free(&e);
}
END_TEST

/* Its fibers have to wait where one of them is stuck, and go on when it is not. */
START_TEST(one_that_hosts_can_be_left_alone_too)
{
	struct np_task *home, *guest, *t;
	struct np_event *e;

	ck_assert_int_eq(np_event_new(&e), 0);
	parked = 0;
	home = given_blocked(block_foreseen);
	t = given_task(0, park_and_compare, e);
	AWAIT(parked);
	guest = given_blocked(block_unforeseen); /* on that spare thread */
	ck_assert_int_eq(np_run(pollers, nothing, NULL), 7);
	np_event_set(e);
	ck_assert_int_eq(np_run(pollers, nothing, NULL), 7);
	sem_post(&gate);
	sem_post(&gate);
	ck_assert_int_eq(joined(home), 0);
	ck_assert_int_eq(joined(guest), 0);
	ck_assert_int_eq(joined(t), 1);
	np_event_free(&e);
}
END_TEST

START_TEST(a_stop_waits_for_one_that_is_alone)
{
	struct np_task *t = given_blocked(block_foreseen);

	ck_assert_int_eq(np_pollers_stop(pollers, 20), -ETIMEDOUT);
	must_go_on(t);
}
END_TEST

static struct poller_load line;

static int publish_here(void *arg)
{
	return poller_add_load(poller_self(), &line);
}

static int publish_no_more(void *arg)
{
	poller_del_load(poller_self(), &line);
	return (int)line.handoffs;
}

/* And what is busy meanwhile is the poller, with what it does. */
START_TEST(hand_offs_are_published_for_steering)
{
	struct np_task *t;

	ck_assert_int_eq(np_run(pollers, publish_here, NULL), 0);
	t = given_blocked(block_unforeseen);
	AWAIT(__atomic_load_n(&line.handoffs, __ATOMIC_RELAXED) == 1);
	AWAIT(__atomic_load_n(&line.busy_since_ns, __ATOMIC_RELAXED) == 0);
	must_go_on(t);
	ck_assert_int_eq(np_run(pollers, publish_no_more, NULL), 1);
}
END_TEST

/* ------------------------------------------------------------------ what it has cost its CPUs */

#define BURN_NS 20000000u
#define AWAY_NS 200000000u

static struct {
	uint64_t begun_ns, away_ns, cost_ns; /* by sys_clock_ns(), but for the last */
	_Atomic(bool) wanted;                /* the next */
	_Atomic(unsigned) costs;
} sampled;

static void *sample_begins(const void *fn, void *arg)
{
	if (!atomic_exchange(&sampled.wanted, false))
		return NULL;
	sampled.begun_ns = sys_clock_ns();
	return &sampled;
}

static void sample_ends(void *what, uint64_t ns)
{
	sampled.cost_ns += ns;
	sampled.costs++;
}

static int measure(void *arg)
{
	static const struct poller_sampler sampler = { .begin = sample_begins, .end = sample_ends };

	poller_sample(poller_self(), &sampler);
	return 0;
}

static int measure_no_more(void *arg)
{
	poller_sample_no_more(poller_self());
	return 0;
}

static int spent(void *arg)
{
	uint64_t waited;

	poller_spent(poller_self(), arg, &waited);
	return 0;
}

static void burn(uint64_t ns)
{
	uint64_t end = sys_clock_thread_ns() + ns;

	while (sys_clock_thread_ns() < end)
		;
}

static int burn_here(void *arg)
{
	burn(BURN_NS);
	return 0;
}

static void burn_and_pass(void *arg)
{
	burn(AWAY_NS);
	pass_gate(NULL);
}

static int burn_away(void *arg)
{
	return np_blocking(burn_and_pass, NULL);
}

static int park_and_burn(void *arg)
{
	parked = 1;
	ck_assert_int_eq(np_event_wait(arg, 0), 0);
	return burn_here(NULL);
}

static uint64_t spent_since(uint64_t before)
{
	uint64_t now;

	ck_assert_int_eq(np_run(pollers, spent, &now), 0);
	return now - before;
}

/* That of the handler which is left alone is not its poller's. */
START_TEST(its_time_is_that_of_the_threads_that_have_carried_it)
{
	struct np_task *stuck, *t;
	struct np_event *e;
	uint64_t before;

	ck_assert_int_eq(np_event_new(&e), 0);
	ck_assert_int_eq(np_run(pollers, measure, NULL), 0);
	before = spent_since(0);
	parked = 0;
	stuck = given_blocked(burn_away);
	ck_assert_int_eq(np_run(pollers, burn_here, NULL), 0); /* by the spare thread */
	t = given_task(0, park_and_burn, e);
	AWAIT(parked);
	must_go_on(stuck);
	ck_assert_uint_ge(spent_since(before), BURN_NS);
	np_event_set(e); /* lent the baton, the spare one burns again */
	ck_assert_int_eq(joined(t), 0);
	ck_assert_int_eq(np_run(pollers, burn_here, NULL), 0); /* at home */

	ck_assert_uint_ge(spent_since(before), 3 * BURN_NS);
	ck_assert_uint_lt(spent_since(before), 3 * BURN_NS + AWAY_NS);
	ck_assert_int_eq(np_run(pollers, measure_no_more, NULL), 0);
	np_event_free(&e);
}
END_TEST

static void note_and_sleep(void *arg)
{
	sampled.away_ns = sys_clock_ns();
	pass_gate(NULL);
}

static int sleep_away(void *arg)
{
	sampled.wanted = true;
	ck_assert_int_eq(np_yield(), 0);
	return np_blocking(note_and_sleep, NULL);
}

START_TEST(a_handler_costs_its_poller_what_it_does_until_it_is_left_alone)
{
	struct np_task *t;

	ck_assert_int_eq(np_run(pollers, measure, NULL), 0);
	t = given_blocked(sleep_away);
	ck_assert_int_eq(np_run(pollers, burn_here, NULL), 0);
	must_go_on(t);

	AWAIT(sampled.costs == 1);
	ck_assert_uint_le(sampled.cost_ns, sampled.away_ns - sampled.begun_ns);
	ck_assert_int_eq(np_run(pollers, measure_no_more, NULL), 0);
}
END_TEST

/* As that of a connection does, whose request waited for a stack, or is the rest of a batch. */
START_TEST(a_fiber_that_begins_from_the_queue_costs_its_poller_what_it_does)
{
	ck_assert_int_eq(np_run(pollers, measure, NULL), 0);
	sampled.wanted = true;
	ck_assert_int_eq(np_run(pollers, burn_here, NULL), 0);

	AWAIT(sampled.costs == 1);
	ck_assert_uint_ge(sampled.cost_ns, BURN_NS / 2);
	ck_assert_int_eq(np_run(pollers, measure_no_more, NULL), 0);
}
END_TEST

static int count_cpus(void *arg)
{
	cpu_set_t set;

	ck_assert_int_eq(sched_getaffinity(0, sizeof set, &set), 0);
	return CPU_COUNT(&set);
}

/* Beside a handler that computes on the poller's own. */
START_TEST(a_spare_thread_may_run_on_each_cpu_of_its_set)
{
	cpu_set_t all;
	struct np_task *t;

	ck_assert_int_eq(sched_getaffinity(0, sizeof all, &all), 0);
	teardown();
	sem_init(&gate, 0, 0);
	given_pollers(NP_OPTS(np_pollers_opts, .count = CPU_COUNT(&all), .pin = NP_ON));
	ck_assert_int_eq(joined(given_task(0, count_cpus, NULL)), 1);
	t = given_blocked(block_foreseen);
	ck_assert_int_eq(joined(given_task(0, count_cpus, NULL)), CPU_COUNT(&all));
	must_go_on(t);
}
END_TEST

START_TEST(an_idle_set_has_no_spare_thread)
{
	ck_assert_int_eq(np_run(pollers, nothing, NULL), 7);
	ck_assert_uint_eq(pollers_stats().handoffs, 0);
}
END_TEST

#ifdef NP_FAULT
static void must_hand_on(void)
{
	struct np_task *t = given_blocked(block_unforeseen);

	ck_assert_int_eq(np_run(pollers, nothing, NULL), 7);
	must_go_on(t);
	t = given_blocked(block_foreseen);
	ck_assert_int_eq(np_run(pollers, nothing, NULL), 7);
	must_go_on(t);
	ck_assert_int_eq(np_run(pollers, call_verbs, NULL), 0);
}

START_TEST(without_membarrier_both_sides_fence)
{
	teardown();
	sys_fence_forget();
	sys_fault_arm(SYS_fence, 1, EPERM);
	given_set(0);
	ck_assert(!sys_fence_by_kernel);
	must_hand_on();
	ck_assert_uint_eq(sys_fault_calls(SYS_fence), 1);
}
END_TEST

START_TEST(a_membarrier_that_fails_later_is_tried_no_more)
{
	teardown();
	sys_fence_forget();
	sys_fault_arm(SYS_fence, 2, ENOSYS);
	given_set(0);
	must_hand_on();
	ck_assert(!sys_fence_by_kernel);
}
END_TEST

START_TEST(where_no_thread_is_to_be_had_the_poller_waits)
{
	struct np_task *t;

	sys_fault_arm(SYS_thread, 1, EAGAIN);
	t = given_blocked(block_foreseen);
	ck_assert_uint_eq(pollers_stats().handoffs, 0);
	ck_assert_uint_eq(pollers_stats().handoffs_refused, 1);
	must_go_on(t);
	must_hand_on();
	sys_fault_arm(SYS_eventfd, 1, EMFILE);
	t = given_blocked(block_foreseen);
	must_go_on(t);
}
END_TEST

START_TEST(a_watchdog_that_cannot_begin_is_begun_by_the_next)
{
	struct np_task *t;

	sys_fault_arm(SYS_thread, 1, EAGAIN);
	t = given_blocked(block_unforeseen);
	must_go_on(t);
	must_hand_on();
}
END_TEST
#endif

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "a poller that changes its thread");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, what_nobody_foresaw_is_left_alone_in_time);
	tcase_add_test(t, a_verb_robs_a_looper_that_sleeps_and_wakes_it_for_what_it_leaves);
	tcase_add_test(t, a_fiber_that_began_on_a_spare_thread_goes_on_there);
	tcase_add_test(t, one_that_hosts_can_be_left_alone_too);
	tcase_add_test(t, a_stop_waits_for_one_that_is_alone);
	tcase_add_test(t, hand_offs_are_published_for_steering);
	tcase_add_test(t, its_time_is_that_of_the_threads_that_have_carried_it);
	tcase_add_test(t, a_handler_costs_its_poller_what_it_does_until_it_is_left_alone);
	tcase_add_test(t, a_fiber_that_begins_from_the_queue_costs_its_poller_what_it_does);
	tcase_add_test(t, a_spare_thread_may_run_on_each_cpu_of_its_set);
	tcase_add_test(t, an_idle_set_has_no_spare_thread);
#ifdef NP_FAULT
	tcase_add_test(t, without_membarrier_both_sides_fence);
	tcase_add_test(t, a_membarrier_that_fails_later_is_tried_no_more);
	tcase_add_test(t, where_no_thread_is_to_be_had_the_poller_waits);
	tcase_add_test(t, a_watchdog_that_cannot_begin_is_begun_by_the_next);
#endif
}

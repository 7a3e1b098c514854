/* SPDX-License-Identifier: BSD-2-Clause */
/* turn: its order, what it leaves for the next, and what of it another looper goes on with. */
#include "poll/poller.h"
#include "poll/poller_private.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "given_poller.h"
#include "poll/watch.h"
#include "sys/fault.h"
#include "sys/io.h"

static struct poller *p;

static void setup(void)
{
	p = given_poller();
}

static void teardown(void)
{
	free_poller(p);
}

/* ------------------------------------------------------------------ one turn */

static char order[32];

static void note(char c)
{
	size_t n = strlen(order);

	ck_assert_uint_lt(n, sizeof order - 1);
	order[n] = c;
}

static void note_deferred(struct mail *m)
{
	note('d');
	poller_stop(p);
}

static void note_mail(struct mail *m)
{
	static struct mail deferred = { .fn = note_deferred };

	note('m');
	poller_defer(p, &deferred);
}

static void note_watch(struct watch *w, unsigned ready)
{
	note('w');
	watch_stop(w, ready);
}

static void note_fiber(void *arg)
{
	note('f');
}

static void note_timer(struct timer *t)
{
	note('t');
}

START_TEST(a_turn_is_mail_watches_fibers_timers_and_then_what_was_put_off)
{
	struct mail m = { .fn = note_mail };
	struct watch w = { 0 };
	struct timer t;
	int fds[2];

	given_pair(fds);
	ck_assert_int_eq(sys_write(fds[1], "x", 1), 1);
	ck_assert_int_eq(watch_open(&w, p, fds[0], 0, note_watch), 0);
	watch_want(&w, WATCH_IN);
	timer_init(&t, note_timer);
	timer_arm(p, &t, 0);
	ck_assert_int_eq(poller_spawn(p, note_fiber, NULL), 0);
	poller_post(p, &m);
	run_loop(p);

	ck_assert_str_eq(order, "mwftd");
	watch_close(&w);
	sys_close(&fds[0]);
	sys_close(&fds[1]);
}
END_TEST

static uint64_t turns[4];
static unsigned n_turns;

static void defer_again(struct mail *m)
{
	turns[n_turns++] = poller_turn(p);
	if (n_turns == 2)
		poller_stop(p);
	else
		poller_defer(p, m);
}

START_TEST(what_is_put_off_while_such_work_runs_waits_for_the_next_turn)
{
	struct mail m = { .fn = defer_again };

	poller_defer(p, &m);
	run_loop(p);
	ck_assert_uint_eq(turns[1], turns[0] + 1);
}
END_TEST

static void yield_three_times(void *arg)
{
	while (n_turns < 4) {
		turns[n_turns++] = poller_turn(p);
		poller_ready(p, fiber_self());
		fiber_park();
	}
	poller_stop(p);
}

START_TEST(a_fiber_that_is_made_ready_while_fibers_run_goes_on_in_the_next_turn)
{
	poller_spawn(p, yield_three_times, NULL);
	run_loop(p);
	for (unsigned i = 1; i < 4; i++)
		ck_assert_uint_eq(turns[i], turns[i - 1] + 1);
}
END_TEST

static void spawn_another(void *arg)
{
	turns[n_turns++] = poller_turn(p);
	if (n_turns == 2)
		poller_stop(p);
	else
		poller_spawn(p, spawn_another, NULL);
}

START_TEST(a_fiber_spawned_by_a_fiber_begins_in_the_next_turn)
{
	poller_spawn(p, spawn_another, NULL);
	run_loop(p);
	ck_assert_uint_eq(turns[1], turns[0] + 1);
}
END_TEST

static void note_arg(void *arg)
{
	note((char)(uintptr_t)arg);
}

static void stop_fiber(void *arg)
{
	poller_stop(p);
}

START_TEST(fibers_begin_in_the_order_of_their_spawns)
{
	struct spawn node = { .call = { note_arg, (void *)(uintptr_t)'2' } };

	poller_spawn(p, note_arg, (void *)(uintptr_t)'1');
	poller_spawn_node(p, &node);
	poller_spawn(p, note_arg, (void *)(uintptr_t)'3');
	poller_spawn(p, stop_fiber, NULL);
	run_loop(p);
	ck_assert_str_eq(order, "123");
}
END_TEST

/* ------------------------------------------------------------------ no stack */

static struct fiber *parked;

static void park_here(void *arg)
{
	note('p');
	parked = fiber_self();
	fiber_park();
	note('e');
}

static void wake_parked(struct timer *t)
{
	poller_ready(p, parked);
}

START_TEST(fibers_wait_for_a_stack_in_their_order_and_it_is_said_once)
{
	struct poller_opts o = given_opts();
	struct timer t;

	free_poller(p);
	o.fibers.max = 1;
	ck_assert_int_eq(poller_new(&o, &p), 0);
	timer_init(&t, wake_parked);
	timer_arm(p, &t, poller_after_ms(p, 30));
	poller_spawn(p, park_here, NULL);
	poller_spawn(p, note_arg, (void *)(uintptr_t)'1');
	poller_spawn(p, note_arg, (void *)(uintptr_t)'2');
	poller_spawn(p, stop_fiber, NULL);
	run_loop(p);

	ck_assert_str_eq(order, "pe12");
	ck_assert_uint_eq(logged.n, 1);
}
END_TEST

#ifdef NP_FAULT
START_TEST(a_fiber_that_found_no_memory_begins_later_though_no_other_ends)
{
	sys_fault_arm(SYS_mmap, 1, ENOMEM);
	poller_spawn(p, stop_fiber, NULL);
	run_loop(p);
	ck_assert_int_eq(sys_fault_hit(SYS_mmap), 1);
}
END_TEST
#endif

/* ------------------------------------------------------------------ begun in a dispatch */

static struct spawn begun[4];

static void begin_noting(unsigned i, char c)
{
	begun[i].call = (struct fiber_call){ note_arg, (void *)(uintptr_t)c };
	poller_begin_fiber(p, &begun[i]);
}

static void begin_and_note(struct mail *m)
{
	begin_noting(0, '1');
	begin_noting(1, '2');
	note('m');
}

static void note_and_stop(struct mail *m)
{
	note('n');
	poller_stop(p);
}

START_TEST(a_fiber_begun_in_a_dispatch_runs_when_that_has_returned_and_before_the_next)
{
	struct mail m = { .fn = begin_and_note }, next = { .fn = note_and_stop };

	poller_post(p, &m);
	poller_post(p, &next);
	run_loop(p);
	ck_assert_str_eq(order, "m12n");
}
END_TEST

static void begin_and_yield(void *arg)
{
	begin_noting(0, '1');
	note('a');
	poller_ready(p, fiber_self());
	fiber_park();
	begin_noting(1, '2');
	note('b');
}

START_TEST(a_fiber_begun_by_a_fiber_runs_when_that_has_parked_or_ended)
{
	poller_spawn(p, begin_and_yield, NULL);
	poller_spawn(p, note_arg, (void *)(uintptr_t)'n');
	poller_spawn(p, stop_fiber, NULL);
	run_loop(p);
	ck_assert_str_eq(order, "a1nb2");
}
END_TEST

static void begin_behind(struct timer *t)
{
	begin_noting(0, '3');
	poller_ready(p, parked);
	poller_spawn(p, stop_fiber, NULL);
}

START_TEST(a_begun_fiber_without_a_stack_waits_behind_those_that_wait)
{
	struct poller_opts o = given_opts();
	struct timer t;

	free_poller(p);
	o.fibers.max = 1;
	ck_assert_int_eq(poller_new(&o, &p), 0);
	timer_init(&t, begin_behind);
	timer_arm(p, &t, poller_after_ms(p, 5));
	poller_spawn(p, park_here, NULL);
	poller_spawn(p, note_arg, (void *)(uintptr_t)'1');
	poller_spawn(p, note_arg, (void *)(uintptr_t)'2');
	run_loop(p);

	ck_assert_str_eq(order, "pe123");
}
END_TEST

/* ------------------------------------------------------------------ a row of watches */

/* Each begins a fiber, the first one two; they note where their stacks are. */
#define ROW 5
static struct {
	struct watch watch[ROW];
	struct spawn begins[ROW], second;
	const char *fn_at[ROW], *fiber_at[ROW];
	struct fiber *parked;
	bool shared; /* while each of them runs, a spare thread comes */
} row;

static void row_fiber(void *arg)
{
	unsigned i = (unsigned)(uintptr_t)arg;
	const char here = 0;

	row.fiber_at[i] = &here;
	p->shared |= row.shared;
	note((char)('a' + i));
	if (i == 2) {
		row.parked = fiber_self();
		fiber_park();
		note('f');
		poller_stop(p);
	}
}

static void row_watch(struct watch *w, unsigned ready)
{
	unsigned i = (unsigned)(w - row.watch);
	const char here = 0;

	ck_assert_ptr_null(fiber_self());
	row.fn_at[i] = &here;
	note((char)('1' + i));
	watch_stop(w, ready);
	row.begins[i].call = (struct fiber_call){ row_fiber, (void *)(uintptr_t)i };
	poller_begin_fiber(p, &row.begins[i]);
	row.second.call = (struct fiber_call){ note_arg, (void *)(uintptr_t)'A' };
	if (i == 0)
		poller_begin_fiber(p, &row.second);
	if (i == ROW - 1)
		poller_ready(p, row.parked);
}

static bool near(const char *a, const char *b)
{
	return (a > b ? a - b : b - a) < 60 * 1024;
}

static void given_row(void)
{
	int fds[2];

	given_pair(fds);
	ck_assert_int_eq(sys_write(fds[1], "x", 1), 1);
	for (int i = 0; i < ROW; i++) {
		int fd = dup(fds[0]);

		ck_assert_int_ge(fd, 0);
		ck_assert_int_eq(watch_open(&row.watch[i], p, fd, 0, row_watch), 0);
		row.watch[i].shallow = i != 2;
		watch_want(&row.watch[i], WATCH_IN);
	}
}

START_TEST(a_fiber_that_ends_goes_on_with_the_row_of_watches_as_far_as_they_are_shallow)
{
	const char here = 0;

	given_row();
	run_loop(p);

	ck_assert_str_eq(order, "1aA2b3c4d5ef");
	ck_assert_uint_eq(p->stats.fibers_run, ROW + 2);
	if (under_asan()) /* it moves locals away from their stack */
		return;
	ck_assert(near(row.fn_at[0], &here));           /* no fiber had ended yet */
	ck_assert(near(row.fn_at[1], row.fiber_at[0])); /* the same stack, used by three */
	ck_assert(near(row.fn_at[2], &here));           /* deep */
	ck_assert(near(row.fn_at[3], &here));           /* behind one that has parked */
	ck_assert(near(row.fn_at[4], row.fiber_at[3]));
	ck_assert(!near(row.fiber_at[3], row.fiber_at[2]));
}
END_TEST

static void *of_no_interest(const void *fn, void *arg)
{
	return NULL;
}

/* Others want the poller between two dispatches, or look at what each of them costs. */
START_TEST(a_row_of_watches_is_the_loops_where_others_come_between)
{
	static const struct poller_sampler sampler = { .begin = of_no_interest };
	const char here = 0;

	given_row();
	if (_i)
		poller_sample(p, &sampler);
	else
		row.shared = true;
	run_loop(p);

	ck_assert_str_eq(order, "1aA2b3c4d5ef");
	for (int i = 0; i < ROW && !under_asan(); i++)
		ck_assert(near(row.fn_at[i], &here));
}
END_TEST

static void begin_the_next(void *arg)
{
	if (!order[0])
		poller_begin_fiber(p, arg);
}

START_TEST(a_chain_of_fibers_that_begin_each_other_does_not_hold_up_the_loop)
{
	static struct spawn chain = { .call = { begin_the_next, &chain } };
	struct mail m = { .fn = note_and_stop };

	poller_begin_fiber(p, &chain);
	poller_defer(p, &m);
	run_loop(p);
	ck_assert_str_eq(order, "n");
}
END_TEST

/* ------------------------------------------------------------------ a turn that is interrupted */

/* Three of a kind in one turn: the loop is entered again from inside the first one's function. */
static struct {
	struct mail mail[3];
	struct watch watch[3];
	struct timer timer[3];
	unsigned called;
} kin;

static void kin_called(void)
{
	note((char)('1' + kin.called++));
	if (kin.called == 1)
		poller_loop(p);
	if (kin.called == 3)
		poller_stop(p);
	note('.');
}

static void kin_mail(struct mail *m)
{
	kin_called();
}

static void kin_timer(struct timer *t)
{
	kin_called();
}

static void kin_watch(struct watch *w, unsigned ready)
{
	watch_close(w);
	kin_called();
}

static void three_mails(void)
{
	for (int i = 0; i < 3; i++) {
		kin.mail[i].fn = kin_mail;
		poller_post(p, &kin.mail[i]);
	}
}

static void three_put_off(void)
{
	for (int i = 0; i < 3; i++) {
		kin.mail[i].fn = kin_mail;
		poller_defer(p, &kin.mail[i]);
	}
}

static void three_timers(void)
{
	for (int i = 0; i < 3; i++) {
		timer_init(&kin.timer[i], kin_timer);
		timer_arm(p, &kin.timer[i], 0);
	}
}

static void three_watches(void)
{
	static int fds[2]; /* ready for good: nothing is ever read */

	given_pair(fds);
	for (int i = 0; i < 3; i++) {
		int fd = dup(fds[0]);

		ck_assert_int_ge(fd, 0);
		ck_assert_int_eq(watch_open(&kin.watch[i], p, fd, EPOLLOUT, kin_watch), 0);
		watch_want(&kin.watch[i], WATCH_OUT);
	}
}

static void (*const three_of[])(void) = { three_mails, three_watches, three_timers, three_put_off };

START_TEST(the_loop_goes_on_with_what_a_turn_has_left_while_one_function_does_not_return)
{
	three_of[_i]();
	run_loop(p);
	ck_assert_str_eq(order, "12.3..");
}
END_TEST

#define CROWD 100
static unsigned in_crowd;

static void join_crowd(void *arg)
{
	static struct fiber *crowd[CROWD];

	crowd[in_crowd++] = fiber_self();
	if (in_crowd < CROWD)
		fiber_park();
	else
		for (unsigned i = 0; i < CROWD - 1; i++)
			poller_ready(p, crowd[i]);
}

static void look_at_stacks(struct timer *t)
{
	struct fiber_pool_stats st;

	fiber_pool_stats(poller_fibers(p), &st);
	if (in_crowd == CROWD && !st.spare)
		poller_stop(p);
	else
		timer_arm(p, t, poller_after_ms(p, 50));
}

START_TEST(stacks_of_a_burst_are_given_back_though_the_poller_falls_silent)
{
	struct timer t;

	for (unsigned i = 0; i < CROWD; i++)
		poller_spawn(p, join_crowd, NULL);
	timer_init(&t, look_at_stacks);
	timer_arm(p, &t, poller_after_ms(p, 50));
	run_loop(p);
}
END_TEST

/* ------------------------------------------------------------------ events */

#define CROWDED 300 /* more than the first batch holds */

static struct watch crowded[CROWDED];

static void count_call(struct watch *w, unsigned ready)
{
	watch_stop(w, ready);
	if (++n_turns == CROWDED)
		poller_stop(p);
}

START_TEST(more_events_than_a_batch_holds_are_all_served)
{
	struct poller_stats st;
	int fds[CROWDED][2];

	for (int i = 0; i < CROWDED; i++) {
		given_pair(fds[i]);
		ck_assert_int_eq(watch_open(&crowded[i], p, fds[i][0], EPOLLOUT, count_call), 0);
		watch_want(&crowded[i], WATCH_OUT);
	}
	run_loop(p);

	poller_get_stats(p, &st);
	ck_assert_uint_eq(st.events, CROWDED);
	ck_assert_uint_le(st.waits, 3); /* 64, then 128, then all that is left of 256 */
	for (int i = 0; i < CROWDED; i++) {
		watch_close(&crowded[i]);
		sys_close(&fds[i][0]);
		sys_close(&fds[i][1]);
	}
}
END_TEST

#ifdef NP_FAULT
static void stop(struct mail *m)
{
	poller_stop(p);
}

#define ROUNDS 100

static struct {
	struct watch w[2];
	unsigned rounds;
} pingpong;

static void pass_on(struct watch *w, unsigned ready)
{
	char c;

	ck_assert_int_eq(sys_read(w->fd, &c, 1), 1);
	watch_cant(w, WATCH_IN);
	if (++pingpong.rounds == 2 * ROUNDS)
		poller_stop(p);
	else
		ck_assert_int_eq(sys_write(w->fd, &c, 1), 1);
}

static unsigned calls_of(enum sys_call except_a, enum sys_call except_b, enum sys_call except_c)
{
	unsigned n = 0;

	for (int i = 0; i < SYS_CALL_MAX; i++)
		if (i != (int)except_a && i != (int)except_b && i != (int)except_c)
			n += sys_fault_calls((enum sys_call)i);
	return n;
}

START_TEST(a_ready_watch_costs_one_epoll_wait_and_nothing_else)
{
	int fds[2];

	given_pair(fds);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(watch_open(&pingpong.w[i], p, fds[i], 0, pass_on), 0);
		watch_want(&pingpong.w[i], WATCH_IN);
	}
	ck_assert_int_eq(sys_write(fds[0], "x", 1), 1);
	for (int i = 0; i < SYS_CALL_MAX; i++)
		sys_fault_arm((enum sys_call)i, 0, 0);
	run_loop(p);

	ck_assert_uint_eq(sys_fault_calls(SYS_epoll_wait), 2 * ROUNDS);
	ck_assert_uint_eq(sys_fault_calls(SYS_read), 2 * ROUNDS);
	/* Every round but the last, and the wake-up of poller_stop(). */
	ck_assert_uint_eq(sys_fault_calls(SYS_write), 2 * ROUNDS);
	ck_assert_uint_eq(calls_of(SYS_epoll_wait, SYS_read, SYS_write), 0);
	for (int i = 0; i < 2; i++) {
		watch_close(&pingpong.w[i]);
		sys_close(&fds[i]);
	}
}
END_TEST

START_TEST(a_failing_epoll_wait_is_logged_once_and_tried_again)
{
	struct mail m = { .fn = stop };
	struct timer t;

	sys_fault_arm(SYS_epoll_wait, 1, EBADF);
	timer_init(&t, note_timer);
	timer_arm(p, &t, 0);
	poller_post(p, &m);
	run_loop(p);

	ck_assert_str_eq(order, "t");
	ck_assert_uint_eq(logged.n, 1);
	ck_assert_ptr_nonnull(strstr(logged.last, "epoll_wait"));
}
END_TEST
#endif

void add_cases(Suite *s)
{
	TCase *c = add_case(s, "turn");

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, a_turn_is_mail_watches_fibers_timers_and_then_what_was_put_off);
	tcase_add_test(c, what_is_put_off_while_such_work_runs_waits_for_the_next_turn);
	tcase_add_test(c, a_fiber_that_is_made_ready_while_fibers_run_goes_on_in_the_next_turn);
	tcase_add_test(c, a_fiber_spawned_by_a_fiber_begins_in_the_next_turn);
	tcase_add_test(c, fibers_begin_in_the_order_of_their_spawns);
	tcase_add_test(c, fibers_wait_for_a_stack_in_their_order_and_it_is_said_once);
	tcase_add_test(c,
		       a_fiber_begun_in_a_dispatch_runs_when_that_has_returned_and_before_the_next);
	tcase_add_test(c, a_fiber_begun_by_a_fiber_runs_when_that_has_parked_or_ended);
	tcase_add_test(c, a_begun_fiber_without_a_stack_waits_behind_those_that_wait);
	tcase_add_test(
		c, a_fiber_that_ends_goes_on_with_the_row_of_watches_as_far_as_they_are_shallow);
	tcase_add_loop_test(c, a_row_of_watches_is_the_loops_where_others_come_between, 0, 2);
	tcase_add_test(c, a_chain_of_fibers_that_begin_each_other_does_not_hold_up_the_loop);
	tcase_add_loop_test(
		c, the_loop_goes_on_with_what_a_turn_has_left_while_one_function_does_not_return, 0,
		sizeof three_of / sizeof three_of[0]);
	tcase_add_test(c, stacks_of_a_burst_are_given_back_though_the_poller_falls_silent);
	tcase_add_test(c, more_events_than_a_batch_holds_are_all_served);
#ifdef NP_FAULT
	tcase_add_test(c, a_fiber_that_found_no_memory_begins_later_though_no_other_ends);
	tcase_add_test(c, a_ready_watch_costs_one_epoll_wait_and_nothing_else);
	tcase_add_test(c, a_failing_epoll_wait_is_logged_once_and_tried_again);
#endif
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * timer: never early, never lost, in the order of their times, whatever was armed, moved and
 * disarmed
 *
 * The wheel is held against an oracle that looks at every timer each time. A failure names its
 * seed; NP_SEED=n runs that one alone.
 */
#include "poll/timer.h"

#include <stdlib.h>

#include "given_poller.h"
#include "poll/wheel.h"
#include "sys/clock.h"

/* ------------------------------------------------------------------ against an oracle */

#define TIMERS 64

static struct {
	uint64_t seed, state;
	struct wheel wheel;
	uint64_t now;
	struct timer t[TIMERS];
	bool armed[TIMERS];
	bool far[TIMERS]; /* was beyond the wheel's reach when it was armed: put again on its way */
} o;

static uint64_t rnd(void)
{
	/* xorshift64*: small, and the same everywhere. */
	o.state ^= o.state >> 12;
	o.state ^= o.state << 25;
	o.state ^= o.state >> 27;
	return o.state * 2685821657736338717ull;
}

/* As often a few ms as an hour as a year: every level gets its share. */
static uint64_t some_span(void)
{
	return rnd() % ((uint64_t)1 << (1 + rnd() % 36));
}

#define hold(cond)                                                                     \
	do {                                                                           \
		if (!(cond))                                                           \
			ck_abort_msg("seed %llu: " #cond, (unsigned long long)o.seed); \
	} while (0)

static void oracle_arm(unsigned i)
{
	list_remove(&o.t[i].link);
	o.t[i].when_ms = rnd() % 16 ? o.now + some_span() : o.now - rnd() % 3;
	wheel_put(&o.wheel, &o.t[i]);
	o.armed[i] = true;
	o.far[i] = o.t[i].when_ms > o.now && o.t[i].when_ms - o.now >= (uint64_t)1 << 30;
}

static void oracle_disarm(unsigned i)
{
	list_remove(&o.t[i].link);
	o.armed[i] = false;
}

static uint64_t oracle_next(unsigned *ret_armed, bool *ret_far)
{
	uint64_t next = WHEEL_NEVER;

	*ret_armed = 0;
	*ret_far = false;
	for (unsigned i = 0; i < TIMERS; i++) {
		if (!o.armed[i])
			continue;
		++*ret_armed;
		*ret_far |= o.far[i];
		if (o.t[i].when_ms < next)
			next = o.t[i].when_ms;
	}
	return next;
}

static void oracle_turn(uint64_t step)
{
	uint64_t last = 0, began = o.now;
	struct list due, *n;

	o.now += step;
	wheel_turn(&o.wheel, o.now, &due);
	while ((n = list_pop(&due))) {
		struct timer *t = container_of(n, struct timer, link);

		hold(o.armed[t - o.t]);
		hold(t->when_ms <= o.now);
		/*
		 * What was armed for the past keeps its place in the queue, all else comes by time.
		 */
		hold(t->when_ms >= last || t->when_ms <= began);
		if (t->when_ms > began)
			last = t->when_ms;
		o.armed[t - o.t] = false;
	}
	for (unsigned i = 0; i < TIMERS; i++)
		hold(!o.armed[i] || o.t[i].when_ms > o.now);
}

static void oracle_look_ahead(void)
{
	unsigned armed;
	bool far;
	uint64_t next = oracle_next(&armed, &far), said = wheel_next(&o.wheel);

	hold((said == WHEEL_NEVER) == (armed == 0));
	hold(said <= next || next < o.now);
	/* With so few that every slot is looked at whole, it is exact. */
	if (armed && armed <= 8 && !far && next > o.now)
		hold(said == next);
}

static void run_seed(uint64_t seed)
{
	unsigned few = seed % 2 ? 6 : TIMERS;

	o.seed = seed;
	o.state = seed * 0x9E3779B97F4A7C15ull + 1;
	o.now = rnd() >> (8 + rnd() % 40);
	wheel_init(&o.wheel, o.now);
	for (unsigned i = 0; i < TIMERS; i++) {
		timer_init(&o.t[i], NULL);
		o.armed[i] = false;
	}
	for (unsigned k = 0; k < 2000; k++) {
		switch (rnd() % 4) {
		case 0:
		case 1:
			oracle_arm((unsigned)(rnd() % few));
			break;
		case 2:
			oracle_disarm((unsigned)(rnd() % few));
			break;
		default:
			oracle_turn(rnd() % 8 ? some_span() : 0);
			break;
		}
		oracle_look_ahead();
	}
}

START_TEST(the_wheel_does_what_a_list_of_all_timers_would)
{
	const char *one = getenv("NP_SEED");
	uint64_t first = one ? strtoull(one, NULL, 10) : sys_clock_ns() / 1000000u;
	unsigned n = one ? 1 : under_valgrind() ? 4 : 100;

	for (unsigned i = 0; i < n; i++)
		run_seed(first + i);
}
END_TEST

/* A loop that sleeps until wheel_next() gets every timer at its very millisecond. */
START_TEST(sleeping_until_the_next_fires_each_in_its_millisecond)
{
	unsigned turns = 0, armed;
	bool far;

	o.seed = o.state = sys_clock_ns() | 1;
	o.now = 1000;
	wheel_init(&o.wheel, o.now);
	for (unsigned i = 0; i < TIMERS; i++) {
		timer_init(&o.t[i], NULL);
		oracle_arm(i);
	}
	while (oracle_next(&armed, &far), armed) {
		uint64_t to = wheel_next(&o.wheel);
		struct list due, *n;

		hold(to >= o.now);
		o.now = to;
		wheel_turn(&o.wheel, o.now, &due);
		while ((n = list_pop(&due))) {
			struct timer *t = container_of(n, struct timer, link);

			hold(t->when_ms == o.now || t->when_ms <= 1000);
			o.armed[t - o.t] = false;
		}
		hold(++turns < TIMERS * (WHEEL_LEVELS + 40));
	}
}
END_TEST

START_TEST(a_disarmed_timer_leaves_nothing_to_wake_for)
{
	struct timer t;

	wheel_init(&o.wheel, 5);
	timer_init(&t, NULL);
	t.when_ms = 100000;
	wheel_put(&o.wheel, &t);
	timer_disarm(&t);
	ck_assert_uint_eq(wheel_next(&o.wheel), WHEEL_NEVER);
}
END_TEST

/* ------------------------------------------------------------------ in a poller */

static struct {
	struct poller *p;
	struct timer a, b;
	unsigned fired_a, fired_b;
	uint64_t turn[3];
} in;

static void given(void (*a)(struct timer *), void (*b)(struct timer *))
{
	in.p = given_poller();
	timer_init(&in.a, a);
	timer_init(&in.b, b);
}

static void stop_at_b(struct timer *t)
{
	in.fired_b++;
	poller_stop(in.p);
}

static void disarm_b(struct timer *t)
{
	in.fired_a++;
	timer_disarm(&in.b);
	poller_stop(in.p);
}

START_TEST(a_timer_may_disarm_another_that_is_due_as_well)
{
	uint64_t now;

	given(disarm_b, stop_at_b);
	now = poller_now_ms(in.p);
	timer_arm(in.p, &in.a, now + 1);
	timer_arm(in.p, &in.b, now + 1);
	run_loop(in.p);

	ck_assert_uint_eq(in.fired_a, 1);
	ck_assert_uint_eq(in.fired_b, 0);
	ck_assert(!timer_armed(&in.b));
	free_poller(in.p);
}
END_TEST

static void arm_for_the_past(struct timer *t)
{
	ck_assert(!timer_armed(t));
	in.turn[in.fired_a++] = poller_turn(in.p);
	if (in.fired_a == 3)
		poller_stop(in.p);
	else
		timer_arm(in.p, t, 1);
}

START_TEST(a_timer_armed_for_the_past_in_its_own_function_does_not_hold_up_the_turn)
{
	given(arm_for_the_past, stop_at_b);
	timer_arm(in.p, &in.a, 0);
	run_loop(in.p);

	ck_assert_uint_eq(in.turn[1], in.turn[0] + 1);
	ck_assert_uint_eq(in.turn[2], in.turn[0] + 2);
	free_poller(in.p);
}
END_TEST

static struct timer *own;

static void free_itself(struct timer *t)
{
	free(t);
	poller_stop(in.p);
}

START_TEST(a_timer_may_be_freed_in_its_own_function)
{
	given(disarm_b, stop_at_b);
	own = malloc(sizeof *own);
	timer_init(own, free_itself);
	timer_arm(in.p, own, poller_now_ms(in.p));
	run_loop(in.p);
	free_poller(in.p);
}
END_TEST

START_TEST(rearming_moves_a_timer)
{
	uint64_t now;

	given(disarm_b, stop_at_b);
	now = poller_now_ms(in.p);
	timer_arm(in.p, &in.a, now + 3);
	timer_arm(in.p, &in.b, now + 1);
	timer_arm(in.p, &in.b, now + 3600 * 1000);
	run_loop(in.p);
	ck_assert_uint_eq(in.fired_b, 0);
	ck_assert_uint_eq(in.fired_a, 1);
	free_poller(in.p);
}
END_TEST

static uint64_t due_ns;

static void not_early(struct timer *t)
{
	ck_assert_uint_ge(sys_clock_ns(), due_ns);
	if (++in.fired_a == 20) {
		poller_stop(in.p);
		return;
	}
	due_ns = sys_clock_ns() + 2 * 1000000u;
	timer_arm(in.p, t, poller_after_ms(in.p, 2));
}

/* To the nanosecond, though the wheel counts milliseconds. */
START_TEST(what_is_armed_for_a_span_does_not_fire_before_it_has_passed_whole)
{
	given(not_early, stop_at_b);
	due_ns = sys_clock_ns() + 2 * 1000000u;
	timer_arm(in.p, &in.a, poller_after_ms(in.p, 2));
	run_loop(in.p);
	free_poller(in.p);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "timer");

	tcase_add_test(t, the_wheel_does_what_a_list_of_all_timers_would);
	tcase_add_test(t, sleeping_until_the_next_fires_each_in_its_millisecond);
	tcase_add_test(t, a_disarmed_timer_leaves_nothing_to_wake_for);
	tcase_add_test(t, a_timer_may_disarm_another_that_is_due_as_well);
	tcase_add_test(t, a_timer_armed_for_the_past_in_its_own_function_does_not_hold_up_the_turn);
	tcase_add_test(t, a_timer_may_be_freed_in_its_own_function);
	tcase_add_test(t, rearming_moves_a_timer);
	tcase_add_test(t, what_is_armed_for_a_span_does_not_fire_before_it_has_passed_whole);
}

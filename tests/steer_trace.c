/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_trace: what the program tells of its decisions, and its twin in userspace comes to the same
 *
 * Each policy in each of five situations, at the highest level and at level 3; over twenty thousand decisions for
 * each policy.
 */
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "given_hung.h"
#include "steer/steer.h"
#include "steer/twin.h"
#include "support/steer.h"
#include "support/test.h"
#include "sys/clock.h"

#define WAVE    500 /* np_trace holds more than that */
#define WAVES   5
#define WORKERS 8

enum situation { ALL_WELL, ONE_DRAINS, ONE_HANGS, TWO_ARE_GONE, NOBODY_IS_FIT, SITUATIONS };

struct told {
	_Atomic(unsigned) n; /* SYNs; what is below is complete when this is */
	unsigned disagreed, steered, fallback;
	unsigned of_worker[WORKERS];
	unsigned tried; /* the most for one SYN */
	struct np_steer *s;
};

/* A stray ACK may be among them, of a connection that is gone. */
static int hear(void *arg, const struct np_steer_decision *d)
{
	struct told *t = arg;

	t->disagreed += d->twin != 0;
	t->steered += !strcmp(d->verdict, "steered");
	t->fallback += !strcmp(d->verdict, "fallback");
	t->tried = d->tried > t->tried ? d->tried : t->tried;
	if (!strcmp(d->verdict, "nonsyn"))
		return 0;
	if (d->worker >= 0 && d->worker < WORKERS)
		t->of_worker[d->worker]++;
	return ++t->n == WAVES * WAVE;
}

static void *listen_to(void *arg)
{
	struct told *t = arg;

	return (void *)(intptr_t)np_steer_trace(t->s, 65536, -1, hear, t);
}

static void put_into(struct rig *r, enum situation what)
{
	switch (what) {
	case ONE_DRAINS:
		np_steer_drain(r->s, 3);
		break;
	case ONE_HANGS:
		given_hung(r, 5);
		break;
	case TWO_ARE_GONE:
		rig_close_listener(r, 1);
		rig_close_listener(r, 6);
		break;
	case NOBODY_IS_FIT:
		for (unsigned i = 0; i < WORKERS; i++)
			np_steer_drain(r->s, i);
		break;
	default:
		break;
	}
}

/* Everything that is connected is told, and heard to the end. */
static void drive_and_hear(struct rig *r, struct told *t)
{
	pthread_t thread;
	void *result;

	t->s = r->s;
	ck_assert_int_eq(pthread_create(&thread, NULL, listen_to, t), 0);
	AWAIT(__atomic_load_n(&r->s->maps.config->trace, __ATOMIC_RELAXED) == 65536);
	for (unsigned i = 1; i <= WAVES; i++) {
		rig_drive(r, WAVE);
		AWAIT(t->n == i * WAVE);
	}
	pthread_join(thread, &result);
	ck_assert_int_eq((intptr_t)result, 1);
}

/* The program, its twin, the counters and the listeners: all four. */
START_TEST(the_twin_agrees_with_every_decision)
{
	const char *policy = np_steer_policies((unsigned)_i / SITUATIONS / 2);
	enum situation what = (enum situation)(_i / 2 % SITUATIONS);
	int level = _i % 2 ? NP_STEER_L3 : 0;
	struct told t = { .n = 0 };
	struct rig r;

	OWN_STEERING();
	rig_start(&r, WORKERS, NP_OPTS(np_steer_opts, .policy = policy, .hang_ms = 1000, .no_rescue = true, .max_level = level));
	for (unsigned i = 0; i < WORKERS; i += 3)
		np_steer_set_cpu(r.w[i], (int)i / 3);
	put_into(&r, what);
	/* What weighs has something to weigh; what is new is warming up; who is published is not everybody. */
	for (unsigned i = 0; i < WORKERS; i++)
		np_steer_set_weight(r.s, i, 50 + 100 * i);
	ck_assert_int_eq(np_steer_set_param(r.s, "slow_start_ms", what % 2 ? "600000" : "0"), 0);
	ck_assert_int_eq(np_steer_set_param(r.s, "set", what == ALL_WELL ? "none" : "1-5,7"), 0);
	ck_assert_int_eq(np_steer_set_param(r.s, "bound", what == ONE_DRAINS ? "0" : "100"), 0);
	drive_and_hear(&r, &t);
	ck_assert_uint_eq(__atomic_load_n(&r.s->maps.config->trace, __ATOMIC_RELAXED), 0);
	ck_assert_uint_eq(t.disagreed, 0);
	ck_assert_uint_eq(t.steered, rig_stats(&r).steered);
	ck_assert_uint_eq(t.fallback, rig_stats(&r).fallback_hash);
	ck_assert_uint_eq(what == NOBODY_IS_FIT ? t.fallback : t.steered, WAVES * WAVE);
	for (unsigned i = 0; i < WORKERS; i++)
		ck_assert_uint_eq(t.of_worker[i], r.accepted[i]);
	rig_stop(&r);
}
END_TEST

START_TEST(as_many_flows_are_told_of_as_was_asked_for)
{
	struct told t = { .n = 0 };
	unsigned n = 0;
	struct rig r;
	pthread_t thread;
	void *result;

	OWN_STEERING();
	rig_start(&r, 4, NULL);
	t.s = r.s;
	ck_assert_int_eq(np_steer_trace(r.s, 0, 0, hear, &t), -EINVAL);
	ck_assert_int_eq(np_steer_trace(r.s, 65537, 0, hear, &t), -EINVAL);
	ck_assert_int_eq(pthread_create(&thread, NULL, listen_to, &t), 0);
	AWAIT(__atomic_load_n(&r.s->maps.config->trace, __ATOMIC_RELAXED) == 65536);
	__atomic_store_n(&r.s->maps.config->trace, 65536 / 8, __ATOMIC_RELAXED);
	for (; t.n < WAVES * WAVE; n++)
		rig_drive(&r, WAVE);
	pthread_join(thread, &result);
	/* One in eight, give or take: thousands were drawn. */
	ck_assert_uint_gt(n * WAVE, WAVES * WAVE * 7);
	ck_assert_uint_lt(n * WAVE, WAVES * WAVE * 9 + WAVE);
	rig_stop(&r);
}
END_TEST

/* Selecting is what costs: the first one that is met, and the one that has less; the others cannot be better. */
START_TEST(who_has_published_too_much_is_not_selected_for_a_look)
{
	struct told t = { .n = 0 };
	struct rig r;

	OWN_STEERING();
	rig_start(&r, WORKERS, NP_OPTS(np_steer_opts, .policy = "least-exact"));
	if (rig_level(&r) < NP_STEER_L4)
		SKIP("needs level 4");
	for (unsigned i = 0; i < WORKERS; i++)
		__atomic_store_n(&steer_worker_line(r.w[i])->conns, i == 2 ? 5000 : 9000, __ATOMIC_RELAXED);
	drive_and_hear(&r, &t);
	ck_assert_uint_eq(r.accepted[2], WAVES * WAVE);
	ck_assert_uint_eq(t.tried, 2);
	for (unsigned i = 0; i < WORKERS; i++)
		__atomic_store_n(&steer_worker_line(r.w[i])->conns, 0, __ATOMIC_RELAXED);
	rig_stop(&r);
}
END_TEST

/* ------------------------------------------------------------------ the twin alone */

/* Two candidates: the first drains, the second is ready. */
static struct np_decision given_record(void)
{
	return (struct np_decision){
		.policy = NP_POLICY_RR,
		.roster = 4,
		.hang_ms = 100,
		.worker1 = 3,
		.n = 9,
		.inputs = { { NP_INPUT_TURN, 0, 9 },   { NP_INPUT_ROSTER, 1, 2 }, { NP_INPUT_STATE, 1, 1 },
			    { NP_INPUT_SELECT, 1, 1 }, { NP_INPUT_TURN, 0, 10 },  { NP_INPUT_ROSTER, 2, 3 },
			    { NP_INPUT_STATE, 2, 0 },  { NP_INPUT_BUSY, 2, 0 },   { NP_INPUT_SELECT, 2, 1 } },
	};
}

START_TEST(the_twin_tells_another_worker_and_other_inputs_apart)
{
	struct np_decision d = given_record();

	ck_assert_int_eq(twin_agrees(&d), 0);
	d.worker1 = 2;
	ck_assert_int_eq(twin_agrees(&d), -EILSEQ);
	d = given_record();
	d.fit = 1;
	ck_assert_int_eq(twin_agrees(&d), -EILSEQ);
	d = given_record();
	d.inputs[5].who = 3; /* the program looked elsewhere */
	ck_assert_int_eq(twin_agrees(&d), -EBADMSG);
	d = given_record();
	d.n = 8; /* or stopped looking */
	ck_assert_int_eq(twin_agrees(&d), -EBADMSG);
	d = given_record();
	d.inputs[2].value = 0; /* the first was ready: the rest need not have been read */
	ck_assert_int_eq(twin_agrees(&d), -EBADMSG);
	d = given_record();
	d.n = NP_TRACE_INPUTS + 1;
	ck_assert_int_eq(twin_agrees(&d), -ENODATA);
}
END_TEST

/* Whatever is in a record, it ends and touches nothing else. */
START_TEST(the_twin_takes_any_record)
{
	unsigned seed = 3;

	for (unsigned i = 0; i < 20000; i++) {
		struct np_decision d;

		for (size_t k = 0; k < sizeof d; k++)
			((unsigned char *)&d)[k] = (unsigned char)rand_r(&seed);
		d.policy %= 12;
		d.roster %= 300;
		d.n %= NP_TRACE_INPUTS + 2;
		for (unsigned k = 0; k < NP_TRACE_INPUTS; k++)
			d.inputs[k].kind = d.inputs[k].kind % 16;
		twin_agrees(&d);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("steer_trace");
	TCase *t = tcase_create("trace");
	int policies = 0;

	while (np_steer_policies((unsigned)policies))
		policies++;
	tcase_add_loop_test(t, the_twin_agrees_with_every_decision, 0, 2 * policies * SITUATIONS);
	tcase_add_test(t, who_has_published_too_much_is_not_selected_for_a_look);
	tcase_add_test(t, as_many_flows_are_told_of_as_was_asked_for);
	tcase_add_test(t, the_twin_tells_another_worker_and_other_inputs_apart);
	tcase_add_test(t, the_twin_takes_any_record);
	suite_add_tcase(s, t);
	return run_suite(s);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_trace: what the program tells of its decisions; its replay in userspace comes to the same
 *
 * Each policy in each of five situations, at the highest level and at level 3; over twenty thousand
 * decisions for each policy.
 */
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "given_hung.h"
#include "steer/replay.h"
#include "steer/steer.h"
#include "support/child.h"
#include "support/steer.h"
#include "support/test.h"
#include "sys/clock.h"

#define WAVE 400 /* np_trace holds more than that: nothing is lost, however late the reader */
_Static_assert(WAVE *(sizeof(struct np_decision) + 8) < NP_TRACE_BYTES, "a wave fits");
#define WAVES   5
#define WORKERS 8

enum situation { ALL_WELL, ONE_DRAINS, ONE_HANGS, TWO_ARE_GONE, NOBODY_IS_FIT, SITUATIONS };

struct told {
	_Atomic(unsigned) n; /* SYNs; what is below is complete when this is */
	unsigned disagreed, steered, fallback;
	unsigned of_worker[WORKERS];
	unsigned tried;    /* the most for one SYN */
	unsigned of_65536; /* 0: all */
	uint64_t lost;
	struct np_steer *s;
};

/* A stray ACK may be among them, of a connection that is gone. */
static int hear(void *arg, const struct np_steer_decision *d)
{
	struct told *t = arg;

	t->disagreed += d->replay != 0;
	t->lost += d->lost;
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

	return (void *)(intptr_t)np_steer_trace(t->s, t->of_65536 ? t->of_65536 : 65536, -1, hear,
						t);
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

/* Every other worker is as if the kernel counted what it has. */
static void put_counted(struct rig *r, uint64_t gen)
{
	for (unsigned i = 0; i < WORKERS; i += 2)
		__atomic_store_n(&steer_worker_line(r->w[i])->counted, gen, __ATOMIC_RELAXED);
}

/* The program, its replay, the counters and the listeners: all four. */
START_TEST(the_replay_agrees_with_every_decision)
{
	const char *policy = np_steer_policies((unsigned)_i / SITUATIONS / 2);
	enum situation what = (enum situation)(_i / 2 % SITUATIONS);
	int level = _i % 2 ? NP_STEER_L3 : 0;
	struct told t = { .n = 0 };
	struct rig r;

	OWN_STEERING();
	rig_start(&r, WORKERS,
		  NP_OPTS(np_steer_opts, .policy = policy, .hang_ms = 10000, .rescue = NP_OFF,
			  .max_level = level));
	for (unsigned i = 0; i < WORKERS; i += 3)
		np_steer_set_cpu(r.w[i], (int)i / 3);
	put_into(&r, what);
	/* What weighs has something to weigh; what is new is warming up; who is published is not
	 * everybody. */
	for (unsigned i = 0; i < WORKERS; i++)
		np_steer_set_weight(r.s, i, 50 + 100 * i);
	ck_assert_int_eq(np_steer_set_param(r.s, "slow_start_ms", what % 2 ? "600000" : "0"), 0);
	ck_assert_int_eq(np_steer_set_param(r.s, "set", what == ALL_WELL ? "none" : "1-5,7"), 0);
	ck_assert_int_eq(np_steer_set_param(r.s, "bound", what == ONE_DRAINS ? "0" : "100"), 0);
	put_counted(&r, 1);
	drive_and_hear(&r, &t);
	put_counted(&r, 0);
	ck_assert_uint_eq(__atomic_load_n(&r.s->maps.config->trace, __ATOMIC_RELAXED), 0);
	ck_assert_uint_eq(t.disagreed, 0);
	ck_assert_uint_eq(t.lost, 0);
	ck_assert_uint_eq(t.steered, rig_stats(&r).steered);
	ck_assert_uint_eq(t.fallback, rig_stats(&r).fallback_hash);
	ck_assert_uint_eq(what == NOBODY_IS_FIT ? t.fallback : t.steered, WAVES * WAVE);
	for (unsigned i = 0; i < WORKERS; i++)
		ck_assert_uint_eq(t.of_worker[i], r.accepted[i]);
	rig_stop(&r);
}
END_TEST

/* Some policies draw another hash than the flow's: the share is one of flows all the same. */
static const char *const drawing[] = { "hash", "random", "maglev" };

START_TEST(as_many_flows_are_told_of_as_was_asked_for)
{
	struct told t = { .n = 0 };
	unsigned n = 0;
	struct rig r;
	pthread_t thread;
	void *result;

	OWN_STEERING();
	rig_start(&r, 4, NP_OPTS(np_steer_opts, .policy = drawing[_i]));
	t.s = r.s;
	t.of_65536 = 65536 / 8;
	ck_assert_int_eq(np_steer_trace(r.s, 0, 0, hear, &t), -EINVAL);
	ck_assert_int_eq(np_steer_trace(r.s, 65537, 0, hear, &t), -EINVAL);
	ck_assert_int_eq(pthread_create(&thread, NULL, listen_to, &t), 0);
	AWAIT(__atomic_load_n(&r.s->maps.config->trace, __ATOMIC_RELAXED) == 65536 / 8);
	for (; t.n < WAVES * WAVE; n++)
		rig_drive(&r, WAVE);
	pthread_join(thread, &result);
	/* One in eight, give or take: thousands were drawn. */
	ck_assert_uint_gt(n * WAVE, WAVES * WAVE * 7);
	ck_assert_uint_lt(n * WAVE, WAVES * WAVE * 9 + WAVE);
	rig_stop(&r);
}
END_TEST

/* Selecting is what costs: the first one that is met, and the one that has less; the others cannot
 * be better. */
START_TEST(who_has_published_too_much_is_not_selected_for_a_look)
{
	struct told t = { .n = 0 };
	struct rig r;

	OWN_STEERING();
	/* nobody accepts while a wave comes, and no queue shall be late */
	rig_start(&r, WORKERS, NP_OPTS(np_steer_opts, .policy = "least-exact", .hang_ms = -1));
	if (rig_level(&r) < NP_STEER_L4)
		SKIP("needs level 4");
	for (unsigned i = 0; i < WORKERS; i++)
		__atomic_store_n(&steer_worker_line(r.w[i])->conns, i == 2 ? 5000 : 9000,
				 __ATOMIC_RELAXED);
	drive_and_hear(&r, &t);
	ck_assert_uint_eq(r.accepted[2], WAVES * WAVE);
	ck_assert_uint_eq(t.tried, 2);
	for (unsigned i = 0; i < WORKERS; i++)
		__atomic_store_n(&steer_worker_line(r.w[i])->conns, 0, __ATOMIC_RELAXED);
	rig_stop(&r);
}
END_TEST

/* ------------------------------------------------------------ several readers, and how they end */

static uint32_t traced(const struct rig *r)
{
	return __atomic_load_n(&r->s->maps.config->trace, __ATOMIC_RELAXED);
}

/* Told and lost. It keeps back the first one until it is let go, or lags behind. */
struct slow {
	struct np_steer *s;
	_Atomic(uint64_t) n;
	_Atomic(bool) go;
	uint64_t enough;
};

static int hear_late(void *arg, const struct np_steer_decision *d)
{
	struct slow *t = arg;

	while (!t->go)
		test_pause();
	t->n += 1 + d->lost;
	return t->n >= t->enough;
}

static void *listen_late(void *arg)
{
	struct slow *t = arg;

	return (void *)(intptr_t)np_steer_trace(t->s, 65536, -1, hear_late, t);
}

/* What did not fit is counted with the next one that did. */
START_TEST(each_decision_is_told_or_counted_as_lost)
{
	struct slow t = { .enough = 4 * WAVE };
	pthread_t thread;
	void *result;
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 4, NULL);
	t.s = r.s;
	ck_assert_int_eq(pthread_create(&thread, NULL, listen_late, &t), 0);
	AWAIT(traced(&r) == 65536);
	rig_drive(&r, 4 * WAVE - 1);
	ck_assert_uint_gt(r.s->maps.service->trace_lost, 0);
	t.go = true;
	AWAIT(r.s->maps.service->trace_lost + t.n >= 4 * WAVE - 1);
	rig_drive(&r, 1); /* there is room again: the last one tells of those lost */
	pthread_join(thread, &result);
	ck_assert_int_eq((intptr_t)result, 1);
	/* On a busy machine a SYN is sent twice, and decided twice. */
	ck_assert_uint_ge(t.n, 4 * WAVE);
	ck_assert_uint_le(t.n, rig_stats(&r).syn_total + rig_stats(&r).nonsyn_total);
	rig_stop(&r);
}
END_TEST

/* Each has all of them, and the first to end leaves the other what it has. */
START_TEST(two_readers_are_told_of_everything_and_end_apart)
{
	struct told a = { .n = 0 }, b = { .n = 0 };
	pthread_t ta, tb;
	struct rig r, other;
	void *result;

	OWN_STEERING();
	ck_assert_int_eq(np_steer_load("web", NP_OPTS(np_steer_load_opts, .hang_ms = RIG_HANG_MS)),
			 0);
	rig_open(&r, "web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN));
	rig_open(&other, "web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN));
	rig_worker(&r, "127.0.0.1:7811");
	a.s = r.s;
	b.s = other.s;
	ck_assert_int_eq(pthread_create(&ta, NULL, listen_to, &a), 0);
	AWAIT(__atomic_load_n(&r.s->maps.config->trace_readers, __ATOMIC_RELAXED) == 1);
	a.n = (WAVES - 1) * WAVE; /* it ends a wave from now */
	ck_assert_int_eq(pthread_create(&tb, NULL, listen_to, &b), 0);
	AWAIT(__atomic_load_n(&r.s->maps.config->trace_readers, __ATOMIC_RELAXED) == 2);
	rig_drive(&r, WAVE);
	AWAIT(b.n == WAVE);
	pthread_join(ta, &result);
	ck_assert_int_eq((intptr_t)result, 1);
	ck_assert_uint_eq(a.steered, WAVE);
	ck_assert_uint_eq(traced(&r), 65536);
	for (unsigned i = 2; i <= WAVES; i++) {
		rig_drive(&r, WAVE);
		AWAIT(b.n == i * WAVE);
	}
	pthread_join(tb, &result);
	ck_assert_uint_eq(b.steered, WAVES * WAVE);
	ck_assert_uint_eq(a.lost + b.lost, 0);
	ck_assert_uint_eq(traced(&r), 0);
	rig_stop(&other);
	rig_stop(&r);
	ck_assert_int_eq(np_steer_unload("web", NULL), 0);
}
END_TEST

static int hear_nothing(void *arg, const struct np_steer_decision *d)
{
	return 0;
}

static void trace_for_ever(int sock, void *arg)
{
	struct np_steer *s;

	if (np_steer_open("web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN), &s) < 0)
		child_fail("not joined");
	np_steer_trace(s, 65536, -1, hear_nothing, NULL);
}

/* The program ends it at the first SYN past the lease; gc likewise where none comes. */
START_TEST(a_reader_that_is_killed_leaves_no_tracing_on)
{
	struct child c;
	struct rig r;

	OWN_STEERING();
	ck_assert_int_eq(np_steer_load("web", NULL), 0);
	rig_open(&r, "web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN));
	rig_worker(&r, "127.0.0.1:7812");
	for (int by_gc = 0; by_gc < 2; by_gc++) {
		struct np_steer_garbage g;

		np_steer_garbage_init(&g);
		child_start(&c, trace_for_ever, NULL);
		AWAIT(traced(&r) == 65536);
		child_kill(&c);
		ck_assert_uint_eq(traced(&r), 65536);
		if (by_gc)
			AWAIT(np_steer_gc(r.s, &g) == 0 && !traced(&r));
		else
			AWAIT((rig_drive(&r, 1), !traced(&r)));
	}
	rig_stop(&r);
	ck_assert_int_eq(np_steer_unload("web", NULL), 0);
}
END_TEST

/* ------------------------------------------------------------------ the replay alone */

/* Two candidates: the first drains, the second is ready. */
static struct np_decision given_record(void)
{
	return (struct np_decision){
		.policy = NP_POLICY_RR,
		.roster = 4,
		.hang_ms = 100,
		.worker1 = 3,
		.n = 9,
		.inputs = { { NP_INPUT_TURN, 0, 9 },
			    { NP_INPUT_ROSTER, 1, 2 },
			    { NP_INPUT_STATE, 1, 1 },
			    { NP_INPUT_SELECT, 1, 1 },
			    { NP_INPUT_TURN, 0, 10 },
			    { NP_INPUT_ROSTER, 2, 3 },
			    { NP_INPUT_STATE, 2, 0 },
			    { NP_INPUT_BUSY, 2, 0 },
			    { NP_INPUT_SELECT, 2, 1 } },
	};
}

START_TEST(the_replay_tells_another_worker_and_other_inputs_apart)
{
	struct np_decision d = given_record();

	ck_assert_int_eq(replay_agrees(&d), 0);
	d.worker1 = 2;
	ck_assert_int_eq(replay_agrees(&d), -EILSEQ);
	d = given_record();
	d.fit = 1;
	ck_assert_int_eq(replay_agrees(&d), -EILSEQ);
	d = given_record();
	d.inputs[5].who = 3; /* the program looked elsewhere */
	ck_assert_int_eq(replay_agrees(&d), -EBADMSG);
	d = given_record();
	d.n = 8; /* or stopped looking */
	ck_assert_int_eq(replay_agrees(&d), -EBADMSG);
	d = given_record();
	d.inputs[2].value = 0; /* the first was ready: the rest need not have been read */
	ck_assert_int_eq(replay_agrees(&d), -EBADMSG);
	d = given_record();
	d.n = NP_TRACE_INPUTS + 1;
	ck_assert_int_eq(replay_agrees(&d), -ENODATA);
}
END_TEST

/* Whatever is in a record, it ends and touches nothing else. */
START_TEST(the_replay_takes_any_record)
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
		replay_agrees(&d);
	}
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "trace");
	int policies = 0;

	while (np_steer_policies((unsigned)policies))
		policies++;
	tcase_add_loop_test(t, the_replay_agrees_with_every_decision, 0, 2 * policies * SITUATIONS);
	tcase_add_test(t, who_has_published_too_much_is_not_selected_for_a_look);
	tcase_add_loop_test(t, as_many_flows_are_told_of_as_was_asked_for, 0, 3);
	tcase_add_test(t, each_decision_is_told_or_counted_as_lost);
	tcase_add_test(t, two_readers_are_told_of_everything_and_end_apart);
	tcase_add_test(t, a_reader_that_is_killed_leaves_no_tracing_on);
	tcase_add_test(t, the_replay_tells_another_worker_and_other_inputs_apart);
	tcase_add_test(t, the_replay_takes_any_record);
}

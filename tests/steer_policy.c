/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_policy: who gets the connections, by policy
 *
 * Each is counted twice: what the listeners accepted, and what the program says it did.
 */
#include <errno.h>
#include <math.h>
#include <sched.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "steer/steer.h"
#include "support/steer.h"
#include "support/test.h"

static void check_counts(const struct rig *r, unsigned syns)
{
	struct np_steer_stats st = rig_stats(r);

	ck_assert_uint_eq(st.syn_total, syns);
	ck_assert_uint_eq(st.steered, syns);
	ck_assert_uint_eq(st.fallback_hash, 0);
	for (unsigned i = 0; i < r->n; i++)
		ck_assert_uint_eq(rig_worker_info(r, i).steered, r->accepted[i]);
}

/* Chi-square over the workers against an even spread; 5 sigma above its mean is no accident. */
static void check_even(const struct rig *r)
{
	double mean = (double)rig_accepted(r) / r->n, chi2 = 0, df = r->n - 1;

	for (unsigned i = 0; i < r->n; i++)
		chi2 += (r->accepted[i] - mean) * (r->accepted[i] - mean) / mean;
	ck_assert_msg(chi2 < df + 5 * sqrt(2 * df), "chi-square %.1f for %u workers", chi2, r->n);
}

START_TEST(hash_spreads_evenly)
{
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 8, NP_OPTS(np_steer_opts, .policy = "hash"));
	rig_drive(&r, 4000);
	check_counts(&r, 4000);
	check_even(&r);
	rig_stop(&r);
}
END_TEST

START_TEST(rr_gives_each_worker_its_turn)
{
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 7, NP_OPTS(np_steer_opts, .policy = "rr"));
	rig_drive(&r, 7 * 100);
	check_counts(&r, 7 * 100);
	for (unsigned i = 0; i < r.n; i++)
		ck_assert_uint_eq(r.accepted[i], 100);
	rig_stop(&r);
}
END_TEST

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	ck_assert_int_eq(sched_setaffinity(0, sizeof set, &set), 0);
}

/* On loopback the SYN is handled on the CPU that sends it. */
START_TEST(cpu_gives_to_the_worker_of_the_syns_cpu)
{
	unsigned before[2];
	cpu_set_t all;
	struct rig r;

	OWN_STEERING();
	ck_assert_int_eq(sched_getaffinity(0, sizeof all, &all), 0);
	if (!CPU_ISSET(0, &all) || !CPU_ISSET(1, &all))
		SKIP("needs CPUs 0 and 1");
	rig_start(&r, 4, NP_OPTS(np_steer_opts, .policy = "cpu"));
	ck_assert_int_eq(np_steer_set_cpu(r.w[2], 0), 0);
	ck_assert_int_eq(np_steer_set_cpu(r.w[1], 1), 0);
	pin(0);
	rig_drive(&r, 200);
	ck_assert_uint_eq(r.accepted[2], 200);
	pin(1);
	rig_drive(&r, 200);
	ck_assert_uint_eq(r.accepted[1], 200);
	ck_assert_int_eq(rig_worker_info(&r, 1).cpu, 1);

	/* A CPU that no worker serves any more falls to the hash. */
	ck_assert_int_eq(np_steer_set_cpu(r.w[1], -1), 0);
	memcpy(before, r.accepted, sizeof before);
	rig_drive(&r, 400);
	check_counts(&r, 800);
	ck_assert_uint_gt(r.accepted[0], before[0]);
	rig_stop(&r);
}
END_TEST

START_TEST(random_spreads_evenly)
{
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 8, NP_OPTS(np_steer_opts, .policy = "random"));
	rig_drive(&r, 4000);
	check_counts(&r, 4000);
	check_even(&r);
	rig_stop(&r);
}
END_TEST

static void publish(struct rig *r, unsigned i, uint64_t conns)
{
	__atomic_store_n(&steer_worker_line(r->w[i])->conns, conns, __ATOMIC_RELAXED);
}

/* @n connections that stay; after each one every worker says how many it has, as pollers do. */
static void fill(struct rig *r, int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		fds[i] = client_connect(r->address);
		ck_assert_int_ge(fds[i], 0);
		AWAIT(rig_accept(r) == 1);
		for (unsigned w = 0; w < r->n; w++)
			publish(r, w, r->accepted[w]);
	}
}

/* A worker that says it has connections is not closed. */
static void empty(struct rig *r, int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		client_close(&fds[i]);
	for (unsigned w = 0; w < r->n; w++)
		publish(r, w, 0);
}

static unsigned most(const struct rig *r)
{
	unsigned m = 0;

	for (unsigned i = 0; i < r->n; i++)
		m = r->accepted[i] > m ? r->accepted[i] : m;
	return m;
}

START_TEST(least_keeps_published_connections_level)
{
	static int fds[400];
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 8, NP_OPTS(np_steer_opts, .policy = "least"));
	fill(&r, fds, 400);
	check_counts(&r, 400);
	for (unsigned i = 0; i < r.n; i++)
		ck_assert_uint_eq(r.accepted[i], 50);
	empty(&r, fds, 400);
	rig_stop(&r);
}
END_TEST

START_TEST(least_gives_by_weight)
{
	static int fds[420];
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 4, NP_OPTS(np_steer_opts, .policy = "least"));
	ck_assert_int_eq(np_steer_set_weight(r.s, (unsigned)np_steer_worker_index(r.w[2]), 400), 0);
	fill(&r, fds, 420);
	check_counts(&r, 420);
	for (unsigned i = 0; i < r.n; i++)
		ck_assert_msg(abs((int)r.accepted[i] - (i == 2 ? 240 : 60)) <= 3, "worker %u: %u", i, r.accepted[i]);
	empty(&r, fds, 420);
	rig_stop(&r);
}
END_TEST

/* The best of two draws: with balls in bins that is within a few of the mean, whatever their number. */
START_TEST(p2c_keeps_published_connections_nearly_level)
{
	static int fds[800];
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 8, NP_OPTS(np_steer_opts, .policy = "p2c"));
	fill(&r, fds, 800);
	check_counts(&r, 800);
	ck_assert_uint_le(most(&r), 110);
	empty(&r, fds, 800);
	rig_stop(&r);
}
END_TEST

/* It is chosen only when both draws are it: one in sixteen. Five sigma of 4000 draws are 77. */
START_TEST(p2c_avoids_a_loaded_worker)
{
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 4, NP_OPTS(np_steer_opts, .policy = "p2c"));
	publish(&r, 1, 1000);
	rig_drive(&r, 4000);
	check_counts(&r, 4000);
	ck_assert_uint_ge(r.accepted[1], 250 - 77);
	ck_assert_uint_le(r.accepted[1], 250 + 77);
	publish(&r, 1, 0);
	rig_stop(&r);
}
END_TEST

/* Not what the kernel's hash would do: one worker of four gets all, as the program says. */
START_TEST(the_spread_is_the_programs_not_the_kernels)
{
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 4, NULL);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(np_steer_kick(r.s, (unsigned)np_steer_worker_index(r.w[i])), 0);
	rig_drive(&r, 500);
	ck_assert_uint_eq(r.accepted[3], 500);
	check_counts(&r, 500);
	rig_stop(&r);
}
END_TEST

START_TEST(switching_the_policy_loses_no_connection)
{
	unsigned n = 0;
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 4, NULL);
	for (unsigned i = 0; i < 60; i++) {
		if (!np_steer_policies(n))
			n = 0;
		ck_assert_int_eq(np_steer_set_policy(r.s, np_steer_policies(n++)), 0);
		rig_drive(&r, 20);
	}
	check_counts(&r, 60 * 20);
	rig_stop(&r);
}
END_TEST

START_TEST(unknown_policies_are_refused_in_words)
{
	char why[NP_STEER_TEXT_MAX] = "";
	struct np_steer *s = NULL;
	struct rig r;

	OWN_STEERING();
	ck_assert_int_eq(np_steer_open(NULL,
				       NP_OPTS(np_steer_opts, .policy = "best", .error = why,
					       .error_cap = sizeof why),
				       &s),
			 -EINVAL);
	ck_assert_ptr_null(s);
	ck_assert_str_eq(why, "there is no policy \"best\"; there are: hash rr cpu random p2c least "
			      "p2c-exact least-exact auto");

	rig_start(&r, 1, NULL);
	ck_assert_int_eq(np_steer_set_policy(r.s, "best"), -EINVAL);
	ck_assert_str_eq(np_steer_error(r.s), why);
	rig_stop(&r);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("steer_policy");
	TCase *t = tcase_create("policy");

	tcase_add_test(t, hash_spreads_evenly);
	tcase_add_test(t, rr_gives_each_worker_its_turn);
	tcase_add_test(t, random_spreads_evenly);
	tcase_add_test(t, least_keeps_published_connections_level);
	tcase_add_test(t, least_gives_by_weight);
	tcase_add_test(t, p2c_keeps_published_connections_nearly_level);
	tcase_add_test(t, p2c_avoids_a_loaded_worker);
	tcase_add_test(t, cpu_gives_to_the_worker_of_the_syns_cpu);
	tcase_add_test(t, the_spread_is_the_programs_not_the_kernels);
	tcase_add_test(t, switching_the_policy_loses_no_connection);
	tcase_add_test(t, unknown_policies_are_refused_in_words);
	suite_add_tcase(s, t);
	return run_suite(s);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_policy: who gets the connections, by policy
 *
 * Each is counted twice: what the listeners accepted, and what the program says it did.
 */
#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "spread.h"
#include "steer/steer.h"
#include "support/steer.h"
#include "support/test.h"

START_TEST(hash_spreads_evenly)
{
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 8, NP_OPTS(np_steer_opts, .policy = "hash"));
	rig_drive(&r, 4000);
	expect_counted(&r, 4000);
	expect_even(&r);
	rig_stop(&r);
}
END_TEST

START_TEST(rr_gives_each_worker_its_turn)
{
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 7, NP_OPTS(np_steer_opts, .policy = "rr"));
	rig_drive(&r, 7 * 100);
	expect_counted(&r, 7 * 100);
	for (unsigned i = 0; i < r.n; i++)
		ck_assert_uint_eq(r.accepted[i], 100);
	rig_stop(&r);
}
END_TEST

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
	rig_param(&r, "spill", "0");
	run_on(0);
	rig_drive(&r, 200);
	ck_assert_uint_eq(r.accepted[2], 200);
	run_on(1);
	rig_drive(&r, 200);
	ck_assert_uint_eq(r.accepted[1], 200);
	ck_assert_int_eq(rig_worker_info(&r, 1).cpu, 1);

	/* A CPU that no worker serves any more falls to the hash. */
	ck_assert_int_eq(np_steer_set_cpu(r.w[1], -1), 0);
	memcpy(before, r.accepted, sizeof before);
	rig_drive(&r, 400);
	expect_counted(&r, 800);
	ck_assert_uint_gt(r.accepted[0], before[0]);
	rig_stop(&r);
}
END_TEST

/* Nobody accepts: only the kernel's queues tell how much worker 2 has. */
START_TEST(cpu_spills_what_is_too_much_for_its_worker)
{
	static int fds[200];
	cpu_set_t all;
	struct rig r;

	OWN_STEERING();
	ck_assert_int_eq(sched_getaffinity(0, sizeof all, &all), 0);
	if (!CPU_ISSET(0, &all))
		SKIP("needs CPU 0");
	rig_start(&r, 4, NP_OPTS(np_steer_opts, .policy = "cpu"));
	if (rig_level(&r) < NP_STEER_L4)
		SKIP("needs level 4");
	rig_param(&r, "spill", "150");
	ck_assert_int_eq(np_steer_set_cpu(r.w[2], 0), 0);
	run_on(0);
	clients_connect(r.address, fds, 200);
	ck_assert_uint_eq(rig_accept(&r), 200);
	expect_counted(&r, 200);
	/* Half as much again as the others, whichever was drawn: 67 of 200, give or take. */
	ck_assert_uint_ge(r.accepted[2], 55);
	ck_assert_uint_le(r.accepted[2], 85);
	ck_assert_uint_eq(rig_stats(&r).spilled, 200 - r.accepted[2] - rig_stats(&r).retried);
	clients_close(fds, 200);
	rig_stop(&r);
}
END_TEST

START_TEST(random_spreads_evenly)
{
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 8, NP_OPTS(np_steer_opts, .policy = "random"));
	rig_drive(&r, 4000);
	expect_counted(&r, 4000);
	expect_even(&r);
	rig_stop(&r);
}
END_TEST

START_TEST(least_keeps_published_connections_level)
{
	static int fds[400];
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 8, NP_OPTS(np_steer_opts, .policy = "least"));
	rig_fill(&r, fds, 400);
	expect_counted(&r, 400);
	for (unsigned i = 0; i < r.n; i++)
		ck_assert_uint_eq(r.accepted[i], 50);
	rig_empty(&r, fds, 400);
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
	rig_fill(&r, fds, 420);
	expect_counted(&r, 420);
	for (unsigned i = 0; i < r.n; i++)
		ck_assert_msg(abs((int)r.accepted[i] - (i == 2 ? 240 : 60)) <= 3, "worker %u: %u",
			      i, r.accepted[i]);
	rig_empty(&r, fds, 420);
	rig_stop(&r);
}
END_TEST

/* The best of two draws: with balls in bins that is within a few of the mean, whatever their
 * number. */
START_TEST(p2c_keeps_published_connections_nearly_level)
{
	static int fds[800];
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 8, NP_OPTS(np_steer_opts, .policy = "p2c"));
	rig_fill(&r, fds, 800);
	expect_counted(&r, 800);
	ck_assert_uint_le(rig_most(&r), 110);
	rig_empty(&r, fds, 800);
	rig_stop(&r);
}
END_TEST

/* It is chosen only when both draws are it: one in sixteen. Five sigma of 4000 draws are 77. */
/* Its words stay, and say that it has the least of all. */
START_TEST(least_goes_by_the_living_alone)
{
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 4, NP_OPTS(np_steer_opts, .policy = "least", .max_level = _i));
	for (unsigned i = 0; i < r.n; i++)
		rig_publish(&r, i, i == 1 ? 0 : 100 * (i + 1));
	rig_close_listener(&r, 1);
	rig_drive(&r, 200);
	ck_assert_uint_eq(r.accepted[0], 200);
	for (unsigned i = 0; i < r.n; i++)
		rig_publish(&r, i, 0);
	rig_stop(&r);
}
END_TEST

START_TEST(p2c_avoids_a_loaded_worker)
{
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 4, NP_OPTS(np_steer_opts, .policy = "p2c"));
	rig_publish(&r, 1, 1000);
	rig_drive(&r, 4000);
	expect_counted(&r, 4000);
	ck_assert_uint_ge(r.accepted[1], 250 - 77);
	ck_assert_uint_le(r.accepted[1], 250 + 77);
	rig_publish(&r, 1, 0);
	rig_stop(&r);
}
END_TEST

/* ------------------------------------------------------------------ weighted */

/* How many of @n fall to each by its share, and 5 sigma either way. */
static void check_share(const struct rig *r, unsigned i, unsigned n, double share)
{
	double want = n * share, slack = 5 * sqrt(n * share * (1 - share));

	ck_assert_msg(fabs(r->accepted[i] - want) <= slack,
		      "worker %u: %u, not %.0f give or take %.0f", i, r->accepted[i], want, slack);
}

static void set_weight(struct rig *r, unsigned i, unsigned weight)
{
	ck_assert_int_eq(
		np_steer_set_weight(r->s, (unsigned)np_steer_worker_index(r->w[i]), weight), 0);
}

/* At every level; the draws of level 2 are fewer than the workers, so that it comes near its shares
 * only. */
START_TEST(weighted_gives_by_weight_whatever_the_load)
{
	static const double shares[] = { 0.1, 0.1, 0.7, 0.1 };
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 4, NP_OPTS(np_steer_opts, .policy = "weighted", .max_level = _i));
	set_weight(&r, 2, 700);
	rig_publish(&r, 2, 100000);
	rig_drive(&r, 4000);
	expect_counted(&r, 4000);
	for (unsigned i = 0; i < r.n; i++)
		if (_i >= NP_STEER_L3)
			check_share(&r, i, 4000, shares[i]);
		else
			ck_assert_uint_gt(r.accepted[2], r.accepted[i] * (i == 2 ? 0 : 3));
	rig_publish(&r, 2, 0);
	rig_stop(&r);
}
END_TEST

static void ready_for(struct rig *r, unsigned i, uint64_t ms)
{
	struct timespec ts;
	uint64_t now;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec -
	      (uint64_t)r->s->clock_offset_ns;
	/* The kernel's clock may have run for less than that. */
	r->s->maps.ctl[np_steer_worker_index(r->w[i])].ready_since_ns =
		now > ms * 1000000 ? now - ms * 1000000 : 1;
}

/* The clock goes on meanwhile: 4 s of work would be a hundredth of this. */
#define WARM_MS 400000

START_TEST(a_new_worker_warms_up_under_weighted)
{
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 4, NP_OPTS(np_steer_opts, .policy = "weighted"));
	for (unsigned i = 0; i < r.n; i++)
		r.s->maps.ctl[np_steer_worker_index(r.w[i])].ready_since_ns = 0;
	rig_param(&r, "slow_start_ms", "400000");
	ready_for(&r, 1, 0);
	rig_drive(&r, 1000);
	ck_assert_uint_le(r.accepted[1], 30);
	memset(r.accepted, 0, sizeof r.accepted);
	ready_for(&r, 1, WARM_MS / 4);
	rig_drive(&r, 2000);
	ck_assert_uint_ge(r.accepted[1], 90); /* 1 in 13 is 154 */
	ck_assert_uint_le(r.accepted[1], 225);
	memset(r.accepted, 0, sizeof r.accepted);
	rig_param(&r, "slow_start_ms", "0");
	rig_drive(&r, 4000);
	check_share(&r, 1, 4000, 0.25);
	rig_stop(&r);
}
END_TEST

/* Without slow start it would get every connection until it has as many as the others. */
START_TEST(a_new_worker_warms_up_under_least)
{
	static int fds[80];
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 4, NP_OPTS(np_steer_opts, .policy = "least"));
	for (unsigned i = 0; i < r.n; i++) {
		r.accepted[i] = i == 1 ? 0 : 20;
		rig_publish(&r, i, r.accepted[i]);
	}
	rig_param(&r, "slow_start_ms", "3600000");
	for (unsigned i = 0; i < r.n; i++)
		if (i != 1)
			r.s->maps.ctl[np_steer_worker_index(r.w[i])].ready_since_ns = 0;
	ready_for(&r, 1, 0);
	rig_fill(&r, fds, 80);
	ck_assert_uint_le(r.accepted[1], 2);
	ck_assert_uint_eq(rig_accepted(&r), 60 + 80);
	rig_empty(&r, fds, 80);
	rig_stop(&r);
}
END_TEST

START_TEST(who_was_drained_warms_up_again)
{
	__u64 *since, was;
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 2, NULL);
	since = &r.s->maps.ctl[np_steer_worker_index(r.w[0])].ready_since_ns;
	ck_assert_uint_ne(*since, 0);
	was = *since = *since - 1;
	ck_assert_int_eq(np_steer_drain(r.s, (unsigned)np_steer_worker_index(r.w[0])), 0);
	ck_assert_uint_eq(*since, was);
	ck_assert_int_eq(np_steer_undrain(r.s, (unsigned)np_steer_worker_index(r.w[0])), 0);
	ck_assert_uint_gt(*since, was);
	rig_stop(&r);
}
END_TEST

/* ------------------------------------------------------------------ bitmap */

START_TEST(bitmap_gives_to_those_that_are_published)
{
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 8, NP_OPTS(np_steer_opts, .policy = "bitmap", .max_level = _i));
	rig_drive(&r, 2000); /* nobody is: by hash */
	expect_even(&r);
	memset(r.accepted, 0, sizeof r.accepted);
	rig_param(&r, "set", "1,4-5,7");
	rig_drive(&r, 4000);
	for (unsigned i = 0; i < r.n; i++)
		check_share(&r, i, 4000, i == 1 || i == 4 || i == 5 || i == 7 ? 0.25 : 0);
	ck_assert_uint_eq(rig_stats(&r).steered, 6000);

	/*
	 * One of them cannot: the other of the set, and where the set has no other, somebody else.
	 */
	memset(r.accepted, 0, sizeof r.accepted);
	rig_param(&r, "set", "2,5");
	ck_assert_int_eq(np_steer_drain(r.s, (unsigned)np_steer_worker_index(r.w[2])), 0);
	rig_drive(&r, 500);
	ck_assert_uint_eq(r.accepted[5], 500);
	rig_param(&r, "set", "2");
	rig_drive(&r, 500);
	ck_assert_uint_eq(r.accepted[2], 0);
	ck_assert_uint_eq(rig_stats(&r).steered, 7000);
	rig_stop(&r);
}
END_TEST

/* Bits of every word, and of workers that are not there. */
START_TEST(bitmap_counts_members_in_every_word)
{
	uint64_t set[4] = { 1ull << 3, 0, 1ull << 63, ~0ull };
	char text[64];
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 4, NP_OPTS(np_steer_opts, .policy = "bitmap"));
	ck_assert_int_eq(np_steer_publish(r.s, set, 4), 0);
	ck_assert_int_eq(np_steer_param(r.s, "set", text, sizeof text), 0);
	ck_assert_str_eq(text, "3,191-255");
	rig_drive(&r, 1000); /* most draws meet nobody; the walk finds one */
	ck_assert_uint_eq(rig_stats(&r).steered, 1000);
	ck_assert_int_eq(np_steer_publish(r.s, set, 1), 0);
	memset(r.accepted, 0, sizeof r.accepted);
	rig_drive(&r, 200);
	ck_assert_uint_eq(r.accepted[3], 200);
	ck_assert_int_eq(np_steer_publish(r.s, set, 5), -EINVAL);
	rig_stop(&r);
}
END_TEST

START_TEST(parameters_out_of_range_are_refused_in_words)
{
	static const struct {
		const char *name, *bad[7];
	} cases[] = {
		{ "spill", { "99", "10001", "-1", "", "x", "1.5" } },
		{ "bound", { "1", "10001", "-100", "", "100 ", "%" } },
		{ "slow_start_ms", { "-1", "3600001", "", "s", "1s" } },
		{ "set", { "", "256", "3-1", "1,", ",1", "1--2", "all" } },
	};
	char before[64], after[64];
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 1, NULL);
	rig_param(&r, "set", "0-3,8");
	for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
		ck_assert_int_eq(np_steer_param(r.s, cases[c].name, before, sizeof before), 0);
		for (unsigned b = 0; b < 7 && cases[c].bad[b]; b++) {
			ck_assert_int_eq(np_steer_set_param(r.s, cases[c].name, cases[c].bad[b]),
					 -EINVAL);
			ck_assert_ptr_nonnull(strstr(np_steer_error(r.s), " takes "));
		}
		ck_assert_int_eq(np_steer_param(r.s, cases[c].name, after, sizeof after), 0);
		ck_assert_str_eq(before, after);
	}
	rig_param(&r, "spill", "0");
	rig_param(&r, "bound", "10000");
	rig_param(&r, "slow_start_ms", "3600000");
	rig_param(&r, "set", "none");
	ck_assert_int_eq(np_steer_param(r.s, "set", after, sizeof after), 0);
	ck_assert_str_eq(after, "none");
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
	expect_counted(&r, 500);
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
	expect_counted(&r, 60 * 20);
	rig_stop(&r);
}
END_TEST

START_TEST(each_parameter_that_is_listed_takes_what_it_shows)
{
	char before[64], after[64];
	const char *name;
	unsigned n = 0;
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 1, NULL);
	while ((name = np_steer_params(n))) {
		ck_assert_msg(np_steer_param(r.s, name, before, sizeof before) == 0, "%s: %s", name,
			      np_steer_error(r.s));
		rig_param(&r, name, before);
		ck_assert_int_eq(np_steer_param(r.s, name, after, sizeof after), 0);
		ck_assert_str_eq(after, before);
		n++;
	}
	ck_assert_uint_gt(n, 0);
	ck_assert_ptr_null(np_steer_params(n + 1));
	ck_assert_int_eq(np_steer_set_param(r.s, "no such", "1"), -EINVAL);
	for (unsigned i = 0; i < n; i++)
		ck_assert_ptr_nonnull(strstr(np_steer_error(r.s), np_steer_params(i)));
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
	ck_assert_str_eq(why,
			 "there is no policy \"best\"; there are: hash rr cpu random p2c least "
			 "p2c-exact least-exact auto maglev weighted bitmap");

	rig_start(&r, 1, NULL);
	ck_assert_int_eq(np_steer_set_policy(r.s, "best"), -EINVAL);
	ck_assert_str_eq(np_steer_error(r.s), why);
	rig_stop(&r);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "policy");

	rig_no_rescue = true;
	tcase_add_test(t, hash_spreads_evenly);
	tcase_add_test(t, rr_gives_each_worker_its_turn);
	tcase_add_test(t, random_spreads_evenly);
	tcase_add_test(t, least_keeps_published_connections_level);
	tcase_add_test(t, least_gives_by_weight);
	tcase_add_test(t, p2c_keeps_published_connections_nearly_level);
	tcase_add_loop_test(t, least_goes_by_the_living_alone, NP_STEER_L3, NP_STEER_L4 + 1);
	tcase_add_test(t, p2c_avoids_a_loaded_worker);
	tcase_add_test(t, cpu_gives_to_the_worker_of_the_syns_cpu);
	tcase_add_test(t, cpu_spills_what_is_too_much_for_its_worker);
	tcase_add_loop_test(t, weighted_gives_by_weight_whatever_the_load, NP_STEER_L2,
			    NP_STEER_L4 + 1);
	tcase_add_test(t, a_new_worker_warms_up_under_weighted);
	tcase_add_test(t, a_new_worker_warms_up_under_least);
	tcase_add_test(t, who_was_drained_warms_up_again);
	tcase_add_loop_test(t, bitmap_gives_to_those_that_are_published, NP_STEER_L2,
			    NP_STEER_L4 + 1);
	tcase_add_test(t, bitmap_counts_members_in_every_word);
	tcase_add_test(t, parameters_out_of_range_are_refused_in_words);
	tcase_add_test(t, the_spread_is_the_programs_not_the_kernels);
	tcase_add_test(t, switching_the_policy_loses_no_connection);
	tcase_add_test(t, each_parameter_that_is_listed_takes_what_it_shows);
	tcase_add_test(t, unknown_policies_are_refused_in_words);
}

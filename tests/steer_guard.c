/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_guard: who does not get connections: the empty, the draining, the hung, the kicked
 *
 * And what happens when there is nobody else.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "given_hung.h"
#include "steer/steer.h"
#include "support/steer.h"
#include "support/test.h"
#include "sys/addr.h"
#include "sys/clock.h"

static unsigned index_of(const struct rig *r, unsigned i)
{
	return (unsigned)np_steer_worker_index(r->w[i]);
}

static void drain(struct rig *r, unsigned i)
{
	ck_assert_int_eq(np_steer_drain(r->s, index_of(r, i)), 0);
}

static void undrain(struct rig *r, unsigned i)
{
	ck_assert_int_eq(np_steer_undrain(r->s, index_of(r, i)), 0);
}

static void kick(struct rig *r, unsigned i)
{
	ck_assert_int_eq(np_steer_kick(r->s, index_of(r, i)), 0);
}

static void busy_from_tomorrow(struct rig *r, unsigned i)
{
	__atomic_store_n(&steer_worker_line(r->w[i])->busy_since_ns,
			 sys_clock_ns() + 86400000000000ull, __ATOMIC_RELAXED);
}

START_TEST(draining_workers_get_nothing_until_undrained)
{
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 4, NULL);
	drain(&r, 1);
	rig_drive(&r, 400);
	ck_assert_uint_eq(r.accepted[1], 0);
	ck_assert_uint_gt(rig_stats(&r).skipped_away, 0);

	undrain(&r, 1);
	rig_drive(&r, 400);
	ck_assert_uint_gt(r.accepted[1], 0);
	ck_assert_uint_eq(rig_stats(&r).steered, 800);
	rig_stop(&r);
}
END_TEST

START_TEST(draining_workers_serve_when_nobody_else_can)
{
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 2, NULL);
	drain(&r, 0);
	drain(&r, 1);
	rig_drive(&r, 100);
	ck_assert_uint_eq(rig_stats(&r).fallback_hash, 100);
	ck_assert_uint_eq(rig_stats(&r).fallback_none, 0);
	ck_assert_uint_eq(rig_stats(&r).steered, 0);
	for (unsigned i = 0; i < r.n; i++)
		ck_assert_uint_eq(rig_worker_info(&r, i).fallback, r.accepted[i]);
	rig_stop(&r);
}
END_TEST

/* The roster names a dead listener until the next worker comes or goes. */
START_TEST(an_empty_slot_costs_a_retry_and_no_connection)
{
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 4, NP_OPTS(np_steer_opts, .policy = "hash"));
	rig_close_listener(&r, 2);
	rig_drive(&r, 400);
	ck_assert_uint_eq(rig_stats(&r).steered, 400);
	ck_assert_uint_gt(rig_stats(&r).skipped_empty, 0);
	ck_assert_uint_gt(rig_stats(&r).retried, 0);
	rig_stop(&r);
}
END_TEST

START_TEST(rr_stays_even_around_an_empty_slot)
{
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 4, NP_OPTS(np_steer_opts, .policy = "rr"));
	rig_close_listener(&r, 1);
	rig_drive(&r, 300);
	ck_assert_uint_eq(r.accepted[0], 100);
	ck_assert_uint_eq(r.accepted[2], 100);
	ck_assert_uint_eq(r.accepted[3], 100);
	rig_stop(&r);
}
END_TEST

START_TEST(a_worker_busy_past_hang_ms_is_passed_over)
{
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 4, NP_OPTS(np_steer_opts, .hang_ms = 5000));
	given_hung(&r, 3);
	busy_from_tomorrow(&r, 0); /* counts as fresh */
	np_steer_busy(r.w[1]);
	rig_drive(&r, 400);
	ck_assert_uint_eq(r.accepted[3], 0);
	ck_assert_uint_gt(r.accepted[0], 0);
	ck_assert_uint_gt(r.accepted[1], 0);
	ck_assert_uint_gt(rig_stats(&r).skipped_hung, 0);
	ck_assert_uint_eq(rig_stats(&r).steered, 400);

	np_steer_idle(r.w[3]);
	rig_drive(&r, 400);
	ck_assert_uint_gt(r.accepted[3], 0);
	rig_stop(&r);
}
END_TEST

START_TEST(hang_ms_0_never_passes_a_busy_worker_over)
{
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 2, NP_OPTS(np_steer_opts, .hang_ms = -1));
	given_hung(&r, 0);
	given_hung(&r, 1);
	rig_drive(&r, 100);
	ck_assert_uint_eq(rig_stats(&r).steered, 100);

	ck_assert_int_eq(np_steer_set_hang_ms(r.s, 1000), 0);
	rig_drive(&r, 100);
	ck_assert_uint_eq(rig_stats(&r).fallback_hash, 100);
	rig_stop(&r);
}
END_TEST

START_TEST(the_hung_serve_before_the_draining_and_the_kicked_never)
{
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 6, NP_OPTS(np_steer_opts, .hang_ms = 1000));
	for (unsigned i = 0; i < 4; i++)
		kick(&r, i);
	drain(&r, 4);
	given_hung(&r, 5);
	rig_drive(&r, 200);
	ck_assert_uint_eq(r.accepted[5], 200);
	ck_assert_uint_eq(rig_stats(&r).fallback_hash, 200);

	kick(&r, 5);
	rig_drive(&r, 200);
	ck_assert_uint_eq(r.accepted[4], 200);
	rig_stop(&r);
}
END_TEST

START_TEST(with_nobody_to_select_the_kernel_chooses)
{
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 3, NULL);
	for (unsigned i = 0; i < r.n; i++)
		kick(&r, i);
	rig_drive(&r, 200);
	ck_assert_uint_eq(rig_stats(&r).fallback_none, 200);
	ck_assert_uint_eq(rig_stats(&r).fallback_hash, 200);
	rig_stop(&r);
}
END_TEST

START_TEST(refusing_when_exhausted_needs_two_words)
{
	struct rig r;
	int fd;

	OWN_STEERING();
	rig_start(&r, 2, NULL);
	drain(&r, 0);
	drain(&r, 1);
	r.s->maps.config->on_exhausted = NP_EXHAUSTED_RST;
	rig_drive(&r, 50);
	ck_assert_uint_eq(rig_stats(&r).fallback_hash, 50);

	r.s->maps.config->rst_confirm = NP_RST_CONFIRM;
	for (unsigned i = 0; i < 50; i++)
		ck_assert_int_eq(client_connect(r.address), -ECONNREFUSED);
	ck_assert_uint_eq(rig_stats(&r).rejected_rst, 50);
	ck_assert_uint_eq(rig_stats(&r).syn_total, 100);

	undrain(&r, 1);
	fd = client_connect(r.address);
	ck_assert_int_ge(fd, 0);
	client_close(&fd);
	rig_stop(&r);
}
END_TEST

/* Draws hit one of 64 seldom: this is the walk over the whole roster. */
START_TEST(the_one_fit_worker_of_many_is_found)
{
	unsigned n = 0;
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 64, NULL);
	for (unsigned i = 0; i < r.n; i++)
		if (i != 37)
			drain(&r, i);
	for (; np_steer_policies(n); n++) {
		ck_assert_int_eq(np_steer_set_policy(r.s, np_steer_policies(n)), 0);
		rig_drive(&r, 100);
		ck_assert_uint_eq(r.accepted[37], (n + 1) * 100);
	}
	ck_assert_uint_eq(rig_stats(&r).steered, n * 100);
	rig_stop(&r);
}
END_TEST

/* What falls to the others does not all fall to one of them. */
START_TEST(a_missing_workers_share_is_spread_over_all_others)
{
	unsigned before[RIG_MAX], most = 0;
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 8, NULL);
	rig_drive(&r, 1000);
	memcpy(before, r.accepted, sizeof before);
	drain(&r, 3);
	rig_drive(&r, 3500);
	for (unsigned i = 0; i < r.n; i++)
		if (r.accepted[i] - before[i] > most)
			most = r.accepted[i] - before[i];
	ck_assert_uint_eq(r.accepted[3], before[3]);
	ck_assert_uint_lt(most, 650); /* 500 each; the neighbour alone would have 875 */
	rig_stop(&r);
}
END_TEST

static void zero_fill(const struct maps *m, enum map which, uint32_t entries)
{
	static char zero[1 << 16]; /* a per-CPU value of many CPUs too */

	for (uint32_t i = 0; i < entries; i++)
		ck_assert_int_eq(map_update(m, which, &i, zero, BPF_ANY), 0);
}

/* A cleared map may cost the policy, never a connection. */
START_TEST(zero_filled_maps_are_harmless)
{
	static const struct {
		enum map which;
		uint32_t entries;
	} plain[] = {
#define NP_ROW(name, key, value, entries, mode) { MAP_##name, entries },
		NP_STEER_MAPS(NP_ROW)
#undef NP_ROW
	};
	const char *policy = np_steer_policies((unsigned)_i);
	struct rig r;

	OWN_STEERING();
	for (unsigned i = 0; i < MAP_MAX; i++) {
		if (i == MAP_np_socks || i == MAP_np_claims || i == MAP_np_owners ||
		    i == MAP_np_bell || i == MAP_np_trace || i == MAP_np_tags)
			continue; /* sockets, a hash that may be empty, and no array */
		rig_start(&r, 4, NP_OPTS(np_steer_opts, .policy = policy));
		ck_assert_int_eq(np_steer_set_cpu(r.w[1], 0), 0);
		ck_assert_int_eq(np_steer_set_param(r.s, "set", "0-2"), 0);
		rig_drive(&r, 20);
		zero_fill(&r.s->maps, plain[i].which, plain[i].entries);
		rig_drive(&r, 20);
		/* np_config: by this policy, all else being zero */
		ck_assert_int_eq(np_steer_set_policy(r.s, policy), 0);
		rig_drive(&r, 20);
		rig_stop(&r);
	}
}
END_TEST

/* Such as a configuration test of another server, which binds the port and does not accept. */
START_TEST(a_joiner_without_a_slot_gets_nothing)
{
	struct addr a;
	struct rig r;
	int fd, one = 1;

	OWN_STEERING();
	rig_start(&r, 4, NULL);
	ck_assert_int_eq(addr_parse("tcp", r.address, &a), 0);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one), 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a.ss, a.len), 0);
	ck_assert_int_eq(listen(fd, 64), 0);

	rig_drive(&r, 500); /* all of them were accepted by the four */
	ck_assert_int_lt(accept(fd, NULL, NULL), 0);
	ck_assert_int_eq(errno, EAGAIN);
	ck_assert_uint_eq(rig_stats(&r).steered, 500);
	close(fd);
	rig_stop(&r);
}
END_TEST

/* A line is its claimant's alone: what a predecessor left on it means nothing. */
START_TEST(a_claim_starts_with_a_clean_line_and_clean_words)
{
	struct np_worker_line *l;
	struct rig r;

	OWN_STEERING();
	rig_open(&r, NULL, NULL);
	r.s->maps.workers[0].busy_since_ns = 1;
	r.s->maps.workers[0].conns = 77;
	r.s->maps.ctl[0].state = NP_WORKER_OUT;
	rig_worker(&r, "127.0.0.1:0");
	l = steer_worker_line(r.w[0]);
	ck_assert_uint_eq(l->busy_since_ns, 0);
	ck_assert_uint_eq(l->conns, 0);
	rig_drive(&r, 10);
	ck_assert_uint_eq(rig_stats(&r).steered, 10);
	rig_stop(&r);
}
END_TEST

START_TEST(draining_nobody_is_an_error)
{
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 1, NULL);
	ck_assert_int_eq(np_steer_drain(r.s, 17), -ENOENT);
	ck_assert_str_eq(np_steer_error(r.s), "nobody is worker 17 of the service default");
	ck_assert_int_eq(np_steer_drain(r.s, 1u << 20), -ENOENT);
	rig_stop(&r);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "guard");
	int policies = 0;

	rig_no_rescue = true;
	while (np_steer_policies((unsigned)policies))
		policies++;
	tcase_add_test(t, draining_workers_get_nothing_until_undrained);
	tcase_add_test(t, draining_workers_serve_when_nobody_else_can);
	tcase_add_test(t, an_empty_slot_costs_a_retry_and_no_connection);
	tcase_add_test(t, rr_stays_even_around_an_empty_slot);
	tcase_add_test(t, a_worker_busy_past_hang_ms_is_passed_over);
	tcase_add_test(t, hang_ms_0_never_passes_a_busy_worker_over);
	tcase_add_test(t, the_hung_serve_before_the_draining_and_the_kicked_never);
	tcase_add_test(t, with_nobody_to_select_the_kernel_chooses);
	tcase_add_test(t, refusing_when_exhausted_needs_two_words);
	tcase_add_test(t, the_one_fit_worker_of_many_is_found);
	tcase_add_test(t, a_missing_workers_share_is_spread_over_all_others);
	tcase_add_loop_test(t, zero_filled_maps_are_harmless, 0, policies);
	tcase_add_test(t, a_joiner_without_a_slot_gets_nothing);
	tcase_add_test(t, a_claim_starts_with_a_clean_line_and_clean_words);
	tcase_add_test(t, draining_nobody_is_an_error);
}

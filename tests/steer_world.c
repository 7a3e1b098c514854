/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_world: the counters agree with the world, under each policy at each level, whatever becomes
 * of the workers
 *
 * The world is what clients have connected, what listeners have accepted, what the kernel has
 * dropped, and how often it ran the program. After every scenario all of it is compared, each
 * worker for itself.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "given_hung.h"
#include "program_runs.h"
#include "steer/steer.h"
#include "support/steer.h"
#include "support/test.h"

#define WORKERS 8
#define LEVELS  (NP_STEER_L4 - NP_STEER_L2 + 1)

struct world {
	struct rig r;
	unsigned syns;    /* connect() was called */
	unsigned refused; /* and said so */
};

static unsigned index_of(const struct rig *r, unsigned i)
{
	return (unsigned)np_steer_worker_index(r->w[i]);
}

static void agrees(const struct world *w, const char *scenario)
{
	struct np_steer_stats st = rig_stats(&w->r);
	uint64_t steered = 0, fallback = 0, in = 0;

	ck_assert_msg(st.syn_total == w->syns, "%s: %llu SYNs, %u connects", scenario,
		      (unsigned long long)st.syn_total, w->syns);
	ck_assert_uint_eq(st.syn_total,
			  st.steered + st.fallback_hash + st.rejected_rst + st.shed_full);
	ck_assert_uint_eq(st.rejected_rst, w->refused);
	ck_assert_uint_eq(st.shed_full, 0);
	ck_assert_uint_eq(rig_accepted(&w->r), w->syns - w->refused);
	ck_assert_int_eq(netstat("TcpExt", "ListenDrops"), 0);
	for (unsigned i = 0; i < w->r.n; i++) {
		struct np_steer_worker_info k = rig_worker_info(&w->r, i);

		ck_assert_msg(
			k.steered + k.fallback + k.migrated_in - k.migrated_out == w->r.accepted[i],
			"%s: worker %u has accepted %u, and was given %llu + %llu + %llu - %llu",
			scenario, i, w->r.accepted[i], (unsigned long long)k.steered,
			(unsigned long long)k.fallback, (unsigned long long)k.migrated_in,
			(unsigned long long)k.migrated_out);
		steered += k.steered;
		fallback += k.fallback;
		in += k.migrated_in;
	}
	ck_assert_uint_eq(steered, st.steered);
	ck_assert_uint_eq(fallback + st.fallback_none, st.fallback_hash);
	ck_assert_uint_eq(in, st.migrated_child + st.migrated_request - st.migrated_none);
	/* Last: what is read above makes no run, but a late RST of a client does. */
	AWAIT((st = rig_stats(&w->r),
	       st.syn_total + st.nonsyn_total + st.migrated_child + st.migrated_request ==
		       runs_by_kernel(&w->r)));
}

static void drive(struct world *w, unsigned n)
{
	rig_drive(&w->r, n);
	w->syns += n;
}

static void all_are_well(struct world *w)
{
	drive(w, 200);
}

static void one_drains(struct world *w)
{
	np_steer_drain(w->r.s, index_of(&w->r, 3));
	drive(w, 100);
	np_steer_undrain(w->r.s, index_of(&w->r, 3));
}

static void one_hangs(struct world *w)
{
	given_hung(&w->r, 5);
	drive(w, 100);
	np_steer_idle(w->r.w[5]);
}

/* Level 2 has no migration: what is queued at a listener that closes is reset. */
static void one_closes_with_a_queue(struct world *w)
{
	int fds[40];

	clients_connect(w->r.address, fds, 40);
	w->syns += 40;
	if (rig_level(&w->r) < NP_STEER_L3)
		rig_accept(&w->r);
	rig_close_listener(&w->r, 1);
	rig_accept(&w->r);
	clients_close(fds, 40);
	drive(w, 60);
}

static void all_drain(struct world *w)
{
	for (unsigned i = 0; i < WORKERS; i++)
		np_steer_drain(w->r.s, index_of(&w->r, i));
	drive(w, 60);
}

/* Nobody is fit still. */
static void all_are_refused(struct world *w)
{
	ck_assert_int_eq(np_steer_set_param(w->r.s, "on_exhausted", "rst"), 0);
	for (unsigned i = 0; i < 20; i++)
		ck_assert_int_eq(client_connect(w->r.address), -ECONNREFUSED);
	w->syns += 20;
	w->refused += 20;
	for (unsigned i = 0; i < WORKERS; i++)
		np_steer_undrain(w->r.s, index_of(&w->r, i));
	drive(w, 60);
}

static const struct scenario {
	const char *name;
	void (*happens)(struct world *w);
} scenarios[] = {
	{ "all are well", all_are_well }, { "one drains", one_drains },
	{ "one hangs", one_hangs },       { "one closes with a queue", one_closes_with_a_queue },
	{ "all drain", all_drain },       { "all are refused", all_are_refused },
};

START_TEST(the_counters_agree_with_the_world)
{
	const char *policy = np_steer_policies((unsigned)_i / LEVELS);
	int level = NP_STEER_L2 + _i % LEVELS, on;
	static struct world w;

	OWN_STEERING();
	on = bpf_enable_stats(BPF_STATS_RUN_TIME);
	if (on < 0)
		SKIP("may not count the runs of programs: %s", strerror(-on));
	rig_start(&w.r, WORKERS,
		  NP_OPTS(np_steer_opts, .policy = policy, .hang_ms = 1000, .rescue = NP_OFF,
			  .max_level = level));
	ck_assert_int_eq(np_steer_set_cpu(w.r.w[2], 0), 0);
	ck_assert_int_eq(np_steer_set_param(w.r.s, "set", "0-4"), 0);
	if (rig_level(&w.r) != level)
		SKIP("no level %d: %s", level, w.r.s->reason);
	for (size_t s = 0; s < sizeof scenarios / sizeof scenarios[0]; s++) {
		scenarios[s].happens(&w);
		agrees(&w, scenarios[s].name);
	}
	/* others may have given the one that closes nothing */
	if (level >= NP_STEER_L3 && !strcmp(policy, "hash"))
		ck_assert_uint_gt(rig_stats(&w.r).migrated_child, 0);
	close(on);
	rig_stop(&w.r);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "world");
	int policies = 0;

	while (np_steer_policies((unsigned)policies))
		policies++;
	tcase_add_loop_test(t, the_counters_agree_with_the_world, 0, policies * LEVELS);
}

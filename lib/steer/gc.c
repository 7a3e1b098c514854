/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * gc: the remains of processes that did not end of their own accord
 *
 * Under the lock of the service, with which groups and rosters change. Workers claim without it: a
 * line is cleared only while we hold the claim on it ourselves.
 */
#include <errno.h>
#include <string.h>

#include <linux/bpf.h>

#include "steer/count.h"
#include "steer/steer.h"
#include "sys/io.h"
#include "sys/opts.h"

static void gc_rosters(struct np_steer *s, struct np_steer_garbage *g)
{
	for (unsigned i = 0; i < NP_GROUPS; i++) {
		unsigned before = s->maps.groups[i].workers;

		if (!s->maps.groups[i].family)
			continue;
		group_roster(s, i);
		if (s->maps.groups[i].workers < before)
			g->roster += before - s->maps.groups[i].workers;
		if (group_live(s, i))
			continue;
		group_free(s, i);
		g->groups++;
	}
}

/*
 * A cookie whose slot has another listener, or none. Where the slot's worker is claimed, the
 * listener may have been shut, and listen again: its owner takes it away.
 */
static bool gc_owner_is_gone(const struct maps *m, uint64_t cookie, uint32_t slot, unsigned arg)
{
	return !map_claim(m, slot % NP_WORKERS) && map_listener(m, slot) != cookie;
}

static unsigned gc_cpus(struct np_steer *s)
{
	uint32_t w1, none = 0;
	unsigned n = 0;

	for (uint32_t cpu = 0; cpu < NP_CPUS; cpu++)
		if (map_lookup(&s->maps, MAP_np_cpu2worker, &cpu, &w1) == 0 && w1 &&
		    !map_claim(&s->maps, w1 - 1))
			n += map_update(&s->maps, MAP_np_cpu2worker, &cpu, &none, BPF_ANY) == 0;
	return n;
}

static unsigned gc_lines(struct np_steer *s)
{
	static const struct np_worker_line empty;
	unsigned n = 0;

	for (unsigned w = 0; w < steer_high_water(s); w++) {
		int claim = -1;

		if (worker_is_claimed(s, w) || !memcmp(&s->maps.workers[w], &empty, sizeof empty))
			continue;
		if (worker_claim(s, w, &claim) < 0)
			continue; /* another process has just claimed it */
		worker_clear(s, w);
		n++;
		sys_close(&claim);
	}
	return n;
}

int np_steer_gc(struct np_steer *s, struct np_steer_garbage *ret)
{
	struct np_steer_garbage g = { 0 };
	int r;

	if (!steer_has_program(s))
		return -NP_EUNSUPPORTED;
	r = steer_lock(s);
	if (r < 0)
		return r;
	gc_rosters(s, &g);
	g.owners = map_sweep_owners(&s->maps, gc_owner_is_gone, 0);
	g.cpus = gc_cpus(s);
	g.workers = gc_lines(s);
	count_seed_end(s); /* one that was killed is still on its way */
	count_off_unused(s);
	trace_sweep(s);
	steer_unlock(s);
	g.pins = load_sweep(s);
	return sys_opts_give(ret, &g, sizeof g);
}

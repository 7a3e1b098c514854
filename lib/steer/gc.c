/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * gc: what is left of processes that did not end of their own accord
 *
 * Under the lock of the service, with which groups and rosters change. Workers claim without it: a
 * line is cleared only while we hold the claim on it ourselves.
 */
#include <errno.h>
#include <string.h>

#include <linux/bpf.h>

#include "steer/steer.h"
#include "sys/io.h"
#include "sys/opts.h"

static bool gc_is_claimed(const struct np_steer *s, unsigned w)
{
	uint32_t key = w;
	uint64_t cookie;

	return map_lookup(&s->maps, MAP_np_claims, &key, &cookie) == 0;
}

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

/* A cookie whose slot has another listener, or none. */
static unsigned gc_owners(struct np_steer *s)
{
	uint64_t cookie, next, there;
	unsigned n = 0;
	uint32_t slot;
	int r;

	r = map_next_key(&s->maps, MAP_np_owners, NULL, &next);
	while (r == 0) {
		cookie = next;
		r = map_next_key(&s->maps, MAP_np_owners, &cookie, &next);
		if (map_lookup(&s->maps, MAP_np_owners, &cookie, &slot) < 0)
			continue;
		if (gc_is_claimed(s, slot % NP_WORKERS))
			/* it may have been shut, and listen again; its owner forgets it */
			continue;
		if (map_lookup(&s->maps, MAP_np_socks, &slot, &there) == 0 && there == cookie)
			continue;
		n += map_delete(&s->maps, MAP_np_owners, &cookie) == 0;
	}
	return n;
}

static unsigned gc_cpus(struct np_steer *s)
{
	uint32_t w1, none = 0;
	unsigned n = 0;

	for (uint32_t cpu = 0; cpu < NP_CPUS; cpu++)
		if (map_lookup(&s->maps, MAP_np_cpu2worker, &cpu, &w1) == 0 && w1 &&
		    !gc_is_claimed(s, w1 - 1))
			n += map_update(&s->maps, MAP_np_cpu2worker, &cpu, &none, BPF_ANY) == 0;
	return n;
}

static unsigned gc_lines(struct np_steer *s)
{
	static const struct np_worker_line empty;
	unsigned n = 0;

	for (unsigned w = 0; w < steer_high_water(s); w++) {
		int claim = -1;

		if (gc_is_claimed(s, w) || !memcmp(&s->maps.workers[w], &empty, sizeof empty))
			continue;
		if (worker_claim(s, w, &claim) < 0)
			continue; /* somebody has just become this worker */
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
	g.owners = gc_owners(s);
	g.cpus = gc_cpus(s);
	g.workers = gc_lines(s);
	trace_sweep(s);
	steer_unlock(s);
	g.pins = load_sweep(s);
	return sys_opts_give(ret, &g, sizeof g);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * gc: the remains of processes that did not end of their own accord
 *
 * Under the lock of the service, with which groups and rosters change. Workers claim without it: a
 * line is cleared only while we hold the claim on it ourselves.
 *
 * A look finds the same in the same way, and writes nothing.
 */
#include <errno.h>
#include <string.h>

#include <linux/bpf.h>

#include "steer/count.h"
#include "steer/steer.h"
#include "sys/halt.h"
#include "sys/io.h"
#include "sys/opts.h"
#include "sys/process.h"

struct gc {
	struct np_steer *s;
	bool look;
	struct np_steer_garbage found;
};

static unsigned gc_listening(const struct np_steer *s, unsigned group)
{
	unsigned n = 0;

	for (unsigned w = 0; w < steer_high_water(s); w++)
		n += map_listener(&s->maps, NP_SLOT(group, w)) != 0;
	return n;
}

static void gc_rosters(struct gc *gc)
{
	struct np_steer *s = gc->s;

	for (unsigned i = 0; i < NP_GROUPS; i++) {
		unsigned before = s->maps.groups[i].workers, now = gc_listening(s, i);

		if (!s->maps.groups[i].family)
			continue;
		if (!gc->look)
			group_roster(s, i);
		gc->found.roster += now < before ? before - now : 0;
		if (now)
			continue;
		if (!gc->look)
			group_free(s, i);
		gc->found.groups++;
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

static void gc_cpus(struct gc *gc)
{
	const struct maps *m = &gc->s->maps;
	uint32_t w1, none = 0;

	for (uint32_t cpu = 0; cpu < NP_CPUS; cpu++)
		if (map_lookup(m, MAP_np_cpu2worker, &cpu, &w1) == 0 && w1 && !map_claim(m, w1 - 1))
			gc->found.cpus += gc->look || map_update(m, MAP_np_cpu2worker, &cpu, &none,
								 BPF_ANY) == 0;
}

/* Return: whether it is empty now; not where another process has just claimed it. */
static bool gc_clear_line(struct np_steer *s, unsigned w)
{
	int claim = -1;

	if (worker_claim(s, w, &claim) < 0)
		return false;
	worker_clear(s, w);
	sys_close(&claim);
	return true;
}

static void gc_lines(struct gc *gc)
{
	static const struct np_worker_line empty;
	struct np_steer *s = gc->s;

	for (unsigned w = 0; w < steer_high_water(s); w++)
		if (!worker_is_claimed(s, w) &&
		    memcmp(&s->maps.workers[w], &empty, sizeof empty) != 0)
			gc->found.workers += gc->look || gc_clear_line(s, w);
}

/* Of a rescuer that was killed: the worker runs, and nobody may be left to see it. One that stands
 * keeps its mark. */
static void gc_marks(struct np_steer *s)
{
	uint32_t here = sys_process_pidns();
	struct np_worker_info info;

	for (unsigned w = 0; w < steer_high_water(s); w++)
		if (control_worker_is_standing(s, w) && worker_info(s, w, &info) && info.pid &&
		    info.pidns == here && sys_halt_of((pid_t)info.pid) == SYS_HALT_NONE)
			control_worker_stands(s, w, false);
}

static int gc_run(struct gc *gc, struct np_steer_garbage *ret)
{
	struct np_steer *s = gc->s;
	int r;

	if (!steer_has_program(s))
		return -NP_EUNSUPPORTED;
	r = steer_lock(s);
	if (r < 0)
		return r;
	gc_rosters(gc);
	gc->found.owners = gc->look ? map_count_owners(&s->maps, gc_owner_is_gone, 0) :
				      map_sweep_owners(&s->maps, gc_owner_is_gone, 0);
	gc_cpus(gc);
	gc_lines(gc);
	if (!gc->look) {
		gc_marks(s);
		count_seed_end(s); /* one that was killed is still on its way */
		count_off_unused(s);
		trace_sweep(s);
	}
	steer_unlock(s);
	gc->found.pins = load_sweep(s, gc->look);
	return sys_opts_give(ret, &gc->found, sizeof gc->found);
}

int np_steer_gc(struct np_steer *s, struct np_steer_garbage *ret)
{
	return gc_run(&(struct gc){ .s = s }, ret);
}

int np_steer_gc_look(struct np_steer *s, struct np_steer_garbage *ret)
{
	return gc_run(&(struct gc){ .s = s, .look = true }, ret);
}

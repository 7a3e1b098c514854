/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stats: what the program counted and what the workers published
 *
 * The counters are per CPU and are summed here; they move while they are read, so that sums over
 * several of them hold only when no connection comes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "steer/count.h"
#include "steer/steer.h"
#include "sys/clock.h"
#include "sys/opts.h"
#include "sys/process.h"

/* Adds up @n words of one entry over all CPUs. */
static int stats_sum(const struct np_steer *s, enum map which, uint32_t key, uint64_t *dst,
		     size_t n)
{
	uint64_t *all;
	int cpus, r;

	if (!steer_has_program(s))
		return -NP_EUNSUPPORTED;
	cpus = map_cpus(&s->maps);
	if (cpus < 0)
		return cpus;
	all = calloc((size_t)cpus, n * sizeof *all);
	if (!all)
		return -ENOMEM;
	r = map_lookup(&s->maps, which, &key, all);
	for (size_t i = 0; r == 0 && i < n * (size_t)cpus; i++)
		dst[i % n] += all[i];
	free(all);
	return r;
}

#define WORDS(type) (sizeof(type) / sizeof(uint64_t))

int np_steer_stats(struct np_steer *s, struct np_steer_stats *ret)
{
	struct np_steer_stats out = { 0 };
	struct np_verdicts v = { 0 };
	int r;

	/* The same words in the same order, but for the size. */
	_Static_assert(sizeof out - offsetof(struct np_steer_stats, syn_total) == sizeof v,
		       "np_verdicts has grown");
	_Static_assert(offsetof(struct np_steer_stats, spilled) -
				       offsetof(struct np_steer_stats, syn_total) ==
			       offsetof(struct np_verdicts, spilled),
		       "another order");
	r = stats_sum(s, MAP_np_stats, 0, (uint64_t *)&v, WORDS(v));
	if (r < 0)
		return r;
	memcpy(&out.syn_total, &v, sizeof v);
	return sys_opts_give(ret, &out, sizeof out);
}

static int stats_add_slot(struct np_steer *s, unsigned g, unsigned w,
			  struct np_steer_worker_info *i)
{
	struct np_slot_stats t = { 0 };
	int r;

	r = stats_sum(s, MAP_np_worker_stats, NP_SLOT(g, w), (uint64_t *)&t, WORDS(t));
	if (r < 0)
		return r;
	i->steered += t.steered;
	i->fallback += t.fallback;
	i->nonsyn += t.nonsyn;
	i->migrated_in += t.migrated_in;
	i->migrated_out += t.migrated_out;
	return 0;
}

int stats_given(struct np_steer *s, unsigned w, uint64_t *ret)
{
	struct np_steer_worker_info i = { 0 };
	int r = 0;

	for (unsigned g = 0; g < NP_GROUPS && r == 0; g++)
		if (s->maps.groups[g].family)
			r = stats_add_slot(s, g, w, &i);
	if (r == 0)
		*ret = i.steered + i.fallback + i.nonsyn + i.migrated_in - i.migrated_out;
	return r;
}

void stats_half_open(struct np_steer *s, unsigned g, unsigned w, struct np_steer_queue *ret)
{
	uint32_t slot = NP_SLOT(g, w);
	int cpus = map_cpus(&s->maps);
	struct np_slot_stats *all = cpus > 0 ? calloc((size_t)cpus, sizeof *all) : NULL;

	if (all && map_lookup(&s->maps, MAP_np_worker_stats, &slot, all) == 0)
		for (int cpu = 0; cpu < cpus; cpu++)
			if (all[cpu].seen_jiffies > ret->half_open_at) {
				ret->half_open_at = all[cpu].seen_jiffies;
				ret->half_open = (unsigned)all[cpu].syn_queue;
			}
	free(all);
}

int np_steer_slot_stats(struct np_steer *s, unsigned g, unsigned w,
			struct np_steer_worker_info *ret)
{
	struct np_steer_worker_info i = { 0 };
	int r;

	if (g >= NP_GROUPS || w >= NP_WORKERS)
		return -ERANGE;
	r = stats_add_slot(s, g, w, &i);
	return r < 0 ? r : sys_opts_give(ret, &i, sizeof i);
}

static uint64_t stats_busy_ms(const struct np_steer *s, uint64_t since)
{
	uint64_t now = steer_kernel_coarse_ns(s);

	return since && now > since ? (now - since) / 1000000 : 0;
}

static void stats_read_line(const struct np_steer *s, unsigned w, struct np_steer_worker_info *i)
{
	const struct np_worker_line *l = &s->maps.workers[w];

	i->busy_ms = stats_busy_ms(s, __atomic_load_n(&l->busy_since_ns, __ATOMIC_RELAXED));
	i->conns = __atomic_load_n(&l->conns, __ATOMIC_RELAXED);
	i->accepted_total = __atomic_load_n(&l->accepted_total, __ATOMIC_RELAXED);
	i->closed_total = __atomic_load_n(&l->closed_total, __ATOMIC_RELAXED);
	i->handoffs = __atomic_load_n(&l->handoffs, __ATOMIC_RELAXED);
	i->moved_in = __atomic_load_n(&l->moved_in, __ATOMIC_RELAXED);
	i->moved_out = __atomic_load_n(&l->moved_out, __ATOMIC_RELAXED);
}

/* A linear search: for people, seldom, and the map has no other direction. */
static int stats_cpu(const struct np_steer *s, unsigned w)
{
	int cpus = map_cpus(&s->maps);
	uint32_t w1;

	for (uint32_t cpu = 0; (int)cpu < cpus && cpu < NP_CPUS; cpu++)
		if (map_lookup(&s->maps, MAP_np_cpu2worker, &cpu, &w1) == 0 && w1 == w + 1)
			return (int)cpu;
	return -1;
}

/* A line of another one that was worker @w is stale. */
static void stats_read_info(const struct np_steer *s, unsigned w, struct np_steer_worker_info *i)
{
	struct np_worker_info cold;

	if (!worker_info(s, w, &cold) ||
	    (!(cold.flags & NP_INFO_ADOPTED) && cold.claim_cookie != map_claim(&s->maps, w)))
		return;
	i->pid = (int)cold.pid;
	i->tid = (int)cold.tid;
	i->pid_ns = cold.pidns != sys_process_pidns() ? cold.pidns : 0;
	i->adopted = cold.flags & NP_INFO_ADOPTED;
	i->held = cold.flags & NP_INFO_HELD;
	i->counted = count_has(s, w);
	memcpy(i->name, cold.name, sizeof i->name - 1);
}

int np_steer_worker_info(struct np_steer *s, unsigned w, struct np_steer_worker_info *ret)
{
	struct np_steer_worker_info i = { 0 };
	int r = 0;

	if (w >= NP_WORKERS)
		return -ERANGE;
	if (!steer_has_program(s))
		return -NP_EUNSUPPORTED;
	if (!worker_is_claimed(s, w))
		return sys_opts_give(ret, &i, sizeof i);
	i.claimed = true;
	i.state = (int)s->maps.ctl[w].state;
	i.cpu = stats_cpu(s, w);
	i.weight = s->maps.ctl[w].weight ? s->maps.ctl[w].weight : 100;
	stats_read_info(s, w, &i);
	stats_read_line(s, w, &i);
	i.rescued = __atomic_load_n(&s->maps.health[w].rescued_total, __ATOMIC_RELAXED);
	i.rescue_failed = __atomic_load_n(&s->maps.health[w].failed_total, __ATOMIC_RELAXED);
	i.moved = __atomic_load_n(&s->maps.health[w].moved_total, __ATOMIC_RELAXED);
	for (unsigned g = 0; g < NP_GROUPS && r == 0; g++)
		r = stats_add_slot(s, g, w, &i);
	return r < 0 ? r : sys_opts_give(ret, &i, sizeof i);
}

/* The kernel's count: the roster has listeners of dead processes until it changes. */
static unsigned stats_listeners(const struct np_steer *s, unsigned g)
{
	unsigned n = 0;

	for (unsigned w = 0; w < steer_high_water(s); w++)
		n += map_listener(&s->maps, NP_SLOT(g, w)) != 0;
	return n;
}

int np_steer_group_info(struct np_steer *s, unsigned g, struct np_steer_group_info *ret)
{
	struct np_steer_group_info i = { 0 };
	struct np_group key;

	if (g >= NP_GROUPS)
		return -ERANGE;
	if (!steer_has_program(s))
		return -NP_EUNSUPPORTED;
	key = s->maps.groups[g];
	if (key.family != AF_INET && key.family != AF_INET6)
		return -ENOENT; /* free, or a word that no member of this library wrote */
	group_format(&key, i.address, sizeof i.address);
	i.workers = stats_listeners(s, g);
	i.netns = key.netns;
	return sys_opts_give(ret, &i, sizeof i);
}

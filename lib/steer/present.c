/* SPDX-License-Identifier: BSD-2-Clause */
/* present: one iterator for the queues, at the moment that the rest is read too. */
#include "steer/present.h"

#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>

#include <bpf/libbpf.h>

#include "present.skel.h"
#include "steer/cause.h"
#include "steer/iterate.h"
#include "steer/words.h"
#include "steer_search.h"
#include "sys/fault.h"
#include "sys/fs.h"

static int present_find_hash(const struct present *p, uint32_t *ret)
{
	for (unsigned i = 0; i < p->n; i++)
		if (p->all[i].is_flow) {
			*ret = p->all[i].hash;
			return 0;
		}
	return -ENOENT;
}

/* A program that asks again has it still: most of what it costs is libbpf's reading of the kernel's
 * BTF. */
static int present_open(struct np_steer *s)
{
	struct words words;
	int r = 0;

	if (s->present)
		return 0;
	SYS_FAULT(bpf);
	words_take(&words, NULL, 0);
	s->present = present_bpf__open_and_load();
	if (!s->present)
		r = cause_of_load(-errno);
	words_give_back(&words);
	return r;
}

void present_close(struct np_steer *s)
{
	present_bpf__destroy(s->present);
	s->present = NULL;
}

/* A listener that nobody has asked for its cookie has none: those of the service have. */
int present_read(struct present *p, const struct np_flow *flow, uint32_t *ret_hash)
{
	char *bytes = NULL;
	size_t n = 0;
	int r = present_open(p->s);

	if (r < 0)
		return r;
	p->s->present->bss->asked = *flow;
	r = iterate(bpf_program__fd(p->s->present->progs.np_present), NULL, &bytes, &n);
	if (r < 0)
		return r;
	p->all = (struct np_present *)bytes;
	p->n = (unsigned)(n / sizeof *p->all);
	return flow->family ? present_find_hash(p, ret_hash) : 0;
}

void present_fini(struct present *p)
{
	free(p->all);
	p->all = NULL;
}

static const struct np_present *present_find(const struct present *p, uint32_t w)
{
	uint64_t cookie = map_listener(&p->s->maps, NP_SLOT(p->group, w));

	for (unsigned i = 0; cookie && i < p->n; i++)
		if (p->all[i].cookie == cookie)
			return &p->all[i];
	return NULL;
}

static __u64 present_load(const struct present *p, uint32_t w)
{
	const struct np_worker_line *line = &p->s->maps.workers[w];
	__u64 load = LOAD_CONNS(__atomic_load_n(&line->conns, __ATOMIC_RELAXED));

	load |= LOAD_WEIGHT((__u64)p->s->maps.ctl[w].weight << 40) << 40;
	return line->counted ? load | LOAD_COUNTED : load;
}

static __u64 present_mean(const struct present *p)
{
	const struct np_group *g = &p->s->maps.groups[p->group];
	__u64 conns = 0, weights = 0, load;

	for (uint32_t i = 0; i < g->workers && i < NP_WORKERS; i++) {
		uint32_t w = p->s->maps.roster[NP_SLOT(p->group, i)].w1 - 1;

		if (w >= NP_WORKERS || p->s->maps.ctl[w].state != NP_WORKER_READY)
			continue;
		load = present_load(p, w);
		conns += LOAD_CONNS(load) + 1;
		weights += LOAD_WEIGHT(load) ? LOAD_WEIGHT(load) : WEIGHT_DEFAULT;
	}
	return weights ? conns * LOAD_UNIT / weights : 0;
}

static __u64 present_client(const struct present *p)
{
	__u32 hash = p->config.seed;

	for (__u32 i = 0; i < 4; i++)
		hash = rehash(hash ^ p->client[i], i + 1);
	return hash;
}

static __u64 present_table(const struct present *p, uint32_t i)
{
	uint32_t which = p->s->maps.groups[p->group].table - 1, key = 2 * p->group + which;
	struct np_table *t = which < 2 ? calloc(1, sizeof *t) : NULL;
	__u64 w1 = 0;

	if (t && map_lookup(&p->s->maps, MAP_np_table, &key, t) == 0)
		w1 = t->w1[i & (NP_TABLE - 1)];
	free(t);
	return w1;
}

/* As input_stuck() of bpf/steer_input.h; a first one that the program has not met there yet is not
 * noted. */
static __u64 present_waited(const struct present *p, uint32_t w)
{
	const struct np_present *l = present_find(p, w);
	uint32_t slot = NP_SLOT(p->group, w), age, half, known;
	struct np_head head = { 0 };

	if (!l || !l->first || !p->config.tick_ns)
		return 0;
	age = l->jiffies - l->stamp;
	half = (uint32_t)(p->config.hang_ms * 500000ull / p->config.tick_ns);
	if ((int32_t)age < 0)
		return 0;
	if (age > half) {
		map_lookup(&p->s->maps, MAP_np_heads, &slot, &head);
		known = half + (head.flow == l->hash ? l->jiffies - head.since : 0);
		age = known < age ? known : age;
	}
	return (__u64)age * p->config.tick_ns;
}

static __u64 present_turn(struct present *p)
{
	struct np_cursor c = { 0 };
	uint32_t g = p->group;

	map_lookup(&p->s->maps, MAP_np_cursor, &g, &c);
	return c.next + p->turns++;
}

static __u64 present_cpu(const struct present *p)
{
	uint32_t w1 = 0, cpu = p->cpu;

	return map_lookup(&p->s->maps, MAP_np_cpu2worker, &cpu, &w1) == 0 ? w1 : 0;
}

static __u64 present_random(void)
{
	uint32_t bits = 0;

	sys_random(&bits, sizeof bits);
	return bits;
}

/* Of one worker. */
static __u64 present_of(const struct present *p, enum np_input_kind kind, uint32_t w)
{
	const struct np_present *l;

	switch (kind) {
	case NP_INPUT_STATE:
		return __atomic_load_n(&p->s->maps.ctl[w].state, __ATOMIC_RELAXED);
	case NP_INPUT_BUSY:
		return __atomic_load_n(&p->s->maps.workers[w].busy_since_ns, __ATOMIC_RELAXED);
	case NP_INPUT_LOAD:
		return present_load(p, w);
	case NP_INPUT_SINCE:
		return p->s->maps.ctl[w].ready_since_ns;
	case NP_INPUT_SELECT:
		return map_listener(&p->s->maps, NP_SLOT(p->group, w)) != 0;
	case NP_INPUT_QUEUE:
		l = present_find(p, w);
		return l ? l->queue : 0;
	case NP_INPUT_WAITED:
		return present_waited(p, w);
	default:
		return 0;
	}
}

__u64 present_look(void *arg, enum np_input_kind kind, __u32 who)
{
	struct present *p = arg;

	switch (kind) {
	case NP_INPUT_ROSTER:
		return p->s->maps.roster[NP_SLOT(p->group, who & (NP_WORKERS - 1))].w1;
	case NP_INPUT_CPU:
		return present_cpu(p);
	case NP_INPUT_TURN:
		return present_turn(p);
	case NP_INPUT_NOW:
		return steer_kernel_coarse_ns(p->s);
	case NP_INPUT_RANDOM:
		return present_random();
	case NP_INPUT_SET:
		return who < NP_WORKERS / 64 ? p->s->maps.service->set[who] : 0;
	case NP_INPUT_CLIENT:
		return present_client(p);
	case NP_INPUT_TABLE:
		return present_table(p, who);
	case NP_INPUT_MEAN:
		return present_mean(p);
	default:
		return who < NP_WORKERS ? present_of(p, kind, who) : 0;
	}
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* map: the only caller of the map calls, but for maps of another shape (maps.c). */
#include "steer/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "steer/words.h"
#include "sys/fault.h"

static const struct {
	const char *name;
	unsigned mode;
} table[MAP_MAX] = {
#define NP_ROW(n, key, value, entries, m) { #n, m },
	NP_STEER_MAPS(NP_ROW)
#undef NP_ROW
};

const char *map_name(enum map m)
{
	return table[m].name;
}

unsigned map_mode(enum map m)
{
	return table[m].mode;
}

int map_lookup(const struct maps *m, enum map which, const void *key, void *ret)
{
	SYS_FAULT(bpf);
	return bpf_map_lookup_elem(m->fd[which], key, ret);
}

int map_update(const struct maps *m, enum map which, const void *key, const void *value,
	       uint64_t flags)
{
	SYS_FAULT(bpf);
	SYS_FAULT(map_write);
	return bpf_map_update_elem(m->fd[which], key, value, flags);
}

int map_delete(const struct maps *m, enum map which, const void *key)
{
	int r;

	SYS_FAULT(bpf);
	SYS_FAULT(map_write);
	r = bpf_map_delete_elem(m->fd[which], key);
	return r == -ENOENT ? 0 : r;
}

int map_next_key(const struct maps *m, enum map which, const void *key, void *ret)
{
	SYS_FAULT(bpf);
	return bpf_map_get_next_key(m->fd[which], key, ret);
}

uint64_t map_listener(const struct maps *m, uint32_t slot)
{
	uint64_t cookie;

	return map_lookup(m, MAP_np_socks, &slot, &cookie) == 0 ? cookie : 0;
}

uint64_t map_claim(const struct maps *m, unsigned w)
{
	uint32_t key = w;
	uint64_t cookie;

	return map_lookup(m, MAP_np_claims, &key, &cookie) == 0 ? cookie : 0;
}

static unsigned map_gone_owners(const struct maps *m, map_gone gone, unsigned arg, bool take)
{
	uint64_t cookie, next;
	unsigned n = 0;
	uint32_t slot;
	int r;

	r = map_next_key(m, MAP_np_owners, NULL, &next);
	while (r == 0) {
		cookie = next;
		r = map_next_key(m, MAP_np_owners, &cookie, &next);
		if (map_lookup(m, MAP_np_owners, &cookie, &slot) == 0 && gone(m, cookie, slot, arg))
			n += !take || map_delete(m, MAP_np_owners, &cookie) == 0;
	}
	return n;
}

unsigned map_sweep_owners(const struct maps *m, map_gone gone, unsigned arg)
{
	return map_gone_owners(m, gone, arg, true);
}

unsigned map_count_owners(const struct maps *m, map_gone gone, unsigned arg)
{
	return map_gone_owners(m, gone, arg, false);
}

#define CPUS_MAX 8192 /* NR_CPUS of any kernel there is */

/* How many of CPUS_MAX values the kernel has written over. */
static int map_count_cpus(const struct maps *m)
{
	const size_t words = sizeof(struct np_verdicts) / sizeof(uint64_t), all = CPUS_MAX * words;
	uint64_t *v = malloc(all * sizeof *v);
	uint32_t zero = 0;
	size_t n = all;
	int r;

	if (!v)
		return -ENOMEM;
	memset(v, 0xff, all * sizeof *v);
	r = map_lookup(m, MAP_np_stats, &zero, v);
	while (r == 0 && n && v[n - 1] == UINT64_MAX)
		n--;
	free(v);
	return r < 0 ? r : (int)((n + words - 1) / words);
}

int map_cpus(const struct maps *m)
{
	static int known; /* it never changes while the kernel runs */
	int n = __atomic_load_n(&known, __ATOMIC_RELAXED);
	struct words words;

	if (n > 0)
		return n;
	words_take(&words, NULL, 0);
	n = libbpf_num_possible_cpus();
	words_give_back(&words);
	if (n <= 0)
		n = map_count_cpus(m);
	if (n > 0)
		__atomic_store_n(&known, n, __ATOMIC_RELAXED);
	return n ? n : -EPROTO;
}

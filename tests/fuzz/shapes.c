/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * shapes: a service whose maps are of any shapes is refused, and nothing is written beyond its room
 *
 * The kernel is not asked: the calls of bpf(2) that read are replaced by ones that write as much as
 * the shape says, which AddressSanitizer watches. Each map has its type, its three sizes and its
 * flags from the input.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "steer/folder.h"
#include "steer/map.h"
#include "steer/maps.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define SHAPES_FD 1000 /* no real descriptor has such a number here */

struct shapes_map {
	uint8_t type, key, entries, flags;
	uint32_t value;
};

static struct shapes_map shapes_of[MAP_MAX];

int __wrap_bpf_obj_get_info_by_fd(int fd, void *info, uint32_t *len);
int __wrap_bpf_map_lookup_elem(int fd, const void *key, void *value);
int __wrap_folder_get(int fd, const char *name, uint32_t flags, int *ret_fd);
int __real_bpf_obj_get_info_by_fd(int fd, void *info, uint32_t *len);
int __wrap_sys_close(int *fd);

int __wrap_sys_close(int *fd)
{
	*fd = -1; /* none of them is open */
	return 0;
}

int __wrap_folder_get(int fd, const char *name, uint32_t flags, int *ret_fd)
{
	for (int i = 0; i < MAP_MAX; i++)
		if (!strcmp(name, map_name(i))) {
			*ret_fd = SHAPES_FD + i;
			return 0;
		}
	return -ENOENT;
}

int __wrap_bpf_obj_get_info_by_fd(int fd, void *info, uint32_t *len)
{
	const struct shapes_map *m = &shapes_of[fd - SHAPES_FD];
	struct bpf_map_info *i = info;

	memset(info, 0, *len);
	i->type = m->type % 36;
	i->key_size = m->key;
	i->value_size = m->value;
	i->max_entries = m->entries;
	i->map_flags = m->flags;
	return 0;
}

/* As the kernel does it: rounded up to eight, and of a per-CPU map once for each CPU. */
int __wrap_bpf_map_lookup_elem(int fd, const void *key, void *value)
{
	const struct shapes_map *m = &shapes_of[fd - SHAPES_FD];
	unsigned type = m->type % 36;
	bool each_cpu = type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_PERCPU_HASH ||
			type == BPF_MAP_TYPE_LRU_PERCPU_HASH;

	if (m->key > 4)
		abort(); /* a key of four bytes was given */
	memset(value, 0x5a, (size_t)((m->value + 7) & ~7u) * (each_cpu ? 4 : 1));
	memcpy(value, &(uint32_t){ NP_STEER_ABI }, 4);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char why[64] = "";
	unsigned claims = 0, abi = 0;
	struct maps m;

	memset(shapes_of, 0, sizeof shapes_of);
	memcpy(shapes_of, data, n < sizeof shapes_of ? n : sizeof shapes_of);
	for (int i = 0; i < MAP_MAX; i++)
		shapes_of[i].value %= 1u << 18;
	maps_count_claims(SHAPES_FD + MAP_np_claims, &claims);
	maps_init(&m);
	/* All of them right is a service, whose maps would have to be mapped: no input is that. */
	if (maps_open(&m, 0, &abi, why, sizeof why) == 0)
		abort();
	return 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* maps: made, opened, pinned, mmapped. */
#include "steer/maps.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "netpoll/steer.h"
#include "steer/folder.h"
#include "steer/map.h"
#include "steer/object.h"
#include "sys/fault.h"
#include "sys/fs.h"
#include "sys/io.h"
#include "sys/mem.h"

/* The parts that are mapped: which map, its bytes, and where struct maps has it. */
static const struct part {
	enum map map;
	size_t bytes;
	size_t offset;
} parts[] = {
	{ MAP_np_workers, NP_WORKERS * sizeof(struct np_worker_line),
	  offsetof(struct maps, workers) },
	{ MAP_np_ctl, NP_WORKERS * sizeof(struct np_worker_ctl), offsetof(struct maps, ctl) },
	{ MAP_np_service, sizeof(struct np_service_ctl), offsetof(struct maps, service) },
	{ MAP_np_health, NP_WORKERS * sizeof(struct np_health), offsetof(struct maps, health) },
	{ MAP_np_groups, NP_GROUPS * sizeof(struct np_group), offsetof(struct maps, groups) },
	{ MAP_np_roster, NP_SLOTS * sizeof(struct roster_entry), offsetof(struct maps, roster) },
	{ MAP_np_config, sizeof(struct np_config), offsetof(struct maps, config) },
};
#define PARTS (sizeof parts / sizeof parts[0])

_Static_assert(sizeof(struct np_group) % 8 == 0, "mmapped elements are multiples of 8 bytes");
_Static_assert(sizeof(struct np_worker_line) == 64, "a cache line each");

static void **maps_part(struct maps *m, const struct part *p)
{
	return (void **)((char *)m + p->offset);
}

void maps_init(struct maps *m)
{
	memset(m, 0, sizeof *m);
	for (int i = 0; i < MAP_MAX; i++)
		m->fd[i] = -1;
}

void maps_close(struct maps *m)
{
	for (size_t i = 0; i < PARTS; i++)
		if (*maps_part(m, &parts[i]))
			sys_mem_unmap(*maps_part(m, &parts[i]), parts[i].bytes);
	for (int i = 0; i < MAP_MAX; i++)
		sys_close(&m->fd[i]);
	maps_init(m);
}

/* @may_lack_config: a member may read the configuration, and no more. */
static int maps_map_parts(struct maps *m, bool may_lack_config)
{
	int r;

	for (size_t i = 0; i < PARTS; i++) {
		r = sys_mem_map_fd(m->fd[parts[i].map], parts[i].bytes, PROT_READ | PROT_WRITE,
				   maps_part(m, &parts[i]));
		if (r < 0 && may_lack_config && parts[i].map == MAP_np_config)
			continue;
		if (r < 0)
			return r;
	}
	return 0;
}

int maps_fake(struct maps *m)
{
	int r = 0;

	for (size_t i = 0; i < PARTS && r == 0; i++)
		r = sys_mem_map(parts[i].bytes, maps_part(m, &parts[i]));
	if (r < 0)
		maps_close(m);
	return r;
}

int maps_create(struct maps *m, char *why, size_t cap)
{
	struct object *o;
	int r;

	r = object_open(&o, NP_STEER_L2, why, cap);
	if (r < 0)
		return r;
	r = object_load_maps(o);
	for (int i = 0; i < MAP_MAX && r == 0; i++)
		r = sys_dup(object_map_fd(o, map_name(i)), &m->fd[i]);
	object_close(&o);
	if (r == 0)
		r = maps_map_parts(m, false);
	if (r < 0)
		maps_close(m);
	return r;
}

int maps_pin(const struct maps *m, int folder)
{
	int r = 0;

	for (int i = 0; i < MAP_MAX && r == 0; i++)
		r = folder_pin(folder, map_name(i), m->fd[i]);
	return r;
}

static int maps_open_one(int folder, enum map which, int *ret_fd, bool *ret_readonly)
{
	int r = folder_get(folder, map_name(which), 0, ret_fd);

	*ret_readonly = false;
	if (r != -EACCES && r != -EPERM)
		return r;
	*ret_readonly = true;
	return folder_get(folder, map_name(which), BPF_F_RDONLY, ret_fd);
}

/* ------------------------------------------------------------------ maps that another has made */

static int maps_shape(int fd, struct bpf_map_info *ret)
{
	unsigned len = sizeof *ret;

	memset(ret, 0, sizeof *ret);
	return bpf_obj_get_info_by_fd(fd, ret, &len);
}

/* Whether an open map has the shape that the program of this library was built with. */
static bool maps_same_shape(int fd, const struct object *o, const char *name)
{
	struct bpf_map_info have, want;

	object_map_shape(o, name, &want);
	return maps_shape(fd, &have) == 0 && have.type == want.type &&
	       have.key_size == want.key_size && have.value_size == want.value_size &&
	       have.max_entries == want.max_entries && have.map_flags == want.map_flags;
}

#define FOREIGN_MAX 65536u

/*
 * A map whose shape is not this library's: an array or a sockarray, which have numbers for keys and
 * one value each. A value goes into room of its own size: the kernel writes as much as the map
 * says, and of a per-CPU map as much for each CPU.
 */
struct foreign_map {
	int fd;
	unsigned entries;
	void *value;
};

/* -EPROTO: it is another kind of map, or has less than @n bytes for a value. */
static int foreign_map_open(struct foreign_map *m, int fd, enum bpf_map_type type, size_t n)
{
	struct bpf_map_info info;
	int r;

	r = maps_shape(fd, &info);
	if (r < 0)
		return r;
	if (info.type != type || info.key_size != sizeof(uint32_t) || info.value_size < n ||
	    info.value_size > FOREIGN_MAX || info.max_entries > FOREIGN_MAX)
		return -EPROTO;
	*m = (struct foreign_map){ .fd = fd, .entries = info.max_entries };
	m->value = calloc(1, info.value_size + 8); /* an array's is rounded up to eight */
	return m->value ? 0 : -ENOMEM;
}

/* The ABI number is the first word of np_config in every ABI; 0 if even that cannot be had. */
static unsigned maps_abi(int config_fd)
{
	uint32_t abi = 0, first = 0;
	struct foreign_map m;

	if (foreign_map_open(&m, config_fd, BPF_MAP_TYPE_ARRAY, sizeof abi) < 0)
		return 0;
	if (bpf_map_lookup_elem(m.fd, &first, m.value) == 0)
		memcpy(&abi, m.value, sizeof abi);
	free(m.value);
	return abi;
}

/* A call for each entry: the kernel has no batch for a sockarray, and lists empty keys too. */
int maps_count_claims(int fd, unsigned *ret)
{
	struct foreign_map m;
	unsigned n = 0;
	int r;

	r = foreign_map_open(&m, fd, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, sizeof(uint64_t));
	if (r < 0)
		return r == -EPROTO ? 0 : r;
	for (uint32_t w = 0; r == 0 && w < m.entries; w++) {
		r = bpf_map_lookup_elem(m.fd, &w, m.value);
		n += r == 0;
		r = r == -ENOENT ? 0 : r;
	}
	free(m.value);
	if (r == 0)
		*ret = n;
	return r;
}

static int maps_open_all(struct maps *m, int folder, const struct object *o, char *why, size_t cap)
{
	bool readonly, members;
	int r;

	for (int i = 0; i < MAP_MAX; i++) {
		members = map_mode(i) & 0020;
		snprintf(why, cap, "%s", map_name(i));
		r = maps_open_one(folder, i, &m->fd[i], &readonly);
		if (r == -ENOENT)
			return -EPROTO;
		if (r < 0)
			return r;
		if (readonly && members)
			return -EACCES;
		if (!maps_same_shape(m->fd[i], o, map_name(i)))
			return -EPROTO;
	}
	return 0;
}

/* np_config first: it says whether the others can be understood. */
static int maps_check_abi(int folder, unsigned *ret_abi, char *why, size_t cap)
{
	int fd = -1, r;
	bool readonly;

	snprintf(why, cap, "%s", map_name(MAP_np_config));
	*ret_abi = 0;
	r = maps_open_one(folder, MAP_np_config, &fd, &readonly);
	if (r < 0)
		return r == -ENOENT ? -EPROTO : r;
	*ret_abi = maps_abi(fd);
	sys_close(&fd);
	return *ret_abi == NP_STEER_ABI ? 0 : -EPROTO;
}

int maps_open(struct maps *m, int folder, unsigned *ret_abi, char *why, size_t cap)
{
	struct object *o;
	int r;

	r = maps_check_abi(folder, ret_abi, why, cap);
	if (r < 0)
		return r;
	*ret_abi = 0; /* their ABI is ours: only the maps themselves may be wrong */
	r = object_open(&o, NP_STEER_L2, why, cap);
	if (r < 0)
		return r;
	r = maps_open_all(m, folder, o, why, cap);
	object_close(&o);
	if (r == 0)
		r = maps_map_parts(m, true);
	if (r < 0)
		maps_close(m);
	return r;
}

int maps_config(const struct maps *m, struct np_config *ret)
{
	uint32_t zero = 0;

	if (!m->config)
		return map_lookup(m, MAP_np_config, &zero, ret);
	*ret = *m->config;
	return 0;
}

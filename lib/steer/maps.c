/* SPDX-License-Identifier: BSD-2-Clause */
/* maps: made, opened, pinned, mmapped; and the only caller of the map calls. */
#include "steer/maps.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "netpoll/steer.h"
#include "steer/object.h"
#include "steer/words.h"
#include "sys/fault.h"
#include "sys/fs.h"
#include "sys/io.h"
#include "sys/mem.h"

static const struct {
	const char *name;
	unsigned mode;
} table[MAP_MAX] = {
#define NP_ROW(n, key, value, entries, m) { #n, m },
	NP_STEER_MAPS(NP_ROW)
#undef NP_ROW
};

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

static void **part_ptr(struct maps *m, const struct part *p)
{
	return (void **)((char *)m + p->offset);
}

const char *map_name(enum map m)
{
	return table[m].name;
}

unsigned map_mode(enum map m)
{
	return table[m].mode;
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
		if (*part_ptr(m, &parts[i]))
			sys_mem_unmap(*part_ptr(m, &parts[i]), parts[i].bytes);
	for (int i = 0; i < MAP_MAX; i++)
		sys_close(&m->fd[i]);
	maps_init(m);
}

/* @may_lack_config: a member may read the configuration, and no more. */
static int map_parts(struct maps *m, bool may_lack_config)
{
	int r;

	for (size_t i = 0; i < PARTS; i++) {
		r = sys_mem_map_fd(m->fd[parts[i].map], parts[i].bytes, PROT_READ | PROT_WRITE,
				   part_ptr(m, &parts[i]));
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
		r = sys_mem_map(parts[i].bytes, part_ptr(m, &parts[i]));
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
		r = sys_dup(object_map_fd(o, table[i].name), &m->fd[i]);
	object_close(&o);
	if (r == 0)
		r = map_parts(m, false);
	if (r < 0)
		maps_close(m);
	return r;
}

int maps_pin(const struct maps *m, const char *dir)
{
	char path[512];
	int r = 0;

	SYS_FAULT(bpf);
	for (int i = 0; i < MAP_MAX && r == 0; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, table[i].name);
		r = bpf_obj_pin(m->fd[i], path);
	}
	return r;
}

static int open_one(const char *path, bool *ret_readonly)
{
	LIBBPF_OPTS(bpf_obj_get_opts, rdonly, .file_flags = BPF_F_RDONLY);
	int fd = bpf_obj_get(path);

	*ret_readonly = false;
	if (fd != -EACCES && fd != -EPERM)
		return fd;
	*ret_readonly = true;
	return bpf_obj_get_opts(path, &rdonly);
}

/* Whether an open map has the shape that the program of this library was built with. */
static bool same_shape(int fd, const struct object *o, const char *name)
{
	struct bpf_map_info have, want;
	unsigned len = sizeof have;

	memset(&have, 0, sizeof have);
	object_map_shape(o, name, &want);
	if (bpf_obj_get_info_by_fd(fd, &have, &len) < 0)
		return false;
	return have.type == want.type && have.key_size == want.key_size &&
	       have.value_size == want.value_size && have.max_entries == want.max_entries;
}

/* The ABI number is the first word of np_config in every ABI; 0 if even that cannot be had. */
static unsigned abi_of(int config_fd)
{
	struct bpf_map_info info;
	unsigned len = sizeof info;
	char value[4096];
	uint32_t zero = 0, abi;

	memset(&info, 0, sizeof info);
	if (bpf_obj_get_info_by_fd(config_fd, &info, &len) < 0 || info.value_size > sizeof value ||
	    info.key_size != sizeof zero || info.value_size < sizeof abi ||
	    bpf_map_lookup_elem(config_fd, &zero, value) < 0)
		return 0;
	memcpy(&abi, value, sizeof abi);
	return abi;
}

static int open_all(struct maps *m, const char *dir, const struct object *o, char *why, size_t cap)
{
	bool readonly, members;
	char path[512];

	for (int i = 0; i < MAP_MAX; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, table[i].name);
		members = table[i].mode & 0020;
		m->fd[i] = open_one(path, &readonly);
		snprintf(why, cap, "%s", path);
		if (m->fd[i] == -ENOENT)
			return -EPROTO;
		if (m->fd[i] < 0)
			return m->fd[i];
		if (readonly && members)
			return -EACCES;
		if (!same_shape(m->fd[i], o, table[i].name))
			return -EPROTO;
	}
	return 0;
}

/* np_config first: it says whether the others can be understood. */
static int check_abi(const char *dir, unsigned *ret_abi, char *why, size_t cap)
{
	bool readonly;
	int fd, r;

	snprintf(why, cap, "%s/%s", dir, table[MAP_np_config].name);
	fd = open_one(why, &readonly);
	*ret_abi = 0;
	if (fd < 0)
		return fd == -ENOENT ? -EPROTO : fd;
	*ret_abi = abi_of(fd);
	r = *ret_abi == NP_STEER_ABI ? 0 : -EPROTO;
	sys_close(&fd);
	return r;
}

int maps_open(struct maps *m, const char *dir, unsigned *ret_abi, char *why, size_t cap)
{
	struct object *o;
	int r;

	r = sys_exists(dir);
	if (r == 0)
		r = check_abi(dir, ret_abi, why, cap);
	if (r < 0)
		return r;
	*ret_abi = 0; /* from here on it is theirs and ours; what may be wrong is what is there */
	r = object_open(&o, NP_STEER_L2, why, cap);
	if (r < 0)
		return r;
	r = open_all(m, dir, o, why, cap);
	object_close(&o);
	if (r == 0)
		r = map_parts(m, true);
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

int map_lookup(const struct maps *m, enum map which, const void *key, void *ret)
{
	SYS_FAULT(bpf);
	return bpf_map_lookup_elem(m->fd[which], key, ret);
}

int map_update(const struct maps *m, enum map which, const void *key, const void *value,
	       uint64_t flags)
{
	SYS_FAULT(bpf);
	return bpf_map_update_elem(m->fd[which], key, value, flags);
}

int map_delete(const struct maps *m, enum map which, const void *key)
{
	int r;

	SYS_FAULT(bpf);
	r = bpf_map_delete_elem(m->fd[which], key);
	return r == -ENOENT ? 0 : r;
}

int map_next_key(const struct maps *m, enum map which, const void *key, void *ret)
{
	SYS_FAULT(bpf);
	return bpf_map_get_next_key(m->fd[which], key, ret);
}

#define CPUS_MAX 8192 /* NR_CPUS of any kernel there is */

/* How many of CPUS_MAX values the kernel has written over. */
static int count_cpus(const struct maps *m)
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
		n = count_cpus(m);
	if (n > 0)
		__atomic_store_n(&known, n, __ATOMIC_RELAXED);
	return n ? n : -EPROTO;
}

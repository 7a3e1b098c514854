/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * steer_maps: the maps, as steer_abi.h has them
 *
 * The programs of one service share all of these. A map defined elsewhere (a run's own state, a
 * decision while it is traced) belongs to those that were loaded together.
 */
#ifndef STEER_MAPS_H
#define STEER_MAPS_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "steer_abi.h"

/* Of what others write meanwhile: once, and whole. */
#define READ_ONCE(x)     (*(const volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile typeof(x) *)&(x) = (v))

#define SOCKARRAY(map, entries)                                 \
	struct {                                                \
		__uint(type, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY); \
		__type(key, __u32);                             \
		__type(value, __u64);                           \
		__uint(max_entries, entries);                   \
	} map SEC(".maps")

#define MAP(map, map_type, key_type, value_type, entries, flags) \
	struct {                                                 \
		__uint(type, map_type);                          \
		__type(key, key_type);                           \
		__type(value, value_type);                       \
		__uint(max_entries, entries);                    \
		__uint(map_flags, flags);                        \
	} map SEC(".maps")

SOCKARRAY(np_socks, NP_SLOTS);
SOCKARRAY(np_claims, NP_WORKERS);
MAP(np_workers, BPF_MAP_TYPE_ARRAY, __u32, struct np_worker_line, NP_WORKERS, BPF_F_MMAPABLE);
MAP(np_ctl, BPF_MAP_TYPE_ARRAY, __u32, struct np_worker_ctl, NP_WORKERS, BPF_F_MMAPABLE);
MAP(np_service, BPF_MAP_TYPE_ARRAY, __u32, struct np_service_ctl, 1, BPF_F_MMAPABLE);
MAP(np_config, BPF_MAP_TYPE_ARRAY, __u32, struct np_config, 1, BPF_F_MMAPABLE);
MAP(np_info, BPF_MAP_TYPE_ARRAY, __u32, struct np_worker_info, NP_WORKERS, 0);
MAP(np_groups, BPF_MAP_TYPE_ARRAY, __u32, struct np_group, NP_GROUPS, BPF_F_MMAPABLE);
MAP(np_roster, BPF_MAP_TYPE_ARRAY, __u32, __u32, NP_SLOTS, BPF_F_MMAPABLE);
MAP(np_owners, BPF_MAP_TYPE_HASH, __u64, __u32, NP_SLOTS, 0);
MAP(np_cpu2worker, BPF_MAP_TYPE_ARRAY, __u32, __u32, NP_CPUS, 0);
MAP(np_table, BPF_MAP_TYPE_ARRAY, __u32, struct np_table, 2 * NP_GROUPS, 0);
MAP(np_heads, BPF_MAP_TYPE_ARRAY, __u32, struct np_head, NP_SLOTS, 0);
MAP(np_cursor, BPF_MAP_TYPE_ARRAY, __u32, struct np_cursor, NP_GROUPS, 0);
MAP(np_health, BPF_MAP_TYPE_ARRAY, __u32, struct np_health, NP_WORKERS, BPF_F_MMAPABLE);
MAP(np_tags, BPF_MAP_TYPE_SK_STORAGE, int, struct np_tag, 0, BPF_F_NO_PREALLOC | BPF_F_CLONE);
MAP(np_gens, BPF_MAP_TYPE_ARRAY, __u32, __u32, NP_WORKERS, 0);
MAP(np_stats, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct np_verdicts, 1, 0);
MAP(np_worker_stats, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct np_slot_stats, NP_SLOTS, 0);

#endif

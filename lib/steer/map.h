/* SPDX-License-Identifier: BSD-2-Clause */
/* map: one map of a service: its name, its elements, and what is asked of them most. */
#ifndef STEER_MAP_H
#define STEER_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "steer/maps.h"

const char *map_name(enum map m);
/* The mode of its pin. */
unsigned map_mode(enum map m);

int map_lookup(const struct maps *m, enum map which, const void *key, void *ret);
/* @flags: BPF_ANY, BPF_NOEXIST. */
int map_update(const struct maps *m, enum map which, const void *key, const void *value,
	       uint64_t flags);
/* 0 also where there is nothing. */
int map_delete(const struct maps *m, enum map which, const void *key);
/* @key NULL: the first. -ENOENT past the last. */
int map_next_key(const struct maps *m, enum map which, const void *key, void *ret);
/* The cookie of the listener in @slot of np_socks, and of worker @w's claim; 0: there is none. */
uint64_t map_listener(const struct maps *m, uint32_t slot);
uint64_t map_claim(const struct maps *m, unsigned w);
typedef bool (*map_gone)(const struct maps *m, uint64_t cookie, uint32_t slot, unsigned arg);
/* Takes out of np_owners what @gone says is gone, or leaves it there; how many. */
unsigned map_sweep_owners(const struct maps *m, map_gone gone, unsigned arg);
unsigned map_count_owners(const struct maps *m, map_gone gone, unsigned arg);
/*
 * map_cpus() - CPUs in a value of a per-CPU map: those that this kernel could ever have
 *
 * Where /sys does not say so, the kernel is asked by what it writes into such a value. More would
 * be harmless, and one less a write past the end.
 *
 * Return: how many; -ENOMEM, or what the lookup said.
 */
int map_cpus(const struct maps *m);

#endif

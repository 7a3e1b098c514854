/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * maps: the maps of one service, open in this process
 *
 * Three ways to get them: maps_create() makes them, maps_open() takes pinned ones, maps_fake() has
 * those parts in plain memory that mean something without a program (level 0).
 *
 * The kernel rounds an array's elements up to 8 bytes, so a mmapped map of u32 has one in every
 * other word; and a map opened read-only cannot be mmapped at all.
 */
#ifndef STEER_MAPS_H
#define STEER_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "steer_abi.h"

enum map {
#define NP_ROW(name, key, value, entries, mode) MAP_##name,
	NP_STEER_MAPS(NP_ROW)
#undef NP_ROW
		MAP_MAX
};

/* One entry of np_roster as it is mmapped. */
struct roster_entry {
	uint32_t w1;
	uint32_t _padding;
};

struct maps {
	int fd[MAP_MAX]; /* -1 each at level 0 */

	/* mmapped, or plain memory at level 0 */
	struct np_worker_line *workers;
	struct np_worker_ctl *ctl;
	struct np_service_ctl *service;
	struct np_health *health;
	struct np_group *groups;
	struct roster_entry *roster;
	struct np_config *config; /* NULL where it may only be read */
};

const char *map_name(enum map m);
/* The mode of its pin. */
unsigned map_mode(enum map m);

/* All -1 and NULL: what maps_close() takes. */
void maps_init(struct maps *m);
/* Makes the maps of a new service. -errno, @why (cap bytes) has libbpf's last words. */
int maps_create(struct maps *m, char *why, size_t cap);
int maps_fake(struct maps *m);
/*
 * maps_open() - the maps pinned in a folder that is open (folder.h)
 *
 * Return: 0; -EPROTO when they are not ours: *ret_abi is their ABI number then, 0 if they are not
 *         complete; -ENOENT, -EACCES, -EPERM: @why names the map.
 */
int maps_open(struct maps *m, int folder, unsigned *ret_abi, char *why, size_t cap);
int maps_pin(const struct maps *m, int folder);
/*
 * maps_count_claims() - claims in the np_claims of any ABI that is open as @fd
 *
 * Return: 0, *ret is 0 where it is no map of claims at all; -errno.
 */
int maps_count_claims(int fd, unsigned *ret);
void maps_close(struct maps *m);
/* The configuration, also where it may only be read. */
int maps_config(const struct maps *m, struct np_config *ret);

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
/* Takes out of np_owners what @gone says is gone; how many. */
unsigned map_sweep_owners(const struct maps *m,
			  bool (*gone)(const struct maps *m, uint64_t cookie, uint32_t slot,
				       unsigned arg),
			  unsigned arg);
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

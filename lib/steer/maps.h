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

#endif

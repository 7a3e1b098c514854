/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * count: connections of workers that publish nothing, counted by the kernel: level 5
 *
 *   on -> a worker's listener is tagged -> what was there before is seeded -> ... -> off
 *
 * The program's link is pinned beside the maps: it counts without a process. A worker is counted
 * while np_workers[w].counted is the generation of its listener's tag; from the moment on that it
 * is 0, nothing that is left of it counts. Killed at any step, the worker that takes the number
 * next, or gc, ends what was begun.
 *
 * The calls are made by one thread at a time, those that are marked so under the service's lock.
 */
#ifndef STEER_COUNT_H
#define STEER_COUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct np_steer;
struct count;
struct tracer;

/* Counting is on: for the service, for worker @w. */
bool count_is_on(const struct np_steer *s);
bool count_has(const struct np_steer *s, unsigned w);
/*
 * count_on()        - the program is loaded and attached, and stays, if it is not yet; under the
 *		       lock
 * count_on_cgroup() - the same without CAP_PERFMON, for the sockets of the cgroup that @pid is in:
 *		       takes CAP_NET_ADMIN, and knows nothing of what was there before
 *
 * Return: 0; else -errno and a sentence.
 */
int count_on(struct np_steer *s);
int count_on_cgroup(struct np_steer *s, pid_t pid);
/* Tags that count nowhere go, and the program, unless a worker is counted; under the lock. */
void count_off_unused(struct np_steer *s);
void count_free(struct count **p);
/* The service's programs, loaded or not; until np_steer_close(). NULL: no memory. */
struct tracer *count_tracer(struct np_steer *s);

/* Connections that come to @fd, a listener, are worker @w's. With the claim on it. */
int count_tag(struct np_steer *s, unsigned w, int fd);
void count_untag(struct np_steer *s, int fd);
/*
 * count_stop() - these workers are counted no more, and no event that is under way counts either
 *
 * @n of @w; waits some milliseconds if one of them was. Their lines are left as they are.
 */
void count_stop(struct np_steer *s, const unsigned *w, unsigned n);

/* A process, or a thread of one: whose epoll instance that is (np_holding.epoll). 0: all of it. */
struct count_task {
	pid_t pid;
	uint64_t epoll;
};

/*
 * count_seed() - connections that @t has of the listener @fd are worker @w's; under the lock
 *
 * @retag: also those that are another worker's: after a migration. *ret: how many are its since.
 * Between count_seed_begin() and count_seed_end(), for the listener's port.
 */
void count_seed_begin(struct np_steer *s, unsigned port);
int count_seed(struct np_steer *s, unsigned w, int fd, const struct count_task *t, bool retag,
	       unsigned *ret);
void count_seed_end(struct np_steer *s);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * askers: the peers at an observer's socket, each with its question and its answer
 *
 * One that says nothing, drips, or does not read keeps nobody waiting: each has a time for its
 * question and one for its answer, as a whole, and where all places are taken a new one gets that
 * of the one that has been silent for longest.
 *
 *   an asker   leaves it by
 *   free       askers_add() -> asks
 *   asks       its line is here -> answered;  its end, its time, a new one -> free
 *   answered   all of it is taken, its end, its time, a new one where nobody asks -> free
 */
#ifndef NETPOLL_ASKERS_H
#define NETPOLL_ASKERS_H

#include <poll.h>
#include <stddef.h>
#include <stdint.h>

#define ASKERS_MAX     16
#define ASKER_LINE_MAX 64

struct asker {
	int fd;            /* -1: free */
	uint64_t came;     /* the how manieth it is */
	uint64_t until_ns; /* of what it does now */
	char line[ASKER_LINE_MAX];
	char *answer; /* NULL: it asks still */
	size_t n, at; /* of the line, then of the answer; how much of that is taken */
};

struct askers {
	struct asker of[ASKERS_MAX];
	uint64_t came;
	/* The answer to a line, in memory for free(3). Return: 0; -errno: there is none. */
	int (*answer)(char *line, char **ret, size_t *ret_n);
};

void askers_init(struct askers *a, int (*answer)(char *line, char **ret, size_t *ret_n));
/* @fd is taken. */
void askers_add(struct askers *a, int fd);
/* What each waits for goes to @fds, which has room for all. Return: how many; *ret_ms: for so long
 * at most, -1: for ever. */
unsigned askers_watch(const struct askers *a, struct pollfd *fds, int *ret_ms);
/* Reads, answers and writes as far as that goes now, and ends those whose time is up. */
void askers_serve(struct askers *a);
void askers_close(struct askers *a);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * foreign: servers that know nothing of this library, in the shapes in which listeners lie
 *
 * Each connection gets one byte, the letter of the worker that accepted it ("A" is the first), and
 * is closed. A worker hangs from SIGUSR1 on, with a value of 1 in a loop, until SIGUSR2.
 */
#ifndef SUPPORT_FOREIGN_H
#define SUPPORT_FOREIGN_H

#include <stdbool.h>
#include <sys/types.h>

#include "support/child.h"

#define FOREIGN_PORT 7480
#define FOREIGN_AT   "127.0.0.1:7480"
#define FOREIGN_MAX  80 /* those with a letter of their own: 26 */

enum foreign_shape {
	/* a master that holds a listener for each worker, as they all do: nginx */
	FOREIGN_PROCESSES,
	FOREIGN_THREADS,   /* a thread and an epoll instance for each listener: haproxy */
	FOREIGN_BLOCKING,  /* a thread for each, in accept(2) */
	FOREIGN_TWO_PORTS, /* as the first, each worker at the next port too */
	/* as the first, with a program of its own in the group: all to the first listener */
	FOREIGN_PROGRAM,
	FOREIGN_MPTCP, /* as the first, of MPTCP */
	/* as the first, whose workers end when accept(2) fails, or their listener hangs up: Go */
	FOREIGN_TOUCHY,
	FOREIGN_SULKY,  /* as the first, whose workers never accept again then: haproxy */
	FOREIGN_SHARED, /* one listener, with SO_REUSEPORT, that all processes accept from */
	FOREIGN_ALONE,  /* the same without SO_REUSEPORT */
};

struct foreign {
	struct child child;
	pid_t pid[FOREIGN_MAX]; /* of the workers; of threads the process's */
	pid_t tid[FOREIGN_MAX];
	unsigned n;
	char address[32]; /* of the first port */
};

/* @port 0: any. -EPROTONOSUPPORT and the like: no such socket is to be had. */
int foreign_start(struct foreign *f, enum foreign_shape shape, unsigned n, unsigned port);
void foreign_end(struct foreign *f);
/* Whether worker @i sleeps until a client comes: each does when they have been started. */
bool foreign_waits(const struct foreign *f, unsigned i);
/* To worker @i alone, be it a thread. */
void foreign_signal(const struct foreign *f, unsigned i, int sig);
/* A connection's letter; fails the test if none comes. */
char foreign_ask(const char *address);
/* @n connections one after another, by letter. */
void foreign_count(const char *address, unsigned n, unsigned ret[FOREIGN_MAX]);

#endif

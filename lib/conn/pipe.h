/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pipe: bytes on their way from one socket to another that stay in the kernel: splice(2)
 *
 * A poller has a bounded number of pipes. A forward that finds none copies.
 *
 *   a pipe    is left by
 *   idle      pipe_get() -> in use
 *   in use    pipe_put(): empty -> idle, or closed where enough are idle;  not empty -> closed
 */
#ifndef CONN_PIPE_H
#define CONN_PIPE_H

#include <stddef.h>

struct pipe {
	struct pipe *next; /* of the idle ones */
	int rd, wr;
	size_t size; /* bytes that it takes where they lie in whole pages */
	size_t held; /* bytes in it */
};

/* One poller's. Owner thread. */
struct pipes {
	struct pipe *idle;
	unsigned n, n_idle;
};

/* An empty one. NULL: there are enough, or the process or its user has no more. */
struct pipe *pipe_get(struct pipes *s);
void pipe_put(struct pipes *s, struct pipe *p);
/* None is in use. */
void pipes_fini(struct pipes *s);

#endif

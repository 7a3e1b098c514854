/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * slab: objects of one size, one thread's, in regions that go back to the kernel
 *
 * Regions are mapped, not taken from malloc: what ten thousand connections took has to go back in
 * the middle too, and free(3) only shrinks the top of its heap. A region is aligned to its size, so
 * an object finds it by masking its own address. One empty region stays, so that a server at the
 * edge of a region does not map at each connection. An untouched region costs no memory: slots are
 * handed out from its beginning before any is linked.
 */
#ifndef CONN_SLAB_H
#define CONN_SLAB_H

#include <stddef.h>

#include "poll/list.h"

struct slab {
	struct list open; /* regions with a free slot */
	void *warm;       /* the last object put, the next one got; its slot counts as used */
	size_t slot;      /* bytes of an object */
	unsigned empty;   /* regions without an object */
	size_t bytes;     /* that its regions take */
};

void slab_init(struct slab *s, size_t size);
/* Not zeroed. NULL: no memory. */
void *slab_get(struct slab *s);
void slab_put(struct slab *s, void *p);
/* Every object is back. */
void slab_fini(struct slab *s);

#endif

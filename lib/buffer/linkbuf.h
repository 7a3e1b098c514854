/* SPDX-License-Identifier: BSD-2-Clause */
/* linkbuf: the inside of struct np_linkbuf, for those in this library who embed one. */
#ifndef BUFFER_LINKBUF_H
#define BUFFER_LINKBUF_H

#include "netpoll/linkbuf.h"

/*
 * PLACEHOLDER until lib/buffer lands: the buffer's author fills it. What others rely on:
 *  - linkbuf_init() holds no block and cannot fail; linkbuf_fini() gives everything back.
 *  - b->link: two words for whoever queues buffers (np_conn_send's mail); never read by lib/buffer.
 */
struct np_linkbuf {
	void *link[2];
};

void linkbuf_init(struct np_linkbuf *b);
void linkbuf_fini(struct np_linkbuf *b);

#endif

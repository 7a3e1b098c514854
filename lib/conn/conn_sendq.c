/* SPDX-License-Identifier: BSD-2-Clause */
/* conn_sendq: buffers that other threads have sent, on their way into the stream. */
#include <errno.h>

#include "conn/conn.h"
#include "conn/conn_sendq.h"
#include "netpoll/linkbuf.h"

/* Splices all that was sent so far behind what is flushed. */
int conn_sendq_take(struct np_conn *c)
{
	struct np_linkbuf *b;
	struct stream *s;
	struct mail *m, *next;
	size_t n;

	if (!mailbox_any(&c->sendq))
		return 0;
	if (c->io && c->io->stream.file && conn_life(c) == CONN_OPEN)
		return 0; /* in the middle of a message */
	if (conn_life(c) > CONN_CLOSING || c->out != CONN_OUT_OPEN) {
		conn_sendq_drop(c);
		return 0;
	}
	if (!c->io && conn_io_attach(c) < 0) {
		conn_sendq_drop(c);
		return -ENOMEM;
	}
	s = &c->io->stream;
	n = s->submitted;
	if (stream_requeue(s) < 0) {
		conn_sendq_drop(c);
		return -ENOMEM;
	}
	atomic_fetch_add_explicit(&c->sendq_bytes, (uint32_t)n, memory_order_relaxed);
	conn_request_over(c);
	for (m = mailbox_take(&c->sendq); m; m = next) {
		next = m->next;
		b = sendq_buf(m);
		np_linkbuf_append(&s->sends, &b);
	}
	np_linkbuf_flush(&s->sends);
	return 1;
}

void conn_sendq_drop(struct np_conn *c)
{
	struct mail *m, *next;
	struct np_linkbuf *b;

	for (m = mailbox_take(&c->sendq); m; m = next) {
		next = m->next;
		b = sendq_buf(m);
		atomic_fetch_sub_explicit(&c->sendq_bytes, (uint32_t)np_linkbuf_len(b),
					  memory_order_relaxed);
		np_linkbuf_free(&b);
	}
}

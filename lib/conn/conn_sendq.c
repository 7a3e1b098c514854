/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_sendq: buffers that other threads have sent, on their way into the stream, and calls that
 * they have posted, on their way into the owner's mailbox
 *
 * A call waits there for its turn: it is the user's code, and the queue is taken in the middle of
 * other things. A connection does not move meanwhile, so a sender's calls keep their order.
 */
#include <errno.h>

#include "conn/conn.h"
#include "conn/conn_sendq.h"
#include "netpoll/linkbuf.h"

static void sendq_pass_call(struct np_conn *c, struct mail *m)
{
	if (c->calls < UINT16_MAX)
		c->calls++;
	poller_post(conn_poller(c), m);
}

/* In the order in which they were sent, behind those that wait for the end of a file. */
static struct mail *sendq_take_buffers(struct np_conn *c)
{
	struct mail *first = c->io ? c->io->held_sends : NULL, **end = &first, *m, *next;

	while (*end)
		end = &(*end)->next;
	for (m = mailbox_take(&c->sendq); m; m = next) {
		next = m->next;
		m->next = NULL;
		if (m->fn) {
			sendq_pass_call(c, m);
		} else {
			*end = m;
			end = &m->next;
		}
	}
	if (c->io)
		c->io->held_sends = NULL;
	return first;
}

static void sendq_free(struct np_conn *c, struct mail *m)
{
	struct np_linkbuf *b;
	struct mail *next;

	for (; m; m = next) {
		next = m->next;
		b = sendq_buf(m);
		atomic_fetch_sub_explicit(&c->sendq_bytes, (uint32_t)np_linkbuf_len(b),
					  memory_order_relaxed);
		np_linkbuf_free(&b);
	}
}

static int sendq_join(struct np_conn *c, struct mail *m)
{
	struct np_linkbuf *b;
	struct stream *s;
	struct mail *next;
	size_t flushed;

	if (!c->io && conn_io_attach(c) < 0)
		return -ENOMEM;
	s = &c->io->stream;
	flushed = s->submitted;
	if (stream_requeue(s) < 0)
		return -ENOMEM;
	atomic_fetch_add_explicit(&c->sendq_bytes, (uint32_t)flushed, memory_order_relaxed);
	conn_request_over(c);
	for (; m; m = next) {
		next = m->next;
		b = sendq_buf(m);
		np_linkbuf_append(&s->sends, &b);
	}
	np_linkbuf_flush(&s->sends);
	return 0;
}

int conn_sendq_take(struct np_conn *c)
{
	struct mail *m = sendq_take_buffers(c);

	if (!m)
		return 0;
	if (c->io && c->io->stream.file && conn_life(c) == CONN_OPEN) {
		c->io->held_sends = m; /* in the middle of a message */
		return 0;
	}
	if (conn_life(c) <= CONN_CLOSING && c->out == CONN_OUT_OPEN) {
		if (sendq_join(c, m) == 0)
			return 0;
		sendq_free(c, m);
		return -ENOMEM;
	}
	sendq_free(c, m);
	return 0;
}

void conn_sendq_drop(struct np_conn *c)
{
	sendq_free(c, sendq_take_buffers(c));
}

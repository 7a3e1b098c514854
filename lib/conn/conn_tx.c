/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_tx: output -> socket. The only place that writes a connection's descriptor.
 *
 * Order on the wire: txq (np_conn_send), then the submitted head of out. Bytes behind
 * io->submitted are still being built, or flushed by np_linkbuf_flush() behind our back, and stay.
 */
#include <errno.h>

#include "conn/conn.h"
#include "netpoll/linkbuf.h"
#include "sys/io.h"
#include "sys/sock.h"

#define TX_IOV 64

/* Gathers up to @max segments; returns how many and their bytes. */
static int gather(const struct conn_io *io, struct iovec *iov, int max, size_t *ret_bytes)
{
	size_t left = io->submitted, bytes = 0;
	int n = 0, m;

	if (linkbuf_len(&io->txq)) {
		n = np_linkbuf_iov((struct np_linkbuf *)&io->txq, iov, max);
		for (int i = 0; i < n; i++)
			bytes += iov[i].iov_len;
		if (bytes < linkbuf_len(&io->txq))
			left = 0; /* more of txq comes first */
	}
	if (left && n < max) {
		m = np_linkbuf_iov((struct np_linkbuf *)&io->out, iov + n, max - n);
		for (m += n; n < m && left; n++) {
			if (iov[n].iov_len > left)
				iov[n].iov_len = left;
			left -= iov[n].iov_len;
			bytes += iov[n].iov_len;
		}
	}
	/* The kernel refuses more than MAX_RW_COUNT in one call. */
	while (bytes > SYS_RW_MAX && n > 1)
		bytes -= iov[--n].iov_len;
	if (bytes > SYS_RW_MAX)
		bytes = iov[0].iov_len = SYS_RW_MAX;
	*ret_bytes = bytes;
	return n;
}

static ssize_t transmit(struct np_conn *c, struct iovec *iov, int n)
{
	if (!(c->flags & CONN_SOCKET))
		return n > 1 ? sys_writev(c->watch.fd, iov, n) : sys_write(c->watch.fd, iov->iov_base, iov->iov_len);
	if (n > 1)
		return sys_sendmsg(c->watch.fd, iov, n, 0);
	return sys_send(c->watch.fd, iov->iov_base, iov->iov_len, 0);
}

static void sent(struct np_conn *c, size_t n)
{
	struct conn_io *io = c->io;
	size_t q = linkbuf_len(&io->txq);

	conn_touch(c);
	if (q) {
		q = n < q ? n : q;
		np_linkbuf_skip(&io->txq, q);
		np_linkbuf_release(&io->txq);
		atomic_fetch_sub_explicit(&c->sendq_bytes, (uint32_t)q, memory_order_relaxed);
		n -= q;
	}
	if (n) {
		np_linkbuf_skip(&io->out, n);
		np_linkbuf_release(&io->out);
		io->submitted -= n;
	}
}

void conn_drop_output(struct np_conn *c)
{
	struct conn_io *io = c->io;

	if (!io)
		return;
	atomic_fetch_sub_explicit(&c->sendq_bytes, (uint32_t)linkbuf_len(&io->txq), memory_order_relaxed);
	linkbuf_fini(&io->txq);
	linkbuf_init(&io->txq);
	linkbuf_fini(&io->out);
	linkbuf_init(&io->out);
	io->submitted = 0;
}

static int tx_failed(struct np_conn *c, int err)
{
	c->tx_err = err;
	if (!c->why)
		c->why = err;
	conn_drop_output(c);
	conn_wake_writer(c, err);
	conn_later(c);
	return err;
}

/*
 * conn_tx() - send what is submitted until it is drained, the kernel takes no more, or the budget
 * is spent
 *
 * Wakes a parked writer that has what it waits for. A send error is sticky and drops the output.
 * Thread: owner, main or fiber.
 * Return: 0 drained; CONN_MORE when bytes are left (the watch goes on with them); or -errno.
 */
int conn_tx(struct np_conn *c)
{
	struct iovec iov[TX_IOV];
	struct conn_io *io = c->io;
	size_t bytes, budget = POLLER_BUDGET * 4;
	ssize_t n;
	int niov, r;

	if (c->tx_err)
		return c->tx_err;
	while (conn_unsent(c)) {
		niov = gather(io, iov, TX_IOV, &bytes);
		n = transmit(c, iov, niov);
		if (n < 0 && n != -EAGAIN && n != -ENOBUFS && n != -ENOMEM)
			return tx_failed(c, (int)n);
		if (n > 0)
			sent(c, (size_t)n);
		/*
		 * A short send set SOCK_NOSPACE, so an edge will follow; a unix socket or a tty gives
		 * no such promise: there only EAGAIN counts.
		 */
		if (n < 0 || ((size_t)n < bytes && (c->flags & CONN_INET))) {
			watch_cant(&c->watch, WATCH_OUT);
			r = watch_want(&c->watch, WATCH_OUT);
			if (r < 0)
				return tx_failed(c, r);
			break;
		}
		budget = budget > (size_t)n ? budget - (size_t)n : 0;
		if (!budget && conn_unsent(c)) {
			/* Writable still: the ready list brings us back next turn. */
			c->watch.ready |= WATCH_OUT;
			r = watch_want(&c->watch, WATCH_OUT);
			if (r < 0)
				return tx_failed(c, r);
			break;
		}
	}
	if (io && io->writer && conn_unsent(c) <= io->writer->n)
		conn_wake_writer(c, 0);
	if (conn_unsent(c))
		return CONN_MORE;
	watch_stop(&c->watch, WATCH_OUT);
	return 0;
}

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

/* The common case: what is submitted lies in one piece and nothing else waits. */
static const void *one_piece(const struct np_conn *c)
{
	const struct conn_io *io = c->io;

	if (linkbuf_len(&io->txq) || !(c->flags & CONN_SOCKET) || io->submitted > SYS_RW_MAX)
		return NULL;
	return linkbuf_whole(&io->out, io->submitted);
}

/* Gathers up to @max segments; returns how many and their bytes. */
static int gather(struct conn_io *io, struct iovec *iov, int max, size_t *ret_bytes)
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

static __attribute__((noinline)) ssize_t transmit_gathered(struct np_conn *c)
{
	struct iovec iov[TX_IOV];
	int n = gather(c->io, iov, TX_IOV, &c->io->tx_offered);

	if (!(c->flags & CONN_SOCKET))
		return n > 1 ? sys_writev(c->watch.fd, iov, n) :
			       sys_write(c->watch.fd, iov->iov_base, iov->iov_len);
	if (n > 1)
		return sys_sendmsg(c->watch.fd, iov, n, 0);
	return sys_send(c->watch.fd, iov->iov_base, iov->iov_len, 0);
}

/* One send of what is submitted, io->tx_offered. */
static ssize_t transmit(struct np_conn *c)
{
	const void *p = one_piece(c);

	if (!p)
		return transmit_gathered(c);
	c->io->tx_offered = c->io->submitted;
	return sys_send(c->watch.fd, p, c->io->tx_offered, 0);
}

static void sent(struct np_conn *c, size_t n)
{
	struct conn_io *io = c->io;
	size_t q = linkbuf_len(&io->txq);

	conn_moved(c, CONN_OUT);
	io->tx_total += n;
	if (q) {
		q = n < q ? n : q;
		linkbuf_consume(&io->txq, q);
		atomic_fetch_sub_explicit(&c->sendq_bytes, (uint32_t)q, memory_order_relaxed);
		n -= q;
	}
	if (n) {
		linkbuf_consume(&io->out, n);
		io->submitted -= n;
	}
}

void conn_drop_output(struct np_conn *c)
{
	struct conn_io *io = c->io;

	if (!io)
		return;
	if (io->file)
		conn_file_cut(c);
	if (conn_unsent(c))
		c->flags |= CONN_CUT;
	atomic_fetch_sub_explicit(&c->sendq_bytes, (uint32_t)linkbuf_len(&io->txq),
				  memory_order_relaxed);
	linkbuf_fini(&io->txq);
	linkbuf_init(&io->txq);
	linkbuf_fini(&io->out);
	conn_out_init(io);
	io->submitted = 0;
}

int conn_tx_failed(struct np_conn *c, int err)
{
	c->tx_err = err;
	if (!c->why)
		c->why = err;
	conn_drop_output(c);
	conn_wake_writer(c, err);
	conn_later(c);
	return err;
}

int conn_tx_later(struct np_conn *c, ssize_t why)
{
	int r;

	/* No edge tells that memory came free or that a budget is new: those are tried again next
	 * turn. */
	if (why < 0 ? why == -EAGAIN : why > 0)
		watch_cant(&c->watch, WATCH_OUT);
	else
		c->watch.ready |= WATCH_OUT;
	r = watch_want(&c->watch, WATCH_OUT);

	return r < 0 ? conn_tx_failed(c, r) : CONN_MORE;
}

/* What is left after a send that returned @n: try on, wait, or give up. */
static __attribute__((noinline)) int tx_go_on(struct np_conn *c, ssize_t n)
{
	size_t budget = POLLER_BUDGET * 4;

	for (;;) {
		if (n < 0 && n != -EAGAIN && n != -ENOBUFS && n != -ENOMEM)
			return conn_tx_failed(c, (int)n);
		if (n > 0)
			sent(c, (size_t)n);
		/*
		 * A short send set SOCK_NOSPACE, so an edge will follow; a unix socket or a tty
		 * gives no such promise: there only EAGAIN counts.
		 */
		if (n < 0 || ((size_t)n < c->io->tx_offered && (c->flags & CONN_INET)))
			return conn_tx_later(c, n);
		if (!conn_unsent(c))
			return 0;
		budget = budget > (size_t)n ? budget - (size_t)n : 0;
		if (!budget)
			return conn_tx_later(c, 0);
		n = transmit(c);
	}
}

/* Somebody waits for room, or for the file behind the output. */
static __attribute__((noinline)) int serve_writer(struct np_conn *c, int r)
{
	if (c->io->file && !conn_unsent(c))
		r = conn_file_tx(c);
	if (r >= 0 && !c->io->file && conn_unsent(c) <= c->io->writer->n)
		conn_wake_writer(c, 0);
	return r;
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
	ssize_t n;
	int r = 0;

	if (c->tx_err)
		return c->tx_err;
	if (conn_unsent(c)) {
		n = transmit(c);
		if (n == (ssize_t)conn_unsent(c))
			sent(c, (size_t)n);
		else
			r = tx_go_on(c, n);
		if (r < 0)
			return r;
	}
	if (c->io && c->io->writer)
		r = serve_writer(c, r);
	if (r < 0)
		return r;
	if (r == 0 && (c->watch.want & WATCH_OUT))
		watch_stop(&c->watch, WATCH_OUT);
	return r;
}

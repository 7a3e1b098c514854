/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_rx: socket -> input buffer. The only place that reads a connection's descriptor.
 *
 * What a reader would get wrong: a short read means "drained" only for an AF_INET/6 stream whose
 * event carried nothing but IN. The last bytes and the FIN can arrive in one edge, urgent data and
 * SCM_RIGHTS cut reads short, a tty hands out lines: there we read until 0 or EAGAIN.
 */
#include <errno.h>
#include <string.h>

#include "conn/conn.h"
#include "netpoll/linkbuf.h"
#include "sys/io.h"

#define RX_SPACE_MAX   (256u * 1024)
#define RX_SPACE_MIN   4096u
#define RX_SPACE_FIRST (16u * 1024) /* of a big message whose first bytes have not come */

/*
 * How many more bytes may be buffered: up to in_high, or up to what a parked reader (or a handler
 * that said np_conn_want) waits for, if that is more. Bytes read and not released count, but a
 * length that was read just before must not make its own body impossible: they come on top of what
 * is waited for, and conn_wait_input() bounds the sum by in_max.
 */
static size_t rx_room(const struct np_conn *c)
{
	const struct conn_io *io = c->io;
	size_t limit = conn_limits(c)->in_high;
	size_t unreleased = io->held - linkbuf_len(&io->in);
	size_t wanted = unreleased + (io->reader           ? io->reader->room :
				      c->flags & CONN_WANT ? io->call_at :
							     0);

	if (wanted > limit)
		limit = wanted;
	return io->held < limit ? limit - io->held : 0;
}

/*
 * What a read offers: @space, or what a waiting reader still needs, so that a big message gets room
 * for it soon. Never more than RX_SPACE_MAX, nor than twice what has come: a claimed length commits
 * no memory.
 */
static size_t rx_offer(const struct np_conn *c, size_t space, size_t room)
{
	const struct conn_io *io = c->io;
	size_t len = linkbuf_len(&io->in);

	if (io->reader && io->reader->n > len && io->reader->n - len > space) {
		size_t shown = 2 * io->held + RX_SPACE_FIRST;
		size_t need = io->reader->n - len < shown ? io->reader->n - len : shown;

		space = need > space ? need : space;
	}
	if (space > RX_SPACE_MAX)
		space = RX_SPACE_MAX;
	return space < room ? space : room;
}

/*
 * The next edge is offered more than the last one brought, so that one short read takes it and
 * tells that there is no more; half of it when three quarters were empty.
 */
static void rx_adapt(struct conn_io *io, size_t got)
{
	if (got >= io->rx_space) {
		while (io->rx_space <= got && io->rx_space < RX_SPACE_MAX)
			io->rx_space *= 2;
	} else if (got < io->rx_space / 4 && io->rx_space > RX_SPACE_MIN) {
		io->rx_space /= 2;
	}
}

/*
 * The writing end of a pipe cannot be read: EBADF. That is no error of the connection. All that can
 * come there is that its reader has left.
 */
static ssize_t rx_pipe(const struct np_conn *c, ssize_t n)
{
	if (n != -EBADF)
		return n;
	return c->watch.flags & (WATCH_ERR | WATCH_HUP) ? -EPIPE : -EAGAIN;
}

static ssize_t receive_one(struct np_conn *c, void *p, size_t n)
{
	return c->flags & CONN_SOCKET ? sys_recv(c->watch.fd, p, n, 0) :
					rx_pipe(c, sys_read(c->watch.fd, p, n));
}

/* Into what room the chain has, and a new block behind it. */
static __attribute__((noinline)) ssize_t receive_two(struct np_conn *c, size_t offer)
{
	struct conn_io *io = c->io;
	struct iovec iov[2];
	int niov = np_linkbuf_space(&io->in, offer, iov, 2);

	if (niov < 0)
		return niov;
	io->rx_offered = iov[0].iov_len + (niov > 1 ? iov[1].iov_len : 0);
	if (niov == 1)
		return receive_one(c, iov[0].iov_base, io->rx_offered);
	return rx_pipe(c, sys_readv(c->watch.fd, iov, niov));
}

/* One read of about @offer bytes into the input, io->rx_offered. Return: what the read returned, or
 * -ENOMEM. */
static ssize_t receive(struct np_conn *c, size_t offer)
{
	struct conn_io *io = c->io;
	void *p = linkbuf_space(&io->in, offer);
	ssize_t n;

	io->rx_offered = offer;
	n = p ? receive_one(c, p, offer) : receive_two(c, offer);
	np_linkbuf_commit(&io->in, n > 0 ? (size_t)n : 0);
	return n;
}

static bool drained_by_short_read(const struct np_conn *c)
{
	return (c->flags & CONN_INET) &&
	       !(c->watch.flags & (WATCH_RDHUP | WATCH_HUP | WATCH_ERR | WATCH_PRI));
}

/*
 * conn_rx() - move what the kernel has into c->io->in, about @budget bytes at most
 *
 * Runs no handler and touches no interest: it moves bytes and reports. The budget keeps one
 * fast peer from starving the others on this poller.
 *
 * Thread: owner.
 * Return: CONN_AGAIN, CONN_MORE (budget spent), CONN_FULL (the input stands at its limit),
 *         CONN_END (peer's FIN), CONN_HELD (nothing was tried: memory_max is reached), or -errno.
 *         What was read before an error stays in the buffer.
 */
int conn_rx(struct np_conn *c, size_t budget)
{
	struct conn_io *io;
	size_t space, got = 0;
	int r;

	if (c->group->memory.max && !(budget = conn_memory_budget(c, budget)))
		return CONN_HELD;
	r = c->io ? 0 : conn_io_attach(c);
	if (r < 0)
		return r;
	io = c->io;
	space = io->rx_space;
	for (r = CONN_MORE; r == CONN_MORE && got < budget; space *= 2) {
		size_t room = rx_room(c);
		ssize_t n;

		if (!room) {
			r = CONN_FULL;
			break;
		}
		n = receive(c, rx_offer(c, space, room < budget ? room : budget));
		if (n <= 0) {
			r = n == -EAGAIN ? CONN_AGAIN : n < 0 ? (int)n : CONN_END;
			break;
		}
		got += (size_t)n;
		io->rx_total += (size_t)n;
		io->held += (size_t)n;
		if ((size_t)n < io->rx_offered && drained_by_short_read(c))
			r = CONN_AGAIN;
	}
	if (got) {
		rx_adapt(io, got);
		conn_request_came(c);
		conn_moved(c, CONN_IN);
	}
	return r;
}

/*
 * Memory is short now, not for ever: the bytes wait in the kernel until the watch is tried again.
 */
static bool is_passing(int err)
{
	return err == -ENOMEM || err == -ENOBUFS;
}

void conn_rx_ended(struct np_conn *c, int err)
{
	c->flags |= CONN_RX_END | CONN_LEFT;
	if (err && !c->rx_err)
		c->rx_err = err;
	if (err && !c->why)
		c->why = err;
	watch_stop(&c->watch, WATCH_IN);
	conn_cancel_left(c);
	conn_later(c); /* on_disconnect, and perhaps the end */
}

void conn_fill(struct np_conn *c, size_t budget)
{
	int r = conn_rx(c, budget);

	if (r == CONN_AGAIN) {
		watch_cant(&c->watch, WATCH_IN);
		/* the mark that cuts reads short is behind us: not before */
		c->watch.flags &= (uint8_t)~WATCH_PRI;
	} else if (r == CONN_FULL) {
		c->flags |= CONN_RX_FULL;
		watch_stop(&c->watch, WATCH_IN);
	} else if (r == CONN_HELD) {
		/* it is not the peer that is idle; the watch stays ready, and is tried next turn */
		conn_touch(c);
	} else if (r == CONN_END) {
		conn_rx_ended(c, 0);
	} else if (r < 0 && !is_passing(r)) {
		conn_rx_ended(c, r);
	}
}

void conn_rx_resume(struct np_conn *c)
{
	if (conn_state(c) != CONN_OPEN || (c->flags & (CONN_PAUSED | CONN_RX_END)))
		return;
	if ((c->flags & CONN_RX_FULL) && c->io && !rx_room(c))
		return;
	c->flags &= ~(uint32_t)CONN_RX_FULL;
	watch_want(&c->watch, WATCH_IN);
}

/*
 * After close: what still comes is read and thrown away, so that close(2) sends no RST. The peer's
 * FIN ends that, and nothing else: a reply may still be on its way to a peer that has only stopped
 * sending.
 */
void conn_discard(struct np_conn *c)
{
	/* the poller's own stack. Not thread-local: dlopen(3) has a kilobyte of that to give */
	char sink[16384];
	ssize_t n;

	for (size_t got = 0; got < POLLER_BUDGET; got += (size_t)n) {
		n = receive_one(c, sink, sizeof sink);
		if (n == -EAGAIN) {
			watch_cant(&c->watch, WATCH_IN);
			return;
		}
		if (n < 0 && is_passing((int)n))
			return;
		if (n < 0 || (n == 0 && conn_state(c) == CONN_LINGER)) {
			if (n < 0 && conn_unsent(c))
				conn_lost(c, (int)n);
			conn_die(c, 0);
			return;
		}
		if (n == 0) {
			c->flags |= CONN_RX_END;
			watch_stop(&c->watch, WATCH_IN);
			conn_later(c);
			return;
		}
	}
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_file: file -> socket, without a buffer
 *
 * The file lies behind what is submitted: conn_tx() comes here when nothing else is unsent. What a
 * reader would get wrong: other output waits for it. A message of np_conn_send() between the header
 * that was flushed and the file it announces would break both.
 *
 *   io->file   is left by
 *   NULL       np_conn_sendfile() -> set
 *   set        every byte sent, a file error -> NULL, its fiber goes on;  conn_file_cut() -> NULL
 */
#include <errno.h>

#include "conn/conn.h"
#include "netpoll/linkbuf.h"
#include "sys/io.h"

#define FILE_BUDGET ((size_t)POLLER_BUDGET * 4)

/* On the stack of the fiber that sends it. */
struct conn_file {
	int fd, err; /* err: why not one byte of it could be sent */
	off_t off;
	size_t left;
	bool begun;
	bool then_fin;
};

void conn_file_cut(struct np_conn *c)
{
	c->io->file = NULL;
	c->flags |= CONN_CUT;
}

bool conn_file_puts_off_fin(struct np_conn *c)
{
	if (!c->io || !c->io->file)
		return false;
	c->io->file->then_fin = true;
	return true;
}

/* Not one byte went: the connection is as it was, and the caller may send something else. */
static int refused(struct np_conn *c, int err)
{
	c->io->file->err = err;
	c->io->file = NULL;
	return 0;
}

/* Whether sendfile(2) speaks of the file and not of the socket. */
static bool is_file_error(ssize_t n)
{
	return n == -EINVAL || n == -EBADF || n == -EIO || n == -EOVERFLOW || n == -ESPIPE ||
	       n == -EACCES || n == -EISDIR;
}

/*
 * conn_file_tx() - send of io->file what the kernel takes
 *
 * Return: 0 it is through (or refused, see its err); CONN_MORE; -errno, sticky.
 */
int conn_file_tx(struct np_conn *c)
{
	struct conn_file *f = c->io->file;
	size_t budget = FILE_BUDGET;
	ssize_t n;

	while (f->left && budget) {
		n = sys_sendfile(c->watch.fd, f->fd, &f->off, f->left < budget ? f->left : budget);
		if (n == -EAGAIN || n == -ENOBUFS || n == -ENOMEM)
			return conn_tx_later(c, n);
		if (n < 0 && !f->begun && is_file_error(n))
			return refused(c, (int)n);
		if (n <= 0)
			return conn_tx_failed(c, n < 0 ? (int)n : -ENODATA);
		f->begun = true;
		f->left -= (size_t)n;
		budget -= (size_t)n;
		c->io->tx_total += (size_t)n;
		conn_moved(c, CONN_OUT);
	}
	if (f->left)
		return conn_tx_later(c, 0);
	c->io->file = NULL;
	return 0;
}

/* What waited for the end of the message goes on. */
static void file_is_through(struct np_conn *c, const struct conn_file *f)
{
	if (conn_state(c) != CONN_OPEN)
		return;
	conn_take_sendq(c);
	if (f->then_fin)
		conn_shut(c);
}

int np_conn_sendfile(struct np_conn *c, int fd, off_t off, size_t n)
{
	struct conn_file f = { .fd = fd, .off = off, .left = n };
	int r;

	if (off < 0)
		return -EINVAL;
	r = conn_verb_ends(c, conn_unwritable(c));
	if (r < 0)
		return r;
	if (!fiber_self())
		return -NP_ENOTFIBER;
	r = conn_submit(c);
	if (r < 0)
		return r;
	c->io->file = &f;
	if (!(c->watch.want & WATCH_OUT))
		r = conn_tx(c);
	if (r >= 0 && !conn_unsent(c) && c->io->file)
		r = conn_file_tx(c);
	if (r >= 0 && c->io->file)
		r = conn_wait_output(c, 0);
	if (c->io && c->io->file == &f) /* the wait did not begin */
		conn_file_cut(c);
	if (r >= 0)
		file_is_through(c, &f);
	return r < 0 ? r : f.err;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* transport: the three kinds of descriptor that a stream may have. */
#include "conn/transport.h"

#include <errno.h>
#include <sys/socket.h>

#include "conn/stream.h"
#include "sys/io.h"

static ssize_t transport_recv(struct stream *s, void *p, size_t n)
{
	return sys_recv(s->fd, p, n, 0);
}

static ssize_t transport_readv(struct stream *s, const struct iovec *iov, int niov)
{
	return sys_readv(s->fd, iov, niov);
}

static ssize_t transport_send(struct stream *s, const void *p, size_t n)
{
	return sys_send(s->fd, p, n, 0);
}

static ssize_t transport_sendmsg(struct stream *s, const struct iovec *iov, int niov)
{
	return sys_sendmsg(s->fd, iov, niov, 0);
}

static ssize_t transport_send_more(struct stream *s, const void *p, size_t n)
{
	return sys_send(s->fd, p, n, MSG_MORE);
}

static ssize_t transport_sendmsg_more(struct stream *s, const struct iovec *iov, int niov)
{
	return sys_sendmsg(s->fd, iov, niov, MSG_MORE);
}

/*
 * The writing end of a pipe cannot be read: EBADF. That is no error of the connection; all that can
 * come there is that the pipe's reader has left.
 */
static ssize_t transport_not_readable(const struct stream *s, ssize_t n)
{
	struct pollfd now = { .fd = s->fd };

	if (n != -EBADF)
		return n;
	return sys_poll_now(&now, 1) > 0 ? -EPIPE : -EAGAIN;
}

static ssize_t transport_file_read(struct stream *s, void *p, size_t n)
{
	return transport_not_readable(s, sys_read(s->fd, p, n));
}

static ssize_t transport_file_readv(struct stream *s, const struct iovec *iov, int niov)
{
	return transport_not_readable(s, sys_readv(s->fd, iov, niov));
}

static ssize_t transport_file_write(struct stream *s, const void *p, size_t n)
{
	return sys_write(s->fd, p, n);
}

static ssize_t transport_file_writev(struct stream *s, const struct iovec *iov, int niov)
{
	return sys_writev(s->fd, iov, niov);
}

const struct transport transports[] = {
	[TRANSPORT_FILE] = {
		.read = transport_file_read,
		.readv = transport_file_readv,
		.write = transport_file_write,
		.writev = transport_file_writev,
	},
	[TRANSPORT_UNIX] = {
		.read = transport_recv,
		.readv = transport_readv,
		.write = transport_send,
		.writev = transport_sendmsg,
	},
	[TRANSPORT_TCP] = {
		.read = transport_recv,
		.readv = transport_readv,
		.write = transport_send,
		.writev = transport_sendmsg,
		.short_is_all = true,
	},
};

const struct transport transport_more = {
	.read = transport_recv,
	.readv = transport_readv,
	.write = transport_send_more,
	.writev = transport_sendmsg_more,
	.short_is_all = true,
};

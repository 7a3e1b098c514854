/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * transport: what lies under a stream: a TCP socket, another socket, or a pipe or tty
 *
 * Its functions move bytes and never wait. They return what the kernel does: bytes moved, 0 at the
 * end of input, or -errno, -EAGAIN among them. A filter (TLS) is one more row of the table.
 */
#ifndef CONN_TRANSPORT_H
#define CONN_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

struct stream;

enum transport_kind { TRANSPORT_FILE, TRANSPORT_UNIX, TRANSPORT_TCP };

struct transport {
	ssize_t (*read)(struct stream *s, void *p, size_t n);
	ssize_t (*readv)(struct stream *s, const struct iovec *iov, int niov);
	ssize_t (*write)(struct stream *s, const void *p, size_t n);
	ssize_t (*writev)(struct stream *s, const struct iovec *iov, int niov);
	/*
	 * A short read says that nothing is left; a short write, that the kernel is full and an
	 * edge will tell when it is not. A unix socket or a tty promises neither: there only EAGAIN
	 * counts.
	 */
	bool short_is_all;
};

extern const struct transport transports[]; /* by enum transport_kind */
/*
 * A TCP socket's while a file follows: the kernel waits for the file before it sends a segment that
 * is not full (MSG_MORE).
 */
extern const struct transport transport_more;

#endif

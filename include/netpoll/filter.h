/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * filter: what may stand between a connection and its socket, such as TLS (tls.h)
 *
 * Handlers and verbs see what the filter makes of the bytes, and know of nothing else: reads,
 * writes, time, stops, pools and counts work on plain bytes. A filter is a table of functions that
 * never wait. One that has to wait says for what, and is called again when that has come.
 *
 *   state        is left by
 *   handshake    np_filter_ops.handshake: 0 -> open;  NP_FILTER_WORK -> at work
 *   at work      the worker's call of handshake has returned -> as it says
 *   open         shutdown: 0 -> shut
 *   shut         reading goes on
 *   failed       any code but those below, from any of them: the connection is closed once its
 *                handler has returned, with that code, and what still comes is thrown away
 *
 * What a filter has taken from below and not given yet is input: so -EAGAIN from read says that it
 * has nothing left, not only that the socket has not.
 */
#ifndef NETPOLL_FILTER_H
#define NETPOLL_FILTER_H

#include <netpoll/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

struct np_conn;
struct np_filter_below; /* the socket, and what was read of it before the filter came */
struct np_tls;          /* a struct np_filter_maker at its beginning */

/* handshake: the next step takes long, and is to be called on a worker thread. */
#define NP_FILTER_WORK 1

/*
 * All of one connection's are called one after the other, and never two at once: on the thread of
 * its poller, and handshake on a worker of np_offload() where it has asked for that. None may park,
 * and none may call np_conn_*. But for handshake they may be called on a fiber, which has
 * np_pollers_opts.stack_size.
 */
struct np_filter_ops {
	size_t sz;
	const char *name;
	/*
	 * A filter for one connection. @host: whom it is with, NULL where nobody has said.
	 * Return: 0; 1: it speaks first; -errno: the connection ends before it has begun.
	 */
	int (*open)(const void *maker, struct np_filter_below *below, const char *host, void **ret);
	/*
	 * Return: 0: done; NP_FILTER_WORK; -EAGAIN: more input is needed; -EBUSY: something has to
	 * go out first, and below is full.
	 */
	int (*handshake)(void *filter);
	/*
	 * Up to @n > 0 plain bytes. Return: how many; 0: the peer's end, as the protocol has it;
	 * -EAGAIN, -EBUSY: as handshake.
	 */
	ssize_t (*read)(void *filter, void *p, size_t n);
	/*
	 * Return: how many plain bytes have gone below, for good; -EAGAIN: below is full. The
	 * caller comes again with the same bytes, and perhaps more behind them.
	 */
	ssize_t (*write)(void *filter, const struct iovec *iov, int n);
	/* The last word. Return: 0: it is out; -EAGAIN: below is full. */
	int (*shutdown)(void *filter);
	/* Frees it; sends nothing. */
	void (*close)(void *filter);
	/*
	 * NULL: not known. Behind a read that gave something: whether the next one may give more of
	 * what was taken from below. Where it may not, and below is known to have nothing, read is
	 * not called for an -EAGAIN.
	 */
	bool (*pending)(void *filter);
};

struct np_filter_maker {
	const struct np_filter_ops *ops;
	int handshake_ms; /* 10 000: then the connection is closed; -1: no limit */
};

/*
 * np_filter_read(), np_filter_write() - for the filter alone: bytes of the socket
 *
 * Thread: the one that the filter was called on. May park: no.
 * Return: as recv(2) and send(2): bytes, 0 at the peer's FIN; -EAGAIN, -ECONNRESET, -EPIPE ...
 */
NP_API ssize_t np_filter_read(struct np_filter_below *below, void *p, size_t n);
NP_API ssize_t np_filter_write(struct np_filter_below *below, const void *p, size_t n);

/*
 * np_filter_holds() - for the filter alone: how much memory of its own it has now, about
 *
 * It counts for memory_max (server.h) from the end of the call of np_filter_ops on in which it is
 * said. Nothing, until something is said.
 *
 * Thread: the one that the filter was called on. May park: no.
 */
NP_API void np_filter_holds(struct np_filter_below *below, size_t n);

/*
 * np_conn_filter() - what @ops->open made for @c
 *
 * Thread: owner. May park: no. Lifetime: until on_close has returned.
 * Return: NULL: it has no filter, or another one.
 */
NP_API void *np_conn_filter(const struct np_conn *c, const struct np_filter_ops *ops);

#ifdef __cplusplus
}
#endif
#endif

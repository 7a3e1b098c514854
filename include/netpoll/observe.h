/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * observe: what this process is doing now
 *
 * All sets of pollers of the process are looked at, with their servers, connections, fibers, pools
 * and channels. Each poller is asked by a message and answers between two pieces of its work, some
 * hundred connections at a time: no lock is taken on the way of a byte, and a look costs nobody
 * anything who is not looked at. A poller that does not answer is said to be stuck, with what can
 * be read without it: the handler that keeps it, since when, and for which connection.
 *
 * np_pollers_opts.observe makes the same answers available to npsteer, from outside.
 */
#ifndef NETPOLL_OBSERVE_H
#define NETPOLL_OBSERVE_H

#include <netpoll/opts.h>
#include <netpoll/status.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct np_linkbuf;

/* Tables for people; one JSON object; lines of words with tabs between them. */
enum np_dump_format { NP_DUMP_TEXT = 0, NP_DUMP_JSON = 1, NP_DUMP_TSV = 2 };

enum np_dump_part {
	NP_DUMP_POLLERS = 1 << 0, /* turns, mail, timers, stalls, fibers, connections */
	NP_DUMP_SERVERS = 1 << 1, /* what each serves, and what is left to drain */
	NP_DUMP_CONNS = 1 << 2,
	NP_DUMP_FIBERS = 1 << 3, /* what each waits for, and since when */
	NP_DUMP_POOLS = 1 << 4,
	NP_DUMP_CHANNELS = 1 << 5,
	NP_DUMP_OFFLOAD = 1 << 6, /* jobs of np_offload(); hand-offs of pollers */
};

struct np_dump_opts {
	size_t sz;
	int format;     /* enum np_dump_format */
	unsigned parts; /* of enum np_dump_part; 0: all */
};
NP_OPTS_INIT(np_dump_opts)

/*
 * np_dump() - write what this process is doing to @fd: a file, a pipe, a terminal
 *
 * Waits half a second for a poller that does not begin to answer, and five for all of them; a
 * reader of @fd that takes nothing for five seconds is given up. Dumps are made one after the
 * other: one that is asked for meanwhile waits for those before it, too. From a debugger: call
 * np_dump(2, 0).
 *
 * Thread: any; on a poller it keeps the thread meanwhile, so np_offload() is for that. May park:
 * no. Lifetime: @fd and *o are borrowed for the call; @o NULL: text, all.
 * Return: 0; -EINVAL: no such format or part; -E2BIG; -ENOMEM; -ETIMEDOUT: the reader; what
 *         write(2) says.
 */
NP_API int np_dump(int fd, const struct np_dump_opts *o);

/*
 * np_dump_prepare() - a thread that writes a dump to @fd whenever np_dump_request() asks for it
 *
 * @format: enum np_dump_format. @fd -1: no more; the thread ends.
 *
 * Thread: setup. May park: no. Lifetime: @fd stays open until another takes its place, or -1.
 * Return: 0; -EINVAL; -EAGAIN, -ENOMEM, -EMFILE: no thread is to be had.
 */
NP_API int np_dump_prepare(int fd, int format);
/*
 * np_dump_request() - ask for that
 *
 * Sets a flag and writes to an eventfd: for a handler of SIGUSR1. Those that come while one is
 * under way are one.
 *
 * Thread: any, and signal handlers (signal-safety(7)); errno stays. May park: no.
 * Return: 0; -ENOENT: np_dump_prepare() was not called.
 */
NP_API int np_dump_request(void);

/*
 * np_observe_sweep()      - take away the sockets that processes which were killed left in
 *                           /run/netpoll
 * np_observe_sweep_look() - tell of those that would be, and take none away
 *
 * Those of this user's, or root's call: everybody's. What answers is left alone, whatever its
 * number, and so is what is no socket. Each process that makes one there does this first; fn(arg,
 * path), which may be NULL, is told of each.
 *
 * Thread: any but a poller's; it waits a second for one that is about to listen. Lifetime: @path
 * lives during the call.
 * Return: how many; -EACCES, -EMFILE, -ENOMEM.
 */
NP_API int np_observe_sweep(void (*fn)(void *arg, const char *path), void *arg);
NP_API int np_observe_sweep_look(void (*fn)(void *arg, const char *path), void *arg);

/* OpenMetrics 1.0: "application/openmetrics-text; version=1.0.0; charset=utf-8"; and Prometheus's
 * own text format before it: "text/plain; version=0.0.4; charset=utf-8". */
enum np_metrics_format { NP_METRICS_OPENMETRICS = 0, NP_METRICS_TEXT = 1 };

/*
 * np_metrics_write() - what all sets and servers of this process have counted, for Prometheus
 *
 * Labels stay for as long as what is counted lives: servers, sets of pollers and pools are numbered
 * in the order in which the process made them, since names need not differ.
 *
 * Behind what is in @b, unflushed: np_conn_out() of a handler that answers GET /metrics will do. No
 * poller is asked, so one that is stuck is told of. np_requests and the histograms are of sets with
 * np_pollers_opts.metrics: where more than 2000 requests a second come to a poller one of 256 is
 * looked at and stands for the others.
 *
 * Thread: any. May park: no. Return: 0; -EINVAL: no @b, no such format; -ENOMEM.
 */
NP_API int np_metrics_write(struct np_linkbuf *b, int format);

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pool: connections to one target that are used again
 *
 * A connection belongs to a poller, so each poller has a pool of its own, and all limits are for
 * each poller. In exchange nothing is shared: getting and putting touch no other thread's memory.
 *
 * What a reader would get wrong: np_pool_put() says that the exchange is over, and np_pool_drop()
 * is for every other case. An answer that comes after its reader gave up would be read by the next
 * caller as its own, and so on for ever; whether one is still to come only the protocol knows.
 *
 * np_pool_get() reads an idle connection once more before it gives it out. One that the peer has
 * ended, or on which it has said something unasked, is not given out. A FIN that is still on its
 * way cannot be known: a caller that gets NP_EEOF for the first answer may try again.
 */
#ifndef NETPOLL_POOL_H
#define NETPOLL_POOL_H

#include <netpoll/client.h>
#include <netpoll/opts.h>
#include <netpoll/pollers.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct np_pool;

/* Zero means the default, which is said here; -1 no limit, see opts.h. Bounds: for each poller. */
struct np_pool_opts {
	size_t sz;
	int max_open; /* connections, lent and idle ones and dials under way; no limit */
	int max_idle; /* what is given back beyond that is closed; 64 */
	int idle_ms;  /* an idle connection is closed after that; 60 000 */
	/* how long np_pool_get() waits at max_open, before it dials; no limit */
	int wait_ms;
	int dial_ms;       /* np_dial_opts.timeout_ms */
	const char *local; /* likewise; copied */
	bool nagle;        /* likewise */
	int keepalive_idle_s, keepalive_intvl_s, keepalive_cnt, user_timeout_ms; /* likewise */
	struct np_tls *tls;                                                      /* likewise */
	const char *tls_host; /* likewise; copied */
};
NP_OPTS_INIT(np_pool_opts)

/*
 * np_pool_new() - a pool of connections to @address from the pollers of @p; dials nothing yet
 *
 * @network and @address as np_dial() takes them; a name is looked up at each dial.
 *
 * Thread: any. May park: no. Lifetime: strings and *o are copied; freed by np_pool_free(), before
 * np_pollers_free().
 * Return: 0; -EINVAL: NULL, or a number below its least; -E2BIG, -ENOMEM.
 */
NP_API int np_pool_new(struct np_pollers *p, const char *network, const char *address,
		       const struct np_pool_opts *o, struct np_pool **ret);
/*
 * np_pool_free() - close the idle connections, and end the waits with -ECANCELED
 *
 * Lent connections go on; np_pool_put() and np_pool_drop() may not be called with them any more:
 * close and unref them.
 *
 * Thread: any; none may be about to call np_pool_get(). May park: no. Return: 0: *pool is NULL.
 */
NP_API int np_pool_free(struct np_pool **pool);
/*
 * np_pool_get() - a connection that is open, with nothing read, nothing to be sent and no answer
 * owed
 *
 * The one that was given back last; if there is none, a dial; at max_open, the longest waiter is
 * served first. *ret is a reference, without handlers, on this poller.
 *
 * Thread: fiber. May park: yes. Lifetime: until np_pool_put() or np_pool_drop() takes it back.
 * Return: 0; -ETIMEDOUT: wait_ms, or the fiber's deadline; -EPERM: this is no poller of the pool's;
 *         -ECANCELED, -NP_ENOTFIBER; what np_dial() says.
 */
NP_API int np_pool_get(struct np_pool *pool, struct np_conn **ret);
/*
 * np_pool_put() - the exchange on *c is over: the next caller may have it
 *
 * To be said once the last byte of the last answer has been taken. It is kept where
 * np_conn_reusable() would return 0, fewer than max_idle lie idle and no stop has begun; otherwise
 * it is closed. Timeouts and deadlines that were set are forgotten; other settings stay.
 *
 * Thread: owner. May park: no. Lifetime: takes the reference.
 * Return: 0: *c is NULL; -EINVAL: not of this pool, or given back already: *c stays.
 */
NP_API int np_pool_put(struct np_pool *pool, struct np_conn **c);
/*
 * np_pool_drop() - give a connection back that is not to be used again
 *
 * It is closed as by np_conn_close(), if it has not ended already: the way out of every error.
 * Thread, May park, Lifetime, Return: as np_pool_put().
 */
NP_API int np_pool_drop(struct np_pool *pool, struct np_conn **c);
/*
 * np_conn_reusable() - whether np_pool_put() could keep it; or why not
 *
 * Not where an answer may still come: a verb has failed on @c since np_pool_get() (timed out,
 * cancelled, too long ...), the last byte that moved went out, something is unread or unsent, it is
 * held or paused, or another fiber is inside. So a protocol whose requests are not answered has no
 * use for a pool.
 *
 * Thread: owner. May park: no.
 * Return: 0; -EBUSY; what the verb that failed first returned; -NP_ECLOSED, -NP_EEOF, -ECONNRESET
 *         ...: it has ended, and why; -EINVAL: it is not lent by a pool.
 */
NP_API int np_conn_reusable(struct np_conn *c);

struct np_pool_stats {
	size_t sz;
	uint64_t open, idle, waiting; /* now */
	uint64_t gets, reused, dials;
	uint64_t dial_errors;
	uint64_t died;    /* while idle */
	uint64_t expired; /* idle for idle_ms */
	uint64_t timeouts;
};
NP_OPTS_INIT(np_pool_stats)
/* np_pool_stats() - of all pollers together. Thread: any. May park: no. Return: 0; -EINVAL: ret->sz
 * is not set. */
NP_API int np_pool_stats(const struct np_pool *pool, struct np_pool_stats *ret);

#ifdef __cplusplus
}
#endif
#endif

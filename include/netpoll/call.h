/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * call: many callers, one connection: requests with a number, answers that may come in any order
 *
 * A channel has one connection, which lives on one poller; callers may be on any. What a request
 * and an answer look like is yours: the request carries the number that np_channel_id() gave, and
 * frame() finds it in the answer.
 *
 * An answer that comes after its caller has given up is dropped, and counted; so a number is never
 * given out twice.
 *
 * For every call below, unless it says otherwise: Thread: any. May park: no.
 */
#ifndef NETPOLL_CALL_H
#define NETPOLL_CALL_H

#include <netpoll/client.h>
#include <netpoll/opts.h>
#include <netpoll/pollers.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct np_channel;
struct np_linkbuf;

/* Zero means the default, which is said here; -1 no limit, see opts.h. */
struct np_channel_opts {
	size_t sz;
	/*
	 * Looks at what begins at the next unread byte, with np_conn_peek(): the number of the
	 * answer and how many bytes it has, header included. Consumes nothing. A number that no
	 * caller waits for is skipped.
	 * Thread: fiber. May park: yes. Return: 0; < 0 ends the channel.
	 */
	int (*frame)(struct np_conn *c, uint64_t *ret_id, size_t *ret_len, void *arg);
	void *arg;
	int dial_ms; /* np_dial_opts.timeout_ms */
	bool nagle;  /* likewise */
	/*
	 * Likewise. A channel that waits for answers of a host that has vanished ends by these
	 * alone: a call has its own limit, but the next one would wait for as long.
	 */
	int keepalive_idle_s, keepalive_intvl_s, keepalive_cnt, user_timeout_ms;
};
NP_OPTS_INIT(np_channel_opts)

/*
 * np_channel_dial() - connect, on this poller; @network, @address as np_dial()
 *
 * Thread: fiber. May park: yes. Lifetime: *o is copied; freed by np_channel_free().
 * Return: 0; -EINVAL: no frame(); what np_dial() says.
 */
NP_API int np_channel_dial(const char *network, const char *address,
			   const struct np_channel_opts *o, struct np_channel **ret);
/* np_channel_id() - a number that was never given out by this channel, from 1 on */
NP_API uint64_t np_channel_id(struct np_channel *ch);
/*
 * np_call() - send *request, wait for the answer that bears @id
 *
 * The whole answer, as frame() measured it, is *ret_answer. The request need not be flushed: all of
 * it is sent. *request is taken, and NULL, where it was sent: on 0, -ETIMEDOUT, -ECANCELED, and
 * where the connection ended afterwards. It stays on -EAGAIN, -EEXIST, -NP_ENOTFIBER, -EINVAL,
 * -NP_ETOOLONG, and where the connection had ended before; so np_linkbuf_free() after a call that
 * failed is right in any case.
 *
 * Thread: any; a thread that is no poller's is blocked. May park: yes. @ms 0, -1: no limit.
 * Return: 0; -ETIMEDOUT; -ECANCELED; -EEXIST: a caller waits for this number; -EAGAIN: too much is
 *         queued for the peer; -NP_ETOOLONG: the request has more than 2 GiB; -NP_ECLOSED,
 *         -NP_EEOF, -ECONNRESET ...: the connection has ended, and why; -NP_ENOTFIBER; -EINVAL.
 */
NP_API int np_call(struct np_channel *ch, uint64_t id, struct np_linkbuf **request, int ms,
		   struct np_linkbuf **ret_answer);
/* np_channel_error() - whether it may be called on. Return: 0; else why not, as np_conn_error(). */
NP_API int np_channel_error(struct np_channel *ch);
/*
 * np_channel_conn() - the connection: for its settings, addresses and np_conn_error()
 *
 * Its input and output are the channel's. What may be asked of it on which thread, conn.h says.
 * Lifetime: until np_channel_free(); np_conn_ref() for longer.
 */
NP_API struct np_conn *np_channel_conn(struct np_channel *ch);
/* np_channel_dropped() - answers that no caller waited for. Return: the count. */
NP_API uint64_t np_channel_dropped(struct np_channel *ch);
/*
 * np_channel_free() - end the connection; the callers get -NP_ECLOSED
 *
 * Thread: any; none may be about to call np_call(), the memory goes with the last call that is
 * inside. May park: no.
 * Return: 0: *ch is NULL.
 */
NP_API int np_channel_free(struct np_channel **ch);

#ifdef __cplusplus
}
#endif
#endif

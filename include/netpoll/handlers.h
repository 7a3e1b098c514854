/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * handlers: what the library calls for a connection
 *
 * Order for each connection: on_prepare, on_connect, on_request any number of times,
 * on_disconnect at most once, close callbacks, on_close exactly once.
 */
#ifndef NETPOLL_HANDLERS_H
#define NETPOLL_HANDLERS_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct np_conn;

struct np_handlers {
	size_t sz;
	/* Owner, before registration. Nonzero refuses: no further callback. May park: no. */
	int (*on_prepare)(struct np_conn *c, void *arg);
	/* Fiber, once, before any on_request; the server may speak first. < 0 closes. */
	int (*on_connect)(struct np_conn *c, void *arg);
	/*
	 * Fiber, one at a time for each connection, called while there is input and it makes progress;
	 * one that returns without consuming anything is called again when new bytes arrived, or once
	 * more at EOF. < 0 closes; 0 goes on; > 0 is reserved.
	 */
	int (*on_request)(struct np_conn *c, void *arg);
	/*
	 * Owner. FIN or reset by the peer, never this side's own close; never before on_connect ended; may
	 * interleave with a parked on_request. np_conn_error() says which. May park: no.
	 */
	void (*on_disconnect)(struct np_conn *c, void *arg);
	/* Owner, exactly once, last; no fiber is inside; fd still open, input still readable. May park: no. */
	void (*on_close)(struct np_conn *c, void *arg);
};

#ifdef __cplusplus
}
#endif
#endif

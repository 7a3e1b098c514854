/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * handlers: what the library calls for a connection
 *
 * Which handler may run depends on where the connection stands. At most one runs or waits on its
 * fiber at a time; on_disconnect alone may come while on_request waits.
 *
 *   state        handlers that run in it                 leaves it by
 *   new          on_prepare                              0 -> connecting;
 *                                                        nonzero -> gone, no further handler;
 *                                                        0 after np_conn_close() -> closing;
 *                                                        0 after np_conn_abort() -> ended
 *   connecting   on_connect, once                        returned -> open;
 *                                                        < 0, close, abort -> closing
 *   open         on_request, while it makes progress;    FIN, all input handled, output drained,
 *                on_disconnect, once the peer has left   no hold, not half_open -> ended;
 *                                                        reset or receive error, handled -> ended;
 *                                                        < 0, close, idle timeout -> closing;
 *                                                        abort -> ended
 *   closing      none begins; verbs that wait return     flushed output sent, FIN,
 *                -NP_ECLOSED                             the peer's FIN -> ended;
 *                                                        linger_ms, send error, abort -> ended
 *   ended        waits until no fiber is inside; then    done -> gone
 *                close callbacks, newest first, and
 *                on_close: each once, fd still open
 *   gone         none; np_conn_error() and the like      last np_conn_unref() -> freed
 *                still answer
 *
 * on_disconnect is for the peer's leaving only, before this side closed: never after a close of
 * one's own, never before on_connect has ended, never after a close callback.
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
	/*
	 * Owner, before registration. Nonzero refuses: no further callback. What may be done with
	 * the connection here says conn.h: settings and references; nothing can be read or written
	 * yet (-NP_ENOTOPEN). May park: no.
	 */
	int (*on_prepare)(struct np_conn *c, void *arg);
	/* Fiber, once, before any on_request; the server may speak first. < 0 closes. */
	int (*on_connect)(struct np_conn *c, void *arg);
	/*
	 * Fiber, one at a time for each connection, called while there is input and it makes
	 * progress; one that returns without consuming anything is called again when new bytes
	 * arrived, or once more at EOF. < 0 closes; 0 goes on; > 0 is reserved.
	 */
	int (*on_request)(struct np_conn *c, void *arg);
	/*
	 * Owner. FIN or reset by the peer, never this side's own close; never before on_connect
	 * ended; may interleave with a parked on_request. np_conn_error() says which. May park: no.
	 */
	void (*on_disconnect)(struct np_conn *c, void *arg);
	/* Owner, exactly once, last; no fiber is inside; fd still open, input still readable. May
	 * park: no. */
	void (*on_close)(struct np_conn *c, void *arg);
};

#ifdef __cplusplus
}
#endif
#endif

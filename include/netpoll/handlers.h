/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * handlers: what the library calls for a connection
 *
 * Which handler may run depends on where the connection stands. At most one runs or waits on its
 * fiber at a time; on_disconnect and on_drain alone may come while on_request waits.
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
 * on_drain belongs to no state: of a server that drains it comes once, to a connection that is
 * connecting when on_connect has returned, and never to one that is closing.
 *
 * on_disconnect is for the peer's leaving only, before this side closed: never where a close of
 * one's own was first, never before on_connect has ended, never after a close callback. It comes at
 * the end of the turn: a handler that closes because it has met the peer's FIN returned before.
 */
#ifndef NETPOLL_HANDLERS_H
#define NETPOLL_HANDLERS_H

#include <netpoll/opts.h>
#include <netpoll/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct np_conn;
struct np_linkbuf;

/*
 * How a frame says its length: by a number of @width bytes, from its byte @at on
 *
 * A frame is @at + @width + @adjust bytes and as many as the number says: with @adjust 0 the number
 * counts what follows it, with -(@at + @width) all of the frame. Four bytes in network order in
 * front of a payload, as in Thrift, Kafka and many an RPC protocol, are { .width = 4 }; HTTP/2 is
 * { .width = 3, .adjust = 6 }, PostgreSQL { .at = 1, .width = 4, .adjust = -4 }.
 */
struct np_framing {
	size_t max; /* the longest frame, all of it; 0: as np_limits.in_max says */
	int32_t adjust;
	uint8_t at, width;  /* a width of 1 to 8; else the handlers are refused: -EINVAL */
	bool little_endian; /* else network order */
};

enum np_handler_flag {
	/*
	 * on_connect and on_request, or a task (np_go_with()), may block, or compute for long. One
	 * that keeps its thread for np_pollers_opts.handoff_ms is left alone with it: the poller
	 * goes on with another thread, and the next verb of the handler waits for its turn. So it
	 * may run beside any other of its poller: what it shares with them is locked or atomic
	 * (doc/threads.md).
	 */
	NP_MAY_BLOCK = 1 << 0,
	/*
	 * on_export answers for holds and references: they do not keep a connection from the next
	 * process. Without it one that is held, or referenced, waits until it is not.
	 */
	NP_EXPORT_HELD = 1 << 1,
};

/*
 * Each may be NULL. "Owner" is the thread of the connection's poller, on its own stack, where it
 * may not park; "fiber" is a fiber there, where it may. @arg is the one given with the handlers.
 */
struct np_handlers {
	size_t sz;
	/*
	 * Before the connection is registered: settings and references; nothing can be read or
	 * written yet (conn.h).
	 * Thread: owner. May park: no. Return: 0; else it is refused, and none is called any more.
	 */
	int (*on_prepare)(struct np_conn *c, void *arg);
	/*
	 * Once, before any on_request; the server may speak first.
	 * Thread: fiber. May park: yes. Return: < 0 closes; else it goes on.
	 */
	int (*on_connect)(struct np_conn *c, void *arg);
	/*
	 * While there is input and it makes progress; one that returns without consuming anything
	 * is called again when new bytes arrived, or once more at the peer's FIN. Input that
	 * another fiber waits for is that fiber's; what it leaves is this handler's.
	 * Thread: fiber, one at a time for each connection. May park: yes.
	 * Return: < 0 closes, and is what np_conn_error() says then; 0 goes on; > 0 is reserved.
	 */
	int (*on_request)(struct np_conn *c, void *arg);
	/*
	 * The peer's FIN or reset, never this side's own close; np_conn_error() says which. May
	 * come while on_request waits.
	 * Thread: owner. May park: no.
	 */
	void (*on_disconnect)(struct np_conn *c, void *arg);
	/*
	 * Exactly once, the last of all; no fiber is inside, the descriptor is still open and the
	 * input readable.
	 * Thread: owner. May park: no. Lifetime: of @c: until it returns, but for references.
	 */
	void (*on_close)(struct np_conn *c, void *arg);
	/*
	 * np_conn_move(): on the poller that it leaves, with @arrived false, before it goes; on the
	 * one it has come to, with true, and that may be the same one: it came back, or something
	 * came up. Never before on_connect has ended. It may close the connection, or take the
	 * request back: then it is not called with true, and neither where the connection has
	 * ended.
	 * Thread: owner. May park: no.
	 */
	void (*on_move)(struct np_conn *c, void *arg, bool arrived);
	/*
	 * The server drains (np_server_drain(), np_server_stop()): for protocols that can say
	 * so unasked, such as HTTP/2's GOAWAY. Once, also for a connection that begins later; never
	 * before on_connect has returned. May come while on_request waits, and then what it sends
	 * by np_conn_send() does not land within what that handler is building.
	 * Thread: owner. May park: no.
	 */
	void (*on_drain)(struct np_conn *c, void *arg);
	/*
	 * np_server_hand_over(): what the next process has to know of it goes into @blob, which the
	 * library frees. Nothing has happened to the connection yet, and it may still go on here:
	 * what belongs to it is given back in on_close, where np_conn_error() is -NP_EMOVED then.
	 * Of a set (np_conn_bind()) both are asked, and both go or neither. Without this handler a
	 * connection stays, to be drained.
	 * Thread: owner. May park: no. Return: 0; -EAGAIN: not now, and it is asked again; < 0: it
	 * stays, and so does the other one of its set.
	 */
	int (*on_export)(struct np_conn *c, void *arg, struct np_linkbuf *blob);
	/*
	 * np_server_take_over(): in the place of on_prepare and on_connect, with what on_export has
	 * written; nothing can be read or written yet. A handler of its own, and a hold, are set
	 * here, if it had one; the dialed one of its set begins here: np_conn_import_mate(). It may
	 * come to nothing after this: the process before ends or does not answer, or on_import
	 * refuses the other one of its set. Then on_close follows, with -NP_EMOVED.
	 * Thread: owner. May park: no. Return: 0; < 0: it goes on where it came from, and none is
	 * called any more.
	 */
	int (*on_import)(struct np_conn *c, void *arg, const void *blob, size_t n);
	unsigned flags; /* enum np_handler_flag */
	/*
	 * In the place of on_request: for each frame of the input, once all of it is here. Until
	 * then the connection holds no stack, and is quiet: it may go to another poller or process
	 * with the part that has come. @frame has all @n bytes, head included, and is consumed.
	 * What is longer than framing.max, or than in_max, is for on_request, if there is one: it
	 * finds the frame in the input, and takes all of it or sets a handler of its own. All input
	 * of a connection that has one (np_conn_set_on_request()) is for that.
	 *
	 * These end the connection, with a line in the log: -EBADMSG: a frame that is shorter than
	 * its head; -NP_ETOOLONG: a longer one, and there is no on_request. Without a line:
	 * -NP_EEOF: the peer's FIN comes in the middle of a frame.
	 *
	 * Thread: as on_request. May park: yes. Lifetime: @frame until np_conn_release(), or until
	 * it returns. Return: as on_request.
	 */
	int (*on_frame)(struct np_conn *c, void *arg, const void *frame, size_t n);
	struct np_framing framing; /* of on_frame */
};
NP_OPTS_INIT(np_handlers)

/* Why a connection is not handed over. New ones come at the end. */
enum np_stays {
	NP_STAYS_HANDLERS, /* they have no on_export */
	NP_STAYS_REFUSED,  /* on_export, on_import or the other process's version says so */
	NP_STAYS_TLS,      /* its state is OpenSSL's; or another filter's */
	NP_STAYS_PIPE,     /* or a tty: no socket */
	NP_STAYS_SET,      /* the other one of its set is another server's, or of a pool */
	NP_STAYS_ENDS,     /* the peer's FIN or reset is here, or a close */
	NP_STAYS_BEGINS,   /* on_connect has not ended; its PROXY header has not come */
	NP_STAYS_HELD,     /* np_conn_hold(), a reference: somebody here counts on it */
	NP_STAYS_AT_WORK,  /* a handler, a verb that waits, or more than fits a message is unsent */
	NP_STAYS_N,
};
/* np_stays_words() - a few words for people. Thread: any. Lifetime: static. Return: never NULL. */
NP_API const char *np_stays_words(enum np_stays why);

#ifdef __cplusplus
}
#endif
#endif

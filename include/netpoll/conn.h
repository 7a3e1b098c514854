/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn: one stream connection, read and written in blocking style
 *
 * A connection belongs to one poller. Verbs marked "owner" are called on that poller's thread: from
 * the connection's handlers, or from another fiber or callback of the same poller. A verb that has
 * to wait parks the calling fiber, never the thread. At most one fiber reads and one fiber writes
 * at a time; a second one gets -NP_ECONCURRENT. Where a verb would have to park and the caller is
 * no fiber (on_prepare, on_disconnect, on_close, np_conn_post), it returns -NP_ENOTFIBER.
 *
 * Unless a verb says otherwise: Thread: owner. May park: no. Return: 0 or a negative status.
 *
 * Peer's FIN ends reading, not writing: what is buffered stays readable, then verbs return
 * -NP_EEOF. After FIN the library closes the connection once on_request has returned, no input is
 * left to handle and the output is drained, unless half_open was set or np_conn_hold() is in force.
 *
 * Before the connection is open, that is in on_prepare: settings, data, references, np_conn_hold(),
 * np_conn_post(), np_conn_close() and np_conn_abort() work; the last two are carried out when
 * on_prepare has returned 0, and then no handler but on_close runs. All that reads or writes,
 * np_conn_send(), np_conn_shutdown_write() and np_conn_detach() return -NP_ENOTOPEN; np_conn_in()
 * and np_conn_out() return NULL. Once it is closing: input that was read before stays readable; a
 * verb that needs more says why the connection ends, and one that writes -NP_ECLOSED. Settings are
 * kept until it is gone. Once it is gone, a reference is still good for all that cannot fail; every
 * other verb returns -NP_ECLOSED (those that read: why it ended), and nothing is attached to it any
 * more. After a detach the descriptor is the caller's: np_conn_fd() is -1 from then on, and
 * settings of the socket return -NP_ECLOSED.
 */
#ifndef NETPOLL_CONN_H
#define NETPOLL_CONN_H

#include <netpoll/opts.h>
#include <netpoll/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct np_conn;
struct np_linkbuf;

/*
 * Bytes that a connection may hold
 *
 * in_high above in_max is -EINVAL; the default of in_high is in_max where that is less.
 */
struct np_limits {
	size_t in_high;   /* 256 KiB: input buffered before reading stops */
	size_t out_high;  /* 1 MiB: output unsent before np_conn_flush() parks */
	size_t in_max;    /* 64 MiB: the longest wait for contiguous bytes */
	size_t send_high; /* 16 MiB: np_conn_send() bytes queued before -EAGAIN; at most 2 GiB */
};

/* ------------------------------------------------------------------ reading */

/*
 * Pointers from next, peek and until stay valid until np_conn_release(), or until on_request
 * returns, which releases what it read. A pointer that has to outlive that needs np_conn_slice().
 *
 * Common to those that wait for bytes. May park: yes, until the bytes are there.
 * Return: 0; -NP_EEOF (FIN and too few bytes left; they stay readable), -ECONNRESET and other
 *         receive errors, -NP_ECLOSED (closed by this side), -NP_EREADTIMEOUT, -NP_ETOOLONG (@n is
 *         over in_max), -ENOBUFS (with the bytes read and not released it would be),
 *         -NP_ECONCURRENT, -NP_ENOTFIBER, -NP_ENOTOPEN, -ENOMEM; as each wait of a fiber
 *         (pollers.h): -ETIMEDOUT (its deadline), -ECANCELED. On error nothing is consumed.
 */
NP_API int np_conn_wait(struct np_conn *c, size_t n); /* until n bytes are buffered */
/* n contiguous bytes, consumed */
NP_API int np_conn_next(struct np_conn *c, size_t n, const void **ret_p);
NP_API int np_conn_peek(struct np_conn *c, size_t n, const void **ret_p); /* not consumed */
NP_API int np_conn_skip(struct np_conn *c, size_t n);
/* Up to and including @delim, at most @max bytes (-NP_ETOOLONG when none is among them; -EINVAL:
 * @max 0). */
NP_API int np_conn_until(struct np_conn *c, char delim, size_t max, const void **ret_p,
			 size_t *ret_n);
/*
 * The same for a delimiter of @n bytes, 1 to 255, such as "\r\n\r\n". Each byte of the input is
 * looked at once, in however many pieces it comes. -EINVAL: another @n.
 */
NP_API int np_conn_until_str(struct np_conn *c, const void *delim, size_t n, size_t max,
			     const void **ret_p, size_t *ret_n);
/* n bytes as a buffer of its own that shares the memory; freed with np_linkbuf_free() on any
 * thread. */
NP_API int np_conn_slice(struct np_conn *c, size_t n, struct np_linkbuf **ret);
/* Like read(2): waits for at least one byte. Return: bytes copied, 0 at EOF, or as above. */
NP_API ssize_t np_conn_read(struct np_conn *c, void *dst, size_t cap);

/* What was read may go; ends the life of its pointers. */
NP_API void np_conn_release(struct np_conn *c);
/* Bytes buffered and not yet consumed. */
NP_API size_t np_conn_len(struct np_conn *c);
/*
 * The input buffer, for np_linkbuf_* reading verbs, or to be emptied by np_conn_append() into a
 * connection of the same poller; what is taken makes room with np_conn_release(). Lifetime: this
 * handler call, and until a fiber waits for input. NULL: no memory, not open, or a fiber waits.
 */
NP_API struct np_linkbuf *np_conn_in(struct np_conn *c);

/*
 * np_conn_want() - do not park: return from on_request now, be called again at @n bytes or EOF
 *
 * For a handler that would wait for a slow peer: it holds no stack meanwhile.
 * Return: 0; -NP_ETOOLONG, -NP_ENOTOPEN, -ENOMEM, why the connection ended.
 */
NP_API int np_conn_want(struct np_conn *c, size_t n);

/* ------------------------------------------------------------------ writing */

/*
 * What is written becomes visible to the peer at np_conn_flush(). Common to all writing verbs:
 * Return: 0; -NP_ECLOSED, -EPIPE after np_conn_shutdown_write(), the error of a failed or timed-out
 *         send (sticky: every later write verb returns it), -NP_ECONCURRENT, -NP_ENOTOPEN, -EINVAL,
 *         -ENOMEM.
 */
/* n contiguous bytes to fill */
NP_API int np_conn_reserve(struct np_conn *c, size_t n, void **ret_p);
/*
 * Of the last np_conn_reserve() keep the first @k bytes. -EINVAL: it had fewer, or something was
 * written, trimmed, committed or flushed since.
 */
NP_API int np_conn_commit(struct np_conn *c, size_t k);
/* keep the first n unflushed bytes */
NP_API int np_conn_trim(struct np_conn *c, size_t n);
NP_API size_t np_conn_pending(struct np_conn *c);                     /* unflushed bytes */
NP_API int np_conn_write(struct np_conn *c, const void *p, size_t n); /* copies */
/*
 * np_conn_printf() - formatted text, straight into the output: printf(3)
 *
 * On a fiber's stack: a long "%f" takes kilobytes of it. Return: also -EILSEQ, -EOVERFLOW: what
 * vsnprintf(3) says; then nothing was written.
 */
NP_API int np_conn_printf(struct np_conn *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* By reference: done(arg) once, when the last reference goes; it may not park or call np_conn_*. */
NP_API int np_conn_write_ref(struct np_conn *c, const void *p, size_t n, void (*done)(void *),
			     void *arg);
/*
 * The same, inserted before the last @remain unflushed bytes: what was reserved for a trailer stays
 * behind it.
 * Return: also -EINVAL when less than @remain is unflushed. A refused call never calls done.
 */
NP_API int np_conn_write_direct(struct np_conn *c, const void *p, size_t n, size_t remain,
				void (*done)(void *), void *arg);
/*
 * Takes *b (sets NULL), zero copy; joins what is being built. What may be given is said at
 * np_linkbuf_append(). -EINVAL: the output of a connection, this one or another; *b is left alone.
 */
NP_API int np_conn_append(struct np_conn *c, struct np_linkbuf **b);
/*
 * The output being built, for np_linkbuf_* writing verbs. np_linkbuf_flush() on it submits nothing.
 * It is not to be read, for its head may be submitted; np_linkbuf_append() does not take it, and
 * np_linkbuf_free() leaves it as it is. Lifetime: this handler call. NULL: where nothing can be
 * written.
 */
NP_API struct np_linkbuf *np_conn_out(struct np_conn *c);

/*
 * np_conn_flush() - submit what was written
 *
 * From the connection's own on_request with further input already buffered, the bytes leave when
 * this dispatch ends: one send for a pipelined batch. In every other case they are sent at once.
 * More than out_high unsent: parks until the kernel drained below it, or the write timeout hits.
 *
 * May park: yes. Return: 0, the writing errors above, -NP_EWRITETIMEOUT; -NP_ENOTFIBER where it
 * would have to park and cannot; -ETIMEDOUT, -ECANCELED (the fiber's deadline, a cancel): in these
 * three the bytes are submitted all the same.
 */
NP_API int np_conn_flush(struct np_conn *c);
/* Flush, and park until the kernel has every byte. Return: as np_conn_flush(). */
NP_API int np_conn_sync(struct np_conn *c);

/*
 * np_conn_sendfile() - flush, then send @n bytes of file @fd from @off on, through no buffer of
 * ours
 *
 * Parks until the kernel has every byte, so @fd may be closed afterwards; the file's own offset
 * does not move. What np_conn_send() brings meanwhile comes behind the file. Reading a file that is
 * not in the page cache blocks the poller's thread: that is sendfile(2).
 *
 * Where an end comes in the middle (a close by anyone, the timeout, a file that is shorter than was
 * said), the peer has been promised bytes that cannot come: the connection will end with RST, so
 * that the peer does not take the part for the whole, and the error sticks.
 *
 * May park: yes. Lifetime: @fd is borrowed for the call.
 * Return: 0; -EINVAL, -EBADF and the like from sendfile(2): nothing of the file was sent, and what
 *         was flushed before it is on its way; -ENODATA: the file was too short; else as
 *         np_conn_sync().
 */
NP_API int np_conn_sendfile(struct np_conn *c, int fd, off_t off, size_t n);

/*
 * np_conn_send() - submit a buffer from any thread
 *
 * FIFO for each sender; spliced behind what was submitted, never into a half-built output. *b need
 * not be flushed: all of it is sent. 0 means taken (*b is NULL); if the connection dies first its
 * memory and done() are given back.
 * Thread: any, with a reference. May park: no.
 * A message above send_high is taken where nothing is queued.
 * Return: 0; -EAGAIN (send_high bytes would be queued), -NP_ECLOSED, -NP_ENOTOPEN, -NP_ETOOLONG (2
 *         GiB), -EINVAL (NULL, or the buffer of a connection: np_conn_in(), np_conn_out()) leave *b
 *         alone.
 */
NP_API int np_conn_send(struct np_conn *c, struct np_linkbuf **b);

/* ------------------------------------------------------------------ life */

/*
 * How a connection ends
 *
 * The rule: a peer that sees FIN has everything that was flushed; a peer that sees RST may have.
 * Flushed bytes that the kernel has not taken when the connection ends, and an abort, make it RST.
 * Otherwise: FIN behind the last byte; then input is read and thrown away, whatever state it was
 * in, until the peer's FIN or until the peer has acknowledged nothing for the linger
 * (np_conn_set_min_rate() says how that is meant); then close(2), behind which the kernel goes on
 * delivering what it has. A peer that still sends then may see RST though it could have had
 * everything. RST behind a FIN reads as a clean end: an abort after np_conn_shutdown_write() is not
 * seen. Unix sockets, pipes and ttys have no RST: np_conn_error() tells, and np_server_stats.cut of
 * a server's.
 *
 *   ends by                  drains, lingers  the peer sees       np_conn_error()    on_disconnect
 *   np_conn_close()          yes, yes         FIN; RST if cut     -NP_ECLOSED        no
 *   a handler returns < 0    yes, yes         FIN; RST if cut     what it returned   no
 *   idle, request timeout    yes, yes         FIN; RST if cut     -ETIMEDOUT         no
 *   no memory for a handler  yes, yes         FIN; RST if cut     -ENOMEM            no
 *   server stop, once served yes, yes         FIN; RST if cut     -NP_ECLOSED        no
 *   read timeout             the verb returns -NP_EREADTIMEOUT, and nothing ends
 *   write timeout            no: the output is dropped, the verb returns; RST at the end
 *                                                                 -NP_EWRITETIMEOUT  no
 *   a file cut in the middle no, no           RST                 why it was cut     no
 *   a message lost: memory   no, no           RST                 -ENOMEM            no
 *   np_conn_abort(), forced  no, no           RST                 -NP_ECLOSED        no
 *   memory_max               no, no           RST                 -ENOBUFS           no
 *   the peer's FIN, all out  done, no         FIN                 -NP_EEOF           yes
 *   the peer's RST           no, no           -                   -ECONNRESET        yes
 *   refused in on_prepare    no, no           FIN; RST where its bytes are unread
 *                                                                 -NP_ECLOSED        no
 *   np_conn_detach()         nothing is sent                      -NP_ECLOSED        no
 *
 * "if cut": the linger ended while flushed bytes were left; then np_conn_error() is
 * -NP_EWRITETIMEOUT where it would be -NP_ECLOSED. on_close runs in each case but the refusal.
 *
 * Where the peer's FIN was first, close(2) alone sends ours: shutdown(2) before it would be one
 * system call more at the commonest of all ends. A child that is forked and has not called exec yet
 * holds the connection too, and our FIN waits for it. np_conn_shutdown_write(), in on_disconnect at
 * the latest, sends it at once. A refusal is close(2) alone, too. Every other FIN, and every RST,
 * waits for no child.
 */
/*
 * np_conn_close() - deliver what was flushed, then end
 *
 * Unflushed output is dropped. Idempotent. Parked fibers wake with -NP_ECLOSED.
 * np_conn_abort() - RST, nothing more is delivered; as soon as no handler is inside and on_close
 * has run.
 * np_conn_shutdown_write() - FIN after what was flushed; reading goes on.
 * Thread: any, with a reference (a handler has one). May park: no. Return: 0; shutdown_write:
 * -NP_ENOTOPEN.
 */
NP_API int np_conn_close(struct np_conn *c);
NP_API int np_conn_abort(struct np_conn *c);
NP_API int np_conn_shutdown_write(struct np_conn *c);

/*
 * np_conn_detach() - take the descriptor out of the library
 *
 * on_close runs; the fd stays open and O_NONBLOCK and is the caller's; *ret_in (may be NULL:
 * dropped) gets what was read and not consumed.
 * Return: 0; -EBUSY with unsent output or another fiber parked; -NP_ECLOSED, -NP_ENOTOPEN, -ENOMEM.
 */
NP_API int np_conn_detach(struct np_conn *c, int *ret_fd, struct np_linkbuf **ret_in);

/* A reference keeps the object, not the connection. Thread: any. */
NP_API struct np_conn *np_conn_ref(struct np_conn *c);
NP_API void np_conn_unref(struct np_conn *c);
/*
 * While held, the peer's FIN does not make the library close, and the idle clock stands still:
 * something is to come. Counts. A peer that vanishes meanwhile is found by keepalive, or by the
 * request timeout.
 */
NP_API void np_conn_hold(struct np_conn *c);
NP_API void np_conn_unhold(struct np_conn *c);
/* fn(c, arg) on the owner's thread, not on a fiber. Thread: any, with a reference.
 * Return: 0; -EINVAL: no fn; -ENOMEM. */
NP_API int np_conn_post(struct np_conn *c, void (*fn)(struct np_conn *, void *), void *arg);
/* Why the connection ended or is ending: 0 while it is well, else a negative status. */
NP_API int np_conn_error(struct np_conn *c);
/* Whether writes may still work. Thread: any (a hint there). */
NP_API bool np_conn_is_active(struct np_conn *c);

/* ------------------------------------------------------------------ settings */

/*
 * Common to the limits below: 0: what the options of its server or dial say; -1: none (opts.h).
 * Return: 0; -EINVAL: below -1; -NP_ECLOSED once the connection is gone.
 */

/*
 * Milliseconds. The read timeout bounds all waits of one verb together. The write timeout bounds
 * the time in which the peer takes nothing of the output (np_conn_set_min_rate()).
 */
NP_API int np_conn_set_read_timeout(struct np_conn *c, int ms);
NP_API int np_conn_set_write_timeout(struct np_conn *c, int ms);
/* CLOCK_MONOTONIC nanoseconds, 0 = none; overrides the timeout; wakes a fiber already waiting.
 * -ENOMEM */
NP_API int np_conn_set_read_deadline(struct np_conn *c, uint64_t mono_ns);
NP_API int np_conn_set_write_deadline(struct np_conn *c, uint64_t mono_ns);
/*
 * No byte in, none acknowledged by the peer for this long, no handler at work and no hold in force:
 * closed with -ETIMEDOUT. A hold stops the clock and np_conn_unhold() starts it anew: an answer
 * that is owed is no idleness.
 */
NP_API int np_conn_set_idle_timeout(struct np_conn *c, int ms);
/*
 * np_conn_set_request_timeout() - a limit for the whole of a request, which a drip cannot stretch
 *
 * Milliseconds from its first byte until on_request has returned and no hold is in force, or until
 * a reply is submitted (np_conn_flush(), np_conn_send()); what a handler leaves of its input, and
 * asks for more of, is the same request. At its end the connection is closed, and np_conn_error()
 * is -ETIMEDOUT.
 * Return: also -ENOMEM.
 */
NP_API int np_conn_set_request_timeout(struct np_conn *c, int ms);
/*
 * np_conn_set_linger() - how long the peer may do nothing behind a close; see "how a connection
 * ends"
 *
 * NP_NOW: what the kernel takes at once is delivered, and nothing is waited for. Return: also
 * -ENOMEM; -EINVAL: below NP_NOW.
 */
NP_API int np_conn_set_linger(struct np_conn *c, int ms);
/*
 * np_conn_set_min_rate() - down to which rate, in bytes a second, a steady reader keeps its
 * connection
 *
 * It acknowledges in steps, for its kernel opens the window only when a part of its buffer is free.
 * Idle timeout, write timeout and linger let it do nothing for their own time and, beyond that, as
 * long as reading what it acknowledged last (512 KiB of it at most) takes at this rate; one that
 * never acknowledged a byte gets one second. It is no bound on the whole: np_deadline() is.
 * -1: a peer that took something may stop for ever. Return: also -ENOMEM.
 */
NP_API int np_conn_set_min_rate(struct np_conn *c, int bytes_per_s);
/*
 * np_conn_set_keepalive(), np_conn_set_user_timeout(), np_conn_set_nagle() - of TCP alone: tcp(7)
 *
 * Seconds, as np_dial_opts has them: @idle_s 0, -1: off; @intvl_s 0: @idle_s; @cnt 0: 3. The user
 * timeout: 0: as long as the kernel tries; -1: the 24 days that it can count. Nagle's algorithm is
 * off unless the options say otherwise.
 *
 * Return: 0; -EINVAL, also for a negative @intvl_s or @cnt; -NP_EUNSUPPORTED: no TCP; -NP_ECLOSED
 * once the descriptor is closed; what setsockopt(2) says.
 */
NP_API int np_conn_set_keepalive(struct np_conn *c, int idle_s, int intvl_s, int cnt);
NP_API int np_conn_set_user_timeout(struct np_conn *c, int ms);
NP_API int np_conn_set_nagle(struct np_conn *c, bool on);
/*
 * np_conn_set_limits() - all four; 0: what the server's, or the dial's, options say
 *
 * Return: 0; -EINVAL: in_high is over in_max; -ENOMEM, -NP_ECLOSED.
 */
NP_API int np_conn_set_limits(struct np_conn *c, const struct np_limits *limits);
NP_API void np_conn_pause_read(struct np_conn *c);
NP_API void np_conn_resume_read(struct np_conn *c);
/*
 * np_conn_cancel_on_leave() - a handler that works for a peer that has left need not go on
 *
 * The waits of the handler, whatever it waits for, then end with -ECANCELED, now and until it has
 * returned: after a reset or a hangup always, after a FIN unless half_open is set, for a peer that
 * shuts its writing side may still want the answer. A peer that has left already counts. To be set
 * in on_prepare, on_connect or the handler; off by default. Return: 0; -NP_ECLOSED.
 */
NP_API int np_conn_cancel_on_leave(struct np_conn *c, bool on);
/* Takes effect at the next call, at once when input is waiting. -ENOMEM. */
NP_API int np_conn_set_on_request(struct np_conn *c, int (*fn)(struct np_conn *, void *),
				  void *arg);
/* LIFO, before on_close, fd still open. Return: 0; -EINVAL: no fn; -NP_ECLOSED after close began;
 * -ENOMEM. */
NP_API int np_conn_add_close_callback(struct np_conn *c, void (*fn)(struct np_conn *, void *),
				      void *arg);
NP_API void np_conn_set_data(struct np_conn *c, void *data);
NP_API void *np_conn_data(struct np_conn *c);
/*
 * np_conn_set_tag() - what the handler that runs is about to do, for log lines about it
 *
 * All routes of a router are one function. Where one keeps the thread (np_pollers_opts.hog_ms), the
 * line names the function, the tag and the connection; each function with each tag is named once a
 * minute. It holds until it is set again, or the next handler begins; a handler that waits keeps
 * it. NULL: none. It costs a store.
 *
 * Thread: owner, in a handler of c. Lifetime: @tag is borrowed until np_pollers_free(): a literal,
 * or a route's name.
 */
NP_API void np_conn_set_tag(struct np_conn *c, const char *tag);
/* Borrowed: not to be closed, read or written. -1 once closed. */
NP_API int np_conn_fd(struct np_conn *c);
/*
 * Looked up at each call. An IPv4 peer of a dual-stack listener is AF_INET, never ::ffff:1.2.3.4.
 * The peer's is known until on_close has returned, also if it has reset the connection, be it
 * before it was accepted. Return: 0; -NP_ECLOSED; what getsockname(2)/getpeername(2) says.
 */
NP_API int np_conn_local_addr(struct np_conn *c, struct sockaddr_storage *ret, socklen_t *ret_len);
NP_API int np_conn_remote_addr(struct np_conn *c, struct sockaddr_storage *ret, socklen_t *ret_len);
/* Index of the owner among its pollers. Thread: any. */
NP_API int np_conn_poller(const struct np_conn *c);

#ifdef __cplusplus
}
#endif
#endif

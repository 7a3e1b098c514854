/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn: one stream connection, read and written in blocking style
 *
 * A connection belongs to one poller. Verbs marked "owner" are called on that poller's thread: from
 * the connection's handlers, or from another fiber or callback of the same poller. A verb that has
 * to wait parks the calling fiber, never the thread. At most one fiber reads and one fiber writes
 * at a time; a second one gets -NP_ECONCURRENT. Where a verb would have to park and the caller is
 * no fiber (on_prepare, on_disconnect, on_close, np_conn_post()), it returns -NP_ENOTFIBER.
 *
 * For every call below, unless it says otherwise:
 *   Thread:    owner.
 *   May park:  no.
 *   Lifetime:  the caller has the connection: it is in one of its handlers, or has a reference.
 *   Units:     bytes; milliseconds where a name ends in ms or timeout, seconds where it ends in _s.
 *   Failure:   nothing is consumed or written, and ret_x are untouched.
 *
 * The peer's FIN ends reading, not writing: what is buffered stays readable, then verbs return
 * -NP_EEOF. After FIN the library closes the connection once on_request has returned, no input is
 * left to handle and the output is drained, unless half_open was set or np_conn_hold() is in force.
 *
 * Before the connection is open, that is in on_prepare: settings, data, references, np_conn_hold(),
 * np_conn_post(), np_conn_close() and np_conn_abort() work; the last two are carried out when
 * on_prepare has returned 0, and then no handler but on_close runs. All that reads or writes,
 * np_conn_send(), np_conn_shutdown_write() and np_conn_detach() return -NP_ENOTOPEN; np_conn_in()
 * and np_conn_out() return NULL.
 *
 * While its handler is left alone with its thread (NP_MAY_BLOCK, np_blocking()), what another fiber
 * calls to read or to write, np_conn_out() among it, parks until the handler is back, and no longer
 * than the read or write timeout; off a fiber it returns -NP_ECONCURRENT or NULL, and np_conn_in()
 * NULL in either case. What it had flushed goes on its way meanwhile.
 *
 * Once it is closing: input that was read before stays readable; a verb that needs more says why
 * the connection ends, and one that writes -NP_ECLOSED. Settings are kept until it is gone. Once it
 * is gone, a reference is still good for all that cannot fail; every other verb returns -NP_ECLOSED
 * (those that read: why it ended), and nothing is attached to it any more. After a detach the
 * descriptor is the caller's: np_conn_fd() is -1 from then on, and settings of the socket return
 * -NP_ECLOSED.
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
	size_t in_high;   /* 272 KiB: input buffered before reading stops */
	size_t out_high;  /* 1 MiB: output unsent before np_conn_flush() parks */
	size_t in_max;    /* 64 MiB: the longest wait for contiguous bytes */
	size_t send_high; /* 16 MiB: np_conn_send() bytes queued before -EAGAIN; at most 2 GiB */
};

/*
 * Whether connections begin with a header of the PROXY protocol, version 1 or 2, in which a load
 * balancer says whose bytes follow (np_server_opts.proxy)
 *
 * The header is read before on_connect, and holds no stack while it is awaited. From then on
 * np_conn_remote_addr() is the client's address, and np_conn_local_addr() the one that the client
 * has connected to; in on_prepare both are still those of the socket. A header that names no client
 * (UNKNOWN, LOCAL, a unix socket's) is taken, and changes neither. TLVs are skipped. The request
 * timeout begins behind it.
 *
 * A connection is refused where its header is missing, garbled, cut or late: no handler but
 * on_close is called, and np_server_stats.proxy_refused counts it. One that ends before it has sent
 * a byte, as a balancer's plain connect check does, ends without being counted.
 */
enum np_proxy_mode {
	NP_PROXY_OFF,      /* what comes first is the first request */
	NP_PROXY_REQUIRED, /* each of them; a source that is not in proxy_from is refused */
	NP_PROXY_MIXED,    /* those of proxy_from; any other is a client of its own */
};

/* ------------------------------------------------------------------ reading */

/*
 * Common to the verbs that wait for bytes, down to np_conn_read()
 *
 * May park: yes, until the bytes are there.
 * Lifetime: pointers that next, peek and until give: until np_conn_release(), or until on_request
 *           returns, which releases what it read. What has to outlive that needs np_conn_slice().
 * Return: 0; -NP_EEOF (FIN, and too few bytes left: they stay readable); -ECONNRESET and other
 *         receive errors (recv(2)); -NP_ECLOSED (closed by this side); -NP_EREADTIMEOUT;
 *         -NP_ETOOLONG (@n is over in_max); -ENOBUFS (with the bytes read and not released it would
 *         be); -NP_ECONCURRENT (another fiber reads); -NP_ENOTFIBER; -NP_ENOTOPEN; -ENOMEM; as each
 *         wait of a fiber (pollers.h): -ETIMEDOUT (its deadline), -ECANCELED.
 */

/* np_conn_wait() - until @n bytes are buffered; consumes nothing */
NP_API int np_conn_wait(struct np_conn *c, size_t n);
/*
 * np_conn_wait_movable() - np_conn_wait() where the connection may go meanwhile
 *
 * For a handler that stays in a loop of reads, at the point where nothing on its stack is of use to
 * another call of it: then the connection is as good as quiet. The wait ends with -NP_EMOVED where
 * it is to go to the next process (np_server_hand_over()), or to another poller (np_conn_move());
 * the handler gives back what it has and returns, -NP_EMOVED or 0. on_request begins anew where it
 * has come to, or here if nothing came of it, as soon as there is input. From a fiber that is not
 * the connection's handler it is np_conn_wait().
 *
 * Return: also -NP_EMOVED.
 */
NP_API int np_conn_wait_movable(struct np_conn *c, size_t n);
/* np_conn_next() - @n contiguous bytes, consumed */
NP_API int np_conn_next(struct np_conn *c, size_t n, const void **ret_p);
/* np_conn_peek() - @n contiguous bytes, which stay to be read */
NP_API int np_conn_peek(struct np_conn *c, size_t n, const void **ret_p);
/* np_conn_skip() - consume @n bytes unread */
NP_API int np_conn_skip(struct np_conn *c, size_t n);
/*
 * np_conn_until() - up to and with the first @delim, consumed, as one contiguous piece
 *
 * @max: the longest acceptable piece, @delim included. Each byte is looked at once, in however many
 *       pieces the input comes.
 * Return: also -NP_ETOOLONG (none within @max, or within in_max); -EINVAL (@max is 0).
 */
NP_API int np_conn_until(struct np_conn *c, char delim, size_t max, const void **ret_p,
			 size_t *ret_n);
/*
 * np_conn_until_str() - np_conn_until() for a delimiter of @n bytes, such as "\r\n\r\n"
 *
 * Lifetime: @delim is borrowed for the call, which may be long.
 * Return: as np_conn_until(); also -EINVAL (@n is 0 or above 255).
 */
NP_API int np_conn_until_str(struct np_conn *c, const void *delim, size_t n, size_t max,
			     const void **ret_p, size_t *ret_n);
/*
 * np_conn_slice() - consume @n bytes into a buffer of their own that shares the memory
 *
 * Lifetime: *ret until np_linkbuf_free(), on any thread, or a call that takes it.
 */
NP_API int np_conn_slice(struct np_conn *c, size_t n, struct np_linkbuf **ret);
/*
 * np_conn_read() - like read(2): waits for at least one byte, copies at most @cap, consumed
 *
 * Return: bytes copied, 2 GiB at most; 0 at the peer's FIN, or where @cap is 0; or as above.
 */
NP_API ssize_t np_conn_read(struct np_conn *c, void *dst, size_t cap);

/* np_conn_release() - what was read may go; ends the life of its pointers */
NP_API void np_conn_release(struct np_conn *c);
/* np_conn_len() - bytes buffered and not yet consumed. Return: the count. */
NP_API size_t np_conn_len(struct np_conn *c);
/*
 * np_conn_in() - the input buffer: for np_linkbuf_* reading verbs, or to be emptied by
 * np_conn_append() into a connection of the same poller
 *
 * What is taken makes room with np_conn_release(). Lifetime: this handler call, and until a fiber
 * waits for input; it is not to be freed or sent. Return: NULL: no memory, not open, or a fiber
 * waits for input.
 */
NP_API struct np_linkbuf *np_conn_in(struct np_conn *c);

/*
 * np_conn_want() - do not park: return from on_request now, be called again at @n bytes or FIN
 *
 * For a handler that would wait for a slow peer: it holds no stack meanwhile. @n 0 is 1.
 * Return: 0; -NP_ETOOLONG (@n is over in_max); -NP_ENOTOPEN; -ENOMEM; why the connection ended.
 */
NP_API int np_conn_want(struct np_conn *c, size_t n);

/* ------------------------------------------------------------------ writing */

/*
 * Common to the verbs that write, down to np_conn_append(): the peer sees it after np_conn_flush()
 *
 * Return: 0; -NP_ECLOSED; -EPIPE (np_conn_shutdown_write() came first); the error of a send that
 *         failed or timed out: -ECONNRESET, -EPIPE, -NP_EWRITETIMEOUT ... (send(2)), from then on
 *         from every verb that writes; -NP_ECONCURRENT (another fiber waits in flush, sync or
 *         sendfile); -NP_ENOTOPEN; -ENOMEM.
 */

/*
 * np_conn_reserve() - @n contiguous bytes to fill; they count as written from now on
 *
 * Lifetime: *ret_p until the flush, commit or trim that follows, or on_close; an end of the
 *           connection, or of its output, does not end it.
 */
NP_API int np_conn_reserve(struct np_conn *c, size_t n, void **ret_p);
/*
 * np_conn_commit() - of the last np_conn_reserve() keep the first @k bytes
 *
 * Return: also -EINVAL: it had fewer, or something was written, trimmed, committed or flushed
 *         since.
 */
NP_API int np_conn_commit(struct np_conn *c, size_t k);
/* np_conn_trim() - of all unflushed bytes keep the first @n. Return: also -EINVAL: fewer. */
NP_API int np_conn_trim(struct np_conn *c, size_t n);
/* np_conn_pending() - bytes written and not flushed. Return: the count. */
NP_API size_t np_conn_pending(struct np_conn *c);
/* np_conn_write() - a copy of @n bytes */
NP_API int np_conn_write(struct np_conn *c, const void *p, size_t n);
/*
 * np_conn_printf() - formatted text, straight into the output; its NUL is not sent: printf(3)
 *
 * On the fiber's stack: a long "%f" takes kilobytes of it.
 * Return: also -EILSEQ, -EOVERFLOW: what vsnprintf(3) says.
 */
NP_API int np_conn_printf(struct np_conn *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/*
 * np_conn_write_ref() - @n bytes of the caller's, not copied
 *
 * Lifetime: @p stays as it is until done(arg), which runs once, when the last reference goes, on
 * whichever thread that is; it may not park or call np_conn_*. NULL: it is not needed. A call that
 * fails never calls it; with @n 0 it runs before this returns.
 */
NP_API int np_conn_write_ref(struct np_conn *c, const void *p, size_t n, void (*done)(void *),
			     void *arg);
/*
 * np_conn_write_direct() - np_conn_write_ref() before the last @remain unflushed bytes
 *
 * What was reserved for a trailer stays behind it.
 * Return: also -EINVAL: less than @remain is unflushed.
 */
NP_API int np_conn_write_direct(struct np_conn *c, const void *p, size_t n, size_t remain,
				void (*done)(void *), void *arg);
/*
 * np_conn_append() - all of *b, flushed or not, behind what is being built; not copied
 *
 * Lifetime: *b is taken, and NULL, on 0; it stays otherwise. What may be given is said at
 * np_linkbuf_append().
 * Return: also -EINVAL: *b is the output of a connection, this one or another.
 */
NP_API int np_conn_append(struct np_conn *c, struct np_linkbuf **b);
/*
 * np_conn_out() - the output being built, for np_linkbuf_* writing verbs
 *
 * np_linkbuf_flush() on it submits nothing. It is not to be read, for its head may be submitted;
 * np_linkbuf_append() does not take it, and np_linkbuf_free() leaves it as it is. Lifetime: this
 * handler call. Return: NULL where nothing can be written.
 */
NP_API struct np_linkbuf *np_conn_out(struct np_conn *c);

/*
 * np_conn_flush() - submit what was written
 *
 * From the connection's own on_connect or on_request with further input already buffered, the bytes
 * leave when this dispatch ends: one send for a pipelined batch. If it does not end, because the
 * handler is left alone with its thread, the thread that goes on in its place sends them first;
 * np_blocking() sends them before. In every other case they are sent at once.
 * More than out_high unsent: parks until the kernel drained below it, or the write timeout hits.
 *
 * May park: yes.
 * Return: 0; as the verbs that write; -NP_EWRITETIMEOUT. And, with the bytes submitted all the
 *         same: -NP_ENOTFIBER where it would have to park; -ETIMEDOUT (the fiber's deadline);
 *         -ECANCELED.
 */
NP_API int np_conn_flush(struct np_conn *c);
/*
 * np_conn_say() - np_conn_write() and np_conn_flush(): a reply of one piece, or its last one
 *
 * May park: yes. Return: as np_conn_write(), and nothing was written; as np_conn_flush().
 */
NP_API int np_conn_say(struct np_conn *c, const void *p, size_t n);
/* np_conn_sync() - flush, and park until the kernel has every byte. Return: as np_conn_flush(). */
NP_API int np_conn_sync(struct np_conn *c);

/*
 * np_conn_sendfile() - flush, then send @n bytes of file @fd from @off on: sendfile(2)
 *
 * Parks until the kernel has every byte, so @fd may be closed afterwards; the file's own offset
 * does not move. What np_conn_send() brings meanwhile comes behind the file. Reading a file that is
 * not in the page cache blocks the poller's thread. The kernel sends the file's pages and no copy:
 * what is written over, or cut off, before the peer has it may come as it is then, or as zeros. A
 * file that is replaced by rename(2) is whole.
 *
 * Where an end comes in the middle (a close by anyone, the timeout, the fiber's deadline or cancel,
 * a file that is shorter than was said), the peer has been promised bytes that cannot come: the
 * connection will end with RST, so that the peer does not take the part for the whole, and the
 * error sticks.
 *
 * May park: yes. Lifetime: @fd is borrowed for the call.
 * Return: 0; -EINVAL, -EBADF and the like from sendfile(2): nothing of the file was sent, and what
 *         was flushed before it is on its way; -ENODATA: the file was too short; else as
 *         np_conn_sync().
 */
NP_API int np_conn_sendfile(struct np_conn *c, int fd, off_t off, size_t n);

/*
 * np_conn_forward() - what has come of @from goes on to @to, another connection of the same poller
 *
 * For the on_request of @from, in a proxy: it flushes @to, parks while @to's peer takes too little,
 * releases what went, and does not wait for more to come. Where the peer of @from has left, all up
 * to its FIN has gone on once 0 is returned; the FIN is the caller's to pass on.
 *
 * Of a flow that is big and lies between two TCP connections the bytes stay in the kernel:
 * splice(2), through a pipe of a bounded pool; where none is to be had they are copied. Then
 * on_request may be called with nothing buffered (np_conn_len() is 0): input has come, and
 * np_conn_forward() is to take it. A handler that does something else is called again, with the
 * bytes. What is in a pipe counts for no limit of the buffers; it is 1 MiB at most.
 *
 * Where both are a set (np_conn_bind()) that is to go to the next process, or to another poller,
 * its wait for @to ends early, as that of np_conn_wait_movable(): what it has taken is in the
 * output of @to, and the handler returns. That does not happen once the peer of @from has left.
 *
 * Where the end of @to comes in the middle, its peer sees RST. May park: yes.
 * Return: 0; -NP_EMOVED; -EINVAL: the same connection, or of another poller; as np_conn_slice() for
 *         @from; as np_conn_sync() for @to.
 */
NP_API int np_conn_forward(struct np_conn *from, struct np_conn *to);

/*
 * np_conn_send() - submit a buffer from any thread
 *
 * FIFO for each sender; spliced behind what was submitted, never into a half-built output. *b need
 * not be flushed: all of it is sent. A message above send_high is taken where nothing is queued.
 *
 * Thread: any, with a reference. Lifetime: *b is taken, and NULL, on 0; it stays otherwise, to be
 *         sent again. If the connection ends first its memory and done() are given back.
 * Return: 0; -EAGAIN: send_high bytes would be queued; -NP_ECLOSED; -EPIPE
 *         (np_conn_shutdown_write() came first); -NP_ENOTOPEN; -NP_ETOOLONG: more than 2 GiB;
 *         -EINVAL: *b is NULL, or a buffer of a connection (np_conn_in(), np_conn_out()).
 */
NP_API int np_conn_send(struct np_conn *c, struct np_linkbuf **b);

/* ------------------------------------------------------------------ TLS */

struct np_tls;

/*
 * np_conn_start_tls() - from here on the connection is read and written through TLS (tls.h)
 *
 * In on_prepare: from its first byte on, instead of what the options of its server or dial say; the
 * handshake begins when on_prepare has returned 0, and on_connect comes when it is over. From a
 * handler, such as that of STARTTLS: what was written goes out first, then this parks until the
 * handshake is over. Bytes that were read and not consumed are taken for the peer's first TLS ones;
 * what np_conn_next() and the like have given is gone. Nobody else may be reading.
 * @host: whom a client talks to, for SNI and for the check of the certificate; a server has none.
 *
 * Where the handshake fails, or is not waited for (the fiber's deadline, a cancel), the connection
 * is closed, and np_conn_error() says what this returns: there is no way back to plain bytes.
 *
 * May park: yes, but for on_prepare. Lifetime: @tls stays until on_close has returned; @host is
 * copied.
 * Return: 0; -EALREADY: it has TLS, or another fiber is starting it; -EINVAL: no @tls;
 *         -NP_EUNSUPPORTED: a pipe or tty; -NP_ETLS, -NP_EVERIFY, -NP_ECUT (status.h); -ETIMEDOUT:
 *         the time for the handshake, or the fiber's deadline; -ECANCELED. Nothing has changed
 *         with: -NP_ECONCURRENT: another fiber reads or waits for output, also one that began while
 *         what was written went out; -NP_ENOTFIBER; -ENOMEM; as np_conn_sync().
 */
NP_API int np_conn_start_tls(struct np_conn *c, struct np_tls *tls, const char *host);

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
 *   server stop, in its time yes, yes         FIN; RST if cut     -NP_ECLOSED        no
 *   read timeout             the verb returns -NP_EREADTIMEOUT, and nothing ends
 *   write timeout            no: the output is dropped, the verb returns; RST at the end
 *                                                                 -NP_EWRITETIMEOUT  no
 *   a file cut in the middle no, no           RST                 why it was cut     no
 *   a message lost: memory   no, no           RST                 -ENOMEM            no
 *   np_conn_abort(), forced  no, no           RST                 -NP_ECLOSED        no
 *   memory_max               no, no           RST                 -ENOBUFS           no
 *   the peer's FIN, all out  done, no         FIN                 -NP_EEOF           yes
 *   with TLS: FIN alone      no, yes          FIN                 -NP_ECUT           yes
 *   the peer's RST           no, no           -                   -ECONNRESET        yes
 *   refused in on_prepare    no, no           FIN; RST where its bytes are unread
 *                                                                 -NP_ECLOSED        no
 *   np_conn_detach()         nothing is sent                      -NP_ECLOSED        no
 *   np_server_hand_over()    nothing: it goes on                  -NP_EMOVED         no
 *
 * A FIN that TLS has not come to, since nothing is read, is -NP_ECUT as well: anybody on the way
 * can send one. Where close_notify is found in front of it later, np_conn_error() is -NP_EEOF from
 * then on.
 *
 * "if cut": the linger ended while flushed bytes were left; then np_conn_error() is
 * -NP_EWRITETIMEOUT where it would be -NP_ECLOSED. on_close runs in each case but the refusal.
 *
 * Where the peer's FIN was first, close(2) alone sends ours: shutdown(2) before it would be one
 * system call more at the commonest of all ends. A child that is forked and has not called exec yet
 * holds the connection too, and our FIN waits for it. np_conn_shutdown_write(), in on_disconnect at
 * the latest, sends it at once. A refusal is close(2) alone, too. Every other FIN waits for no
 * child, nor does an RST, or what a unix socket has in its place.
 */
/*
 * np_conn_close() - deliver what was flushed, then end
 *
 * Unflushed output is dropped. Fibers that wait in it wake with -NP_ECLOSED.
 * Thread: any, with a reference. Return: 0, also when repeated.
 */
NP_API int np_conn_close(struct np_conn *c);
/*
 * np_conn_abort() - RST, and nothing more is delivered
 *
 * As soon as no handler is inside and on_close has run.
 * Thread: any, with a reference. Return: 0, also when repeated.
 */
NP_API int np_conn_abort(struct np_conn *c);
/*
 * np_conn_shutdown_write() - FIN behind what was flushed; reading goes on: shutdown(2)
 *
 * Of a pipe or tty the FIN is its close: one that can only be written ends, another is read on.
 * Thread: any, with a reference. Return: 0, also when repeated; -NP_ENOTOPEN.
 */
NP_API int np_conn_shutdown_write(struct np_conn *c);

/*
 * np_conn_move() - on to another poller of its server, as soon as it is quiet
 *
 * Quiet: on_connect has ended, which a PROXY header or a handshake may be in front of, no handler
 * runs or is due, no fiber waits in a verb, neither side has shut its half. That is at the end of
 * this turn, or of a later one; until then the last call counts, and one to the poller it is on
 * takes the request back. The object, its references, settings, data, buffered input and unsent
 * output go along, and what other threads have sent, posted or asked for reaches it in their order.
 * Only a connection whose handlers have on_move, which is called on both sides: what else belongs
 * to it (timers, tasks, tables of a poller) is known to the user alone. Where the other poller
 * closes, has its share of max_conns, or no memory for it, it comes back. A stop that has begun to
 * close ends all moves.
 *
 * Thread: owner. May park: no.
 * Return: 0; -NP_EUNSUPPORTED: no on_move, or no server's connection, nor in a set with one, or of
 *         a pool; -EINVAL: no such poller; -ECANCELED: the server closes; -NP_ENOTOPEN;
 *         -NP_ECLOSED; where it, or the other one of its set, ends, or its peer is known to have
 *         left: what np_conn_error() says; -ENOMEM.
 */
NP_API int np_conn_move(struct np_conn *c, int poller);
/*
 * np_conn_bind() - two connections of one poller are a set: they move as one, or not at all
 *
 * Such as the two sides of a proxy. np_conn_move() of either asks for both, and both go at the end
 * of a turn in which both are quiet; on_move is called for each. One of the two may be a dialed
 * connection, whose handlers then have an on_move, too. np_server_hand_over() takes both likewise,
 * where both have on_export; in the next process the dialed one begins with np_conn_import_mate(),
 * and they are a set there. The set ends with either connection, and where @other is NULL. What was
 * asked of them before is forgotten.
 *
 * Return: 0, also when repeated; -EINVAL: @other is @c, or of another poller; -EBUSY: one is in
 *         another set, or the handler of one is left alone (NP_MAY_BLOCK); -NP_ECLOSED; -ENOMEM.
 */
NP_API int np_conn_bind(struct np_conn *c, struct np_conn *other);
/*
 * np_conn_detach() - take the descriptor out of the library
 *
 * on_close runs; the descriptor stays open and O_NONBLOCK. *ret_in (@ret_in may be NULL: dropped)
 * gets what was read and not consumed; NULL where that is nothing.
 *
 * Lifetime: *ret_fd is the caller's to close, *ret_in to free.
 * Return: 0; -EBUSY: output is unsent, another fiber waits in it, or its handler is left alone with
 *         its thread; -NP_EUNSUPPORTED: it has TLS;
 *         -NP_ECLOSED, -NP_ENOTOPEN, -ENOMEM.
 */
NP_API int np_conn_detach(struct np_conn *c, int *ret_fd, struct np_linkbuf **ret_in);

/*
 * np_conn_ref(), np_conn_unref() - a reference keeps the object, not the connection
 *
 * A handler needs none. Thread: any; to take one, with one. Return of ref: @c.
 */
NP_API struct np_conn *np_conn_ref(struct np_conn *c);
NP_API void np_conn_unref(struct np_conn *c);
/*
 * np_conn_hold(), np_conn_unhold() - something is to come: an answer from elsewhere
 *
 * While held, neither the peer's FIN nor a stop that begins makes the library close, and the idle
 * clock stands still.
 * Counts. A peer that vanishes meanwhile is found by keepalive, or by the request timeout.
 */
NP_API void np_conn_hold(struct np_conn *c);
NP_API void np_conn_unhold(struct np_conn *c);
/*
 * np_conn_post() - call fn(c, arg) on the owner's thread, not on a fiber
 *
 * Whatever becomes of the connection meanwhile. What one thread posts runs in its order.
 * Thread: any, with a reference. Lifetime: it takes a reference until fn has returned.
 * Return: 0; -EINVAL: no fn; -ENOMEM.
 */
NP_API int np_conn_post(struct np_conn *c, void (*fn)(struct np_conn *, void *), void *arg);
/*
 * np_conn_error() - why the connection ended, or is ending
 *
 * Return: 0 while it is well; a status, see the table above: from the moment on in which a verb
 *         says that the peer has left.
 */
NP_API int np_conn_error(struct np_conn *c);
/*
 * np_conn_draining() - whether its server drains: the answer is to be the last on this connection
 *
 * "Connection: close", GOAWAY, or what the protocol has; then np_conn_close(). True from a moment
 * after np_server_drain() or np_server_stop() on; of a connection that was dialed, or is gone,
 * false. on_drain (handlers.h) tells without being asked.
 */
NP_API bool np_conn_draining(const struct np_conn *c);
/* np_conn_is_active() - whether writes may still work. Thread: any (elsewhere than on the owner's
 * a hint). Return: true or false. */
NP_API bool np_conn_is_active(struct np_conn *c);

/* ------------------------------------------------------------------ settings */

/*
 * Common to the limits of time, down to np_conn_set_min_rate(): 0: what the options of its server
 * or dial say; -1: none (opts.h)
 *
 * Return: 0; -EINVAL: below -1; -NP_ECLOSED: the connection is gone; -ENOMEM.
 */

/* np_conn_set_read_timeout() - for all waits of one verb together */
NP_API int np_conn_set_read_timeout(struct np_conn *c, int ms);
/* np_conn_set_write_timeout() - for how long the peer may take nothing of the output, where a verb
 * waits for that; np_conn_set_min_rate() says how it is meant */
NP_API int np_conn_set_write_timeout(struct np_conn *c, int ms);
/*
 * np_conn_set_read_deadline(), np_conn_set_write_deadline() - a moment instead of the timeout
 *
 * @mono_ns: nanoseconds of CLOCK_MONOTONIC (clock_gettime(2)); 0: none. A fiber that waits already
 * obeys, too. Setting the timeout ends it. What was late says so as the timeout does.
 * Return: 0; -NP_ECLOSED: the connection is gone; -ENOMEM.
 */
NP_API int np_conn_set_read_deadline(struct np_conn *c, uint64_t mono_ns);
NP_API int np_conn_set_write_deadline(struct np_conn *c, uint64_t mono_ns);
/*
 * np_conn_set_idle_timeout() - close it with -ETIMEDOUT where nothing happens for so long
 *
 * No byte in, none acknowledged by the peer, no handler at work and no hold in force. A hold stops
 * the clock and np_conn_unhold() starts it anew: an answer that is owed is no idleness.
 */
NP_API int np_conn_set_idle_timeout(struct np_conn *c, int ms);
/*
 * np_conn_set_request_timeout() - a limit for the whole of a request, which a drip cannot stretch
 *
 * From its first byte until on_request has returned and no hold is in force, or until a reply is
 * submitted (np_conn_flush(), np_conn_sendfile(), np_conn_send()); what a handler leaves of its
 * input, and asks for more of, is the same request. At its end the connection is closed, and
 * np_conn_error() is -ETIMEDOUT.
 */
NP_API int np_conn_set_request_timeout(struct np_conn *c, int ms);
/*
 * np_conn_set_linger() - how long the peer may do nothing behind a close; see "how a connection
 * ends"
 *
 * NP_NOW: what the kernel takes at once is delivered, and nothing is waited for. Also while it is
 * closing. Return: as above; -EINVAL: below NP_NOW.
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
 * -1: a peer that took something may stop for ever.
 */
NP_API int np_conn_set_min_rate(struct np_conn *c, int bytes_per_s);
/*
 * np_conn_set_limits() - all four; 0 in a field: what the options of its server or dial say
 *
 * Return: 0; -EINVAL: in_high is over in_max; -NP_ECLOSED: its descriptor is closed; -ENOMEM.
 */
NP_API int np_conn_set_limits(struct np_conn *c, const struct np_limits *limits);
/*
 * np_conn_set_keepalive(), np_conn_set_user_timeout(), np_conn_set_nagle() - of TCP alone: tcp(7)
 *
 * As np_dial_opts has them. @idle_s 0, -1: off; @intvl_s 0: @idle_s; @cnt 0: 3. The user timeout:
 * 0: as long as the kernel tries; -1: the 24 days that it can count. Nagle's algorithm is off
 * unless the options say otherwise.
 *
 * Return: 0; -EINVAL: below -1, @intvl_s or @cnt below 0; -NP_EUNSUPPORTED: no TCP; -NP_ECLOSED:
 *         its descriptor is closed; what setsockopt(2) says.
 */
NP_API int np_conn_set_keepalive(struct np_conn *c, int idle_s, int intvl_s, int cnt);
NP_API int np_conn_set_user_timeout(struct np_conn *c, int ms);
NP_API int np_conn_set_nagle(struct np_conn *c, bool on);
/*
 * np_conn_pause_read(), np_conn_resume_read() - take nothing more from the kernel, so that TCP
 * holds up the peer; go on
 *
 * Does not count. What is buffered stays readable; once it is closing, neither does anything.
 */
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
/*
 * np_conn_set_on_request() - another handler for this connection, with an arg of its own
 *
 * From the next call on, which comes at once when input is waiting. NULL: that of
 * its server or dial again. Return: 0; -NP_ECLOSED: the connection is gone; -ENOMEM.
 */
NP_API int np_conn_set_on_request(struct np_conn *c, int (*fn)(struct np_conn *, void *),
				  void *arg);
/*
 * np_conn_add_close_callback() - call fn(c, arg) when the connection has ended
 *
 * The newest first, before on_close, with the descriptor still open; on the poller's own stack.
 * Return: 0; -EINVAL: no fn; -NP_ECLOSED: a close has begun; -ENOMEM.
 */
NP_API int np_conn_add_close_callback(struct np_conn *c, void (*fn)(struct np_conn *, void *),
				      void *arg);
/* np_conn_set_data(), np_conn_data() - a pointer of the user's, NULL at first; borrowed */
NP_API void np_conn_set_data(struct np_conn *c, void *data);
NP_API void *np_conn_data(struct np_conn *c);
/*
 * np_conn_set_tag() - what the handler that runs is about to do, for log lines about it
 *
 * All routes of a router are one function. Where one keeps the thread (np_pollers_opts.hog_ms), the
 * line names the function, the tag and the connection; each function with each tag is named once a
 * minute. It holds until it is set again, or the next handler begins; a handler that waits keeps
 * it. What is asked of a server from outside (observe.h) shows it, too, and of a connection that is
 * held the last one that was set. NULL: none. It costs two stores.
 *
 * Thread: owner, in a handler of c. Lifetime: @tag is borrowed until np_pollers_free(): a literal,
 * or a route's name.
 */
NP_API void np_conn_set_tag(struct np_conn *c, const char *tag);
/* np_conn_fd() - the descriptor. Lifetime: borrowed: not to be closed, read or written. Return: -1
 * once it is closed, or detached. */
NP_API int np_conn_fd(struct np_conn *c);
/*
 * np_conn_local_addr(), np_conn_remote_addr() - getsockname(2), getpeername(2), at each call
 *
 * An IPv4 peer of a dual-stack listener is AF_INET, never ::ffff:1.2.3.4. The peer's is known until
 * on_close has returned, also if it has reset the connection, be it before it was accepted. Where a
 * PROXY header was read (enum np_proxy_mode), both are what it says; getpeername(2) of np_conn_fd()
 * is the balancer's.
 * Return: 0; -NP_ECLOSED: the descriptor is closed; what these calls say (-ENOTSOCK ...).
 */
NP_API int np_conn_local_addr(struct np_conn *c, struct sockaddr_storage *ret, socklen_t *ret_len);
NP_API int np_conn_remote_addr(struct np_conn *c, struct sockaddr_storage *ret, socklen_t *ret_len);
/* np_conn_poller() - the index of the owner among its pollers. Thread: any. */
NP_API int np_conn_poller(const struct np_conn *c);

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * server: listeners on every poller, steered by the kernel, and the handlers of their connections
 *
 *   np_server_new -> np_server_listen (once for each address) -> np_server_start
 *   -> (np_server_drain ->) np_server_stop -> np_server_free
 *
 * From one process to the next: np_server_hand_over in the old one, np_server_take_over in the
 * place of np_server_listen in the new one.
 *
 * For every call below, unless it says otherwise:
 *   Thread:    setup: one thread at a time, and not a poller.
 *   May park:  no; stop blocks the calling thread.
 *   Units:     milliseconds where a name ends in ms.
 *   Failure:   nothing has changed; np_server_error() has the sentence.
 */
#ifndef NETPOLL_SERVER_H
#define NETPOLL_SERVER_H

#include <netpoll/conn.h>
#include <netpoll/handlers.h>
#include <netpoll/opts.h>
#include <netpoll/pollers.h>
#include <netpoll/status.h>
#include <netpoll/steer.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

struct np_server;

#define NP_SERVER_NAME_MAX 19

/* Zero means the default, which is said here; -1 no limit, see opts.h. */
struct np_server_opts {
	size_t sz;

	/* ---- steering, of its TCP addresses: steer.h */
	enum np_steer_mode steer; /* NP_STEER_AUTO, _REQUIRED, _OFF */
	const char *service;      /* pinned service to join; NULL: none, a private program */
	const char *policy;       /* NULL: the service's, or "auto" for a private program */
	/*
	 * Its workers in the service are NAME/poller-0 and so on: at most NP_SERVER_NAME_MAX bytes,
	 * and another in each process that shares the service. NULL: program and process number,
	 * "echo-4711".
	 */
	const char *name;
	/* 100: busy for longer, a poller is passed over. Of a private program */
	int hang_ms;
	/* NP_ON by default: what a hanging poller has queued is handed to others */
	enum np_switch rescue;

	/* ---- connections */
	int backlog; /* 4096; listen(2) cuts it to net.core.somaxconn */
	/*
	 * No limit. Open connections at most, divided among the pollers: one for each at least. A
	 * poller that has its share accepts no more, and steering passes it over where others have
	 * room; new clients wait in the kernel's queue. It goes on when a sixteenth of its share
	 * has been closed.
	 */
	int max_conns;
	bool half_open; /* the peer's FIN alone does not close */
	bool nagle;     /* leave Nagle's algorithm on; by default TCP_NODELAY is set, tcp(7) */

	/*
	 * Off. So many connections a second at most (-1: no limit) go from the poller that has most
	 * to do to the one that has least, by np_conn_move(): connections that have become hot one
	 * beside the other are spread, an even load stays as it is. What a connection takes is the
	 * CPU time of its handlers, reads and writes, or the time for which a handler blocks the
	 * thread; sampled. The handlers need on_move; doc/operations.md says what moves.
	 */
	int rebalance;

	/* ---- time: what each means says the call of conn.h that sets it for a connection */
	int read_timeout_ms;    /* none */
	int write_timeout_ms;   /* none */
	int idle_timeout_ms;    /* none */
	int request_timeout_ms; /* none */
	int linger_ms;          /* 1000; NP_NOW is taken */
	int min_rate;           /* 10240 bytes a second */

	/* ---- the end: np_server_stop(). Both are over at three quarters of its timeout */
	/* 10 000: how long a connection may take that has not been served yet, from the stop on */
	int fresh_ms;
	/* 5000: how long an idle one is waited for, from the drain on */
	int drain_ms;

	/* ---- memory */
	struct np_limits limits; /* of each connection: conn.h */
	/*
	 * No limit. What buffers, waiting handlers and connections may take together, divided among
	 * the pollers: at least a MiB for each. Near it, connections that hold something are not
	 * read for some turns; what is cached goes back; then the connections that hold most
	 * unfinished input or untaken output are reset (-ENOBUFS), until there is room. What TLS
	 * holds for a connection counts, idle as it may be: tls.h has the figures. Not counted:
	 * memory of the handlers' own, buffers that other threads have made, and a message above 4
	 * MiB while it is made contiguous. Servers on the same pollers count each other's.
	 */
	size_t memory_max;

	/* As np_pollers_opts has it, for a server on pollers of its own; those of the caller have
	 * theirs: not used. */
	void (*log)(void *arg, int level, const char *msg);
	void *log_arg;
	const char *observe; /* likewise */

	/* ---- behind a load balancer: enum np_proxy_mode in conn.h; of all its addresses */
	enum np_proxy_mode proxy;
	/*
	 * "10.0.0.0/8, 192.0.2.1, 2001:db8::/32, unix": the sources that are believed; bits behind
	 * a prefix have to be zero. NULL: any, which is right where nobody else can connect: a
	 * peer that sends a header picks the address that the program sees. NP_PROXY_MIXED
	 * needs it.
	 */
	const char *proxy_from;
	int proxy_header_ms; /* 3000: for the whole of a header, from the accept on */

	bool metrics; /* as np_pollers_opts has it, likewise */

	/* NULL: plain. Each connection begins with a TLS handshake: tls.h, np_tls_server_new().
	 * Stays until np_server_free() */
	struct np_tls *tls;
};
NP_OPTS_INIT(np_server_opts)

/*
 * np_server_new() - a server on @p, or on pollers of its own where @p is NULL
 *
 * Lifetime: *h and *o are copied; @arg is passed to every handler. Freed by np_server_free().
 * Return: 0; -EINVAL (no handlers, rebalance without on_move, a number below its least (opts.h),
 *         in_high over in_max, memory_max below a MiB a poller, max_conns below one a poller, a
 *         longer name, a proxy_from that is no list of sources, or none with NP_PROXY_MIXED),
 *         -E2BIG (options of a newer header with fields set), -ENOMEM, and what
 *         np_pollers_start() says.
 */
NP_API int np_server_new(struct np_pollers *p, const struct np_handlers *h, void *arg,
			 const struct np_server_opts *o, struct np_server **ret);

/*
 * np_server_listen() - one address; several for each server
 *
 * @network "tcp", "tcp4", "tcp6", "unix"; @address "1.2.3.4:80", "[::1]:80", ":80" (dual-stack),
 * "/path", "@abstract". Port 0: the first socket picks, its siblings follow; np_server_addr()
 * tells. TCP addresses get a listener for each poller, unix ones one that all pollers share. From
 * here on the kernel queues connections; they are accepted from np_server_start() on.
 *
 * "0.0.0.0:80" and "[::]:80" go together, in either order: IPv4 goes to the first.
 *
 * A dead unix socket of this user, which is not listened on, is replaced. Whatever else is at the
 * path (a file, a symlink, a folder, a live socket, another user's) is left alone: -EADDRINUSE.
 * PATH.lock is made beside it, with mode 0600, and stays: of two servers that start at once one
 * listens. It is held for moments only, here and at the stop, which removes the file if it is still
 * this server's own, whatever folder the process is in by then. A server that knows no such lock
 * may still come in between.
 * Return: 0; -EINVAL, -ENODEV (a zone that is no interface), -EAFNOSUPPORT, -NP_EUNSUPPORTED,
 *         -NP_ERESOLVE (literal addresses only), -EADDRINUSE, -EADDRNOTAVAIL, -EACCES; of a path
 *         and its lock: -ENOENT, -ENOTDIR, -ENAMETOOLONG, and what else bind(2) and open(2) say;
 *         -ENOSPC: workers or groups of the service are used up, or, steered or not, the server has
 *         more than 256 pollers, of which none listens then (unix addresses have no such bound), or
 *         16 TCP addresses; -EBUSY after start; with NP_STEER_REQUIRED
 *         what kept the program away. np_server_error() has the sentence.
 */
NP_API int np_server_listen(struct np_server *s, const char *network, const char *address);
/*
 * np_server_listen_fd() - a listening socket made elsewhere, shared by all pollers
 *
 * Its options stay as they are, other holders accept from it as well: what it accepts here gets
 * TCP_NODELAY each.
 *
 * Lifetime: *fd is taken, and -1, on 0; it stays otherwise.
 * Return: 0; -EINVAL: no listening socket; -NP_EUNSUPPORTED: one of records (SOCK_SEQPACKET);
 *         -EBUSY after start; -ENOMEM; what fcntl(2) says.
 */
NP_API int np_server_listen_fd(struct np_server *s, int *fd);
/*
 * np_server_listen_inherited() - the sockets that systemd hands over: sd_listen_fds(3)
 *
 * Those of LISTEN_FDS, if LISTEN_PID is this process; each is taken as by np_server_listen_fd().
 * The environment stays as it is: once only. Return: how many, 0 where there are none; as
 * np_server_listen_fd(), and then those before it listen already.
 */
NP_API int np_server_listen_inherited(struct np_server *s);
/* np_server_addr() - the address of the @i-th listen call, its port resolved. Return: 0; -EINVAL:
 * there is none. */
NP_API int np_server_addr(struct np_server *s, int i, struct sockaddr_storage *ret,
			  socklen_t *ret_len);
/* np_server_error() - what the last failed call on this server had to say; "" before. Lifetime:
 * until the next call. */
NP_API const char *np_server_error(struct np_server *s);

/*
 * np_server_start() - accept, from now on
 *
 * Return: 0; -EINVAL: no address; -EALREADY: it runs; -ECANCELED: a stop came first, of it or of
 *         the pollers; -ENOMEM; what epoll_ctl(2) says of a listener: then it runs without that
 *         one, and wants np_server_stop(); -ETIMEDOUT: a handler keeps a poller, and the time of a
 *         np_server_stop() is over that came meanwhile: likewise.
 */
NP_API int np_server_start(struct np_server *s);

/*
 * np_server_drain() - new connections go elsewhere, and those that are here learn of it
 *
 * Steering passes over its workers, where the service has others: its other processes, or the next
 * one. What its listeners have queued, and what still comes to them, is accepted and served: a
 * listener that is alone, is shared, or that nothing steers, goes on. From a moment after the call
 * np_conn_draining() is true, and on_drain is called. Nothing is closed: that is the handlers'
 * part, and then np_server_stop()'s.
 *
 * np_server_hand_over() may wait for its successor, or hand over, meanwhile: neither waits for the
 * other, and what is handed over is told of no drain by the next process.
 *
 * Return: 0, also when repeated, and after a stop; -EINVAL: it has not started; -EDEADLK on a
 *         poller's thread.
 */
NP_API int np_server_drain(struct np_server *s);
/*
 * np_server_stop() - drain, serve what came before, then end
 *
 * First np_server_drain(). Connections that are queued then are accepted (up to max_conns), and the
 * listeners close. A connection closes as soon as it has nothing to do, and not before its time:
 *
 *   that was never served   fresh_ms: its first request may be on its way
 *   that has had an answer  drain_ms: the handler can answer its next request, and close, where
 *                           np_conn_draining(); the last closes are spread over a quarter of it
 *   whose request has come  has fresh_ms for the rest
 *   in part
 *   that is at work         no time but the timeout: its handler is inside, or np_conn_hold() is in
 *                           force. One that reads in a loop counts as at work while it waits
 *
 * These closes are the ordinary one, with FIN (conn.h): np_server_stats counts them, and those in
 * which bytes came too late. At @timeout_ms (0, -1: no limit) connections that are left are reset
 * and counted in *ret_forced (may be NULL): their verbs return -NP_ECLOSED, and other waits of
 * their handlers, np_sleep() and the like, -ECANCELED. Before start it makes start fail.
 *
 * A second call, on another thread while one waits, hurries it: the sooner end counts for both.
 *
 * Return: 0, also when repeated; -ETIMEDOUT: handlers still do not return: they are logged with
 *         their addresses, np_server_error() says how many, nothing is freed under them; call
 *         again; -EDEADLK on a poller's thread; -EINVAL: @timeout_ms below -1.
 */
NP_API int np_server_stop(struct np_server *s, int timeout_ms, unsigned *ret_forced);
/*
 * np_server_stop_async() - np_server_stop() on a thread of its own, then @fn with what it returned
 *
 * For handlers and signal loops, which must not block. @fn (may be NULL) is the last that this call
 * does: it may free the server, and signal a thread that waits for the end.
 *
 * Thread: any, a poller's too. Lifetime: @s has to stay until @fn has been called.
 * Return: 0; -EAGAIN, -ENOMEM: no thread could be had, and @fn is not called.
 */
NP_API int np_server_stop_async(struct np_server *s, int timeout_ms,
				void (*fn)(void *arg, int result, unsigned forced), void *arg);
/* Zero means the default, which is said here; -1 no limit. */
struct np_hand_over_opts {
	size_t sz;
	/* 30 000: for the next process to come, and to be able to serve; one that has come has a
	 * second at least */
	int come_ms;
	int work_ms; /* 10 000: from then on, for connections that are at work */
	/* 1000: for each answer of the next process, connections wait so long; and for a poller
	 * that a handler, or on_export, keeps: what is there goes on here */
	int answer_ms;
};
NP_OPTS_INIT(np_hand_over_opts)

struct np_handed_over {
	size_t sz;
	unsigned addresses; /* 0: the next process did not get so far, and nothing has changed */
	uint64_t handed;    /* connections that are the next process's; of a set, not the dialed */
	uint64_t refused;   /* that its on_import, or its version, did not take: they are here */
	uint64_t busy;      /* that were at work to the end, or may not go now: likewise */
	uint64_t stays;     /* without on_export, TLS, a pipe, refused as above: not to go at all */
	uint64_t because[NP_STAYS_N]; /* busy and stays together, at the last look: handlers.h */
};
NP_OPTS_INIT(np_handed_over)

/*
 * np_server_hand_over() - to the next process: what it listens on, then its connections
 *
 * @where: "fd:N", a unix stream socket whose other end the next process has (N is taken), or a path
 * or "@name" to wait at. The process at the other end has to be of this user, or of root; another
 * one is refused, and the wait goes on.
 *
 * First the listeners, all of them: nothing that waits in their queues is lost, and none is ever
 * closed or shut. Then each connection whose handlers have on_export (handlers.h), as soon as it is
 * quiet: no handler runs or is due, no verb waits (but in np_conn_wait_movable(), or between two of
 * a set in np_conn_forward()), no hold is in force and nobody has a reference (or on_export answers
 * for them: NP_EXPORT_HELD). Of a set (np_conn_bind()) both go, or neither; a dialed one goes with
 * its server's connection alone. What was read and not consumed, what was not sent, FINs that came
 * or went, settings and what is left of its times go along; no peer sees a reset or FIN. Here such
 * a connection ends with on_close and -NP_EMOVED. The others are served on, and end with the
 * np_server_stop() that is to follow.
 *
 * A connection belongs to this process until it has heard that the next one can serve it, and has
 * said so: where that one dies or does not answer in time, it goes on here; what it had been told
 * by then dies with it. If this process dies, what the next one was not told of is lost.
 *
 * *ret (may be NULL; sz set) is filled in any case.
 *
 * Thread: any but a poller's; it blocks. A np_server_stop() meanwhile ends it, a np_server_drain()
 * does not: it goes on.
 * Return: 0; and what it listened on is this server's no more: -EPIPE, -ETIMEDOUT, -EPROTO and
 *         others, with ret->addresses set: the next process ended in the middle. Without, nothing
 *         has changed: those, and -ECANCELED (np_server_stop() came while it waited),
 *         -ETIMEDOUT (or a handler keeps one of its pollers), -EPROTONOSUPPORT (another version),
 *         -EACCES (another user), -ECONNREFUSED (it has refused), -EINVAL (options, no such socket,
 *         it does not run, the next one has not as many pollers), -EALREADY, -EDEADLK, -ENOMEM.
 */
NP_API int np_server_hand_over(struct np_server *s, const char *where,
			       const struct np_hand_over_opts *o, struct np_handed_over *ret);
/*
 * np_server_take_over() - from the process before, in the place of np_server_listen()
 *
 * @where: as there; at a path it waits until that process does. From here on it has the listeners,
 * and accepts from them from np_server_start() on, where the process before lets go of them. Its
 * connections come after that, by themselves, each to the poller of the same number; they begin
 * with on_import in the place of on_prepare and on_connect. Where listeners are steered it has to
 * have as many pollers. Its workers are new ones, with counters of their own; between the two
 * processes, for a moment, the kernel's hash picks.
 *
 * np_server_start() then also returns what this does: the process before serves on.
 *
 * @timeout_ms: until the process before is there, and has said what it has, for which it has a
 * second at least; 0, -1: no limit.
 * Return: how many addresses; -ENOENT, -ECONNREFUSED (nobody waits there, or it refuses), -EACCES,
 *         -EPIPE, -ETIMEDOUT, -EPROTO, -EPROTONOSUPPORT, -EMSGSIZE, -EBADMSG: nothing has changed;
 *         -EBUSY: it listens already; -EINVAL; -EDEADLK; -ENOMEM; as np_server_listen().
 */
NP_API int np_server_take_over(struct np_server *s, const char *where, int timeout_ms);
/*
 * np_server_free() - give it back, with pollers of its own
 *
 * Return: 0: *s is NULL; -EBUSY: it is neither stopped nor never started, or on pollers of its own
 *         handlers are left, or a reference to a connection is held: *s stays.
 */
NP_API int np_server_free(struct np_server **s);

struct np_server_stats {
	size_t sz;
	uint64_t accepted, closed, conns; /* over all pollers */
	unsigned pollers;
	uint64_t at_limit; /* how often a poller had its share of max_conns */
	/* connections that waited to be accepted and were reset: no descriptors for a second */
	uint64_t shed;
	uint64_t memory_closed; /* reset at memory_max */
	/* on_connect and on_request that returned < 0, the peer's leaving apart */
	uint64_t handler_errors;
	/* ended with flushed bytes that the kernel had not taken: TCP peers saw RST */
	uint64_t cut;
	uint64_t moved; /* came from another poller, np_conn_move(), or process */
	/*
	 * Closed by the stop: at the end of drain_ms, of fresh_ms; and those of both whose peer
	 * sent something that came too late: it saw EOF in place of an answer.
	 */
	uint64_t drained, fresh, raced;
	uint64_t rebalanced; /* moves that rebalance has asked for */
	uint64_t proxied;    /* PROXY headers that were taken */
	/* connections whose header was missing, garbled, cut or late, or whose source may send none
	 */
	uint64_t proxy_refused;
	/* np_server_hand_over(): went to the next process; np_server_take_over(): came from the one
	 * before, and are in @moved, too */
	uint64_t handed_over, taken_over;
};
NP_OPTS_INIT(np_server_stats)
/*
 * Common to the five calls below: they may be made beside any other but np_server_free(), and after
 * the stop they say what was then. Thread: any. May park: no.
 */
/* np_server_stats() - over all pollers. Return: 0; -EINVAL: ret->sz is not set. */
NP_API int np_server_stats(struct np_server *s, struct np_server_stats *ret);
/* np_server_poller_stats() - accepted by, and open on, one poller. Return: 0; -EINVAL: there is no
 * such poller. */
NP_API int np_server_poller_stats(struct np_server *s, int poller, uint64_t *ret_accepted,
				  uint64_t *ret_conns);
/* np_server_steering() - how the TCP listeners are steered, and why not better. Return: 0; -EINVAL:
 * ret->sz is not set; -NP_EUNSUPPORTED: no TCP address was listened on yet. */
NP_API int np_server_steering(struct np_server *s, struct np_steer_info *ret);
/* np_server_listener_kind() - of the @i-th listen call: "steered", "shared" (unix, inherited) or
 * "hash"; "" where there is none. Lifetime: static text. */
NP_API const char *np_server_listener_kind(struct np_server *s, int i);
/* np_server_pollers() - the pollers it is on. Lifetime: its own: until np_server_free(). */
NP_API struct np_pollers *np_server_pollers(struct np_server *s);

#ifdef __cplusplus
}
#endif
#endif

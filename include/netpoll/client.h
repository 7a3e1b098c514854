/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * client: connections that no server accepted: dialed, or made of a descriptor
 *
 * They obey the rules of conn.h.
 *
 * What a reader would get wrong: both calls return a reference, which np_conn_close() does not
 * drop: after the close it still wants np_conn_unref().
 *
 * What has come on one without handlers stays to be read by the fiber that has it, whenever that
 * comes to it, and whether or not the peer has left since. Behind the peer's end the connection
 * closes once it has been read to there, or the last reference is given back.
 *
 * np_pollers_stop() closes those with handlers as soon as they have nothing to do; those without
 * belong to the fiber that uses them, and are reset when its waits are cancelled.
 */
#ifndef NETPOLL_CLIENT_H
#define NETPOLL_CLIENT_H

#include <netpoll/conn.h>
#include <netpoll/handlers.h>
#include <netpoll/opts.h>
#include <netpoll/pollers.h>
#include <netpoll/status.h>
#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Zero means the default, which is said here; -1 no limit, see opts.h. */
struct np_dial_opts {
	size_t sz;
	/* for all of it, the name and every address: as long as the kernel tries */
	int timeout_ms;
	/* address to dial from: "10.0.0.1:0", "[fd00::1]:0", for unix "/path", "@name" */
	const char *local;
	/* copied; NULL: none, the caller's fiber uses the verbs */
	const struct np_handlers *handlers;
	void *arg;               /* of the handlers */
	struct np_limits limits; /* of the connection: conn.h */
	bool nagle; /* leave Nagle's algorithm on; by default TCP_NODELAY is set, tcp(7) */
	/*
	 * TCP: how a host that has vanished is noticed, tcp(7). After keepalive_idle_s of silence
	 * it is asked every keepalive_intvl_s, and after keepalive_cnt questions without an answer
	 * the connection ends with -ETIMEDOUT. It is not asked while bytes of ours are on their
	 * way: for those there is user_timeout_ms, after which they must have been acknowledged.
	 * Other networks ignore them.
	 */
	int keepalive_idle_s;  /* never asked */
	int keepalive_intvl_s; /* keepalive_idle_s; -1: -EINVAL */
	int keepalive_cnt;     /* 3; -1: -EINVAL */
	/* as long as the kernel tries, a quarter of an hour or so; -1: 24 days. Where it is set it
	 * counts instead of keepalive_cnt, too */
	int user_timeout_ms;
	/* NULL: plain. A client's (tls.h); stays until the connection's on_close has returned, or
	 * its last reference is given back */
	struct np_tls *tls;
	/* whose certificate it has to be, and what SNI says; NULL: the host of @address */
	const char *tls_host;
};
NP_OPTS_INIT(np_dial_opts)

/*
 * np_dial() - connect to @address, on @poller
 *
 * @network "tcp", "tcp4", "tcp6", "unix"; @address "1.2.3.4:80", "[::1]:80", "name:80", ":80" (this
 * host), "/path", "@abstract". A name is looked up in /etc/hosts and by the name servers, over
 * sockets that the fiber waits for; where nsswitch.conf(5) asks for more, or the library is built
 * without c-ares, by getaddrinfo(3) on a thread that is not one of np_offload()'s, at most 256 at
 * once: then -NP_ERESOLVEAGAIN (doc/clients.md). A lookup that is given up holds up nothing; one
 * over sockets leaves nothing either. Of several addresses each gets 250 ms before the next one is
 * tried beside it, families in turn (RFC 8305); the first to answer wins, and every one is tried. A
 * connection to itself (TCP allows it on a free local port) is none.
 *
 * @p NULL is the set of this poller. @poller is an index, NP_HERE or NP_SPREAD. Elsewhere than here
 * handlers are needed, since only its own poller may touch a connection; on_connect is called
 * there.
 *
 * Thread: fiber; a plain thread dials inside np_run(). May park: yes. Lifetime: *ret is a
 * reference.
 * Return: 0; -NP_EDIALTIMEOUT; -ETIMEDOUT: the fiber's deadline; -NP_ERESOLVE: no such name;
 *         -NP_ERESOLVEAGAIN: no name server had an answer, trying again may help; -ECANCELED: the
 *         pollers stop, or on_prepare refused it; -NP_ENOTFIBER; -NP_EUNSUPPORTED: another
 *         network; -EINVAL: malformed address, no such poller, handlers missing, a number or limit
 *         that is none (opts.h); -EPERM: NP_HERE, but this is no poller of @p; -E2BIG;
 *         -EAFNOSUPPORT, -ENODEV (a zone that is no interface), -ENAMETOOLONG; -ENOMEM, -EMFILE,
 *         -ENFILE; and what connect(2) and bind(2) said of the first address: -ECONNREFUSED,
 *         -ENETUNREACH, -EHOSTUNREACH, -EADDRNOTAVAIL, -ENOENT (unix), -EACCES ...;
 *         with TLS, which is begun and ended within timeout_ms, -NP_ETLS, -NP_EVERIFY, -NP_ECUT.
 */
NP_API int np_dial(struct np_pollers *p, int poller, const char *network, const char *address,
		   const struct np_dial_opts *o, struct np_conn **ret);

/*
 * np_conn_from_fd() - a connection of a descriptor made elsewhere: a socket pair, a pipe, a tty, an
 * accepted socket
 *
 * Taken: *fd is -1 afterwards in every case, and closed where this fails. Made non-blocking, which
 * others that share the open file will notice. @h (copied) may be NULL on this poller only; @p and
 * @poller as np_dial().
 *
 * Thread: any; a thread that is no poller's is blocked. May park: to another poller, yes. Lifetime:
 * *ret is a reference.
 * Return: 0; -ECANCELED: the pollers stop, or on_prepare refused it; -EPERM: a file or folder,
 *         which cannot be waited for, or NP_HERE elsewhere; -ENOTCONN, -EINVAL (a listening socket,
 *         no such poller, handlers missing), -NP_EUNSUPPORTED (no stream), -EBADF, -E2BIG, -ENOMEM,
 *         -ENOSPC, -NP_ENOTFIBER.
 */
NP_API int np_conn_from_fd(struct np_pollers *p, int poller, int *fd, const struct np_handlers *h,
			   void *arg, struct np_conn **ret);

/*
 * np_conn_import_mate() - in the on_import of @c: the dialed one of its set (np_conn_bind()), which
 * came along from the process before
 *
 * It gets the handlers that np_dial() would have given it: @h (copied), with an on_import, which is
 * called at once with what its on_export has written there. Settings and times come with it. What
 * on_import of @c does not ask for goes on in the process before, and so does @c.
 *
 * Thread: owner. May park: no. Lifetime: *ret is a reference.
 * Return: 0; -NP_EUNSUPPORTED: none is to come, or @h has no on_import; what that returned;
 *         -EALREADY: it has come, or @c is in another set; -ECANCELED: the pollers stop; -EINVAL,
 *         -E2BIG: @h; -ENOMEM. After a failure @c cannot come either: its on_import returns it.
 */
NP_API int np_conn_import_mate(struct np_conn *c, const struct np_handlers *h, void *arg,
			       struct np_conn **ret);

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tls: TLS 1.2 and 1.3 below connections, by OpenSSL 3: the library libnetpoll-bpf-tls
 *
 * A context goes into np_server_opts.tls, np_dial_opts.tls, np_pool_opts.tls, or
 * np_conn_start_tls(). Handlers and verbs stay as they are. What is offered: ECDHE with AEAD
 * ciphers; no renegotiation, no compression, no early data. The peer of a client is verified unless
 * that is switched off: chain, time, and name or address.
 *
 * Ends: np_conn_close() and np_conn_shutdown_write() send close_notify, then FIN. The peer's
 * close_notify is its end, and verbs return -NP_EEOF behind it; FIN without it is -NP_ECUT, for
 * anybody on the way can send a FIN. Half-close: after one's own close_notify reading goes on,
 * after the peer's one can still write. RFC 8446 has it so; of RFC 5246 (TLS 1.2) the peer has to
 * close when it gets one, so only ends that know each other should rely on it there.
 *
 * memory_max (server.h) counts what OpenSSL holds for a connection, by figures for OpenSSL 3.0: 8.8
 * kB before the peer's first byte, 45 kB in the handshake, 15 kB open, 17 kB more while a record
 * has come in part; contexts are not counted.
 *
 * Such a connection goes to another poller (np_conn_move()), but not to another process, and
 * np_conn_detach() is -NP_EUNSUPPORTED.
 *
 * The first context switches off OpenSSL's clean-up at exit(3), which would free what pollers that
 * were not stopped work with. OpenSSL lets only its first call in a process do so: a program that
 * calls it before makes that OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL), or stops its
 * pollers before it ends.
 */
#ifndef NETPOLL_TLS_H
#define NETPOLL_TLS_H

#include <netpoll/conn.h>
#include <netpoll/opts.h>
#include <netpoll/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef NP_TLS_API
#define NP_TLS_API __attribute__((visibility("default")))
#endif

struct np_metrics;
struct np_tls;

/* PEM files: the certificate, then those that lead to a root; and its key, without a password. */
struct np_tls_cert {
	const char *cert, *key;
};

/* Whether the peer's certificate is asked for, and has to be a good one. */
enum np_tls_verify {
	NP_TLS_VERIFY_DEFAULT, /* a client's peer: required; a server's: off */
	NP_TLS_VERIFY_OFF,     /* not asked for, or not looked at: then anybody may be in between */
	NP_TLS_VERIFY_OPTIONAL, /* server: without one is fine, a bad one is not */
	NP_TLS_VERIFY_REQUIRED,
};

/* Zero means the default, which is said here; -1 no limit, see opts.h. */
struct np_tls_opts {
	size_t sz;
	/*
	 * A server's: the first is for peers that name no server, or one that no certificate is
	 * for. Two of one name go together where their keys are of two kinds. A client's: one at
	 * most.
	 */
	const struct np_tls_cert *certs;
	int n_certs;
	bool strict_sni; /* a name that no certificate is for gets the alert unrecognized_name */
	/* who is trusted: a file or a folder (PEM); both NULL: the system's */
	const char *ca_file, *ca_path;
	enum np_tls_verify verify;
	/* names of protocols, the most wanted first, then NULL. A server that shares none with its
	 * peer sends the alert no_application_protocol. NULL: not asked */
	const char *const *alpn;
	int handshake_ms; /* 10 000 */
	/*
	 * 1000: handshakes whose signature takes longer than so many microseconds (measured when a
	 * key is loaded: RSA of 4096 bits does, of 2048 bits and P-256 do not) go to a worker of
	 * np_offload(), but for those that go on with a ticket. -1: none goes.
	 */
	int offload_us;
	/*
	 * Sessions go on by tickets. Their keys come from a secret and the time, and change by
	 * themselves; the file has at least 32 random bytes, which are to stay secret: processes
	 * that have the same file take each other's tickets, also after a restart. It is the
	 * user's own or root's, and nobody else may write it. NULL: a random secret.
	 */
	const char *ticket_file;
	int ticket_s; /* 7200: for how long a session can go on; -1: -EINVAL */
	bool no_tickets;
	/* where one sentence goes that says why a call fails which makes a context; may be NULL */
	char *error;
	size_t error_size;
	/*
	 * 4096: how many handshakes of a server may be under way at once, those that have sent
	 * nothing yet included. Another one gets the alert internal_error at once, and costs no
	 * memory of OpenSSL's. -1: no limit.
	 */
	int max_handshakes;
};
NP_OPTS_INIT(np_tls_opts)

/*
 * np_tls_server_new(), np_tls_client_new() - a context, from files that are read now
 *
 * Thread: any. May park: no; it reads files, and signs with each key a few times.
 * Lifetime: *o is copied; until np_tls_free(), after all that it was given to.
 * Return: 0; -NP_ETLS: a file that cannot be read, or is none (a FIFO, a folder), a key that is not
 *         the certificate's, a chain in the wrong order ...: opts.error has the sentence; -EINVAL:
 *         a server without a certificate, a number below its least, an ALPN name that is empty or
 *         above 255 bytes; -E2BIG, -ENOMEM.
 */
NP_TLS_API int np_tls_server_new(const struct np_tls_opts *o, struct np_tls **ret);
NP_TLS_API int np_tls_client_new(const struct np_tls_opts *o, struct np_tls **ret);
/*
 * np_tls_free() - free it. Connections that have it still keep what they need of it.
 *
 * Thread: any. May park: no. Return: 0: *t is NULL.
 */
NP_TLS_API int np_tls_free(struct np_tls **t);
/*
 * np_tls_reload() - read all the files again, for handshakes that begin from now on
 *
 * All of them, or nothing has changed. What was begun goes on as it was. Tickets stay good; those
 * of the secret before, too, where the file has another one.
 *
 * Thread: any. May park: no. Return: as np_tls_server_new(); then np_tls_error() has the sentence.
 */
NP_TLS_API int np_tls_reload(struct np_tls *t);

/*
 * np_tls_error() - what the last failure of this context was: a reload's or a handshake's
 *
 * Thread: any. May park: no. Return: how long the sentence is; 0: none has failed. Cut to @n.
 */
NP_TLS_API size_t np_tls_error(struct np_tls *t, char *dst, size_t n);

struct np_tls_stats {
	size_t sz;
	uint64_t handshakes; /* that were completed */
	uint64_t resumed;    /* of these, by a ticket */
	uint64_t offloaded;  /* steps that a worker has made */
	uint64_t failed;     /* handshakes that were not completed, of whatever reason */
	uint64_t not_tls;    /* of these: the peer's first bytes were no TLS, such as HTTP */
	uint64_t refused;    /* of these: the peer's certificate */
	uint64_t cut;        /* connections that ended without close_notify */
	uint64_t reloads;
	int64_t not_after;  /* when the first of its certificates expires, seconds of time(2) */
	uint64_t crowded;   /* of failed: there were opts.max_handshakes already */
	uint64_t under_way; /* handshakes, now */
};
NP_OPTS_INIT(np_tls_stats)
/* Thread: any. May park: no. Return: 0; -EINVAL: ret->sz is not set. */
NP_TLS_API int np_tls_stats(struct np_tls *t, struct np_tls_stats *ret);

/*
 * np_tls_metrics() - what @n contexts have counted, as families of a page (metrics.h)
 *
 * @names: of each, the label "context". One without a name has its number in @t there, where it is
 * not the only one; one whose name another has before it has both. Those of @t that are NULL are
 * left out.
 *
 * Thread: any. May park: no.
 */
NP_TLS_API void np_tls_metrics(struct np_metrics *m, struct np_tls *const *t,
			       const char *const *names, unsigned n);

struct np_tls_info {
	size_t sz;
	const char *version; /* "TLSv1.3" */
	const char *cipher;  /* "TLS_AES_256_GCM_SHA384" */
	const char *alpn;    /* "" where none was agreed on */
	const char *sni;     /* the name that the client has asked for, or "" */
	const char *peer;    /* subject of the peer's certificate (RFC 2253), or "" */
	bool verified;       /* the peer has one, and it is a good one */
	bool resumed;
};
NP_OPTS_INIT(np_tls_info)
/*
 * np_tls_conn_info() - what was agreed on, once the handshake is over
 *
 * Thread: owner. May park: no. Lifetime: of the texts: until on_close has returned.
 * Return: 0; -NP_EUNSUPPORTED: the connection has no TLS; -NP_ENOTOPEN: the handshake is not over;
 *         -EINVAL: ret->sz is not set; -ENOMEM.
 */
NP_TLS_API int np_tls_conn_info(struct np_conn *c, struct np_tls_info *ret);
/*
 * np_tls_conn_error() - the sentence behind -NP_ETLS and -NP_EVERIFY
 *
 * Thread: owner. May park: no. Lifetime: until on_close has returned. Return: "" where there is
 * none.
 */
NP_TLS_API const char *np_tls_conn_error(struct np_conn *c);

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tls: the inside of a context and of a filter, for the files of lib/tls
 *
 * A context outlives its np_tls_free() as long as filters have it. What a reload changes is one set
 * of certificates, which handshakes take whole: a filter keeps the one that it has begun with.
 */
#ifndef TLS_TLS_H
#define TLS_TLS_H

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "netpoll/filter.h"
#include "netpoll/tls.h"

#define TLS_TEXT_MAX   256
#define TLS_RECORD_MAX 16384 /* RFC 8446, 5.1 */
#define TLS_SECRET_MIN 32
#define TLS_SECRET_MAX 1024
#define TLS_CACHE      64 /* sessions that a client keeps */

/*
 * What OpenSSL 3.0 takes from malloc() for one connection of a server, in bytes, as
 * tests/e2e/tls_memory.c measures it: while its peer has said nothing, while a handshake stands,
 * open; and how much more for a record that has come in part.
 */
#define TLS_HOLDS_NEW       8800u
#define TLS_HOLDS_HANDSHAKE 45000u
#define TLS_HOLDS_OPEN      15000u
#define TLS_HOLDS_RECORD    17000u

/* One sentence, or none. */
struct tls_text {
	char s[TLS_TEXT_MAX];
};

/* A certificate, or two of one name with keys of two kinds. */
struct tls_cert {
	SSL_CTX *ctx;
	X509 *leaf; /* of the first of the two; ctx has it */
	bool heavy; /* to sign with it takes longer than opts.offload_us */
};

#define TLS_NAMES 16

/* A name that a client has asked for, and which certificate that is. */
struct tls_name {
	char name[64]; /* "": none */
	unsigned cert;
};

/* What one load has read. */
struct tls_set {
	struct tls_name found[TLS_NAMES]; /* under the context's lock */
	_Atomic(unsigned) refs;
	int64_t not_after; /* INT64_MAX: there is no certificate */
	unsigned n;
	struct tls_cert cert[];
};

struct tls_secret {
	unsigned char bytes[TLS_SECRET_MAX];
	size_t n; /* 0: none */
};

/* Of one secret and one period. */
struct tls_ticket_key {
	unsigned char name[32], cipher[32], mac[32]; /* of name the first half goes over the wire */
};

#define TLS_PERIODS 3 /* the one before, this one, the one to come */

/* Under the context's lock. The keys are those of @period, once they are @made. */
struct tls_tickets {
	struct tls_secret now, before;
	bool made;
	uint64_t period;
	struct tls_ticket_key key[2][TLS_PERIODS]; /* of now, of before */
};

struct tls_session {
	char *host;
	SSL_SESSION *session;
	uint64_t used;
};

struct np_tls {
	struct np_filter_maker maker; /* first: this is what the library sees */
	bool server;
	struct np_tls_opts opts; /* strings are copies */
	unsigned char *alpn;     /* as it goes over the wire; NULL: none */
	unsigned alpn_n;
	_Atomic(unsigned) refs;

	pthread_mutex_t lock; /* of all below, down to the counts */
	struct tls_set *set;
	struct tls_tickets tickets;
	struct tls_session session[TLS_CACHE];
	uint64_t sessions_used;
	struct tls_text error;

	EVP_CIPHER *ticket_cipher; /* a server's with tickets: to fetch it anew for each is slow */
	_Atomic(uint64_t) handshakes, resumed, offloaded, failed, not_tls, refused, cut, reloads;
	_Atomic(uint64_t) crowded, under_way;
};

/* tls_context.c */
struct np_tls *tls_ref(struct np_tls *t);
void tls_unref(struct np_tls *t);
void tls_fail(struct np_tls *t, const struct tls_text *why);

/* tls_set.c. Return: 0, *ret with one reference; -NP_ETLS with *why; -ENOMEM. */
int tls_set_load(struct np_tls *t, struct tls_set **ret, struct tls_text *why);
struct tls_set *tls_set_now(struct np_tls *t);
void tls_set_unref(struct tls_set *s);

/* tls_cert.c. Into @ctx; *ret_leaf is @ctx's. Return: 0; -NP_ETLS with *why. */
int tls_cert_load(SSL_CTX *ctx, const struct np_tls_cert *files, X509 **ret_leaf,
		  struct tls_text *why);
/* How long a signature takes, in microseconds. */
uint64_t tls_cert_cost(SSL_CTX *ctx);
bool tls_cert_is_for(X509 *leaf, const char *name);

/* tls_names.c: SNI and ALPN. */
void tls_names_init(struct np_tls *t, SSL_CTX *ctx);
/* Return: 0; -EINVAL, -ENOMEM. */
int tls_names_take_alpn(struct np_tls *t, const char *const *names);

/* tls_ticket.c */
void tls_ticket_init(struct np_tls *t, SSL_CTX *ctx);
/* Reads opts.ticket_file, or makes a secret where there is none yet. Return: as tls_set_load(). */
int tls_ticket_load(struct np_tls *t, struct tls_secret *ret, struct tls_text *why);
void tls_ticket_use(struct np_tls *t, const struct tls_secret *s);
void tls_ticket_fini(struct np_tls *t);
/* In the callback of the client's hello: whether it has a ticket by one of our keys, or says so. */
bool tls_ticket_is_offered(struct np_tls *t, SSL *ssl);

/* tls_session.c: what a client keeps of its servers. */
void tls_session_init(struct np_tls *t, SSL_CTX *ctx);
/* A session with @host to go on with, a reference; NULL: none. */
SSL_SESSION *tls_session_take(struct np_tls *t, const char *host);
void tls_session_free(struct np_tls *t);

/* tls_file.c. @what is for the sentence. Return: 0; -NP_ETLS: what is there is no file. */
int tls_file_check(const char *what, const char *path, struct tls_text *why);
/* Up to @cap bytes. Return: how many; -NP_ETLS: it cannot be read, or others may write it. */
ssize_t tls_file_read_secret(const char *what, const char *path, void *dst, size_t cap,
			     struct tls_text *why);

/* tls_exit.c. Before anything else of OpenSSL is called. */
void tls_exit_is_not_told(void);

/* tls_error.c. The first sentence of this thread's queue of OpenSSL, which is empty then. */
void tls_error_take(struct tls_text *ret, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void tls_error_say(struct tls_text *ret, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* ------------------------------------------------------------------ the filter */

struct tls_filter {
	struct np_tls *tls;
	struct tls_set *set;
	struct np_filter_below *below;
	SSL *ssl;
	char *host; /* a client's peer, or the name that a client has asked for; NULL: none */

	/* Bytes that OpenSSL has given to the BIO and the kernel has not taken yet. */
	char *rest;
	size_t rest_at, rest_n;
	size_t owed; /* plain bytes that are in them: they count as written when they are out */

	int below_error;      /* what the socket said last: 0, or -errno */
	bool dry;             /* the socket had nothing when it was asked last */
	bool eof;             /* the peer's FIN */
	bool gathers;         /* what OpenSSL says is kept until this call is over */
	bool has_sent;        /* something has gone out, or is kept to go */
	bool under_way;       /* its context counts its handshake */
	bool has_begun;       /* the handshake */
	bool open;            /* the handshake is over */
	bool half_record;     /* what was read ends in the middle of one */
	bool shut;            /* close_notify has gone to the BIO, and nothing follows it */
	bool asked_worker;    /* this call of handshake is a worker's */
	unsigned without;     /* steps without data since the last record that had some */
	struct tls_text *why; /* NULL: it has not failed */
	char *peer;           /* tls_info.c */
	char alpn[256];       /* likewise */
};

extern const struct np_filter_ops tls_filter_ops;

/* tls_bio.c. NULL: no memory. */
BIO *tls_bio_new(struct tls_filter *f);
/* What the kernel has not taken goes out. Return: 0: nothing is left; -EAGAIN, or what it says. */
int tls_bio_flush(struct tls_filter *f);

static inline struct tls_filter *tls_filter_of(const SSL *ssl)
{
	return SSL_get_app_data(ssl);
}

static inline void tls_count(_Atomic(uint64_t) *n)
{
	atomic_fetch_add_explicit(n, 1, memory_order_relaxed);
}

#endif

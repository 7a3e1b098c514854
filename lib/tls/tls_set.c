/* SPDX-License-Identifier: BSD-2-Clause */
/* tls_set: all that one load has read: an SSL_CTX for each name that has a certificate. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tls/tls.h"

#define OFFLOAD_US 1000

/* TLS 1.2: ECDHE and AEAD. TLS 1.3 has nothing else. */
#define CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20"

/* ------------------------------------------------------------------ an SSL_CTX */

static int set_verify_of(const struct np_tls *t)
{
	switch (t->opts.verify) {
	case NP_TLS_VERIFY_OFF:
		return SSL_VERIFY_NONE;
	case NP_TLS_VERIFY_OPTIONAL:
		return SSL_VERIFY_PEER;
	default:
		return SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
	}
}

static int set_load_trust(const struct np_tls *t, SSL_CTX *ctx, struct tls_text *why)
{
	const char *file = t->opts.ca_file, *path = t->opts.ca_path;

	if (t->opts.verify == NP_TLS_VERIFY_OFF)
		return 0;
	if (file && tls_file_check("trusted certificates", file, why) < 0)
		return -NP_ETLS;
	ERR_clear_error();
	if ((file || path) ? SSL_CTX_load_verify_locations(ctx, file, path) != 1 :
			     SSL_CTX_set_default_verify_paths(ctx) != 1) {
		tls_error_take(why, "trusted certificates %s: ",
			       file ? file :
			       path ? path :
				      "of the system");
		return -NP_ETLS;
	}
	if (t->server && file)
		SSL_CTX_set_client_CA_list(ctx, SSL_load_client_CA_file(file));
	ERR_clear_error();
	return 0;
}

/* A session goes on only where the peer would have been asked for the same. */
static bool set_session_context(const struct np_tls *t, SSL_CTX *ctx)
{
	unsigned char id[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	const char *file = t->opts.ca_file ? t->opts.ca_file : "";
	const char *path = t->opts.ca_path ? t->opts.ca_path : "";
	bool ok = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) &&
		  EVP_DigestUpdate(md, &t->opts.verify, sizeof t->opts.verify) &&
		  EVP_DigestUpdate(md, file, strlen(file) + 1) &&
		  EVP_DigestUpdate(md, path, strlen(path) + 1) && EVP_DigestFinal_ex(md, id, &n);

	EVP_MD_CTX_free(md);
	return ok && SSL_CTX_set_session_id_context(ctx, id, n);
}

static void set_rules(const struct np_tls *t, SSL_CTX *ctx)
{
	SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
					 SSL_OP_CIPHER_SERVER_PREFERENCE |
					 SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_clear_mode(ctx, SSL_MODE_AUTO_RETRY);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_max_early_data(ctx, 0);
	SSL_CTX_set_verify(ctx, set_verify_of(t), NULL);
	SSL_CTX_set_timeout(ctx, t->opts.ticket_s);
}

/*
 * The handshake stops here once, where its signature is for a worker. One that goes on with a
 * ticket has none; where the ticket is no good in spite of its name, this thread signs.
 */
static int set_hello(SSL *ssl, int *alert, void *arg)
{
	const struct tls_filter *f = tls_filter_of(ssl);
	bool heavy = false;

	for (unsigned i = 0; i < f->set->n; i++)
		heavy |= f->set->cert[i].heavy;
	if (!heavy || f->asked_worker || tls_ticket_is_offered(f->tls, ssl))
		return SSL_CLIENT_HELLO_SUCCESS;
	return SSL_CLIENT_HELLO_RETRY;
}

static int set_new_ctx(struct np_tls *t, SSL_CTX **ret, struct tls_text *why)
{
	SSL_CTX *ctx = SSL_CTX_new(t->server ? TLS_server_method() : TLS_client_method());

	if (!ctx)
		return -ENOMEM;
	*ret = ctx;
	if (!SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) ||
	    !SSL_CTX_set_cipher_list(ctx, CIPHERS) || !set_session_context(t, ctx)) {
		tls_error_take(why, "OpenSSL does not take our settings: ");
		return -NP_ETLS;
	}
	set_rules(t, ctx);
	tls_names_init(t, ctx);
	if (t->server) {
		SSL_CTX_set_client_hello_cb(ctx, set_hello, NULL);
		tls_ticket_init(t, ctx);
	} else {
		tls_session_init(t, ctx);
	}
	return set_load_trust(t, ctx, why);
}

/* ------------------------------------------------------------------ the set */

static void set_note_expiry(struct tls_set *s, X509 *leaf)
{
	struct tm tm;
	time_t at;

	if (!ASN1_TIME_to_tm(X509_get0_notAfter(leaf), &tm))
		return;
	at = timegm(&tm);
	if (at < s->not_after)
		s->not_after = at;
}

/* Whether @leaf goes where @c is: of the same names, by a key of another kind. */
static bool set_is_other_kind(const struct tls_cert *c, X509 *leaf)
{
	GENERAL_NAMES *a = X509_get_ext_d2i(c->leaf, NID_subject_alt_name, NULL, NULL);
	GENERAL_NAMES *b = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
	bool same = a && b && sk_GENERAL_NAME_num(a) == sk_GENERAL_NAME_num(b);

	for (int i = 0; same && i < sk_GENERAL_NAME_num(a); i++)
		same = !GENERAL_NAME_cmp(sk_GENERAL_NAME_value(a, i), sk_GENERAL_NAME_value(b, i));
	GENERAL_NAMES_free(a);
	GENERAL_NAMES_free(b);
	return same && EVP_PKEY_get_base_id(X509_get0_pubkey(c->leaf)) !=
			       EVP_PKEY_get_base_id(X509_get0_pubkey(leaf));
}

static bool set_is_heavy(const struct np_tls *t, SSL_CTX *ctx)
{
	int us = t->opts.offload_us ? t->opts.offload_us : OFFLOAD_US;

	return t->server && us >= 0 && tls_cert_cost(ctx) > (uint64_t)us;
}

/* Its own SSL_CTX, or that of one of the same names. */
static int set_add(struct np_tls *t, struct tls_set *s, const struct np_tls_cert *files,
		   struct tls_text *why)
{
	struct tls_cert *c = &s->cert[s->n];
	X509 *unused;
	int r = set_new_ctx(t, &c->ctx, why);

	if (r == 0 && files)
		r = tls_cert_load(c->ctx, files, &c->leaf, why);
	if (r < 0 || !files) {
		s->n += c->ctx != NULL; /* to be freed with the set */
		return r;
	}
	set_note_expiry(s, c->leaf);
	c->heavy = set_is_heavy(t, c->ctx);
	for (unsigned i = 0; i < s->n; i++) {
		if (!set_is_other_kind(&s->cert[i], c->leaf))
			continue;
		s->cert[i].heavy |= c->heavy;
		SSL_CTX_free(c->ctx);
		*c = (struct tls_cert){ 0 };
		return tls_cert_load(s->cert[i].ctx, files, &unused, why);
	}
	s->n++;
	return 0;
}

int tls_set_load(struct np_tls *t, struct tls_set **ret, struct tls_text *why)
{
	unsigned n = (unsigned)t->opts.n_certs;
	struct tls_set *s = calloc(1, sizeof *s + (n + 1) * sizeof s->cert[0]);
	int r = s ? 0 : -ENOMEM;

	if (!s)
		return r;
	atomic_init(&s->refs, 1);
	s->not_after = INT64_MAX;
	for (unsigned i = 0; i < n && r == 0; i++)
		r = set_add(t, s, &t->opts.certs[i], why);
	if (r == 0 && !n)
		r = set_add(t, s, NULL, why);
	if (r < 0)
		tls_set_unref(s);
	else
		*ret = s;
	return r;
}

struct tls_set *tls_set_now(struct np_tls *t)
{
	struct tls_set *s;

	pthread_mutex_lock(&t->lock);
	s = t->set;
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	pthread_mutex_unlock(&t->lock);
	return s;
}

void tls_set_unref(struct tls_set *s)
{
	if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (unsigned i = 0; i < s->n; i++)
		SSL_CTX_free(s->cert[i].ctx);
	free(s);
}

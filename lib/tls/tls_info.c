/* SPDX-License-Identifier: BSD-2-Clause */
/* tls_info: what a connection has agreed on with its peer, and what a context has counted. */
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/x509.h>
#include <string.h>

#include "tls/tls.h"

/* A string of the filter's own, in one allocation of OpenSSL's. */
static int info_peer(struct tls_filter *f, X509 *cert)
{
	BIO *b;
	char *p;
	long n;

	if (f->peer || !cert)
		return 0;
	b = BIO_new(BIO_s_mem());
	if (!b || X509_NAME_print_ex(b, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253) < 0) {
		BIO_free(b);
		return -ENOMEM;
	}
	n = BIO_get_mem_data(b, &p);
	f->peer = OPENSSL_strndup(p, (size_t)n);
	BIO_free(b);
	return f->peer ? 0 : -ENOMEM;
}

/* ALPN names come without a NUL: the longest is kept with one. */
static const char *info_alpn(struct tls_filter *f)
{
	const unsigned char *p;
	unsigned n;

	SSL_get0_alpn_selected(f->ssl, &p, &n);
	if (!n)
		return "";
	memcpy(f->alpn, p, n);
	f->alpn[n] = '\0';
	return f->alpn;
}

/* A struct of the caller's may be shorter or longer: the part that both know is filled. */
static int info_give(void *dst, const void *src, size_t n)
{
	size_t sz = *(size_t *)dst;

	if (sz < sizeof sz)
		return -EINVAL;
	memset((char *)dst + sizeof sz, 0, sz - sizeof sz);
	n = sz < n ? sz : n;
	memcpy((char *)dst + sizeof sz, (const char *)src + sizeof sz, n - sizeof sz);
	return 0;
}

int np_tls_conn_info(struct np_conn *c, struct np_tls_info *ret)
{
	struct tls_filter *f = np_conn_filter(c, &tls_filter_ops);
	struct np_tls_info v = { .sni = "", .peer = "" };
	X509 *cert;
	int r;

	if (!f)
		return -NP_EUNSUPPORTED;
	if (!f->open)
		return -NP_ENOTOPEN;
	cert = SSL_get0_peer_certificate(f->ssl);
	r = info_peer(f, cert);
	if (r < 0)
		return r;
	v.version = SSL_get_version(f->ssl);
	v.cipher = SSL_get_cipher_name(f->ssl);
	v.alpn = info_alpn(f);
	if (f->tls->server && f->host)
		v.sni = f->host;
	if (f->peer)
		v.peer = f->peer;
	v.verified = cert && f->tls->opts.verify != NP_TLS_VERIFY_OFF &&
		     SSL_get_verify_result(f->ssl) == X509_V_OK;
	v.resumed = SSL_session_reused(f->ssl);
	return info_give(ret, &v, sizeof v);
}

const char *np_tls_conn_error(struct np_conn *c)
{
	const struct tls_filter *f = np_conn_filter(c, &tls_filter_ops);

	return f && f->why ? f->why->s : "";
}

static uint64_t info_count(_Atomic(uint64_t) *n)
{
	return atomic_load_explicit(n, memory_order_relaxed);
}

int np_tls_stats(struct np_tls *t, struct np_tls_stats *ret)
{
	struct tls_set *set = tls_set_now(t);
	struct np_tls_stats v = {
		.handshakes = info_count(&t->handshakes),
		.resumed = info_count(&t->resumed),
		.offloaded = info_count(&t->offloaded),
		.failed = info_count(&t->failed),
		.not_tls = info_count(&t->not_tls),
		.refused = info_count(&t->refused),
		.cut = info_count(&t->cut),
		.reloads = info_count(&t->reloads),
		.not_after = set->not_after,
		.crowded = info_count(&t->crowded),
		.under_way = info_count(&t->under_way),
	};

	tls_set_unref(set);
	return info_give(ret, &v, sizeof v);
}

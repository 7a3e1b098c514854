/* SPDX-License-Identifier: BSD-2-Clause */
/* tls_names: which certificate a client gets (SNI), and which protocol is spoken (ALPN). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tls/tls.h"

/*
 * To look into a certificate takes OpenSSL 14 000 instructions, and clients ask for the same few
 * names: what was found is remembered, by a place for each hash. A name that is in none is not.
 */
static struct tls_name *names_place(struct tls_set *s, const char *name)
{
	unsigned hash = 5381;

	for (const char *p = name; *p; p++)
		hash = hash * 33 + (unsigned char)*p;
	return &s->found[hash % TLS_NAMES];
}

static int names_recall(const struct tls_filter *f, const char *name)
{
	const struct tls_name *known = names_place(f->set, name);
	int r;

	pthread_mutex_lock(&f->tls->lock);
	r = strcmp(known->name, name) ? -1 : (int)known->cert;
	pthread_mutex_unlock(&f->tls->lock);
	return r;
}

static void names_remember(const struct tls_filter *f, const char *name, unsigned cert)
{
	struct tls_name *known = names_place(f->set, name);
	size_t n = strlen(name) + 1;

	if (n > sizeof known->name)
		return;
	pthread_mutex_lock(&f->tls->lock);
	memcpy(known->name, name, n);
	known->cert = cert;
	pthread_mutex_unlock(&f->tls->lock);
}

/* Return: which of the set's is for @name; -1: none. */
static int names_find(const struct tls_filter *f, const char *name)
{
	int known = *name ? names_recall(f, name) : -1;

	for (unsigned i = 0; i < f->set->n && known < 0; i++) {
		if (!tls_cert_is_for(f->set->cert[i].leaf, name))
			continue;
		names_remember(f, name, i);
		known = (int)i;
	}
	return known;
}

static int names_choose_cert(SSL *ssl, int *alert, void *arg)
{
	struct tls_filter *f = tls_filter_of(ssl);
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	int cert;

	if (!name)
		return SSL_TLSEXT_ERR_NOACK;
	free(f->host); /* a client's second hello */
	f->host = strdup(name);
	cert = names_find(f, name);
	if (cert > 0)
		SSL_set_SSL_CTX(ssl, f->set->cert[cert].ctx);
	if (cert >= 0)
		return SSL_TLSEXT_ERR_OK;
	if (!f->tls->opts.strict_sni)
		return SSL_TLSEXT_ERR_NOACK;
	*alert = SSL_AD_UNRECOGNIZED_NAME;
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* The first of ours that is one of theirs. */
static int names_choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_n,
				 const unsigned char *theirs, unsigned theirs_n, void *arg)
{
	const struct np_tls *t = arg;
	unsigned char *chosen;

	if (SSL_select_next_proto(&chosen, out_n, t->alpn, t->alpn_n, theirs, theirs_n) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

void tls_names_init(struct np_tls *t, SSL_CTX *ctx)
{
	if (t->server)
		SSL_CTX_set_tlsext_servername_callback(ctx, names_choose_cert);
	if (!t->alpn)
		return;
	if (t->server)
		SSL_CTX_set_alpn_select_cb(ctx, names_choose_protocol, t);
	else
		SSL_CTX_set_alpn_protos(ctx, t->alpn, t->alpn_n);
}

int tls_names_take_alpn(struct np_tls *t, const char *const *names)
{
	size_t all = 0, n;
	unsigned char *p;

	for (int i = 0; names[i]; i++) {
		n = strlen(names[i]);
		if (!n || n > 255)
			return -EINVAL;
		all += n + 1;
	}
	if (!all || all > 65535)
		return all ? -EINVAL : 0;
	p = t->alpn = malloc(all);
	if (!p)
		return -ENOMEM;
	for (int i = 0; names[i]; i++) {
		n = strlen(names[i]);
		*p++ = (unsigned char)n;
		memcpy(p, names[i], n);
		p += n;
	}
	t->alpn_n = (unsigned)all;
	return 0;
}

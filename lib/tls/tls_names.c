/* SPDX-License-Identifier: BSD-2-Clause */
/* tls_names: which certificate a client gets (SNI), and which protocol is spoken (ALPN). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tls/tls.h"

static int names_choose_cert(SSL *ssl, int *alert, void *arg)
{
	struct tls_filter *f = tls_filter_of(ssl);
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

	if (!name)
		return SSL_TLSEXT_ERR_NOACK;
	free(f->host); /* a client's second hello */
	f->host = strdup(name);
	for (unsigned i = 0; i < f->set->n; i++) {
		if (!tls_cert_is_for(f->set->cert[i].leaf, name))
			continue;
		if (i)
			SSL_set_SSL_CTX(ssl, f->set->cert[i].ctx);
		return SSL_TLSEXT_ERR_OK;
	}
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

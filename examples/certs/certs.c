/* SPDX-License-Identifier: BSD-2-Clause */
/* certs: what is wrong with the files is told before anything listens. */
#include "certs.h"

#include <errno.h>
#include <netpoll/status.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "examples/service/arguments.h"

static void certs_drop_last(struct certs *c)
{
	struct np_tls_cert *last = &c->each[--c->n];

	free((char *)last->cert);
	free((char *)last->key);
}

int certs_add(struct certs *c, const char *text)
{
	const char *key = strchr(text, ',');
	struct np_tls_cert *next = &c->each[c->n];

	if (c->n == CERTS_MAX || !key || key == text || !key[1])
		return argument_bad("--tls takes CERT,KEY, and no more than eight of them, not",
				    text);
	next->cert = strndup(text, (size_t)(key - text));
	next->key = strdup(key + 1);
	c->n++;
	if (next->cert && next->key)
		return 0;
	certs_drop_last(c);
	return argument_bad("no memory for", text);
}

#ifdef NP_HAVE_TLS
static int certs_said(int r, const char *why)
{
	if (r < 0)
		fprintf(stderr, "%s: %s\n", program_invocation_short_name,
			*why ? why : np_strerror(r));
	return r < 0 ? -1 : 0;
}

static int certs_serve(const struct certs *c, const char *const *alpn, struct np_tls **ret)
{
	char why[256] = "";
	int r = np_tls_server_new(NP_OPTS(np_tls_opts, .certs = c->each, .n_certs = c->n,
					  .alpn = alpn, .offload_us = c->offload_us, .error = why,
					  .error_size = sizeof why),
				  ret);

	return certs_said(r, why);
}

int certs_trust(const char *ca, struct np_tls **ret)
{
	char why[256] = "";
	int r = np_tls_client_new(NP_OPTS(np_tls_opts, .ca_file = strcmp(ca, "system") ? ca : NULL,
					  .error = why, .error_size = sizeof why),
				  ret);

	return certs_said(r, why);
}

void certs_metrics(struct np_metrics *m, struct np_tls *t)
{
	np_tls_metrics(m, &t, NULL, 1);
}

static void certs_free_context(struct np_tls **t)
{
	np_tls_free(t);
}
#else
static int certs_missing(void)
{
	fprintf(stderr, "%s: built without libnetpoll-bpf-tls, which needs libssl-dev: no TLS\n",
		program_invocation_short_name);
	return -1;
}

static int certs_serve(const struct certs *c, const char *const *alpn, struct np_tls **ret)
{
	return certs_missing();
}

int certs_trust(const char *ca, struct np_tls **ret)
{
	return certs_missing();
}

void certs_metrics(struct np_metrics *m, struct np_tls *t)
{
}

static void certs_free_context(struct np_tls **t)
{
}
#endif

int certs_load(const struct certs *c, const char *const *alpn, struct np_tls **ret)
{
	*ret = NULL;
	return c->n ? certs_serve(c, alpn, ret) : 0;
}

void certs_free(struct certs *c, struct np_tls **t)
{
	certs_free_context(t);
	while (c->n)
		certs_drop_last(c);
}

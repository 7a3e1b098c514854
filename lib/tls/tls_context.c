/* SPDX-License-Identifier: BSD-2-Clause */
/* tls_context: made, reloaded, given back. */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tls/tls.h"

#define TICKET_S       7200
#define MAX_HANDSHAKES 4096

/* ------------------------------------------------------------------ options */

static char *context_copy(const char *s, bool *ok)
{
	char *copy = s ? strdup(s) : NULL;

	*ok &= !s || copy;
	return copy;
}

static int context_take_certs(struct np_tls *t)
{
	const struct np_tls_cert *from = t->opts.certs;
	struct np_tls_cert *certs = calloc((size_t)t->opts.n_certs + 1, sizeof *certs);
	bool ok = certs;

	t->opts.certs = certs;
	for (int i = 0; ok && i < t->opts.n_certs; i++) {
		certs[i].cert = context_copy(from[i].cert, &ok);
		certs[i].key = context_copy(from[i].key, &ok);
	}
	if (!certs)
		t->opts.n_certs = 0;
	return ok ? 0 : -ENOMEM;
}

/* Fields that a newer header has, and this library has not, have to be zero. */
static int context_take_size(struct np_tls_opts *d, const struct np_tls_opts *o)
{
	size_t sz = o ? o->sz : 0;

	if (!o)
		return 0;
	if (sz < sizeof sz)
		return -EINVAL;
	for (size_t i = sizeof *d; i < sz; i++)
		if (((const char *)o)[i])
			return -E2BIG;
	memcpy(d, o, sz < sizeof *d ? sz : sizeof *d);
	return 0;
}

static bool context_opts_are_good(const struct np_tls *t)
{
	const struct np_tls_opts *o = &t->opts;

	return o->n_certs >= 0 && (!o->n_certs || o->certs) && (!t->server || o->n_certs) &&
	       (t->server || o->n_certs <= 1) && (unsigned)o->verify <= NP_TLS_VERIFY_REQUIRED &&
	       o->handshake_ms >= -1 && o->offload_us >= -1 && o->ticket_s >= 0 &&
	       o->max_handshakes >= -1;
}

static int context_take_opts(struct np_tls *t, const struct np_tls_opts *opts)
{
	struct np_tls_opts *o = &t->opts;
	int r = context_take_size(o, opts);
	bool ok = true, good = r == 0 && context_opts_are_good(t);

	if (!good)
		*o = (struct np_tls_opts){ 0 }; /* nothing of the caller's is freed */
	if (!good)
		return r ? r : -EINVAL;
	o->error = NULL;
	o->ticket_s = o->ticket_s ? o->ticket_s : TICKET_S;
	o->max_handshakes = o->max_handshakes ? o->max_handshakes : MAX_HANDSHAKES;
	if (o->verify == NP_TLS_VERIFY_DEFAULT)
		o->verify = t->server ? NP_TLS_VERIFY_OFF : NP_TLS_VERIFY_REQUIRED;
	o->ca_file = context_copy(o->ca_file, &ok);
	o->ca_path = context_copy(o->ca_path, &ok);
	o->ticket_file = context_copy(o->ticket_file, &ok);
	r = context_take_certs(t);
	if (r == 0 && o->alpn)
		r = tls_names_take_alpn(t, o->alpn);
	o->alpn = NULL;
	t->maker = (struct np_filter_maker){ &tls_filter_ops, o->handshake_ms };
	return ok ? r : -ENOMEM;
}

/* ------------------------------------------------------------------ new and free */

static void context_free(struct np_tls *t)
{
	if (t->set)
		tls_set_unref(t->set);
	tls_session_free(t);
	for (int i = 0; i < t->opts.n_certs; i++) {
		free((char *)t->opts.certs[i].cert);
		free((char *)t->opts.certs[i].key);
	}
	free((void *)t->opts.certs);
	free((char *)t->opts.ca_file);
	free((char *)t->opts.ca_path);
	free((char *)t->opts.ticket_file);
	free(t->alpn);
	tls_ticket_fini(t);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

struct np_tls *tls_ref(struct np_tls *t)
{
	atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
	return t;
}

void tls_unref(struct np_tls *t)
{
	if (atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) == 1)
		context_free(t);
}

void tls_fail(struct np_tls *t, const struct tls_text *why)
{
	pthread_mutex_lock(&t->lock);
	t->error = *why;
	pthread_mutex_unlock(&t->lock);
}

/* All that is in files, or nothing. */
static int context_load(struct np_tls *t, struct tls_text *why)
{
	struct tls_secret secret = { .n = 0 };
	struct tls_set *set = NULL, *old;
	int r = t->server && !t->opts.no_tickets ? tls_ticket_load(t, &secret, why) : 0;

	if (r == 0)
		r = tls_set_load(t, &set, why);
	if (r == 0) {
		pthread_mutex_lock(&t->lock);
		old = t->set;
		t->set = set;
		if (secret.n)
			tls_ticket_use(t, &secret);
		pthread_mutex_unlock(&t->lock);
		if (old)
			tls_set_unref(old);
	}
	OPENSSL_cleanse(&secret, sizeof secret);
	return r;
}

static void context_say(const struct np_tls_opts *o, const struct tls_text *why)
{
	if (o && o->sz >= offsetof(struct np_tls_opts, max_handshakes) && o->error && o->error_size)
		snprintf(o->error, o->error_size, "%s", why->s);
}

static int context_new(bool server, const struct np_tls_opts *o, struct np_tls **ret)
{
	struct np_tls *t = calloc(1, sizeof *t);
	struct tls_text why = { "" };
	int r;

	if (!t)
		return -ENOMEM;
	tls_exit_is_not_told();
	t->server = server;
	atomic_init(&t->refs, 1);
	pthread_mutex_init(&t->lock, NULL);
	r = context_take_opts(t, o);
	if (r == 0)
		r = context_load(t, &why);
	if (r < 0) {
		tls_unref(t);
		if (r == -NP_ETLS)
			context_say(o, &why);
		return r;
	}
	*ret = t;
	return 0;
}

int np_tls_server_new(const struct np_tls_opts *o, struct np_tls **ret)
{
	return context_new(true, o, ret);
}

int np_tls_client_new(const struct np_tls_opts *o, struct np_tls **ret)
{
	return context_new(false, o, ret);
}

int np_tls_free(struct np_tls **t)
{
	if (*t)
		tls_unref(*t);
	*t = NULL;
	return 0;
}

int np_tls_reload(struct np_tls *t)
{
	struct tls_text why = { "no memory" };
	int r = context_load(t, &why);

	if (r < 0)
		tls_fail(t, &why);
	else
		tls_count(&t->reloads);
	return r;
}

size_t np_tls_error(struct np_tls *t, char *dst, size_t n)
{
	size_t len;

	pthread_mutex_lock(&t->lock);
	len = strlen(t->error.s);
	if (n)
		snprintf(dst, n, "%s", t->error.s);
	pthread_mutex_unlock(&t->lock);
	return len;
}

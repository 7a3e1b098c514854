/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tls_session: what a client keeps of its servers, to go on with next time
 *
 * By the name that was verified: a client that takes a session up has not verified the peer again.
 * The last ticket of a host counts, and of many hosts the one that was not asked for the longest
 * goes.
 */
#include <stdlib.h>
#include <string.h>

#include "tls/tls.h"

/* Where @host is, or where it is to go. */
static struct tls_session *session_slot(struct np_tls *t, const char *host, bool *ret_found)
{
	struct tls_session *oldest = &t->session[0];

	for (unsigned i = 0; i < TLS_CACHE; i++) {
		struct tls_session *s = &t->session[i];

		*ret_found = s->host && !strcmp(s->host, host);
		if (*ret_found)
			return s;
		oldest = s->used < oldest->used ? s : oldest;
	}
	return oldest;
}

static void session_forget(struct tls_session *s)
{
	SSL_SESSION_free(s->session);
	free(s->host);
	*s = (struct tls_session){ 0 };
}

/* Return: 1: the reference is ours. */
static int session_keep(SSL *ssl, SSL_SESSION *session)
{
	struct tls_filter *f = tls_filter_of(ssl);
	struct np_tls *t = f->tls;
	char *host = f->host ? strdup(f->host) : NULL;
	struct tls_session *s;
	bool found;

	if (!host)
		return 0;
	pthread_mutex_lock(&t->lock);
	s = session_slot(t, host, &found);
	session_forget(s);
	*s = (struct tls_session){ host, session, ++t->sessions_used };
	pthread_mutex_unlock(&t->lock);
	return 1;
}

void tls_session_init(struct np_tls *t, SSL_CTX *ctx)
{
	if (t->opts.no_tickets) {
		SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
		SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
		return;
	}
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ctx, session_keep);
}

SSL_SESSION *tls_session_take(struct np_tls *t, const char *host)
{
	struct tls_session *s;
	SSL_SESSION *session = NULL;
	bool found;

	pthread_mutex_lock(&t->lock);
	s = session_slot(t, host, &found);
	if (found && SSL_SESSION_is_resumable(s->session) && SSL_SESSION_up_ref(s->session)) {
		session = s->session;
		s->used = ++t->sessions_used;
	}
	pthread_mutex_unlock(&t->lock);
	return session;
}

void tls_session_free(struct np_tls *t)
{
	for (unsigned i = 0; i < TLS_CACHE; i++)
		session_forget(&t->session[i]);
}

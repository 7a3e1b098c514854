/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tls_filter: one connection's TLS, as the table of functions that the library calls
 *
 * OpenSSL is told not to read on by itself behind a record without data (SSL_MODE_AUTO_RETRY is
 * off), and says when it has made a step of its own: a peer that sends KeyUpdates without end is
 * counted, and refused. Before each call the thread's queue of errors is emptied: what others have
 * left in it would be taken for this call's.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "tls/tls.h"

#define WITHOUT_MAX 128 /* steps without data in a row: two or three for each KeyUpdate */

/* To empty a queue that is empty costs ERR_clear_error() more than to look. */
static inline void filter_forget_errors(void)
{
	if (ERR_peek_error())
		ERR_clear_error();
}

/* ------------------------------------------------------------------ failures */

static int filter_fail(struct tls_filter *f, int err, const struct tls_text *why)
{
	if (!f->open)
		tls_count(&f->tls->failed);
	tls_fail(f->tls, why);
	if (!f->why)
		f->why = malloc(sizeof *f->why);
	if (f->why)
		*f->why = *why;
	return err;
}

/* An alert in the clear, where OpenSSL sends none; every TLS peer knows it. */
static void filter_alert(struct tls_filter *f, unsigned char what)
{
	const unsigned char alert[] = { SSL3_RT_ALERT, 3, 3, 0, 2, SSL3_AL_FATAL, what };

	if (!f->has_sent)
		np_filter_write(f->below, alert, sizeof alert);
	f->has_sent = true;
}

static bool filter_is_stranger(const struct tls_filter *f, int reason)
{
	if (!f->tls->server || f->open)
		return false;
	return reason == SSL_R_HTTP_REQUEST || reason == SSL_R_HTTPS_PROXY_REQUEST ||
	       reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_BAD_RECORD_TYPE ||
	       reason == SSL_R_UNEXPECTED_MESSAGE || reason == SSL_R_PACKET_LENGTH_TOO_LONG ||
	       reason == SSL_R_UNSUPPORTED_PROTOCOL || reason == SSL_R_RECORD_LENGTH_MISMATCH;
}

static int filter_refuse_peer(struct tls_filter *f, const char *reason)
{
	struct tls_text why;

	ERR_clear_error();
	tls_count(&f->tls->refused);
	tls_error_say(&why, "the certificate of %s is refused: %s",
		      f->tls->server ? "the client" :
		      f->host        ? f->host :
				       "the server",
		      reason);
	return filter_fail(f, -NP_EVERIFY, &why);
}

static int filter_cut(struct tls_filter *f)
{
	struct tls_text why;

	ERR_clear_error();
	tls_count(&f->tls->cut);
	tls_error_say(&why, "the peer closed %s",
		      f->open ? "without close_notify" : "in the middle of the handshake");
	return filter_fail(f, -NP_ECUT, &why);
}

/* SSL_ERROR_SSL and SSL_ERROR_SYSCALL: why. */
static int filter_broken(struct tls_filter *f)
{
	unsigned long e = ERR_peek_error();
	int reason = ERR_GET_LIB(e) == ERR_LIB_SSL ? ERR_GET_REASON(e) : 0;
	long verdict = f->open ? X509_V_OK : SSL_get_verify_result(f->ssl);
	struct tls_text why;

	if (f->below_error) {
		ERR_clear_error();
		if (!f->open)
			tls_count(&f->tls->failed);
		return f->below_error;
	}
	if (f->eof)
		return filter_cut(f);
	if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
		return filter_refuse_peer(f, "there is none");
	if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED && verdict != X509_V_OK)
		return filter_refuse_peer(f, X509_verify_cert_error_string(verdict));
	if (filter_is_stranger(f, reason)) {
		tls_count(&f->tls->not_tls);
		filter_alert(f, SSL_AD_UNEXPECTED_MESSAGE);
	}
	tls_error_take(&why, "TLS%s%s: ", f->host ? " with " : "", f->host ? f->host : "");
	return filter_fail(f, -NP_ETLS, &why);
}

/* The flight that a handshake waits behind may itself not be out yet. */
static int filter_waits(const struct tls_filter *f)
{
	return f->rest_n && !f->owed ? -EBUSY : -EAGAIN;
}

static int filter_flooded(struct tls_filter *f)
{
	static const struct tls_text why = { "too many TLS records without data" };

	return filter_fail(f, -NP_ETLS, &why);
}

/* Steps of OpenSSL's state machine behind the handshake; it stands still while data comes. */
static void filter_note_step(const SSL *ssl, int where, int value)
{
	if (where & SSL_CB_LOOP)
		tls_filter_of(ssl)->without++;
}

/* What a call has come to that did not succeed. Return: 0: call again; the code for the library. */
static int filter_judge(struct tls_filter *f, int r)
{
	switch (SSL_get_error(f->ssl, r)) {
	case SSL_ERROR_WANT_READ:
		if (f->dry)
			return filter_waits(f);
		return ++f->without > WITHOUT_MAX ? filter_flooded(f) : 0;
	case SSL_ERROR_WANT_WRITE:
		return -EBUSY;
	case SSL_ERROR_WANT_CLIENT_HELLO_CB:
		return NP_FILTER_WORK;
	default:
		return filter_broken(f);
	}
}

/* ------------------------------------------------------------------ memory */

static void filter_say_holds(struct tls_filter *f)
{
	size_t n = f->open        ? TLS_HOLDS_OPEN :
		   f->has_begun   ? TLS_HOLDS_HANDSHAKE :
		   f->ssl != NULL ? TLS_HOLDS_NEW :
				    0;

	np_filter_holds(f->below, n + (f->half_record ? TLS_HOLDS_RECORD : 0) + f->rest_n);
}

/* Behind a read: @stands: it has come to the end of what there is. */
static void filter_note_record(struct tls_filter *f, bool stands)
{
	f->half_record = stands && SSL_has_pending(f->ssl);
	filter_say_holds(f);
}

/* ------------------------------------------------------------------ the handshake */

/* Return: whether there is room for one more of its context. */
static bool filter_gets_under_way(struct tls_filter *f)
{
	struct np_tls *t = f->tls;
	uint64_t before = atomic_fetch_add_explicit(&t->under_way, 1, memory_order_relaxed);

	f->under_way = true;
	return !t->server || t->opts.max_handshakes < 0 ||
	       before < (unsigned)t->opts.max_handshakes;
}

static void filter_has_ended_its_way(struct tls_filter *f)
{
	if (f->under_way)
		atomic_fetch_sub_explicit(&f->tls->under_way, 1, memory_order_relaxed);
	f->under_way = false;
}

/* Its only step: it has no SSL, and its peer learns of that at once. */
static int filter_turn_away(struct tls_filter *f)
{
	static const struct tls_text why = { "too many handshakes are under way" };

	tls_count(&f->tls->crowded);
	filter_alert(f, SSL_AD_INTERNAL_ERROR);
	return filter_fail(f, -NP_ETLS, &why);
}

static void filter_is_open(struct tls_filter *f)
{
	filter_has_ended_its_way(f);
	f->open = true;
	f->without = 0;
	SSL_set_info_callback(f->ssl, filter_note_step);
	tls_count(&f->tls->handshakes);
	if (SSL_session_reused(f->ssl))
		tls_count(&f->tls->resumed);
}

/* As far as it goes with what has come. What OpenSSL has to say about it is kept. */
static int filter_step(struct tls_filter *f)
{
	int r, n;

	f->has_begun = true;
	f->gathers = true;
	do {
		filter_forget_errors();
		f->dry = false;
		n = SSL_do_handshake(f->ssl);
		r = n == 1 ? 0 : filter_judge(f, n);
	} while (n != 1 && r == 0);
	f->gathers = false;
	return r;
}

/* @r: what a step has come to. Return: likewise, now that what it has to say is on its way. */
static int filter_step_is_said(struct tls_filter *f, int r)
{
	int out = f->rest_n ? tls_bio_flush(f) : 0;

	if (r != 0 && r != -EAGAIN && r != -EBUSY)
		return r;
	if (out < 0)
		return out == -EAGAIN ? -EBUSY : out;
	return r == -EBUSY ? -EAGAIN : r;
}

static int filter_handshake(void *filter)
{
	struct tls_filter *f = filter;
	int r;

	if (!f->ssl)
		return filter_turn_away(f);
	r = filter_step_is_said(f, filter_step(f));
	if (f->asked_worker)
		tls_count(&f->tls->offloaded);
	f->asked_worker = r == NP_FILTER_WORK;
	if (r == 0)
		filter_is_open(f);
	filter_say_holds(f);
	return r;
}

/* ------------------------------------------------------------------ bytes */

static ssize_t filter_read(void *filter, void *p, size_t n)
{
	struct tls_filter *f = filter;
	size_t got;
	int r;

	if (f->rest_n && !f->owed)
		tls_bio_flush(f); /* an answer of OpenSSL's own, which nobody else sends on */
	do {
		filter_forget_errors();
		f->dry = false;
		r = SSL_read_ex(f->ssl, p, n, &got);
		if (f->without > WITHOUT_MAX)
			return filter_flooded(f);
		if (r > 0) {
			f->without = 0;
			if (f->half_record)
				filter_note_record(f, false);
			return (ssize_t)got;
		}
		if (SSL_get_error(f->ssl, r) == SSL_ERROR_ZERO_RETURN)
			return 0;
		r = filter_judge(f, r);
	} while (r == 0);
	filter_note_record(f, true);
	return r;
}

static ssize_t filter_write_record(struct tls_filter *f, const void *p, size_t n)
{
	size_t done;
	int r;

	filter_forget_errors();
	r = SSL_write_ex(f->ssl, p, n, &done);
	if (r <= 0) {
		r = filter_judge(f, r);
		return r == 0 || r == -EBUSY ? -EAGAIN : r;
	}
	if (!f->rest_n)
		return (ssize_t)done;
	f->owed = done;
	filter_say_holds(f);
	return -EAGAIN;
}

static size_t filter_gather(char *record, const struct iovec *iov, int n)
{
	size_t len = 0, take;

	for (int i = 0; i < n && len < TLS_RECORD_MAX; i++) {
		take = iov[i].iov_len;
		take = take < TLS_RECORD_MAX - len ? take : TLS_RECORD_MAX - len;
		memcpy(record + len, iov[i].iov_base, take);
		len += take;
	}
	return len;
}

/*
 * Small pieces in one record: one of 64 bytes costs nearly as much as one of 4 KiB. Not on the
 * stack: a fiber's may be no longer than a record.
 */
static ssize_t filter_write_pieces(struct tls_filter *f, const struct iovec *iov, int n)
{
	char *record = malloc(TLS_RECORD_MAX);
	ssize_t r;

	if (!record)
		return -ENOMEM;
	r = filter_write_record(f, record, filter_gather(record, iov, n));
	free(record);
	return r;
}

static ssize_t filter_write(void *filter, const struct iovec *iov, int n)
{
	struct tls_filter *f = filter;
	size_t owed = f->owed;
	int r = f->rest_n ? tls_bio_flush(f) : 0;

	if (r < 0)
		return r;
	if (owed) {
		f->owed = 0;
		filter_say_holds(f);
		return (ssize_t)owed;
	}
	if (n > 1 && iov[0].iov_len < TLS_RECORD_MAX)
		return filter_write_pieces(f, iov, n);
	return filter_write_record(f, iov[0].iov_base,
				   iov[0].iov_len < TLS_RECORD_MAX ? iov[0].iov_len :
								     TLS_RECORD_MAX);
}

/* Also of records that were read ahead; SSL_pending() knows only of those that are decrypted. */
static bool filter_pending(void *filter)
{
	const struct tls_filter *f = filter;

	return SSL_has_pending(f->ssl);
}

static int filter_shutdown(void *filter)
{
	struct tls_filter *f = filter;
	int r = f->rest_n ? tls_bio_flush(f) : 0;

	if (r < 0)
		return r;
	if (!(SSL_get_shutdown(f->ssl) & SSL_SENT_SHUTDOWN)) {
		filter_forget_errors();
		SSL_shutdown(f->ssl);
		f->shut = true;
	}
	return f->rest_n ? -EAGAIN : 0;
}

/* ------------------------------------------------------------------ begin and end */

/* A name goes into SNI and is looked for in the certificate; an address only the latter. */
static int filter_set_host(struct tls_filter *f, const char *host)
{
	bool verifies = f->tls->opts.verify != NP_TLS_VERIFY_OFF;
	struct in6_addr any;
	size_t n;

	if (!host)
		return verifies ? -EINVAL : 0;
	f->host = strdup(host);
	if (!f->host)
		return -ENOMEM;
	f->host[strcspn(f->host, "%")] = '\0'; /* fe80::1%eth0 */
	n = strlen(f->host);
	if (n && f->host[n - 1] == '.') /* RFC 6066, 3: without the last dot */
		f->host[n - 1] = '\0';
	if (inet_pton(AF_INET, f->host, &any) == 1 || inet_pton(AF_INET6, f->host, &any) == 1)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(f->ssl), f->host) ? 0 : -ENOMEM;
	SSL_set_hostflags(f->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (!SSL_set1_host(f->ssl, f->host) || !SSL_set_tlsext_host_name(f->ssl, f->host))
		return -EINVAL;
	return 0;
}

static int filter_init_client(struct tls_filter *f, const char *host)
{
	int r = filter_set_host(f, host);
	SSL_SESSION *session = r == 0 && f->host ? tls_session_take(f->tls, f->host) : NULL;

	if (session)
		SSL_set_session(f->ssl, session);
	SSL_SESSION_free(session);
	SSL_set_connect_state(f->ssl);
	return r;
}

static void filter_close(void *filter)
{
	struct tls_filter *f = filter;

	/* OpenSSL forgets the session of a connection that did not end well: it was a good one. */
	if (f->ssl && f->open && !f->why)
		SSL_set_shutdown(f->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	if (f->ssl && !f->open && !f->why && !f->below_error)
		tls_count(&f->tls->failed);
	filter_has_ended_its_way(f);
	SSL_free(f->ssl);
	if (f->set)
		tls_set_unref(f->set);
	tls_unref(f->tls);
	free(f->rest);
	free(f->host);
	free(f->why);
	OPENSSL_free(f->peer);
	free(f);
}

static int filter_init(struct tls_filter *f, const char *host)
{
	BIO *bio;

	f->ssl = SSL_new(f->set->cert[0].ctx);
	bio = f->ssl ? tls_bio_new(f) : NULL;
	if (!bio)
		return -ENOMEM;
	SSL_set_bio(f->ssl, bio, bio);
	SSL_set_app_data(f->ssl, f);
	if (!f->tls->server)
		return filter_init_client(f, host);
	SSL_set_accept_state(f->ssl);
	return 0;
}

static int filter_open(const void *maker, struct np_filter_below *below, const char *host,
		       void **ret)
{
	struct np_tls *t = (struct np_tls *)maker;
	struct tls_filter *f = calloc(1, sizeof *f);
	int r;

	if (!f)
		return -ENOMEM;
	f->tls = tls_ref(t);
	f->below = below;
	if (!filter_gets_under_way(f)) {
		filter_has_ended_its_way(f);
		*ret = f;
		return 1; /* the alert does not wait for the peer */
	}
	f->set = tls_set_now(t);
	r = filter_init(f, host);
	if (r < 0) {
		ERR_clear_error();
		filter_close(f);
		return r;
	}
	*ret = f;
	filter_say_holds(f);
	return !t->server;
}

const struct np_filter_ops tls_filter_ops = {
	.sz = sizeof tls_filter_ops,
	.name = "TLS",
	.open = filter_open,
	.handshake = filter_handshake,
	.read = filter_read,
	.write = filter_write,
	.shutdown = filter_shutdown,
	.close = filter_close,
	.pending = filter_pending,
};

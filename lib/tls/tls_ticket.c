/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tls_ticket: the keys of session tickets, from a secret and the time
 *
 * A key is good for one period, ticket_s long, and for what was made in the period before: each
 * process that has the secret comes to the same keys, without a word. The key of the period to come
 * is taken as well, for clocks are not the same everywhere.
 */
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <string.h>
#include <time.h>

#include "tls/tls.h"

#define NAME_BYTES 16 /* of OpenSSL's callback */
#define NOW        1  /* of TLS_PERIODS */

/* ------------------------------------------------------------------ the keys */

static bool ticket_derive(const struct tls_secret *s, uint64_t period, const char *what,
			  unsigned char *ret)
{
	unsigned char text[32] = { 0 };
	unsigned n = 32;

	for (int i = 0; i < 8; i++)
		text[i] = (unsigned char)(period >> (8 * i));
	memcpy(text + 8, what, strnlen(what, sizeof text - 8));
	return HMAC(EVP_sha256(), s->bytes, (int)s->n, text, sizeof text, ret, &n) != NULL;
}

static bool ticket_make_key(const struct tls_secret *s, uint64_t period, struct tls_ticket_key *ret)
{
	return ticket_derive(s, period, "name", ret->name) &&
	       ticket_derive(s, period, "cipher", ret->cipher) &&
	       ticket_derive(s, period, "mac", ret->mac);
}

static bool ticket_make_keys(struct tls_tickets *k, uint64_t period)
{
	bool ok = true;

	for (unsigned i = 0; i < TLS_PERIODS; i++) {
		ok = ok && ticket_make_key(&k->now, period + i - NOW, &k->key[0][i]);
		if (k->before.n)
			ok = ok && ticket_make_key(&k->before, period + i - NOW, &k->key[1][i]);
	}
	k->made = ok;
	k->period = period;
	return ok;
}

/* Under the lock. Once a period each takes three HMACs; a handshake copies what is there. */
static bool ticket_keys(struct np_tls *t)
{
	struct tls_tickets *k = &t->tickets;
	uint64_t period = (uint64_t)time(NULL) / (unsigned)t->opts.ticket_s;

	return (k->made && k->period == period) || ticket_make_keys(k, period);
}

static bool ticket_key_now(struct np_tls *t, struct tls_ticket_key *ret)
{
	bool ok;

	pthread_mutex_lock(&t->lock);
	ok = ticket_keys(t);
	*ret = t->tickets.key[0][NOW];
	pthread_mutex_unlock(&t->lock);
	return ok;
}

/* Return: 1: good; 2: good, and to be replaced by a new one; 0: not ours, or too old. */
static int ticket_key_of(struct np_tls *t, const unsigned char *name, struct tls_ticket_key *ret)
{
	struct tls_tickets *k = &t->tickets;
	unsigned secrets;
	int r = 0;

	pthread_mutex_lock(&t->lock);
	secrets = !ticket_keys(t) ? 0 : k->before.n ? 2 : 1;
	for (unsigned i = 0; i < secrets; i++)
		for (unsigned p = 0; p < TLS_PERIODS && !r; p++)
			if (!CRYPTO_memcmp(k->key[i][p].name, name, NAME_BYTES)) {
				*ret = k->key[i][p];
				r = i == 0 && p >= NOW ? 1 : 2;
			}
	pthread_mutex_unlock(&t->lock);
	return r;
}

/* The first of the identities that TLS 1.3 offers, or the ticket of TLS 1.2; NULL: none. */
static const unsigned char *ticket_offered(SSL *ssl)
{
	const unsigned char *p;
	size_t n;

	if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_psk, &p, &n))
		return n >= 4 + NAME_BYTES ? p + 4 : NULL; /* behind two lengths */
	if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_session_ticket, &p, &n))
		return n >= NAME_BYTES ? p : NULL;
	return NULL;
}

bool tls_ticket_is_offered(struct np_tls *t, SSL *ssl)
{
	const unsigned char *name = t->opts.no_tickets ? NULL : ticket_offered(ssl);
	struct tls_ticket_key k;
	bool ours = name && ticket_key_of(t, name, &k);

	if (ours)
		OPENSSL_cleanse(&k, sizeof k);
	return ours;
}

/* ------------------------------------------------------------------ a ticket */

static bool ticket_set_up(struct np_tls *t, const struct tls_ticket_key *k, unsigned char *iv,
			  EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int enc)
{
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)k->mac,
						  sizeof k->mac),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"sha256", 0),
		OSSL_PARAM_construct_end(),
	};

	return EVP_CipherInit_ex(cipher, t->ticket_cipher, NULL, k->cipher, iv, enc) &&
	       EVP_MAC_CTX_set_params(mac, params);
}

/* Return: as OpenSSL's callback: 1: made; -1: failed. */
static int ticket_make(struct np_tls *t, unsigned char *name, unsigned char *iv,
		       EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
	struct tls_ticket_key k;
	bool ok = ticket_key_now(t, &k) &&
		  RAND_bytes(iv, EVP_CIPHER_get_iv_length(t->ticket_cipher)) > 0 &&
		  ticket_set_up(t, &k, iv, cipher, mac, 1);

	memcpy(name, k.name, NAME_BYTES);
	OPENSSL_cleanse(&k, sizeof k);
	return ok ? 1 : -1;
}

/* Return: as ticket_key_of(); -1: failed. */
static int ticket_take(struct np_tls *t, const unsigned char *name, unsigned char *iv,
		       EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
	struct tls_ticket_key k;
	int r = ticket_key_of(t, name, &k);

	if (r && !ticket_set_up(t, &k, iv, cipher, mac, 0))
		r = -1;
	OPENSSL_cleanse(&k, sizeof k);
	return r;
}

/* RFC 8446, C.4: a ticket of TLS 1.3 is for one connection, so each connection leaves a new one. */
static int ticket_callback(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
			   EVP_MAC_CTX *mac, int enc)
{
	struct np_tls *t = tls_filter_of(ssl)->tls;
	int r = enc ? ticket_make(t, name, iv, cipher, mac) : ticket_take(t, name, iv, cipher, mac);

	return !enc && r == 1 && SSL_version(ssl) == TLS1_3_VERSION ? 2 : r;
}

void tls_ticket_init(struct np_tls *t, SSL_CTX *ctx)
{
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	if (t->opts.no_tickets) {
		SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
		SSL_CTX_set_num_tickets(ctx, 0);
	} else {
		SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, ticket_callback);
	}
}

void tls_ticket_fini(struct np_tls *t)
{
	EVP_CIPHER_free(t->ticket_cipher);
	OPENSSL_cleanse(&t->tickets, sizeof t->tickets);
}

/* ------------------------------------------------------------------ the secret */

static int ticket_read(const char *file, struct tls_secret *ret, struct tls_text *why)
{
	ssize_t n = tls_file_read_secret("ticket file", file, ret->bytes, sizeof ret->bytes, why);

	ret->n = n > 0 ? (size_t)n : 0;
	if (n >= 0 && n < TLS_SECRET_MIN)
		tls_error_say(why, "ticket file %s: %zd bytes, and at least %d are needed", file, n,
			      TLS_SECRET_MIN);
	return n < TLS_SECRET_MIN ? -NP_ETLS : 0;
}

int tls_ticket_load(struct np_tls *t, struct tls_secret *ret, struct tls_text *why)
{
	if (!t->ticket_cipher)
		t->ticket_cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
	if (!t->ticket_cipher) {
		tls_error_take(why, "no cipher for tickets: ");
		return -NP_ETLS;
	}
	if (t->opts.ticket_file)
		return ticket_read(t->opts.ticket_file, ret, why);
	*ret = t->tickets.now;
	if (ret->n)
		return 0;
	ret->n = TLS_SECRET_MIN;
	if (RAND_bytes(ret->bytes, TLS_SECRET_MIN) > 0)
		return 0;
	tls_error_take(why, "no random bytes: ");
	return -NP_ETLS;
}

void tls_ticket_use(struct np_tls *t, const struct tls_secret *s)
{
	struct tls_tickets *k = &t->tickets;

	if (s->n == k->now.n && !memcmp(s->bytes, k->now.bytes, s->n))
		return;
	k->before = k->now;
	k->now = *s;
	k->made = false;
}

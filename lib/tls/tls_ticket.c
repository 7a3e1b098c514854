/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tls_ticket: the keys of session tickets, from a secret and the time
 *
 * A key is good for one period, ticket_s long, and for what was made in the period before: each
 * process that has the secret comes to the same keys, without a word. The key of the period to come
 * is taken as well, for clocks are not the same everywhere.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tls/tls.h"

#define NAME_BYTES 16 /* of OpenSSL's callback */

struct ticket_key {
	unsigned char name[32], cipher[32], mac[32]; /* of name the first NAME_BYTES */
};

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

static bool ticket_key(const struct tls_secret *s, uint64_t period, struct ticket_key *ret)
{
	return s->n && ticket_derive(s, period, "name", ret->name) &&
	       ticket_derive(s, period, "cipher", ret->cipher) &&
	       ticket_derive(s, period, "mac", ret->mac);
}

static uint64_t ticket_period(const struct np_tls *t)
{
	return (uint64_t)time(NULL) / (unsigned)t->opts.ticket_s;
}

static bool ticket_set_up(const struct ticket_key *k, unsigned char *iv, EVP_CIPHER_CTX *cipher,
			  EVP_MAC_CTX *mac, int enc)
{
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)k->mac,
						  sizeof k->mac),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"sha256", 0),
		OSSL_PARAM_construct_end(),
	};

	return EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, k->cipher, iv, enc) &&
	       EVP_MAC_CTX_set_params(mac, params);
}

/* Return: as OpenSSL's callback: 1: made; -1: failed. */
static int ticket_make(struct np_tls *t, const struct tls_tickets *tickets, unsigned char *name,
		       unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
	struct ticket_key k;
	int ok = ticket_key(&tickets->now, ticket_period(t), &k) &&
		 RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) > 0 &&
		 ticket_set_up(&k, iv, cipher, mac, 1);

	memcpy(name, k.name, NAME_BYTES);
	OPENSSL_cleanse(&k, sizeof k);
	return ok ? 1 : -1;
}

/* Return: 1: good; 2: good, and to be replaced by a new one; 0: not ours, or too old; -1. */
static int ticket_take(struct np_tls *t, const struct tls_tickets *tickets,
		       const unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
		       EVP_MAC_CTX *mac)
{
	const struct tls_secret *secrets[] = { &tickets->now, &tickets->before };
	uint64_t period = ticket_period(t);
	struct ticket_key k;
	int r = 0;

	for (unsigned i = 0; i < 2 && r == 0; i++) {
		for (uint64_t p = period + 1; p + 1 >= period && r == 0; p--) {
			if (!ticket_key(secrets[i], p, &k) ||
			    CRYPTO_memcmp(k.name, name, NAME_BYTES) != 0)
				continue;
			r = i == 0 && p >= period ? 1 : 2;
			if (!ticket_set_up(&k, iv, cipher, mac, 0))
				r = -1;
		}
	}
	OPENSSL_cleanse(&k, sizeof k);
	return r;
}

static int ticket_callback(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
			   EVP_MAC_CTX *mac, int enc)
{
	struct np_tls *t = tls_filter_of(ssl)->tls;
	struct tls_tickets tickets;
	int r;

	pthread_mutex_lock(&t->lock);
	tickets = t->tickets;
	pthread_mutex_unlock(&t->lock);
	r = enc ? ticket_make(t, &tickets, name, iv, cipher, mac) :
		  ticket_take(t, &tickets, name, iv, cipher, mac);
	OPENSSL_cleanse(&tickets, sizeof tickets);
	return r;
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

/* ------------------------------------------------------------------ the secret */

static int ticket_read(const char *file, struct tls_secret *ret, struct tls_text *why)
{
	FILE *f = fopen(file, "re");

	ret->n = f ? fread(ret->bytes, 1, sizeof ret->bytes, f) : 0;
	if (!f || ferror(f))
		tls_error_say(why, "ticket file %s: %s", file, strerror(errno));
	else if (ret->n < TLS_SECRET_MIN)
		tls_error_say(why, "ticket file %s: %zu bytes, and at least %d are needed", file,
			      ret->n, TLS_SECRET_MIN);
	if (f && ferror(f))
		ret->n = 0;
	if (f)
		fclose(f);
	return ret->n < TLS_SECRET_MIN ? -NP_ETLS : 0;
}

int tls_ticket_load(struct np_tls *t, struct tls_secret *ret, struct tls_text *why)
{
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
}

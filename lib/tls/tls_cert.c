/* SPDX-License-Identifier: BSD-2-Clause */
/* tls_cert: a certificate, its chain and its key, and one sentence on what is wrong with them. */
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#include "tls/tls.h"

#define COST_TRIES 3

/* Nobody is asked for a password: a server that starts has no terminal. */
static int cert_no_password(char *buf, int size, int rw, void *arg)
{
	*(bool *)arg = true;
	return 0;
}

/* A key of another kind finds no certificate at all. */
static bool cert_is_of_another(unsigned long e)
{
	int reason = ERR_GET_REASON(e);

	if (ERR_GET_LIB(e) == ERR_LIB_SSL)
		return reason == SSL_R_NO_CERTIFICATE_ASSIGNED;
	return ERR_GET_LIB(e) == ERR_LIB_X509 &&
	       (reason == X509_R_KEY_VALUES_MISMATCH || reason == X509_R_KEY_TYPE_MISMATCH);
}

static int cert_load_key(SSL_CTX *ctx, const struct np_tls_cert *files, struct tls_text *why)
{
	bool asked = false;
	int ok;

	ERR_clear_error();
	SSL_CTX_set_default_passwd_cb(ctx, cert_no_password);
	SSL_CTX_set_default_passwd_cb_userdata(ctx, &asked);
	ok = SSL_CTX_use_PrivateKey_file(ctx, files->key, SSL_FILETYPE_PEM);
	SSL_CTX_set_default_passwd_cb_userdata(ctx, NULL);
	if (ok && SSL_CTX_check_private_key(ctx))
		return 0;
	if (asked) {
		ERR_clear_error();
		tls_error_say(why, "key %s has a password: give it without one", files->key);
	} else if (cert_is_of_another(ERR_peek_error())) {
		ERR_clear_error();
		tls_error_say(why, "key %s is not that of certificate %s", files->key, files->cert);
	} else {
		tls_error_take(why, "key %s: ", files->key);
	}
	return -NP_ETLS;
}

/* Each certificate of the file is followed by the one that has signed it. */
static int cert_check_chain(SSL_CTX *ctx, const char *file, struct tls_text *why)
{
	STACK_OF(X509) *chain = NULL;
	X509 *below = SSL_CTX_get0_certificate(ctx);

	SSL_CTX_get0_chain_certs(ctx, &chain);
	for (int i = 0; i < sk_X509_num(chain); i++) {
		X509 *above = sk_X509_value(chain, i);
		int r = X509_check_issued(above, below);

		if (r != X509_V_OK) {
			tls_error_say(
				why,
				"chain in %s: certificate %d is not the issuer of the one before it (%s)",
				file, i + 2, X509_verify_cert_error_string(r));
			return -NP_ETLS;
		}
		below = above;
	}
	return 0;
}

int tls_cert_load(SSL_CTX *ctx, const struct np_tls_cert *files, X509 **ret_leaf,
		  struct tls_text *why)
{
	int r;

	if (!files->cert || !files->key) {
		tls_error_say(why, "a certificate wants two files: its own and that of its key");
		return -NP_ETLS;
	}
	if (tls_file_check("certificate", files->cert, why) < 0 ||
	    tls_file_check("key", files->key, why) < 0)
		return -NP_ETLS;
	ERR_clear_error();
	if (SSL_CTX_use_certificate_chain_file(ctx, files->cert) != 1) {
		tls_error_take(why, "certificate %s: ", files->cert);
		return -NP_ETLS;
	}
	r = cert_load_key(ctx, files, why);
	if (r == 0)
		r = cert_check_chain(ctx, files->cert, why);
	if (r == 0)
		*ret_leaf = SSL_CTX_get0_certificate(ctx);
	return r;
}

static uint64_t cert_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint64_t cert_sign_ns(EVP_PKEY *key)
{
	static const unsigned char text[32];
	unsigned char sig[2048];
	size_t n = sizeof sig;
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	uint64_t began = cert_now_ns();
	bool ok = md && EVP_DigestSignInit(md, NULL, NULL, NULL, key) > 0 &&
		  EVP_DigestSign(md, sig, &n, text, sizeof text) > 0;

	EVP_MD_CTX_free(md);
	return ok ? cert_now_ns() - began : 0;
}

/* The shortest of a few: the first has to make tables. */
uint64_t tls_cert_cost(SSL_CTX *ctx)
{
	EVP_PKEY *key = SSL_CTX_get0_privatekey(ctx);
	uint64_t least = UINT64_MAX;

	for (int i = 0; key && i < COST_TRIES; i++) {
		uint64_t ns = cert_sign_ns(key);

		least = ns < least ? ns : least;
	}
	ERR_clear_error();
	return least == UINT64_MAX ? 0 : least / 1000;
}

bool tls_cert_is_for(X509 *leaf, const char *name)
{
	return X509_check_host(leaf, name, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1;
}

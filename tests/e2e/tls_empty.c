/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tls_empty: records without data, which OpenSSL does not send: this file encrypts them itself
 *
 * By the client's traffic secret of TLS 1.3, with AES-128-GCM.
 */
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "support/tls_seen.h"

#define HEAD 5
#define TAG  16

static unsigned char secret[32];

static void keep_secret(const SSL *ssl, const char *line)
{
	static const char label[] = "CLIENT_TRAFFIC_SECRET_0 ";
	const char *hex = strrchr(line, ' ') + 1;
	size_t n = 0;

	if (!strncmp(line, label, sizeof label - 1))
		ck_assert_int_eq(OPENSSL_hexstr2buf_ex(secret, sizeof secret, &n, hex, '\0'), 1);
}

/* HKDF-Expand-Label (RFC 8446, 7.1) of a label, for no more than one block. */
static void expand(const char *label, unsigned char *dst, size_t n)
{
	unsigned char info[64], block[32];
	int len = snprintf((char *)info, sizeof info, "%c%c%ctls13 %s%c%c", 0, (int)n,
			   (int)strlen(label) + 6, label, 0, 1);

	ck_assert_ptr_nonnull(
		HMAC(EVP_sha256(), secret, sizeof secret, info, (size_t)len, block, NULL));
	memcpy(dst, block, n);
}

/* The client's @seq-th record of application data. Return: its length. */
static size_t record(unsigned char *dst, uint64_t seq, const char *text)
{
	size_t n = strlen(text) + 1;
	unsigned char key[16], iv[12], plain[64];
	EVP_CIPHER_CTX *e = EVP_CIPHER_CTX_new();
	int len;

	expand("key", key, sizeof key);
	expand("iv", iv, sizeof iv);
	for (int i = 0; i < 8; i++)
		iv[11 - i] ^= (unsigned char)(seq >> 8 * i);
	memcpy(plain, text, n);
	plain[n - 1] = SSL3_RT_APPLICATION_DATA;
	memcpy(dst, "\x17\x03\x03\0", 4);
	dst[4] = (unsigned char)(n + TAG);
	ck_assert(EVP_EncryptInit_ex(e, EVP_aes_128_gcm(), NULL, key, iv) &&
		  EVP_EncryptUpdate(e, NULL, &len, dst, HEAD) &&
		  EVP_EncryptUpdate(e, dst + HEAD, &len, plain, (int)n) &&
		  EVP_EncryptFinal_ex(e, dst + HEAD + n, &len) &&
		  EVP_CIPHER_CTX_ctrl(e, EVP_CTRL_GCM_GET_TAG, TAG, dst + HEAD + n));
	EVP_CIPHER_CTX_free(e);
	return HEAD + n + TAG;
}

static void given_open_peer(struct tls_peer *p)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_request = echo,
					      .on_close = on_close };

	given_server(1, &h, NULL);
	tls_peer_init(p, serve_connect(0));
	SSL_CTX_set_keylog_callback(p->ctx, keep_secret);
	SSL_set_ciphersuites(p->ssl, "TLS_AES_128_GCM_SHA256");
	tls_peer_shake(p);
}

/* Behind what it has sent before; @n of them in one piece. */
static void send_empty(struct tls_peer *p, uint64_t *seq, int n)
{
	static unsigned char bytes[1000 * (HEAD + 1 + TAG)];
	size_t at = 0;

	for (int i = 0; i < n; i++)
		at += record(bytes + at, (*seq)++, "");
	(void)send(p->fd, bytes, at, MSG_NOSIGNAL); /* it may have closed */
}

START_TEST(a_record_without_data_is_no_request_and_no_end)
{
	unsigned char bytes[64];
	struct tls_peer p;
	uint64_t seq = 0;

	given_open_peer(&p);
	for (int i = 0; i < 20; i++) {
		send_empty(&p, &seq, 10);
		peer_send(p.fd, bytes, record(bytes, seq++, "x"));
		tls_peer_expect(&p, "x");
		ck_assert_int_eq(saw.requests, i + 1);
	}
	ck_assert_int_eq(saw.closes, 0);
	tls_peer_free(&p);
	end_server();
}
END_TEST

START_TEST(a_flood_of_them_comes_to_an_end)
{
	struct tls_peer p;
	uint64_t seq = 0;

	given_open_peer(&p);
	for (int i = 0; i < (_i ? 1000 : 1); i++) /* one by one, or all at once */
		send_empty(&p, &seq, _i ? 1 : 1000);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.error, -NP_ETLS);
	ck_assert_int_eq(saw.requests, 0);
	tls_peer_free(&p);
	end_server();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *c = add_case(s, "tls_empty");

	tcase_add_unchecked_fixture(c, certs_setup, certs_teardown);
	tcase_add_test(c, a_record_without_data_is_no_request_and_no_end);
	tcase_add_loop_test(c, a_flood_of_them_comes_to_an_end, 0, 2);
}

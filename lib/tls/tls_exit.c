/* SPDX-License-Identifier: BSD-2-Clause */
/* tls_exit: OpenSSL at the end of the process, of which it is not told: pollers are still in it. */
#include <openssl/crypto.h>

/*
 * By default OpenSSL frees all it has in a function of atexit(3), while the pollers of a program
 * that returns from main() shake hands. Only its very first call can switch that off, and the
 * program may make that one before any of ours: so it is made when the library is loaded.
 */
__attribute__((constructor)) static void tls_exit_is_not_told(void)
{
	OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
}

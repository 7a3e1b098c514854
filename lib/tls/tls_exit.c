/* SPDX-License-Identifier: BSD-2-Clause */
/* tls_exit: OpenSSL at the end of the process, of which it is not told: pollers are still in it. */
#include <openssl/crypto.h>

#include "tls/tls.h"

/*
 * By default OpenSSL frees all it has in a function of atexit(3), while the pollers of a program
 * that returns from main() shake hands. Only its first call in the process can switch that off.
 * Made as this library is loaded it would be too early: CRYPTO_set_mem_functions() has to come
 * before it, and is the program's.
 */
void tls_exit_is_not_told(void)
{
	OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
}

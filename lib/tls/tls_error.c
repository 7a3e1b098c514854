/* SPDX-License-Identifier: BSD-2-Clause */
/* tls_error: sentences. OpenSSL has a queue for each thread: they are taken where they arose. */
#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tls/tls.h"

void tls_error_say(struct tls_text *ret, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(ret->s, sizeof ret->s, fmt, ap);
	va_end(ap);
}

/* The reason without the numbers; where the system has said it, what the system said. */
static void error_reason(char *dst, size_t cap)
{
	unsigned long e = ERR_get_error();
	const char *reason = ERR_reason_error_string(e);

	if (e && ERR_SYSTEM_ERROR(e))
		snprintf(dst, cap, "%s", strerror(ERR_GET_REASON(e)));
	else if (e && reason)
		snprintf(dst, cap, "%s", reason);
	else
		snprintf(dst, cap, "no reason given");
	ERR_clear_error();
}

void tls_error_take(struct tls_text *ret, const char *fmt, ...)
{
	char reason[128];
	va_list ap;
	size_t n;

	error_reason(reason, sizeof reason);
	va_start(ap, fmt);
	vsnprintf(ret->s, sizeof ret->s, fmt, ap);
	va_end(ap);
	n = strlen(ret->s);
	snprintf(ret->s + n, sizeof ret->s - n, "%s", reason);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * status: texts and classes of the library's codes. In lib/sys because every layer speaks of them.
 */
#include "netpoll/status.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

static const struct {
	int code;
	const char *text;
} texts[] = {
	{ NP_ECLOSED, "connection closed by this side" },
	{ NP_EREADTIMEOUT, "read timeout" },
	{ NP_EDIALTIMEOUT, "dial timeout" },
	{ NP_ENOTOPEN, "connection not open yet: on_prepare has not returned" },
	{ NP_EUNSUPPORTED, "not supported by this kind of descriptor or network" },
	{ NP_EEOF, "peer sent end of stream" },
	{ NP_EWRITETIMEOUT, "write timeout" },
	{ NP_ECONCURRENT, "another fiber is reading or writing this connection" },
	{ NP_ETOOLONG, "longer than the maximum" },
	{ NP_ESHORT, "fewer bytes than asked for" },
	{ NP_ENOTFIBER, "this call may have to wait and is not on a fiber" },
	{ NP_ERESOLVE, "no such host name" },
	{ NP_EMOVED, "the connection went on in another process" },
	{ NP_ECUT, "the peer closed without TLS's own end: what came need not be all" },
	{ NP_ETLS, "TLS failed" },
	{ NP_EVERIFY, "the peer's certificate was refused" },
	{ NP_ERESOLVEAGAIN, "host name not resolved: no name server had an answer" },
};

/* Either sign. INT_MIN has no other. */
static int status_code(int status)
{
	if (status == INT_MIN)
		return INT_MAX;
	return status < 0 ? -status : status;
}

const char *np_strerror(int status)
{
	int code = status_code(status);
	const char *text;

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		if (texts[i].code == code)
			return texts[i].text;
	/* strerror(3) may write to a shared buffer; this one is constant (glibc 2.32). */
	text = strerrordesc_np(code);
	return text ? text : "unknown status";
}

bool np_err_is_timeout(int status)
{
	int code = status_code(status);

	return code == NP_EREADTIMEOUT || code == NP_EWRITETIMEOUT || code == NP_EDIALTIMEOUT ||
	       code == ETIMEDOUT;
}

bool np_err_is_closed(int status)
{
	int code = status_code(status);

	return code == NP_ECLOSED || code == NP_EEOF || code == ECONNRESET || code == EPIPE;
}

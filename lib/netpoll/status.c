/* SPDX-License-Identifier: BSD-2-Clause */
/* status: texts of the library's own codes; errno values are strerror(3)'s, minus its shared buffer. */
#include "netpoll/status.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* What follows takes codes of either sign; INT_MIN has no positive twin. */
static int magnitude(int status)
{
	return status < -INT_MAX ? INT_MAX : abs(status);
}

static const char *own_text(int status)
{
	switch (status) {
	case NP_ECLOSED:
		return "Connection closed by this side";
	case NP_EREADTIMEOUT:
		return "Read timed out";
	case NP_EDIALTIMEOUT:
		return "Dial timed out";
	case NP_EUNSUPPORTED:
		return "Not supported by this kind of descriptor or network";
	case NP_EEOF:
		return "End of stream: the peer has sent its last byte";
	case NP_EWRITETIMEOUT:
		return "Write timed out";
	case NP_ECONCURRENT:
		return "Another fiber is reading or writing this connection";
	case NP_ETOOLONG:
		return "Longer than the configured maximum";
	case NP_ESHORT:
		return "Fewer bytes there than asked for";
	case NP_ENOTFIBER:
		return "This call may have to wait, which only a fiber can";
	case NP_ERESOLVE:
		return "The name could not be resolved";
	default:
		return NULL;
	}
}

const char *np_strerror(int status)
{
	const char *text;
	int code = magnitude(status);

	if (code == 0)
		return "Success";
	text = own_text(code);
	if (!text)
		text = strerrordesc_np(code); /* static; strerror(3) may use one buffer for all threads */
	return text ? text : "Unknown status";
}

bool np_err_is_timeout(int status)
{
	switch (magnitude(status)) {
	case NP_EREADTIMEOUT:
	case NP_EWRITETIMEOUT:
	case NP_EDIALTIMEOUT:
	case ETIMEDOUT:
		return true;
	default:
		return false;
	}
}

bool np_err_is_closed(int status)
{
	switch (magnitude(status)) {
	case NP_ECLOSED:
	case NP_EEOF:
	case ECONNRESET:
	case EPIPE:
		return true;
	default:
		return false;
	}
}

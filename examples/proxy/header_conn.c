/* SPDX-License-Identifier: BSD-2-Clause */
/* header_conn: a header off a connection's input, and the addresses of a connection. */
#include <errno.h>
#include <netpoll/conn.h>
#include <netpoll/status.h>
#include <string.h>

#include "header.h"

void header_ends(struct np_conn *c, struct ends *ret)
{
	socklen_t len;

	memset(ret, 0, sizeof *ret);
	np_conn_remote_addr(c, &ret->from, &len);
	np_conn_local_addr(c, &ret->to, &len);
}

/*
 * Never more is waited for than the header is certain to have: a client may send nothing behind it.
 */
int header_read(struct np_conn *c, struct ends *ends)
{
	size_t n = 1;
	const void *p;
	long len;
	int r;

	for (;;) {
		r = np_conn_peek(c, n, &p);
		if (r < 0)
			return r;
		if (*(const char *)p == 'P') {
			r = np_conn_until(c, '\n', HEADER_V1_MAX, &p, &n);
			if (r < 0)
				return r == -NP_ETOOLONG ? -EBADMSG : r;
			len = header_parse(p, n, ends);
			return len > 0 ? 0 : -EBADMSG;
		}
		len = header_parse(p, n, ends);
		if (len != 0)
			break;
		n = n < HEADER_V2_FIXED ?
			    HEADER_V2_FIXED :
			    HEADER_V2_FIXED +
				    (((const unsigned char *)p)[13] == HEADER_TCP4 ? 12 : 36);
	}
	return len < 0 ? (int)len : np_conn_skip(c, (size_t)len);
}

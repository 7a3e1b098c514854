/* SPDX-License-Identifier: BSD-2-Clause */
/* tls_echo: a server with TLS that answers with what it gets, one for each test */
#ifndef SUPPORT_TLS_ECHO_H
#define SUPPORT_TLS_ECHO_H

#include <netpoll/conn.h>

#include "support/tls_peer.h"

static int echo(struct np_conn *c, void *arg)
{
	const void *p;
	size_t n = np_conn_len(c);
	int r = np_conn_next(c, n, &p);

	if (r == 0)
		r = np_conn_write(c, p, n);
	return r < 0 ? r : np_conn_flush(c);
}

static const struct np_handlers echoes = { .sz = sizeof echoes, .on_request = echo };
static struct np_tls *tls;

static void given_server(struct np_tls_opts *o)
{
	tls = given_server_tls(o);
	serve(1, &echoes, NULL, NP_OPTS(np_server_opts, .tls = tls, .steer = NP_STEER_OFF));
}

static void end_server(void)
{
	serve_end();
	np_tls_free(&tls);
}

#endif

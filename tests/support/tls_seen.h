/* SPDX-License-Identifier: BSD-2-Clause */
/* tls_seen: what the handlers of a server with TLS have seen, and the servers of one test */
#ifndef SUPPORT_TLS_SEEN_H
#define SUPPORT_TLS_SEEN_H

#include <arpa/inet.h>
#include <netpoll/client.h>
#include <netpoll/conn.h>
#include <netpoll/linkbuf.h>
#include <stdatomic.h>

#include "support/tls_peer.h"

static struct {
	_Atomic(int) connects, requests, closes, error, r[16];
	_Atomic(int) dones, taken;
	_Atomic(size_t) bytes;
	_Atomic(struct np_conn *) conn;
} saw;

static struct np_tls *tls, *client_tls;
__attribute__((unused)) static char address[64];

helper void on_close(struct np_conn *c, void *arg)
{
	saw.error = np_conn_error(c);
	saw.closes++;
}

helper int echo(struct np_conn *c, void *arg)
{
	struct np_linkbuf *all = NULL;
	int r = np_conn_slice(c, np_conn_len(c), &all);

	saw.requests++;
	if (r == 0)
		r = np_conn_append(c, &all);
	if (all)
		np_linkbuf_free(&all);
	return r < 0 ? r : np_conn_flush(c);
}

helper void given_address(void)
{
	struct sockaddr_storage ss;
	socklen_t len;

	ck_assert_int_eq(np_server_addr(serve_server, 0, &ss, &len), 0);
	snprintf(address, sizeof address, "127.0.0.1:%d",
		 ntohs(((struct sockaddr_in *)&ss)->sin_port));
}

helper void given_server(int pollers, const struct np_handlers *h, struct np_tls_opts *o)
{
	tls = given_server_tls(o);
	serve(pollers, h, NULL, NP_OPTS(np_server_opts, .tls = tls));
	given_address();
}

/* A server that begins in the clear. */
helper void given_plain(const struct np_handlers *h, struct np_tls_opts *o)
{
	tls = given_server_tls(o);
	serve(1, h, NULL, NULL);
	given_address();
}

helper void given_client(void)
{
	struct np_tls_opts o = { .sz = sizeof o, .ca_file = in_certs("ca.pem") };

	o.no_tickets = true; /* OpenSSL counts who has a session where TSan cannot see it */

	ck_assert_int_eq(np_tls_client_new(&o, &client_tls), 0);
}

helper void end_server(void)
{
	serve_end();
	np_tls_free(&tls);
	np_tls_free(&client_tls);
}

/* The first connection, with a reference. */
helper int keep(struct np_conn *c, void *arg)
{
	saw.conn = np_conn_ref(c);
	return 0;
}

#endif

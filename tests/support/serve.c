/* SPDX-License-Identifier: BSD-2-Clause */
/* serve: given a server, then it ends without a trace. */
#include "support/serve.h"

#include <netinet/in.h>
#include <netpoll/linkbuf.h>
#include <stdio.h>

#include "support/peer.h"
#include "support/test.h"

struct np_server *serve_server;

void serve_at(struct np_server **s, const struct np_handlers *h, void *arg,
	      const struct np_server_opts *o, const char *network, const char *address)
{
	int r;

	ck_assert_int_eq(np_server_new(pollers, h, arg, o, s), 0);
	r = np_server_listen(*s, network, address);
	ck_assert_msg(r == 0, "listen %s: %s", address, np_server_error(*s));
	ck_assert_int_eq(np_server_start(*s), 0);
}

struct np_server_stats serve_stats(struct np_server *s)
{
	struct np_server_stats st = { .sz = sizeof st };

	ck_assert_int_eq(np_server_stats(s, &st), 0);
	return st;
}

const char *serve_address(struct np_server *s)
{
	static _Thread_local char text[80];
	struct sockaddr_storage ss;
	socklen_t len;

	ck_assert_int_eq(np_server_addr(s, 0, &ss, &len), 0);
	if (ss.ss_family == AF_INET)
		snprintf(text, sizeof text, "127.0.0.1:%d",
			 ntohs(((struct sockaddr_in *)&ss)->sin_port));
	else
		snprintf(text, sizeof text, "[::1]:%d",
			 ntohs(((struct sockaddr_in6 *)&ss)->sin6_port));
	return text;
}

void serve_over(struct np_server **s)
{
	if (!*s)
		return;
	ck_assert_int_eq(np_server_stop(*s, AWAIT_MS, NULL), 0);
	ck_assert_int_eq(np_server_free(s), 0);
	ck_assert_ptr_null(*s);
}

void serve(int n, const struct np_handlers *h, void *arg, const struct np_server_opts *o)
{
	struct np_server_opts own = { .sz = sizeof own };

	if (o)
		own = *o;
	own.drain_ms = own.drain_ms ? own.drain_ms : 1;
	own.fresh_ms = own.fresh_ms ? own.fresh_ms : 1;
	given_pollers(NP_OPTS(np_pollers_opts, .count = n));
	serve_at(&serve_server, h, arg, &own, "tcp", "127.0.0.1:0");
}

int serve_connect(int i)
{
	return peer_of(serve_server, i);
}

uint64_t serve_conns(void)
{
	return serve_stats(serve_server).conns;
}

void serve_end(void)
{
	serve_over(&serve_server);
	end_pollers();
}

int serve_echo(struct np_conn *c, void *arg)
{
	struct np_linkbuf *all = NULL;
	int r = np_conn_slice(c, np_conn_len(c), &all);

	if (r == 0)
		r = np_conn_append(c, &all);
	np_linkbuf_free(&all);
	return r < 0 ? r : np_conn_flush(c);
}

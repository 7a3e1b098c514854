/* SPDX-License-Identifier: BSD-2-Clause */
/* serve: given a server, then it ends without a trace. */
#include "support/serve.h"

#include "support/peer.h"
#include "support/test.h"

struct np_pollers *serve_pollers;
struct np_server *serve_server;
static int fds_before;

void serve(int pollers, const struct np_handlers *h, void *arg, const struct np_server_opts *o)
{
	struct np_server_opts own = { .sz = sizeof own };

	if (o)
		own = *o;
	own.drain_ms = own.drain_ms ? own.drain_ms : 1;
	own.fresh_ms = own.fresh_ms ? own.fresh_ms : 1;
	fds_before = open_fds();
	ck_assert_int_eq(
		np_pollers_start(NP_OPTS(np_pollers_opts, .count = pollers), &serve_pollers), 0);
	ck_assert_int_eq(np_server_new(serve_pollers, h, arg, &own, &serve_server), 0);
	ck_assert_msg(np_server_listen(serve_server, "tcp", "127.0.0.1:0") == 0, "%s",
		      np_server_error(serve_server));
	ck_assert_int_eq(np_server_start(serve_server), 0);
}

int serve_connect(int i)
{
	return peer_of(serve_server, i);
}

uint64_t serve_conns(void)
{
	struct np_server_stats st = { .sz = sizeof st };

	ck_assert_int_eq(np_server_stats(serve_server, &st), 0);
	return st.conns;
}

void serve_end(void)
{
	ck_assert_int_eq(np_server_stop(serve_server, AWAIT_MS, NULL), 0);
	ck_assert_int_eq(np_server_free(&serve_server), 0);
	ck_assert_int_eq(np_pollers_stop(serve_pollers, AWAIT_MS), 0);
	ck_assert_int_eq(np_pollers_free(&serve_pollers), 0);
	ck_assert_int_eq(open_fds(), fds_before);
	AWAIT(np_threads() == 0);
}

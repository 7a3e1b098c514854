/* SPDX-License-Identifier: BSD-2-Clause */
/* tls_many: many connections with TLS at once: handshakes, and handlers that block */
#include <netpoll/pollers.h>
#include <unistd.h>

#include "support/tls_seen.h"

/* ------------------------------------------------------------------ many */

#define MANY 50

static struct np_conn *idle[MANY];
static _Atomic(int) dialed, failed, first_error;

static int dial_one(void *arg)
{
	int i = (int)(intptr_t)arg, r;
	const void *p;

	r = np_dial(NULL, NP_HERE, "tcp", address,
		    NP_OPTS(np_dial_opts, .tls = client_tls, .timeout_ms = 30000), &idle[i]);
	if (r == 0)
		r = np_conn_write(idle[i], "ping", 4);
	if (r == 0)
		r = np_conn_flush(idle[i]);
	if (r == 0)
		r = np_conn_next(idle[i], 4, &p);
	if (r < 0) {
		failed++;
		first_error = r;
	}
	dialed++;
	return 0;
}

static int dial_many(void *arg)
{
	for (int i = 0; i < MANY; i++)
		ck_assert_int_eq(np_go(NULL, NP_SPREAD, dial_one, (void *)(intptr_t)i, NULL), 0);
	while (dialed < MANY)
		np_sleep(5);
	return 0;
}

static int close_many(void *arg)
{
	for (int i = 0; i < MANY; i++)
		if (idle[i]) {
			np_conn_close(idle[i]);
			np_conn_unref(idle[i]);
		}
	return 0;
}

START_TEST(many_shake_hands_at_once)
{
	struct np_handlers h = { .sz = sizeof h, .on_request = echo, .on_close = on_close };
	struct np_tls_opts o = { .sz = sizeof o, .handshake_ms = 30000, .offload_us = _i ? 1 : 0 };

	given_client();
	given_server(2, &h, &o);
	np_run(pollers, dial_many, NULL);
	ck_assert_msg(failed == 0, "%s", np_strerror(first_error));
	ck_assert_int_eq((int)tls_stats_of(tls).offloaded, _i ? MANY : 0);
	np_run(pollers, close_many, NULL);
	AWAIT(saw.closes == MANY);
	end_server();
}
END_TEST

/* ------------------------------------------------------------------ handlers that block */

static int blocks(struct np_conn *c, void *arg)
{
	usleep(10000);
	return echo(c, arg);
}

START_TEST(handlers_that_block_share_a_poller)
{
	struct np_handlers h = {
		.sz = sizeof h, .on_request = blocks, .on_close = on_close, .flags = NP_MAY_BLOCK
	};
	struct tls_peer p[8];

	given_server(1, &h, NULL);
	for (int i = 0; i < 8; i++) {
		given_peer(&p[i]);
		tls_peer_say(&p[i], "one", 3);
	}
	for (int i = 0; i < 8; i++)
		tls_peer_expect(&p[i], "one");
	for (int i = 0; i < 8; i++)
		tls_peer_part(&p[i]);
	AWAIT(saw.closes == 8);
	end_server();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *c = add_case(s, "tls_many");

	tcase_add_unchecked_fixture(c, certs_setup, certs_teardown);
	tcase_add_loop_test(c, many_shake_hands_at_once, 0, 2);
	tcase_add_test(c, handlers_that_block_share_a_poller);
}

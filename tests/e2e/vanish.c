/* SPDX-License-Identifier: BSD-2-Clause */
/* vanish: hosts that are gone without a word, and answers that come while the thread is kept;
 * public headers only */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <netpoll/call.h>
#include <netpoll/linkbuf.h>
#include <netpoll/pool.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "support/peer.h"
#include "support/pollers.h"
#include "support/run.h"
#include "support/test.h"

static int listener;
static char address[32];

static void given_listener(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof sa;

	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&sa, sizeof sa), 0);
	ck_assert_int_eq(listen(listener, 16), 0);
	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&sa, &len), 0);
	snprintf(address, sizeof address, "127.0.0.1:%d", ntohs(sa.sin_port));
}

/* A request and an answer are a number. */
static int frame(struct np_conn *c, uint64_t *ret_id, size_t *ret_len, void *arg)
{
	const void *p;
	int r = np_conn_peek(c, 8, &p);

	if (r < 0)
		return r;
	memcpy(ret_id, p, 8);
	*ret_len = 8;
	return 0;
}

static struct np_channel *channel;

static int dial_channel(void *arg)
{
	return np_channel_dial("tcp", address, arg, &channel);
}

static int call_ms;

static int call(void *arg)
{
	struct np_linkbuf *b, *got = NULL;
	uint64_t id = np_channel_id(channel);
	int r;

	ck_assert_int_eq(np_linkbuf_new(0, &b), 0);
	ck_assert_int_eq(np_linkbuf_write(b, &id, 8), 0);
	np_linkbuf_flush(b);
	r = np_call(channel, id, &b, call_ms, &got);
	np_linkbuf_free(&b); /* it was not sent: the channel has ended */
	np_linkbuf_free(&got);
	return r;
}

static void over(void)
{
	ck_assert_int_eq(np_channel_free(&channel), 0);
	end_pollers();
	close(listener);
}

/* ------------------------------------------------------------------ gone */

static bool is_of_a_lost_host(int r)
{
	return r == -ETIMEDOUT || r == -EHOSTUNREACH || r == -ENETUNREACH;
}

/* With nothing of ours on the way it is asked; else its kernel owes an acknowledgement. */
START_TEST(a_call_without_a_limit_ends_when_the_host_has_vanished)
{
	struct np_task *t;
	uint64_t id;
	int peer;

	if (!can_root() || own_netns() < 0)
		SKIP("needs root and a network namespace");
	given_listener();
	given_pollers(NULL);
	ck_assert_int_eq(
		joined(given_task(0, dial_channel,
				  _i ? NP_OPTS(np_channel_opts, .frame = frame,
					       .user_timeout_ms = 200) :
				       NP_OPTS(np_channel_opts, .frame = frame,
					       .keepalive_idle_s = 1, .keepalive_cnt = 1))),
		0);
	peer = accept(listener, NULL, NULL);
	if (_i)
		must_sh("PATH=$PATH:/sbin:/usr/sbin; ip link set lo down");
	t = given_task(0, call, NULL);
	if (!_i) {
		peer_recv(peer, &id, 8);
		must_sh("PATH=$PATH:/sbin:/usr/sbin; ip link set lo down");
	}
	ck_assert(is_of_a_lost_host(joined(t)));
	ck_assert(is_of_a_lost_host(np_channel_error(channel)));
	peer_close(&peer);
	over();
}
END_TEST

static int option(struct np_conn *c, int level, int name)
{
	socklen_t len = sizeof(int);
	int v = -1;

	ck_assert_int_eq(getsockopt(np_conn_fd(c), level, name, &v, &len), 0);
	return v;
}

static void expect_options(struct np_conn *c)
{
	ck_assert_int_eq(option(c, SOL_SOCKET, SO_KEEPALIVE), 1);
	ck_assert_int_eq(option(c, IPPROTO_TCP, TCP_KEEPIDLE), 7);
	ck_assert_int_eq(option(c, IPPROTO_TCP, TCP_KEEPINTVL), 5);
	ck_assert_int_eq(option(c, IPPROTO_TCP, TCP_KEEPCNT), 2);
	ck_assert_int_eq(option(c, IPPROTO_TCP, TCP_USER_TIMEOUT), 1234);
}

#define SET \
	.keepalive_idle_s = 7, .keepalive_intvl_s = 5, .keepalive_cnt = 2, .user_timeout_ms = 1234

static const struct np_handlers nothing = { .sz = sizeof nothing };

static int dial_each_way(void *arg)
{
	struct np_pool *pool;
	struct np_conn *c;

	ck_assert_int_eq(np_dial(NULL, NP_HERE, "tcp", address, NP_OPTS(np_dial_opts, SET), &c), 0);
	expect_options(c);
	np_conn_abort(c);
	np_conn_unref(c);
	ck_assert_int_eq(np_dial(NULL, 1, "tcp", address,
				 NP_OPTS(np_dial_opts, SET, .handlers = &nothing), &c),
			 0);
	expect_options(c);
	np_conn_abort(c);
	np_conn_unref(c);
	ck_assert_int_eq(np_pool_new(pollers, "tcp", address, NP_OPTS(np_pool_opts, SET), &pool),
			 0);
	ck_assert_int_eq(np_pool_get(pool, &c), 0);
	expect_options(c);
	ck_assert_int_eq(np_pool_put(pool, &c), 0);
	ck_assert_int_eq(np_pool_free(&pool), 0);
	ck_assert_int_eq(np_channel_dial("tcp", address,
					 NP_OPTS(np_channel_opts, SET, .frame = frame), &channel),
			 0);
	expect_options(np_channel_conn(channel));
	ck_assert_int_eq(np_dial(NULL, NP_HERE, "tcp", address,
				 NP_OPTS(np_dial_opts, .keepalive_cnt = -1), &c),
			 -EINVAL);
	ck_assert_int_eq(np_dial(NULL, NP_HERE, "tcp", address,
				 NP_OPTS(np_dial_opts, .user_timeout_ms = -2), &c),
			 -EINVAL);
	return 0;
}

START_TEST(the_settings_reach_the_socket_on_every_way_of_dialing)
{
	given_listener();
	given_pollers(NULL);
	ck_assert_int_eq(joined(given_task(0, dial_each_way, NULL)), 0);
	over();
}
END_TEST

/* ------------------------------------------------------------------ late readers */

static _Atomic(int) answered;

static void *answer_once(void *arg)
{
	int peer = accept(listener, NULL, NULL);
	uint64_t id;

	peer_recv(peer, &id, 8);
	peer_send(peer, &id, 8);
	answered = 1;
	return (void *)(intptr_t)peer;
}

/* In one go from before the answer until long after the limit. */
static int keep_the_thread(void *arg)
{
	uint64_t end;

	np_yield(); /* the request goes out */
	AWAIT(answered);
	for (end = now_ms() + 60; now_ms() < end;)
		;
	return 0;
}

START_TEST(an_answer_that_came_before_the_limit_counts_though_nobody_could_read_it)
{
	struct np_task *t, *hog;
	pthread_t thread;
	void *peer;
	int fd;

	given_listener();
	given_pollers(NP_OPTS(np_pollers_opts, .count = 1));
	ck_assert_int_eq(pthread_create(&thread, NULL, answer_once, NULL), 0);
	ck_assert_int_eq(
		joined(given_task(0, dial_channel, NP_OPTS(np_channel_opts, .frame = frame))), 0);
	call_ms = 20;
	t = given_task(0, call, NULL);
	hog = given_task(0, keep_the_thread, NULL);
	ck_assert_int_eq(joined(t), 0);
	joined(hog);
	pthread_join(thread, &peer);
	fd = (int)(intptr_t)peer;
	peer_close(&fd);
	over();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "vanish");

	tcase_add_loop_test(t, a_call_without_a_limit_ends_when_the_host_has_vanished, 0, 2);
	tcase_add_test(t, the_settings_reach_the_socket_on_every_way_of_dialing);
	tcase_add_test(t, an_answer_that_came_before_the_limit_counts_though_nobody_could_read_it);
}

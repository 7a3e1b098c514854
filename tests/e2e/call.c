/* SPDX-License-Identifier: BSD-2-Clause */
/* call: many callers on one connection; public headers only */
#include <endian.h>
#include <errno.h>
#include <netpoll/call.h>
#include <netpoll/linkbuf.h>
#include <netpoll/server.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "support/serve.h"
#include "support/test.h"

/*
 * A request and an answer: 4 bytes of length, header included, 8 of the number, then what is asked.
 */
#define HEAD 12

static struct np_channel *channel;

static int frame(struct np_conn *c, uint64_t *ret_id, size_t *ret_len, void *arg)
{
	uint32_t len;
	const void *p;
	int r = np_conn_peek(c, HEAD, &p);

	if (r < 0)
		return r;
	memcpy(&len, p, 4);
	memcpy(ret_id, (const char *)p + 4, 8);
	*ret_len = be32toh(len);
	return *ret_len < HEAD ? -EBADMSG : 0;
}

/* The server answers the requests of a connection in the reverse of their order, two by two. */
static int reverse(struct np_conn *c, void *arg)
{
	struct np_linkbuf *b[2] = { NULL };
	uint64_t id;
	size_t len;
	int r = 0;

	for (int i = 0; i < 2 && r == 0; i++) {
		r = frame(c, &id, &len, NULL);
		if (r == 0)
			r = np_conn_slice(c, len, &b[i]);
	}
	for (int i = 1; i >= 0; i--) {
		if (r == 0)
			r = np_conn_append(c, &b[i]);
		np_linkbuf_free(&b[i]);
	}
	return r < 0 ? r : np_conn_flush(c);
}

static int echo(struct np_conn *c, void *arg)
{
	struct np_linkbuf *b = NULL;
	uint64_t id;
	size_t len;
	int r = frame(c, &id, &len, NULL);

	if (r == 0)
		r = np_conn_slice(c, len, &b);
	if (r == 0)
		r = np_conn_append(c, &b);
	return r < 0 ? r : np_conn_flush(c);
}

static _Atomic(int) silenced;

/* Says nothing, until it has @arg requests: then it ends. */
static int keep_silent(struct np_conn *c, void *arg)
{
	const void *p;
	int r = np_conn_next(c, HEAD, &p);

	return r < 0 ? r : atomic_fetch_add(&silenced, 1) + 1 == (int)(intptr_t)arg ? -1 : 0;
}

static int dial(void *arg)
{
	return np_channel_dial("tcp", serve_address(serve_server),
			       NP_OPTS(np_channel_opts, .frame = frame), &channel);
}

static void given(int n, int (*on_request)(struct np_conn *, void *), void *arg)
{
	struct np_handlers h = { .sz = sizeof h, .on_request = on_request };

	serve(n, &h, arg, NULL);
	ck_assert_int_eq(np_run(pollers, dial, NULL), 0);
}

static void over(void)
{
	ck_assert_int_eq(np_channel_free(&channel), 0);
	serve_end();
}

static struct np_linkbuf *request(uint64_t id)
{
	struct np_linkbuf *b;
	uint32_t len = htobe32(HEAD);

	ck_assert_int_eq(np_linkbuf_new(0, &b), 0);
	ck_assert_int_eq(np_linkbuf_write(b, &len, 4), 0);
	ck_assert_int_eq(np_linkbuf_write(b, &id, 8), 0);
	np_linkbuf_flush(b);
	return b;
}

/* A call whose answer has to be its own. */
static int call(uint64_t id, int ms)
{
	struct np_linkbuf *b = request(id), *a;
	uint64_t got;
	const void *p;
	int r = np_call(channel, id, &b, ms, &a);

	if (r == 0 || r == -ETIMEDOUT || r == -ECANCELED)
		ck_assert_ptr_null(b);
	np_linkbuf_free(&b);
	if (r < 0) {
		ck_assert(a == NULL);
		return r;
	}
	ck_assert_uint_eq(np_linkbuf_len(a), HEAD);
	ck_assert_int_eq(np_linkbuf_next(a, HEAD, &p), 0);
	memcpy(&got, (const char *)p + 4, 8);
	np_linkbuf_free(&a);
	return got == id ? 0 : -1;
}

#define CALLS 500

static int call_many(void *arg)
{
	int r = 0;

	for (int i = 0; i < CALLS && r == 0; i++)
		r = call(np_channel_id(channel), 0);
	return r;
}

static void *call_from_a_thread(void *arg)
{
	return (void *)(intptr_t)call_many(NULL);
}

START_TEST(callers_everywhere_get_their_own_answers)
{
	struct np_task *t[16];
	pthread_t thread;
	void *result;
	int r;

	given(4, echo, NULL);
	ck_assert_int_eq(pthread_create(&thread, NULL, call_from_a_thread, NULL), 0);
	for (int i = 0; i < 16; i++)
		ck_assert_int_eq(np_go(pollers, i % 4, call_many, NULL, &t[i]), 0);
	for (int i = 0; i < 16; i++) {
		ck_assert_int_eq(np_join(&t[i], &r), 0);
		ck_assert_int_eq(r, 0);
	}
	ck_assert_int_eq(pthread_join(thread, &result), 0);
	ck_assert_int_eq((int)(intptr_t)result, 0);
	ck_assert_uint_eq(np_channel_dropped(channel), 0);
	over();
}
END_TEST

/* Two at a time, answered in reverse: an even number of callers, each with as many calls. */
START_TEST(answers_in_another_order_find_their_callers)
{
	struct np_task *t[2];
	int r;

	given(2, reverse, NULL);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(np_go(pollers, i, call_many, NULL, &t[i]), 0);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(np_join(&t[i], &r), 0);
		ck_assert_int_eq(r, 0);
	}
	over();
}
END_TEST

START_TEST(a_late_answer_is_dropped_and_harms_nobody)
{
	given(1, reverse, NULL);
	ck_assert_int_eq(call(np_channel_id(channel), 10), -ETIMEDOUT);
	ck_assert_int_eq(call(np_channel_id(channel), 0), 0); /* the server answers both now */
	AWAIT(np_channel_dropped(channel) == 1);
	ck_assert_int_eq(np_channel_error(channel), 0);
	over();
}
END_TEST

static int call_once(void *arg)
{
	return call(np_channel_id(channel), 0);
}

START_TEST(when_the_peer_goes_every_caller_is_told)
{
	struct np_task *t[8];
	int r;

	given(4, keep_silent, (void *)8);
	for (int i = 0; i < 8; i++)
		ck_assert_int_eq(np_go(pollers, i % 4, call_once, NULL, &t[i]), 0);
	for (int i = 0; i < 8; i++) {
		ck_assert_int_eq(np_join(&t[i], &r), 0);
		ck_assert_msg(r == -NP_EEOF || r == -ECONNRESET, "%d", r);
	}
	ck_assert_int_lt(np_channel_error(channel), 0);
	ck_assert_int_lt(call(np_channel_id(channel), 0), 0);
	over();
}
END_TEST

START_TEST(freeing_the_channel_ends_the_calls)
{
	struct np_task *t;
	int r;

	given(2, keep_silent, NULL);
	ck_assert_int_eq(np_go(pollers, 1, call_once, NULL, &t), 0);
	AWAIT(atomic_load(&silenced) == 1);
	ck_assert_int_eq(np_channel_free(&channel), 0);
	ck_assert_int_eq(np_join(&t, &r), 0);
	ck_assert_msg(r == -NP_ECLOSED || r == -NP_EEOF, "%d", r);
	serve_end();
}
END_TEST

START_TEST(a_number_is_waited_for_by_one)
{
	struct np_linkbuf *a, *b;
	struct np_task *t;
	int r;

	given(2, keep_silent, NULL);
	ck_assert_int_eq(np_go(pollers, 1, call_once, NULL, &t), 0); /* waits for 1 */
	AWAIT(atomic_load(&silenced) == 1);
	b = request(1);
	ck_assert_int_eq(np_call(channel, 1, &b, 0, &a), -EEXIST);
	ck_assert_uint_eq(np_linkbuf_len(b) + np_linkbuf_pending(b), HEAD);
	np_linkbuf_free(&b);
	ck_assert_int_eq(np_channel_free(&channel), 0);
	ck_assert_int_eq(np_join(&t, &r), 0);
	serve_end();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "call");

	tcase_add_test(t, callers_everywhere_get_their_own_answers);
	tcase_add_test(t, answers_in_another_order_find_their_callers);
	tcase_add_test(t, a_late_answer_is_dropped_and_harms_nobody);
	tcase_add_test(t, when_the_peer_goes_every_caller_is_told);
	tcase_add_test(t, freeing_the_channel_ends_the_calls);
	tcase_add_test(t, a_number_is_waited_for_by_one);
}

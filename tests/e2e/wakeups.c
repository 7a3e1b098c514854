/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * wakeups: how often the library is woken, where handlers may block and where they may not
 *
 * Public headers only. NP_IDLE_MS: for how long nothing must happen.
 */
#include <netpoll/conn.h>
#include <stdlib.h>

#include "support/blocker.h"
#include "support/peer.h"
#include "support/pollers.h"
#include "support/switches.h"
#include "support/test.h"

#define REQUESTS 20
/* Each but the last is a wait for the next: three see that no handler runs. */
#define LOOKS    4
/* It is woken while the thread that rouses it has its lock still. */
#define MEETS    1

static int on_request(struct np_conn *c, void *arg)
{
	char op;
	int r = blocker_take(c, &op);

	if (r < 0)
		return r;
	if (op == 'b')
		blocker_wait();
	return blocker_answer(c, op);
}

/* @may_block: and one of its handlers has been left alone. */
static void given(bool may_block)
{
	struct np_handlers h = *blocker_handlers(on_request);
	int fd;

	if (!may_block)
		h.flags = 0;
	given_blocker(&h, 0, NULL);
	if (!may_block)
		return;
	fd = given_left_alone('b');
	must_serve();
	must_go_on(&fd, 'b');
}

static int compare(const void *a, const void *b)
{
	unsigned long long x = *(const unsigned long long *)a, y = *(const unsigned long long *)b;

	return (x > y) - (x < y);
}

/* Of @threads, by a request to a process that sleeps: the median of many, for others are busy. */
static unsigned long long wakeups_of_request(const char *threads)
{
	unsigned long long n[REQUESTS];
	int fd = blocker_peer();

	for (int i = 0; i < REQUESTS; i++) {
		AWAIT(np_switches_within(50) == 0);
		n[i] = np_switches(threads).slept;
		peer_send(fd, "x", 1);
		must_answer(fd, 'x');
		AWAIT(np_switches_within(50) == 0);
		n[i] = np_switches(threads).slept - n[i];
	}
	peer_close(&fd);
	qsort(n, REQUESTS, sizeof *n, compare);
	return n[REQUESTS / 2];
}

START_TEST(an_idle_set_is_never_woken)
{
	const char *ms = getenv("NP_IDLE_MS");
	int fd;

	given(_i);
	fd = blocker_peer();
	AWAIT(np_switches_within(1200) == 0); /* a timer gives stacks back after a second */
	ck_assert_uint_eq(np_switches_within(ms ? atoi(ms) : 3000), 0);
	peer_close(&fd);
	end_blocker();
}
END_TEST

START_TEST(a_request_now_and_then_wakes_its_poller_once)
{
	given(_i);
	ck_assert_uint_eq(wakeups_of_request("np-0"), 1);
	end_blocker();
}
END_TEST

START_TEST(where_none_may_block_there_is_no_watchdog)
{
	if (under_handoff())
		SKIP("every handler may block there");
	given(false);
	ck_assert_uint_eq(wakeups_of_request("np-baton"), 0);
	end_blocker();
}
END_TEST

START_TEST(the_watchdog_sleeps_again_after_three_looks)
{
	unsigned long long n;

	given(true);
	n = wakeups_of_request("np-baton");
	ck_assert_uint_ge(n, LOOKS);
	ck_assert_uint_le(n, LOOKS + MEETS);
	end_blocker();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "wake-ups");

	tcase_add_loop_test(t, an_idle_set_is_never_woken, 0, 2);
	tcase_add_loop_test(t, a_request_now_and_then_wakes_its_poller_once, 0, 2);
	tcase_add_test(t, where_none_may_block_there_is_no_watchdog);
	tcase_add_test(t, the_watchdog_sleeps_again_after_three_looks);
}

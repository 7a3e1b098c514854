/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * given_poller: a poller whose loop runs on the test's own thread
 *
 * So one turn follows the other with nothing in between, and what a test sees is no race. The loop
 * ends at poller_stop(), which a callback of the test calls.
 */
#ifndef TESTS_GIVEN_POLLER_H
#define TESTS_GIVEN_POLLER_H

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "poll/poller.h"
#include "poll/timer.h"
#include "support/test.h"

/* What the poller had to tell. */
static struct {
	_Atomic(unsigned) n;
	char last[256];
} logged __attribute__((unused));

static void given_log(void *arg, int level, const char *msg)
{
	snprintf(logged.last, sizeof logged.last, "%s", msg);
	logged.n++;
}

/* Two ends of a stream that do not block. */
static inline void given_pair(int ret_fds[2])
{
	ck_assert_int_eq(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ret_fds), 0);
}

static inline struct poller_opts given_opts(void)
{
	return (struct poller_opts){ .index = 0, .cpu = -1, .log = given_log };
}

static inline struct poller *given_poller(void)
{
	struct poller_opts o = given_opts();
	struct poller *p;

	ck_assert_int_eq(poller_new(&o, &p), 0);
	return p;
}

static inline void late(struct timer *t)
{
	ck_abort_msg("the loop did not end by the deadline");
}

/* Runs the loop until the test stops it; fails at the usual deadline. */
static inline void run_loop(struct poller *p)
{
	static struct timer deadline;

	timer_init(&deadline, late);
	timer_arm(p, &deadline, poller_now_ms(p) + AWAIT_MS);
	poller_loop(p);
	timer_disarm(&deadline);
}

static inline void free_poller(struct poller *p)
{
	ck_assert_int_eq(poller_free(p), 0);
}

#endif

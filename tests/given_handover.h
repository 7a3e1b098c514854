/* SPDX-License-Identifier: BSD-2-Clause */
/* given_handover: two processes, the clients of the first, and that it hands over to the second */
#ifndef GIVEN_HANDOVER_H
#define GIVEN_HANDOVER_H

#include <stdio.h>
#include <unistd.h>

#include "support/handover.h"
#include "support/peer.h"
#include "support/test.h"

#define MANY 1000

static struct child old, next;
static struct hand_facts facts;
static char where[32];
static int client[MANY];

static inline void given(const struct hand_opts *o, const struct hand_opts *n)
{
	snprintf(where, sizeof where, "@np-handover-%d", (int)getpid());
	hand_old(&old, o, &facts);
	hand_new(&next, n);
}

static inline int connect_one(void)
{
	return peer_connect(&facts.ss, facts.len);
}

static inline void given_clients(int n)
{
	for (int i = 0; i < n; i++) {
		client[i] = connect_one();
		ck_assert_uint_eq(hand_echo(client[i]).pid, (uint32_t)old.pid);
	}
}

static inline void ask_both(int timeout_ms, int answer_ms)
{
	hand_ask_over(&old, where, timeout_ms, answer_ms);
	hand_ask_take(&next, where, AWAIT_MS);
}

/* All goes well. *ret: what the old one says. */
static inline void hand_all_over(struct hand_facts *ret)
{
	struct hand_facts n;

	ask_both(AWAIT_MS, AWAIT_MS);
	hand_hear(&next, &n);
	ck_assert_msg(n.r == 0, "%s", n.error);
	hand_hear(&old, ret);
	ck_assert_msg(ret->r == 0, "%s", ret->error);
}

static inline void end_both(void)
{
	struct hand_facts f;

	hand_stop(&old, &f);
	hand_stop(&next, &f);
}

static inline void close_clients(int n)
{
	for (int i = 0; i < n; i++)
		peer_close(&client[i]);
}

static inline void expect_all_at_next(int n, uint32_t count)
{
	for (int i = 0; i < n; i++) {
		struct hand_answer a = hand_echo(client[i]);

		ck_assert_uint_eq(a.count, count);
		ck_assert_uint_eq(a.pid, (uint32_t)next.pid);
	}
}

#endif

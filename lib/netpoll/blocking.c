/* SPDX-License-Identifier: BSD-2-Clause */
/* blocking: a call that keeps its thread, and not the poller. */
#include <errno.h>

#include "conn/conn.h"
#include "netpoll/event.h"
#include "netpoll/pollers.h"
#include "netpoll/pollers_private.h"
#include "poll/crew.h"
#include "poll/looper.h"
#include "poll/park.h"

/* A fiber that waits for a thread to go on in its place. */
struct blocking_wait {
	struct crew_waiter waiter;
	struct event free;
};

static void blocking_may_go(struct crew_waiter *w)
{
	event_set(&container_of(w, struct blocking_wait, waiter)->free);
}

/* Return: 0: the poller is another thread's; -ENOTSUP: there is none; why fn is not called. */
static int blocking_hand_off(void)
{
	struct crew *c = poller_slot_self()->pollers->crew;
	struct blocking_wait w = {
		.waiter = { .poller = poller_self(), .fn = blocking_may_go },
	};
	bool waited = false;
	int r;

	event_init(&w.free);
	while ((r = looper_hand_off(&w.waiter)) == -EAGAIN) {
		waited = true;
		r = event_wait(&w.free, 0, "thread");
		if (r < 0)
			break;
	}
	if (waited)
		crew_wait_no_more(c, &w.waiter);
	return r;
}

/* Where not one thread is to be had, the poller waits as it does for any call. */
int np_blocking(void (*fn)(void *), void *arg)
{
	NP_GATE(np_blocking(fn, arg));

	struct park k;
	int r;

	if (!fn)
		return -EINVAL;
	r = park_init(&k, NULL, "thread");
	if (r == 0 && np_deadline_left() == 0)
		r = -ETIMEDOUT;
	if (r == 0)
		conn_before_blocking(fiber_self());
	if (r == 0)
		r = blocking_hand_off();
	if (r < 0 && r != -ENOTSUP)
		return r;
	fn(arg);
	if (baton_in_user())
		baton_enter();
	return 0;
}

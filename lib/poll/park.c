/* SPDX-License-Identifier: BSD-2-Clause */
/* park: waits of fibers, and the list of them that poller_cancel() goes through. */
#include "poll/park.h"

#include <errno.h>

#include "netpoll/status.h"
#include "poll/poller_private.h"
#include "sys/probe.h"

/* Still waiting: `end` may itself have woken it, when it looked. */
static void park_give_up(struct park *k, int why)
{
	if (!k->end || k->end(k, &why))
		park_wake(k, why);
}

static void park_expired(struct timer *t)
{
	park_give_up(container_of(t, struct park, timer), -ETIMEDOUT);
}

int park_init(struct park *k, park_end_fn end, const char *what)
{
	*k = (struct park){
		.poller = poller_self(), .fiber = fiber_self(), .end = end, .what = what
	};
	if (!k->poller || !k->fiber)
		return -NP_ENOTFIBER;
	list_init(&k->link);
	timer_init(&k->timer, park_expired);
	return poller_cancelled(k->poller) ? -ECANCELED : 0;
}

/* The sooner of the wait's own limit and its fiber's deadline. */
static uint64_t park_limit(struct park *k, uint64_t until_ms)
{
	uint64_t deadline = fiber_until(k->fiber);

	k->by_deadline = deadline && (!until_ms || deadline < until_ms);
	return k->by_deadline ? deadline : until_ms;
}

void park_set_until(struct park *k, uint64_t until_ms)
{
	poller_assert_owner(k->poller);
	if (!k->fiber)
		return;
	until_ms = park_limit(k, until_ms);
	if (until_ms)
		timer_arm(k->poller, &k->timer, until_ms);
	else
		timer_disarm(&k->timer);
}

int park_wait(struct park *k, uint64_t until_ms)
{
	struct poller *p = k->poller;
	struct fiber *f = fiber_self();

	poller_assert_owner(p);
	k->fd = p->hog.fd;
	k->tag = p->hog.tag;
	k->handler = p->hog.handler;
	k->since_ms = p->now_ms;
	fiber_note_begin(f, p->now_ms);
	fiber_set_owner(f, k);
	if (k->fiber) {
		until_ms = park_limit(k, until_ms);
		if (until_ms)
			timer_arm(p, &k->timer, until_ms);
		list_append(&p->parked, &k->link);
	}
	poller_hold(p);
	PROBE4(park, f, k->what, k->fd, k->handler);
	fiber_park();
	poller_note_again(p, k->fd, k->tag);
	poller_unhold(p);
	fiber_set_owner(f, NULL);
	return k->result;
}

bool park_wake(struct park *k, int result)
{
	struct fiber *f = k->fiber;

	poller_assert_owner(k->poller);
	if (!f) {
		k->poller->stats.second_wakes++;
		return false;
	}
	PROBE2(wake, f, result);
	k->fiber = NULL;
	list_remove(&k->link);
	timer_disarm(&k->timer);
	k->result = result;
	poller_ready(k->poller, f);
	return true;
}

void poller_cancel(struct poller *p)
{
	struct list was, *l;

	poller_assert_owner(p);
	p->cancelled = true;
	list_move_all(&p->parked, &was);
	while ((l = list_pop(&was))) {
		list_append(&p->parked, l); /* its waker may be on the way */
		park_give_up(container_of(l, struct park, link), -ECANCELED);
	}
}

void park_cancel_fiber(struct fiber *f)
{
	struct park *k = fiber_owner(f);

	fiber_cancel(f);
	if (k && k->fiber)
		park_give_up(k, -ECANCELED);
}

const void *park_handler(const struct fiber *f)
{
	const struct park *k = fiber_owner(f);

	return k ? k->handler : NULL;
}

bool park_look(const struct fiber *f, struct park_sight *ret)
{
	const struct park *k = fiber_owner(f);

	if (!k)
		return false;
	*ret = (struct park_sight){
		.handler = k->handler,
		.what = k->what,
		.tag = k->tag,
		.fd = k->fd,
		.handler_ms = fiber_began(f),
		.since_ms = k->since_ms,
		.until_ms = timer_armed(&k->timer) ? k->timer.when_ms : 0,
		.woken = !k->fiber,
	};
	return true;
}

void park_forget_fd(struct fiber *f)
{
	struct park *k = fiber_owner(f);

	if (k)
		k->fd = -1;
}

bool poller_cancelled(const struct poller *p)
{
	struct fiber *f = fiber_self();

	poller_assert_owner(p);
	return p->cancelled || (f && fiber_cancelled(f));
}

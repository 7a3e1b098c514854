/* SPDX-License-Identifier: BSD-2-Clause */
/* looper: the loop is handed on, and comes home. */
#include "poll/looper.h"

#include <errno.h>
#include <poll.h>

#include "poll/baton_private.h"
#include "poll/crew.h"
#include "poll/poller_private.h"
#include "poll/spare.h"
#include "poll/spent.h"
#include "sys/io.h"
#include "sys/probe.h"
#include "sys/wake.h"

/* ------------------------------------------------------------------ handed on */

/* Under the gate. */
static void looper_pass(struct baton *b, struct rider *from, struct rider *to)
{
	spent_end(b, from);
	spent_begin(b, to);
	atomic_store_explicit(&b->looper, to, memory_order_relaxed);
}

/* Under the gate. @from was left alone. */
static void looper_assign(struct baton *b, struct rider *from, struct rider *to)
{
	b->from = from;
	PROBE2(handoff, b->home.poller, from->note.handler);
	if (!to->poller->shared)
		to->poller->shared = true;
	crew_count_handoff(b->crew);
	looper_pass(b, from, to);
	baton_enqueue(b, to, false, true);
	if (!baton_holder(b))
		baton_grant_next(b);
}

static int looper_give_away(struct baton *b, struct rider *r, struct crew_waiter *w)
{
	struct rider *to = NULL;
	bool any = false;

	if (baton_looper(b) == r) {
		to = spare_take(r->poller, &any);
		if (!to)
			crew_count_refused(b->crew);
		if (!to && any)
			crew_wait(b->crew, w);
		if (!to)
			return any ? -EAGAIN : -ENOTSUP;
	}
	baton_left(r);
	baton_drop(b, r);
	if (to)
		looper_assign(b, r, to);
	return 0;
}

int looper_hand_off(struct crew_waiter *w)
{
	struct rider *r = baton_here.rider;
	struct baton *b;
	int err;

	if (!r || !r->crew)
		return -ENOTSUP;
	b = baton_of(r);
	pthread_mutex_lock(&b->gate);
	err = looper_give_away(b, r, w);
	pthread_mutex_unlock(&b->gate);
	if (err == 0)
		baton_to(BATON_USER);
	return err;
}

/* Under the gate; of one in USER, as @was. Return: whether it has not moved since. */
static bool looper_mark(struct rider *r, uint32_t was, enum baton_mark mark)
{
	return __atomic_compare_exchange_n(&r->here->word, &was, was | mark, false,
					   __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* Under the gate; @r is in USER. A thread first: one that is robbed in vain has to wait. */
static void looper_hand_on(struct baton *b, struct rider *r, uint64_t now_ns)
{
	bool any = false;
	struct rider *to = spare_take(r->poller, &any);

	if (!to) {
		if (looper_mark(r, BATON_USER | BATON_SEEN, BATON_REFUSED))
			crew_count_refused(b->crew);
		return;
	}
	if (baton_holder(b) == r && (!baton_rob(b) || !r->left)) {
		/* it has come back, and may even be asleep */
		if (!to->hosting)
			spare_give_back(b, to);
		if (!baton_holder(b))
			baton_grant_next(b);
		return;
	}
	b->last_ns = now_ns;
	b->told = r->note;
	b->tells = true;
	looper_assign(b, r, to);
}

static bool looper_is_stuck(struct rider *r, uint64_t now_ns, uint64_t limit_ns)
{
	uint32_t w = baton_word(r);

	if ((w & 3) != BATON_USER)
		return false;
	if (w & BATON_SEEN)
		return now_ns - r->since_ns >= limit_ns;
	looper_mark(r, BATON_USER, BATON_SEEN);
	r->since_ns = now_ns;
	return false;
}

/*
 * A holder that is no looper was lent the baton. And a rider that waits for a holder in USER, which
 * could not be robbed then, is served here.
 */
bool looper_look(struct baton *b, uint64_t now_ns, uint64_t limit_ns)
{
	struct rider *l, *h;
	bool busy;

	pthread_mutex_lock(&b->gate);
	l = baton_looper(b);
	h = baton_holder(b);
	if (looper_is_stuck(l, now_ns, limit_ns))
		looper_hand_on(b, l, now_ns);
	else if (h &&
		 ((h != l && looper_is_stuck(h, now_ns, limit_ns)) ||
		  (b->urgent && baton_state(h) == BATON_USER)) &&
		 baton_rob(b))
		baton_grant_next(b);
	/* A guest that was robbed has not woken the looper for what it leaves behind. */
	if (!baton_holder(b))
		baton_kick(l);
	busy = baton_state(l) == BATON_USER || (h && baton_state(h) == BATON_USER);
	pthread_mutex_unlock(&b->gate);
	return busy;
}

bool looper_take_told(struct baton *b, struct hog_note *ret)
{
	bool tells;

	pthread_mutex_lock(&b->gate);
	tells = b->tells;
	*ret = b->told;
	b->tells = false;
	pthread_mutex_unlock(&b->gate);
	return tells;
}

struct fiber *looper_left_alone(struct baton *b)
{
	struct fiber *f;

	pthread_mutex_lock(&b->gate);
	f = b->from && b->from->left ? *b->from->fiber : NULL;
	pthread_mutex_unlock(&b->gate);
	return f;
}

/* ------------------------------------------------------------------ its sleep */

void looper_idle_begin(struct rider *r)
{
	if (baton_to(BATON_IDLE))
		baton_give_up(r);
}

/* Under the gate: it waits, unless the loop is another's now, or becomes that meanwhile. */
static bool looper_wait(struct baton *b, struct rider *r, bool any)
{
	if (baton_holder(b) == r)
		return true;
	if (baton_looper(b) != r && !any)
		return false;
	baton_wait(b, r);
	return baton_looper(b) == r || any;
}

bool looper_idle_end(struct rider *r, bool any)
{
	struct baton *b = baton_of(r);
	bool mine;

	if (!baton_to(BATON_LIB))
		return true;
	pthread_mutex_lock(&b->gate);
	mine = looper_wait(b, r, any) && (any || baton_looper(b) == r);
	if (baton_holder(b) == r)
		baton_set_flag(r, baton_flag_of(b, r, false));
	pthread_mutex_unlock(&b->gate);
	return mine;
}

void looper_nap(struct rider *r, int timeout_ms)
{
	struct pollfd fds[] = {
		{ .fd = r->poller->epoll_fd, .events = POLLIN },
		{ .fd = r->kick_fd, .events = POLLIN },
	};

	sys_poll_wait(fds, 2, timeout_ms);
	if (fds[1].revents)
		sys_wake_drain(r->kick_fd);
}

/* ------------------------------------------------------------------ at a boundary */

/* Under the gate. Others have it, in their order; or the loop is another's. */
static void looper_let_others(struct baton *b, struct rider *r)
{
	baton_set_flag(r, BATON_ROBBED);
	baton_enqueue(b, r, false, false);
	baton_set_holder(b, NULL);
	baton_grant_next(b);
	while (baton_holder(b) != r && baton_looper(b) == r)
		pthread_cond_wait(&r->cond, &b->gate);
	baton_unqueue(b, r);
}

/* Under the gate. The thread that had the loop is sent away. */
static void looper_come_home(struct baton *b, struct rider *r)
{
	struct rider *old = baton_looper(b);

	if (old->left) /* or it has not even begun */
		b->from = old;
	looper_pass(b, old, r);
	pthread_cond_signal(&old->cond);
	baton_kick(old);
}

bool looper_goes_on(struct rider *r)
{
	struct baton *b = baton_of(r);
	bool mine;

	if (!baton_is_called()) {
		if (r->home)
			r->poller->shared = baton_is_shared(b);
		return true;
	}
	pthread_mutex_lock(&b->gate);
	mine = baton_looper(b) == r;
	if (mine && b->urgent)
		looper_let_others(b, r);
	else if (!mine && r->home)
		looper_come_home(b, r);
	mine = mine && baton_looper(b) == r;
	if (baton_holder(b) == r)
		baton_set_flag(r, baton_flag_of(b, r, false));
	pthread_mutex_unlock(&b->gate);
	return mine;
}

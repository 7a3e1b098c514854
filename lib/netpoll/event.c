/* SPDX-License-Identifier: BSD-2-Clause */
/* event: one word, and the two kinds of waiter whose address it may hold. */
#include "netpoll/event.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "netpoll/latch.h"
#include "netpoll/pollers.h"
#include "poll/baton.h"
#include "poll/park.h"
#include "poll/poller.h"
#include "sys/clock.h"

enum { CLEAR, SET }; /* neither is an address */

/* On the stack of the fiber or thread that waits. wake() is the last use the setter makes of it. */
struct waiter {
	void (*wake)(struct waiter *w);
	struct event *event;
};

void event_init(struct event *e)
{
	atomic_init(&e->word, CLEAR);
}

void event_set(struct event *e)
{
	uintptr_t was = atomic_load_explicit(&e->word, memory_order_relaxed);

	/* SET over SET is a store too: what its caller wrote before must be seen by the one wait
	 * for both. */
	while (!atomic_compare_exchange_weak_explicit(&e->word, &was, was > SET ? CLEAR : SET,
						      memory_order_acq_rel, memory_order_relaxed))
		;
	if (was > SET)
		((struct waiter *)was)->wake((struct waiter *)was);
}

static bool event_take(struct event *e)
{
	uintptr_t was = SET;

	return atomic_compare_exchange_strong_explicit(&e->word, &was, CLEAR, memory_order_acquire,
						       memory_order_relaxed);
}

/* Return: 0: @w is in the word; 1: it was set, and is not any more; -NP_ECONCURRENT. */
static int event_put_waiter(struct event *e, struct waiter *w)
{
	uintptr_t was = CLEAR;

	while (!atomic_compare_exchange_strong_explicit(
		&e->word, &was, (uintptr_t)w, memory_order_release, memory_order_relaxed)) {
		if (was > SET)
			return -NP_ECONCURRENT;
		if (event_take(e))
			return 1;
		was = CLEAR;
	}
	return 0;
}

static bool event_remove_waiter(struct waiter *w)
{
	uintptr_t was = (uintptr_t)w;

	return atomic_compare_exchange_strong_explicit(&w->event->word, &was, CLEAR,
						       memory_order_acq_rel, memory_order_relaxed);
}

/* ------------------------------------------------------------------ a fiber waits */

struct fiber_waiter {
	struct waiter waiter;
	struct park park;
	struct mail mail;
	bool firm;
	void (*on_end)(void *, int);
	void *arg;
};

static void event_mail_arrived(struct mail *m)
{
	park_wake(&container_of(m, struct fiber_waiter, mail)->park, 0);
}

static void event_wake_fiber(struct waiter *w)
{
	struct fiber_waiter *f = container_of(w, struct fiber_waiter, waiter);

	if (poller_is_here(f->park.poller))
		park_wake(&f->park, 0);
	else
		poller_post(f->park.poller, &f->mail);
}

static bool event_end(struct park *k, int *why)
{
	struct fiber_waiter *f = container_of(k, struct fiber_waiter, park);

	if (!f->firm)
		return event_remove_waiter(&f->waiter);
	if (f->on_end)
		f->on_end(f->arg, *why);
	return false;
}

static int event_wait_on_fiber(struct event *e, struct fiber_waiter *f, int ms, const char *what)
{
	int cancelled, r;

	f->waiter = (struct waiter){ event_wake_fiber, e };
	f->mail.fn = event_mail_arrived;
	if (!fiber_self())
		return -NP_ENOTFIBER;
	/* A set event is reported even to a fiber that may not wait any more. */
	if (event_take(e))
		return 0;
	cancelled = park_init(&f->park, event_end, what);
	if (cancelled && !f->firm)
		return cancelled;
	r = event_put_waiter(e, &f->waiter);
	if (r)
		return r < 0 ? r : 0;
	if (cancelled && f->on_end)
		/* after it hangs there: a fiber that is refused has no say in it */
		f->on_end(f->arg, cancelled);
	return park_wait(&f->park, ms > 0 ? poller_after_ms(f->park.poller, ms) : 0);
}

/* ------------------------------------------------------------------ a thread waits */

struct thread_waiter {
	struct waiter waiter;
	struct latch latch;
};

static void event_wake_thread(struct waiter *w)
{
	latch_arrive(&container_of(w, struct thread_waiter, waiter)->latch);
}

static int event_wait_on_thread(struct event *e, int ms)
{
	struct thread_waiter t = { .waiter = { event_wake_thread, e } };
	int r;

	latch_init(&t.latch);
	latch_set(&t.latch, 1);
	r = event_put_waiter(e, &t.waiter);
	if (r == 0) {
		r = latch_wait(&t.latch, ms > 0 ? sys_clock_ns() + (uint64_t)ms * 1000000u : 0);
		/* Late, but the setter that took the waiter out is about to arrive. */
		if (r < 0 && !event_remove_waiter(&t.waiter))
			r = latch_wait(&t.latch, 0);
	}
	latch_fini(&t.latch);
	return r < 0 ? r : 0;
}

int event_wait(struct event *e, int ms, const char *what)
{
	struct fiber_waiter f = { .firm = false };

	return poller_self() ? event_wait_on_fiber(e, &f, ms, what) : event_wait_on_thread(e, ms);
}

int event_wait_firm(struct event *e, void (*on_end)(void *, int), void *arg, const char *what)
{
	struct fiber_waiter f = { .firm = true, .on_end = on_end, .arg = arg };

	return poller_self() ? event_wait_on_fiber(e, &f, 0, what) : event_wait_on_thread(e, 0);
}

/* ------------------------------------------------------------------ np_event */

struct np_event {
	struct event event;
};

int np_event_new(struct np_event **ret)
{
	struct np_event *e = malloc(sizeof *e);

	if (!e)
		return -ENOMEM;
	event_init(&e->event);
	*ret = e;
	return 0;
}

int np_event_free(struct np_event **p)
{
	struct np_event *e = *p;

	if (!e)
		return 0;
	if (atomic_load_explicit(&e->event.word, memory_order_acquire) > SET)
		return -EBUSY;
	free(e);
	*p = NULL;
	return 0;
}

int np_event_set(struct np_event *e)
{
	NP_GATE(np_event_set(e));

	event_set(&e->event);
	return 0;
}

int np_event_wait(struct np_event *e, int ms)
{
	NP_GATE(np_event_wait(e, ms));

	return ms < -1 ? -EINVAL : event_wait(&e->event, ms, "event");
}

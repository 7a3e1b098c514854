/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * turn: one turn of a poller's loop, phase by phase
 *
 * epoll_wait must not fail: EINTR is a turn without events; anything else would be a bug of ours
 * (EBADF, EINVAL, EFAULT), is logged once, and the loop goes on with what needs no events.
 */
#include <limits.h>
#include <stdlib.h>

#include "poll/park.h"
#include "poll/poller_private.h"
#include "sys/clock.h"
#include "sys/epoll.h"

#define TURN_EVENTS_MAX    1024
#define TURN_TRIM_EVERY_MS 1000

static bool turn_has_work(const struct poller *p)
{
	return !list_empty(&p->ready) || p->run_first || p->deferred_first ||
	       (p->spawn.first && !p->spawn_blocked) || mailbox_any(&p->mailbox);
}

/* Rounded up, so that no turn comes before its timer. */
static int turn_wait_ms(struct poller *p)
{
	uint64_t next, now;

	if (turn_has_work(p))
		return 0;
	next = wheel_next(&p->wheel);
	if (next == WHEEL_NEVER)
		return -1;
	now = poller_refresh_now(p);
	if (next <= now)
		return 0;
	return next - now < INT_MAX ? (int)(next - now) : INT_MAX;
}

static void turn_grow_events(struct poller *p)
{
	struct epoll_event *e;

	if (p->n_events >= TURN_EVENTS_MAX)
		return;
	e = realloc(p->events, 2 * (size_t)p->n_events * sizeof *e);
	if (!e)
		return; /* the rest comes with the next turn */
	p->events = e;
	p->n_events *= 2;
}

static int turn_wait(struct poller *p)
{
	int timeout = turn_wait_ms(p), n;

	if (timeout) {
		/* With a timer to wait for, turn_wait_ms() has just read the clock. */
		hog_turn_over(p, timeout > 0 ? p->now_ms : sys_clock_coarse_ns() / 1000000u);
		poller_publish_idle(p);
	}
	n = sys_epoll_wait(p->epoll_fd, p->events, p->n_events, timeout);
	p->stats.waits++;
	if (n < 0) {
		if (!p->wait_failed)
			poller_log(p, 3, "epoll_wait: error %d; this is a bug of the library", -n);
		p->wait_failed = true;
		return 0;
	}
	return n;
}

static void turn_take_events(struct poller *p, int n)
{
	p->stats.events += (uint64_t)n;
	watch_take_events(p, n);
	if (n == p->n_events)
		turn_grow_events(p);
}

static void turn_go_on_mail(struct poller *p)
{
	struct mail *m;

	while ((m = p->now.mail)) {
		p->now.mail = m->next;
		p->stats.mails++;
		poller_begin_dispatch(p);
		m->fn(m);
		poller_end_dispatch(p);
	}
}

void turn_run_mail(struct poller *p)
{
	p->now.mail = mailbox_take(&p->mailbox);
	turn_go_on_mail(p);
}

static void turn_resume(struct poller *p, void *fiber)
{
	if (fiber_resume(fiber) == FIBER_ENDED)
		p->spawn_blocked = false;
	poller_end_dispatch(p);
}

static void turn_go_on_fibers(struct poller *p)
{
	struct fiber *f;

	while ((f = p->now.run)) {
		p->now.run = fiber_next(f);
		p->stats.fibers_run++;
		poller_begin_dispatch(p);
		poller_note_handler(p, park_handler(f), -1);
		if (p->sampling.sampler)
			sample_dispatch(p, fiber_fn(f), fiber_arg(f), turn_resume, f);
		else
			turn_resume(p, f);
	}
}

/*
 * New ones first: a fiber that yields lets those begin that it has asked for. Which of the others
 * go on is settled before: one that is made ready by these waits for the next turn.
 */
static void turn_run_fibers(struct poller *p)
{
	p->now.run = p->run_first;
	p->run_first = p->run_last = NULL;
	spawn_take(p);
	spawn_go_on(p);
	turn_go_on_fibers(p);
}

/* Popped one by one: a timer's function may disarm another that is due as well. */
static void turn_go_on_timers(struct poller *p)
{
	struct list *n;

	while ((n = list_pop(&p->now.due))) {
		struct timer *t = container_of(n, struct timer, link);

		p->stats.timers_fired++;
		poller_begin_dispatch(p);
		t->fn(t);
		poller_end_dispatch(p);
	}
}

/* By the time at which the turn began: what came due meanwhile fires in the next one. */
static void turn_fire_timers(struct poller *p)
{
	wheel_turn(&p->wheel, p->now_ms, &p->now.due);
	turn_go_on_timers(p);
}

static void turn_go_on_deferred(struct poller *p)
{
	struct mail *m;

	while ((m = p->now.deferred)) {
		p->now.deferred = m->next;
		poller_begin_dispatch(p);
		m->fn(m);
		poller_end_dispatch(p);
	}
}

void turn_run_deferred(struct poller *p)
{
	p->now.deferred = p->deferred_first;
	p->deferred_first = p->deferred_last = NULL;
	turn_go_on_deferred(p);
}

void turn_go_on(struct poller *p)
{
	poller_end_dispatch(p);
	turn_go_on_mail(p);
	watch_go_on(p);
	spawn_go_on(p);
	turn_go_on_fibers(p);
	turn_go_on_timers(p);
	turn_go_on_deferred(p);
}

void turn_trim_stacks(struct timer *t)
{
	fiber_pool_trim(container_of(t, struct poller, trim)->fibers);
}

/* A timer, not a look at the clock in each turn: after a burst there may be no turn for a long
 * time. */
static void turn_arm_trim(struct poller *p)
{
	if (!timer_armed(&p->trim) && fiber_pool_spare(p->fibers))
		timer_arm(p, &p->trim, poller_now_ms(p) + TURN_TRIM_EVERY_MS);
}

void turn_run(struct poller *p)
{
	int n = turn_wait(p);

	p->stats.turns++;
	p->clock = CLOCK_STALE;
	poller_refresh_now(p);
	hog_turn_begins(p);
	turn_take_events(p, n);
	if (mailbox_any(&p->mailbox))
		turn_run_mail(p);
	if (!list_empty(&p->ready))
		watch_dispatch(p);
	if (p->run_first || p->spawn.first)
		turn_run_fibers(p);
	if (wheel_is_due(&p->wheel, p->now_ms))
		turn_fire_timers(p);
	if (p->deferred_first)
		turn_run_deferred(p);
	turn_arm_trim(p);
}

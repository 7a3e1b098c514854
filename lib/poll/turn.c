/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * turn: one turn of a poller's loop, phase by phase
 *
 * epoll_wait must not fail: EINTR is a turn without events; anything else would be a bug of ours
 * (EBADF, EINVAL, EFAULT), is logged once, and the loop goes on with what needs no events.
 */
#include <limits.h>
#include <stdlib.h>

#include "poll/crew.h"
#include "poll/looper.h"
#include "poll/park.h"
#include "poll/poller_private.h"
#include "poll/spare.h"
#include "sys/clock.h"
#include "sys/epoll.h"

#define TURN_EVENTS_MAX    1024
#define TURN_TRIM_EVERY_MS 1000
#define TURN_NONE          UINT64_MAX

static bool turn_has_work(struct poller *p, struct rider *r)
{
	return !list_empty(&p->ready) || r->run_first || p->deferred_first ||
	       (p->spawn.first && !p->spawn_blocked) || mailbox_any(&p->mailbox) ||
	       (p->shared && spare_lendable(&p->baton, r, TURN_NONE));
}

/* Rounded up, so that no turn comes before its timer. */
static int turn_wait_ms(struct poller *p, struct rider *r)
{
	uint64_t next, now;

	if (turn_has_work(p, r))
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

/*
 * Where there are spare threads, others may have the poller meanwhile. A spare looper sleeps beside
 * the poller's events and takes none, so it can be sent away.
 */
static bool turn_sleep_shared(struct poller *p, struct rider *r, int timeout, int *ret_n)
{
	int n = 0;

	looper_idle_begin(r);
	if (r->home)
		n = sys_epoll_wait(p->epoll_fd, p->events, p->n_events, timeout);
	else
		looper_nap(r, timeout);
	if (!looper_idle_end(r, n > 0))
		return false;
	if (!r->home)
		n = sys_epoll_wait(p->epoll_fd, p->events, p->n_events, 0);
	*ret_n = n;
	return true;
}

/* Return: whether this is the looper still. */
static bool turn_wait(struct poller *p, struct rider *r, int *ret_n)
{
	int timeout = turn_wait_ms(p, r), n;

	if (timeout) {
		/* With a timer to wait for, turn_wait_ms() has just read the clock. */
		hog_turn_over(p, timeout > 0 ? p->now_ms : sys_clock_coarse_ns() / 1000000u);
		poller_publish_idle(p);
	}
	if (!timeout || !p->shared)
		n = sys_epoll_wait(p->epoll_fd, p->events, p->n_events, timeout);
	else if (!turn_sleep_shared(p, r, timeout, &n))
		return false;
	p->stats.waits++;
	if (n < 0) {
		if (!p->wait_failed)
			poller_log(p, 3, "epoll_wait: error %d; this is a bug of the library", -n);
		p->wait_failed = true;
		n = 0;
	}
	*ret_n = n;
	return true;
}

static void turn_take_events(struct poller *p, int n)
{
	p->stats.events += (uint64_t)n;
	if (n == p->n_events)
		turn_grow_events(p);
	p->now.event = p->events;
	p->now.event_end = p->events + n;
}

static bool turn_go_on_mail(struct poller *p)
{
	struct mail *m;

	while ((m = p->now.mail)) {
		p->now.mail = m->next;
		p->stats.mails++;
		poller_begin_dispatch(p);
		m->fn(m);
		if (!poller_end_dispatch(p))
			return false;
	}
	return true;
}

bool turn_run_mail(struct poller *p)
{
	p->now.mail = mailbox_take(&p->mailbox);
	return turn_go_on_mail(p);
}

static void turn_resume(struct poller *p, void *fiber)
{
	if (fiber_resume(fiber) == FIBER_ENDED)
		p->spawn_blocked = false;
	poller_end_fibers(p);
}

static void turn_go_on_fiber(struct poller *p, struct fiber *f)
{
	p->stats.fibers_run++;
	poller_begin_dispatch(p);
	poller_note_handler(p, park_handler(f), -1);
	if (p->sampled)
		sample_dispatch(p, fiber_fn(f), fiber_arg(f), turn_resume, f);
	else
		turn_resume(p, f);
}

static bool turn_go_on_fibers(struct poller *p, struct rider *r)
{
	struct fiber *f;

	while ((f = r->now_run)) {
		r->now_run = fiber_next(f);
		turn_go_on_fiber(p, f);
		if (!poller_end_dispatch(p))
			return false;
	}
	return true;
}

/* The parked fibers of this thread that go on now. Those of a turn that was left are first. */
static void turn_take_fibers(struct rider *r)
{
	if (r->now_run)
		return;
	r->now_run = r->run_first;
	r->run_first = r->run_last = NULL;
	atomic_store_explicit(&r->has_run, false, memory_order_relaxed);
}

/* The fibers of other threads, each of which lets its own go on. */
static bool turn_lend(struct poller *p, struct rider *r)
{
	struct rider *to;

	while ((to = spare_lendable(&p->baton, r, p->stats.turns)))
		if (!spare_lend(r, to) || !poller_end_dispatch(p))
			return false;
	return true;
}

void turn_run_own(struct poller *p, struct rider *r)
{
	turn_take_fibers(r);
	turn_go_on_fibers(p, r);
}

/*
 * New ones first: a fiber that yields lets those begin that it has asked for. Which of the others
 * go on is settled before: one that is made ready by these waits for the next turn.
 */
static bool turn_run_fibers(struct poller *p, struct rider *r)
{
	turn_take_fibers(r);
	spawn_take(p);
	return spawn_go_on(p) && turn_go_on_fibers(p, r);
}

/* Popped one by one: a timer's function may disarm another that is due as well. */
static bool turn_go_on_timers(struct poller *p)
{
	struct list *n;

	while ((n = list_pop(&p->now.due))) {
		struct timer *t = container_of(n, struct timer, link);

		p->stats.timers_fired++;
		poller_begin_dispatch(p);
		t->fn(t);
		if (!poller_end_dispatch(p))
			return false;
	}
	return true;
}

/* By the time at which the turn began: what came due meanwhile fires in the next one. */
static bool turn_fire_timers(struct poller *p)
{
	wheel_turn(&p->wheel, p->now_ms, &p->now.due);
	return turn_go_on_timers(p);
}

static bool turn_go_on_deferred(struct poller *p)
{
	struct mail *m;

	while ((m = p->now.deferred)) {
		p->now.deferred = m->next;
		poller_begin_dispatch(p);
		m->fn(m);
		if (!poller_end_dispatch(p))
			return false;
	}
	return true;
}

bool turn_run_deferred(struct poller *p)
{
	p->now.deferred = p->deferred_first;
	p->deferred_first = p->deferred_last = NULL;
	return turn_go_on_deferred(p);
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

/* Each phase says, before it begins, which one follows where it is left in the middle. */
static inline bool turn_run_from(struct poller *p, struct rider *r, enum turn_phase phase)
{
	switch (phase) {
	case TURN_MAIL:
		p->now.next = TURN_WATCHES;
		if (mailbox_any(&p->mailbox) && !turn_run_mail(p))
			return false;
		/* fall through */
	case TURN_WATCHES:
		p->now.next = TURN_FIBERS;
		if (!watch_dispatch(p))
			return false;
		/* fall through */
	case TURN_FIBERS:
		p->now.next = TURN_HOSTS;
		if ((r->run_first || p->spawn.first) && !turn_run_fibers(p, r))
			return false;
		/* fall through */
	case TURN_HOSTS:
		p->now.next = TURN_TIMERS;
		if (p->shared && !turn_lend(p, r))
			return false;
		/* fall through */
	case TURN_TIMERS:
		p->now.next = TURN_DEFERRED;
		if (wheel_is_due(&p->wheel, p->now_ms) && !turn_fire_timers(p))
			return false;
		/* fall through */
	case TURN_DEFERRED:
		p->now.next = TURN_OVER;
		if (p->deferred_first && !turn_run_deferred(p))
			return false;
		turn_arm_trim(p);
		/* fall through */
	case TURN_OVER:
		break;
	}
	return true;
}

/* Its peer has waited for as long as the poller has. */
static void turn_send_aside(struct poller *p)
{
	struct fiber *f = p->shared ? looper_left_alone(&p->baton) : NULL;

	if (f)
		crew_send_aside(p->baton.crew, f);
}

/*
 * What the handler has flushed that was left alone is sent first. Then come this thread's own
 * fibers: what else is in flight other threads go on with as well, and a handler in there may keep
 * this one for itself again. The phases that are left come before the next turn, or timers and
 * deferred work would wait for one that nobody leaves.
 */
bool turn_go_on(struct poller *p, struct rider *r)
{
	turn_send_aside(p);
	turn_take_fibers(r);
	return poller_end_dispatch(p) && turn_go_on_fibers(p, r) && turn_go_on_mail(p) &&
	       watch_go_on(p) && spawn_go_on(p) && turn_go_on_timers(p) && turn_go_on_deferred(p) &&
	       turn_run_from(p, r, p->now.next);
}

bool turn_run(struct poller *p, struct rider *r)
{
	int n;

	if (!turn_wait(p, r, &n))
		return false;
	p->stats.turns++;
	p->clock = CLOCK_STALE;
	poller_refresh_now(p);
	hog_turn_begins(p);
	turn_take_events(p, n);
	return turn_run_from(p, r, TURN_MAIL);
}

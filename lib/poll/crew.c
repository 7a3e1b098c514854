/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * crew: the spare threads, each with its poller or without one, and the watchdog's looks
 *
 * Locks, in the order in which they are taken: watch (which pollers there are), a poller's gate,
 * lock (which threads are free).
 */
#include "poll/crew.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "poll/looper.h"
#include "poll/poller_private.h"
#include "sys/clock.h"
#include "sys/cond.h"
#include "sys/cpu.h"
#include "sys/crash.h"
#include "sys/io.h"
#include "sys/wake.h"

/*
 * A handler that blocks is seldom alone: who has waited for one must not wait as long for each of
 * the others. So for a while after a hand-off the next comes sooner.
 */
#define CREW_CROWD_FOR   10u
#define CREW_CROWD_PART  40u
#define CREW_CROWD_LEAST 250000u /* ns */
#define CREW_LOOKS       4u      /* in the time after which a poller is handed on */
#define CREW_QUIET       3u      /* looks at which no handler ran, and the watchdog sleeps */

struct crew {
	struct crew_opts opts;
	int *cpus;

	/* watch */
	pthread_mutex_t watch;
	pthread_cond_t roused;
	struct sys_thread watchdog;
	bool watched;       /* it runs */
	struct list batons; /* of pollers whose loops run */

	/* lock */
	pthread_mutex_t lock;
	unsigned n; /* threads */
	struct rider *all, *idle;
	struct list waiters;

	/* any thread */
	_Atomic(bool) asleep; /* the watchdog is, or has not begun */
	_Atomic(bool) ending;
	_Atomic(unsigned) taken; /* threads; written with lock */
	_Atomic(uint64_t) handoffs, refused;
	_Atomic(int) away;
};

/* ------------------------------------------------------------------ counts */

void crew_count_handoff(struct crew *c)
{
	atomic_fetch_add_explicit(&c->handoffs, 1, memory_order_relaxed);
}

void crew_count_refused(struct crew *c)
{
	atomic_fetch_add_explicit(&c->refused, 1, memory_order_relaxed);
}

void crew_count_away(struct crew *c, int n)
{
	atomic_fetch_add_explicit(&c->away, n, memory_order_relaxed);
}

void crew_get_stats(struct crew *c, struct crew_stats *ret)
{
	*ret = (struct crew_stats){
		.handoffs = atomic_load_explicit(&c->handoffs, memory_order_relaxed),
		.refused = atomic_load_explicit(&c->refused, memory_order_relaxed),
		.away = (unsigned)atomic_load_explicit(&c->away, memory_order_relaxed),
	};
}

void crew_aside(struct crew *c, struct fiber *f, bool aside)
{
	if (c->opts.set_aside)
		c->opts.set_aside(f, aside);
}

void crew_send_aside(struct crew *c, struct fiber *f)
{
	if (c->opts.send_aside)
		c->opts.send_aside(f);
}

/* ------------------------------------------------------------------ a spare thread */

/* Return: the poller that it is to carry; NULL: it ends. */
static struct poller *crew_next(struct crew *c, struct rider *r)
{
	struct poller *p;

	pthread_mutex_lock(&c->lock);
	while (!r->poller && !atomic_load(&c->ending))
		pthread_cond_wait(&r->idle, &c->lock);
	p = r->poller;
	pthread_mutex_unlock(&c->lock);
	return p;
}

static void crew_spare_main(void *arg)
{
	struct rider *r = arg;
	struct crew *c = r->crew;
	void *crash_stack = NULL;
	struct poller *p;

	/* Not pinned as the thread that has started it. Where that fails it may run less widely. */
	if (c->opts.n_cpus)
		sys_cpu_pin_any(c->cpus, c->opts.n_cpus);
	if (c->opts.report_overflow)
		sys_crash_stack(&crash_stack);
	baton_here.rider = r;
	fiber_host_set_tag(r);
	while ((p = crew_next(c, r))) {
		poller_carry(p, r);
		if (c->opts.on_idle)
			c->opts.on_idle();
	}
	sys_crash_stack_free(&crash_stack);
}

static struct rider *crew_rider_new(struct crew *c)
{
	struct rider *r = aligned_alloc(64, (sizeof *r + 63) & ~(size_t)63);

	if (!r)
		return NULL;
	memset(r, 0, sizeof *r);
	r->crew = c;
	r->flag = BATON_ROBBED;
	if (sys_wake_open(&r->kick_fd) < 0) {
		free(r);
		return NULL;
	}
	pthread_cond_init(&r->cond, NULL);
	pthread_cond_init(&r->idle, NULL);
	return r;
}

static void crew_rider_free(struct rider *r)
{
	pthread_cond_destroy(&r->cond);
	pthread_cond_destroy(&r->idle);
	sys_close(&r->kick_fd);
	if (r->here)
		sys_sched_close(&r->sched);
	free(r);
}

/* Lock held. Its thread waits for that. */
static struct rider *crew_hire(struct crew *c)
{
	struct rider *r = c->n < c->opts.threads && !atomic_load(&c->ending) ? crew_rider_new(c) :
									       NULL;

	if (!r)
		return NULL;
	if (sys_thread_start(&r->thread, "np-spare", crew_spare_main, r) < 0) {
		crew_rider_free(r);
		return NULL;
	}
	c->n++;
	r->next_of_crew = c->all;
	c->all = r;
	return r;
}

struct rider *crew_take(struct crew *c, struct poller *p, bool *ret_any)
{
	struct rider *r;

	pthread_mutex_lock(&c->lock);
	r = c->idle;
	if (r)
		c->idle = r->next_idle;
	else
		r = crew_hire(c);
	if (r) {
		atomic_fetch_add_explicit(&c->taken, 1, memory_order_relaxed);
		__atomic_store_n(&r->poller, p, __ATOMIC_RELAXED);
		pthread_cond_signal(&r->idle);
	}
	*ret_any = c->n > 0;
	pthread_mutex_unlock(&c->lock);
	return r;
}

bool crew_has_spare(const struct crew *c)
{
	return c->opts.handoff_ms > 0 &&
	       atomic_load_explicit(&c->taken, memory_order_relaxed) < c->opts.threads;
}

/* Lock held. The first that waits, at @p or at any. */
static void crew_tell(struct crew *c, const struct poller *p)
{
	for (struct list *l = c->waiters.next; l != &c->waiters; l = l->next) {
		struct crew_waiter *w = container_of(l, struct crew_waiter, link);

		if (p && w->poller != p)
			continue;
		list_remove(&w->link);
		w->fn(w);
		return;
	}
}

void crew_give(struct crew *c, struct rider *r)
{
	pthread_mutex_lock(&c->lock);
	atomic_fetch_sub_explicit(&c->taken, 1, memory_order_relaxed);
	__atomic_store_n(&r->poller, NULL, __ATOMIC_RELAXED);
	r->next_idle = c->idle;
	c->idle = r;
	crew_tell(c, NULL);
	pthread_mutex_unlock(&c->lock);
}

void crew_hosts(struct crew *c, const struct poller *p)
{
	pthread_mutex_lock(&c->lock);
	crew_tell(c, p);
	pthread_mutex_unlock(&c->lock);
}

void crew_wait(struct crew *c, struct crew_waiter *w)
{
	list_init(&w->link);
	pthread_mutex_lock(&c->lock);
	if (c->idle)
		w->fn(w);
	else
		list_append(&c->waiters, &w->link);
	pthread_mutex_unlock(&c->lock);
}

/* What it was told of it may have had no need for: the next one is told. */
void crew_wait_no_more(struct crew *c, struct crew_waiter *w)
{
	pthread_mutex_lock(&c->lock);
	if (list_empty(&w->link))
		crew_tell(c, c->idle ? NULL : w->poller);
	list_remove(&w->link);
	pthread_mutex_unlock(&c->lock);
}

/* ------------------------------------------------------------------ the watchdog */

static uint64_t crew_limit_ns(const struct crew *c)
{
	return (uint64_t)c->opts.handoff_ms * 1000000u;
}

static uint64_t crew_limit_now_ns(const struct crew *c, const struct baton *b, uint64_t now_ns)
{
	uint64_t limit = crew_limit_ns(c), part = limit / CREW_CROWD_PART;

	if (!b->last_ns || now_ns - b->last_ns >= CREW_CROWD_FOR * limit)
		return limit;
	return part > CREW_CROWD_LEAST ? part : CREW_CROWD_LEAST;
}

/* At each poller. Return: whether a handler runs; *ret_ns: when to look again. */
static bool crew_look(struct crew *c, uint64_t *ret_ns)
{
	uint64_t now = sys_clock_ns();
	bool busy = false;

	*ret_ns = crew_limit_ns(c) / CREW_LOOKS;
	for (struct list *l = c->batons.next; l != &c->batons; l = l->next) {
		struct baton *b = container_of(l, struct baton, of_crew);
		uint64_t limit = crew_limit_now_ns(c, b, now);

		busy |= looper_look(b, now, limit);
		if (limit / CREW_LOOKS < *ret_ns)
			*ret_ns = limit / CREW_LOOKS;
	}
	return busy;
}

/* Watch held. A fiber that comes to the gate sees that the crew is asleep; the others are told. */
static void crew_fall_asleep(struct crew *c)
{
	atomic_store(&c->asleep, true);
	for (struct list *l = c->batons.next; l != &c->batons; l = l->next)
		baton_ask_to_rouse(container_of(l, struct baton, of_crew));
}

/* Watch held. Asleep is said first: a handler that begins behind that sees it. */
static void crew_sleep(struct crew *c)
{
	uint64_t next;

	crew_fall_asleep(c);
	if (sys_fence_heavy() == 0 && !crew_look(c, &next))
		while (atomic_load(&c->asleep) && !atomic_load(&c->ending))
			pthread_cond_wait(&c->roused, &c->watch);
	atomic_store(&c->asleep, false);
}

static void crew_watchdog_main(void *arg)
{
	struct crew *c = arg;
	unsigned quiet = 0;
	uint64_t next;

	pthread_mutex_lock(&c->watch);
	while (!atomic_load(&c->ending)) {
		quiet = crew_look(c, &next) ? 0 : quiet + 1;
		if (quiet >= CREW_QUIET) {
			crew_sleep(c);
			quiet = 0;
		}
		if (!atomic_load(&c->ending))
			sys_cond_wait(&c->roused, &c->watch, sys_clock_ns() + next);
	}
	pthread_mutex_unlock(&c->watch);
}

/* Where there is no thread to be had it is tried again by the next handler. */
void crew_rouse(struct crew *c)
{
	pthread_mutex_lock(&c->watch);
	if (!c->watched && !atomic_load(&c->ending))
		c->watched = sys_thread_start(&c->watchdog, "np-baton", crew_watchdog_main, c) == 0;
	if (c->watched)
		atomic_store(&c->asleep, false);
	pthread_cond_signal(&c->roused);
	pthread_mutex_unlock(&c->watch);
}

bool crew_is_asleep(const struct crew *c)
{
	return atomic_load_explicit(&c->asleep, memory_order_relaxed);
}

void crew_add(struct crew *c, struct baton *b)
{
	pthread_mutex_lock(&c->watch);
	list_append(&c->batons, &b->of_crew);
	pthread_mutex_unlock(&c->watch);
}

void crew_remove(struct crew *c, struct baton *b)
{
	pthread_mutex_lock(&c->watch);
	list_remove(&b->of_crew);
	pthread_mutex_unlock(&c->watch);
}

/* ------------------------------------------------------------------ begin and end */

int crew_new(const struct crew_opts *o, struct crew **ret)
{
	struct crew *c = calloc(1, sizeof *c);
	size_t n = (size_t)o->n_cpus;

	if (!c)
		return -ENOMEM;
	c->opts = *o;
	c->cpus = n ? malloc(n * sizeof *c->cpus) : NULL;
	if (n && !c->cpus) {
		free(c);
		return -ENOMEM;
	}
	if (n)
		memcpy(c->cpus, o->cpus, n * sizeof *c->cpus);
	pthread_mutex_init(&c->watch, NULL);
	pthread_mutex_init(&c->lock, NULL);
	sys_cond_init(&c->roused);
	list_init(&c->waiters);
	list_init(&c->batons);
	atomic_init(&c->asleep, o->handoff_ms > 0);
	sys_fence_find();
	*ret = c;
	return 0;
}

static void crew_end_watchdog(struct crew *c)
{
	bool watched;

	pthread_mutex_lock(&c->watch);
	atomic_store(&c->ending, true);
	watched = c->watched;
	c->watched = false;
	pthread_cond_signal(&c->roused);
	pthread_mutex_unlock(&c->watch);
	if (watched)
		sys_thread_join(&c->watchdog, 0);
}

static void crew_end_spares(struct crew *c)
{
	struct rider *r;

	pthread_mutex_lock(&c->lock);
	for (r = c->all; r; r = r->next_of_crew)
		pthread_cond_signal(&r->idle);
	pthread_mutex_unlock(&c->lock);
	while ((r = c->all)) {
		c->all = r->next_of_crew;
		sys_thread_join(&r->thread, 0);
		crew_rider_free(r);
	}
}

void crew_end(struct crew *c)
{
	if (!c)
		return;
	crew_end_watchdog(c);
	crew_end_spares(c);
}

void crew_free(struct crew *c)
{
	if (!c)
		return;
	crew_end(c);
	pthread_mutex_destroy(&c->watch);
	pthread_mutex_destroy(&c->lock);
	pthread_cond_destroy(&c->roused);
	free(c->cpus);
	free(c);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * poller: the loop, its thread, and what may be queued on it
 *
 * The wake eventfd is never read: it is edge-triggered, and its counter lasts for 2^64 wake-ups. A
 * write to it has no reason to fail, and a wake-up that is lost is a connection that hangs: it is
 * tried again.
 */
#include "poll/poller.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "netpoll/status.h"
#include "poll/crew.h"
#include "poll/looper.h"
#include "poll/poller_private.h"
#include "poll/spare.h"
#include "sys/clock.h"
#include "sys/cpu.h"
#include "sys/crash.h"
#include "sys/epoll.h"
#include "sys/io.h"
#include "sys/wake.h"

#define POLLER_EVENTS_MIN 64
#define POLLER_WAKE_TRIES 100

static _Thread_local struct poller *self __attribute__((tls_model("initial-exec")));

/* ------------------------------------------------------------------ new and free */

static int poller_open_fds(struct poller *p)
{
	int r = sys_epoll_create(&p->epoll_fd);

	if (r == 0)
		r = sys_wake_open(&p->wake_fd);
	if (r == 0)
		r = watch_open(&p->wake, p, p->wake_fd, 0, NULL);
	return r;
}

static void poller_destroy(struct poller *p)
{
	if (p->local)
		p->local_free(p->local);
	meter_fini(&p->meter);
	sys_close(&p->wake_fd);
	sys_close(&p->epoll_fd);
	baton_fini(p);
	free(p->events);
	free(p->slots);
	free(p);
}

int poller_new(const struct poller_opts *o, struct poller **ret)
{
	struct poller *p = aligned_alloc(64, (sizeof *p + 63) & ~(size_t)63);
	struct fiber_pool_opts fibers = o->fibers;
	int r;

	if (!p)
		return -ENOMEM;
	memset(p, 0, sizeof *p);
	p->opts = *o;
	p->epoll_fd = p->wake_fd = -1;
	p->free_slot = SLOT_NONE;
	p->publish_in = 1;
	p->publish_every = POLLER_PUBLISH_MIN;
	list_init(&p->ready);
	list_init(&p->now.watches);
	list_init(&p->now.due);
	list_init(&p->parked);
	baton_init(p, o->crew);
	timer_init(&p->spawn_retry, spawn_again);
	timer_init(&p->trim, turn_trim_stacks);
	p->hog.limit_ms = o->hog_ms;
	p->now_ms = sys_clock_ns() / 1000000u;
	wheel_init(&p->wheel, p->now_ms);
	p->n_events = POLLER_EVENTS_MIN;
	p->events = calloc((size_t)p->n_events, sizeof *p->events);
	r = p->events ? poller_open_fds(p) : -ENOMEM;
	if (r == 0)
		r = meter_init(&p->meter, o->metrics);
	fibers.next = watch_next_fiber;
	fibers.next_arg = p;
	if (r == 0)
		r = fiber_pool_new(&fibers, &p->fibers);
	if (r < 0) {
		poller_destroy(p);
		return r;
	}
	*ret = p;
	return 0;
}

bool poller_run_late_mail(struct poller *p)
{
	struct poller *was = self;
	bool any = false;

	/* A mail may be here before its sender has left poller_post(). */
	while (atomic_load_explicit(&p->posting, memory_order_acquire))
		sched_yield();
	self = p;
	while (mailbox_any(&p->mailbox) || p->deferred_first) {
		any = true;
		turn_run_mail(p);
		turn_run_deferred(p);
	}
	self = was;
	return any;
}

bool poller_is_kept(const struct poller *p)
{
	return p->keeps;
}

int poller_free(struct poller *p)
{
	int r;

	if (!p)
		return 0;
	if (p->state == POLLER_RUNNING)
		return -EBUSY;
	poller_run_late_mail(p);
	if (p->baton.home.run_first || p->now.tail.first || p->spawn.first || p->keeps)
		return -EBUSY;
	r = fiber_pool_free(p->fibers);
	if (r < 0)
		return r;
	poller_destroy(p);
	return 0;
}

/* ------------------------------------------------------------------ queues */

void poller_wake(struct poller *p)
{
	for (int i = 0; i < POLLER_WAKE_TRIES && sys_wake_signal(p->wake_fd) < 0; i++)
		sched_yield();
}

/* Whether this thread will look round before it sleeps. */
static bool poller_is_awake_here(const struct poller *p)
{
	return self == p && (!baton_here.rider || baton_is_looper(&p->baton, baton_here.rider));
}

/*
 * Only the sender that finds the box empty wakes the looper: the others know that one has, or is
 * about to. The looper looks into the box once more before it sleeps, so its own mail needs no
 * wake-up.
 */
void poller_post(struct poller *p, struct mail *m)
{
	if (poller_is_awake_here(p)) {
		mailbox_put(&p->mailbox, m);
		return;
	}
	atomic_fetch_add_explicit(&p->posting, 1, memory_order_relaxed);
	if (mailbox_put(&p->mailbox, m))
		poller_wake(p);
	atomic_fetch_sub_explicit(&p->posting, 1, memory_order_release);
}

/* For the thread on which it began. */
void poller_ready(struct poller *p, struct fiber *f)
{
	struct rider *r = fiber_host_tag(f);

	poller_assert_owner(p);
	fiber_set_next(f, NULL);
	if (r->run_last)
		fiber_set_next(r->run_last, f);
	else
		r->run_first = f;
	r->run_last = f;
	atomic_store_explicit(&r->has_run, true, memory_order_relaxed);
}

void poller_defer(struct poller *p, struct mail *m)
{
	poller_assert_owner(p);
	m->next = NULL;
	if (p->deferred_last)
		p->deferred_last->next = m;
	else
		p->deferred_first = m;
	p->deferred_last = m;
}

/* ------------------------------------------------------------------ the loop */

/* Only at home, and once each spare thread has left. */
static bool poller_may_end(const struct poller *p, const struct rider *r)
{
	return atomic_load_explicit(&p->stop, memory_order_acquire) && !p->holds && !r->run_first &&
	       !p->spawn.first && !p->deferred_first && !mailbox_any(&p->mailbox) &&
	       !baton_is_shared(&p->baton);
}

/* Return: whether the poller has ended; false: this thread is the looper no more. */
static bool poller_turns(struct poller *p, struct rider *r)
{
	bool mine = turn_go_on(p, r);

	while (mine && !poller_may_end(p, r))
		mine = turn_run(p, r);
	return mine;
}

static void poller_ride_home(struct poller *p)
{
	struct rider *r = &p->baton.home;

	/* What the watchdog tells those that it knows is behind what it knows. */
	if (r->crew)
		crew_add(r->crew, &p->baton);
	baton_mount(r);
	fiber_host_set_tag(r);
	/* One that has lost the loop has it again when its fiber is back. */
	while (!poller_turns(p, r))
		;
	if (r->crew)
		crew_remove(r->crew, &p->baton);
	baton_dismount(r);
}

int poller_loop(struct poller *p)
{
	struct rider *rode = baton_here.rider;
	struct poller *was = self;

	self = p;
	baton_here.rider = &p->baton.home;
	poller_ride_home(p);
	poller_publish_idle(p);
	baton_here.rider = rode;
	if (rode)
		fiber_host_set_tag(rode);
	self = was;
	return 0;
}

/* A handler was left alone for its time, or by itself: it is no hog, and the turn is not over. */
static void poller_takes_over(struct poller *p)
{
	struct hog_note left;

	hog_starts_anew(p);
	for (unsigned i = 0; i < p->n_loads; i++)
		__atomic_store_n(&p->loads[i]->handoffs, p->loads[i]->handoffs + 1,
				 __ATOMIC_RELAXED);
	if (looper_take_told(&p->baton, &left))
		hog_say_left(p, &left);
}

void poller_carry(struct poller *p, struct rider *r)
{
	bool mine = spare_arrive(r, p);

	self = p;
	for (; mine; mine = spare_host(r)) {
		if (!baton_is_looper(&p->baton, r)) {
			turn_run_own(p, r);
			continue;
		}
		poller_takes_over(p);
		poller_turns(p, r);
	}
	self = NULL;
}

/* ------------------------------------------------------------------ thread */

static const char *poller_pin_advice(int err)
{
	if (err == -EINVAL)
		return "name a CPU of the process's mask and cpuset (taskset -pc PID)";
	if (err == -EPERM)
		return "sched_setaffinity(2) is forbidden (seccomp?): allow it, or set pin to NP_OFF";
	return "set pin to NP_OFF if that is wanted";
}

static void poller_thread_main(void *arg)
{
	struct poller *p = arg;
	void *crash_stack = NULL;
	int r;

	if (p->opts.cpu >= 0) {
		r = sys_cpu_pin(p->opts.cpu);
		if (r < 0)
			poller_log(p, 1, "cannot pin poller %d to CPU %d: %s; it runs unpinned: %s",
				   p->opts.index, p->opts.cpu, np_strerror(r),
				   poller_pin_advice(r));
	}
	if (p->opts.report_overflow && sys_crash_stack(&crash_stack) < 0)
		poller_log(p, 1, "poller %d: no memory for reports of stack overflows",
			   p->opts.index);
	poller_loop(p);
	sys_crash_stack_free(&crash_stack);
}

int poller_start(struct poller *p)
{
	char name[16];
	int r;

	if (p->state != POLLER_MADE)
		return -EALREADY;
	snprintf(name, sizeof name, "np-%d", p->opts.index);
	r = sys_thread_start(&p->thread, name, poller_thread_main, p);
	if (r < 0)
		return r;
	p->state = POLLER_RUNNING;
	return 0;
}

void poller_stop(struct poller *p)
{
	atomic_store_explicit(&p->stop, true, memory_order_release);
	poller_wake(p);
}

int poller_join(struct poller *p, uint64_t until_ns)
{
	int r;

	if (p->state != POLLER_RUNNING)
		return 0;
	r = sys_thread_join(&p->thread, until_ns);
	if (r < 0)
		return r;
	p->state = POLLER_ENDED;
	return 0;
}

/* ------------------------------------------------------------------ load lines */

int poller_add_load(struct poller *p, struct poller_load *l)
{
	poller_assert_owner(p);
	if (p->n_loads == POLLER_LOADS)
		return -ENOSPC;
	p->loads[p->n_loads++] = l;
	return 0;
}

void poller_del_load(struct poller *p, struct poller_load *l)
{
	poller_assert_owner(p);
	for (unsigned i = 0; i < p->n_loads; i++) {
		if (p->loads[i] != l)
			continue;
		__atomic_store_n(&l->busy_since_ns, 0, __ATOMIC_RELAXED);
		p->loads[i] = p->loads[--p->n_loads];
		return;
	}
}

static void poller_publish(struct poller *p, uint64_t since_ns)
{
	for (unsigned i = 0; i < p->n_loads; i++)
		__atomic_store_n(&p->loads[i]->busy_since_ns, since_ns, __ATOMIC_RELAXED);
}

/* How many short pieces of work may follow one that was published at @now_ns. */
static unsigned poller_publish_again_in(struct poller *p, uint64_t now_ns)
{
	if (now_ns != p->published_ns)
		p->publish_every = POLLER_PUBLISH_MIN;
	else if (p->publish_every < POLLER_PUBLISH_MAX)
		p->publish_every *= 2;
	p->published_ns = now_ns;
	return p->hog.each ? 1 : p->publish_every;
}

void poller_publish_busy(struct poller *p)
{
	uint64_t now;

	poller_assert_owner(p);
	if (!p->n_loads && !p->hog.each)
		return;
	now = sys_clock_coarse_ns();
	p->publish_in = poller_publish_again_in(p, now);
	poller_publish(p, now - (uint64_t)p->opts.clock_offset_ns);
	if (p->hog.each)
		hog_mark(p, now);
}

void poller_begin_published(struct poller *p)
{
	p->publish_in = POLLER_PUBLISH_MIN; /* where nothing is published */
	poller_begin_dispatch(p);
}

void poller_publish_row(struct poller *p, unsigned n)
{
	if (p->publish_in > n)
		p->publish_in -= n;
	else
		poller_publish_busy(p);
}

void poller_publish_idle(struct poller *p)
{
	poller_publish(p, 0);
}

/* ------------------------------------------------------------------ small things */

struct poller *poller_self(void)
{
	return self;
}

bool poller_is_here(const struct poller *p)
{
	return self == p && baton_is_held(&p->baton, true);
}

bool poller_is_owner(const struct poller *p)
{
	return baton_is_held(&p->baton, self == p) || p->state != POLLER_RUNNING;
}

int poller_index(const struct poller *p)
{
	return p->opts.index;
}

int poller_cpu(const struct poller *p)
{
	return p->opts.cpu;
}

struct offload *poller_offload(const struct poller *p)
{
	return p->opts.offload;
}

void *poller_owner(const struct poller *p)
{
	return p->opts.owner;
}

uint64_t poller_turn(const struct poller *p)
{
	poller_assert_owner(p);
	return p->stats.turns;
}

struct fiber_pool *poller_fibers(struct poller *p)
{
	return p->fibers;
}

void *poller_local(const struct poller *p)
{
	poller_assert_owner(p);
	return p->local;
}

void poller_set_local(struct poller *p, void *v, void (*free_fn)(void *))
{
	poller_assert_owner(p);
	p->local = v;
	p->local_free = free_fn;
}

void poller_hold(struct poller *p)
{
	poller_assert_owner(p);
	p->holds++;
}

void poller_unhold(struct poller *p)
{
	poller_assert_owner(p);
	p->holds--;
}

void poller_keep(struct poller *p)
{
	poller_assert_owner(p);
	p->keeps++;
}

void poller_unkeep(struct poller *p)
{
	poller_assert_owner(p);
	p->keeps--;
}

unsigned poller_timers(const struct poller *p)
{
	return wheel_count(&p->wheel);
}

void poller_get_stats(const struct poller *p, struct poller_stats *ret)
{
	*ret = p->stats;
}

void poller_log(struct poller *p, int level, const char *fmt, ...)
{
	char msg[256];
	va_list ap;

	if (!p->opts.log)
		return;
	va_start(ap, fmt);
	vsnprintf(msg, sizeof msg, fmt, ap);
	va_end(ap);
	p->opts.log(p->opts.log_arg, level, msg);
}

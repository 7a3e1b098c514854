/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * poller: the loop, its thread, and what may be queued on it
 *
 * Policies for calls that must not fail. epoll_wait: EINTR is a turn without events; anything else
 * would be a bug of ours (EBADF, EINVAL, EFAULT), is logged once, and the loop goes on with what
 * needs no events. The wake eventfd is never read: it is edge-triggered, and its counter lasts for
 * 2^64 wake-ups. A write to it has no reason to fail, and a wake-up that is lost is a connection
 * that hangs: it is tried again.
 */
#include "poll/poller.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "netpoll/status.h"
#include "poll/park.h"
#include "poll/poller_private.h"
#include "sys/clock.h"
#include "sys/cpu.h"
#include "sys/crash.h"
#include "sys/epoll.h"
#include "sys/io.h"
#include "sys/wake.h"

#define EVENTS_MIN     64
#define EVENTS_MAX     1024
#define DATA_WAKE      UINT64_MAX
#define TRIM_EVERY_MS  1000
#define SPAWN_RETRY_MS 10
#define SPAWN_LOG_MS   1000
#define WAKE_TRIES     100
#define TAIL_MAX       256 /* fibers behind one dispatch: each may begin the next, without end */

static _Thread_local struct poller *self __attribute__((tls_model("initial-exec")));

static void spawn_again(struct timer *t);
static void trim_stacks(struct timer *t);
static void run_mail(struct poller *p);
static void run_deferred(struct poller *p);

/* ------------------------------------------------------------------ new and free */

static int open_fds(struct poller *p)
{
	int r = sys_epoll_create(&p->epoll_fd);

	if (r == 0)
		r = sys_wake_open(&p->wake_fd);
	if (r == 0)
		r = sys_epoll_add(p->epoll_fd, p->wake_fd, EPOLLIN | EPOLLET, DATA_WAKE);
	return r;
}

static void destroy(struct poller *p)
{
	if (p->local)
		p->local_free(p->local);
	sys_close(&p->wake_fd);
	sys_close(&p->epoll_fd);
	free(p->events);
	free(p->slots);
	free(p);
}

int poller_new(const struct poller_opts *o, struct poller **ret)
{
	struct poller *p = aligned_alloc(64, (sizeof *p + 63) & ~(size_t)63);
	int r;

	if (!p)
		return -ENOMEM;
	memset(p, 0, sizeof *p);
	p->opts = *o;
	p->epoll_fd = p->wake_fd = -1;
	p->free_slot = SLOT_NONE;
	list_init(&p->ready);
	list_init(&p->parked);
	timer_init(&p->spawn_retry, spawn_again);
	timer_init(&p->trim, trim_stacks);
	p->hog.limit_ms = o->hog_ms;
	p->now_ms = sys_clock_ns() / 1000000u;
	wheel_init(&p->wheel, p->now_ms);
	p->n_events = EVENTS_MIN;
	p->events = calloc((size_t)p->n_events, sizeof *p->events);
	r = p->events ? open_fds(p) : -ENOMEM;
	if (r == 0)
		r = fiber_pool_new(&o->fibers, &p->fibers);
	if (r < 0) {
		destroy(p);
		return r;
	}
	*ret = p;
	return 0;
}

static void run_late_mail(struct poller *p)
{
	struct poller *was = self;

	self = p;
	while (mailbox_any(&p->mailbox) || p->deferred_first) {
		run_mail(p);
		run_deferred(p);
	}
	self = was;
}

int poller_free(struct poller *p)
{
	int r;

	if (!p)
		return 0;
	if (p->state == POLLER_RUNNING)
		return -EBUSY;
	/* A mail may be here before its sender has left poller_post(). */
	while (atomic_load_explicit(&p->posting, memory_order_acquire))
		sched_yield();
	run_late_mail(p);
	if (p->run_first || p->tail_first || p->spawn_first || p->keeps)
		return -EBUSY;
	r = fiber_pool_free(p->fibers);
	if (r < 0)
		return r;
	destroy(p);
	return 0;
}

/* ------------------------------------------------------------------ queues */

static void wake(struct poller *p)
{
	for (int i = 0; i < WAKE_TRIES && sys_wake_signal(p->wake_fd) < 0; i++)
		sched_yield();
}

/*
 * Only who finds the box empty wakes the owner: the others know that somebody has, or is about to.
 * The owner looks into the box once more before it sleeps, so its own mail needs no wake-up.
 */
void poller_post(struct poller *p, struct mail *m)
{
	if (self == p) {
		mailbox_put(&p->mailbox, m);
		return;
	}
	atomic_fetch_add_explicit(&p->posting, 1, memory_order_relaxed);
	if (mailbox_put(&p->mailbox, m))
		wake(p);
	atomic_fetch_sub_explicit(&p->posting, 1, memory_order_release);
}

void poller_ready(struct poller *p, struct fiber *f)
{
	poller_assert_owner(p);
	fiber_set_next(f, NULL);
	if (p->run_last)
		fiber_set_next(p->run_last, f);
	else
		p->run_first = f;
	p->run_last = f;
}

void poller_spawn_node(struct poller *p, struct spawn *s)
{
	poller_assert_owner(p);
	s->next = NULL;
	if (p->spawn_last)
		p->spawn_last->next = s;
	else
		p->spawn_first = s;
	p->spawn_last = s;
}

void poller_begin_fiber(struct poller *p, struct spawn *s)
{
	poller_assert_owner(p);
	s->next = NULL;
	if (p->tail_last)
		p->tail_last->next = s;
	else
		p->tail_first = s;
	p->tail_last = s;
}

struct spawn_call {
	struct spawn node;
	void (*fn)(void *);
	void *arg;
};

static void spawn_call(void *arg)
{
	struct spawn_call c = *(struct spawn_call *)arg;

	free(arg);
	c.fn(c.arg);
}

int poller_spawn(struct poller *p, void (*fn)(void *), void *arg)
{
	struct spawn_call *c = malloc(sizeof *c);

	if (!c)
		return -ENOMEM;
	*c = (struct spawn_call){ .node = { .fn = spawn_call, .arg = c }, .fn = fn, .arg = arg };
	poller_spawn_node(p, &c->node);
	return 0;
}

void poller_defer(struct poller *p, struct mail *m)
{
	m->next = NULL;
	if (p->deferred_last)
		p->deferred_last->next = m;
	else
		p->deferred_first = m;
	p->deferred_last = m;
}

/* ------------------------------------------------------------------ one turn */

static bool has_work(const struct poller *p)
{
	return !list_empty(&p->ready) || p->run_first || p->deferred_first ||
	       (p->spawn_first && !p->spawn_blocked) || mailbox_any(&p->mailbox);
}

/* Rounded up, so that no turn comes before its timer. */
static int wait_ms(struct poller *p)
{
	uint64_t next, now;

	if (has_work(p))
		return 0;
	next = wheel_next(&p->wheel);
	if (next == WHEEL_NEVER)
		return -1;
	now = poller_refresh_now(p);
	if (next <= now)
		return 0;
	return next - now < INT_MAX ? (int)(next - now) : INT_MAX;
}

static void publish(struct poller *p, uint64_t since_ns)
{
	for (unsigned i = 0; i < p->n_loads; i++)
		__atomic_store_n(&p->loads[i]->busy_since_ns, since_ns, __ATOMIC_RELAXED);
}

void poller_publish_busy(struct poller *p)
{
	uint64_t now;

	if (!p->n_loads && !p->hog.each)
		return;
	now = sys_clock_coarse_ns();
	publish(p, now - (uint64_t)p->opts.clock_offset_ns);
	if (p->hog.each)
		hog_mark(p, now);
}

static void grow_events(struct poller *p)
{
	struct epoll_event *e;

	if (p->n_events >= EVENTS_MAX)
		return;
	e = realloc(p->events, 2 * (size_t)p->n_events * sizeof *e);
	if (!e)
		return; /* the rest comes with the next turn */
	p->events = e;
	p->n_events *= 2;
}

static int wait_events(struct poller *p)
{
	int timeout = wait_ms(p), n;

	if (timeout) {
		/* With a timer to wait for, wait_ms() has just read the clock. */
		hog_turn_over(p, timeout > 0 ? p->now_ms : sys_clock_coarse_ns() / 1000000u);
		publish(p, 0);
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

static void take_events(struct poller *p, int n)
{
	p->stats.events += (uint64_t)n;
	for (int i = 0; i < n; i++) {
		struct watch *w;

		if (p->events[i].data.u64 == DATA_WAKE)
			continue;
		w = watch_of_event(p, p->events[i].data.u64);
		if (w)
			watch_event(w, p->events[i].events);
		else
			p->stats.stale_events++;
	}
	if (n == p->n_events)
		grow_events(p);
}

static void run_mail(struct poller *p)
{
	struct mail *m, *next;

	for (m = mailbox_take(&p->mailbox); m; m = next) {
		next = m->next;
		p->stats.mails++;
		begin_dispatch(p);
		m->fn(m);
		end_dispatch(p);
	}
}

static struct spawn *spawn_pop(struct poller *p)
{
	struct spawn *s = p->spawn_first;

	p->spawn_first = s->next;
	if (!s->next)
		p->spawn_last = NULL;
	return s;
}

static struct spawn *tail_pop(struct poller *p)
{
	struct spawn *s = p->tail_first;

	if (s) {
		p->tail_first = s->next;
		if (!s->next)
			p->tail_last = NULL;
	}
	return s;
}

static void spawn_put_back(struct poller *p, struct spawn *s)
{
	s->next = p->spawn_first;
	p->spawn_first = s;
	if (!s->next)
		p->spawn_last = s;
}

/* Who waits for want of memory cannot rely on a fiber to end: there may be none. */
static void spawn_again(struct timer *t)
{
	container_of(t, struct poller, spawn_retry)->spawn_blocked = false;
}

static void spawn_wait(struct poller *p, int err)
{
	p->spawn_blocked = true;
	timer_arm(p, &p->spawn_retry, poller_now_ms(p) + SPAWN_RETRY_MS);
	if (p->spawn_logged_ms && p->now_ms - p->spawn_logged_ms < SPAWN_LOG_MS)
		return;
	p->spawn_logged_ms = p->now_ms;
	poller_log(p, 1, "poller %d: no stack for a fiber (error %d): what would run waits",
		   p->opts.index, -err);
}

/* Those that are queued now, in their order. A node is not touched once its fiber has begun. */
static void start_fibers(struct poller *p)
{
	struct spawn *last = p->spawn_last, *s;
	bool more = p->spawn_first && !p->spawn_blocked;
	int r;

	while (more) {
		s = spawn_pop(p);
		more = s != last;
		begin_dispatch(p);
		r = fiber_run(p->fibers, s->fn, s->arg);
		if (r < 0) {
			spawn_put_back(p, s);
			spawn_wait(p, r);
			return;
		}
		p->stats.fibers_run++;
		end_dispatch(p);
	}
}

/*
 * Those that wait for a stack keep their place in front of these; and a chain of fibers of which
 * each begins the next lets the others have their turn.
 */
void poller_run_tail(struct poller *p)
{
	struct spawn *s;
	unsigned n = 0;
	int r;

	while ((s = tail_pop(p))) {
		if (p->spawn_blocked || n == TAIL_MAX) {
			poller_spawn_node(p, s);
			continue;
		}
		/* The first goes on with what the dispatch had published. */
		if (p->hog.each || (n && n % POLLER_PUBLISH_EVERY == 0))
			begin_dispatch(p);
		else
			poller_left_user(p);
		n++;
		r = fiber_run(p->fibers, s->fn, s->arg);
		if (r < 0) {
			poller_spawn_node(p, s);
			spawn_wait(p, r);
			continue;
		}
		p->stats.fibers_run++;
	}
}

static void resume_fibers(struct poller *p, struct fiber *f)
{
	struct fiber *next;

	for (; f; f = next) {
		next = fiber_next(f);
		p->stats.fibers_run++;
		begin_dispatch(p);
		poller_note_handler(p, park_handler(f));
		if (fiber_resume(f) == FIBER_ENDED)
			p->spawn_blocked = false;
		end_dispatch(p);
	}
}

/*
 * New ones first: who yields lets those begin that it has asked for. Which of the others go on is
 * settled before: who is made ready by one of these waits for the next turn.
 */
static void run_fibers(struct poller *p)
{
	struct fiber *ready = p->run_first;

	p->run_first = p->run_last = NULL;
	start_fibers(p);
	resume_fibers(p, ready);
}

static void fire_timers(struct poller *p)
{
	struct list due, *n;

	/* By the time at which the turn began: what came due meanwhile fires in the next one. */
	wheel_turn(&p->wheel, p->now_ms, &due);
	/* Popped one by one: a timer's function may disarm another that is due as well. */
	while ((n = list_pop(&due))) {
		struct timer *t = container_of(n, struct timer, link);

		p->stats.timers_fired++;
		begin_dispatch(p);
		t->fn(t);
		end_dispatch(p);
	}
}

static void run_deferred(struct poller *p)
{
	struct mail *m = p->deferred_first, *next;

	p->deferred_first = p->deferred_last = NULL;
	for (; m; m = next) {
		next = m->next;
		begin_dispatch(p);
		m->fn(m);
		end_dispatch(p);
	}
}

static void trim_stacks(struct timer *t)
{
	fiber_pool_trim(container_of(t, struct poller, trim)->fibers);
}

/* A timer, not a look at the clock in each turn: after a burst there may be no turn for a long
 * time. */
static void arm_trim(struct poller *p)
{
	struct fiber_pool_stats st;

	if (timer_armed(&p->trim))
		return;
	fiber_pool_stats(p->fibers, &st);
	if (st.spare)
		timer_arm(p, &p->trim, poller_now_ms(p) + TRIM_EVERY_MS);
}

static void turn(struct poller *p)
{
	int n = wait_events(p);

	p->stats.turns++;
	p->clock = CLOCK_STALE;
	poller_refresh_now(p);
	hog_turn_begins(p);
	take_events(p, n);
	run_mail(p);
	watch_dispatch(p);
	run_fibers(p);
	fire_timers(p);
	run_deferred(p);
	arm_trim(p);
}

static bool may_end(const struct poller *p)
{
	return atomic_load_explicit(&p->stop, memory_order_acquire) && !p->holds && !p->run_first &&
	       !p->spawn_first && !p->deferred_first && !mailbox_any(&p->mailbox);
}

int poller_loop(struct poller *p)
{
	self = p;
	end_dispatch(p); /* begun before the loop was */
	while (!may_end(p))
		turn(p);
	publish(p, 0);
	self = NULL;
	return 0;
}

/* ------------------------------------------------------------------ thread */

static const char *pin_advice(int err)
{
	if (err == -EINVAL)
		return "name a CPU of the process's mask and cpuset (taskset -pc PID)";
	if (err == -EPERM)
		return "sched_setaffinity(2) is forbidden (seccomp?): allow it, or set pin to NP_OFF";
	return "set pin to NP_OFF if that is wanted";
}

static void thread_main(void *arg)
{
	struct poller *p = arg;
	void *crash_stack = NULL;
	int r;

	if (p->opts.cpu >= 0) {
		r = sys_cpu_pin(p->opts.cpu);
		if (r < 0)
			poller_log(p, 1, "cannot pin poller %d to CPU %d: %s; it runs unpinned: %s",
				   p->opts.index, p->opts.cpu, np_strerror(r), pin_advice(r));
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
	r = sys_thread_start(&p->thread, name, thread_main, p);
	if (r < 0)
		return r;
	p->state = POLLER_RUNNING;
	return 0;
}

void poller_stop(struct poller *p)
{
	atomic_store_explicit(&p->stop, true, memory_order_release);
	wake(p);
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

/* ------------------------------------------------------------------ small things */

struct poller *poller_self(void)
{
	return self;
}

bool poller_is_owner(const struct poller *p)
{
	return self == p || p->state != POLLER_RUNNING;
}

int poller_index(const struct poller *p)
{
	return p->opts.index;
}

int poller_cpu(const struct poller *p)
{
	return p->opts.cpu;
}

void *poller_owner(const struct poller *p)
{
	return p->opts.owner;
}

/* Inside user code it stays USER: the next reader is to read anew. */
static void set_now(struct poller *p, uint64_t ns)
{
	p->now_ms = ns / 1000000u;
	if (p->clock == CLOCK_STALE)
		p->clock = CLOCK_FRESH;
}

uint64_t poller_refresh_now(struct poller *p)
{
	set_now(p, sys_clock_ns());
	return p->now_ms;
}

uint64_t poller_now_ms(struct poller *p)
{
	return p->clock == CLOCK_FRESH ? p->now_ms : poller_refresh_now(p);
}

uint64_t poller_stamp_ms(struct poller *p)
{
	uint64_t coarse;

	if (p->clock == CLOCK_FRESH)
		return p->now_ms;
	coarse = sys_clock_coarse_ns() / 1000000u;
	return coarse > p->now_ms ? coarse : p->now_ms;
}

uint64_t poller_after_ms(struct poller *p, int ms)
{
	uint64_t ns = sys_clock_ns();

	set_now(p, ns);
	return (ns + (uint64_t)ms * 1000000u + 999999u) / 1000000u;
}

uint64_t poller_turn(const struct poller *p)
{
	return p->stats.turns;
}

struct fiber_pool *poller_fibers(struct poller *p)
{
	return p->fibers;
}

void *poller_local(const struct poller *p)
{
	return p->local;
}

void poller_set_local(struct poller *p, void *v, void (*free_fn)(void *))
{
	p->local = v;
	p->local_free = free_fn;
}

int poller_add_load(struct poller *p, struct poller_load *l)
{
	if (p->n_loads == POLLER_LOADS)
		return -ENOSPC;
	p->loads[p->n_loads++] = l;
	return 0;
}

void poller_del_load(struct poller *p, struct poller_load *l)
{
	for (unsigned i = 0; i < p->n_loads; i++) {
		if (p->loads[i] != l)
			continue;
		__atomic_store_n(&l->busy_since_ns, 0, __ATOMIC_RELAXED);
		p->loads[i] = p->loads[--p->n_loads];
		return;
	}
}

void poller_hold(struct poller *p)
{
	p->holds++;
}

void poller_unhold(struct poller *p)
{
	p->holds--;
}

void poller_keep(struct poller *p)
{
	p->keeps++;
}

void poller_unkeep(struct poller *p)
{
	p->keeps--;
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

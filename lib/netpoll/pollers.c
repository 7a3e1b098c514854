/* SPDX-License-Identifier: BSD-2-Clause */
/* pollers: a set of poller threads, made and ended together. */
#include "netpoll/pollers.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conn/conn.h"
#include "netpoll/block.h"
#include "netpoll/observer.h"
#include "netpoll/own_group.h"
#include "netpoll/pollers_private.h"
#include "netpoll/resolver.h"
#include "netpoll/stall.h"
#include "netpoll/timers.h"
#include "poll/crew.h"
#include "poll/handler_count.h"
#include "poll/offload.h"
#include "poll/overflow.h"
#include "poll/park.h"
#include "sys/clock.h"
#include "sys/cpu.h"
#include "sys/fd_table.h"
#include "sys/opts.h"
#include "sys/symbol.h"

#define CPUS_MAX    1024
#define DESCRIPTORS 65536 /* for which there is room from the start: half a MiB of the kernel's */

#define HANDOFF_MS      10
#define HANDOFF_THREADS 16

/* The fiber lies in its own stack, not always at the same place; and a stack has a guard. */
#define STACK_MIN (16u << 10)
#define STACK_MAX (1u << 30)

#define HOG_MS 100 /* steering passes over a worker that is busy for as long */

/* How long handlers get to return once their waits were cancelled. */
#define CANCEL_GRACE_NS 1000000000u

/*
 * The CPUs of the mask, if each gets a poller. With fewer there would be a choice, and every
 * process of the machine would make the same: two of one poller each, or with a quota of one CPU
 * each, would share the first CPU beside idle ones. The scheduler sees the others and chooses
 * better.
 */
static int pollers_pin_all(const struct np_pollers_opts *o, int *cpus)
{
	int n = sys_cpu_list(cpus, CPUS_MAX), may = sys_cpu_count();
	char line[160];

	if (n <= 0 || o->pin == NP_ON || (may >= n && (!o->count || o->count >= n)))
		return n > 0 ? n : 0;
	if (o->log) {
		snprintf(
			line, sizeof line,
			"pollers are not pinned: %d for the time of %d of %d CPUs; opts.cpus or .pin pins them",
			o->count ? o->count : may, may, n);
		o->log(o->log_arg, NP_LOG_INFO, line);
	}
	return 0;
}

/* Which CPUs to pin to. Return: how many, 0 = do not pin. */
static int pollers_pin_list(const struct np_pollers_opts *o, int *cpus)
{
	if (o->pin == NP_OFF)
		return 0;
	if (!o->n_cpus)
		return pollers_pin_all(o, cpus);
	for (int i = 0; i < o->n_cpus; i++)
		cpus[i] = o->cpus[i];
	return o->n_cpus;
}

/* A poller takes its own functions to the end: one that posts itself again would keep it unseen. */
static void pollers_say_posts(const struct poller_slot *s)
{
	char name[160];

	poller_log(s->poller, NP_LOG_ERROR,
		   "poller %u: %llu functions of np_post() since the deadline, and handler %s was "
		   "the last: one that posts itself again has to cease; stop again",
		   s->index, (unsigned long long)(s->posts - s->posts_in_time),
		   sys_symbol((const void *)(uintptr_t)s->posted, name, sizeof name));
}

static void pollers_count_fibers(struct stop_report *report, struct handler_count *n)
{
	const struct poller_slot *s = container_of(report, struct poller_slot, report);

	handler_count_add_all(n, report->poller);
	if (!n->fibers && s->posts != s->posts_in_time)
		pollers_say_posts(s);
}

static void pollers_init_slots(struct np_pollers *p)
{
	for (unsigned i = 0; i < p->n; i++) {
		struct poller_slot *s = &p->slots[i];

		memset(s, 0, sizeof *s);
		s->pollers = p;
		s->index = s->spread = i;
		list_init(&s->own_groups);
		list_init(&s->timers);
	}
}

static int pollers_start_threads(struct np_pollers *p, const struct np_pollers_opts *o,
				 const int *cpus, int n_cpus)
{
	struct poller_opts po = {
		.clock_offset_ns = sys_clock_timens_offset_ns(),
		.fibers = { .stack_size = o->stack_size,
			    .max = o->max_fibers < 0 ? UINT_MAX : (unsigned)o->max_fibers },
		.log = o->log,
		.log_arg = o->log_arg,
		.hog_ms = o->hog_ms < 0 ? 0 :
			  o->hog_ms     ? o->hog_ms :
					  HOG_MS,
		.report_overflow = o->report_overflow,
		.crew = p->crew,
		.metrics = o->metrics,
	};
	int r = o->report_overflow ? overflow_report(conn_fd_of_fiber) : 0;

	for (unsigned i = 0; i < p->n && r == 0; i++) {
		po.index = (int)i;
		po.cpu = n_cpus ? cpus[i % (unsigned)n_cpus] : -1;
		po.owner = &p->slots[i];
		po.offload = p->offload;
		r = poller_new(&po, &p->poller[i]);
		p->slots[i].poller = p->poller[i];
		stop_report_init(&p->slots[i].report, p->poller[i], pollers_count_fibers);
	}
	for (unsigned i = 0; i < p->n && r == 0; i++)
		r = poller_start(p->poller[i]);
	if (r == 0 && po.log && po.hog_ms && stall_start(p, po.hog_ms, &p->stall) < 0)
		poller_log(
			p->poller[0], NP_LOG_WARNING,
			"no thread to watch for handlers that do not return: they will not be named");
	return r;
}

static void pollers_destroy(struct np_pollers *p)
{
	crew_free(p->crew);
	resolver_free(p->resolver);
	pthread_mutex_destroy(&p->lock);
	free(p->slots);
	free(p->poller);
	free(p);
}

/*
 * For tests of the library: all handlers of users may block, and are left alone after so many
 * milliseconds. Return: 0: not asked for.
 */
static int pollers_forced_ms(void)
{
#ifdef NP_DEBUG
	const char *ms = getenv("NP_HANDOFF_MS");

	return ms ? atoi(ms) : 0;
#else
	return 0;
#endif
}

static int pollers_hire(struct np_pollers *p, const struct np_pollers_opts *o, const int *cpus,
			int n_cpus)
{
	int forced = pollers_forced_ms();
	struct crew_opts c = {
		.handoff_ms = forced        ? forced :
			      o->handoff_ms ? o->handoff_ms :
					      HANDOFF_MS,
		.threads = o->handoff_threads ? (unsigned)o->handoff_threads : HANDOFF_THREADS,
		.cpus = cpus,
		.n_cpus = n_cpus,
		.report_overflow = o->report_overflow,
		.set_aside = conn_set_aside,
		.send_aside = conn_send_aside,
		.on_idle = np_block_trim,
	};

	return crew_new(&c, &p->crew);
}

static int pollers_allocate(const struct np_pollers_opts *o, unsigned n, struct np_pollers **ret)
{
	struct offload_opts work = {
		.threads = (unsigned)o->offload_threads,
		.executor = o->executor,
		.executor_arg = o->executor_arg,
		.queue_max = o->offload_queue_max,
	};
	struct np_pollers *p = calloc(1, sizeof *p);
	int r;

	if (!p)
		return -ENOMEM;
	pthread_mutex_init(&p->lock, NULL);
	p->n = n;
	p->poller = calloc(n, sizeof *p->poller);
	p->slots = aligned_alloc(_Alignof(struct poller_slot), n * sizeof *p->slots);
	r = p->poller && p->slots ? resolver_new(&p->resolver) : -ENOMEM;
	if (r == 0)
		r = offload_new(&work, &p->offload);
	if (r < 0) {
		pollers_destroy(p);
		return r;
	}
	pollers_init_slots(p);
	*ret = p;
	return 0;
}

static void pollers_observe(struct np_pollers *p, const char *path)
{
	char where[128];
	int r = observer_join(path, where, sizeof where);

	p->observed = r == 0;
	if (r < 0)
		poller_log(
			p->poller[0], NP_LOG_WARNING,
			"npsteer cannot look into this process, for there is no socket at %s: %s; np_pollers_opts.observe names another place",
			where, np_strerror(r));
}

static unsigned pollers_count_of(const struct np_pollers_opts *o)
{
	int cpus = sys_cpu_count();

	if (o->count || o->n_cpus)
		return (unsigned)(o->count ? o->count : o->n_cpus);
	return (unsigned)(cpus < POLLERS_UNASKED ? cpus : POLLERS_UNASKED);
}

int np_pollers_start(const struct np_pollers_opts *opts, struct np_pollers **ret)
{
	int cpus[CPUS_MAX], n_cpus, r;
	struct np_pollers_opts o;
	struct np_pollers *p;

	r = sys_opts_take(&o, sizeof o, opts);
	if (r < 0)
		return r;
	if ((unsigned)o.pin > NP_OFF || o.offload_queue_max < -1 || o.offload_threads < 0 ||
	    o.max_fibers < -1 || o.hog_ms < -1 || o.count < 0 || o.n_cpus < 0 ||
	    o.n_cpus > CPUS_MAX || o.handoff_ms < -1 || o.handoff_threads < 0 ||
	    (o.n_cpus && !o.cpus) ||
	    (o.stack_size && (o.stack_size < STACK_MIN || o.stack_size > STACK_MAX)))
		return -EINVAL;
	n_cpus = pollers_pin_list(&o, cpus);
	r = pollers_allocate(&o, pollers_count_of(&o), &p);
	if (r < 0)
		return r;
	p->log = o.log;
	p->log_arg = o.log_arg;
	sys_fd_table_grow(DESCRIPTORS); /* where it cannot, it grows when it has to */
	r = pollers_hire(p, &o, cpus, n_cpus);
	if (r == 0)
		r = pollers_start_threads(p, &o, cpus, n_cpus);
	if (r < 0) {
		np_pollers_stop(p, 0);
		np_pollers_free(&p);
		return r;
	}
	registry_note(REGISTRY_SETS, &p->noted);
	if (o.observe)
		pollers_observe(p, o.observe);
	*ret = p;
	return 0;
}

/* ------------------------------------------------------------------ stop */

struct poller_slot *poller_slot_self(void)
{
	struct poller *p = poller_self();

	return p ? poller_owner(p) : NULL;
}

int pollers_post(struct np_pollers *p, unsigned index, struct mail *m)
{
	struct poller_slot *s = &p->slots[index];
	int r = 0;

	if (poller_self() == s->poller) {
		poller_post(s->poller, m);
		return 0;
	}
	/* Announced before the phase is read: a stop that we do not see yet waits for us. */
	atomic_fetch_add(&s->entering, 1);
	if (atomic_load(&p->phase) == POLLERS_RUNNING)
		poller_post(s->poller, m);
	else
		r = -ECANCELED;
	atomic_fetch_sub_explicit(&s->entering, 1, memory_order_release);
	return r;
}

static void pollers_retire(struct mail *m)
{
	own_groups_retire(container_of(m, struct poller_slot, retire));
}

static void pollers_post_retire(struct poller_slot *s)
{
	if (s->retire.fn)
		return; /* a stop that is taken up again */
	s->retire.fn = pollers_retire;
	poller_post(s->poller, &s->retire);
}

/* From here on only a poller itself puts anything into its mailbox that must not be late. */
static void pollers_shut(struct np_pollers *p)
{
	atomic_store(&p->phase, POLLERS_STOPPING);
	for (unsigned i = 0; i < p->n; i++) {
		while (atomic_load(&p->slots[i].entering))
			sched_yield();
		if (!p->poller[i])
			continue;
		pollers_post_retire(&p->slots[i]);
		poller_stop(p->poller[i]);
	}
}

int pollers_take_handlers(struct np_handlers *ret, const struct np_handlers *h)
{
	int r = sys_opts_take(ret, sizeof *ret, h);

	if (r < 0)
		return r;
	if (ret->flags & ~(unsigned)(NP_MAY_BLOCK | NP_EXPORT_HELD | HANDLERS_OURS))
		return -EINVAL;
	if (ret->on_frame && (!ret->framing.width || ret->framing.width > sizeof(uint64_t)))
		return -EINVAL;
	if (!ret->framing.max)
		ret->framing.max = SIZE_MAX;
	if (pollers_forced_ms() && !(ret->flags & HANDLERS_OURS))
		ret->flags |= NP_MAY_BLOCK;
	return 0;
}

bool pollers_stopping(const struct np_pollers *p)
{
	return atomic_load(&p->phase) != POLLERS_RUNNING;
}

/* Return: how many threads still run. */
static unsigned pollers_join(struct np_pollers *p, uint64_t until_ns)
{
	unsigned left = 0;

	for (unsigned i = 0; i < p->n; i++)
		left += p->poller[i] && poller_join(p->poller[i], until_ns) < 0;
	return left;
}

static void pollers_cancel_here(struct mail *m)
{
	struct poller_slot *s = container_of(m, struct poller_slot, cancel);

	/* first: a verb of a connection says that it has ended, not that it was cancelled */
	own_groups_end(s);
	s->posts_in_time = s->posts;
	poller_cancel(s->poller);
}

/* As with server_part_force_later(): what came in time is found out by the next turn. */
static void pollers_cancel_later(struct mail *m)
{
	struct poller_slot *s = container_of(m, struct poller_slot, cancel);

	if (s->cancel_comes)
		m->fn = pollers_cancel_here;
	s->cancel_comes = true;
	poller_post(s->poller, m);
}

/* A poller that has ended gets it too, and deals with it in poller_free(): there is nothing to
 * cancel there. */
static void pollers_cancel_all(struct np_pollers *p)
{
	for (unsigned i = 0; i < p->n; i++) {
		struct poller_slot *s = &p->slots[i];

		if (s->cancelled || !s->poller)
			continue;
		s->cancelled = true;
		s->cancel.fn = pollers_cancel_later;
		poller_post(s->poller, &s->cancel);
	}
}

/* One that has ended meanwhile is not asked, and does not answer. */
static void pollers_report(struct np_pollers *p)
{
	struct poller_slot *last = NULL;
	int handlers = 0;

	for (unsigned i = 0; i < p->n; i++)
		if (p->poller[i] && poller_join(p->poller[i], sys_clock_ns()) < 0)
			stop_report_ask(&p->slots[i].report);
	for (unsigned i = 0; i < p->n; i++) {
		struct poller_slot *s = &p->slots[i];
		int n = s->report.asked ? stop_report_wait(&s->report) : 0;

		if (n < 0)
			n = poller_join(s->poller, sys_clock_ns()) < 0 ?
				    stop_report_stuck(&s->report) :
				    0;
		handlers += n;
		last = n ? s : last;
	}
	if (last)
		poller_log(
			last->poller, NP_LOG_ERROR,
			"handlers that do not return: %d; nothing is freed under them: stop again",
			handlers);
}

static int pollers_stop_until(struct np_pollers *p, uint64_t until_ns)
{
	if (atomic_load(&p->phase) == POLLERS_ENDED)
		return 0;
	if (atomic_load(&p->servers)) /* their stop is made of turns of these threads */
		return -EBUSY;
	pollers_shut(p);
	if (pollers_join(p, until_ns)) {
		pollers_cancel_all(p);
		if (pollers_join(p, sys_clock_ns() + CANCEL_GRACE_NS)) {
			pollers_report(p);
			if (pollers_join(p, sys_clock_ns()))
				return -ETIMEDOUT;
		}
	}
	crew_end(p->crew);
	stall_end(p->stall);
	p->stall = NULL;
	atomic_store(&p->phase, POLLERS_ENDED);
	return 0;
}

int pollers_serve(struct np_pollers *p)
{
	int r = -ECANCELED;

	pthread_mutex_lock(&p->lock);
	if (!pollers_stopping(p)) {
		atomic_fetch_add(&p->servers, 1);
		r = 0;
	}
	pthread_mutex_unlock(&p->lock);
	return r;
}

void pollers_unserve(struct np_pollers *p)
{
	atomic_fetch_sub(&p->servers, 1);
}

static int pollers_stop_locked(struct np_pollers *p, uint64_t until_ns)
{
	int r;

	if (poller_self())
		return -EDEADLK;
	pthread_mutex_lock(&p->lock);
	r = pollers_stop_until(p, until_ns);
	pthread_mutex_unlock(&p->lock);
	return r;
}

int np_pollers_stop(struct np_pollers *p, int timeout_ms)
{
	if (timeout_ms < -1)
		return -EINVAL;
	return pollers_stop_locked(
		p, timeout_ms > 0 ? sys_clock_ns() + (uint64_t)timeout_ms * 1000000u : 0);
}

int pollers_stop_now(struct np_pollers *p)
{
	return pollers_stop_locked(p, sys_clock_ns());
}

/* Mail that is late may send more, to another one. */
static void pollers_run_late_mail(struct np_pollers *p)
{
	bool any = true;

	while (any) {
		any = false;
		for (unsigned i = 0; i < p->n; i++)
			any |= p->poller[i] && poller_run_late_mail(p->poller[i]);
	}
}

/* All or none: what one keeps may have been on another, and be rung for there. */
bool pollers_are_kept(struct np_pollers *p)
{
	pollers_run_late_mail(p);
	for (unsigned i = 0; i < p->n; i++)
		if (p->poller[i] && poller_is_kept(p->poller[i]))
			return true;
	return false;
}

static int pollers_free(struct np_pollers *p)
{
	int r;

	if (pollers_are_kept(p))
		return -EBUSY;
	for (unsigned i = 0; i < p->n; i++) {
		r = poller_free(p->poller[i]);
		if (r < 0)
			return r;
		p->poller[i] = NULL;
		timers_free(&p->slots[i]);
	}
	offload_free(p->offload);
	pollers_destroy(p);
	return 0;
}

int np_pollers_free(struct np_pollers **pollers)
{
	struct np_pollers *p = *pollers;
	int r;

	if (!p)
		return 0;
	if (atomic_load(&p->phase) != POLLERS_ENDED)
		return -EBUSY;
	if (p->observed)
		observer_leave();
	p->observed = false;
	registry_hold_sets(); /* a look at it comes to its end first */
	registry_forget(&p->noted);
	r = pollers_free(p);
	if (r < 0)
		registry_note(REGISTRY_SETS, &p->noted);
	registry_release_sets();
	if (r == 0)
		*pollers = NULL;
	return r;
}

/* ------------------------------------------------------------------ where to */

/* Each poller goes round for itself, beginning with its neighbour: no counter is fought for. */
static unsigned pollers_spread(struct np_pollers *p, struct poller_slot *here)
{
	if (here)
		return ++here->spread % p->n;
	return atomic_fetch_add_explicit(&p->spread, 1, memory_order_relaxed) % p->n;
}

static int pollers_index(struct np_pollers *p, struct poller_slot *here, int poller)
{
	if (poller == NP_HERE)
		return here ? (int)here->index : -EPERM;
	if (poller == NP_SPREAD)
		return (int)pollers_spread(p, here);
	return poller >= 0 && (unsigned)poller < p->n ? poller : -EINVAL;
}

int pollers_pick(struct np_pollers **p, int poller)
{
	struct poller_slot *here = poller_slot_self();

	if (!*p && here)
		*p = here->pollers;
	if (!*p)
		return poller == NP_HERE ? -EPERM : -EINVAL;
	return pollers_index(*p, here && here->pollers == *p ? here : NULL, poller);
}

/* ------------------------------------------------------------------ facts */

int np_pollers_count(const struct np_pollers *p)
{
	return (int)p->n;
}

int np_pollers_stats(const struct np_pollers *p, struct np_pollers_stats *ret)
{
	struct np_pollers_stats v = { .pollers = p->n };
	struct offload_stats jobs;
	struct crew_stats crew;

	for (unsigned i = 0; i < p->n; i++) {
		uint64_t slow_turns, hogs;

		if (!p->poller[i]) /* np_pollers_free() did not come to its end */
			continue;
		poller_hogs(p->poller[i], &slow_turns, &hogs);
		v.slow_turns += slow_turns;
		v.hogs += hogs;
	}
	offload_get_stats(p->offload, &jobs);
	v.offload_queued = jobs.queued;
	v.offload_running = jobs.running;
	v.offload_done = jobs.done;
	v.offload_refused = jobs.refused;
	v.offload_given_up = jobs.given_up;
	crew_get_stats(p->crew, &crew);
	v.handoffs = crew.handoffs;
	v.handoffs_refused = crew.refused;
	v.away = crew.away;
	return sys_opts_give(ret, &v, sizeof v);
}

int np_poller_self(void)
{
	struct poller *p = poller_self();

	return p ? poller_index(p) : -1;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sample: what one of many dispatches costs its poller's CPU
 *
 * The thread's clock is a system call, so it is read for some dispatches: which ones is left to
 * chance, and how many to how many there are. A dispatch that gave up the CPU by itself, in a
 * handler that blocks, has cost the time that it lasted: nobody else was served meanwhile. One that
 * was preempted has cost what it ran; one that was left alone (baton.h), what it had until then.
 */
#include "poll/poller_private.h"
#include "poll/spent.h"
#include "sys/clock.h"
#include "sys/sched.h"

#define SAMPLE_WINDOW_MS 100u
#define SAMPLES_A_WINDOW 50u
#define SAMPLE_EVERY_MAX 1024u

struct sample {
	uint64_t sleeps, wall_ns, cpu_ns;
};

static void sample_take(struct sample *s)
{
	baton_here.rider->left_ns = 0;
	s->sleeps = sys_sched_sleeps();
	s->wall_ns = sys_clock_ns();
	s->cpu_ns = sys_clock_thread_ns();
}

/* What it costs to look. */
static uint64_t sample_overhead_ns(void)
{
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < 8; i++) {
		uint64_t from = sys_clock_thread_ns(), ns = sys_clock_thread_ns() - from;

		least = ns < least ? ns : least;
	}
	return least;
}

void poller_sample(struct poller *p, const struct poller_sampler *s)
{
	struct poller_sampling *g = &p->sampling;

	poller_assert_owner(p);
	if (g->users++)
		return;
	*g = (struct poller_sampling){ .sampler = s, .users = 1, .in = 1, .every = 1, .chance = 1 };
	p->sampled = true;
	g->overhead_ns = sample_overhead_ns();
	g->window_ms = p->now_ms;
	spent_measure(&p->baton, true);
}

void poller_sample_no_more(struct poller *p)
{
	poller_assert_owner(p);
	if (--p->sampling.users)
		return;
	p->sampling.sampler = NULL;
	p->sampled = false;
	spent_measure(&p->baton, false);
}

void poller_spent(struct poller *p, uint64_t *ret_busy_ns, uint64_t *ret_waited_ns)
{
	struct spent spent;

	poller_assert_owner(p);
	spent_get(&p->baton, &spent);
	*ret_busy_ns = spent.cpu_ns + p->sampling.slept_ns;
	*ret_waited_ns = spent.waited_ns;
}

/* So that there are some SAMPLES_A_WINDOW. */
static void sample_adapt(struct poller *p)
{
	struct poller_sampling *g = &p->sampling;
	uint64_t ms = p->now_ms - g->window_ms, every;

	g->taken++;
	if (ms < SAMPLE_WINDOW_MS && g->taken < 2 * SAMPLES_A_WINDOW)
		return;
	every = (uint64_t)g->taken * g->every * SAMPLE_WINDOW_MS / (ms ? ms : 1) / SAMPLES_A_WINDOW;
	if (every > SAMPLE_EVERY_MAX)
		every = SAMPLE_EVERY_MAX;
	g->every = every ? (unsigned)every : 1;
	g->taken = 0;
	g->window_ms = p->now_ms;
}

/* A row of dispatches that repeats itself must not be sampled at the same place each time. */
static unsigned sample_next_in(struct poller_sampling *g)
{
	g->chance = g->chance * 1664525u + 1013904223u;
	return 1 + (g->chance >> 8) % (2 * g->every - 1);
}

static struct sample sample_end(void)
{
	const struct rider *r = baton_here.rider;

	if (r->left_ns)
		return (struct sample){ .cpu_ns = r->left_cpu_ns, .wall_ns = r->left_ns };
	return (struct sample){ .cpu_ns = sys_clock_thread_ns(), .wall_ns = sys_clock_ns() };
}

static uint64_t sample_cost_ns(struct poller_sampling *g, const struct sample *from)
{
	struct sample to = sample_end();
	uint64_t cpu = to.cpu_ns - from->cpu_ns, wall = to.wall_ns - from->wall_ns;

	cpu = cpu > g->overhead_ns ? cpu - g->overhead_ns : 0;
	if (wall <= cpu || sys_sched_sleeps() == from->sleeps)
		return cpu;
	g->slept_ns += (wall - cpu) * g->every;
	return wall;
}

void sample_dispatch(struct poller *p, const void *fn, void *arg,
		     void (*run)(struct poller *, void *), void *run_arg)
{
	struct poller_sampling *g = &p->sampling;
	const struct poller_sampler *sampler = g->sampler;
	struct sample from;
	unsigned every = g->every;
	void *what = --g->in ? NULL : sampler->begin(fn, arg);

	if (!g->in)
		g->in = sample_next_in(g);
	if (what)
		sample_take(&from);
	run(p, run_arg);
	if (!what)
		return;
	sampler->end(what, sample_cost_ns(g, &from) * every);
	sample_adapt(p);
}

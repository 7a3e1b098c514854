/* SPDX-License-Identifier: BSD-2-Clause */
/* spawn: fibers that are to begin: behind the dispatch in progress, or in the run phase. */
#include <errno.h>
#include <stdlib.h>

#include "poll/looper.h"
#include "poll/poller_private.h"

#define SPAWN_RETRY_MS 10
#define SPAWN_LOG_MS   1000
#define SPAWN_TAIL_MAX 256 /* fibers behind one dispatch: each may begin the next, without end */

static void spawn_put(struct spawn_queue *q, struct spawn *s)
{
	s->next = NULL;
	if (q->first)
		q->last->next = s;
	else
		q->first = s;
	q->last = s;
}

/* All of @from, in front of what is in @q. */
static void spawn_put_back(struct spawn_queue *q, struct spawn_queue *from)
{
	if (!from->first)
		return;
	from->last->next = q->first;
	if (!q->first)
		q->last = from->last;
	q->first = from->first;
	*from = (struct spawn_queue){ 0 };
}

void poller_spawn_node(struct poller *p, struct spawn *s)
{
	poller_assert_owner(p);
	spawn_put(&p->spawn, s);
}

void poller_begin_fiber(struct poller *p, struct spawn *s)
{
	poller_assert_owner(p);
	spawn_put(&p->now.tail, s);
}

struct spawn_call {
	struct spawn node;
	void (*fn)(void *);
	void *arg;
};

static void spawn_run_call(void *arg)
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
	*c = (struct spawn_call){ .node.call = { spawn_run_call, c }, .fn = fn, .arg = arg };
	poller_spawn_node(p, &c->node);
	return 0;
}

/* A fiber that waits for want of memory cannot rely on another one to end: there may be none. */
void spawn_again(struct timer *t)
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

/* The node is not touched once its fiber has begun. Without a stack it is the caller's still. */
static int spawn_run(struct poller *p, struct spawn *s)
{
	int r = fiber_run(p->fibers, s->call.fn, s->call.arg);

	if (r < 0)
		spawn_wait(p, r);
	else
		p->stats.fibers_run++;
	return r;
}

void spawn_take(struct poller *p)
{
	if (!p->spawn_blocked)
		spawn_put_back(&p->now.spawn, &p->spawn);
}

/* With the fibers that it begins. Without a stack it is the first again. */
static void spawn_run_whole(struct poller *p, void *spawn)
{
	struct spawn *s = spawn;

	if (spawn_run(p, s) < 0)
		spawn_put_back(&p->now.spawn, &(struct spawn_queue){ s, s });
	poller_end_fibers(p);
}

bool spawn_go_on(struct poller *p)
{
	struct spawn_queue *q = &p->now.spawn;
	struct spawn *s;

	while (!p->spawn_blocked && q->first) {
		s = spawn_pop(q);
		poller_begin_dispatch(p);
		if (p->sampled)
			sample_dispatch(p, s->call.fn, s->call.arg, spawn_run_whole, s);
		else
			spawn_run_whole(p, s);
		if (!poller_end_dispatch(p))
			return false;
	}
	spawn_put_back(&p->spawn, q);
	return true;
}

/* Those that wait for a stack keep their place in front of it. */
static void spawn_run_begun(struct poller *p)
{
	struct spawn *s = spawn_pop(&p->now.tail);

	if (p->spawn_blocked || spawn_run(p, s) < 0)
		poller_spawn_node(p, s);
	p->clock = CLOCK_STALE;
}

void spawn_leave_tail(struct poller *p)
{
	while (p->now.tail.first)
		spawn_put(&p->spawn, spawn_pop(&p->now.tail));
}

/* Whether others wait for the poller, or it is another thread's. */
static bool spawn_is_disturbed(const struct poller *p)
{
	return p->shared && baton_is_called();
}

/* A chain of fibers of which each begins the next lets the others have their turn. */
static __attribute__((noinline)) void spawn_run_more(struct poller *p)
{
	for (unsigned i = 1; p->now.tail.first && !spawn_is_disturbed(p); i++) {
		if (i == SPAWN_TAIL_MAX) {
			spawn_leave_tail(p);
			return;
		}
		poller_begin_short_dispatch(p);
		spawn_run_begun(p);
	}
}

/* The first goes on with what the dispatch had published. */
void poller_run_tail(struct poller *p)
{
	spawn_run_begun(p);
	if (p->now.tail.first)
		spawn_run_more(p);
}

bool poller_end_shared(struct poller *p)
{
	while (looper_goes_on(baton_here.rider)) {
		if (!p->now.tail.first)
			return true;
		poller_run_tail(p);
	}
	return false;
}

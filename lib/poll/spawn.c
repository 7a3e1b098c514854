/* SPDX-License-Identifier: BSD-2-Clause */
/* spawn: fibers that are to begin: behind the dispatch in progress, or in the run phase. */
#include <errno.h>
#include <stdlib.h>

#include "poll/poller_private.h"

#define SPAWN_RETRY_MS 10
#define SPAWN_LOG_MS   1000
#define SPAWN_TAIL_MAX 256 /* fibers behind one dispatch: each may begin the next, without end */

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
	*c = (struct spawn_call){ .node = { .fn = spawn_run_call, .arg = c },
				  .fn = fn,
				  .arg = arg };
	poller_spawn_node(p, &c->node);
	return 0;
}

static struct spawn *spawn_pop(struct poller *p)
{
	struct spawn *s = p->spawn_first;

	p->spawn_first = s->next;
	if (!s->next)
		p->spawn_last = NULL;
	return s;
}

static struct spawn *spawn_pop_tail(struct poller *p)
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
void poller_spawn_again(struct timer *t)
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
void poller_start_fibers(struct poller *p)
{
	struct spawn *last = p->spawn_last, *s;
	bool more = p->spawn_first && !p->spawn_blocked;
	int r;

	while (more) {
		s = spawn_pop(p);
		more = s != last;
		poller_begin_dispatch(p);
		r = fiber_run(p->fibers, s->fn, s->arg);
		if (r < 0) {
			spawn_put_back(p, s);
			spawn_wait(p, r);
			return;
		}
		p->stats.fibers_run++;
		poller_end_dispatch(p);
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

	while ((s = spawn_pop_tail(p))) {
		if (p->spawn_blocked || n == SPAWN_TAIL_MAX) {
			poller_spawn_node(p, s);
			continue;
		}
		/* The first goes on with what the dispatch had published. */
		if (p->hog.each || (n && n % POLLER_PUBLISH_EVERY == 0))
			poller_begin_dispatch(p);
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

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * task: a function of the user's on a fiber of a chosen poller
 *
 * What a reader would get wrong: fn may never be called. A task whose turn comes when the waits of
 * its poller, or its own, have been cancelled ends at once, with -ECANCELED for its result, so that
 * its joiner goes on. And a join is not cancelled: it cancels the task instead and waits for its
 * end, for the task may be using memory of the joiner.
 *
 *   state     leaves it by
 *   posted    task_arrive(), on its poller -> queued, or ended (cancelled)
 *   queued    a stack is free: task_main() -> running, or ended (cancelled)
 *   running   fn returns -> ended
 *   ended     np_join(), or by itself if it is not to be joined -> freed;
 *             np_run(): its frame is left
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "fiber/fiber.h"
#include "netpoll/event.h"
#include "netpoll/pollers.h"
#include "netpoll/pollers_private.h"
#include "poll/baton.h"
#include "poll/park.h"
#include "sys/opts.h"

struct np_task {
	int (*fn)(void *);
	void *arg;
	struct poller *poller;
	struct mail mail;
	struct spawn spawn;

	/* its poller's thread */
	struct fiber *fiber; /* while it runs */
	bool cancelled;

	int result; /* before done is set, its poller's; then the joiner's */
	/* fixed before it is posted: a joiner will wait for done; NP_MAY_BLOCK */
	bool joined, may_block;
	/* the deadline of its maker, for one that is joined; 0: none. Likewise fixed */
	uint64_t until_ms;
	struct event done;

	/* any thread that may join it */
	struct mail cancel; /* to its poller, where that is another one */
	/* that is under way: the task may not be freed before it has arrived */
	_Atomic(bool) cancelling;
	struct event cancel_arrived;
};

/* The last use of @t on this thread. */
static void task_end(struct np_task *t, int result)
{
	if (!t->joined) {
		free(t);
		return;
	}
	t->fiber = NULL;
	t->result = result;
	event_set(&t->done);
}

static int task_call(struct np_task *t)
{
	int r;

	if (!t->may_block)
		return t->fn(t->arg);
	baton_user_begin();
	r = t->fn(t->arg);
	baton_user_end();
	return r;
}

static void task_main(void *arg)
{
	struct np_task *t = arg;
	struct poller *p = t->poller;

	t->fiber = fiber_self();
	fiber_set_until(t->fiber, t->until_ms);
	poller_note_handler(p, t->fn, -1);
	task_end(t, t->cancelled ? -ECANCELED : task_call(t));
	poller_unhold(p);
}

static void task_queue(struct np_task *t)
{
	poller_hold(t->poller);
	poller_spawn_node(t->poller, &t->spawn);
}

static void task_arrive(struct mail *m)
{
	struct np_task *t = container_of(m, struct np_task, mail);

	if (poller_cancelled(t->poller))
		task_end(t, -ECANCELED);
	else
		task_queue(t);
}

static void task_init(struct np_task *t, int (*fn)(void *), void *arg)
{
	*t = (struct np_task){
		.fn = fn,
		.arg = arg,
		.mail.fn = task_arrive,
		.spawn.call = { task_main, t },
	};
	event_init(&t->done);
	event_init(&t->cancel_arrived);
}

/* To its own poller a task takes no mail: it may start in this very turn. */
static int task_post(struct np_task *t, struct np_pollers *p, unsigned index)
{
	t->poller = p->poller[index];
	if (t->poller != poller_self())
		return pollers_post(p, index, &t->mail);
	/* ENDED: this is the last of its mail, in np_pollers_free(). */
	if (poller_cancelled(t->poller) || atomic_load(&p->phase) == POLLERS_ENDED)
		return -ECANCELED;
	task_queue(t);
	return 0;
}

/* ------------------------------------------------------------------ cancel */

static void task_cancel_here(struct np_task *t)
{
	t->cancelled = true;
	if (t->fiber)
		park_cancel_fiber(t->fiber);
}

static void task_cancel_arrive(struct mail *m)
{
	struct np_task *t = container_of(m, struct np_task, cancel);

	task_cancel_here(t);
	event_set(&t->cancel_arrived); /* the last use: @t may be freed */
}

/*
 * The wait for it has been. Other pollers refuse mail when a stop has begun: then they cancel all
 * that they have themselves, when its time is over.
 */
static void task_cancel(struct np_task *t)
{
	struct poller_slot *s;

	if (t->poller == poller_self()) {
		if (!t->cancelled)
			task_cancel_here(t);
		return;
	}
	if (atomic_exchange(&t->cancelling, true))
		return;
	s = poller_owner(t->poller);
	t->cancel.fn = task_cancel_arrive;
	if (pollers_post(s->pollers, s->index, &t->cancel) < 0)
		event_set(&t->cancel_arrived);
}

/* A join, by a fiber or a thread. */
struct task_join {
	struct np_task *task;
	uint64_t until_ms; /* the fiber's deadline; 0: none */
};

/*
 * The join goes on: the task may be using memory of its maker. The task is cancelled; but not for a
 * deadline that it has itself, which ends its waits as a deadline does.
 */
static void task_join_ends(void *arg, int why)
{
	const struct task_join *j = arg;

	if (why == -ETIMEDOUT && j->task->until_ms && j->task->until_ms <= j->until_ms)
		return;
	task_cancel(j->task);
}

/* ------------------------------------------------------------------ verbs */

static int task_go(struct np_pollers *p, int poller, int (*fn)(void *), void *arg, unsigned flags,
		   struct np_task **ret)
{
	struct np_task *t;
	int r = fn ? pollers_pick(&p, poller) : -EINVAL;

	if (r < 0)
		return r;
	t = malloc(sizeof *t);
	if (!t)
		return -ENOMEM;
	task_init(t, fn, arg);
	t->joined = ret != NULL;
	t->may_block = flags & NP_MAY_BLOCK;
	t->until_ms = ret && fiber_self() ? fiber_until(fiber_self()) : 0;
	r = task_post(t, p, (unsigned)r);
	if (r < 0) {
		free(t);
		return r;
	}
	if (ret)
		*ret = t;
	return 0;
}

int np_go(struct np_pollers *p, int poller, int (*fn)(void *), void *arg, struct np_task **ret)
{
	NP_GATE(np_go(p, poller, fn, arg, ret));

	return task_go(p, poller, fn, arg, 0, ret);
}

int np_go_with(struct np_pollers *p, int poller, int (*fn)(void *), void *arg,
	       const struct np_go_opts *opts, struct np_task **ret)
{
	NP_GATE(np_go_with(p, poller, fn, arg, opts, ret));

	struct np_go_opts o;
	int r = sys_opts_take(&o, sizeof o, opts);

	if (r == 0 && (o.flags & ~(unsigned)NP_MAY_BLOCK))
		r = -EINVAL;
	return r < 0 ? r : task_go(p, poller, fn, arg, o.flags, ret);
}

/* Whether the caller is the task itself, and would wait for its own end. */
static bool task_is_self(const struct np_task *t)
{
	return t->poller == poller_self() && fiber_self() && t->fiber == fiber_self();
}

/* Behind done: a cancel that is under way to it arrives first. */
static void task_free(struct np_task **task, int *ret_result)
{
	struct np_task *t = *task;

	if (atomic_load(&t->cancelling))
		event_wait_firm(&t->cancel_arrived, NULL, NULL, "join");
	if (ret_result)
		*ret_result = t->result;
	free(t);
	*task = NULL;
}

int np_join(struct np_task **task, int *ret_result)
{
	NP_GATE(np_join(task, ret_result));

	struct np_task *t = *task;
	struct task_join j = { .task = t,
			       .until_ms = fiber_self() ? fiber_until(fiber_self()) : 0 };
	int r;

	if (!t)
		return -EINVAL;
	if (task_is_self(t))
		return -EDEADLK;
	r = event_wait_firm(&t->done, task_join_ends, &j, "join");
	if (r == 0)
		task_free(task, ret_result);
	return r;
}

int np_join_for(struct np_task **task, int ms, int *ret_result)
{
	NP_GATE(np_join_for(task, ms, ret_result));

	struct np_task *t = *task;
	int r;

	if (!t || ms < -1)
		return -EINVAL;
	if (task_is_self(t))
		return -EDEADLK;
	r = event_wait(&t->done, ms, "join");
	if (r == 0)
		task_free(task, ret_result);
	return r;
}

int np_task_cancel(struct np_task *t)
{
	NP_GATE(np_task_cancel(t));

	if (!t)
		return -EINVAL;
	task_cancel(t);
	return 0;
}

int np_run(struct np_pollers *p, int (*fn)(void *), void *arg)
{
	struct np_task t;
	int r;

	if (!p || !fn)
		return -EINVAL;
	if (poller_self())
		return -EDEADLK;
	task_init(&t, fn, arg);
	t.joined = true;
	r = task_post(&t, p, (unsigned)pollers_pick(&p, NP_SPREAD));
	if (r == 0)
		r = event_wait(&t.done, 0, "task");
	return r < 0 ? r : t.result;
}

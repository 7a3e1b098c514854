/* SPDX-License-Identifier: BSD-2-Clause */
/* waitq: the line, and the race between being served and giving up. */
#include "netpoll/waitq.h"

#include <errno.h>
#include <stdlib.h>

#include "fiber/fiber.h"
#include "netpoll/status.h"
#include "poll/poller.h"

/* glibc's mutex of this kind cannot fail: it holds no resource. */
void *waitq_new(size_t size)
{
	struct waitq *q = calloc(1, size);

	if (!q)
		return NULL;
	pthread_mutex_init(&q->lock, NULL);
	list_init(&q->line);
	return q;
}

int waitq_free(struct waitq *q)
{
	bool used;

	if (!q)
		return 0;
	pthread_mutex_lock(&q->lock);
	used = !list_empty(&q->line);
	pthread_mutex_unlock(&q->lock);
	if (used)
		return -EBUSY;
	pthread_mutex_destroy(&q->lock);
	free(q);
	return 0;
}

void *waitq_self(void)
{
	struct fiber *f = fiber_self();

	/* pthread_t is an address, that of the thread's own block: no fiber lies there. */
	return f ? (void *)f : (void *)pthread_self();
}

int waitq_may_wait(int ms)
{
	if (ms < -1)
		return -EINVAL;
	return poller_self() && !fiber_self() ? -NP_ENOTFIBER : 0;
}

void waitq_join(struct waitq *q, struct waiter_in_line *w)
{
	w->self = waitq_self();
	w->in_line = true;
	event_init(&w->served);
	list_append(&q->line, &w->link);
}

/* Whether @w was still in line. */
static bool waitq_leave(struct waitq *q, struct waiter_in_line *w)
{
	bool in_line;

	pthread_mutex_lock(&q->lock);
	in_line = w->in_line;
	if (in_line)
		list_remove(&w->link);
	pthread_mutex_unlock(&q->lock);
	return in_line;
}

int waitq_wait(struct waitq *q, struct waiter_in_line *w, int ms, bool firm)
{
	int r = firm ? event_wait_firm(&w->served, NULL, NULL, "lock") :
		       event_wait(&w->served, ms, "lock");

	if (r == 0 || waitq_leave(q, w))
		return r;
	return event_wait_firm(&w->served, NULL, NULL, "lock");
}

struct waiter_in_line *waitq_pop(struct waitq *q)
{
	struct list *l = list_pop(&q->line);
	struct waiter_in_line *w = l ? container_of(l, struct waiter_in_line, link) : NULL;

	if (w)
		w->in_line = false;
	return w;
}

void waitq_serve(struct waiter_in_line *w)
{
	if (w)
		event_set(&w->served);
}

/* Out of the line at once: of those that give up meanwhile, none touches the list that is worked
 * through here. */
void waitq_serve_all(struct waitq *q)
{
	struct list all, *l;

	pthread_mutex_lock(&q->lock);
	list_move_all(&q->line, &all);
	for (l = all.next; l != &all; l = l->next)
		container_of(l, struct waiter_in_line, link)->in_line = false;
	pthread_mutex_unlock(&q->lock);
	while ((l = list_pop(&all)))
		waitq_serve(container_of(l, struct waiter_in_line, link));
}

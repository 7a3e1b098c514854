/* SPDX-License-Identifier: BSD-2-Clause */
/* facts: one look: workers, what waits at their listeners, and the counters. */
#include "facts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ the service */

static int lookout_join(struct lookout *l)
{
	struct np_steer_info info = { .sz = sizeof info };
	int r = open_service(l->n, service_of(l->n), l->why, &l->s);

	if (r < 0)
		return r;
	np_steer_info(l->s, &info);
	if (stat(info.path, &l->pin) < 0)
		l->pin.st_ino = 0; /* it has just gone: found out at the first look */
	return 0;
}

static void lookout_leave(struct lookout *l)
{
	if (l->s)
		np_steer_close(&l->s);
	l->s = NULL;
	free(l->taken);
	l->taken = NULL;
	l->n_taken = 0;
}

/* What was opened is what is pinned there now. */
static bool lookout_is_there(const struct lookout *l)
{
	struct np_steer_info info = { .sz = sizeof info };
	struct stat now;

	np_steer_info(l->s, &info);
	return stat(info.path, &now) == 0 && now.st_ino == l->pin.st_ino &&
	       now.st_dev == l->pin.st_dev;
}

int lookout_open(struct npsteer *n, struct lookout *ret)
{
	int r;

	*ret = (struct lookout){ .n = n };
	r = lookout_join(ret);
	return r < 0 ? fail_status(n, r, ret->why) : DONE;
}

void lookout_close(struct lookout *l)
{
	lookout_leave(l);
}

/* ------------------------------------------------------------------ one look */

static struct fact_worker *facts_worker(struct facts *f, unsigned number)
{
	for (unsigned i = 0; i < f->n; i++)
		if (f->workers[i].number == number)
			return &f->workers[i];
	return NULL;
}

static int facts_add_queue(void *arg, const struct np_steer_queue *q)
{
	struct fact_worker *w = facts_worker(arg, q->worker);

	if (!w)
		return 0; /* it was claimed after the look at workers */
	w->listeners++;
	w->queued += q->queued;
	w->backlog = q->backlog > w->backlog ? q->backlog : w->backlog;
	return 0;
}

static int facts_add_workers(struct np_steer *s, struct facts *f)
{
	struct np_steer_worker_info i;

	f->workers = calloc(f->info.workers ? f->info.workers : 1, sizeof *f->workers);
	if (!f->workers)
		return -ENOMEM;
	for (unsigned w = 0; w < f->info.workers; w++)
		if (read_worker(s, w, &i))
			f->workers[f->n++] = (struct fact_worker){ .number = w, .info = i };
	return 0;
}

/*
 * What a worker has taken out of its queues is what it was given less what is there still. So a
 * process that stands still is seen though it published, before it stopped, that it is idle.
 */
static void facts_judge(struct facts *f, struct fact_worker *w, struct facts_taken *t)
{
	const struct np_steer_worker_info *i = &w->info;
	uint64_t taken = i->steered + i->fallback + i->migrated_in - i->migrated_out - w->queued;

	if (!w->queued || taken != t->taken)
		*t = (struct facts_taken){ taken, f->at };
	w->stuck = f->info.hang_ms && (f->at - t->since) * 1000 >= f->info.hang_ms;
}

static int lookout_grow(struct lookout *l, unsigned n)
{
	struct facts_taken *grown;

	if (n <= l->n_taken)
		return 0;
	grown = realloc(l->taken, n * sizeof *grown);
	if (!grown)
		return -ENOMEM;
	memset(grown + l->n_taken, 0, (n - l->n_taken) * sizeof *grown);
	l->taken = grown;
	l->n_taken = n;
	return 0;
}

static int lookout_read(struct lookout *l, struct facts *f)
{
	int r = np_steer_info(l->s, &f->info);

	if (r == 0)
		r = np_steer_stats(l->s, &f->stats);
	if (r == 0)
		r = facts_add_workers(l->s, f);
	if (r == 0)
		r = lookout_grow(l, f->info.workers);
	if (r == 0)
		r = np_steer_queues(l->s, facts_add_queue, f);
	if (r < 0) {
		snprintf(l->why, sizeof l->why, "%s", np_strerror(r));
		return r;
	}
	for (unsigned i = 0; i < f->n; i++)
		facts_judge(f, &f->workers[i], &l->taken[f->workers[i].number]);
	return 0;
}

int lookout_look(struct lookout *l, struct facts *ret)
{
	int r = 0;

	*ret = (struct facts){ .at = seconds_now(),
			       .info = { .sz = sizeof ret->info },
			       .stats = { .sz = sizeof ret->stats } };
	if (l->s && !lookout_is_there(l))
		lookout_leave(l);
	if (!l->s)
		r = lookout_join(l);
	return r < 0 ? r : lookout_read(l, ret);
}

void facts_free(struct facts *f)
{
	free(f->workers);
	f->workers = NULL;
	f->n = 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * name: the worker that a word means
 *
 * Names are not unique. While a server is replaced its successor's workers have the same ones, and
 * a number says nothing to people. The one that drains is then not the one that is meant.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "steer/steer.h"

struct search {
	const char *name;
	size_t len;
	long pid; /* -1: any */

	/* found so far: all, and those that are ready */
	unsigned n, n_ready;
	unsigned any, ready;
	char pids[96];
};

static bool name_number(const char *text, long max, long *ret)
{
	char *end;
	long v;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	v = strtol(text, &end, 10);
	if (errno || *end || v > max)
		return false;
	*ret = v;
	return true;
}

/* One that is full, or stands still, for a while is in service all the same. */
static bool name_serves(const struct np_steer *s, unsigned w, const struct np_steer_worker_info *i)
{
	uint32_t reasons = __atomic_load_n(&s->maps.ctl[w].reasons, __ATOMIC_RELAXED);

	return i->state == NP_STEER_READY ||
	       (reasons & ~(NP_REASON_FULL | NP_REASON_STANDS)) == NP_WORKER_READY;
}

static void name_found(const struct np_steer *s, struct search *q, unsigned w,
		       const struct np_steer_worker_info *i)
{
	size_t used = strlen(q->pids);

	q->any = w;
	q->n++;
	if (name_serves(s, w, i)) {
		q->ready = w;
		q->n_ready++;
	}
	snprintf(q->pids + used, sizeof q->pids - used, "%s%u (pid %d)", used ? ", " : "", w,
		 i->pid);
}

static int name_search(struct np_steer *s, struct search *q)
{
	int r;

	for (unsigned w = 0; w < steer_high_water(s); w++) {
		struct np_steer_worker_info i = { .sz = sizeof i };

		r = np_steer_worker_info(s, w, &i);
		if (r < 0)
			return r;
		if (i.claimed && strlen(i.name) == q->len && !memcmp(i.name, q->name, q->len) &&
		    (q->pid < 0 || q->pid == i.pid))
			name_found(s, q, w, &i);
	}
	return 0;
}

int np_steer_find_worker(struct np_steer *s, const char *text, unsigned *ret_w)
{
	const char *at = strrchr(text, '@');
	struct search q = { .name = text, .len = strlen(text), .pid = -1 };
	long n;
	int r;

	if (!steer_has_program(s))
		return steer_no_program(s);
	if (name_number(text, INT_MAX, &n)) {
		*ret_w = (unsigned)n;
		return 0;
	}
	r = name_search(s, &q);
	if (r == 0 && !q.n && at && name_number(at + 1, INT_MAX, &q.pid)) {
		q.len = (size_t)(at - text);
		r = name_search(s, &q);
	}
	if (r < 0)
		return r;
	if (!q.n)
		return steer_fail(s, -ENOENT,
				  "there is no worker %.60s in %s: `npsteer status %s` lists them",
				  text, s->name, s->name);
	if (q.n > 1 && q.n_ready != 1)
		return steer_fail(
			s, -ENOTUNIQ,
			"%u workers of %s have the name %.40s: say NAME@PID, or its number: %s",
			q.n, s->name, text, q.pids);
	*ret_w = q.n == 1 ? q.any : q.ready;
	return 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* call: many callers on one channel; each answer has to be what was asked. */
#include <netpoll/linkbuf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backend.h"
#include "rpc.h"

struct caller {
	const struct rpc_opts *o;
	struct backend *to;
	int number, good, bad;
	struct np_task *task;
};

static bool call_is_same(struct np_linkbuf *answer, const char *body, size_t n)
{
	const void *p;

	return np_linkbuf_len(answer) == n && np_linkbuf_next(answer, n, &p) == 0 &&
	       !memcmp(p, body, n);
}

static int call_once(struct caller *c, const char *body, size_t n)
{
	struct np_linkbuf *answer = NULL;
	int r;

	np_deadline(c->o->deadline_ms, NULL);
	r = backend_call(c->to, body, n, &answer);
	np_deadline_restore(0);
	if (r == 0 && call_is_same(answer, body, n))
		c->good++;
	else
		c->bad++;
	np_linkbuf_free(&answer);
	return r;
}

static int call_many(void *arg)
{
	struct caller *c = arg;
	size_t n = (size_t)c->o->size;
	char *body = malloc(n + 1);
	int r = 0;

	for (int i = 0; body && i < c->o->count; i++) {
		memset(body, 'a' + (c->number + i) % 26, n);
		r = call_once(c, body, n);
	}
	free(body);
	return r;
}

/* Each a fiber, all on this poller. */
static int call_all(void *arg)
{
	struct caller *c = arg;
	int n = c->o->callers, last = 0, r;

	for (int i = 0; i < n; i++)
		np_go(NULL, NP_HERE, call_many, &c[i], &c[i].task);
	for (int i = 0; i < n; i++)
		if (c[i].task && np_join(&c[i].task, &r) == 0 && r < 0)
			last = r;
	return last;
}

static double call_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Return: an exit code: 0 where all were answered. */
static int call_report(const struct caller *c, int n, double seconds, int last)
{
	int good = 0, bad = 0;

	for (int i = 0; i < n; i++) {
		good += c[i].good;
		bad += c[i].bad;
	}
	printf("%d calls answered, %d failed, %.0f a second\n", good, bad, good / seconds);
	if (last < 0)
		fprintf(stderr, "rpc: the last failure: %s\n", np_strerror(last));
	return bad || !good ? EXIT_FAILURE : EXIT_SUCCESS;
}

int call_main(const struct rpc_opts *o)
{
	struct caller *c = calloc((size_t)o->callers, sizeof *c);
	struct np_pollers *pollers;
	struct backend *to = NULL;
	int r = rpc_pollers(o, &pollers), code = EXIT_FAILURE;
	double from;

	if (r == 0)
		r = c ? backend_new(pollers, o->backend[0], &to) : -1;
	if (r < 0) {
		fprintf(stderr, "rpc: cannot start: %s\n", np_strerror(r));
	} else {
		for (int i = 0; i < o->callers; i++)
			c[i] = (struct caller){ .o = o, .to = to, .number = i };
		from = call_seconds();
		r = np_run(pollers, call_all, c);
		code = call_report(c, o->callers, call_seconds() - from, r);
	}
	backend_free(&to);
	rpc_end(&pollers);
	free(c);
	return code;
}

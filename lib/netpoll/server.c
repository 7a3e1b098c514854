/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * server: made, started, freed; stop.c ends it
 *
 * The control thread never touches a connection: it posts a step to each part and waits at the
 * latch until all have done it.
 */
#include "netpoll/server_private.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conn/proxy_from.h"
#include "sys/opts.h"

/* of memory_max for each poller: blocks come in spans of half of that */
#define MEMORY_MIN (1u << 20)
#define BACKLOG    4096 /* the kernel caps it at net.core.somaxconn */
#define FRESH_MS   10000
#define DRAIN_MS   5000
#define HEADER_MS  3000

int server_say(struct np_server *s, int r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->error, sizeof s->error, fmt, ap);
	va_end(ap);
	return r;
}

/* ------------------------------------------------------------------ new and free */

/* Of several servers in a process each has its own: a worker is drained by its name. */
static void server_default_name(struct np_server *s)
{
	static _Atomic(unsigned) made;
	unsigned n = atomic_fetch_add(&made, 1);
	size_t program = strlen(program_invocation_short_name), len;
	char tail[32] = "";

	snprintf(tail, sizeof tail, n ? "-%d.%u" : "-%d", (int)getpid(), n + 1);
	len = strnlen(tail, sizeof s->name - 1);
	if (program > sizeof s->name - 1 - len)
		program = sizeof s->name - 1 - len;
	memcpy(s->name, program_invocation_short_name, program);
	memcpy(s->name + program, tail, len);
	s->name[program + len] = '\0';
}

static int server_take_name(struct np_server *s, const char *name)
{
	if (!name || !*name) {
		server_default_name(s);
		return 0;
	}
	if (strlen(name) > NP_SERVER_NAME_MAX)
		return -EINVAL;
	memcpy(s->name, name, strlen(name) + 1);
	return 0;
}

/* The peers whose PROXY header is believed. */
static int server_take_proxy(struct np_server *s)
{
	const struct np_server_opts *d = &s->opts;

	if ((unsigned)d->proxy > NP_PROXY_MIXED || d->proxy_header_ms < -1 ||
	    (d->proxy == NP_PROXY_MIXED && !d->proxy_from))
		return -EINVAL;
	return d->proxy_from ? proxy_from_parse(d->proxy_from, &s->proxy_from) : 0;
}

static int server_take_opts(struct np_server *s, const struct np_server_opts *o)
{
	struct np_server_opts *d = &s->opts;
	int r = sys_opts_take(d, sizeof *d, o);

	if (r < 0)
		return r;
	d->backlog = d->backlog ? d->backlog : BACKLOG;
	d->memory_max = d->memory_max == SIZE_MAX ? 0 : d->memory_max;
	d->linger_ms = d->linger_ms ? d->linger_ms : CONN_DEFAULT_LINGER_MS;
	d->min_rate = d->min_rate ? d->min_rate : CONN_DEFAULT_MIN_RATE;
	d->fresh_ms = d->fresh_ms ? d->fresh_ms : FRESH_MS;
	d->drain_ms = d->drain_ms ? d->drain_ms : DRAIN_MS;
	d->proxy_header_ms = d->proxy_header_ms ? d->proxy_header_ms : HEADER_MS;
	if (d->max_conns < -1 || d->backlog < -1 || d->hang_ms < -1 || d->read_timeout_ms < -1 ||
	    d->write_timeout_ms < -1 || d->idle_timeout_ms < -1 || d->linger_ms < NP_NOW ||
	    d->min_rate < -1 || d->rebalance < -1 || (d->rebalance && !s->handlers.on_move) ||
	    (unsigned)d->rescue > NP_OFF || d->request_timeout_ms < -1 || d->fresh_ms < -1 ||
	    d->drain_ms < -1 || conn_limits_init(&d->limits, NULL) < 0)
		return -EINVAL;
	r = server_take_name(s, d->name);
	if (r == 0)
		r = server_take_proxy(s);
	if (r < 0)
		return r;
	if (d->service && !(s->service = strdup(d->service)))
		return -ENOMEM;
	if (d->policy && !(s->policy = strdup(d->policy)))
		return -ENOMEM;
	return 0;
}

static void server_destroy(struct np_server *s)
{
	registry_forget(&s->noted);
	take_over_end(s, 0);
	server_close_listeners(s);
	server_leave_service(s);
	free(s->addresses);
	for (unsigned i = 0; s->parts && i < s->n_parts; i++)
		server_part_free(s->parts[i]);
	free(s->parts);
	if (s->own_pollers && s->pollers)
		np_pollers_free(&s->pollers);
	latch_fini(&s->step_latch);
	latch_fini(&s->force_latch);
	latch_fini(&s->accept_latch);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->drain_lock);
	pthread_mutex_destroy(&s->facts_lock);
	proxy_from_free(s->proxy_from);
	free(s->service);
	free(s->policy);
	free(s);
}

static int server_init(struct np_server *s, struct np_pollers *p, const struct np_server_opts *o)
{
	int r = server_take_opts(s, o);

	if (r < 0)
		return r;
	if (!p) {
		r = np_pollers_start(NP_OPTS(np_pollers_opts, .log = s->opts.log,
					     .log_arg = s->opts.log_arg, .observe = s->opts.observe,
					     .metrics = s->opts.metrics),
				     &s->pollers);
		if (r < 0)
			return r;
		s->own_pollers = true;
	} else {
		s->pollers = p;
	}
	s->n_parts = (unsigned)np_pollers_count(s->pollers);
	s->parts = calloc(s->n_parts, sizeof *s->parts);
	if (!s->parts)
		return -ENOMEM;
	if (s->opts.memory_max && s->opts.memory_max / s->n_parts < MEMORY_MIN)
		return -EINVAL;
	if (s->opts.max_conns > 0 && (unsigned)s->opts.max_conns < s->n_parts)
		return -EINVAL;
	for (unsigned i = 0; i < s->n_parts; i++) {
		s->parts[i] = server_part_new(s, i);
		if (!s->parts[i])
			return -ENOMEM;
	}
	return 0;
}

int np_server_new(struct np_pollers *p, const struct np_handlers *h, void *arg,
		  const struct np_server_opts *o, struct np_server **ret)
{
	struct np_server *s;
	int r;

	if (!h)
		return -EINVAL;
	s = calloc(1, sizeof *s);
	if (!s)
		return -ENOMEM;
	s->arg = arg;
	s->handing = -1;
	atomic_init(&s->phase, SERVER_MADE);
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->drain_lock, NULL);
	pthread_mutex_init(&s->facts_lock, NULL);
	latch_init(&s->step_latch);
	latch_init(&s->force_latch);
	latch_init(&s->accept_latch);
	r = pollers_take_handlers(&s->handlers, h);
	if (r == 0)
		r = server_init(s, p, o);
	if (r < 0) {
		if (s->own_pollers)
			pollers_stop_now(s->pollers);
		server_destroy(s);
		return r;
	}
	registry_note(REGISTRY_SERVERS, &s->noted);
	*ret = s;
	return 0;
}

int np_server_free(struct np_server **p)
{
	struct np_server *s = *p;

	if (!s)
		return 0;
	if (s->phase != SERVER_MADE && s->phase != SERVER_STOPPED)
		return -EBUSY;
	/* Tasks and dialed connections on its own pollers have no stop that gives them time. */
	if (s->own_pollers && (pollers_stop_now(s->pollers) < 0 || pollers_are_kept(s->pollers)))
		return -EBUSY;
	*p = NULL;
	server_destroy(s);
	return 0;
}

/* ------------------------------------------------------------------ start */

void server_post_parts(struct np_server *s, void (*fn)(struct mail *))
{
	latch_set(&s->step_latch, s->n_parts);
	for (unsigned i = 0; i < s->n_parts; i++)
		server_part_post(s->parts[i], fn);
}

/*
 * A stop that another thread asks for meanwhile disturbs the wait, and has to wait itself: the
 * mails of one step are done before those of the next are posted. But not for longer than it may.
 */
static int server_await_step(struct np_server *s)
{
	int r;

	do
		r = latch_wait(&s->step_latch, s->hurry_ns);
	while (r == -EINTR);
	return r;
}

void server_accepts(struct np_server *s, bool accepts)
{
	s->accepts = accepts;
	for (unsigned i = 0; i < s->n_parts; i++)
		server_part_post_accept(s->parts[i]);
}

/* A drain comes behind the opening. */
static void server_run(struct np_server *s)
{
	pthread_mutex_lock(&s->drain_lock);
	s->phase = SERVER_RUNNING;
	server_post_parts(s, server_part_open);
	pthread_mutex_unlock(&s->drain_lock);
}

static int server_start(struct np_server *s)
{
	int r;

	if (s->phase == SERVER_STOPPED)
		return server_say(s, -ECANCELED, "the server was stopped before it was started");
	if (s->phase != SERVER_MADE)
		return server_say(s, -EALREADY, "the server runs already");
	if (!s->n_addresses)
		return server_say(s, -EINVAL,
				  "no address to listen on: call np_server_listen() first");
	r = take_over_begin(s);
	if (r < 0)
		return r;
	r = pollers_serve(s->pollers);
	if (r < 0)
		return server_say(s, r, "the pollers were stopped before the server was started");
	for (unsigned i = 0; i < s->n_parts && r == 0; i++)
		r = server_part_add_listeners(s->parts[i]);
	if (r < 0) {
		pollers_unserve(s->pollers);
		return server_say(s, r, "%s", np_strerror(r));
	}
	server_run(s);
	r = server_await_step(s);
	if (r < 0)
		return server_say(s, r, "a stop came, and a handler keeps a poller");
	for (unsigned i = 0; i < s->n_parts; i++)
		if (s->parts[i]->result < 0)
			return server_say(s, s->parts[i]->result,
					  "poller %u cannot watch a listener: %s", i,
					  np_strerror(s->parts[i]->result));
	return take_over_listens(s);
}

int np_server_start(struct np_server *s)
{
	int r;

	pthread_mutex_lock(&s->lock);
	r = server_start(s);
	pthread_mutex_unlock(&s->lock);
	return r;
}

struct np_pollers *np_server_pollers(struct np_server *s)
{
	return s->pollers;
}

const char *np_server_error(struct np_server *s)
{
	return s->error;
}

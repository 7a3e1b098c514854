/* SPDX-License-Identifier: BSD-2-Clause */
/* resolver: lookups over sockets, or by getaddrinfo(3), each on a thread of its own. */
#include "netpoll/resolver.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "netpoll/event.h"
#include "netpoll/pollers.h"
#include "netpoll/status.h"
#include "poll/poller.h"
#include "sys/names.h"
#include "sys/query.h"
#include "sys/thread.h"

/* A silent name server keeps each for ten seconds (resolv.conf(5)): beyond that a caller is told to
 * try again. */
#define RESOLVER_THREADS 256

struct resolver {
	_Atomic(unsigned) refs; /* its pollers, and each thread */
	_Atomic(unsigned) threads;
};

struct lookup {
	_Atomic(unsigned) holders; /* its fiber, and its thread */
	struct resolver *resolver; /* a reference */
	struct event done;
	const char *network; /* static text */
	struct addr *found;
	int result;
	char address[];
};

int resolver_new(struct resolver **ret)
{
	struct resolver *r = calloc(1, sizeof *r);

	if (!r)
		return -ENOMEM;
	atomic_init(&r->refs, 1);
	*ret = r;
	return 0;
}

void resolver_free(struct resolver *r)
{
	if (r && atomic_fetch_sub(&r->refs, 1) == 1)
		free(r);
}

static void resolver_drop(struct lookup *l)
{
	if (atomic_fetch_sub(&l->holders, 1) != 1)
		return;
	free(l->found);
	free(l);
}

static void resolver_main(void *arg)
{
	struct lookup *l = arg;
	struct resolver *r = l->resolver;

	l->result = names_lookup(l->network, l->address, &l->found);
	atomic_fetch_sub(&r->threads, 1); /* before it is heard of: the next caller finds room */
	event_set(&l->done);
	resolver_drop(l);
	resolver_free(r);
}

/* ------------------------------------------------------------------ by a thread */

static const char *resolver_network(const char *network)
{
	return !strcmp(network, "tcp4") ? "tcp4" : !strcmp(network, "tcp6") ? "tcp6" : "tcp";
}

static int resolver_start(struct resolver *r, const char *network, const char *address,
			  struct lookup **ret)
{
	size_t n = strlen(address) + 1;
	struct lookup *l = calloc(1, sizeof *l + n);
	int err;

	if (!l)
		return -ENOMEM;
	event_init(&l->done);
	atomic_init(&l->holders, 2);
	l->resolver = r;
	l->network = resolver_network(network);
	memcpy(l->address, address, n);
	atomic_fetch_add(&r->refs, 1);
	err = atomic_fetch_add(&r->threads, 1) < RESOLVER_THREADS ?
		      sys_thread_lone("np-name", resolver_main, l) :
		      -EAGAIN;
	if (err < 0) {
		atomic_fetch_sub(&r->threads, 1);
		resolver_free(r);
		free(l);
		return err == -EAGAIN ? -NP_ERESOLVEAGAIN : err;
	}
	*ret = l;
	return 0;
}

/* At least 1, so that what has been found already is taken though the time is over; 0: no limit. */
static int resolver_ms_left(uint64_t until_ms)
{
	uint64_t now = poller_now_ms(poller_self());

	if (!until_ms)
		return 0;
	return until_ms > now ? (int)(until_ms - now) : 1;
}

static int resolver_wait(struct lookup *l, uint64_t until_ms, struct addr **ret)
{
	int r = event_wait(&l->done, resolver_ms_left(until_ms), "name");

	if (r == -ETIMEDOUT && until_ms && poller_now_ms(poller_self()) >= until_ms)
		return -NP_EDIALTIMEOUT;
	if (r < 0)
		return r;
	*ret = l->found;
	l->found = NULL;
	return l->result;
}

/* The way that honours all of nsswitch.conf(5). */
static int resolver_by_thread(struct resolver *r, const char *network, const char *address,
			      uint64_t until_ms, struct addr **ret)
{
	struct lookup *l;
	int n = resolver_start(r, network, address, &l);

	if (n < 0)
		return n;
	n = resolver_wait(l, until_ms, ret);
	resolver_drop(l);
	return n;
}

/* ------------------------------------------------------------------ over sockets */

static int resolver_step(struct query *q, uint64_t until_ms)
{
	int left = resolver_ms_left(until_ms), ms = query_ms(q);
	int r = np_wait_fd(query_fd(q), POLLIN, left && left < ms ? left : ms);

	if (r < 0 && r != -ETIMEDOUT)
		return r;
	query_step(q);
	if (query_done(q))
		return 0; /* though the time is over: it has come */
	if (np_deadline_left() == 0)
		return -ETIMEDOUT;
	return until_ms && poller_now_ms(poller_self()) >= until_ms ? -NP_EDIALTIMEOUT : 0;
}

static int resolver_by_query(const char *network, const char *address, uint64_t until_ms,
			     struct addr **ret)
{
	struct query *q;
	int r = query_open(network, address, &q);

	if (r < 0)
		return r;
	while (r == 0 && !query_done(q))
		r = resolver_step(q, until_ms);
	if (r == 0)
		r = query_take(q, ret);
	query_close(q);
	return r;
}

int resolver_lookup(struct resolver *r, const char *network, const char *address, uint64_t until_ms,
		    struct addr **ret)
{
	int n = resolver_by_query(network, address, until_ms, ret);

	return n == -NP_EUNSUPPORTED ? resolver_by_thread(r, network, address, until_ms, ret) : n;
}

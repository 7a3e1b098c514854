/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * metrics: families, from counters that any thread may read
 *
 * No poller is asked, so that one that is stuck is told of like the others. A family comes once,
 * with the samples of all servers, sets and pollers below it.
 */
#include "netpoll/metrics_page.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "netpoll/channel_look.h"
#include "netpoll/exposition.h"
#include "netpoll/linkbuf.h"
#include "netpoll/pollers_private.h"
#include "netpoll/pool_part.h"
#include "netpoll/server_private.h"
#include "netpoll/version.h"
#include "poll/meter.h"
#include "poll/offload.h"
#include "sys/clock.h"

/* A number of a struct that a call fills in. */
struct fact {
	const char *name;
	int type;
	const char *help;
	size_t offset;
};

#define FACT(of, member, name, type, help)             \
	{                                              \
		name, type, help, offsetof(of, member) \
	}

/* The value of the label that tells it from others of its name. */
#define METRICS_ID_CAP sizeof "4294967295"

static const char *metrics_id(const struct noted *n, char dst[METRICS_ID_CAP])
{
	snprintf(dst, METRICS_ID_CAP, "%u", registry_id(n));
	return dst;
}

/* The family of one fact, and where its samples go. */
struct metrics_fact {
	struct np_metrics *e;
	const struct fact *fact;
};

static uint64_t metrics_value(const struct fact *f, const void *of)
{
	return *(const uint64_t *)((const char *)of + f->offset);
}

/* A family for each fact; @write gives it the sample of one server, set or pool. */
static void metrics_facts(struct np_metrics *e, enum registry_kind kind,
			  void (*write)(void *, struct noted *), const struct fact *facts, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct metrics_fact m = { .e = e, .fact = &facts[i] };

		np_metrics_family(e, facts[i].name, facts[i].type, facts[i].help);
		registry_each(kind, write, &m);
	}
}

/* ------------------------------------------------------------------ servers */

static const struct fact server_facts[] = {
	FACT(struct np_server_stats, conns, "np_connections", NP_METRIC_GAUGE, "Open connections."),
	FACT(struct np_server_stats, accepted, "np_connections_accepted", NP_METRIC_COUNTER,
	     "Connections accepted."),
	FACT(struct np_server_stats, closed, "np_connections_closed", NP_METRIC_COUNTER,
	     "Connections closed."),
	FACT(struct np_server_stats, shed, "np_connections_shed", NP_METRIC_COUNTER,
	     "Connections reset for want of descriptors."),
	FACT(struct np_server_stats, cut, "np_connections_cut", NP_METRIC_COUNTER,
	     "Connections that ended with flushed bytes lost."),
	FACT(struct np_server_stats, moved, "np_connections_moved", NP_METRIC_COUNTER,
	     "Connections that came from another poller, or from the process before."),
	FACT(struct np_server_stats, rebalanced, "np_connections_rebalanced", NP_METRIC_COUNTER,
	     "Moves that the rebalancer has asked for."),
	FACT(struct np_server_stats, handed_over, "np_connections_handed_over", NP_METRIC_COUNTER,
	     "Connections that went to the next process."),
	FACT(struct np_server_stats, taken_over, "np_connections_taken_over", NP_METRIC_COUNTER,
	     "Connections that came from the process before."),
	FACT(struct np_server_stats, memory_closed, "np_connections_memory_closed",
	     NP_METRIC_COUNTER, "Connections reset at memory_max."),
	FACT(struct np_server_stats, at_limit, "np_connections_at_limit", NP_METRIC_COUNTER,
	     "Times that a poller had its share of max_conns."),
	FACT(struct np_server_stats, handler_errors, "np_handler_errors", NP_METRIC_COUNTER,
	     "Handlers that returned an error."),
	FACT(struct np_server_stats, drained, "np_connections_drained", NP_METRIC_COUNTER,
	     "Idle connections that a stop has closed."),
	FACT(struct np_server_stats, fresh, "np_connections_fresh", NP_METRIC_COUNTER,
	     "Connections that a stop has closed before they asked for anything."),
	FACT(struct np_server_stats, raced, "np_connections_raced", NP_METRIC_COUNTER,
	     "Of these two: the peer's next request came too late, and got no answer."),
	FACT(struct np_server_stats, proxied, "np_connections_proxied", NP_METRIC_COUNTER,
	     "PROXY headers taken."),
	FACT(struct np_server_stats, proxy_refused, "np_connections_proxy_refused",
	     NP_METRIC_COUNTER, "Connections without a PROXY header that had to have one."),
};

/* Two servers may have one name. */
static void metrics_of_server(struct np_metrics *e, const struct np_server *server, uint64_t value)
{
	char id[METRICS_ID_CAP];
	const struct np_metric_label labels[] = { { "server", server->name },
						  { "id", metrics_id(&server->noted, id) },
						  { 0 } };

	np_metrics_count(e, labels, value);
}

static void metrics_server(void *arg, struct noted *n)
{
	struct np_server *server = container_of(n, struct np_server, noted);
	struct np_server_stats st = { .sz = sizeof st };
	const struct metrics_fact *m = arg;

	np_server_stats(server, &st);
	metrics_of_server(m->e, server, metrics_value(m->fact, &st));
}

static void metrics_draining(void *arg, struct noted *n)
{
	struct np_server *server = container_of(n, struct np_server, noted);
	int phase = atomic_load(&server->phase);

	metrics_of_server(arg, server, phase == SERVER_DRAINING || phase == SERVER_STOPPING);
}

static void metrics_servers(struct np_metrics *e)
{
	metrics_facts(e, REGISTRY_SERVERS, metrics_server, server_facts,
		      sizeof server_facts / sizeof server_facts[0]);
	np_metrics_family(e, "np_server_draining", NP_METRIC_GAUGE,
			  "1: the server drains or stops.");
	registry_each(REGISTRY_SERVERS, metrics_draining, e);
}

/* ------------------------------------------------------------------ pollers */

struct metrics_pollers {
	struct np_metrics *e;
	void (*write)(struct np_metrics *e, const struct np_metric_label *labels, struct poller *p);
};

static void metrics_each_poller(void *arg, struct noted *n)
{
	struct np_pollers *p = container_of(n, struct np_pollers, noted);
	const struct metrics_pollers *m = arg;
	char set[METRICS_ID_CAP], index[12];
	const struct np_metric_label labels[] = { { "set", metrics_id(n, set) },
						  { "poller", index },
						  { 0 } };

	for (unsigned i = 0; i < p->n; i++) {
		snprintf(index, sizeof index, "%u", i);
		m->write(m->e, labels, p->poller[i]);
	}
}

static void metrics_of_pollers(struct np_metrics *e, const char *name, int type, const char *help,
			       void (*write)(struct np_metrics *, const struct np_metric_label *,
					     struct poller *))
{
	struct metrics_pollers m = { .e = e, .write = write };

	np_metrics_family(e, name, type, help);
	registry_each(REGISTRY_SETS, metrics_each_poller, &m);
}

static void metrics_requests(struct np_metrics *e, const struct np_metric_label *labels,
			     struct poller *p)
{
	if (meter_is_on(poller_meter(p)))
		np_metrics_count(e, labels, meter_requests(poller_meter(p)));
}

static void metrics_slow_turns(struct np_metrics *e, const struct np_metric_label *labels,
			       struct poller *p)
{
	uint64_t slow_turns, hogs;

	poller_hogs(p, &slow_turns, &hogs);
	np_metrics_count(e, labels, slow_turns);
}

static void metrics_hogs(struct np_metrics *e, const struct np_metric_label *labels,
			 struct poller *p)
{
	uint64_t slow_turns, hogs;

	poller_hogs(p, &slow_turns, &hogs);
	np_metrics_count(e, labels, hogs);
}

/* How long the turn under way has lasted: of one that is kept it grows and grows. */
static void metrics_busy(struct np_metrics *e, const struct np_metric_label *labels,
			 struct poller *p)
{
	uint64_t now = sys_clock_ns() / 1000000u;
	struct poller_sight s;

	poller_look(p, &s);
	np_metrics_real(e, labels,
			s.began_ms && now > s.began_ms ? (double)(now - s.began_ms) / 1e3 : 0);
}

/* ------------------------------------------------------------------ histograms */

static const struct {
	enum meter_kind kind;
	const char *name, *help;
} timed[] = {
	{ METER_ACCEPT, "np_accept_wait_seconds",
	  "From the end of the handshake to accept: the wait in the queue that steering chose. To the kernel's tick." },
	{ METER_FIRST_BYTE, "np_first_byte_seconds",
	  "From accept to the end of the first request's handler: its answer leaves. In milliseconds, to a turn of the poller." },
	{ METER_AGE, "np_request_age_seconds",
	  "From the peer's last byte to the handler's call. To the kernel's tick." },
	{ METER_HANDLER, "np_handler_seconds", "A call of on_request, its waits included." },
	{ METER_DRAIN, "np_drain_seconds",
	  "From the drain's beginning to a connection's end. In milliseconds." },
};

struct metrics_sum {
	enum meter_kind kind;
	struct histogram h;
};

static void metrics_add(void *arg, struct noted *n)
{
	struct np_pollers *p = container_of(n, struct np_pollers, noted);
	struct metrics_sum *sum = arg;

	for (unsigned i = 0; i < p->n; i++) {
		const struct meter *m = poller_meter(p->poller[i]);

		if (meter_is_on(m))
			histogram_add(&sum->h, &m->of[sum->kind]);
	}
}

static void metrics_histograms(struct np_metrics *e)
{
	for (size_t i = 0; i < sizeof timed / sizeof timed[0]; i++) {
		struct metrics_sum sum = { .kind = timed[i].kind };

		registry_each(REGISTRY_SETS, metrics_add, &sum);
		exposition_histogram(e, timed[i].name, timed[i].help, &sum.h);
	}
}

/* ------------------------------------------------------------------ what else there is */

static const struct fact set_facts[] = {
	FACT(struct np_pollers_stats, offload_queued, "np_offload_queued", NP_METRIC_GAUGE,
	     "Jobs that wait for a worker."),
	FACT(struct np_pollers_stats, offload_running, "np_offload_running", NP_METRIC_GAUGE,
	     "Jobs that run."),
	FACT(struct np_pollers_stats, offload_done, "np_offload_done", NP_METRIC_COUNTER,
	     "Jobs that are done."),
	FACT(struct np_pollers_stats, offload_refused, "np_offload_refused", NP_METRIC_COUNTER,
	     "Jobs that were refused."),
	FACT(struct np_pollers_stats, offload_given_up, "np_offload_given_up", NP_METRIC_COUNTER,
	     "Jobs given up before they began."),
	FACT(struct np_pollers_stats, handoffs, "np_handoffs", NP_METRIC_COUNTER,
	     "Times that a poller went on with another thread."),
	FACT(struct np_pollers_stats, handoffs_refused, "np_handoffs_refused", NP_METRIC_COUNTER,
	     "Times that it could not."),
};

static const struct fact pool_facts[] = {
	FACT(struct np_pool_stats, open, "np_pool_open", NP_METRIC_GAUGE, "Connections of a pool."),
	FACT(struct np_pool_stats, idle, "np_pool_idle", NP_METRIC_GAUGE, "Idle ones."),
	FACT(struct np_pool_stats, waiting, "np_pool_waiting", NP_METRIC_GAUGE,
	     "Fibers that wait for one."),
	FACT(struct np_pool_stats, gets, "np_pool_gets", NP_METRIC_COUNTER,
	     "Connections asked for."),
	FACT(struct np_pool_stats, reused, "np_pool_reused", NP_METRIC_COUNTER,
	     "Connections given a second time."),
	FACT(struct np_pool_stats, dial_errors, "np_pool_dial_errors", NP_METRIC_COUNTER,
	     "Dials that failed."),
	FACT(struct np_pool_stats, timeouts, "np_pool_timeouts", NP_METRIC_COUNTER,
	     "Waits that were in vain."),
};

static void metrics_set(void *arg, struct noted *n)
{
	struct np_pollers *p = container_of(n, struct np_pollers, noted);
	struct np_pollers_stats st = { .sz = sizeof st };
	const struct metrics_fact *m = arg;
	char set[METRICS_ID_CAP];
	const struct np_metric_label labels[] = { { "set", metrics_id(n, set) }, { 0 } };

	np_pollers_stats(p, &st);
	np_metrics_count(m->e, labels, metrics_value(m->fact, &st));
}

static void metrics_pool(void *arg, struct noted *n)
{
	struct np_pool *pool = container_of(n, struct np_pool, noted);
	struct np_pool_stats st = { .sz = sizeof st };
	const struct metrics_fact *m = arg;
	char id[METRICS_ID_CAP];
	const struct np_metric_label labels[] = { { "network", pool->network },
						  { "address", pool->address },
						  { "pool", metrics_id(n, id) },
						  { 0 } };

	np_pool_stats(pool, &st);
	np_metrics_count(m->e, labels, metrics_value(m->fact, &st));
}

static void metrics_channel(void *arg, struct noted *n)
{
	uint64_t *waiting = arg;
	struct channel_look l;

	channel_look(n, &l);
	*waiting += l.waiting;
}

static void metrics_channels(struct np_metrics *e)
{
	uint64_t waiting = 0;

	registry_each(REGISTRY_CHANNELS, metrics_channel, &waiting);
	np_metrics_family(e, "np_calls_waiting", NP_METRIC_GAUGE,
			  "Callers that wait on a channel.");
	np_metrics_count(e, NULL, waiting);
}

static void metrics_build(struct np_metrics *e)
{
	const struct np_metric_label labels[] = { { "version", np_version(NULL) }, { 0 } };

	np_metrics_family(e, "np_build_info", NP_METRIC_GAUGE, "The library's version; always 1.");
	np_metrics_count(e, labels, 1);
}

/* ------------------------------------------------------------------ all of it */

void np_metrics_process(struct np_metrics *m)
{
	metrics_build(m);
	metrics_servers(m);
	metrics_of_pollers(m, "np_requests", NP_METRIC_COUNTER, "Calls of on_request.",
			   metrics_requests);
	metrics_of_pollers(m, "np_poller_slow_turns", NP_METRIC_COUNTER,
			   "Turns in which handlers kept the thread for hog_ms.",
			   metrics_slow_turns);
	metrics_of_pollers(m, "np_poller_hogs", NP_METRIC_COUNTER, "Handlers that did so alone.",
			   metrics_hogs);
	metrics_of_pollers(m, "np_poller_busy_seconds", NP_METRIC_GAUGE,
			   "For how long the turn under way has lasted.", metrics_busy);
	metrics_histograms(m);
	metrics_facts(m, REGISTRY_SETS, metrics_set, set_facts,
		      sizeof set_facts / sizeof set_facts[0]);
	metrics_facts(m, REGISTRY_POOLS, metrics_pool, pool_facts,
		      sizeof pool_facts / sizeof pool_facts[0]);
	metrics_channels(m);
}

int metrics_make(enum np_metrics_format format, char **ret, size_t *ret_n)
{
	struct np_metrics m;
	int r = exposition_open(&m, format);

	if (r < 0)
		return r;
	np_metrics_process(&m);
	return exposition_close(&m, ret, ret_n);
}

int np_metrics_write(struct np_linkbuf *b, int format)
{
	struct np_metrics *m;
	int r = np_metrics_begin(b, format, &m);

	if (r < 0)
		return r;
	np_metrics_process(m);
	return np_metrics_end(&m);
}

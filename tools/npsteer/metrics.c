/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * metrics: what a service or a process has counted, as Prometheus reads it
 *
 * A process writes its own. Of a service it is written here: what the program has counted, and what
 * its workers publish. Which of the two formats is sent says the Accept of the one who asks.
 */
#include <netpoll/conn.h>
#include <netpoll/linkbuf.h>
#include <netpoll/metrics.h>
#include <netpoll/pollers.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "endpoint.h"
#include "http.h"
#include "metrics.h"
#include "netstat.h"
#include "npsteer.h"
#include "process.h"

#define OPENMETRICS "application/openmetrics-text; version=1.0.0; charset=utf-8"
#define PLAIN       "text/plain; version=0.0.4; charset=utf-8"
/* It asks no poller. Less than a request may take: who scrapes is to learn that it is stuck. */
#define PROCESS_S   2

struct metrics {
	struct npsteer *n;
	struct np_steer *steer;  /* NULL: it is a process */
	struct np_metrics *page; /* under way */
};

/* ------------------------------------------------------------------ the program */

#define STAT(name)                                           \
	{                                                    \
#name, offsetof(struct np_steer_stats, name) \
	}

static const struct {
	const char *name;
	size_t offset;
} counted[] = {
	STAT(syn_total),     STAT(nonsyn_total),  STAT(migrated_child), STAT(migrated_request),
	STAT(steered),       STAT(fallback_hash), STAT(rejected_rst),   STAT(shed_full),
	STAT(fallback_none), STAT(migrated_none), STAT(retried),        STAT(skipped_empty),
	STAT(skipped_away),  STAT(skipped_hung),  STAT(skipped_full),   STAT(spilled),
};

static void metrics_of_program(struct metrics *m)
{
	struct np_steer_stats st = { .sz = sizeof st };

	np_metrics_family(m->page, "npsteer_counted", NP_METRIC_COUNTER,
			  "What the steering program has counted, by its counter: npsteer(8).");
	if (np_steer_stats(m->steer, &st) < 0)
		return;
	for (size_t i = 0; i < sizeof counted / sizeof counted[0]; i++) {
		const struct np_metric_label labels[] = { { "service", service_of(m->n) },
							  { "counter", counted[i].name },
							  { 0 } };

		np_metrics_count(m->page, labels,
				 *(const uint64_t *)((const char *)&st + counted[i].offset));
	}
}

/* ------------------------------------------------------------------ workers */

#define WORKER(member, name, type, help)                                        \
	{                                                                       \
		name, type, help, offsetof(struct np_steer_worker_info, member) \
	}

static const struct {
	const char *name;
	int type;
	const char *help;
	size_t offset;
} published[] = {
	WORKER(conns, "npsteer_worker_connections", NP_METRIC_GAUGE, "Open connections."),
	WORKER(accepted_total, "npsteer_worker_accepted", NP_METRIC_COUNTER,
	       "Connections accepted."),
	WORKER(closed_total, "npsteer_worker_closed", NP_METRIC_COUNTER, "Connections closed."),
	WORKER(handoffs, "npsteer_worker_handoffs", NP_METRIC_COUNTER,
	       "Handlers left alone with their thread: its poller went on with another."),
	WORKER(moved_in, "npsteer_worker_moved_in", NP_METRIC_COUNTER,
	       "Connections that came from another worker or process."),
	WORKER(moved_out, "npsteer_worker_moved_out", NP_METRIC_COUNTER,
	       "Connections that went to another worker or process."),
	WORKER(steered, "npsteer_worker_steered", NP_METRIC_COUNTER,
	       "Connections given by the program."),
	WORKER(fallback, "npsteer_worker_fallback", NP_METRIC_COUNTER,
	       "Connections given by the hash."),
	WORKER(rescued, "npsteer_worker_rescued", NP_METRIC_COUNTER,
	       "Times that it hung and was helped."),
	WORKER(rescue_failed, "npsteer_worker_rescue_failures", NP_METRIC_COUNTER,
	       "Times that it hung and was not."),
};

struct metrics_worker {
	struct np_steer_worker_info info;
	char number[12];
	struct np_metric_label labels[5]; /* the last but one is free */
};

/* Return: whether there is a worker @w. */
static bool metrics_worker(struct metrics *m, unsigned w, struct metrics_worker *ret)
{
	if (!read_worker(m->steer, w, &ret->info))
		return false;
	snprintf(ret->number, sizeof ret->number, "%u", w);
	ret->labels[0] = (struct np_metric_label){ "service", service_of(m->n) };
	ret->labels[1] = (struct np_metric_label){ "worker", ret->number };
	ret->labels[2] = (struct np_metric_label){ "name", ret->info.name };
	ret->labels[3] = ret->labels[4] = (struct np_metric_label){ 0 };
	return true;
}

static void metrics_published(struct metrics *m, unsigned workers, size_t offset)
{
	struct metrics_worker i;

	for (unsigned w = 0; w < workers; w++)
		if (metrics_worker(m, w, &i))
			np_metrics_count(m->page, i.labels,
					 *(const uint64_t *)((const char *)&i.info + offset));
}

static void metrics_of_workers(struct metrics *m, unsigned workers)
{
	struct metrics_worker i;

	for (size_t k = 0; k < sizeof published / sizeof published[0]; k++) {
		np_metrics_family(m->page, published[k].name, published[k].type, published[k].help);
		metrics_published(m, workers, published[k].offset);
	}
	np_metrics_family(m->page, "npsteer_worker_busy_seconds", NP_METRIC_GAUGE,
			  "For how long it has been busy with the events it has; 0: it is idle.");
	for (unsigned w = 0; w < workers; w++)
		if (metrics_worker(m, w, &i))
			np_metrics_real(m->page, i.labels, (double)i.info.busy_ms / 1e3);
	np_metrics_family(m->page, "npsteer_worker_state", NP_METRIC_GAUGE,
			  "1: it is in that state.");
	for (unsigned w = 0; w < workers; w++)
		if (metrics_worker(m, w, &i)) {
			i.labels[3] = (struct np_metric_label){ "state", state_name(i.info.state) };
			np_metrics_count(m->page, i.labels, 1);
		}
}

/* ------------------------------------------------------------------ queues */

/* Of several devices or network namespaces two groups may have one address. */
static void metrics_queue(struct metrics *m, const struct np_steer_queue *q, unsigned value)
{
	struct np_steer_group_info g = { .sz = sizeof g };
	char group[12], worker[12];
	const struct np_metric_label labels[] = { { "service", service_of(m->n) },
						  { "address", g.address },
						  { "group", group },
						  { "worker", worker },
						  { 0 } };

	np_steer_group_info(m->steer, q->group, &g);
	snprintf(group, sizeof group, "%u", q->group);
	snprintf(worker, sizeof worker, "%u", q->worker);
	np_metrics_count(m->page, labels, value);
}

static int metrics_queued(void *arg, const struct np_steer_queue *q)
{
	metrics_queue(arg, q, q->queued);
	return 0;
}

static int metrics_backlog(void *arg, const struct np_steer_queue *q)
{
	metrics_queue(arg, q, q->backlog);
	return 0;
}

static void metrics_of_queues(struct metrics *m)
{
	np_metrics_family(m->page, "npsteer_queue_length", NP_METRIC_GAUGE,
			  "Connections that wait for accept.");
	np_steer_queues(m->steer, metrics_queued, m);
	np_metrics_family(m->page, "npsteer_queue_limit", NP_METRIC_GAUGE, "So many may wait.");
	np_steer_queues(m->steer, metrics_backlog, m);
}

/* ------------------------------------------------------------------ the kernel */

/* Of all listeners together: the kernel tells nothing of one that is gone. */
static void metrics_of_kernel(struct metrics *m)
{
	uint64_t n;

	if (!netstat_read("ListenOverflows", &n))
		return;
	np_metrics_family(
		m->page, "npsteer_host_listen_overflows", NP_METRIC_COUNTER,
		"Connections that met a full queue, of any listener of this network namespace.");
	np_metrics_count(m->page, NULL, n);
}

/* ------------------------------------------------------------------ all of it */

static void metrics_of_service(struct metrics *m)
{
	struct np_steer_info info = { .sz = sizeof info };
	const struct np_metric_label labels[] = { { "service", service_of(m->n) },
						  { "policy", info.policy },
						  { 0 } };

	np_steer_info(m->steer, &info);
	np_metrics_family(m->page, "npsteer_service_level", NP_METRIC_GAUGE,
			  "Of steering: npsteer(8).");
	np_metrics_count(m->page, labels, (uint64_t)info.level);
	metrics_of_program(m);
	metrics_of_workers(m, info.workers);
	metrics_of_queues(m);
	metrics_of_kernel(m);
}

/* Lifetime: *ret is for free(3). An exit code; *why says what it means. */
static int metrics_make(struct metrics *m, bool open, char **ret, char why[PROCESS_WHY_MAX])
{
	struct np_linkbuf *b;

	if (!m->steer)
		return process_question(m->n->service,
					open ? "metrics openmetrics" : "metrics text", PROCESS_S,
					ret, why);
	if (np_linkbuf_new(0, &b) < 0 ||
	    np_metrics_begin(b, open ? NP_METRICS_OPENMETRICS : NP_METRICS_TEXT, &m->page) < 0)
		fail_without_memory();
	metrics_of_service(m);
	if (np_metrics_end(&m->page) < 0 || np_linkbuf_flush(b) < 0 ||
	    np_linkbuf_dup(b, np_linkbuf_len(b), ret) < 0)
		fail_without_memory();
	np_linkbuf_free(&b);
	return DONE;
}

/* ------------------------------------------------------------------ asked for */

/* A process may be slow to answer, and is asked on a thread that may wait. */
struct metrics_job {
	struct metrics *m;
	bool open;
	char *text;
	char why[PROCESS_WHY_MAX];
	int code;
};

static void metrics_run(void *arg)
{
	struct metrics_job *j = arg;

	j->code = metrics_make(j->m, j->open, &j->text, j->why);
}

static int metrics_on_request(struct np_conn *c, void *arg)
{
	struct metrics_job j = { .m = arg };
	struct http_request q;
	int r = http_read(c, &q);

	if (r)
		return r < 0 ? r : 0;
	if (strcmp(q.path, "/metrics") && strcmp(q.path, "/"))
		return http_say(c, &q, 404, "ask for /metrics\n");
	j.open = strstr(q.accept, "application/openmetrics-text");
	if (j.m->steer)
		metrics_run(&j); /* one thread alone looks at the service: this one */
	else
		r = np_offload(metrics_run, &j);
	if (r < 0 || j.code != DONE)
		return http_say(c, &q, 503, r < 0 ? np_strerror(r) : j.why);
	r = http_answer(c, &q, 200, j.open ? OPENMETRICS : PLAIN, j.text, strlen(j.text));
	free(j.text);
	return r;
}

static const struct np_handlers metrics_handlers = { .sz = sizeof metrics_handlers,
						     .on_request = metrics_on_request };

static int metrics_serve(struct metrics *m)
{
	struct endpoint e = { .n = m->n };
	int code = endpoint_open(&e, "--listen", m->n->listen, &metrics_handlers, m);

	if (code == DONE)
		code = endpoint_start(&e, "metrics at http://");
	while (code == DONE && !endpoint_wait(3600))
		;
	endpoint_close(&e, NULL, NULL);
	return code;
}

static int metrics_open(struct metrics *m, struct npsteer *n)
{
	*m = (struct metrics){ .n = n };
	return names_process(n->service) ? DONE : join_service(n, service_of(n), &m->steer);
}

int metrics_page(struct npsteer *n, char **ret)
{
	char why[PROCESS_WHY_MAX];
	struct metrics m;
	int code = metrics_open(&m, n);

	if (code != DONE)
		return code;
	code = metrics_make(&m, true, ret, why);
	np_steer_close(&m.steer);
	return code == DONE ? DONE : fail(n, (enum exit_code)code, "%s", why);
}

static int metrics_print(struct npsteer *n)
{
	char *text;
	int code = metrics_page(n, &text);

	if (code != DONE)
		return code;
	if (n->json)
		code = fail(
			n, MISUSED,
			"metrics has a text format of its own, and no JSON: `npsteer -j status` has");
	else
		fputs(text, stdout);
	free(text);
	return code;
}

int verb_metrics(struct npsteer *n)
{
	struct metrics m;
	int code;

	if (!n->listen)
		return metrics_print(n);
	code = metrics_open(&m, n);
	if (code != DONE)
		return code;
	code = metrics_serve(&m);
	np_steer_close(&m.steer);
	return code;
}

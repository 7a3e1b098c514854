/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * agent: what haproxy's agent-check asks, and an HTTP probe: how much this machine's service takes
 *
 * haproxy connects and reads one line. "up" and a percentage, by which it scales the server's
 * weight; "drain", "maint", "down". haproxy keeps a drain or maint until it hears "ready"; that
 * undoes an operator's own drain there too, so it is said for READY_S only: from the start on, and
 * behind each drain.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <netpoll/conn.h>

#include "endpoint.h"
#include "health.h"
#include "http.h"

#define LOOK_S     0.2
#define FULL       64
#define READY_S    60.0
#define TEXT_MAX   512
#define AGENT_LINE 128

struct agent {
	struct npsteer *n;
	struct lookout lookout;
	struct steady steady;
	unsigned full, workers;
	double look_s;
	double ready_until;

	pthread_mutex_t lock; /* held for a copy: what both threads use */
	char line[AGENT_LINE];
	char text[TEXT_MAX];
	int status;
};

/* ------------------------------------------------------------------ what is said */

static const char *agent_word(enum health_state s)
{
	static const char *const words[] = { "up", "drain", "maint", "down" };

	return words[s];
}

/* A "#" begins what haproxy logs. */
static void agent_write_line(struct agent *a, const struct health *said, const char *why,
			     bool ready)
{
	if (said->state == HEALTH_UP)
		snprintf(a->line, sizeof a->line, "up%s %d%%\n", ready ? " ready" : "",
			 said->percent);
	else if (said->state == HEALTH_DOWN)
		snprintf(a->line, sizeof a->line, "down #%.100s\n", why);
	else
		snprintf(a->line, sizeof a->line, "%s\n", agent_word(said->state));
}

static void agent_write_text(struct agent *a, const struct health *said, const struct health *now,
			     const char *why)
{
	a->status = said->state == HEALTH_UP ? 200 : 503;
	snprintf(a->text, sizeof a->text,
		 "%s %d%%\nready %u\nhanging %u\ndraining %u\nout %u\nqueued %u\n%s%s",
		 agent_word(said->state), said->percent, now->ready, now->hanging, now->draining,
		 now->out, now->queued, *why ? why : "", *why ? "\n" : "");
}

static const char *agent_why(const struct agent *a, const struct health *now, bool seen)
{
	if (!seen)
		return a->lookout.why;
	if (now->state != HEALTH_DOWN)
		return "";
	return now->ready ? "all workers hang" : "no workers";
}

static void agent_publish(struct agent *a, const struct health *now, bool seen, double at)
{
	const struct health *said = &a->steady.said;
	const char *why = agent_why(a, now, seen);

	if (said->state == HEALTH_DRAIN || said->state == HEALTH_MAINT)
		a->ready_until = at + READY_S;
	pthread_mutex_lock(&a->lock);
	agent_write_line(a, said, why, at < a->ready_until);
	agent_write_text(a, said, now, why);
	pthread_mutex_unlock(&a->lock);
}

static void agent_log(struct agent *a, const struct steady *was)
{
	const struct health *said = &a->steady.said;

	if (!was->any || (was->said.state == said->state && was->said.percent == said->percent))
		return;
	if (!a->n->json) {
		printf("%s: %s %d%%\n", service_of(a->n), agent_word(said->state), said->percent);
	} else {
		answer(a->n);
		json_string(&a->n->say, "service", service_of(a->n));
		json_string(&a->n->say, "state", agent_word(said->state));
		json_int(&a->n->say, "percent", said->percent);
		end_answer(a->n);
	}
	fflush(stdout);
}

/* One look. A service that is not there is down: nobody listens for it. */
static void agent_look(struct agent *a)
{
	struct health now = { .state = HEALTH_DOWN };
	struct steady was = a->steady;
	struct facts f;
	bool seen = lookout_look(&a->lookout, &f) == 0;

	if (seen)
		health_of(&f, a->full, a->workers, &now);
	steady_take(&a->steady, &now, f.at);
	agent_publish(a, &now, seen, f.at);
	agent_log(a, &was);
	facts_free(&f);
}

/* ------------------------------------------------------------------ who asks */

/* haproxy may send something first (agent-send), which says nothing to us. */
static int agent_on_connect(struct np_conn *c, void *arg)
{
	struct agent *a = arg;
	char line[AGENT_LINE];
	int r;

	pthread_mutex_lock(&a->lock);
	memcpy(line, a->line, sizeof line);
	pthread_mutex_unlock(&a->lock);
	r = np_conn_write(c, line, strlen(line));
	if (r == 0)
		r = np_conn_flush(c);
	np_conn_close(c);
	return r;
}

static const struct np_handlers agent_handlers = {
	.sz = sizeof agent_handlers,
	.on_connect = agent_on_connect,
};

static int agent_on_probe(struct np_conn *c, void *arg)
{
	struct agent *a = arg;
	struct http_request q;
	char text[TEXT_MAX];
	int r = http_read(c, &q), status;

	if (r)
		return r < 0 ? r : 0;
	if (strcmp(q.path, "/") && strcmp(q.path, "/health"))
		return http_say(c, &q, 404, "ask for /health\n");
	pthread_mutex_lock(&a->lock);
	status = a->status;
	memcpy(text, a->text, sizeof text);
	pthread_mutex_unlock(&a->lock);
	return http_say(c, &q, status, text);
}

static const struct np_handlers agent_probe_handlers = {
	.sz = sizeof agent_probe_handlers,
	.on_request = agent_on_probe,
};

/* ------------------------------------------------------------------ the verb */

static int agent_number(struct npsteer *n, const char *option, const char *text, unsigned *ret)
{
	long v;

	if (!text)
		return DONE;
	if (!parse_number(text, 65536, &v) || v == 0)
		return fail(n, MISUSED, "%s takes a number from 1 to 65536, not \"%s\"", option,
			    text);
	*ret = (unsigned)v;
	return DONE;
}

static int agent_parse(struct agent *a)
{
	struct npsteer *n = a->n;
	double every;
	long count;
	int code = parse_interval(n, &every, &count);

	a->look_s = every > 0 ? every : LOOK_S;
	if (code == DONE)
		code = agent_number(n, "--full", n->full, &a->full);
	if (code == DONE)
		code = agent_number(n, "--workers", n->workers, &a->workers);
	if (code == DONE && !n->listen && !n->http)
		code = fail(
			n, MISUSED,
			"where shall it listen? --listen [ADDR:]PORT for haproxy's agent-check, "
			"--http [ADDR:]PORT for an HTTP probe");
	return code;
}

static int agent_serve(struct agent *a, struct endpoint *e)
{
	int code = DONE;

	if (a->n->listen)
		code = endpoint_open(e, "--listen", a->n->listen, &agent_handlers, a);
	if (code == DONE && a->n->http)
		code = endpoint_open(e, "--http", a->n->http, &agent_probe_handlers, a);
	if (code != DONE)
		return code;
	agent_look(a);
	code = endpoint_start(e, "an agent at ");
	while (code == DONE && !endpoint_wait(a->look_s) && !ferror(stdout))
		agent_look(a);
	return code;
}

int verb_agent(struct npsteer *n)
{
	struct agent a = { .n = n, .full = FULL, .lock = PTHREAD_MUTEX_INITIALIZER };
	struct endpoint e = { .n = n };
	int code = agent_parse(&a);

	if (code == DONE)
		code = lookout_open(n, &a.lookout);
	if (code != DONE)
		return code;
	a.ready_until = seconds_now() + READY_S;
	code = agent_serve(&a, &e);
	endpoint_close(&e, NULL, NULL);
	lookout_close(&a.lookout);
	return code;
}

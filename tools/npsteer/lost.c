/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lost: the metrics that count what clients did not get, and what has come to them since a page was
 * kept
 *
 * The page is what `npsteer metrics` prints: nothing else has to be kept, and nothing runs
 * meanwhile. A counter that is below what it was has begun anew, with its process or its worker:
 * what it has counted since is known, and what the one before had counted at its end is not.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "metrics.h"
#include "process.h"
#include "table.h"

static const struct loss {
	const char *name, *label; /* NULL: whatever its labels are */
	const char *text;
} losses[] = {
	{ "npsteer_counted_total", "counter=\"rejected_rst\"",
	  "connections that were refused: no worker was fit" },
	{ "npsteer_counted_total", "counter=\"shed_full\"",
	  "SYNs that met full queues, and were dropped" },
	{ "npsteer_worker_rescue_failures_total", NULL,
	  "times that a worker hung, and its queue could not be taken from it" },
	{ "npsteer_host_listen_overflows_total", NULL,
	  "connections that met a full queue, of any listener of this network namespace" },
	{ "np_connections_shed_total", NULL,
	  "connections that were reset for want of descriptors" },
	{ "np_connections_memory_closed_total", NULL, "connections that were reset at memory_max" },
	{ "np_connections_cut_total", NULL, "connections that ended with flushed bytes lost" },
	{ "np_connections_raced_total", NULL,
	  "requests that came too late, as a stop closed their connections" },
	{ "np_connections_proxy_refused_total", NULL,
	  "connections whose PROXY header was missing or wrong" },
	{ "np_handler_errors_total", NULL, "connections that a handler ended with an error" },
	{ "np_offload_refused_total", NULL, "jobs that were refused: too many waited" },
	{ "np_offload_given_up_total", NULL, "jobs that were given up before they began" },
	{ "np_pool_dial_errors_total", NULL, "dials of a pool that failed" },
	{ "np_pool_timeouts_total", NULL, "waits for a connection of a pool that were in vain" },
};

#define LOSSES (sizeof losses / sizeof losses[0])

struct lost {
	struct npsteer *n;
	char *now, *then; /* then NULL: since the beginning */
	time_t since;
};

/* ------------------------------------------------------------------ pages */

static bool lost_is_sample(const char *line, size_t n, const struct loss *l)
{
	size_t name = strlen(l->name);
	const char *label;

	if (n <= name || strncmp(line, l->name, name) || (line[name] != '{' && line[name] != ' '))
		return false;
	label = l->label ? strstr(line, l->label) : line;
	return label && label < line + n;
}

/* All its samples together. Return: false: there is none. */
static bool lost_sum(const char *page, const struct loss *l, uint64_t *ret)
{
	bool any = false;

	*ret = 0;
	for (const char *line = page; line && *line; line = strchr(line, '\n'), line += !!line) {
		size_t n = strcspn(line, "\n");
		const char *value = line + n;

		if (!lost_is_sample(line, n, l))
			continue;
		while (value[-1] != ' ')
			value--;
		*ret += strtoull(value, NULL, 10);
		any = true;
	}
	return any;
}

static char *lost_read(const char *path, time_t *ret_when)
{
	FILE *f = fopen(path, "re");
	struct stat st;
	char *text = NULL;
	size_t cap = 0;

	if (!f)
		return NULL;
	if (fstat(fileno(f), &st) < 0 || getdelim(&text, &cap, '\0', f) < 0) {
		free(text);
		text = NULL;
	}
	fclose(f);
	*ret_when = st.st_mtime;
	return text;
}

static int lost_open(struct lost *l)
{
	const char *path = l->n->since;
	char label[NP_STEER_NAME_MAX + 16];

	if (!path)
		return DONE;
	l->then = lost_read(path, &l->since);
	if (!l->then || !strstr(l->then, "# EOF\n"))
		return fail(
			l->n, MISUSED,
			"%s is no page that `npsteer metrics` has written: `npsteer metrics %s > %s`",
			path, l->n->service ? l->n->service : DEFAULT_SERVICE, path);
	snprintf(label, sizeof label, "service=\"%s\"", service_of(l->n));
	if (!names_process(l->n->service) && !strstr(l->then, label))
		return fail(l->n, MISUSED, "%s is of another service than %s", path,
			    service_of(l->n));
	return DONE;
}

/* ------------------------------------------------------------------ shown */

struct lost_row {
	uint64_t total, lost;
	bool anew; /* it has begun to count since */
};

static bool lost_row(const struct lost *l, const struct loss *of, struct lost_row *ret)
{
	uint64_t then = 0;

	if (!lost_sum(l->now, of, &ret->total))
		return false;
	if (l->then)
		lost_sum(l->then, of, &then);
	ret->anew = ret->total < then;
	ret->lost = ret->anew ? ret->total : ret->total - then;
	return true;
}

static void lost_text(const struct lost *l)
{
	const char *what = names_process(l->n->service) ? l->n->service : service_of(l->n);
	char when[64] = "the beginning";
	struct lost_row row;
	struct table t;
	struct tm tm;

	if (l->then && localtime_r(&l->since, &tm))
		strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &tm);
	table_init(&t, 3);
	table_text(&t, "LOST");
	table_text(&t, "IN_ALL");
	table_text(&t, "WHAT");
	for (size_t i = 0; i < LOSSES; i++) {
		if (!lost_row(l, &losses[i], &row) || !row.total)
			continue;
		table_uint(&t, row.lost);
		table_uint(&t, row.total);
		table_text(&t, "%s%s", losses[i].text, row.anew ? " (counted anew)" : "");
	}
	printf("%s: %s since %s\n", what, t.n > t.columns ? "lost" : "nothing was lost", when);
	if (t.n > t.columns)
		table_print(&t, stdout, "  ");
	table_fini(&t);
}

static void lost_json(const struct lost *l)
{
	bool process = names_process(l->n->service);
	struct json *j = &l->n->say;
	struct lost_row row;

	answer(l->n);
	json_string(j, process ? "process" : "service", process ? l->n->service : service_of(l->n));
	if (l->then)
		json_int(j, "since", l->since);
	else
		json_string(j, "since", NULL);
	json_array(j, "lost");
	for (size_t i = 0; i < LOSSES; i++) {
		if (!lost_row(l, &losses[i], &row))
			continue;
		json_object(j, NULL);
		json_string(j, "metric", losses[i].name);
		json_string(j, "label", losses[i].label);
		json_uint(j, "lost", row.lost);
		json_uint(j, "total", row.total);
		json_bool(j, "counted_anew", row.anew);
		json_string(j, "what", losses[i].text);
		json_end_object(j);
	}
	json_end_array(j);
	end_answer(l->n);
}

int verb_lost(struct npsteer *n)
{
	struct lost l = { .n = n };
	int code = lost_open(&l);

	if (code == DONE)
		code = metrics_page(n, &l.now);
	if (code == DONE && n->json)
		lost_json(&l);
	else if (code == DONE)
		lost_text(&l);
	free(l.now);
	free(l.then);
	return code;
}

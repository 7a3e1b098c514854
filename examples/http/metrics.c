/* SPDX-License-Identifier: BSD-2-Clause */
/* metrics: the library's page, and behind it this server's lines. */
#include "metrics.h"

#include <netpoll/linkbuf.h>
#include <netpoll/observe.h>
#include <stdio.h>

static int add(struct np_linkbuf *b, const char *name, uint64_t value)
{
	char line[96];
	int n = snprintf(line, sizeof line, "%s %llu\n", name, (unsigned long long)value);

	return np_linkbuf_write(b, line, (size_t)n);
}

static uint64_t count(const struct site *site, int pollers, int class)
{
	uint64_t sum = 0;

	for (int i = 0; i < pollers; i++)
		sum += atomic_load_explicit(&site->counts[i].answers[class], memory_order_relaxed);
	return sum;
}

static int add_answers(struct np_linkbuf *b, const struct site *site)
{
	int pollers = np_pollers_count(np_server_pollers(site->server)), r = 0;
	char name[64];

	for (int k = 0; k < COUNT_CLASSES && r == 0; k++) {
		snprintf(name, sizeof name, k ? "http_answers{class=\"%dxx\"}" : "http_unanswered",
			 k);
		r = add(b, name, count(site, pollers, k));
	}
	return r;
}

static int write_page(struct np_linkbuf *b, const struct site *site)
{
	int r = np_metrics_write(b, NP_METRICS_TEXT);

	if (r == 0)
		r = add_answers(b, site);
	if (r == 0 && site->log)
		r = add(b, "http_log_lines_dropped", log_dropped(site->log));
	return r;
}

void metrics_answer(struct site *site, struct response *rs)
{
	struct np_linkbuf *b = NULL;
	int r = np_linkbuf_new(16384, &b);

	if (r == 0)
		r = write_page(b, site);
	if (r < 0) {
		np_linkbuf_free(&b);
		response_status(rs, 503);
		return;
	}
	response_start(rs, 200, "text/plain; version=0.0.4; charset=utf-8");
	response_length(rs, np_linkbuf_pending(b));
	response_append(rs, &b);
	np_linkbuf_free(&b); /* NULL, unless it could not be given */
}

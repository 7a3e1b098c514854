/* SPDX-License-Identifier: BSD-2-Clause */
/* metrics: the library's families, and this server's own behind them. */
#include "metrics.h"

#include <netpoll/linkbuf.h>
#include <netpoll/metrics.h>
#include <stdio.h>

#include "examples/certs/certs.h"

static uint64_t count(const struct site *site, int pollers, int class)
{
	uint64_t sum = 0;

	for (int i = 0; i < pollers; i++)
		sum += atomic_load_explicit(&site->counts[i].answers[class], memory_order_relaxed);
	return sum;
}

static void add_answers(struct np_metrics *m, const struct site *site)
{
	int pollers = np_pollers_count(np_server_pollers(site->server));
	char class[8];
	const struct np_metric_label labels[] = { { "class", class }, { 0 } };

	np_metrics_family(m, "http_unanswered", NP_METRIC_COUNTER,
			  "Requests that had no answer: the client left before.");
	np_metrics_count(m, NULL, count(site, pollers, 0));
	np_metrics_family(m, "http_answers", NP_METRIC_COUNTER, "Answers, by their status.");
	for (int k = 1; k < COUNT_CLASSES; k++) {
		snprintf(class, sizeof class, "%dxx", k);
		np_metrics_count(m, labels, count(site, pollers, k));
	}
}

static int write_page(struct np_linkbuf *b, const struct site *site)
{
	struct np_metrics *m;
	int r = np_metrics_begin(b, NP_METRICS_TEXT, &m);

	if (r < 0)
		return r;
	np_metrics_process(m);
	certs_metrics(m, site->tls);
	add_answers(m, site);
	if (site->log) {
		np_metrics_family(m, "http_log_lines_dropped", NP_METRIC_COUNTER,
				  "Lines of the log that its reader was too slow for.");
		np_metrics_count(m, NULL, log_dropped(site->log));
	}
	return np_metrics_end(&m);
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

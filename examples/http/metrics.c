/* SPDX-License-Identifier: BSD-2-Clause */
/* metrics: a name and a number in each line. */
#include "metrics.h"

#include <stdio.h>

#define PAGE_MAX 4096

struct page {
	char text[PAGE_MAX];
	size_t n;
};

static void add(struct page *p, const char *name, uint64_t value)
{
	int n = snprintf(p->text + p->n, sizeof p->text - p->n, "%s %llu\n", name,
			 (unsigned long long)value);

	if (n > 0 && p->n + (size_t)n < sizeof p->text)
		p->n += (size_t)n;
}

static void add_server(struct page *p, struct np_server *s)
{
	struct np_server_stats st = { .sz = sizeof st };

	np_server_stats(s, &st);
	add(p, "connections_accepted", st.accepted);
	add(p, "connections_closed", st.closed);
	add(p, "connections_open", st.conns);
	add(p, "connections_at_limit", st.at_limit);
	add(p, "connections_shed", st.shed);
	add(p, "connections_cut", st.cut);
	add(p, "memory_closed", st.memory_closed);
	add(p, "handler_errors", st.handler_errors);
}

static void add_pollers(struct page *p, const struct np_pollers *pollers)
{
	struct np_pollers_stats st = { .sz = sizeof st };

	np_pollers_stats(pollers, &st);
	add(p, "pollers", st.pollers);
	add(p, "slow_turns", st.slow_turns);
	add(p, "hogs", st.hogs);
}

static void add_answers(struct page *p, const struct site *site, int pollers)
{
	static const char *const names[COUNT_CLASSES] = { "answers_failed", "answers_1xx",
							  "answers_2xx",    "answers_3xx",
							  "answers_4xx",    "answers_5xx" };

	for (int k = 0; k < COUNT_CLASSES; k++) {
		uint64_t sum = 0;

		for (int i = 0; i < pollers; i++)
			sum += atomic_load_explicit(&site->counts[i].answers[k],
						    memory_order_relaxed);
		add(p, names[k], sum);
	}
}

void metrics_answer(struct site *site, struct response *rs)
{
	struct np_pollers *pollers = np_server_pollers(site->server);
	struct page p = { .n = 0 };

	add_server(&p, site->server);
	add_pollers(&p, pollers);
	add_answers(&p, site, np_pollers_count(pollers));
	if (site->log)
		add(&p, "log_lines_dropped", log_dropped(site->log));
	response_text(rs, 200, "text/plain", p.text, p.n);
}

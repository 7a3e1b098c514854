/* SPDX-License-Identifier: BSD-2-Clause */
/* stop_report: one mail to the poller, and a wait that ends. */
#include "netpoll/stop_report.h"

#include "netpoll/pollers.h"
#include "poll/handler_count.h"
#include "poll/list.h"
#include "poll/poller.h"
#include "sys/symbol.h"

/* How long a poller whose thread is free takes at most to say which handlers are left on it. */
#define ANSWER_MS 500

void stop_report_init(struct stop_report *report, struct poller *p,
		      void (*fill)(struct stop_report *, struct handler_count *))
{
	*report = (struct stop_report){ .poller = p, .fill = fill };
	event_init(&report->answered);
}

static void stop_report_answer(struct mail *m)
{
	struct stop_report *report = container_of(m, struct stop_report, mail);
	struct handler_count n = { 0 };

	report->fill(report, &n);
	handler_count_say(&n, report->poller);
	report->handlers = n.fibers;
	event_set(&report->answered);
}

void stop_report_ask(struct stop_report *report)
{
	if (report->asked)
		return;
	report->asked = true;
	report->mail.fn = stop_report_answer;
	poller_post(report->poller, &report->mail);
}

int stop_report_wait(struct stop_report *report)
{
	int r = event_wait(&report->answered, ANSWER_MS, "stop");

	if (r < 0)
		return r;
	report->asked = false;
	return (int)report->handlers;
}

void stop_report_settle(struct stop_report *report)
{
	if (report->asked)
		event_wait(&report->answered, 0, "stop");
	report->asked = false;
}

int stop_report_stuck(struct stop_report *report)
{
	char name[160];

	poller_log(report->poller, NP_LOG_ERROR,
		   "poller %d: handler %s does not return, and keeps the thread",
		   poller_index(report->poller),
		   sys_symbol(poller_handler(report->poller), name, sizeof name));
	return 1;
}

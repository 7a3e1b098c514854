/* SPDX-License-Identifier: BSD-2-Clause */
/* exposed: a page of metrics as text, and what others make of it. */
#ifndef SUPPORT_EXPOSED_H
#define SUPPORT_EXPOSED_H

#include "netpoll/metrics.h"
#include "support/run.h"
#include "support/test.h"

/* What the library has, and what @more adds; NULL: nothing. Lifetime: free(3). */
char *exposed(int format, void (*more)(struct np_metrics *m));
/* @command gets the text on stdin. */
void exposed_to(struct ran *r, const char *text, const char *command);

/* promtool reads the text format, prometheus_client's parser OpenMetrics; *r is ran_free()'s. */
#define EXPOSED_TO_PROMTOOL(r, more)                                             \
	do {                                                                     \
		char *text_;                                                     \
		if (!have("promtool"))                                           \
			SKIP("needs promtool (prometheus): scripts/deps --all"); \
		text_ = exposed(NP_METRICS_TEXT, more);                          \
		exposed_to(r, text_, "promtool check metrics");                  \
		free(text_);                                                     \
		ck_assert_msg((r)->code == 0, "%s%s", (r)->out, (r)->err);       \
	} while (0)
#define EXPOSED_TO_PARSER(r, more)                                                        \
	do {                                                                              \
		char *text_ = exposed(NP_METRICS_OPENMETRICS, more);                      \
		exposed_to(r, text_, "/usr/bin/python3 tests/support/openmetrics.py");    \
		free(text_);                                                              \
		if ((r)->code == 77 || (r)->code == 127) {                                \
			ran_free(r);                                                      \
			SKIP("needs python3-prometheus-client: scripts/deps --all");      \
		}                                                                         \
		ck_assert_msg((r)->code == 0, "%d: %s%s", (r)->code, (r)->out, (r)->err); \
	} while (0)

#endif

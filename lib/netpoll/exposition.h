/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * exposition: metrics as Prometheus reads them: OpenMetrics 1.0, or its text format before that
 *
 * A family is announced once, and its samples follow: exposition_family(), then as many of the
 * others as there are. The two formats differ in where a counter's "_total" stands, and in the end.
 */
#ifndef NETPOLL_EXPOSITION_H
#define NETPOLL_EXPOSITION_H

#include <stdint.h>
#include <stdio.h>

#include "netpoll/observe.h"

struct histogram;

struct exposition {
	FILE *to;
	enum np_metrics_format format;
	const char *name, *type; /* of the family */
};

/* A label and its value, as many as there are; a NULL name ends them. */
struct label {
	const char *name, *value;
};

#define COUNTER   "counter"
#define GAUGE     "gauge"
#define HISTOGRAM "histogram"

void exposition_family(struct exposition *e, const char *name, const char *type, const char *help);
void exposition_count(struct exposition *e, const struct label *labels, uint64_t value);
void exposition_seconds(struct exposition *e, const struct label *labels, double value);
/* Without labels. */
void exposition_histogram(struct exposition *e, const struct histogram *h);
void exposition_end(struct exposition *e);

#endif

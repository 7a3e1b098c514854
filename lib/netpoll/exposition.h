/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * exposition: metrics as Prometheus reads them: OpenMetrics 1.0, or its text format before that
 *
 * The two differ in where a counter's "_total" stands, and in the end. netpoll/metrics.h is what
 * writes it; histograms are the library's alone.
 */
#ifndef NETPOLL_EXPOSITION_H
#define NETPOLL_EXPOSITION_H

#include <stddef.h>
#include <stdio.h>

#include "netpoll/metrics.h"

struct histogram;

struct np_metrics {
	FILE *to; /* the two below, with fclose() */
	char *text;
	size_t n;
	struct np_linkbuf *b; /* where it goes; NULL: nowhere */
	enum np_metrics_format format;
	const char *name, *suffix; /* of the family; NULL: none yet */
	int error;                 /* of the first that went wrong */
};

/* Return: 0; -ENOMEM. */
int exposition_open(struct np_metrics *m, enum np_metrics_format format);
/* Lifetime: *ret is for free(3). Return: 0; as np_metrics_end(). */
int exposition_close(struct np_metrics *m, char **ret, size_t *ret_n);
/* A family of its own. */
void exposition_histogram(struct np_metrics *m, const char *name, const char *help,
			  const struct histogram *h);

#endif

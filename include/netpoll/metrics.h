/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * metrics: a page for Prometheus, written family by family: the library's, TLS's, and one's own
 *
 *   np_metrics_begin(np_conn_out(c), NP_METRICS_OPENMETRICS, &m);
 *   np_metrics_process(m);
 *   np_metrics_family(m, "shop_orders", NP_METRIC_COUNTER, "Orders taken.");
 *   np_metrics_count(m, NULL, orders);
 *   np_tls_metrics(m, &tls, NULL, 1);
 *   r = np_metrics_end(&m);
 *
 * What goes wrong on the way is said by np_metrics_end(), and nothing of the page is written then.
 * A family comes once, with all its samples.
 *
 * Thread: any, one at a time for each page. May park: no.
 */
#ifndef NETPOLL_METRICS_H
#define NETPOLL_METRICS_H

#include <netpoll/observe.h>
#include <netpoll/opts.h>
#include <netpoll/status.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct np_linkbuf;
struct np_metrics;

enum np_metric_type { NP_METRIC_COUNTER = 0, NP_METRIC_GAUGE = 1 };

/* A label and its value; where there are several, one with a NULL name ends them. */
struct np_metric_label {
	const char *name, *value;
};

/*
 * np_metrics_begin() - a page, which np_metrics_end() puts behind what is in @b, unflushed
 *
 * @format: enum np_metrics_format. Lifetime: @b has to stay until the end. Return: 0; -EINVAL;
 *          -ENOMEM.
 */
NP_API int np_metrics_begin(struct np_linkbuf *b, int format, struct np_metrics **ret);
/*
 * np_metrics_end() - the page is whole; frees it
 *
 * Return: 0; -EINVAL: a name that Prometheus does not take, an unknown type, a sample without a
 *         family; -ENOMEM. *m is NULL in any case.
 */
NP_API int np_metrics_end(struct np_metrics **m);

/* np_metrics_process() - what all sets and servers of this process have counted:
 * np_metrics_write() is this alone, between begin and end. */
NP_API void np_metrics_process(struct np_metrics *m);

/*
 * np_metrics_family() - what the samples behind it are of
 *
 * @name: of a counter without "_total", which is added. @type: enum np_metric_type. @help: one
 * sentence.
 */
NP_API void np_metrics_family(struct np_metrics *m, const char *name, int type, const char *help);
/*
 * np_metrics_count(), np_metrics_real() - a sample, by its labels, which may be NULL: none
 *
 * In a label's value what is no UTF-8, or a control character, becomes '?'.
 */
NP_API void np_metrics_count(struct np_metrics *m, const struct np_metric_label *labels,
			     uint64_t value);
NP_API void np_metrics_real(struct np_metrics *m, const struct np_metric_label *labels,
			    double value);

#ifdef __cplusplus
}
#endif
#endif

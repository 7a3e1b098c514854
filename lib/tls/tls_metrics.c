/* SPDX-License-Identifier: BSD-2-Clause */
/* tls_metrics: what contexts have counted, each family with a sample of each. */
#include <netpoll/metrics.h>
#include <stddef.h>

#include "tls/tls.h"

#define FACT(member, name, type, help)                                  \
	{                                                               \
		name, type, help, offsetof(struct np_tls_stats, member) \
	}

static const struct {
	const char *name;
	int type;
	const char *help;
	size_t offset;
} facts[] = {
	FACT(handshakes, "np_tls_handshakes", NP_METRIC_COUNTER,
	     "TLS handshakes that were completed."),
	FACT(resumed, "np_tls_resumed", NP_METRIC_COUNTER, "Of these, by a ticket."),
	FACT(failed, "np_tls_failed", NP_METRIC_COUNTER,
	     "TLS handshakes that were not completed, of whatever reason."),
	FACT(not_tls, "np_tls_not_tls", NP_METRIC_COUNTER,
	     "Of the failed: the peer's first bytes were no TLS."),
	FACT(refused, "np_tls_refused", NP_METRIC_COUNTER,
	     "Of the failed: the peer's certificate was refused."),
	FACT(crowded, "np_tls_crowded", NP_METRIC_COUNTER,
	     "Of the failed: there were max_handshakes already."),
	FACT(under_way, "np_tls_handshakes_under_way", NP_METRIC_GAUGE, "TLS handshakes, now."),
	FACT(offloaded, "np_tls_offloaded", NP_METRIC_COUNTER,
	     "Steps of handshakes that a worker has made."),
	FACT(cut, "np_tls_cut", NP_METRIC_COUNTER,
	     "TLS connections that ended without close_notify."),
	FACT(reloads, "np_tls_reloads", NP_METRIC_COUNTER,
	     "Times that certificates were read anew."),
	FACT(not_after, "np_tls_certificate_not_after_seconds", NP_METRIC_GAUGE,
	     "When the first of the certificates expires, in seconds of time(2)."),
};

static void tls_metrics_sample(struct np_metrics *m, size_t fact, struct np_tls *t,
			       const char *name)
{
	const struct np_metric_label labels[] = { { "context", name }, { 0 } };
	struct np_tls_stats st = { .sz = sizeof st };

	if (!t || np_tls_stats(t, &st) < 0)
		return;
	np_metrics_count(m, name ? labels : NULL,
			 *(const uint64_t *)((const char *)&st + facts[fact].offset));
}

void np_tls_metrics(struct np_metrics *m, struct np_tls *const *t, const char *const *names,
		    unsigned n)
{
	for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
		np_metrics_family(m, facts[i].name, facts[i].type, facts[i].help);
		for (unsigned k = 0; k < n; k++)
			tls_metrics_sample(m, i, t[k], names ? names[k] : NULL);
	}
}

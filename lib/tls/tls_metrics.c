/* SPDX-License-Identifier: BSD-2-Clause */
/* tls_metrics: what contexts have counted, each family with a sample of each. */
#include <netpoll/metrics.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

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

/* Contexts, and what their program calls them. */
struct tls_metrics_of {
	struct np_tls *const *t;
	const char *const *names; /* NULL: none has a name */
	unsigned n;
};

static const char *tls_metrics_given(const struct tls_metrics_of *of, unsigned k)
{
	return of->names ? of->names[k] : NULL;
}

static bool tls_metrics_is_alone(const struct tls_metrics_of *of)
{
	unsigned n = 0;

	for (unsigned i = 0; i < of->n; i++)
		n += of->t[i] != NULL;
	return n == 1;
}

/* One before it has the same name. */
static bool tls_metrics_is_taken(const struct tls_metrics_of *of, unsigned k)
{
	const char *name = tls_metrics_given(of, k);

	for (unsigned i = 0; i < k; i++)
		if (of->t[i] && tls_metrics_given(of, i) && !strcmp(tls_metrics_given(of, i), name))
			return true;
	return false;
}

/*
 * What tells the k-th from the others: its name; its number in the list where it has none; both
 * where another has that name, since a sample that comes twice makes the whole page unreadable.
 * Return: NULL: there is no other.
 */
static const char *tls_metrics_label(const struct tls_metrics_of *of, unsigned k, char *buf,
				     size_t size)
{
	const char *name = tls_metrics_given(of, k);

	if (!name && tls_metrics_is_alone(of))
		return NULL;
	if (!name)
		snprintf(buf, size, "%u", k);
	else if (tls_metrics_is_taken(of, k))
		snprintf(buf, size, "%.*s %u", (int)size - 12, name, k);
	else
		return name;
	return buf;
}

static void tls_metrics_sample(struct np_metrics *m, size_t fact, const struct tls_metrics_of *of,
			       unsigned k)
{
	char buf[128];
	const char *label = tls_metrics_label(of, k, buf, sizeof buf);
	const struct np_metric_label labels[] = { { "context", label }, { 0 } };
	struct np_tls_stats st = { .sz = sizeof st };

	if (np_tls_stats(of->t[k], &st) == 0)
		np_metrics_count(m, label ? labels : NULL,
				 *(const uint64_t *)((const char *)&st + facts[fact].offset));
}

void np_tls_metrics(struct np_metrics *m, struct np_tls *const *t, const char *const *names,
		    unsigned n)
{
	const struct tls_metrics_of of = { t, names, n };

	for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
		np_metrics_family(m, facts[i].name, facts[i].type, facts[i].help);
		for (unsigned k = 0; k < n; k++)
			if (t[k])
				tls_metrics_sample(m, i, &of, k);
	}
}

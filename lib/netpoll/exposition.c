/* SPDX-License-Identifier: BSD-2-Clause */
/* exposition: lines of a family. */
#include "netpoll/exposition.h"

#include <inttypes.h>
#include <string.h>

#include "netpoll/sheet.h"
#include "poll/histogram.h"

static bool exposition_is_open(const struct exposition *e)
{
	return e->format == NP_METRICS_OPENMETRICS;
}

/* What is added to a counter's name, in its samples and, in the older format, in its family's. */
static const char *exposition_suffix(const struct exposition *e)
{
	return !strcmp(e->type, COUNTER) ? "_total" : "";
}

void exposition_family(struct exposition *e, const char *name, const char *type, const char *help)
{
	const char *suffix;

	e->name = name;
	e->type = type;
	suffix = exposition_is_open(e) ? "" : exposition_suffix(e);
	fprintf(e->to, "# HELP %s%s %s\n# TYPE %s%s %s\n", name, suffix, help, name, suffix, type);
}

/* As in a dump: for one byte that is no UTF-8 Prometheus would throw all of the answer away. */
static void exposition_value(FILE *to, const char *value)
{
	const unsigned char *p = (const unsigned char *)value;

	while (*p) {
		unsigned n = sheet_character(p);

		if (*p == '"' || *p == '\\')
			fputc('\\', to);
		if (!n)
			fputc('?', to);
		fwrite(p, 1, n, to);
		p += n ? n : 1;
	}
}

static void exposition_name(struct exposition *e, const struct label *labels)
{
	fprintf(e->to, "%s%s", e->name, exposition_suffix(e));
	for (const struct label *l = labels; l && l->name; l++) {
		fprintf(e->to, "%s%s=\"", l == labels ? "{" : ",", l->name);
		exposition_value(e->to, l->value);
		fputc('"', e->to);
	}
	if (labels && labels->name)
		fputc('}', e->to);
	fputc(' ', e->to);
}

void exposition_count(struct exposition *e, const struct label *labels, uint64_t value)
{
	exposition_name(e, labels);
	fprintf(e->to, "%" PRIu64 "\n", value);
}

void exposition_seconds(struct exposition *e, const struct label *labels, double value)
{
	exposition_name(e, labels);
	fprintf(e->to, "%.6f\n", value);
}

/* Of each two buckets one line: a half of an octave is wide enough for a picture. */
void exposition_histogram(struct exposition *e, const struct histogram *h)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < HISTOGRAM_BUCKETS - 1u; i++) {
		n += h->bucket[i];
		if (i % 2u)
			fprintf(e->to, "%s_bucket{le=\"%.6f\"} %" PRIu64 "\n", e->name,
				(double)histogram_below_us(i) / 1e6, n);
	}
	n += h->bucket[HISTOGRAM_BUCKETS - 1u];
	fprintf(e->to, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", e->name, n);
	fprintf(e->to, "%s_count %" PRIu64 "\n%s_sum %.6f\n", e->name, n, e->name,
		(double)h->sum_us / 1e6);
}

void exposition_end(struct exposition *e)
{
	if (exposition_is_open(e))
		fputs("# EOF\n", e->to);
}

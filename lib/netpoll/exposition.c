/* SPDX-License-Identifier: BSD-2-Clause */
/* exposition: lines of a family; of what cannot be written the end tells, and gives no page. */
#include "netpoll/exposition.h"

#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "netpoll/linkbuf.h"
#include "netpoll/sheet.h"
#include "poll/histogram.h"
#include "sys/text.h"

static bool exposition_is_open(const struct np_metrics *m)
{
	return m->format == NP_METRICS_OPENMETRICS;
}

static void exposition_fail(struct np_metrics *m)
{
	m->error = m->error ? m->error : -EINVAL;
}

/* ------------------------------------------------------------------ text */

/* [a-zA-Z_][a-zA-Z0-9_]*, and of a family colons too. */
static bool exposition_is_name(const char *name, bool family)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
	size_t n;

	if (!name || !*name || (*name >= '0' && *name <= '9'))
		return false;
	for (n = 0; name[n]; n++)
		if (!strchr(letters, name[n]) && !(name[n] >= '0' && name[n] <= '9') &&
		    !(family && name[n] == ':'))
			return false;
	return true;
}

/* As in a dump: for one byte that is no UTF-8 Prometheus would throw all of the page away. */
static void exposition_text(FILE *to, const char *text, bool quoted)
{
	const unsigned char *p = (const unsigned char *)text;

	for (unsigned n; *p; p += n ? n : 1) {
		n = sheet_character(p);
		if (*p == '\\' || (quoted && *p == '"'))
			fputc('\\', to);
		if (!n)
			fputc('?', to);
		fwrite(p, 1, n, to);
	}
}

#define DECIMALS 6

/* "1.500000", whatever the program's locale has for the point. */
static void exposition_real(FILE *to, double value)
{
	char text[DBL_MAX_10_EXP + DECIMALS + 32];
	int n = snprintf(text, sizeof text, "%.*f", DECIMALS, value);

	if (isnan(value))
		fputs("NaN", to);
	else if (isinf(value))
		fputs(value < 0 ? "-Inf" : "+Inf", to);
	else
		fprintf(to, "%.*s.%s", (int)strspn(text, "-0123456789"), text, text + n - DECIMALS);
}

/* ------------------------------------------------------------------ families and samples */

static void exposition_family(struct np_metrics *m, const char *name, const char *type,
			      const char *suffix, const char *help)
{
	const char *head = exposition_is_open(m) ? "" : suffix;

	m->name = name;
	m->suffix = suffix;
	fprintf(m->to, "# HELP %s%s ", name, head);
	exposition_text(m->to, help, exposition_is_open(m));
	fprintf(m->to, "\n# TYPE %s%s %s\n", name, head, type);
}

void np_metrics_family(struct np_metrics *m, const char *name, int type, const char *help)
{
	if (!exposition_is_name(name, true) || !help || (unsigned)type > NP_METRIC_GAUGE)
		exposition_fail(m);
	else if (type == NP_METRIC_COUNTER)
		exposition_family(m, name, "counter", "_total", help);
	else
		exposition_family(m, name, "gauge", "", help);
}

static void exposition_sample(struct np_metrics *m, const struct np_metric_label *labels)
{
	const struct np_metric_label *l = labels;

	fprintf(m->to, "%s%s", m->name, m->suffix);
	for (; l && l->name; l++) {
		if (!exposition_is_name(l->name, false) || !l->value) {
			exposition_fail(m);
			return;
		}
		fprintf(m->to, "%s%s=\"", l == labels ? "{" : ",", l->name);
		exposition_text(m->to, l->value, true);
		fputc('"', m->to);
	}
	fputs(l != labels ? "} " : " ", m->to);
}

void np_metrics_count(struct np_metrics *m, const struct np_metric_label *labels, uint64_t value)
{
	if (!m->name) {
		exposition_fail(m);
		return;
	}
	exposition_sample(m, labels);
	fprintf(m->to, "%" PRIu64 "\n", value);
}

void np_metrics_real(struct np_metrics *m, const struct np_metric_label *labels, double value)
{
	if (!m->name) {
		exposition_fail(m);
		return;
	}
	exposition_sample(m, labels);
	exposition_real(m->to, value);
	fputc('\n', m->to);
}

static void exposition_bucket(FILE *to, const char *name, double below, uint64_t n)
{
	fprintf(to, "%s_bucket{le=\"", name);
	exposition_real(to, below);
	fprintf(to, "\"} %" PRIu64 "\n", n);
}

/* Of each two buckets one line: a half of an octave is wide enough for a picture. */
void exposition_histogram(struct np_metrics *m, const char *name, const char *help,
			  const struct histogram *h)
{
	uint64_t n = 0;

	exposition_family(m, name, "histogram", "", help);
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS - 1u; i++) {
		n += h->bucket[i];
		if (i % 2u)
			exposition_bucket(m->to, name, (double)histogram_below_us(i) / 1e6, n);
	}
	n += h->bucket[HISTOGRAM_BUCKETS - 1u];
	exposition_bucket(m->to, name, INFINITY, n);
	fprintf(m->to, "%s_count %" PRIu64 "\n%s_sum ", name, n, name);
	exposition_real(m->to, (double)h->sum_us / 1e6);
	fputc('\n', m->to);
}

/* ------------------------------------------------------------------ a page */

int exposition_open(struct np_metrics *m, enum np_metrics_format format)
{
	*m = (struct np_metrics){ .format = format };
	m->to = open_memstream(&m->text, &m->n);
	return m->to ? 0 : -ENOMEM;
}

int exposition_close(struct np_metrics *m, char **ret, size_t *ret_n)
{
	if (exposition_is_open(m))
		fputs("# EOF\n", m->to);
	if (sys_text_close(m->to, &m->text) < 0 && !m->error)
		m->error = -ENOMEM;
	if (m->error) {
		free(m->text);
		return m->error;
	}
	*ret = m->text;
	*ret_n = m->n;
	return 0;
}

int np_metrics_begin(struct np_linkbuf *b, int format, struct np_metrics **ret)
{
	struct np_metrics *m;

	if (!b || !ret || (unsigned)format > NP_METRICS_TEXT)
		return -EINVAL;
	m = malloc(sizeof *m);
	if (!m || exposition_open(m, (enum np_metrics_format)format) < 0) {
		free(m);
		return -ENOMEM;
	}
	m->b = b;
	*ret = m;
	return 0;
}

int np_metrics_end(struct np_metrics **m)
{
	char *text;
	size_t n;
	int r = exposition_close(*m, &text, &n);

	if (r == 0) {
		r = np_linkbuf_write((*m)->b, text, n);
		free(text);
	}
	free(*m);
	*m = NULL;
	return r;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* writer: room grows from one reply's worth to a block's. */
#include "writer.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "number.h"

#define CHUNK_FIRST 512u
#define CHUNK_LAST  16384u

void writer_open(struct writer *w, struct np_linkbuf *b, bool resp3)
{
	*w = (struct writer){ .b = b, .chunk = CHUNK_FIRST, .resp3 = resp3 };
}

int writer_close(struct writer *w)
{
	if (w->end > w->p)
		np_linkbuf_trim(w->b, np_linkbuf_pending(w->b) - (size_t)(w->end - w->p));
	w->done += (size_t)(w->p - w->begin);
	w->begin = w->p = w->end = NULL;
	return w->error;
}

bool writer_grow(struct writer *w, size_t n)
{
	void *p;
	int r;

	writer_close(w);
	if (w->error)
		return false;
	if (n < w->chunk)
		n = w->chunk;
	r = np_linkbuf_reserve(w->b, n, &p);
	if (r < 0) {
		w->error = r;
		return false;
	}
	w->begin = w->p = p;
	w->end = w->p + n;
	w->chunk = w->chunk < CHUNK_LAST ? 2 * w->chunk : CHUNK_LAST;
	return true;
}

void writer_head(struct writer *w, char type, int64_t n)
{
	if (!writer_room(w, NUMBER_MAX + 3))
		return;
	*w->p++ = type;
	if (n >= 0 && n < 10)
		*w->p++ = (char)('0' + n);
	else
		w->p += number_write(w->p, n);
	*w->p++ = '\r';
	*w->p++ = '\n';
}

void writer_bulk(struct writer *w, const void *p, size_t n)
{
	if (!writer_room(w, n + NUMBER_MAX + 5))
		return;
	writer_head(w, '$', (int64_t)n);
	memcpy(w->p, p, n);
	w->p += n;
	*w->p++ = '\r';
	*w->p++ = '\n';
}

void writer_bulk_ref(struct writer *w, const void *p, size_t n, void (*done)(void *), void *arg)
{
	int r;

	writer_head(w, '$', (int64_t)n);
	writer_close(w);
	r = w->error ? w->error : np_linkbuf_write_ref(w->b, p, n, done, arg);
	if (r < 0) {
		w->error = r;
		done(arg);
		return;
	}
	w->done += n;
	writer_text(w, "\r\n");
}

void writer_append(struct writer *w, struct np_linkbuf **b)
{
	size_t n;

	writer_close(w);
	np_linkbuf_flush(*b);
	n = np_linkbuf_len(*b);
	w->error = w->error ? w->error : np_linkbuf_append(w->b, b);
	if (w->error)
		np_linkbuf_free(b);
	else
		w->done += n;
}

/* As Redis 7.0 has it: 17 digits, as few as they need. */
void writer_float(struct writer *w, double v)
{
	char text[64];
	int n = isinf(v) ? snprintf(text, sizeof text, v > 0 ? "inf" : "-inf") :
			   snprintf(text, sizeof text, "%.17g", v);

	if (!w->resp3) {
		writer_bulk(w, text, (size_t)n);
		return;
	}
	writer_text(w, ",");
	writer_raw(w, text, (size_t)n);
	writer_text(w, "\r\n");
}

/* A line: what a client has sent may be in it, and no CR or LF of that. */
void writer_error(struct writer *w, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (n >= (int)sizeof text)
		n = sizeof text - 1;
	for (int i = 0; i < n; i++)
		if (text[i] == '\r' || text[i] == '\n')
			text[i] = ' ';
	writer_text(w, "-");
	writer_raw(w, text, (size_t)n);
	writer_text(w, "\r\n");
}

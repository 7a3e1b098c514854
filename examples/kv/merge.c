/* SPDX-License-Identifier: BSD-2-Clause */
/* merge: answers of our own commands, so their form is known. */
#include "merge.h"

#include <errno.h>
#include <string.h>

#include "number.h"

#define COPY_MAX 4096u

void merge_open(struct merged *m, struct writer *w)
{
	memset(m, 0, sizeof *m);
	m->w = w;
}

static int merge_move(struct np_linkbuf *from, size_t n, struct writer *w)
{
	struct np_linkbuf *part;

	if (n <= COPY_MAX) {
		if (!writer_room(w, n))
			return w->error;
		np_linkbuf_copy(from, w->p, n);
		w->p += n;
		return 0;
	}
	if (np_linkbuf_slice(from, n, &part) < 0)
		return -ENOMEM;
	writer_append(w, &part);
	return w->error;
}

/* The line that an answer begins with. Return: its length, CR LF included. */
static size_t merge_line(const char *p, size_t n)
{
	const char *end = memchr(p, '\n', n);

	return end ? (size_t)(end - p) + 1 : n;
}

static void merge_keep(struct merged *m, const char *p, size_t n)
{
	if (m->n_line || n > sizeof m->line)
		return;
	memcpy(m->line, p, n);
	m->n_line = n;
}

static int merge_list(struct merged *m, struct np_linkbuf *from, size_t n)
{
	struct np_linkbuf *part;
	const void *p;
	size_t head;
	int64_t count = 0;
	int r = np_linkbuf_peek(from, n < 32 ? n : 32, &p);

	if (r == 0 && !m->list)
		r = np_linkbuf_new(0, &m->list);
	if (r < 0)
		return r;
	head = merge_line(p, n < 32 ? n : 32);
	number_parse((const char *)p + 1, head - 3, &count);
	np_linkbuf_skip(from, head);
	r = np_linkbuf_slice(from, n - head, &part);
	if (r < 0)
		return r;
	m->n += (size_t)count;
	return np_linkbuf_append(m->list, &part);
}

/* A key that is too long to be kept is the answer at once. */
static int merge_some(struct merged *m, const char *p, size_t n)
{
	if (m->n_line || m->long_line || !memcmp(p, "$-1\r\n", 3) || *p == '_')
		return 0;
	merge_keep(m, p, n);
	if (!m->n_line) {
		writer_raw(m->w, p, n);
		m->long_line = true;
	}
	return m->w->error;
}

static int merge_small(struct merged *m, enum merge how, const char *p, size_t n)
{
	int64_t v = 0;

	if (how == MERGE_SOME)
		return merge_some(m, p, n);
	if (how == MERGE_COUNTS)
		return info_add(&m->counts, p, n);
	if (*p == '-')
		merge_keep(m, p, n);
	else if (how == MERGE_SUM && number_parse(p + 1, n - 3, &v) == 0)
		m->sum += v;
	return 0;
}

int merge_take(struct merged *m, enum merge how, struct np_linkbuf *from, size_t n)
{
	const void *p;
	int r;

	if (!n)
		return 0;
	if (how == MERGE_NONE)
		return merge_move(from, n, m->w);
	if (how == MERGE_LIST)
		return merge_list(m, from, n);
	r = np_linkbuf_next(from, n, &p);
	return r < 0 ? r : merge_small(m, how, p, n);
}

static void merge_write(struct merged *m, enum merge how)
{
	if (m->n_line)
		writer_raw(m->w, m->line, m->n_line);
	else if (how == MERGE_SUM)
		writer_int(m->w, m->sum);
	else if (how == MERGE_OK)
		writer_ok(m->w);
	else if (how == MERGE_SOME && !m->long_line)
		writer_nil(m->w);
	else if (how == MERGE_COUNTS)
		info_write(&m->counts, m->w);
}

int merge_close(struct merged *m, enum merge how)
{
	struct writer *w = m->w;

	if (how == MERGE_LIST) {
		writer_array(w, m->n);
		if (m->list)
			writer_append(w, &m->list);
	} else {
		merge_write(m, how);
	}
	merge_fini(m);
	merge_open(m, w);
	return w->error;
}

void merge_fini(struct merged *m)
{
	np_linkbuf_free(&m->list);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * writer: replies into a buffer, as RESP2 or RESP3
 *
 * It writes into room that it has reserved; what is left of that is given back by writer_close(),
 * before anybody else writes to the buffer, or reads its length. Without memory it writes no more,
 * and says so then.
 */
#ifndef KV_WRITER_H
#define KV_WRITER_H

#include <netpoll/linkbuf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct writer {
	struct np_linkbuf *b;
	char *begin, *p, *end; /* of the room; p moves */
	size_t chunk;          /* the size of the next one */
	size_t done;           /* bytes that were written before this room */
	int error;
	bool resp3;
};

void writer_open(struct writer *w, struct np_linkbuf *b, bool resp3);
/* Return: 0; -ENOMEM: something is missing. */
int writer_close(struct writer *w);
/* Room of at least @n. Return: false: no memory. */
bool writer_grow(struct writer *w, size_t n);

static inline bool writer_room(struct writer *w, size_t n)
{
	return n <= (size_t)(w->end - w->p) || writer_grow(w, n);
}

/* Bytes written since writer_open(). */
static inline size_t writer_count(const struct writer *w)
{
	return w->done + (size_t)(w->p - w->begin);
}

static inline void writer_raw(struct writer *w, const void *p, size_t n)
{
	if (writer_room(w, n)) {
		memcpy(w->p, p, n);
		w->p += n;
	}
}

/* A literal, CR LF included. */
#define writer_text(w, literal) writer_raw(w, literal, sizeof(literal) - 1)

/* A type's byte, a number, CR LF. */
void writer_head(struct writer *w, char type, int64_t n);
void writer_bulk(struct writer *w, const void *p, size_t n);
/* Bytes of the caller's: done(arg) as np_linkbuf_write_ref() says, also where it fails. */
void writer_bulk_ref(struct writer *w, const void *p, size_t n, void (*done)(void *), void *arg);
void writer_float(struct writer *w, double v);
void writer_error(struct writer *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* All of @b, which is taken. */
void writer_append(struct writer *w, struct np_linkbuf **b);

static inline void writer_int(struct writer *w, int64_t n)
{
	writer_head(w, ':', n);
}

static inline void writer_ok(struct writer *w)
{
	writer_text(w, "+OK\r\n");
}

static inline void writer_array(struct writer *w, size_t n)
{
	writer_head(w, '*', (int64_t)n);
}

static inline void writer_map(struct writer *w, size_t pairs)
{
	writer_head(w, w->resp3 ? '%' : '*', (int64_t)(w->resp3 ? pairs : 2 * pairs));
}

static inline void writer_set(struct writer *w, size_t n)
{
	writer_head(w, w->resp3 ? '~' : '*', (int64_t)n);
}

static inline void writer_push(struct writer *w, size_t n)
{
	writer_head(w, w->resp3 ? '>' : '*', (int64_t)n);
}

static inline void writer_nil(struct writer *w)
{
	if (w->resp3)
		writer_text(w, "_\r\n");
	else
		writer_text(w, "$-1\r\n");
}

static inline void writer_nil_array(struct writer *w)
{
	if (w->resp3)
		writer_text(w, "_\r\n");
	else
		writer_text(w, "*-1\r\n");
}

static inline void writer_str(struct writer *w, const char *s)
{
	writer_bulk(w, s, strlen(s));
}

static inline void writer_not_integer(struct writer *w)
{
	writer_text(w, "-ERR value is not an integer or out of range\r\n");
}

static inline void writer_syntax_error(struct writer *w)
{
	writer_text(w, "-ERR syntax error\r\n");
}

static inline void writer_wrong_type(struct writer *w)
{
	writer_text(w, "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n");
}

#endif

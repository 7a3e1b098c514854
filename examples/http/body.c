/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * body: by its length, or by chunks
 *
 * in_chunk   left    what comes next
 *   no         0     the line of a chunk's size: chunk_begin()
 *   yes       > 0    bytes
 *   yes        0     CRLF: chunk_end()
 */
#include "body.h"

#include <errno.h>
#include <netpoll/pollers.h>
#include <string.h>

#include "clock.h"
#include "hex.h"

int body_init(struct body *b, struct np_conn *c, const struct request *rq, uint64_t max,
	      uint64_t until_ms)
{
	*b = (struct body){
		.conn = c,
		.left = rq->length,
		.max = max,
		.until_ms = until_ms,
		.chunked = rq->chunked,
		.ended = !request_has_body(rq),
		.expects = rq->expects,
	};
	return rq->length > max ? 413 : 0;
}

/* Up to CRLF, which *ret_n counts. */
static int read_line(struct body *b, size_t max, const char **ret, size_t *ret_n)
{
	const void *p;
	size_t n;
	int r = np_conn_until(b->conn, '\n', max, &p, &n);

	if (r == -NP_ETOOLONG)
		return -EBADMSG;
	if (r < 0)
		return r;
	*ret = p;
	*ret_n = n;
	return n < 2 || (*ret)[n - 2] != '\r' ? -EBADMSG : 0;
}

/* ------------------------------------------------------------------ chunks */

/* "1a2b" and then the end of the line, or ";" and extensions, which hold no bare CR. */
static int parse_size(const char *p, size_t n, uint64_t *ret)
{
	uint64_t size = 0;
	size_t i = 0;

	for (; i < n && hex_digit(p[i]) >= 0; i++) {
		if (size >> 60)
			return -EBADMSG;
		size = size << 4 | (uint64_t)hex_digit(p[i]);
	}
	if (!i || memchr(p, '\r', n) != p + n - 2)
		return -EBADMSG;
	if (p[i] != '\r' && p[i] != ';')
		return -EBADMSG;
	*ret = size;
	return 0;
}

/* Lines that are thrown away, and the empty one. */
static int skip_trailers(struct body *b)
{
	size_t left = TRAILERS_MAX, n;
	const char *line;
	int r;

	do {
		r = read_line(b, left, &line, &n);
		if (r < 0)
			return r;
		left -= n;
	} while (n > 2 && left);
	b->ended = n == 2;
	return n == 2 ? 0 : -EBADMSG;
}

static int chunk_begin(struct body *b)
{
	const char *line;
	size_t n;
	int r = read_line(b, CHUNK_LINE_MAX, &line, &n);

	if (r == 0)
		r = parse_size(line, n, &b->left);
	if (r < 0)
		return r;
	if (!b->left)
		return skip_trailers(b);
	b->in_chunk = true;
	return b->left > b->max - b->total ? -EFBIG : 0;
}

static int chunk_end(struct body *b)
{
	const void *p;
	int r = np_conn_next(b->conn, 2, &p);

	if (r < 0)
		return r;
	b->in_chunk = false;
	return memcmp(p, "\r\n", 2) ? -EBADMSG : 0;
}

/* ------------------------------------------------------------------ all of it */

static int tell_to_go_on(struct body *b)
{
	static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
	int r = 0;

	if (b->expects && !np_conn_len(b->conn)) {
		r = np_conn_write(b->conn, text, sizeof text - 1);
		if (r == 0)
			r = np_conn_flush(b->conn);
	}
	b->expects = false;
	return r;
}

static int advance(struct body *b)
{
	int r = tell_to_go_on(b);

	if (r == 0 && b->in_chunk && !b->left)
		r = chunk_end(b);
	if (r == 0 && b->chunked && !b->in_chunk)
		r = chunk_begin(b);
	if (r == 0 && !b->ended)
		r = np_conn_wait(b->conn, 1);
	return r;
}

static int advance_in_time(struct body *b)
{
	uint64_t now, outer;
	int r;

	if (!b->until_ms)
		return advance(b);
	now = clock_ms();
	r = np_deadline(now < b->until_ms ? (int)(b->until_ms - now) : NP_NOW, &outer);
	if (r < 0)
		return r;
	r = advance(b);
	np_deadline_restore(outer);
	return r;
}

int body_wait(struct body *b, size_t *ret)
{
	size_t n;
	int r;

	*ret = 0;
	if (b->ended)
		return 0;
	r = advance_in_time(b);
	if (r < 0 || b->ended)
		return r;
	n = np_conn_len(b->conn);
	if (n > b->left)
		n = (size_t)b->left;
	b->left -= n;
	b->total += n;
	b->ended = !b->chunked && !b->left;
	*ret = n;
	return 0;
}

int body_status(int error)
{
	switch (error) {
	case -EBADMSG:
	case -NP_EEOF:
		return 400;
	case -EFBIG:
		return 413;
	case -ETIMEDOUT:
	case -NP_EREADTIMEOUT:
		return 408;
	default:
		return 0;
	}
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * response: heads are put together by hand, straight in the output; printf(3) costs more than all
 * the rest of a short answer.
 */
#include "response.h"

#include <errno.h>
#include <netpoll/linkbuf.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "status.h"

#define HEAD_ROOM 512u        /* the status line and the headers of all answers */
#define COPY_MAX  (32u << 10) /* so much of a file is read rather than sent by sendfile(2) */
#define MOVE_MIN  4096u       /* so much input is moved rather than copied */

#define PUT(at, literal) mempcpy(at, literal, sizeof literal - 1)

static char *put(char *at, const char *s)
{
	return mempcpy(at, s, strlen(s));
}

static char *put_number(char *at, uint64_t n)
{
	char digits[20], *p = digits + sizeof digits;

	do
		*--p = (char)('0' + n % 10);
	while (n /= 10);
	return mempcpy(at, p, (size_t)(digits + sizeof digits - p));
}

static char *put_length(char *at, uint64_t n)
{
	at = PUT(at, "Content-Length: ");
	at = put_number(at, n);
	return PUT(at, "\r\n\r\n");
}

static void fail(struct response *rs, int r)
{
	if (r < 0 && !rs->error)
		rs->error = r;
}

/* HEAD_ROOM has room for all of it. */
static char *put_start(struct response *rs, char *at, int status, const char *type)
{
	rs->status = status;
	rs->close |= np_conn_draining(rs->conn);
	at = PUT(at, "HTTP/1.1 ");
	at = put(at, status_text(status));
	at = PUT(at, "\r\nDate: ");
	at = mempcpy(at, clock_date(), DATE_LEN);
	at = PUT(at, "\r\nX-Content-Type-Options: nosniff\r\n");
	if (rs->close)
		at = PUT(at, "Connection: close\r\n");
	else if (rs->is_1_0)
		at = PUT(at, "Connection: keep-alive\r\n");
	if (!type)
		return at;
	at = PUT(at, "Content-Type: ");
	at = put(at, type);
	return PUT(at, "\r\n");
}

/* The output's next @n bytes, to be filled as far as needed. */
static char *reserve(struct response *rs, size_t n)
{
	void *p = NULL;

	if (!rs->error)
		fail(rs, np_conn_reserve(rs->conn, n, &p));
	return p;
}

static void commit(struct response *rs, const char *from, const char *to)
{
	fail(rs, np_conn_commit(rs->conn, (size_t)(to - from)));
}

/* ------------------------------------------------------------------ whole answers */

void response_text(struct response *rs, int status, const char *type, const char *text, size_t n)
{
	char *start = reserve(rs, HEAD_ROOM + n), *at;

	if (!start)
		return;
	at = put_start(rs, start, status, type);
	at = put_length(at, n);
	if (!rs->is_head) {
		at = mempcpy(at, text, n);
		rs->bytes = n;
	}
	commit(rs, start, at);
}

void response_status(struct response *rs, int status)
{
	response_status_with(rs, status, NULL, NULL);
}

void response_status_with(struct response *rs, int status, const char *name, const char *value)
{
	char text[64];
	int n = snprintf(text, sizeof text, "%s\n", status_text(status));

	response_start(rs, status, "text/plain");
	if (name)
		response_field(rs, name, value);
	response_length(rs, (uint64_t)n);
	response_write(rs, text, (size_t)n);
}

/* ------------------------------------------------------------------ in parts */

static void write_out(struct response *rs, const void *p, size_t n)
{
	if (!rs->error)
		fail(rs, np_conn_write(rs->conn, p, n));
}

void response_start(struct response *rs, int status, const char *type)
{
	char *start = reserve(rs, HEAD_ROOM);

	if (start)
		commit(rs, start, put_start(rs, start, status, type));
}

void response_field(struct response *rs, const char *name, const char *value)
{
	write_out(rs, name, strlen(name));
	write_out(rs, ": ", 2);
	write_out(rs, value, strlen(value));
	write_out(rs, "\r\n", 2);
}

void response_length(struct response *rs, uint64_t n)
{
	char text[64];

	write_out(rs, text, (size_t)(put_length(text, n) - text));
}

void response_empty(struct response *rs)
{
	write_out(rs, "\r\n", 2);
}

void response_chunked(struct response *rs)
{
	static const char end[] = "Transfer-Encoding: chunked\r\n\r\n";

	rs->chunked = true;
	write_out(rs, end, sizeof end - 1);
}

/* ------------------------------------------------------------------ bodies */

static void chunk_begins(struct response *rs, size_t n)
{
	char text[24];

	if (rs->chunked)
		write_out(rs, text, (size_t)snprintf(text, sizeof text, "%zx\r\n", n));
}

static void chunk_ends(struct response *rs)
{
	if (rs->chunked)
		write_out(rs, "\r\n", 2);
}

void response_write(struct response *rs, const void *p, size_t n)
{
	if (rs->is_head || !n)
		return;
	chunk_begins(rs, n);
	write_out(rs, p, n);
	chunk_ends(rs);
	rs->bytes += n;
}

static int move_input(struct np_conn *c, size_t n)
{
	struct np_linkbuf *b;
	const void *p;
	int r;

	if (n < MOVE_MIN) {
		r = np_conn_next(c, n, &p);
		return r < 0 ? r : np_conn_write(c, p, n);
	}
	r = np_conn_slice(c, n, &b);
	if (r < 0)
		return r;
	r = np_conn_append(c, &b);
	np_linkbuf_free(&b); /* NULL, unless append() failed */
	return r;
}

void response_move(struct response *rs, size_t n)
{
	chunk_begins(rs, n);
	if (!rs->error)
		fail(rs, move_input(rs->conn, n));
	chunk_ends(rs);
	rs->bytes += n;
}

void response_append(struct response *rs, struct np_linkbuf **b)
{
	size_t n = np_linkbuf_len(*b) + np_linkbuf_pending(*b);

	if (rs->is_head || rs->error)
		return;
	fail(rs, np_conn_append(rs->conn, b));
	rs->bytes += n;
}

/* Of a file that is not long enough nothing is written. */
static int read_file(struct np_conn *c, int fd, off_t off, size_t n)
{
	size_t done = 0;
	void *p;
	ssize_t k = 1;
	int r = np_conn_reserve(c, n, &p);

	while (r == 0 && done < n && k > 0) {
		k = pread(fd, (char *)p + done, n - done, off + (off_t)done);
		done += k > 0 ? (size_t)k : 0;
		r = k < 0 ? -errno : 0;
	}
	return r < 0 ? r : done < n ? -ENODATA : 0;
}

void response_file(struct response *rs, int fd, off_t off, size_t n)
{
	if (rs->is_head || rs->error || !n)
		return;
	if (n <= COPY_MAX)
		fail(rs, read_file(rs->conn, fd, off, n));
	else
		fail(rs, np_conn_sendfile(rs->conn, fd, off, n));
	if (!rs->error)
		rs->bytes += n;
}

void response_flush(struct response *rs)
{
	if (!rs->error)
		fail(rs, np_conn_flush(rs->conn));
}

/* What was promised cannot come: a reset tells the peer that it has a part. */
static int end_in_error(struct response *rs)
{
	np_conn_trim(rs->conn, 0);
	if (rs->status)
		np_conn_abort(rs->conn);
	return rs->error;
}

int response_end(struct response *rs)
{
	if (rs->chunked && !rs->is_head)
		write_out(rs, "0\r\n\r\n", 5);
	response_flush(rs);
	if (rs->error)
		return end_in_error(rs);
	if (rs->close)
		np_conn_close(rs->conn);
	return 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* request: the parser's callbacks. The head is in one piece: each is called once for each part. */
#include "request.h"

#include <http_parser.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#define HEADER(name, field)                                            \
	{                                                              \
		name, sizeof name - 1, offsetof(struct request, field) \
	}

static const struct {
	const char *name;
	size_t n, field;
} headers[] = {
	HEADER("host", host),
	HEADER("user-agent", user_agent),
	HEADER("content-length", content_length),
	HEADER("transfer-encoding", transfer_encoding),
	HEADER("expect", expect),
	HEADER("range", range),
	HEADER("if-range", if_range),
	HEADER("if-match", if_match),
	HEADER("if-none-match", if_none_match),
	HEADER("if-modified-since", if_modified_since),
	HEADER("if-unmodified-since", if_unmodified_since),
	HEADER("referer", referer),
};

/* What a Host may be made of (RFC 3986, 3.2.2), its port included. */
/* clang-format off */
static const bool host_chars[256] = {
	['!'] = true, ['$' ... '.'] = true, ['0' ... ';'] = true, ['='] = true,
	['A' ... '['] = true, [']'] = true, ['_'] = true, ['a' ... 'z'] = true, ['~'] = true,
};
/* clang-format on */

bool text_is(struct text t, const char *s)
{
	return t.n == strlen(s) && !strncasecmp(t.p, s, t.n);
}

static int refuse(struct request *rq, int status)
{
	rq->status = status;
	return -1;
}

/* ------------------------------------------------------------------ what the parser tells */

static int on_target(http_parser *h, const char *p, size_t n)
{
	struct request *rq = h->data;

	rq->target = (struct text){ p, n };
	for (size_t i = 0; i < n; i++)
		if (p[i] <= ' ' || p[i] > '~' || p[i] == '#')
			return refuse(rq, 400);
	return 0;
}

static int is_version_ours(const http_parser *h)
{
	return h->http_major == 1 && h->http_minor <= 1;
}

static struct text *find_field(struct request *rq, const char *p, size_t n)
{
	for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
		if (headers[i].n == n && !strncasecmp(headers[i].name, p, n))
			return (struct text *)((char *)rq + headers[i].field);
	return NULL;
}

/* Of these a second one is an attack on the next hop. */
static bool is_single(const struct request *rq, const struct text *t)
{
	return t == &rq->host || t == &rq->content_length || t == &rq->transfer_encoding;
}

static int on_field(http_parser *h, const char *p, size_t n)
{
	struct request *rq = h->data;

	if (!is_version_ours(h))
		return refuse(rq, 505);
	if (memchr(p, ' ', n))
		return refuse(rq, 400);
	rq->value = find_field(rq, p, n);
	if (rq->value && rq->value->p) {
		if (is_single(rq, rq->value))
			return refuse(rq, 400);
		rq->value = NULL;
	}
	return 0;
}

static int on_value(http_parser *h, const char *p, size_t n)
{
	struct request *rq = h->data;

	while (n && (p[n - 1] == ' ' || p[n - 1] == '\t'))
		n--;
	if (rq->value)
		*rq->value = (struct text){ p, n };
	return 0;
}

/* 1: no body is to be looked for behind the head. */
static int on_headers(http_parser *h)
{
	return is_version_ours(h) ? 1 : refuse(h->data, 505);
}

static const http_parser_settings settings = {
	.on_url = on_target,
	.on_header_field = on_field,
	.on_header_value = on_value,
	.on_headers_complete = on_headers,
};

/* ------------------------------------------------------------------ what it says */

static int check_host(const struct request *rq)
{
	if (!rq->host.p)
		return rq->is_1_0 ? 0 : 400;
	for (size_t i = 0; i < rq->host.n; i++)
		if (!host_chars[(unsigned char)rq->host.p[i]])
			return 400;
	return 0;
}

/* The parser has read the number; what is around it has to be nothing. */
static int check_body(struct request *rq, const http_parser *h)
{
	if (rq->transfer_encoding.p) {
		if (rq->is_1_0 || rq->content_length.p)
			return 400;
		if (!text_is(rq->transfer_encoding, "chunked"))
			return 501;
		rq->chunked = true;
	}
	if (!rq->content_length.p)
		return 0;
	for (size_t i = 0; i < rq->content_length.n; i++)
		if (rq->content_length.p[i] < '0' || rq->content_length.p[i] > '9')
			return 400;
	rq->length = h->content_length;
	rq->has_length = true;
	return rq->content_length.n ? 0 : 400;
}

static int check_expect(struct request *rq)
{
	if (!rq->expect.p || rq->is_1_0)
		return 0;
	rq->expects = text_is(rq->expect, "100-continue");
	return rq->expects ? 0 : 417;
}

/* One blank before the target and one behind it; the parser takes more. */
static bool is_line_strict(const struct request *rq)
{
	size_t method = strlen(http_method_str(rq->method)), version = sizeof "HTTP/1.1" - 1;

	return rq->target.p == rq->line.p + method + 1 &&
	       rq->line.n == method + 1 + rq->target.n + 1 + version;
}

/* "/path?query", "http://host/path?query", "*" */
static int find_path(struct request *rq)
{
	struct http_parser_url url;
	struct text t = rq->target;
	const char *end;

	if (rq->method == HTTP_CONNECT)
		return 405;
	if (t.n == 1 && *t.p == '*')
		return rq->method == HTTP_OPTIONS ? (rq->path = t, 0) : 400;
	if (*t.p != '/') {
		http_parser_url_init(&url);
		if (http_parser_parse_url(t.p, t.n, 0, &url))
			return 400;
		if (!(url.field_set & 1 << UF_PATH)) {
			rq->path = (struct text){ "/", 1 };
			return 0;
		}
		t.p += url.field_data[UF_PATH].off;
		t.n = url.field_data[UF_PATH].len;
	}
	end = memchr(t.p, '?', t.n);
	rq->path = (struct text){ t.p, end ? (size_t)(end - t.p) : t.n };
	return 0;
}

static int check(struct request *rq, http_parser *h)
{
	int status;

	rq->method = h->method;
	rq->is_1_0 = h->http_minor == 0;
	rq->keep_alive = http_should_keep_alive(h);
	status = is_line_strict(rq) ? check_host(rq) : 400;
	if (!status)
		status = check_body(rq, h);
	if (!status)
		status = find_path(rq);
	return status ? status : check_expect(rq);
}

/* A word that could be a method, and one blank. */
static bool is_method_word(struct text line)
{
	size_t n = 0;

	while (n < line.n && line.p[n] > ' ' && line.p[n] < 127)
		n++;
	return n < line.n && line.p[n] == ' ';
}

static int status_of(const struct request *rq, enum http_errno e)
{
	return e == HPE_INVALID_METHOD && is_method_word(rq->line) ? 501 : 400;
}

void request_parse(struct request *rq, const char *head, size_t n)
{
	const char *lf = memchr(head, '\n', n);
	http_parser h;
	size_t done;

	memset(rq, 0, sizeof *rq);
	rq->line = (struct text){ head, lf ? (size_t)(lf - head) - 1 : n };
	http_parser_init(&h, HTTP_REQUEST);
	h.data = rq;
	done = http_parser_execute(&h, &settings, head, n);
	if (!rq->status && (HTTP_PARSER_ERRNO(&h) != HPE_OK || done != n))
		rq->status = status_of(rq, HTTP_PARSER_ERRNO(&h));
	if (!rq->status)
		rq->status = check(rq, &h);
}

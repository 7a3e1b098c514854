/* SPDX-License-Identifier: BSD-2-Clause */
/* http: a head, line by line; each answer says what a browser may do with it. */
#include "http.h"

#include <ctype.h>
#include <netpoll/conn.h>
#include <string.h>
#include <strings.h>

static const struct {
	int status;
	const char *text;
} statuses[] = {
	{ 200, "OK" },
	{ 400, "Bad Request" },
	{ 403, "Forbidden" },
	{ 404, "Not Found" },
	{ 405, "Method Not Allowed" },
	{ 421, "Misdirected Request" },
	{ 431, "Request Header Fields Too Large" },
	{ 503, "Service Unavailable" },
};

static const char *http_text(int status)
{
	for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
		if (statuses[i].status == status)
			return statuses[i].text;
	return "";
}

/* ------------------------------------------------------------------ answers */

/* Nothing of another origin, no frame, nothing kept: whatever the page is. */
int http_begin(struct np_conn *c, int status, const char *type, long length)
{
	int r = np_conn_printf(
		c,
		"HTTP/1.1 %d %s\r\nContent-Type: %s\r\nCache-Control: no-store\r\n"
		"X-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n"
		"Referrer-Policy: no-referrer\r\nCross-Origin-Resource-Policy: same-origin\r\n"
		"Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; "
		"connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
		"frame-ancestors 'none'\r\nConnection: close\r\n",
		status, http_text(status), type);

	if (r == 0 && status == 405)
		r = np_conn_printf(c, "Allow: GET, HEAD\r\n");
	if (r == 0 && length >= 0)
		r = np_conn_printf(c, "Content-Length: %ld\r\n", length);
	return r < 0 ? r : np_conn_write(c, "\r\n", 2);
}

int http_answer(struct np_conn *c, const struct http_request *q, int status, const char *type,
		const void *body, size_t n)
{
	int r = http_begin(c, status, type, (long)n);

	if (r == 0 && !q->head)
		r = np_conn_write(c, body, n);
	if (r == 0)
		r = np_conn_flush(c);
	np_conn_close(c);
	return r;
}

int http_say(struct np_conn *c, const struct http_request *q, int status, const char *sentence)
{
	return http_answer(c, q, status, "text/plain; charset=utf-8", sentence, strlen(sentence));
}

/* ------------------------------------------------------------------ a request */

/* @line up to @end, its next word, which a single space or the end closes. "": there is none. */
static const char *http_word(char **line)
{
	char *at = *line, *space = strchr(at, ' ');

	*line = space ? space + 1 : at + strlen(at);
	if (space)
		*space = '\0';
	return at;
}

static bool http_keep(char *dst, size_t cap, const char *value)
{
	size_t n = strlen(value);

	if (n >= cap)
		return false;
	memcpy(dst, value, n + 1);
	return true;
}

/* "GET /path?query HTTP/1.1". Return: 0, or the status of the error. */
static int http_parse_first(char *line, struct http_request *q)
{
	const char *method = http_word(&line), *path = http_word(&line), *version = line;

	if (strncmp(version, "HTTP/1.", 7) || (version[7] != '0' && version[7] != '1') ||
	    version[8] || *path != '/')
		return 400;
	q->head = !strcmp(method, "HEAD");
	if (!q->head && strcmp(method, "GET"))
		return 405;
	if (strcspn(path, "?") >= sizeof q->path)
		return 404;
	memcpy(q->path, path, strcspn(path, "?"));
	return 0;
}

/* One that comes twice could be read as either. */
static int http_parse_field(char *line, struct http_request *q)
{
	char *colon = strchr(line, ':'), *value, *end;
	char *dst = NULL;
	size_t cap = 0;

	if (!colon || colon == line || strcspn(line, " \t") < (size_t)(colon - line))
		return 400;
	*colon = '\0';
	value = colon + 1 + strspn(colon + 1, " \t");
	end = value + strlen(value);
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		*--end = '\0';
	if (!strcasecmp(line, "host"))
		dst = q->host, cap = sizeof q->host;
	else if (!strcasecmp(line, "origin"))
		dst = q->origin, cap = sizeof q->origin;
	else if (!strcasecmp(line, "sec-fetch-site"))
		dst = q->site, cap = sizeof q->site;
	else if (!strcasecmp(line, "accept"))
		dst = q->accept, cap = sizeof q->accept;
	return dst && (*dst || !*value || !http_keep(dst, cap, value)) ? 400 : 0;
}

/* Visible characters, spaces and tabs; the lines' ends apart. */
static bool http_is_text(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isprint((unsigned char)p[i]) && p[i] != '\t' && p[i] != '\r' && p[i] != '\n')
			return false;
	return true;
}

/* @head ends with an empty line. */
static int http_parse(char *head, size_t n, struct http_request *q)
{
	char *line = head, *end;
	int status = 0;

	if (!http_is_text(head, n))
		return 400;
	for (bool first = true; status == 0; first = false, line = end + 2) {
		end = strstr(line, "\r\n");
		*end = '\0';
		if (end == line)
			return first ? 400 : 0;
		if (strpbrk(line, "\r\n"))
			return 400;
		status = first ? http_parse_first(line, q) : http_parse_field(line, q);
	}
	return status;
}

int http_read(struct np_conn *c, struct http_request *ret)
{
	struct http_request q = { 0 };
	char head[HTTP_HEAD_MAX + 1];
	const void *p;
	int status, r;
	size_t n;

	r = np_conn_until_str(c, "\r\n\r\n", 4, HTTP_HEAD_MAX, &p, &n);
	if (r < 0 && r != -NP_ETOOLONG)
		return r;
	if (r == 0) {
		memcpy(head, p, n);
		head[n] = '\0';
		status = http_parse(head, n, &q);
	} else {
		status = 431;
	}
	*ret = q;
	if (!status)
		return 0;
	r = http_say(c, &q, status, "this answers GET and HEAD\n");
	return r < 0 ? r : 1;
}

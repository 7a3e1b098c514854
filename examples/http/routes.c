/* SPDX-License-Identifier: BSD-2-Clause */
/* routes: a table, and a function for each row. */
#include "routes.h"

#include <http_parser.h>
#include <stdio.h>
#include <string.h>

#include "files.h"
#include "metrics.h"

#define BIT(method) (1ull << HTTP_##method)
#define READ        (BIT(GET) | BIT(HEAD) | BIT(OPTIONS))
#define SEND        (BIT(POST) | BIT(PUT) | BIT(OPTIONS))

struct route {
	const char *path; /* NULL: any */
	size_t n;
	unsigned long long methods;
	void (*answer)(struct site *, const struct request *, struct body *, struct response *);
};

static void answer_hello(struct site *site, const struct request *rq, struct body *body,
			 struct response *rs)
{
	static const char text[] = "hello\n";

	response_text(rs, 200, "text/plain", text, sizeof text - 1);
}

/* An answer, if none has begun; the rest of the body is not looked for. */
static void answer_failed(struct response *rs, int r)
{
	int status = body_status(r);

	rs->close = true;
	if (!status || rs->status)
		rs->error = r;
	else
		response_status(rs, status);
}

static void start_echo(const struct request *rq, struct response *rs)
{
	response_start(rs, 200, "application/octet-stream");
	if (rq->chunked)
		response_chunked(rs);
	else
		response_length(rs, rq->length);
}

/* The answer begins with the first bytes of the body: what is wrong before has its status. */
static void answer_echo(struct site *site, const struct request *rq, struct body *body,
			struct response *rs)
{
	size_t n;
	int r;

	do {
		r = body_wait(body, &n);
		if (r < 0) {
			answer_failed(rs, r);
			return;
		}
		if (!rs->status)
			start_echo(rq, rs);
		if (!n)
			return;
		response_move(rs, n);
		response_flush(rs);
		np_conn_release(rs->conn);
	} while (!rs->error);
}

static void answer_upload(struct site *site, const struct request *rq, struct body *body,
			  struct response *rs)
{
	char text[32];
	size_t n;
	int r;

	while ((r = body_wait(body, &n)) == 0 && n) {
		np_conn_skip(rs->conn, n);
		np_conn_release(rs->conn);
	}
	if (r < 0) {
		answer_failed(rs, r);
		return;
	}
	r = snprintf(text, sizeof text, "%llu\n", (unsigned long long)body->total);
	response_text(rs, 200, "text/plain", text, (size_t)r);
}

static void answer_metrics(struct site *site, const struct request *rq, struct body *body,
			   struct response *rs)
{
	if (site->metrics)
		metrics_answer(site, rs);
	else
		response_status(rs, 404);
}

static void answer_file(struct site *site, const struct request *rq, struct body *body,
			struct response *rs)
{
	if (site->files.folder >= 0)
		files_answer(&site->files, rq, rs);
	else
		response_status(rs, 404);
}

#define ROUTE(path, methods, answer)                   \
	{                                              \
		path, sizeof path - 1, methods, answer \
	}

static const struct route routes[] = {
	ROUTE("/hello", READ, answer_hello),   ROUTE("/echo", SEND, answer_echo),
	ROUTE("/upload", SEND, answer_upload), ROUTE("/metrics", READ, answer_metrics),
	{ NULL, 0, READ, answer_file },
};

static const struct route *find_route(struct text path)
{
	const struct route *r = routes;

	while (r->path && (r->n != path.n || memcmp(r->path, path.p, r->n)))
		r++;
	return r;
}

static void answer_methods(const struct route *r, unsigned method, struct response *rs)
{
	const char *allow = r->methods == SEND ? "POST, PUT, OPTIONS" : "GET, HEAD, OPTIONS";

	if (method != HTTP_OPTIONS) {
		response_status_with(rs, 405, "Allow", allow);
		return;
	}
	response_start(rs, 204, NULL);
	response_field(rs, "Allow", allow);
	response_empty(rs);
}

void routes_answer(struct site *site, const struct request *rq, struct body *body,
		   struct response *rs)
{
	const struct route *r = find_route(rq->path);

	bool is_method = rq->method != HTTP_OPTIONS && r->methods >> rq->method & 1;

	np_conn_set_tag(rs->conn, r->path);
	/* A body that is not read stands where the next request should. */
	rs->close |= !body->ended && !(is_method && r->methods == SEND);
	if (is_method)
		r->answer(site, rq, body, rs);
	else
		answer_methods(r, rq->method, rs);
}

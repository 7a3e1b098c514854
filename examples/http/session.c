/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * session: one request for each call of on_request, so that pipelined ones are answered in one
 * write, and no client keeps the poller from the others
 *
 *   state      is left by
 *   idle       a byte of a head: the whole head is here -> serving; else -> late
 *   late       holds no fiber, a timer runs: the end of the head -> serving; session_is_late() ->
 *              408, closed
 *   serving    the answer's end -> idle; or closed, where it was the last
 */
#include "session.h"

#include <arpa/inet.h>
#include <errno.h>
#include <http_parser.h>
#include <netinet/in.h>
#include <netpoll/conn.h>
#include <netpoll/linkbuf.h>
#include <netpoll/pollers.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "body.h"
#include "clock.h"
#include "head.h"
#include "routes.h"
#include "site.h"

struct session {
	struct np_conn *conn;
	struct site *site;
	struct head head;            /* the one under way */
	struct np_timer *late;       /* NULL: it does not run */
	char addr[INET6_ADDRSTRLEN]; /* "" where there is no log */
};

/* ------------------------------------------------------------------ its life */

static void find_addr(struct session *s)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss;

	memcpy(s->addr, "-", 2);
	if (np_conn_remote_addr(s->conn, &ss, &len) < 0)
		return;
	if (ss.ss_family == AF_INET)
		inet_ntop(AF_INET, &((struct sockaddr_in *)&ss)->sin_addr, s->addr, sizeof s->addr);
	else if (ss.ss_family == AF_INET6)
		inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&ss)->sin6_addr, s->addr,
			  sizeof s->addr);
}

static int session_begin(struct np_conn *c, void *arg)
{
	struct session *s = calloc(1, sizeof *s);

	if (!s)
		return -ENOMEM;
	s->conn = c;
	s->site = arg;
	if (s->site->log)
		find_addr(s);
	np_conn_set_data(c, s);
	return 0;
}

static void session_end(struct np_conn *c, void *arg)
{
	struct session *s = np_conn_data(c);

	np_timer_stop(&s->late);
	free(s);
}

/* A head that is here in part has a timer that runs: its connection stays, and is served there. */
static int session_export(struct np_conn *c, void *arg, struct np_linkbuf *blob)
{
	const struct session *s = np_conn_data(c);

	return s->late ? -EBUSY : 0;
}

static int session_import(struct np_conn *c, void *arg, const void *blob, size_t n)
{
	return session_begin(c, arg);
}

/* ------------------------------------------------------------------ an answer */

static struct response session_response(const struct session *s, const struct request *rq)
{
	return (struct response){
		.conn = s->conn,
		.is_1_0 = rq->is_1_0,
		.is_head = rq->method == HTTP_HEAD,
		.close = rq->status || !rq->keep_alive,
	};
}

static int session_answered(struct session *s, const struct request *rq, struct response *rs)
{
	int r = response_end(rs), poller = np_conn_poller(s->conn);
	int status = r < 0 ? 0 : rs->status;

	counts_add(&s->site->counts[poller], status);
	if (s->site->log)
		log_line(s->site->log, poller, s->addr, rq, rs->status, rs->bytes);
	return r;
}

/* What cannot be a request, or not one of ours. The connection ends: what follows is unknown. */
static int refuse(struct session *s, const struct request *rq)
{
	struct response rs = session_response(s, rq);

	if (rq->status == 405)
		response_status_with(&rs, 405, "Allow", "GET, HEAD, POST, PUT, OPTIONS");
	else
		response_status(&rs, rq->status);
	return session_answered(s, rq, &rs);
}

/* ------------------------------------------------------------------ a request */

static uint64_t body_until(const struct session *s, const struct request *rq)
{
	if (!request_has_body(rq) || s->site->request_ms < 0)
		return 0;
	return clock_ms() + (uint64_t)s->site->request_ms;
}

static int serve(struct session *s, const struct request *rq)
{
	struct response rs = session_response(s, rq);
	struct body body;
	int status = body_init(&body, s->conn, rq, s->site->body_max, body_until(s, rq));

	if (!status) {
		routes_answer(s->site, rq, &body, &rs);
	} else {
		rs.close = true;
		response_status(&rs, status);
	}
	return session_answered(s, rq, &rs);
}

/* The input is released as the body comes, so the head is copied. */
static int serve_with_body(struct session *s, struct request *rq, const char *head, size_t n)
{
	char *copy = malloc(n);
	int r;

	if (!copy)
		return -ENOMEM;
	memcpy(copy, head, n);
	request_parse(rq, copy, n);
	r = serve(s, rq);
	free(copy);
	return r;
}

static int session_request(struct session *s, size_t n)
{
	size_t begin = s->head.begin;
	struct request rq;
	const void *p;
	int r = np_conn_next(s->conn, n, &p);

	if (r < 0)
		return r;
	memset(&s->head, 0, sizeof s->head);
	if (s->late)
		np_timer_stop(&s->late);
	request_parse(&rq, (const char *)p + begin, n - begin);
	if (rq.status)
		return refuse(s, &rq);
	if (request_has_body(&rq))
		return serve_with_body(s, &rq, (const char *)p + begin, n - begin);
	return serve(s, &rq);
}

/* ------------------------------------------------------------------ its head */

static void session_is_late(void *arg)
{
	struct request rq = { .status = 408 };

	refuse(arg, &rq);
}

static int await_head(struct session *s)
{
	if (s->late || s->site->head_ms < 0)
		return 0;
	return np_timer_start(s->site->head_ms, session_is_late, s, &s->late);
}

/* What is there is mostly in one block; else it is made contiguous, as far as a head may go. */
static long find_head(struct session *s, struct np_linkbuf *in, struct text *ret)
{
	size_t all = np_linkbuf_len(in), n = all > HEAD_MAX ? HEAD_MAX + 1 : all;
	struct iovec first;
	const void *p;
	long r;

	if (np_linkbuf_iov(in, &first, 1) < 1)
		return 0;
	*ret = (struct text){ first.iov_base, first.iov_len };
	r = head_find(&s->head, ret->p, ret->n);
	if (r || ret->n >= n)
		return r;
	r = np_linkbuf_peek(in, n, &p);
	if (r < 0)
		return -503;
	*ret = (struct text){ p, n };
	return head_find(&s->head, p, n);
}

static int refuse_head(struct session *s, struct text head, int status)
{
	struct request rq = { .status = status };

	rq.line = (struct text){ head.p + s->head.begin, head.n - s->head.begin };
	return refuse(s, &rq);
}

static int session_serve(struct np_conn *c, void *arg)
{
	struct session *s = np_conn_data(c);
	struct np_linkbuf *in = np_conn_in(c);
	struct text head;
	long n;

	if (!in)
		return -ENOMEM;
	n = find_head(s, in, &head);
	if (n > 0)
		return session_request(s, (size_t)n);
	return n < 0 ? refuse_head(s, head, (int)-n) : await_head(s);
}

const struct np_handlers session_handlers = {
	.sz = sizeof session_handlers,
	.on_prepare = session_begin,
	.on_request = session_serve,
	.on_close = session_end,
	.on_export = session_export,
	.on_import = session_import,
};

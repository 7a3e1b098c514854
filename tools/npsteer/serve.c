/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * serve: a page to look at, and the events that it draws
 *
 * Read only: nothing that is asked here changes anything. The verb's thread looks at the service
 * and hands each look to the handlers of GET /events, one fiber for each browser; one that is late
 * misses looks, none is kept for it, and one that takes nothing for some seconds is dropped.
 *
 * A page of another site must not read what is shown here, nor reach it by a name of its own that
 * leads to this address: Host has to be an address or "localhost", Origin this very place.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netpoll/conn.h>
#include <netpoll/sync.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "endpoint.h"
#include "http.h"
#include "page.h"
#include "snapshot.h"

#define LOOK_S   1.0
#define WATCHERS 16
#define UNSENT   (64 << 10) /* so much the kernel may hold for a browser that is slow */
#define QUIET_MS 15000 /* a look may be slow to come: a line meanwhile finds out who has left */

struct serve {
	struct npsteer *n;
	struct lookout lookout;
	struct np_mutex *lock;
	struct np_cond *fresh; /* there is a newer one, or the end has come */
	struct snapshot *last; /* under the lock, and so is: */
	bool ends;
	unsigned watchers; /* the poller's own */
};

/* ------------------------------------------------------------------ who may ask */

/* "127.0.0.1:80", "[::1]:80", "localhost:80": no name that somebody else could give an address. */
static bool serve_host_is_ours(const char *host)
{
	unsigned char addr[16];
	char name[64];
	size_t n = *host == '[' ? strcspn(host, "]") : strcspn(host, ":");

	if (n >= sizeof name)
		return false;
	memcpy(name, host, n);
	name[n] = '\0';
	if (*host == '[')
		return host[n] && (!host[n + 1] || host[n + 1] == ':') &&
		       inet_pton(AF_INET6, name + 1, addr) == 1;
	return !strcmp(name, "localhost") || inet_pton(AF_INET, name, addr) == 1;
}

static bool serve_origin_is_ours(const struct http_request *q)
{
	return !*q->origin ||
	       (!strncmp(q->origin, "http://", 7) && !strcmp(q->origin + 7, q->host));
}

/* A link on another site may lead to the page; its scripts may have nothing of it. */
static bool serve_site_is_ours(const struct http_request *q)
{
	return !*q->site || !strcmp(q->site, "same-origin") || !strcmp(q->site, "none") ||
	       !strcmp(q->path, "/");
}

/* ------------------------------------------------------------------ events */

/* Waits for one that is newer than @seen. NULL: none came in time. < 0 in *ret_r: it is over. */
static struct snapshot *serve_next(struct serve *s, uint64_t seen, int *ret_r)
{
	struct snapshot *next = NULL;
	int r = np_mutex_lock(s->lock, 0);

	*ret_r = r;
	if (r < 0)
		return NULL;
	while (r == 0 && !s->ends && (!s->last || s->last->number <= seen))
		r = np_cond_wait(s->fresh, s->lock, QUIET_MS);
	if (s->ends)
		r = -NP_ECLOSED;
	else if (s->last && s->last->number > seen)
		next = snapshot_ref(s->last);
	np_mutex_unlock(s->lock);
	*ret_r = r == -ETIMEDOUT ? 0 : r;
	return next;
}

static int serve_event(struct serve *s, struct np_conn *c, uint64_t *seen)
{
	int r;
	struct snapshot *next = serve_next(s, *seen, &r);

	if (r == 0)
		r = next ? np_conn_write(c, next->text, next->n) : np_conn_write(c, ":\n\n", 3);
	if (next)
		*seen = next->number;
	snapshot_unref(next);
	return r < 0 ? r : np_conn_flush(c);
}

/* Ends with the browser, or with the verb. */
static int serve_events(struct serve *s, struct np_conn *c)
{
	uint64_t seen = 0;
	int unsent = UNSENT, r = http_begin(c, 200, "text/event-stream", -1);

	setsockopt(np_conn_fd(c), SOL_SOCKET, SO_SNDBUF, &unsent, sizeof unsent);
	if (r == 0)
		r = np_conn_printf(c, "retry: 2000\n\n");
	np_conn_set_request_timeout(c, -1);
	np_conn_set_idle_timeout(c, -1);
	np_conn_cancel_on_leave(c, true);
	while (r == 0)
		r = serve_event(s, c, &seen);
	np_conn_close(c);
	return r == -NP_ECLOSED ? 0 : r;
}

/* ------------------------------------------------------------------ a request */

static int serve_watch(struct serve *s, struct np_conn *c, const struct http_request *q)
{
	int r;

	if (q->head)
		return http_answer(c, q, 200, "text/event-stream", "", 0);
	if (s->watchers == WATCHERS)
		return http_say(c, q, 503, "as many as may watch do so already\n");
	s->watchers++;
	door_stays(c);
	r = serve_events(s, c);
	s->watchers--;
	return r;
}

static int serve_file(struct np_conn *c, const struct http_request *q)
{
	const struct page *p = page_find(q->path);

	return p ? http_answer(c, q, 200, p->type, p->bytes, p->n) :
		   http_say(c, q, 404, "there are / and /events\n");
}

static int serve_on_request(struct np_conn *c, void *arg)
{
	struct http_request q;
	int r = http_read(c, &q);

	if (r)
		return r < 0 ? r : 0;
	if (!serve_host_is_ours(q.host))
		return http_say(c, &q, 421,
				"ask by an address or as localhost: a name could be anybody's\n");
	if (!serve_origin_is_ours(&q) || !serve_site_is_ours(&q))
		return http_say(c, &q, 403, "this is for its own page\n");
	return strcmp(q.path, "/events") ? serve_file(c, &q) : serve_watch(arg, c, &q);
}

static const struct np_handlers serve_handlers = {
	.sz = sizeof serve_handlers,
	.on_request = serve_on_request,
};

/* ------------------------------------------------------------------ the verb */

static void serve_publish(struct serve *s, struct snapshot *next)
{
	struct snapshot *last;

	np_mutex_lock(s->lock, 0);
	last = s->last;
	s->last = next;
	np_cond_broadcast(s->fresh);
	np_mutex_unlock(s->lock);
	snapshot_unref(last);
}

static void serve_wake(void *arg)
{
	struct serve *s = arg;

	np_mutex_lock(s->lock, 0);
	s->ends = true;
	np_cond_broadcast(s->fresh);
	np_mutex_unlock(s->lock);
}

static int serve_run(struct serve *s, struct endpoint *e, double every)
{
	int code = endpoint_open(e, "--listen", s->n->listen, &serve_handlers, s);

	if (code == DONE)
		code = endpoint_start(e, "a page at http://");
	for (uint64_t i = 1; code == DONE; i++) {
		struct snapshot *next = snapshot_new(&s->lookout, i);

		if (next)
			serve_publish(s, next);
		if (endpoint_wait(every))
			break;
	}
	return code;
}

static int serve_with_locks(struct serve *s, double every)
{
	struct endpoint e = { .n = s->n };
	int code;

	if (np_mutex_new(&s->lock) < 0 || np_cond_new(&s->fresh) < 0)
		return fail(s->n, FAILED, "no memory");
	code = serve_run(s, &e, every);
	endpoint_close(&e, serve_wake, s);
	snapshot_unref(s->last);
	return code;
}

int verb_serve(struct npsteer *n)
{
	struct serve s = { .n = n };
	double every;
	long count;
	int code = parse_interval(n, &every, &count);

	if (code == DONE && !n->listen)
		code = fail(n, MISUSED, "where shall it listen? npsteer serve --listen 8080");
	if (code == DONE)
		code = lookout_open(n, &s.lookout);
	if (code != DONE)
		return code;
	code = serve_with_locks(&s, every > 0 ? every : LOOK_S);
	if (s.fresh)
		np_cond_free(&s.fresh);
	if (s.lock)
		np_mutex_free(&s.lock);
	lookout_close(&s.lookout);
	return code;
}

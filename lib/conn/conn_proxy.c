/* SPDX-License-Identifier: BSD-2-Clause */
/* conn_proxy: awaited, taken byte by byte as it comes, or refused. */
#include "conn/conn_proxy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conn/conn.h"
#include "conn/proxy_from.h"
#include "netpoll/linkbuf.h"
#include "sys/addr.h"
#include "sys/sock.h"

#define SAY_EVERY_MS 1000u

static struct conn_proxied *proxy_of(const struct np_conn *c)
{
	const struct conn_extra *x = conn_extra_of(c);

	return x ? x->proxied : NULL;
}

/* One writer; others read. */
static void proxy_count(uint64_t *word)
{
	__atomic_store_n(word, *word + 1, __ATOMIC_RELAXED);
}

/* ------------------------------------------------------------------ refused */

static void proxy_say(struct np_conn *c, const char *why)
{
	struct conn_proxy *g = &c->group->proxy;
	struct poller *p = conn_poller(c);
	uint64_t now = poller_now_ms(p);
	struct sockaddr_storage ss;
	char from[128] = "somewhere";
	socklen_t len;

	if (g->said_ms && now - g->said_ms < SAY_EVERY_MS) {
		g->unsaid++;
		return;
	}
	if (sys_peer_addr(c->watch.fd, &ss, &len) == 0)
		addr_format(&ss, len, from, sizeof from);
	poller_log(p, 1,
		   "poller %d: a connection from %s is refused: %s; %llu more since the last line",
		   poller_index(p), from, why, (unsigned long long)g->unsaid);
	g->said_ms = now;
	g->unsaid = 0;
}

static void proxy_refuse(struct np_conn *c, const char *why)
{
	proxy_of(c)->refused = true;
	proxy_say(c, why);
}

void conn_proxy_gone(struct np_conn *c)
{
	const struct conn_proxied *x = proxy_of(c);

	if (x && (x->refused || x->begun || conn_len(c)))
		proxy_count(&c->group->proxy.refused);
}

/* ------------------------------------------------------------------ awaited */

static int proxy_attach(struct np_conn *c, struct conn_proxied **ret)
{
	struct conn_extra *x;
	int r = conn_extra(c, &x);

	if (r < 0)
		return r;
	if (!x->proxied)
		x->proxied = calloc(1, sizeof *x->proxied);
	if (!x->proxied)
		return -ENOMEM;
	*ret = x->proxied;
	return 0;
}

/* A peer that was reset before it was accepted may have no address: it is none of the list. */
static bool proxy_is_from(const struct np_conn *c)
{
	const struct proxy_from *from = c->group->proxy.from;
	struct sockaddr_storage ss;
	socklen_t len;

	if (!from)
		return true;
	if (sys_peer_addr(c->watch.fd, &ss, &len) < 0)
		return false;
	addr_unmap(&ss, &len);
	return proxy_from_has(from, &ss);
}

int conn_proxy_begin(struct np_conn *c)
{
	const struct conn_proxy *g = &c->group->proxy;
	struct conn_proxied *x;
	bool from = proxy_is_from(c);
	int r;

	if (!from && g->mode == NP_PROXY_MIXED)
		return 0;
	r = proxy_attach(c, &x);
	if (r < 0)
		return r;
	c->flags |= CONN_PROXIED;
	x->until_ms = g->header_ms ? poller_after_ms(conn_poller(c), g->header_ms) : 0;
	if (from)
		return 0;
	proxy_refuse(c, "it is none of proxy_from");
	return 1;
}

/* ------------------------------------------------------------------ taken */

/*
 * Off the input, and off what counts as read: a connection of which only the header has been read
 * has not been served.
 */
static void proxy_drop(struct stream *s, size_t n)
{
	np_linkbuf_skip(&s->in, n);
	s->rx_total -= n;
	stream_release(s);
}

static void proxy_skip(struct conn_proxied *x, struct stream *s)
{
	size_t n = linkbuf_len(&s->in) < x->skip ? linkbuf_len(&s->in) : x->skip;

	if (n)
		proxy_drop(s, n);
	x->skip -= (uint32_t)n;
}

/* Return: 1: it is parsed, and so much of x->skip is it; 0: more is needed; -EBADMSG, -ENOMEM. */
static int proxy_parse(struct conn_proxied *x, struct stream *s)
{
	size_t n = linkbuf_len(&s->in) < PROXY_LOOK_MAX ? linkbuf_len(&s->in) : PROXY_LOOK_MAX;
	const void *p;
	long len;
	int r = n ? np_linkbuf_peek(&s->in, n, &p) : 0;

	if (r < 0 || !n)
		return r;
	len = proxy_header_parse(p, n, &x->ends);
	if (len <= 0)
		return (int)len;
	x->skip = (uint32_t)len;
	return 1;
}

/* It is called again with the next byte: what is wanted then may be over in_high. */
static void proxy_wait(struct np_conn *c)
{
	c->io->call_at = conn_len(c) + 1;
	c->io->wanted = true;
}

static void proxy_through(struct np_conn *c)
{
	c->io->call_at = 1;
	c->io->wanted = false;
	c->flags &= (uint16_t)~CONN_PROXIED;
	proxy_count(&c->group->proxy.taken);
	c->io->request = false; /* what is left is the beginning of the first one */
	if (conn_len(c))
		conn_request_came(c);
	conn_arm_clock(c);
}

static int proxy_fails(struct np_conn *c, int why, const char *say)
{
	proxy_refuse(c, say);
	conn_close(c, why);
	return 0;
}

int conn_proxy_take(struct np_conn *c, void *arg)
{
	struct conn_proxied *x = proxy_of(c);
	struct stream *s = &c->io->stream;
	int r = x->skip ? 1 : proxy_parse(x, s);

	x->begun = true;
	if (r < 0)
		return proxy_fails(
			c, r, r == -EBADMSG ? "it begins with no PROXY header" : np_strerror(r));
	if (r)
		proxy_skip(x, s);
	if (r && !x->skip) {
		proxy_through(c);
		if (!conn_filter_awaits(c))
			return 1;
		conn_filter_begin(c);
		return 0;
	}
	if (conn_at_end(c))
		return proxy_fails(c, conn_read_end(c), "it ended within its PROXY header");
	proxy_wait(c);
	return 0;
}

/* ------------------------------------------------------------------ time */

/*
 * What came in time may not have been looked at yet: this thread may have been kept. A drip gets no
 * second turn.
 */
bool conn_proxy_is_late(struct np_conn *c)
{
	struct conn_proxied *x = proxy_of(c);

	if (!x->late && conn_is_served(c)) {
		x->late = true;
		timer_arm(conn_poller(c), &c->timer, poller_now_ms(conn_poller(c)) + 1);
		return false;
	}
	proxy_refuse(c, "its PROXY header did not come in time");
	return true;
}

/* ------------------------------------------------------------------ what it says */

const struct proxy_ends *conn_proxy_ends(const struct np_conn *c)
{
	const struct conn_proxied *x = proxy_of(c);

	return x && !(c->flags & CONN_PROXIED) && x->ends.from.family ? &x->ends : NULL;
}

int conn_proxy_set_ends(struct np_conn *c, const struct proxy_ends *ends)
{
	struct conn_proxied *x;
	int r = proxy_attach(c, &x);

	if (r == 0)
		x->ends = *ends;
	return r;
}

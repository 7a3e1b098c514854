/* SPDX-License-Identifier: BSD-2-Clause */
/* conn_opts: settings, callbacks and addresses; what most connections never change costs them
 * nothing. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "conn/conn.h"
#include "poll/baton.h"
#include "sys/addr.h"
#include "sys/sock.h"

/* What the one before has left alone is not what this one has left alone. */
static void opts_handler_is_new(struct np_conn *c, struct conn_io *io)
{
	int (*fn)(struct np_conn *, void *) = io->called;
	void *arg = io->arg;

	conn_find_handler(c);
	io->call_at = 1;
	io->wanted |= io->called != fn || io->arg != arg;
	io->end_handled = false;
	io->forwards = false;
	conn_pump(c, PUMP_TELL); /* nothing while a handler runs: its loop looks again */
}

int np_conn_set_on_request(struct np_conn *c, int (*fn)(struct np_conn *, void *), void *arg)
{
	NP_GATE(np_conn_set_on_request(c, fn, arg));

	struct conn_extra *x;
	int r = conn_extra(c, &x);

	if (r < 0)
		return r;
	x->on_request = fn;
	x->on_request_arg = arg;
	if (c->io)
		opts_handler_is_new(c, c->io);
	return 0;
}

/* ------------------------------------------------------------------ times */

/* The settings, its own from here on; NULL: *ret_r says why not. */
static struct conn_settings *opts_settings(struct np_conn *c, int v, int least, int *ret_r)
{
	struct conn_extra *x = NULL;

	*ret_r = v < least ? -EINVAL : conn_extra(c, &x);
	return *ret_r < 0 ? NULL : &x->settings;
}

/* 0: what the group says; -1: none, which is 0 in the field. */
static int opts_set_ms(struct np_conn *c, size_t offset, int ms)
{
	int r;
	struct conn_settings *set = opts_settings(c, ms, -1, &r);

	if (!set)
		return r;
	if (!ms)
		ms = *(const int *)((const char *)&c->group->settings + offset);
	*(int *)((char *)set + offset) = ms < 0 ? 0 : ms;
	return 0;
}

/* Moves the timer of a fiber that waits already. */
static void opts_rearm(struct conn_wait *w, uint64_t when_ms)
{
	if (w)
		park_set_until(&w->park, when_ms);
}

/* A deadline that was set earlier gives way to the timeout, also for a fiber that waits already. */
static void opts_end_deadline(struct np_conn *c, uint64_t *deadline_ms, int timeout_ms,
			      struct conn_wait *w)
{
	if (!*deadline_ms)
		return;
	*deadline_ms = 0;
	opts_rearm(w, timeout_ms ? poller_after_ms(conn_poller(c), timeout_ms) : 0);
}

int np_conn_set_read_timeout(struct np_conn *c, int ms)
{
	NP_GATE(np_conn_set_read_timeout(c, ms));

	int r = opts_set_ms(c, offsetof(struct conn_settings, read_timeout_ms), ms);

	if (r == 0)
		opts_end_deadline(c, &conn_extra_of(c)->read_deadline_ms, c->set->read_timeout_ms,
				  c->io ? c->io->reader : NULL);
	return r;
}

int np_conn_set_write_timeout(struct np_conn *c, int ms)
{
	NP_GATE(np_conn_set_write_timeout(c, ms));

	int r = opts_set_ms(c, offsetof(struct conn_settings, write_timeout_ms), ms);

	if (r == 0)
		opts_end_deadline(c, &conn_extra_of(c)->write_deadline_ms, c->set->write_timeout_ms,
				  c->io ? c->io->writer : NULL);
	return r;
}

int np_conn_set_idle_timeout(struct np_conn *c, int ms)
{
	NP_GATE(np_conn_set_idle_timeout(c, ms));

	int r = opts_set_ms(c, offsetof(struct conn_settings, idle_timeout_ms), ms);

	if (r == 0) {
		conn_touch(c);
		conn_arm_clock(c);
	}
	return r;
}

int np_conn_set_linger(struct np_conn *c, int ms)
{
	NP_GATE(np_conn_set_linger(c, ms));

	int r;
	struct conn_settings *set = opts_settings(c, ms, NP_NOW, &r);

	if (!set)
		return r;
	set->linger_ms = ms ? ms : c->group->settings.linger_ms;
	if (conn_life(c) == CONN_CLOSING || conn_life(c) == CONN_LINGERING) {
		conn_arm_linger(c);
		conn_later(c);
	}
	return 0;
}

int np_conn_set_min_rate(struct np_conn *c, int bytes_per_s)
{
	NP_GATE(np_conn_set_min_rate(c, bytes_per_s));

	int r;
	struct conn_settings *set = opts_settings(c, bytes_per_s, -1, &r);

	if (set)
		set->min_rate = bytes_per_s ? bytes_per_s : c->group->settings.min_rate;
	return r;
}

/* Its first byte may be taken already. */
static bool opts_request_is_handled(const struct np_conn *c)
{
	return conn_handler(c) && (c->flags & CONN_CONNECTED);
}

int np_conn_set_request_timeout(struct np_conn *c, int ms)
{
	NP_GATE(np_conn_set_request_timeout(c, ms));

	int r = opts_set_ms(c, offsetof(struct conn_settings, request_timeout_ms), ms);

	if (r < 0)
		return r;
	if (!c->set->request_timeout_ms)
		conn_request_over(c);
	else if (conn_life(c) == CONN_OPEN && (conn_len(c) || opts_request_is_handled(c)))
		conn_request_came(c);
	conn_arm_clock(c);
	return 0;
}

/* Rounded up: a deadline is never early. */
static uint64_t opts_ms(uint64_t mono_ns)
{
	return mono_ns ? mono_ns / 1000000u + (mono_ns % 1000000u != 0) : 0;
}

int np_conn_set_read_deadline(struct np_conn *c, uint64_t mono_ns)
{
	NP_GATE(np_conn_set_read_deadline(c, mono_ns));

	struct conn_extra *x;
	int r = conn_extra(c, &x);

	if (r < 0)
		return r;
	x->read_deadline_ms = opts_ms(mono_ns);
	opts_rearm(c->io ? c->io->reader : NULL, x->read_deadline_ms);
	return 0;
}

int np_conn_set_write_deadline(struct np_conn *c, uint64_t mono_ns)
{
	NP_GATE(np_conn_set_write_deadline(c, mono_ns));

	struct conn_extra *x;
	int r = conn_extra(c, &x);

	if (r < 0)
		return r;
	x->write_deadline_ms = opts_ms(mono_ns);
	opts_rearm(c->io ? c->io->writer : NULL, x->write_deadline_ms);
	return 0;
}

/* ------------------------------------------------------------------ socket options */

static int opts_tcp_only(const struct np_conn *c)
{
	int r = conn_settable(c);

	return r < 0 || c->transport == TRANSPORT_TCP ? r : -NP_EUNSUPPORTED;
}

int np_conn_set_keepalive(struct np_conn *c, int idle_s, int intvl_s, int cnt)
{
	NP_GATE(np_conn_set_keepalive(c, idle_s, intvl_s, cnt));

	int r = opts_tcp_only(c);

	if (r == 0 && (idle_s < -1 || intvl_s < 0 || cnt < 0))
		r = -EINVAL;
	return r ? r : sys_set_keepalive(c->watch.fd, idle_s, intvl_s, cnt);
}

int np_conn_set_user_timeout(struct np_conn *c, int ms)
{
	NP_GATE(np_conn_set_user_timeout(c, ms));

	int r = opts_tcp_only(c);

	if (r == 0 && ms < -1)
		r = -EINVAL;
	return r ? r : sys_set_user_timeout(c->watch.fd, ms);
}

int np_conn_set_nagle(struct np_conn *c, bool on)
{
	NP_GATE(np_conn_set_nagle(c, on));

	int r = opts_tcp_only(c);

	return r ? r : sys_setsockopt_int(c->watch.fd, IPPROTO_TCP, TCP_NODELAY, !on);
}

/* ------------------------------------------------------------------ flow */

#define SEND_HIGH_MAX INT32_MAX /* c->sendq_bytes counts 32 bits */

static size_t opts_limit_or(size_t own, size_t base, size_t ours)
{
	return own ? own : base ? base : ours;
}

int conn_limits_init(struct np_limits *l, const struct np_limits *base)
{
	static const struct np_limits none;
	const struct np_limits *b = base ? base : &none;
	size_t in_high = opts_limit_or(l->in_high, b->in_high, 272u << 10);

	l->out_high = opts_limit_or(l->out_high, b->out_high, 1u << 20);
	l->in_max = opts_limit_or(l->in_max, b->in_max, 64u << 20);
	l->send_high = opts_limit_or(l->send_high, b->send_high, 16u << 20);
	if (l->send_high > SEND_HIGH_MAX)
		l->send_high = SEND_HIGH_MAX;
	if (!l->in_high && in_high > l->in_max)
		in_high = l->in_max;
	l->in_high = in_high;
	return in_high > l->in_max ? -EINVAL : 0;
}

int np_conn_set_limits(struct np_conn *c, const struct np_limits *limits)
{
	NP_GATE(np_conn_set_limits(c, limits));

	struct np_limits l = *limits;
	struct conn_extra *x;
	int r = conn_settable(c);

	if (r == 0)
		r = conn_limits_init(&l, &c->group->settings.limits);
	if (r < 0)
		return r;
	r = conn_extra(c, &x);
	if (r < 0)
		return r;
	x->settings.limits = l;
	if (c->io)
		c->io->may_wait = 0; /* the next flush looks at them anew */
	atomic_store_explicit(&c->send_high, (uint32_t)l.send_high, memory_order_relaxed);
	conn_pump(c, PUMP_ROOM);
	return 0;
}

/* Once it is closing the library reads, to throw it away. */
void np_conn_pause_read(struct np_conn *c)
{
	NP_GATE_VOID(np_conn_pause_read(c));

	if (conn_life(c) > CONN_OPEN || conn_in_is_over(c))
		return;
	c->in = CONN_IN_PAUSED;
	conn_pump(c, PUMP_ROOM);
}

void np_conn_resume_read(struct np_conn *c)
{
	NP_GATE_VOID(np_conn_resume_read(c));

	if (c->in != CONN_IN_PAUSED)
		return;
	c->in = CONN_IN_FULL; /* until there is found to be room */
	conn_pump(c, PUMP_ROOM | PUMP_TELL);
	if (conn_at_end(c))
		conn_later(c); /* the peer left meanwhile, behind a full input */
}

/* ------------------------------------------------------------------ facts */

void np_conn_set_data(struct np_conn *c, void *data)
{
	c->data = data;
}

void *np_conn_data(struct np_conn *c)
{
	return c->data;
}

void np_conn_set_tag(struct np_conn *c, const char *tag)
{
	NP_GATE_VOID(np_conn_set_tag(c, tag));

	poller_note_tag(conn_poller(c), tag);
	if (c->io)
		c->io->tag = tag;
}

int np_conn_fd(struct np_conn *c)
{
	return c->watch.fd;
}

static int opts_address(struct np_conn *c,
			int (*ask)(int fd, struct sockaddr_storage *ret, socklen_t *ret_len),
			struct sockaddr_storage *ret, socklen_t *ret_len)
{
	int r = conn_settable(c);

	if (r == 0)
		r = ask(c->watch.fd, ret, ret_len);
	if (r == 0)
		addr_unmap(ret, ret_len);
	return r;
}

/* What the PROXY header named. */
static void opts_end(const struct proxy_end *e, struct sockaddr_storage *ret, socklen_t *ret_len)
{
	struct sockaddr_in *in = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;

	memset(ret, 0, sizeof *ret);
	ret->ss_family = e->family;
	if (e->family == AF_INET) {
		memcpy(&in->sin_addr, e->addr, sizeof in->sin_addr);
		in->sin_port = e->port;
		*ret_len = sizeof *in;
	} else {
		memcpy(&in6->sin6_addr, e->addr, sizeof in6->sin6_addr);
		in6->sin6_port = e->port;
		*ret_len = sizeof *in6;
		addr_unmap(ret, ret_len);
	}
}

int np_conn_local_addr(struct np_conn *c, struct sockaddr_storage *ret, socklen_t *ret_len)
{
	NP_GATE(np_conn_local_addr(c, ret, ret_len));

	const struct proxy_ends *ends = conn_proxy_ends(c);

	if (!ends || c->watch.fd < 0)
		return opts_address(c, sys_getsockname, ret, ret_len);
	opts_end(&ends->to, ret, ret_len);
	return 0;
}

int np_conn_remote_addr(struct np_conn *c, struct sockaddr_storage *ret, socklen_t *ret_len)
{
	NP_GATE(np_conn_remote_addr(c, ret, ret_len));

	const struct proxy_ends *ends = conn_proxy_ends(c);

	if (!ends || c->watch.fd < 0)
		return opts_address(c, sys_peer_addr, ret, ret_len);
	opts_end(&ends->from, ret, ret_len);
	return 0;
}

int np_conn_poller(const struct np_conn *c)
{
	return poller_index(atomic_load_explicit(&c->at, memory_order_relaxed));
}

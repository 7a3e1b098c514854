/* SPDX-License-Identifier: BSD-2-Clause */
/* conn_opts: settings, callbacks and addresses; what most connections never change costs them
 * nothing. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>

#include "conn/conn.h"
#include "sys/addr.h"
#include "sys/sock.h"

struct conn_callback {
	struct conn_callback *next;
	void (*fn)(struct np_conn *, void *);
	void *arg;
};

int conn_extra(struct np_conn *c, struct conn_extra **ret)
{
	if (conn_state(c) == CONN_GONE)
		return -NP_ECLOSED; /* conn_gone() was here: nobody would free it */
	if (!c->extra) {
		c->extra = calloc(1, sizeof *c->extra);
		if (!c->extra)
			return -ENOMEM;
		c->extra->limits = c->group->limits;
		c->extra->rules = c->group->rules;
	}
	*ret = c->extra;
	return 0;
}

/* ------------------------------------------------------------------ callbacks */

int np_conn_add_close_callback(struct np_conn *c, void (*fn)(struct np_conn *, void *), void *arg)
{
	struct conn_callback *cb;
	struct conn_extra *x;
	int r;

	if (!fn)
		return -EINVAL;
	if (conn_state(c) > CONN_OPEN)
		return -NP_ECLOSED;
	r = conn_extra(c, &x);
	if (r < 0)
		return r;
	cb = malloc(sizeof *cb);
	if (!cb)
		return -ENOMEM;
	*cb = (struct conn_callback){ .next = x->callbacks, .fn = fn, .arg = arg };
	x->callbacks = cb;
	return 0;
}

void conn_callbacks_run(struct np_conn *c)
{
	struct conn_callback *cb;

	while (c->extra && (cb = c->extra->callbacks)) {
		c->extra->callbacks = cb->next;
		conn_note_handler(c, cb->fn);
		cb->fn(c, cb->arg);
		free(cb);
	}
}

void conn_extra_drop(struct np_conn *c)
{
	struct conn_callback *cb;

	while (c->extra && (cb = c->extra->callbacks)) {
		c->extra->callbacks = cb->next;
		free(cb);
	}
	free(c->extra);
	c->extra = NULL;
}

int np_conn_set_on_request(struct np_conn *c, int (*fn)(struct np_conn *, void *), void *arg)
{
	struct conn_extra *x;
	int r = conn_extra(c, &x);

	if (r < 0)
		return r;
	x->on_request = fn;
	x->on_request_arg = arg;
	if (c->io)
		c->io->call_at = 1;
	c->flags &= ~(uint32_t)CONN_END_HANDLED;
	if (conn_has_request(c))
		conn_serve(c); /* nothing while a handler runs: its loop looks again */
	return 0;
}

/* ------------------------------------------------------------------ times */

static int set_ms(const struct np_conn *c, int *field, int ms)
{
	if (ms < 0)
		return -EINVAL;
	if (conn_state(c) == CONN_GONE)
		return -NP_ECLOSED;
	*field = ms;
	return 0;
}

/* A deadline that was set earlier gives way to a timeout. */
int np_conn_set_read_timeout(struct np_conn *c, int ms)
{
	if (c->extra)
		c->extra->read_deadline_ms = 0;
	return set_ms(c, &c->read_timeout_ms, ms);
}

int np_conn_set_write_timeout(struct np_conn *c, int ms)
{
	if (c->extra)
		c->extra->write_deadline_ms = 0;
	return set_ms(c, &c->write_timeout_ms, ms);
}

/* 0 is the default, -1 no limit: @least tells what else there is. */
static int set_rule(struct np_conn *c, int v, int least,
		    int (*put)(struct np_conn *, struct conn_rules *, int))
{
	struct conn_extra *x;
	int r = v < least ? -EINVAL : conn_extra(c, &x);

	return r < 0 ? r : put(c, &x->rules, v);
}

static int put_linger(struct np_conn *c, struct conn_rules *rules, int ms)
{
	rules->linger_ms = ms ? ms : c->group->rules.linger_ms;
	if (conn_state(c) == CONN_CLOSING || conn_state(c) == CONN_LINGER) {
		conn_arm_linger(c);
		conn_later(c);
	}
	return 0;
}

int np_conn_set_linger(struct np_conn *c, int ms)
{
	return set_rule(c, ms, NP_NOW, put_linger);
}

static int put_min_rate(struct np_conn *c, struct conn_rules *rules, int rate)
{
	rules->min_rate = rate ? rate : c->group->rules.min_rate;
	return 0;
}

int np_conn_set_min_rate(struct np_conn *c, int bytes_per_s)
{
	return set_rule(c, bytes_per_s, -1, put_min_rate);
}

static int put_request_timeout(struct np_conn *c, struct conn_rules *rules, int ms)
{
	rules->request_timeout_ms = ms < 0 ? 0 : ms ? ms : c->group->rules.request_timeout_ms;
	if (!rules->request_timeout_ms)
		conn_request_over(c);
	else if (c->io && linkbuf_len(&c->io->in) && conn_state(c) == CONN_OPEN)
		conn_request_came(c);
	conn_arm_clock(c);
	return 0;
}

int np_conn_set_request_timeout(struct np_conn *c, int ms)
{
	return set_rule(c, ms, -1, put_request_timeout);
}

int np_conn_set_idle_timeout(struct np_conn *c, int ms)
{
	int r = set_ms(c, &c->idle_timeout_ms, ms);

	if (r == 0) {
		conn_touch(c);
		conn_arm_clock(c);
	}
	return r;
}

/* Moves the timer of a fiber that waits already. */
static void rearm(struct conn_wait *w, uint64_t when_ms)
{
	if (w)
		park_set_until(&w->park, when_ms);
}

/* Rounded up: a deadline is never early. */
static uint64_t to_ms(uint64_t mono_ns)
{
	return mono_ns ? mono_ns / 1000000u + (mono_ns % 1000000u != 0) : 0;
}

int np_conn_set_read_deadline(struct np_conn *c, uint64_t mono_ns)
{
	struct conn_extra *x;
	int r = conn_extra(c, &x);

	if (r < 0)
		return r;
	x->read_deadline_ms = to_ms(mono_ns);
	rearm(c->io ? c->io->reader : NULL, x->read_deadline_ms);
	return 0;
}

int np_conn_set_write_deadline(struct np_conn *c, uint64_t mono_ns)
{
	struct conn_extra *x;
	int r = conn_extra(c, &x);

	if (r < 0)
		return r;
	x->write_deadline_ms = to_ms(mono_ns);
	rearm(c->io ? c->io->writer : NULL, x->write_deadline_ms);
	return 0;
}

/* ------------------------------------------------------------------ socket options */

static int tcp_only(const struct np_conn *c)
{
	int r = conn_settable(c);

	return r < 0 || (c->flags & CONN_INET) ? r : -NP_EUNSUPPORTED;
}

int np_conn_set_keepalive(struct np_conn *c, int idle_s, int intvl_s, int cnt)
{
	int fd = c->watch.fd, r = tcp_only(c);

	if (r == 0 && (idle_s < 0 || (idle_s > 0 && (intvl_s < 1 || cnt < 1))))
		r = -EINVAL;
	if (r < 0)
		return r;
	return idle_s > 0 ? sys_set_keepalive(fd, idle_s, intvl_s, cnt) :
			    sys_setsockopt_int(fd, SOL_SOCKET, SO_KEEPALIVE, 0);
}

int np_conn_set_user_timeout(struct np_conn *c, int ms)
{
	int r = tcp_only(c);

	if (r == 0 && ms < 0)
		r = -EINVAL;
	return r ? r : sys_setsockopt_int(c->watch.fd, IPPROTO_TCP, TCP_USER_TIMEOUT, ms);
}

int np_conn_set_nagle(struct np_conn *c, bool on)
{
	int r = tcp_only(c);

	return r ? r : sys_setsockopt_int(c->watch.fd, IPPROTO_TCP, TCP_NODELAY, !on);
}

/* ------------------------------------------------------------------ flow */

#define SEND_HIGH_MAX INT32_MAX /* c->sendq_bytes counts 32 bits */

static size_t conn_limit_or(size_t own, size_t base, size_t ours)
{
	return own ? own : base ? base : ours;
}

int conn_limits_init(struct np_limits *l, const struct np_limits *base)
{
	static const struct np_limits none;
	const struct np_limits *b = base ? base : &none;
	size_t in_high = conn_limit_or(l->in_high, b->in_high, 256u << 10);

	l->out_high = conn_limit_or(l->out_high, b->out_high, 1u << 20);
	l->in_max = conn_limit_or(l->in_max, b->in_max, 64u << 20);
	l->send_high = conn_limit_or(l->send_high, b->send_high, 16u << 20);
	if (l->send_high > SEND_HIGH_MAX)
		l->send_high = SEND_HIGH_MAX;
	if (!l->in_high && in_high > l->in_max)
		in_high = l->in_max;
	l->in_high = in_high;
	return in_high > l->in_max ? -EINVAL : 0;
}

int np_conn_set_limits(struct np_conn *c, const struct np_limits *limits)
{
	struct np_limits l = *limits;
	struct conn_extra *x;
	int r = conn_settable(c);

	if (r == 0)
		r = conn_limits_init(&l, &c->group->limits);
	if (r < 0)
		return r;
	r = conn_extra(c, &x);
	if (r < 0)
		return r;
	x->limits = l;
	atomic_store_explicit(&c->send_high, (uint32_t)l.send_high, memory_order_relaxed);
	conn_rx_resume(c);
	return 0;
}

void np_conn_pause_read(struct np_conn *c)
{
	c->flags |= CONN_PAUSED;
	/* once it is closing, the library reads, to throw it away */
	if (conn_state(c) <= CONN_OPEN)
		watch_stop(&c->watch, WATCH_IN);
}

void np_conn_resume_read(struct np_conn *c)
{
	c->flags &= ~(uint32_t)CONN_PAUSED;
	conn_rx_resume(c);
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
	poller_note_tag(conn_poller(c), tag);
}

int np_conn_fd(struct np_conn *c)
{
	return c->watch.fd;
}

static int conn_address(struct np_conn *c,
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

int np_conn_local_addr(struct np_conn *c, struct sockaddr_storage *ret, socklen_t *ret_len)
{
	return conn_address(c, sys_getsockname, ret, ret_len);
}

int np_conn_remote_addr(struct np_conn *c, struct sockaddr_storage *ret, socklen_t *ret_len)
{
	return conn_address(c, sys_peer_addr, ret, ret_len);
}

int np_conn_poller(const struct np_conn *c)
{
	return poller_index(conn_poller(c));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dial: np_dial() and np_conn_from_fd(): on this poller at once, on another by a remote dial
 *
 * A fiber that is cancelled does not wait for its remote dial. That lies on the heap, held by the
 * fiber that asked and by the one that does the work; the last to let go gives back what was not
 * taken.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conn/conn.h"
#include "conn/dialer.h"
#include "netpoll/client.h"
#include "netpoll/event.h"
#include "netpoll/own_group.h"
#include "netpoll/pollers_private.h"
#include "netpoll/resolver.h"
#include "poll/baton.h"
#include "poll/park.h"
#include "sys/addr.h"
#include "sys/io.h"
#include "sys/opts.h"
#include "sys/sock.h"

#define DIAL_HOST_MAX 256 /* RFC 1035, 2.3.4 */

/* ------------------------------------------------------------------ where to */

/* ":80": this host, over whatever it has. */
static int dial_loopbacks(const struct addr *any, struct addr *to)
{
	char text[2][24];
	int port = addr_port(&any->ss);

	snprintf(text[0], sizeof text[0], "[::1]:%d", port);
	snprintf(text[1], sizeof text[1], "127.0.0.1:%d", port);
	addr_parse("tcp6", text[0], &to[0]);
	addr_parse("tcp4", text[1], &to[1]);
	return 2;
}

/*
 * The addresses to try: *list is @few, room for two, or on the heap. Return: how many, or why there
 * is none.
 */
static int dial_addresses(struct poller_slot *s, const char *network, const char *address,
			  uint64_t until_ms, struct addr *few, struct addr **list)
{
	int r = addr_parse(network, address, &few[0]);

	if (r == -NP_ERESOLVE)
		return resolver_lookup(s->pollers->resolver, network, address, until_ms, list);
	if (r < 0)
		return r;
	*list = few;
	return few[0].any_stack ? dial_loopbacks(&few[0], few) : 1;
}

/* ------------------------------------------------------------------ here */

static int dial_parse_local(const char *network, const char *text, struct addr *ret)
{
	int r = addr_parse(network, text, ret);

	return r == -NP_ERESOLVE ? -EINVAL : r;
}

static enum transport_kind dial_kind(int family)
{
	return family == AF_INET || family == AF_INET6 ? TRANSPORT_TCP : TRANSPORT_UNIX;
}

/* Of the connected descriptor: before, user_timeout_ms would bound the dial too. */
static int dial_set_options(int fd, int family, const struct np_dial_opts *o)
{
	int r = 0;

	if (family != AF_INET && family != AF_INET6)
		return 0;
	if (o->keepalive_idle_s > 0)
		r = sys_set_keepalive(fd, o->keepalive_idle_s, o->keepalive_intvl_s,
				      o->keepalive_cnt);
	if (r == 0 && o->user_timeout_ms)
		r = sys_set_user_timeout(fd, o->user_timeout_ms);
	return r;
}

/* Return: the family of *ret_fd, which is connected and has its options; -errno. */
static int dial_connect(struct poller_slot *s, const char *network, const char *address,
			const struct np_dial_opts *o, uint64_t until_ms, int *ret_fd)
{
	struct addr few[2], *to = few, local;
	struct dialer_opts d = {
		.local = o->local ? &local : NULL,
		.until_ms = until_ms,
		.nagle = o->nagle,
	};
	int r = 0, n, family;

	if (o->local)
		r = dial_parse_local(network, o->local, &local);
	if (r < 0)
		return r;
	n = dial_addresses(s, network, address, d.until_ms, few, &to);
	if (n < 0)
		return n;
	r = dialer_connect(to, (unsigned)n, &d, ret_fd);
	family = to[0].ss.ss_family;
	if (to != few)
		free(to);
	if (r == 0)
		r = dial_set_options(*ret_fd, family, o);
	if (r < 0)
		sys_close(ret_fd);
	return r < 0 ? r : family;
}

/* "name:443", "[::1]:443": the part that is in a certificate. A unix socket has none. */
static const char *dial_host_of(const char *address, char *dst, size_t cap)
{
	const char *from = *address == '[' ? address + 1 : address;
	const char *end = *address == '[' ? strchr(from, ']') : strrchr(from, ':');

	if (!end || end == from || (size_t)(end - from) >= cap || *address == '/' ||
	    *address == '@')
		return NULL;
	memcpy(dst, from, (size_t)(end - from));
	dst[end - from] = '\0';
	return dst;
}

/* Its connection goes to the caller when the handshake is over. */
static int dial_shake_hands(struct np_conn *c, uint64_t until_ms, struct np_conn **ret)
{
	int r = conn_filter_wait(c, until_ms);

	if (r == 0) {
		*ret = c;
		return 0;
	}
	if (r == -ETIMEDOUT && until_ms && poller_now_ms(poller_self()) >= until_ms)
		r = -NP_EDIALTIMEOUT;
	np_conn_close(c); /* the alert that says why is on its way */
	np_conn_unref(c);
	return r;
}

static int dial_here(struct poller_slot *s, const char *network, const char *address,
		     const struct np_dial_opts *opts, struct np_conn **ret)
{
	struct np_dial_opts o = *opts;
	uint64_t until = o.timeout_ms > 0 ? poller_after_ms(s->poller, o.timeout_ms) : 0;
	char host[DIAL_HOST_MAX];
	int fd = -1, family = dial_connect(s, network, address, &o, until, &fd), r;
	struct np_conn *c;

	if (family < 0)
		return family;
	if (o.tls && !o.tls_host)
		o.tls_host = dial_host_of(address, host, sizeof host);
	r = own_group_new(s, &fd, dial_kind(family), &o, &c);
	if (r < 0)
		return r;
	if (o.tls)
		return dial_shake_hands(c, until, ret);
	*ret = c;
	return 0;
}

/* ------------------------------------------------------------------ elsewhere */

/* A dial, or a descriptor, for another poller. */
struct dial_remote {
	_Atomic(unsigned) holders;
	struct event done;
	struct mail mail;
	struct spawn spawn;
	struct poller_slot *to;
	uint64_t until_ms;   /* the deadline of the fiber that asked; 0: none */
	struct fiber *fiber; /* while it runs; its poller's, like given_up */
	struct mail give_up; /* holds the remote dial, as its sender did */
	bool given_up;
	char *network, *address, *local, *tls_host; /* NULL for a descriptor */
	struct np_dial_opts opts;
	struct np_handlers handlers;
	int fd;
	enum transport_kind kind;
	int result;
	struct np_conn *conn; /* a reference, until the fiber that asked takes it */
};

static void dial_remote_drop(struct dial_remote *d)
{
	if (atomic_fetch_sub(&d->holders, 1) != 1)
		return;
	if (d->conn) {
		np_conn_close(d->conn);
		np_conn_unref(d->conn);
	}
	sys_close(&d->fd);
	free(d->network);
	free(d->address);
	free(d->local);
	free(d->tls_host);
	free(d);
}

static void dial_remote_done(struct dial_remote *d, int result)
{
	d->result = result;
	event_set(&d->done);
	dial_remote_drop(d);
}

static int dial_remote_work(struct dial_remote *d)
{
	if (d->given_up)
		return -ECANCELED;
	if (!d->address)
		return own_group_new(d->to, &d->fd, d->kind, &d->opts, &d->conn);
	return dial_here(d->to, d->network, d->address, &d->opts, &d->conn);
}

static void dial_remote_main(void *arg)
{
	struct dial_remote *d = arg;
	struct poller_slot *s = d->to;
	int r;

	d->fiber = fiber_self();
	fiber_set_until(d->fiber, d->until_ms);
	r = dial_remote_work(d);
	d->fiber = NULL;
	dial_remote_done(d, r);
	poller_unhold(s->poller);
}

/* It is waited for no more: a dial that has no limit would try as long as the kernel does. */
static void dial_remote_give_up(struct mail *m)
{
	struct dial_remote *d = container_of(m, struct dial_remote, give_up);

	d->given_up = true;
	if (d->fiber)
		park_cancel_fiber(d->fiber);
	dial_remote_drop(d);
}

static void dial_remote_arrive(struct mail *m)
{
	struct dial_remote *d = container_of(m, struct dial_remote, mail);

	if (poller_cancelled(d->to->poller)) {
		dial_remote_done(d, -ECANCELED);
		return;
	}
	poller_hold(d->to->poller);
	poller_spawn_node(d->to->poller, &d->spawn);
}

/* Copies the options and handlers: the caller's stack may not hold them for long enough. */
static struct dial_remote *dial_remote_new(const struct np_dial_opts *o)
{
	struct dial_remote *d = calloc(1, sizeof *d);

	if (!d)
		return NULL;
	atomic_init(&d->holders, 2);
	event_init(&d->done);
	d->mail.fn = dial_remote_arrive;
	d->give_up.fn = dial_remote_give_up;
	d->until_ms = fiber_self() ? fiber_until(fiber_self()) : 0;
	d->spawn.call.fn = dial_remote_main;
	d->spawn.call.arg = d;
	d->fd = -1;
	d->handlers = *o->handlers;
	d->opts = *o;
	d->opts.handlers = &d->handlers;
	return d;
}

static int dial_remote_run(struct dial_remote *d, struct np_pollers *p, int index,
			   struct np_conn **ret)
{
	int r;

	d->to = &p->slots[index];
	r = pollers_post(p, (unsigned)index, &d->mail);
	if (r < 0) {
		dial_remote_drop(d);
		dial_remote_drop(d);
		return r;
	}
	r = event_wait(&d->done, 0, "dial");
	if (r == 0) {
		r = d->result;
		*ret = d->conn;
		d->conn = NULL;
	} else if (pollers_post(p, (unsigned)index, &d->give_up) == 0) {
		return r;
	}
	dial_remote_drop(d);
	return r;
}

static int dial_elsewhere(struct np_pollers *p, int index, const char *network, const char *address,
			  const struct np_dial_opts *o, struct np_conn **ret)
{
	struct dial_remote *d = dial_remote_new(o);

	if (!d)
		return -ENOMEM;
	d->network = strdup(network);
	d->address = strdup(address);
	d->local = o->local ? strdup(o->local) : NULL;
	d->opts.local = d->local;
	d->tls_host = o->tls_host ? strdup(o->tls_host) : NULL;
	d->opts.tls_host = d->tls_host;
	if (!d->network || !d->address || (o->local && !d->local) ||
	    (o->tls_host && !d->tls_host)) {
		dial_remote_drop(d);
		dial_remote_drop(d);
		return -ENOMEM;
	}
	return dial_remote_run(d, p, index, ret);
}

/* ------------------------------------------------------------------ verbs */

/* Return: the poller's index; -errno: the handlers may not run there. */
static int dial_pick(struct np_pollers **p, int poller, const struct np_handlers *h,
		     struct np_handlers *ret)
{
	int index = pollers_pick(p, poller), r;

	if (index < 0)
		return index;
	if (!h)
		return (*p)->poller[index] == poller_self() ? index : -EINVAL;
	r = pollers_take_handlers(ret, h);
	return r < 0 ? r : index;
}

int np_dial(struct np_pollers *p, int poller, const char *network, const char *address,
	    const struct np_dial_opts *opts, struct np_conn **ret)
{
	NP_GATE(np_dial(p, poller, network, address, opts, ret));

	struct np_handlers h;
	struct np_dial_opts o;
	int r;

	if (!fiber_self())
		return -NP_ENOTFIBER;
	r = sys_opts_take(&o, sizeof o, opts);
	if (r < 0)
		return r;
	if (!network || !address || o.timeout_ms < -1 || o.keepalive_idle_s < -1 ||
	    o.keepalive_intvl_s < 0 || o.keepalive_cnt < 0 || o.user_timeout_ms < -1 ||
	    conn_limits_init(&o.limits, NULL) < 0)
		return -EINVAL;
	r = dial_pick(&p, poller, o.handlers, &h);
	if (r < 0)
		return r;
	o.handlers = o.handlers ? &h : NULL;
	if (p->poller[r] == poller_self())
		return dial_here(poller_slot_self(), network, address, &o, ret);
	return dial_elsewhere(p, r, network, address, &o, ret);
}

/* Return: 0, *ret_kind that of @fd; why there can be none. */
static int dial_inspect(int fd, enum transport_kind *ret_kind)
{
	struct sockaddr_storage ss;
	int type = 0, listening = 0, r;
	socklen_t len;

	*ret_kind = TRANSPORT_FILE;
	r = sys_getsockopt_int(fd, SOL_SOCKET, SO_TYPE, &type);
	if (r == -ENOTSOCK)
		return sys_set_nonblock(fd);
	if (r < 0)
		return r;
	if (type != SOCK_STREAM)
		return -NP_EUNSUPPORTED;
	if (sys_getsockopt_int(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening) == 0 && listening)
		return -EINVAL;
	r = sys_getpeername(fd, &ss, &len);
	if (r < 0)
		return r;
	*ret_kind = dial_kind(ss.ss_family);
	return sys_set_nonblock(fd);
}

int np_conn_from_fd(struct np_pollers *p, int poller, int *fd, const struct np_handlers *handlers,
		    void *arg, struct np_conn **ret)
{
	NP_GATE(np_conn_from_fd(p, poller, fd, handlers, arg, ret));

	struct np_handlers h;
	struct np_dial_opts o = { .handlers = handlers ? &h : NULL, .arg = arg };
	struct dial_remote *d;
	enum transport_kind kind;
	int r = dial_inspect(*fd, &kind), index;

	if (r == 0)
		r = dial_pick(&p, poller, handlers, &h);
	index = r;
	if (r >= 0 && p->poller[r] != poller_self() && poller_self() && !fiber_self())
		r = -NP_ENOTFIBER;
	if (r >= 0 && p->poller[r] == poller_self())
		return own_group_new(poller_slot_self(), fd, kind, &o, ret);
	d = r >= 0 ? dial_remote_new(&o) : NULL;
	if (!d) {
		if (r == -EBADF && !sys_is_open(*fd))
			*fd = -1; /* there is nothing to close */
		sys_close(fd);
		return r < 0 ? r : -ENOMEM;
	}
	d->kind = kind;
	d->fd = *fd;
	*fd = -1;
	return dial_remote_run(d, p, index, ret);
}

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
#include "poll/park.h"
#include "sys/addr.h"
#include "sys/io.h"
#include "sys/opts.h"
#include "sys/sock.h"

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

static unsigned dial_flags(int family)
{
	return CONN_SOCKET | (family == AF_INET || family == AF_INET6 ? CONN_INET : 0);
}

/* Of the connected descriptor: before, user_timeout_ms would bound the dial too. */
static int dial_set_options(int fd, int family, const struct np_dial_opts *o)
{
	int r = 0;

	if (family != AF_INET && family != AF_INET6)
		return 0;
	if (o->keepalive_idle_s)
		r = sys_set_keepalive(fd, o->keepalive_idle_s,
				      o->keepalive_intvl_s ? o->keepalive_intvl_s :
							     o->keepalive_idle_s,
				      o->keepalive_cnt ? o->keepalive_cnt : 3);
	if (r == 0 && o->user_timeout_ms)
		r = sys_setsockopt_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, o->user_timeout_ms);
	return r;
}

static int dial_here(struct poller_slot *s, const char *network, const char *address,
		     const struct np_dial_opts *o, struct np_conn **ret)
{
	struct addr few[2], *to = few, local;
	struct dialer_opts d = {
		.local = o->local ? &local : NULL,
		.until_ms = o->timeout_ms ? poller_after_ms(s->poller, o->timeout_ms) : 0,
		.nagle = o->nagle,
	};
	int fd = -1, r = 0, n;

	if (o->local)
		r = dial_parse_local(network, o->local, &local);
	if (r < 0)
		return r;
	n = dial_addresses(s, network, address, d.until_ms, few, &to);
	if (n < 0)
		return n;
	r = dialer_connect(to, (unsigned)n, &d, &fd);
	n = to[0].ss.ss_family;
	if (to != few)
		free(to);
	if (r == 0)
		r = dial_set_options(fd, n, o);
	if (r < 0) {
		sys_close(&fd);
		return r;
	}
	return own_group_new(s, &fd, dial_flags(n), o, ret);
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
	char *network, *address, *local; /* NULL for a descriptor */
	struct np_dial_opts opts;
	struct np_handlers handlers;
	int fd;
	unsigned flags;
	int result;
	struct np_conn *conn; /* a reference, until the fiber that asked takes it */
};

static void dial_remote_drop(struct dial_remote *e)
{
	if (atomic_fetch_sub(&e->holders, 1) != 1)
		return;
	if (e->conn) {
		np_conn_close(e->conn);
		np_conn_unref(e->conn);
	}
	sys_close(&e->fd);
	free(e->network);
	free(e->address);
	free(e->local);
	free(e);
}

static void dial_remote_done(struct dial_remote *e, int result)
{
	e->result = result;
	event_set(&e->done);
	dial_remote_drop(e);
}

static int dial_remote_work(struct dial_remote *e)
{
	if (e->given_up)
		return -ECANCELED;
	if (!e->address)
		return own_group_new(e->to, &e->fd, e->flags, &e->opts, &e->conn);
	return dial_here(e->to, e->network, e->address, &e->opts, &e->conn);
}

static void dial_remote_main(void *arg)
{
	struct dial_remote *e = arg;
	struct poller_slot *s = e->to;
	int r;

	e->fiber = fiber_self();
	fiber_set_until(e->fiber, e->until_ms);
	r = dial_remote_work(e);
	e->fiber = NULL;
	dial_remote_done(e, r);
	poller_unhold(s->poller);
}

/* It is waited for no more: a dial that has no limit would try as long as the kernel does. */
static void dial_remote_give_up(struct mail *m)
{
	struct dial_remote *e = container_of(m, struct dial_remote, give_up);

	e->given_up = true;
	if (e->fiber)
		park_cancel_fiber(e->fiber);
	dial_remote_drop(e);
}

static void dial_remote_arrive(struct mail *m)
{
	struct dial_remote *e = container_of(m, struct dial_remote, mail);

	if (poller_cancelled(e->to->poller)) {
		dial_remote_done(e, -ECANCELED);
		return;
	}
	poller_hold(e->to->poller);
	poller_spawn_node(e->to->poller, &e->spawn);
}

/* Copies what the caller's stack will not hold for long enough. */
static struct dial_remote *dial_remote_new(const struct np_dial_opts *o)
{
	struct dial_remote *e = calloc(1, sizeof *e);

	if (!e)
		return NULL;
	atomic_init(&e->holders, 2);
	event_init(&e->done);
	e->mail.fn = dial_remote_arrive;
	e->give_up.fn = dial_remote_give_up;
	e->until_ms = fiber_self() ? fiber_until(fiber_self()) : 0;
	e->spawn = (struct spawn){ .fn = dial_remote_main, .arg = e };
	e->fd = -1;
	e->handlers = *o->handlers;
	e->opts = *o;
	e->opts.handlers = &e->handlers;
	return e;
}

static int dial_remote_run(struct dial_remote *e, struct np_pollers *p, int index,
			   struct np_conn **ret)
{
	int r;

	e->to = &p->slots[index];
	r = pollers_post(p, (unsigned)index, &e->mail);
	if (r < 0) {
		dial_remote_drop(e);
		dial_remote_drop(e);
		return r;
	}
	r = event_wait(&e->done, 0);
	if (r == 0) {
		r = e->result;
		*ret = e->conn;
		e->conn = NULL;
	} else if (pollers_post(p, (unsigned)index, &e->give_up) == 0) {
		return r;
	}
	dial_remote_drop(e);
	return r;
}

static int dial_elsewhere(struct np_pollers *p, int index, const char *network, const char *address,
			  const struct np_dial_opts *o, struct np_conn **ret)
{
	struct dial_remote *e = dial_remote_new(o);

	if (!e)
		return -ENOMEM;
	e->network = strdup(network);
	e->address = strdup(address);
	e->local = o->local ? strdup(o->local) : NULL;
	e->opts.local = e->local;
	if (!e->network || !e->address || (o->local && !e->local)) {
		dial_remote_drop(e);
		dial_remote_drop(e);
		return -ENOMEM;
	}
	return dial_remote_run(e, p, index, ret);
}

/* ------------------------------------------------------------------ verbs */

/* Return: the poller's index; what the handlers and where they are to run do not allow. */
static int dial_pick(struct np_pollers **p, int poller, const struct np_handlers *h,
		     struct np_handlers *ret)
{
	int index = pollers_pick(p, poller), r;

	if (index < 0)
		return index;
	if (!h)
		return (*p)->poller[index] == poller_self() ? index : -EINVAL;
	r = sys_opts_take(ret, sizeof *ret, h);
	return r < 0 ? r : index;
}

int np_dial(struct np_pollers *p, int poller, const char *network, const char *address,
	    const struct np_dial_opts *opts, struct np_conn **ret)
{
	struct np_handlers h;
	struct np_dial_opts o;
	int r;

	if (!fiber_self())
		return -NP_ENOTFIBER;
	r = sys_opts_take(&o, sizeof o, opts);
	if (r < 0)
		return r;
	if (!network || !address || o.timeout_ms < 0 || o.keepalive_idle_s < 0 ||
	    o.keepalive_intvl_s < 0 || o.keepalive_cnt < 0 || o.user_timeout_ms < 0 ||
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

/* Return: 0, *ret_flags those of a connection of @fd; why there can be none. */
static int dial_inspect(int fd, unsigned *ret_flags)
{
	struct sockaddr_storage ss;
	int type = 0, listening = 0, r;
	socklen_t len;

	*ret_flags = 0;
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
	*ret_flags = dial_flags(ss.ss_family);
	return sys_set_nonblock(fd);
}

int np_conn_from_fd(struct np_pollers *p, int poller, int *fd, const struct np_handlers *handlers,
		    void *arg, struct np_conn **ret)
{
	struct np_handlers h;
	struct np_dial_opts o = { .handlers = handlers ? &h : NULL, .arg = arg };
	struct dial_remote *e;
	unsigned flags;
	int r = dial_inspect(*fd, &flags), index;

	if (r == 0)
		r = dial_pick(&p, poller, handlers, &h);
	index = r;
	if (r >= 0 && p->poller[r] != poller_self() && poller_self() && !fiber_self())
		r = -NP_ENOTFIBER;
	if (r >= 0 && p->poller[r] == poller_self())
		return own_group_new(poller_slot_self(), fd, flags, &o, ret);
	e = r >= 0 ? dial_remote_new(&o) : NULL;
	if (!e) {
		if (r == -EBADF)
			*fd = -1; /* there is nothing to close */
		sys_close(fd);
		return r < 0 ? r : -ENOMEM;
	}
	e->flags = flags;
	e->fd = *fd;
	*fd = -1;
	return dial_remote_run(e, p, index, ret);
}

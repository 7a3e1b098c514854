/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * listener: the accept loop and what it does about each errno of accept4(2)
 *
 * Out of descriptors, the connections wait in the kernel's queue, where the next free descriptor
 * finds them: nobody is turned away for a shortage that passes in a second. One that does not pass
 * is answered: the reserve descriptor is given up for a moment, and with its number each waiting
 * connection is accepted and reset, so that a peer learns at once what its own timeout would tell
 * it later.
 */
#include "conn/listener.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "netpoll/status.h"
#include "poll/poller.h"
#include "sys/io.h"
#include "sys/sock.h"
#include "sys/wake.h"

#define ACCEPT_BUDGET  64u
#define CALM           16u
#define BACKOFF_MIN_MS 10
#define BACKOFF_MAX_MS 500 /* reached after 1.1 s: from then on the queue is shed */
#define SHED_BUDGET    256u
#define LOG_EVERY_MS   1000

enum verdict { ACCEPTED, EMPTY, SKIP, BACK_OFF, BROKEN };

/*
 * accept(2): Linux passes pending network errors of the new socket on as errors of accept4, and
 * they end that one connection, not this listener. Out of descriptors or memory is everybody's
 * trouble and passes: the connections wait in the queue meanwhile. So does an error that is not
 * known here, such as a security module's: only what says that the descriptor is no listener is
 * final.
 */
static enum verdict listener_judge(int r)
{
	switch (-r) {
	case 0:
		return ACCEPTED;
	case EAGAIN:
		return EMPTY;
	case ECONNABORTED:
	case EPROTO:
	case EPERM:
	case ENETDOWN:
	case ENOPROTOOPT:
	case EHOSTDOWN:
	case ENONET:
	case EHOSTUNREACH:
	case EOPNOTSUPP:
	case ENETUNREACH:
	case ETIMEDOUT:
		return SKIP;
	case EBADF:
	case EINVAL:
	case ENOTSOCK:
	case EFAULT:
		return BROKEN;
	default: /* EMFILE, ENFILE, ENOBUFS, ENOMEM, EACCES, ... */
		return BACK_OFF;
	}
}

static bool listener_err_is_descriptors(int err)
{
	return err == -EMFILE || err == -ENFILE;
}

/*
 * An eventfd: it needs no path and stands for nothing. Without one there is no shedding, no more.
 */
static void listener_keep_reserve(struct listener *l)
{
	if (l->reserve < 0)
		sys_wake_open(&l->reserve);
}

static unsigned listener_shed(struct listener *l)
{
	struct linger rst = { .l_onoff = 1 };
	unsigned n = 0;
	int fd = -1;

	if (l->reserve < 0)
		return 0;
	sys_close(&l->reserve);
	while (n < SHED_BUDGET && sys_accept4(l->fd, NULL, NULL, &fd) == 0) {
		sys_setsockopt(fd, SOL_SOCKET, SO_LINGER, &rst, sizeof rst);
		sys_close(&fd);
		n++;
	}
	listener_keep_reserve(l);
	return n;
}

/* Once a second at most: with descriptors coming and going, episodes may be as short as a
 * connection. */
static void listener_say(struct listener *l, int err, unsigned reset)
{
	uint64_t now = poller_now_ms(l->watch.poller);

	l->shed += reset;
	if (l->sheds)
		__atomic_store_n(l->sheds, *l->sheds + reset, __ATOMIC_RELAXED);
	if (l->said_ms && now - l->said_ms < LOG_EVERY_MS)
		return;
	l->said_ms = now;
	if (l->shed)
		poller_log(
			l->watch.poller, 1,
			"accept: %s, for more than a second now; %u waiting connections were reset",
			np_strerror(err), l->shed);
	else
		poller_log(l->watch.poller, 1,
			   "accept: %s; connections wait in the queue, trying again from %d ms on",
			   np_strerror(err), BACKOFF_MIN_MS);
	l->shed = 0;
}

static void listener_back_off(struct listener *l, int err)
{
	struct poller *p = l->watch.poller;
	bool long_since = l->backoff_ms >= BACKOFF_MAX_MS;

	l->backoff_ms = !l->backoff_ms ? BACKOFF_MIN_MS :
			long_since     ? BACKOFF_MAX_MS :
					 l->backoff_ms * 2;
	if (l->backoff_ms > BACKOFF_MAX_MS)
		l->backoff_ms = BACKOFF_MAX_MS;
	listener_say(l, err, long_since && listener_err_is_descriptors(err) ? listener_shed(l) : 0);
	/* Level-triggered: it would report the waiting connections at every turn. */
	watch_close(&l->watch);
	timer_arm(p, &l->retry, poller_now_ms(p) + (uint64_t)l->backoff_ms);
}

/* Up to @n connections. Return: the verdict that ended it. */
static enum verdict listener_accept(struct listener *l, unsigned n, int *ret_err,
				    unsigned *ret_accepted)
{
	enum verdict v = ACCEPTED;
	int fd;

	*ret_accepted = 0;
	while (n-- > 0) {
		fd = -1;
		*ret_err = sys_accept4(l->fd, NULL, NULL, &fd);
		v = listener_judge(*ret_err);
		if (v == SKIP)
			continue;
		if (v != ACCEPTED)
			break;
		++*ret_accepted;
		l->on_accept(l, &fd);
		if (l->fd < 0 || l->held)
			return EMPTY; /* its owner closed the listener meanwhile, or has enough */
	}
	return v;
}

static void listener_conclude(struct listener *l, enum verdict v, int err)
{
	if (v == BACK_OFF) {
		listener_back_off(l, err);
	} else if (v == BROKEN) {
		listener_close(l);
		if (l->on_error)
			l->on_error(l, err);
	} else {
		l->backoff_ms = 0;
		listener_keep_reserve(l);
	}
}

static void listener_expect(struct listener *l)
{
	uint64_t turn = poller_turn(l->watch.poller), now = poller_now_ms(l->watch.poller);
	bool burst = turn == l->turn + 1 && now == l->at_ms;

	if (!burst)
		l->accepts = 1;
	else if (l->calm)
		l->calm--;
	else if (l->accepts < ACCEPT_BUDGET)
		l->accepts *= 2;
	l->turn = turn;
	l->at_ms = now;
}

static void listener_readable(struct watch *w, unsigned ready)
{
	struct listener *l = container_of(w, struct listener, watch);
	enum verdict v;
	int err;

	listener_expect(l);
	/* level-triggered: the kernel says it again while the queue has more */
	watch_cant(w, WATCH_IN);
	v = listener_accept(l, l->accepts, &err, &(unsigned){ 0 });
	if (v == EMPTY && l->accepts > 1) {
		l->accepts = 1;
		l->calm = CALM;
	}
	listener_conclude(l, v, err);
}

static void listener_retry(struct timer *t)
{
	listener_nudge(container_of(t, struct listener, retry));
}

static int listener_resume(struct listener *l, struct poller *p)
{
	int r;

	if (l->held)
		return 0;
	r = watch_open(&l->watch, p, l->fd, EPOLLEXCLUSIVE, listener_readable);
	if (r < 0)
		return r;
	r = watch_want(&l->watch, WATCH_IN);
	if (r < 0)
		watch_close(&l->watch);
	return r;
}

void listener_init(struct listener *l)
{
	timer_init(&l->retry, listener_retry);
	l->fd = l->reserve = -1;
}

int listener_open(struct listener *l, struct poller *p, int fd)
{
	int r;

	listener_init(l);
	l->fd = fd;
	l->accepts = 1;
	l->backoff_ms = 0;
	l->said_ms = 0;
	l->shed = 0;
	listener_keep_reserve(l);
	r = listener_resume(l, p);
	if (r < 0)
		listener_close(l);
	return r;
}

void listener_close(struct listener *l)
{
	timer_disarm(&l->retry);
	watch_close(&l->watch);
	if (l->fd >= 0)
		sys_close(&l->reserve);
	l->fd = -1;
}

void listener_hold(struct listener *l)
{
	l->held = true;
	timer_disarm(&l->retry);
	watch_close(&l->watch);
	l->backoff_ms = 0;
}

void listener_release(struct listener *l, struct poller *p)
{
	if (!l->held)
		return;
	l->held = false;
	if (l->fd < 0 || listener_resume(l, p) == 0)
		return;
	l->backoff_ms = BACKOFF_MAX_MS;
	timer_arm(p, &l->retry, poller_now_ms(p) + BACKOFF_MAX_MS);
}

void listener_drain_begin(struct listener *l)
{
	timer_disarm(&l->retry);
	watch_close(&l->watch);
	l->held = false;
	l->backoff_ms = 0; /* listener_nudge() leaves it alone */
}

int listener_drain(struct listener *l, unsigned *left)
{
	unsigned n = *left < ACCEPT_BUDGET ? *left : ACCEPT_BUDGET;
	enum verdict v;
	int err = 0;

	if (l->fd < 0 || !n)
		return 0;
	v = listener_accept(l, n, &err, &(unsigned){ 0 });
	*left -= n;
	if (v == BACK_OFF || v == BROKEN)
		return err;
	return v != EMPTY && *left ? 1 : 0;
}

void listener_nudge(struct listener *l)
{
	struct poller *p = l->watch.poller;

	if (!l->backoff_ms || l->fd < 0 || watch_is_open(&l->watch))
		return;
	timer_disarm(&l->retry);
	if (listener_resume(l, p) < 0)
		/* -ENOMEM, -ENOSPC pass as well */
		timer_arm(p, &l->retry, poller_now_ms(p) + BACKOFF_MAX_MS);
}

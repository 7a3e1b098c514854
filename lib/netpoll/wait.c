/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * wait: waits of a fiber that are for no connection, event or task: for time, its turn, a
 * descriptor, a worker thread
 */
#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>

#include "netpoll/pollers.h"
#include "netpoll/pollers_private.h"
#include "poll/baton.h"
#include "poll/offload.h"
#include "poll/park.h"
#include "poll/watch.h"
#include "sys/io.h"

/* ------------------------------------------------------------------ time, and its turn */

int np_yield(void)
{
	NP_GATE(np_yield());

	struct park k;
	int r = park_init(&k, NULL, "yield");

	if (r == -NP_ENOTFIBER)
		return r;
	park_wake(&k, 0);
	park_wait(&k, 0);
	return poller_cancelled(k.poller) ? -ECANCELED : np_deadline_left() == 0 ? -ETIMEDOUT : 0;
}

int np_sleep(int ms)
{
	NP_GATE(np_sleep(ms));

	struct park k;
	int r;

	if (ms < 0)
		return -EINVAL;
	if (ms == 0)
		return np_yield();
	r = park_init(&k, NULL, "sleep");
	if (r == 0)
		r = park_wait(&k, poller_after_ms(k.poller, ms));
	return r == -ETIMEDOUT && !k.by_deadline ? 0 : r;
}

/* ------------------------------------------------------------------ a descriptor */

#define EVENTS_IN    (POLLIN | POLLPRI | POLLRDHUP)
#define EVENTS_KNOWN (EVENTS_IN | POLLOUT | POLLERR | POLLHUP)

struct fd_wait {
	struct watch watch;
	struct park park;
	unsigned events;
};

/* The events of epoll as poll(2) names them. A read finds out whether there are bytes, or a mark,
 * beside an urgent one. */
static unsigned wait_reported(const struct fd_wait *f, unsigned ready)
{
	unsigned flags = f->watch.flags, e = 0;

	e |= ready & WATCH_IN ? f->events & POLLIN : 0;
	e |= ready & WATCH_OUT ? f->events & POLLOUT : 0;
	e |= flags & WATCH_PRI ? f->events & POLLPRI : 0;
	e |= flags & WATCH_RDHUP ? f->events & POLLRDHUP : 0;
	e |= flags & WATCH_HUP ? POLLHUP : 0;
	e |= flags & WATCH_ERR ? POLLERR : 0;
	return e;
}

static void wait_fd_ready(struct watch *w, unsigned ready)
{
	struct fd_wait *f = container_of(w, struct fd_wait, watch);
	unsigned e = wait_reported(f, ready);

	/* not called again for this edge: the fiber has not run yet, or it was not for us */
	watch_cant(w, ready);
	if (!e)
		return;
	watch_stop(w, w->want);
	park_wake(&f->park, (int)e);
}

/* epoll has said nothing that this poller has read: the descriptor is asked itself. */
static bool wait_fd_end(struct park *k, int *why)
{
	struct fd_wait *f = container_of(k, struct fd_wait, park);
	struct pollfd now = { .fd = f->watch.fd, .events = (short)f->events };

	watch_close(&f->watch);
	if (*why == -ETIMEDOUT && sys_poll_now(&now, 1) > 0)
		*why = now.revents;
	return true;
}

static int wait_fd_open(struct fd_wait *f, int fd)
{
	unsigned want = WATCH_GONE | (f->events & EVENTS_IN ? WATCH_IN : 0) |
			(f->events & POLLOUT ? WATCH_OUT : 0);
	int r;

	r = watch_open(&f->watch, f->park.poller, fd, f->events & POLLOUT ? EPOLLOUT : 0,
		       wait_fd_ready);
	if (r < 0)
		return r == -EEXIST ? -NP_ECONCURRENT : r;
	return watch_want(&f->watch, want);
}

/* Level semantics for the price of ADD and DEL: the edge that ADD reports is the present state. */
int np_wait_fd(int fd, unsigned events, int ms)
{
	NP_GATE(np_wait_fd(fd, events, ms));

	struct fd_wait f = { .events = events };
	int r;

	if (ms < -1 || events & ~(unsigned)EVENTS_KNOWN)
		return -EINVAL;
	r = park_init(&f.park, wait_fd_end, "descriptor");
	if (r == 0)
		r = wait_fd_open(&f, fd);
	if (r < 0)
		return r;
	r = park_wait(&f.park, ms > 0 ? poller_after_ms(f.park.poller, ms) : 0);
	watch_close(&f.watch);
	return r;
}

/* ------------------------------------------------------------------ a worker thread */

int np_offload(void (*fn)(void *), void *arg)
{
	NP_GATE(np_offload(fn, arg));

	struct poller_slot *here = poller_slot_self();

	if (!fn)
		return -EINVAL;
	return here ? offload_run(here->pollers->offload, fn, arg) : -NP_ENOTFIBER;
}

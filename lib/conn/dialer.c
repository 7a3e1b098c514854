/* SPDX-License-Identifier: BSD-2-Clause */
/* dialer: the race of the attempts. */
#include "conn/dialer.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>

#include "netpoll/status.h"
#include "poll/park.h"
#include "poll/poller.h"
#include "poll/watch.h"
#include "sys/io.h"
#include "sys/sock.h"

#define NEXT_AFTER_MS 250 /* RFC 8305, section 8: the recommended delay */
#define BACKOFF_MS    10
#define TRIES         3

struct race;

struct attempt {
	struct watch watch;
	struct race *race;
	const struct addr *to; /* NULL: not used yet */
	int fd;                /* -1: none */
	unsigned tries;
	bool answered;        /* the kernel has something to say */
	uint64_t retry_at_ms; /* begun again then; 0: it does not wait for that */
};

struct race {
	const struct addr *to;
	const struct dialer_opts *o;
	struct poller *poller;
	unsigned n, begun;
	struct attempt attempt[DIALER_BESIDE];
	struct park park;
	int error;        /* of the first address that failed */
	bool over;        /* o->until_ms has passed, and what could be heard by then has been */
	uint64_t next_ms; /* when the next attempt begins beside the others */
};

static void dialer_answered(struct watch *w, unsigned ready)
{
	struct attempt *a = container_of(w, struct attempt, watch);

	watch_stop(w, w->want);
	a->answered = true;
	park_wake(&a->race->park, 0); /* of two answers in one turn the second wakes nobody */
}

/*
 * The time is over; the kernel may have had the answer since long before, while the thread was
 * kept. Asked here, each attempt is heard before it is called late.
 */
static bool dialer_end(struct park *k, int *why)
{
	struct race *e = container_of(k, struct race, park);

	for (unsigned i = 0; i < DIALER_BESIDE && *why == -ETIMEDOUT; i++) {
		/* -1 is not asked */
		struct pollfd now = { .fd = e->attempt[i].fd, .events = POLLOUT };

		if (sys_poll_now(&now, 1) > 0) {
			e->attempt[i].answered = true;
			*why = 0;
		}
	}
	return true;
}

/* ------------------------------------------------------------------ one attempt */

static int dialer_bind(int fd, const struct addr *local)
{
	int r = 0;

	/* The port is chosen at connect(2), when the other end is known: many more are to be had
	 * (ip(7)). */
	if (local->ss.ss_family != AF_UNIX && addr_port(&local->ss) == 0)
		r = sys_setsockopt_int(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
	return r < 0 ? r : sys_bind(fd, (const struct sockaddr *)&local->ss, local->len);
}

static int dialer_socket(const struct race *e, const struct addr *to, int *ret_fd)
{
	int r = sys_socket(to->ss.ss_family, SOCK_STREAM, ret_fd);

	if (r == 0 && !e->o->nagle && to->ss.ss_family != AF_UNIX)
		r = sys_setsockopt_int(*ret_fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (r == 0 && e->o->local)
		r = dialer_bind(*ret_fd, e->o->local);
	return r;
}

static void attempt_end(struct attempt *a)
{
	watch_close(&a->watch);
	sys_close(&a->fd);
	a->answered = false;
}

static int dialer_await(struct attempt *a)
{
	int r = watch_open(&a->watch, a->race->poller, a->fd, EPOLLOUT, dialer_answered);

	return r < 0 ? r : watch_want(&a->watch, WATCH_OUT);
}

/* Return: 0: connected or under way; or why not. */
static int attempt_begin(struct attempt *a)
{
	const struct addr *to = a->to;
	int r;

	a->tries++;
	a->retry_at_ms = 0;
	r = dialer_socket(a->race, to, &a->fd);
	if (r == 0)
		r = sys_connect(a->fd, (const struct sockaddr *)&to->ss, to->len);
	if (r == 0)
		a->answered = true;
	else if (r == -EINPROGRESS)
		r = dialer_await(a);
	if (r < 0)
		attempt_end(a);
	/* unix(7): the queue of the listener is full, and nothing will tell when it is not. */
	if (r == -EAGAIN && to->ss.ss_family == AF_UNIX) {
		a->retry_at_ms = poller_after_ms(a->race->poller, BACKOFF_MS);
		return 0;
	}
	return r;
}

/* tcp(7) has no listener here: both ends have met by chance, on a free local port. */
static bool dialer_is_self(int fd)
{
	struct sockaddr_storage here, there;
	socklen_t n_here, n_there;

	if (sys_getsockname(fd, &here, &n_here) < 0 || sys_getpeername(fd, &there, &n_there) < 0)
		return false;
	if (here.ss_family == AF_UNIX || n_here != n_there || addr_port(&here) != addr_port(&there))
		return false;
	return !memcmp(&here, &there, n_here);
}

static int dialer_outcome(const struct attempt *a)
{
	int err = 0, r = sys_getsockopt_int(a->fd, SOL_SOCKET, SO_ERROR, &err);

	if (r < 0)
		return r;
	if (err)
		return -err;
	return dialer_is_self(a->fd) ? -EADDRNOTAVAIL : 0;
}

/* The kernel found no local port, or the wrong one: another may be right. */
static bool dialer_may_try_again(const struct race *e, const struct attempt *a, int err)
{
	return err == -EADDRNOTAVAIL && a->tries < TRIES && !e->o->local;
}

/* ------------------------------------------------------------------ the race */

static void dialer_failed(struct race *e, struct attempt *a, int err)
{
	attempt_end(a);
	while (dialer_may_try_again(e, a, err)) {
		err = attempt_begin(a);
		if (err == 0)
			return;
	}
	if (!e->error)
		e->error = err;
	e->next_ms = 0; /* no reason to wait for the next one */
}

static bool attempt_is_under_way(const struct attempt *a)
{
	return a->fd >= 0 || a->retry_at_ms;
}

/*
 * Where the next one goes. With DIALER_BESIDE under way that is the place of the first of them: it
 * has had as many times NEXT_AFTER_MS, and an address that has not been tried at all is the better
 * hope.
 */
static struct attempt *dialer_slot(struct race *e)
{
	struct attempt *first = &e->attempt[0];

	for (unsigned i = 0; i < DIALER_BESIDE; i++) {
		struct attempt *a = &e->attempt[i];

		if (!attempt_is_under_way(a))
			return a;
		first = a->to < first->to ? a : first;
	}
	attempt_end(first);
	if (!e->error)
		e->error = -ETIMEDOUT;
	return first;
}

static void dialer_begin_next(struct race *e)
{
	struct attempt *a = dialer_slot(e);
	int r;

	*a = (struct attempt){ .race = e, .fd = -1, .to = &e->to[e->begun++] };
	r = attempt_begin(a);
	e->next_ms = poller_after_ms(e->poller, NEXT_AFTER_MS);
	if (r < 0)
		dialer_failed(e, a, r);
}

/* Hears those that have an answer. Return: the one that is connected, NULL for none yet. */
static struct attempt *dialer_hear(struct race *e)
{
	for (unsigned i = 0; i < DIALER_BESIDE; i++) {
		struct attempt *a = &e->attempt[i];
		int r;

		if (a->retry_at_ms && poller_now_ms(e->poller) >= a->retry_at_ms) {
			r = attempt_begin(a);
			if (r < 0)
				dialer_failed(e, a, r);
		}
		while (a->fd >= 0 && a->answered) {
			r = dialer_outcome(a);
			if (r == 0)
				return a;
			dialer_failed(e, a, r);
		}
	}
	return NULL;
}

static bool dialer_any_left(const struct race *e)
{
	for (unsigned i = 0; i < DIALER_BESIDE; i++)
		if (attempt_is_under_way(&e->attempt[i]))
			return true;
	return e->begun < e->n;
}

static uint64_t dialer_sooner(uint64_t a, uint64_t b)
{
	return !a || (b && b < a) ? b : a;
}

/* When there is something to do though nobody answers; 0 = never. */
static uint64_t dialer_until(const struct race *e)
{
	uint64_t at = dialer_sooner(e->o->until_ms, e->begun < e->n ? e->next_ms : 0);

	for (unsigned i = 0; i < DIALER_BESIDE; i++)
		at = dialer_sooner(at, e->attempt[i].retry_at_ms);
	return at;
}

static int dialer_wait(struct race *e)
{
	int r = park_init(&e->park, dialer_end, "dial");

	if (r < 0)
		return r;
	r = park_wait(&e->park, dialer_until(e));
	return r == -ETIMEDOUT && !e->park.by_deadline ? 0 : r;
}

static int dialer_run(struct race *e, struct attempt **ret)
{
	for (;;) {
		uint64_t now = poller_now_ms(e->poller);
		int r;

		*ret = dialer_hear(e);
		if (*ret)
			return 0;
		if (e->over)
			return -NP_EDIALTIMEOUT;
		if (!dialer_any_left(e))
			return e->error;
		if (e->begun < e->n && now >= e->next_ms) {
			dialer_begin_next(e);
			continue;
		}
		r = dialer_wait(e);
		if (r < 0)
			return r;
		e->over = e->park.result == -ETIMEDOUT && e->o->until_ms &&
			  poller_now_ms(e->poller) >= e->o->until_ms;
	}
}

int dialer_connect(const struct addr *to, unsigned n, const struct dialer_opts *o, int *ret_fd)
{
	struct race e = { .to = to, .o = o, .n = n, .poller = poller_self() };
	struct attempt *won = NULL;
	int r;

	if (!e.poller || !fiber_self())
		return -NP_ENOTFIBER;
	for (unsigned i = 0; i < DIALER_BESIDE; i++)
		e.attempt[i].fd = -1;
	r = dialer_run(&e, &won);
	if (r == 0) {
		watch_close(&won->watch);
		*ret_fd = won->fd;
		won->fd = -1;
	}
	for (unsigned i = 0; i < DIALER_BESIDE; i++)
		attempt_end(&e.attempt[i]);
	return r;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* hog: the handlers that kept the thread, counted each time and logged now and then. The rules are
 * in hog.h. */
#include "poll/hog.h"

#include <stdio.h>

#include "poll/poller_private.h"
#include "sys/addr.h"
#include "sys/clock.h"
#include "sys/sock.h"
#include "sys/symbol.h"

#define HOG_INFO    0
#define HOG_WARNING 1

#define HOG_EACH_FOR_MS 1000u

static void hog_count(uint64_t *n)
{
	__atomic_store_n(n, *n + 1, __ATOMIC_RELAXED);
}

/* NULL: each has been named within the last minute, and this is none of them. */
static struct hog_known *hog_find(struct hog *h, uint64_t now_ms)
{
	struct hog_known *oldest = &h->known[0];

	for (unsigned i = 0; i < h->n_known; i++) {
		struct hog_known *k = &h->known[i];

		if (k->handler == h->handler && k->tag == h->tag)
			return k;
		if (k->said_ms < oldest->said_ms)
			oldest = k;
	}
	if (h->n_known < HOG_KNOWN)
		oldest = &h->known[h->n_known++];
	else if (now_ms - oldest->said_ms < HOG_AGAIN_MS)
		return NULL;
	*oldest = (struct hog_known){ .handler = h->handler, .tag = h->tag };
	return oldest;
}

bool hog_due(struct hog *h, uint64_t now_ms, uint64_t *ret_unsaid)
{
	struct hog_known *k = hog_find(h, now_ms);

	if (!k)
		return false;
	if (k->said_ms && now_ms - k->said_ms < HOG_AGAIN_MS) {
		k->unsaid++;
		return false;
	}
	*ret_unsaid = k->unsaid;
	k->unsaid = 0;
	k->said_ms = now_ms;
	return true;
}

static void hog_since(char *dst, size_t cap, uint64_t unsaid)
{
	if (unsaid)
		snprintf(dst, cap, "; %llu more since the last line", (unsigned long long)unsaid);
}

void hog_say_left(struct poller *p, const struct hog_note *n)
{
	const struct poller_sight s = { .fd = n->fd, .tag = n->tag };
	char name[160], whose[192], since[48] = "";
	struct hog *said = &p->baton.said;
	uint64_t unsaid;

	said->handler = n->handler;
	said->tag = n->tag;
	if (!hog_due(said, sys_clock_coarse_ns() / 1000000u, &unsaid))
		return;
	poller_whose(&s, whose, sizeof whose);
	hog_since(since, sizeof since, unsaid);
	poller_log(p, HOG_INFO,
		   "poller %d: handler %s%s keeps its thread: the poller goes on with another%s",
		   p->opts.index, sys_symbol(n->handler, name, sizeof name), whose, since);
}

static void hog_found(struct poller *p, uint64_t ms)
{
	char name[160], whose[192], since[48] = "";
	struct hog *h = &p->hog;
	struct poller_sight s;
	uint64_t unsaid;

	if (!h->handler)
		return;
	hog_count(&h->hogs);
	if (!hog_due(h, sys_clock_coarse_ns() / 1000000u, &unsaid))
		return;
	poller_look(p, &s);
	poller_whose(&s, whose, sizeof whose);
	hog_since(since, sizeof since, unsaid);
	poller_log(
		p, HOG_WARNING,
		"poller %d: handler %s%s%s kept the thread for %llu ms: the others waited; np_offload() is for that%s",
		p->opts.index, sys_symbol(h->handler, name, sizeof name), whose,
		h->left_of && h->left_of == h->handlers ? h->left : "", (unsigned long long)ms,
		since);
}

void poller_note_handler(struct poller *p, const void *fn, int fd)
{
	poller_assert_owner(p);
	__atomic_store_n(&p->hog.handler, fn, __ATOMIC_RELAXED);
	__atomic_store_n(&p->hog.fd, fd, __ATOMIC_RELAXED);
	__atomic_store_n(&p->hog.tag, NULL, __ATOMIC_RELAXED);
	__atomic_store_n(&p->hog.handlers, p->hog.handlers + 1, __ATOMIC_RELAXED);
	p->clock = CLOCK_USER;
}

static void hog_set_tag(struct hog *h, const char *tag)
{
	__atomic_store_n(&h->tag, tag, __ATOMIC_RELAXED);
}

void poller_note_again(struct poller *p, int fd, const char *tag)
{
	poller_assert_owner(p);
	__atomic_store_n(&p->hog.fd, fd, __ATOMIC_RELAXED);
	hog_set_tag(&p->hog, tag);
}

/* A second tag in one dispatch is a second piece of work, as a second handler in one turn is. */
void poller_note_tag(struct poller *p, const char *tag)
{
	struct hog *h = &p->hog;

	poller_assert_owner(p);
	if (h->tag && h->tag != tag) {
		if (h->each)
			hog_mark(p, sys_clock_coarse_ns());
		__atomic_store_n(&h->handlers, h->handlers + 1, __ATOMIC_RELAXED);
	}
	hog_set_tag(h, tag);
}

void poller_fd_leaves(struct poller *p, int fd)
{
	struct hog *h = &p->hog;
	struct poller_sight s = { .fd = fd };

	poller_assert_owner(p);
	if (fd < 0 || h->fd != fd)
		return;
	if (h->limit_ms && h->began_ms &&
	    (int64_t)(sys_clock_coarse_ns() / 1000000u - h->began_ms) >= h->limit_ms) {
		poller_whose(&s, h->left, sizeof h->left);
		h->left_of = h->handlers;
	}
	__atomic_store_n(&h->fd, -1, __ATOMIC_RELAXED);
}

void poller_whose(const struct poller_sight *s, char *dst, size_t cap)
{
	char tag[72] = "", conn[128] = "", peer[96] = "its peer is not known";
	struct sockaddr_storage ss;
	socklen_t len;

	if (s->tag)
		snprintf(tag, sizeof tag, " (\"%.64s\")", s->tag);
	if (s->fd >= 0) {
		if (sys_peer_addr(s->fd, &ss, &len) == 0)
			addr_format(&ss, len, peer, sizeof peer);
		snprintf(conn, sizeof conn, " (descriptor %d, %s)", s->fd, peer);
	}
	snprintf(dst, cap, "%s%s", tag, conn);
}

void poller_look(const struct poller *p, struct poller_sight *ret)
{
	const struct hog *h = &p->hog;

	ret->began_ms = __atomic_load_n(&h->began_ms, __ATOMIC_RELAXED);
	ret->handlers = __atomic_load_n(&h->handlers, __ATOMIC_RELAXED);
	ret->handler = __atomic_load_n(&h->handler, __ATOMIC_RELAXED);
	ret->fd = __atomic_load_n(&h->fd, __ATOMIC_RELAXED);
	ret->tag = __atomic_load_n(&h->tag, __ATOMIC_RELAXED);
}

void poller_on_alarm(struct poller *p, void (*fn)(void *arg), void *arg)
{
	p->hog.on_alarm = fn;
	p->hog.on_alarm_arg = arg;
}

int poller_alarm(struct poller *p)
{
	int was = __atomic_load_n(&p->hog.alarm, __ATOMIC_RELAXED);

	if (was == POLLER_QUIET)
		return was;
	return __atomic_compare_exchange_n(&p->hog.alarm, &was, was + 1, false, __ATOMIC_RELEASE,
					   __ATOMIC_RELAXED) ?
		       was :
		       0;
}

void poller_hogs(const struct poller *p, uint64_t *ret_slow_turns, uint64_t *ret_hogs)
{
	*ret_slow_turns = __atomic_load_n(&p->hog.slow_turns, __ATOMIC_RELAXED);
	*ret_hogs = __atomic_load_n(&p->hog.hogs, __ATOMIC_RELAXED);
}

const void *poller_handler(const struct poller *p)
{
	return __atomic_load_n(&p->hog.handler, __ATOMIC_RELAXED);
}

/* ------------------------------------------------------------------ each is timed */

void hog_mark(struct poller *p, uint64_t coarse_ns)
{
	struct hog *h = &p->hog;
	uint64_t ms = (coarse_ns - h->since_ns) / 1000000u;

	if (h->since_ns && (int64_t)ms >= h->limit_ms)
		hog_found(p, ms);
	h->since_ns = coarse_ns;
}

/*
 * One that comes every hour is found as well, in time: each window is twice as long as the last.
 * And what was slow once, as a program's start is, costs a second of it.
 */
static void hog_time_each(struct poller *p, int64_t ms)
{
	struct hog *h = &p->hog;

	if (!h->each_for_ms)
		poller_log(
			p, HOG_WARNING,
			"poller %d: a turn of %u handlers took %lld ms: for a while each of them is timed",
			p->opts.index, h->handlers, (long long)ms);
	h->each = true;
	h->each_for_ms = h->each_for_ms ? 2 * h->each_for_ms : HOG_EACH_FOR_MS;
}

/* ------------------------------------------------------------------ turns */

void hog_turn_over(struct poller *p, uint64_t now_ms)
{
	struct hog *h = &p->hog;
	/* Signed: the coarse clock may be behind the one the turn began by. */
	int64_t ms = (int64_t)(now_ms - h->began_ms);

	if (!h->limit_ms || !h->began_ms)
		return;
	__atomic_store_n(&h->began_ms, 0, __ATOMIC_RELAXED);
	if (h->each)
		hog_mark(p, sys_clock_coarse_ns());
	h->since_ns = 0;
	if (ms < h->limit_ms) {
		h->each = h->each && now_ms < h->each_until_ms;
		return;
	}
	hog_count(&h->slow_turns);
	if (!h->each && h->handlers == 1)
		hog_found(p, (uint64_t)ms);
	else if (!h->each && h->handlers > 1)
		hog_time_each(p, ms);
	h->each_until_ms = now_ms + h->each_for_ms;
}

static void hog_ring(struct poller *p)
{
	struct hog *h = &p->hog;

	if (__atomic_exchange_n(&h->alarm, 0, __ATOMIC_ACQUIRE) == POLLER_QUIET)
		h->on_alarm(h->on_alarm_arg);
}

void hog_starts_anew(struct poller *p)
{
	struct hog *h = &p->hog;

	if (!h->limit_ms)
		return;
	__atomic_store_n(&h->began_ms, poller_refresh_now(p), __ATOMIC_RELAXED);
	__atomic_store_n(&h->handlers, 0, __ATOMIC_RELAXED);
	h->since_ns = 0;
	h->left_of = 0;
}

void hog_get_note(const struct poller *p, struct hog_note *ret)
{
	*ret = (struct hog_note){ p->hog.handler, p->hog.fd, p->hog.tag };
}

void hog_set_note(struct poller *p, const struct hog_note *n)
{
	__atomic_store_n(&p->hog.handler, n->handler, __ATOMIC_RELAXED);
	__atomic_store_n(&p->hog.fd, n->fd, __ATOMIC_RELAXED);
	hog_set_tag(&p->hog, n->tag);
}

void hog_turn_begins(struct poller *p)
{
	hog_turn_over(p, p->now_ms);
	__atomic_store_n(&p->hog.began_ms, p->now_ms, __ATOMIC_RELAXED);
	__atomic_store_n(&p->hog.handlers, 0, __ATOMIC_RELAXED);
	p->hog.left_of = 0;
	if (__atomic_load_n(&p->hog.alarm, __ATOMIC_RELAXED))
		hog_ring(p);
}

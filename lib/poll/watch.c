/* SPDX-License-Identifier: BSD-2-Clause */
/* watch: the table of registrations, and want x ready. The state table is in watch.h. */
#include "poll/watch.h"

#include <errno.h>
#include <stdlib.h>

#include "poll/poller_private.h"
#include "sys/epoll.h"

/* ------------------------------------------------------------------ slots */

/* A generation is even while its slot is used, and odd while it is free. */
static bool watch_slot_is_used(const struct watch_slot *s)
{
	return !(s->generation & 1);
}

static int watch_slots_grow(struct poller *p)
{
	uint32_t n = p->n_slots ? p->n_slots * 2 : 64;
	struct watch_slot *s = realloc(p->slots, n * sizeof *s);

	if (!s)
		return -ENOMEM;
	p->slots = s;
	p->n_slots = n;
	return 0;
}

/* One never used before: a table that has just doubled costs no memory until it fills. */
static int watch_slot_fresh(struct poller *p, uint32_t *ret)
{
	int r = p->used_slots == p->n_slots ? watch_slots_grow(p) : 0;

	if (r < 0)
		return r;
	*ret = p->used_slots++;
	p->slots[*ret].generation = 0;
	return 0;
}

static int watch_slot_take(struct poller *p, struct watch *w)
{
	uint32_t i = p->free_slot;

	if (i != SLOT_NONE) {
		p->free_slot = p->slots[i].next_free;
		p->slots[i].generation++;
	} else {
		int r = watch_slot_fresh(p, &i);

		if (r < 0)
			return r;
	}
	w->slot = i;
	p->slots[i].watch = w;
	return 0;
}

static void watch_slot_give(struct poller *p, struct watch *w)
{
	struct watch_slot *s = &p->slots[w->slot];

	s->generation++;
	s->next_free = p->free_slot;
	p->free_slot = w->slot;
}

static uint64_t watch_event_data(const struct watch *w)
{
	return (uint64_t)w->poller->slots[w->slot].generation << 32 | w->slot;
}

/* NULL: its watch was closed. The index is one that was told to the kernel. */
static inline const struct watch_slot *watch_slot_of(const struct poller *p, uint64_t data)
{
	const struct watch_slot *s = &p->slots[(uint32_t)data];

	return s->generation == (uint32_t)(data >> 32) ? s : NULL;
}

/* ------------------------------------------------------------------ registration */

#define EVENTS_ALWAYS (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLET)

static uint32_t watch_epoll_events(uint32_t extra)
{
	/* epoll_ctl(2): EPOLLEXCLUSIVE allows few other flags, and no later MOD. */
	return extra & EPOLLEXCLUSIVE ? EPOLLIN | EPOLLEXCLUSIVE : EVENTS_ALWAYS | extra;
}

int watch_open(struct watch *w, struct poller *p, int fd, uint32_t epoll_extra,
	       void (*fn)(struct watch *, unsigned))
{
	int r;

	poller_assert_owner(p);
	*w = (struct watch){
		.fn = fn, .poller = p, .fd = fd, .note = w->note, .shallow = w->shallow
	};
	w->out_armed = (epoll_extra & EPOLLOUT) != 0;
	list_init(&w->link);
	r = watch_slot_take(p, w);
	if (r == 0) {
		r = sys_epoll_add(p->epoll_fd, fd, watch_epoll_events(epoll_extra),
				  watch_event_data(w));
		if (r < 0)
			watch_slot_give(p, w);
	}
	if (r < 0)
		w->slot = SLOT_NONE;
	return r;
}

bool watch_is_open(const struct watch *w)
{
	return w->fn && w->slot != SLOT_NONE;
}

uint32_t watch_each(struct poller *p, uint32_t from, uint32_t n,
		    void (*fn)(void *arg, struct watch *w), void *arg)
{
	uint32_t end = p->used_slots - from > n ? from + n : p->used_slots;

	poller_assert_owner(p);
	for (uint32_t i = from; i < end; i++)
		if (watch_slot_is_used(&p->slots[i]))
			fn(arg, p->slots[i].watch);
	return end < p->used_slots ? end : 0;
}

void watch_drop(struct watch *w)
{
	if (!watch_is_open(w))
		return;
	poller_assert_owner(w->poller);
	list_remove(&w->link);
	if (w->poller->now.dispatched == w)
		w->poller->now.dispatched = NULL;
	watch_slot_give(w->poller, w);
	w->slot = SLOT_NONE;
	w->want = w->ready = 0;
}

void watch_close(struct watch *w)
{
	int r;

	if (!watch_is_open(w))
		return;
	/*
	 * ENOENT, EBADF: it is not registered, which is what we want. DEL has no other reason to
	 * fail, and one that did would be in the way of the next registration: it is tried again.
	 */
	r = sys_epoll_del(w->poller->epoll_fd, w->fd);
	if (r < 0 && r != -ENOENT && r != -EBADF)
		sys_epoll_del(w->poller->epoll_fd, w->fd);
	watch_drop(w);
}

/* ------------------------------------------------------------------ want x ready */

/* The other half of watch_unlink(). */
static inline void watch_link(struct poller *p, struct watch *w)
{
	if ((w->want & w->ready) && list_empty(&w->link))
		list_append(&p->ready, &w->link);
}

/* EPOLLOUT joins at the first time it is wanted, with one MOD, and stays. MOD reports the present
 * state anew, so no edge is lost. */
static int watch_arm_out(struct watch *w)
{
	int r = sys_epoll_mod(w->poller->epoll_fd, w->fd, EVENTS_ALWAYS | EPOLLOUT,
			      watch_event_data(w));

	if (r == 0)
		w->out_armed = true;
	return r;
}

int watch_want(struct watch *w, unsigned bits)
{
	int r;

	poller_assert_owner(w->poller);
	if ((bits & WATCH_OUT) && !w->out_armed) {
		r = watch_arm_out(w);
		if (r < 0)
			return r;
	}
	w->want |= (uint8_t)bits;
	watch_link(w->poller, w);
	return 0;
}

void watch_stop(struct watch *w, unsigned bits)
{
	poller_assert_owner(w->poller);
	w->want &= (uint8_t)~bits;
	watch_unlink(w);
}

static void watch_other_event(struct watch *w, uint32_t e)
{
	if (e & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		w->ready |= WATCH_IN;
	if (e & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		w->ready |= WATCH_GONE;
	if (e & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		w->ready |= WATCH_OUT;
	w->flags |= (uint8_t)((e & EPOLLRDHUP ? WATCH_RDHUP : 0) | (e & EPOLLHUP ? WATCH_HUP : 0) |
			      (e & EPOLLERR ? WATCH_ERR : 0) | (e & EPOLLPRI ? WATCH_PRI : 0));
}

/* Of the next event, @e. Return: what its watch @w is to run for; 0: it does not, or is linked. */
static inline unsigned watch_take_event(struct poller *p, const struct epoll_event *e,
					struct watch *w)
{
	p->now.event = e + 1;
	if (__builtin_expect(e->events == EPOLLIN, 1))
		w->ready |= WATCH_IN;
	else
		watch_other_event(w, e->events);
	return list_empty(&w->link) ? (unsigned)w->want & w->ready : 0;
}

/* ------------------------------------------------------------------ dispatch */

static __attribute__((noinline)) void watch_stays_ready(struct poller *p, struct watch *w)
{
	watch_link(p, w);
}

/*
 * The watch is off the list while its function runs, and dispatched is how to know that it was not
 * closed there. What it leaves wanted and ready is for the next turn.
 */
static inline void watch_run(struct poller *p, struct watch *w, unsigned ready)
{
	p->now.dispatched = w;
	w->fn(w, ready);
	if (p->now.dispatched == w && __builtin_expect(w->want & w->ready, 0))
		watch_stays_ready(p, w);
}

/* With the fibers that it begins. */
static inline void watch_run_whole(struct poller *p, void *watch)
{
	struct watch *w = watch;

	watch_run(p, w, w->want & w->ready);
	poller_end_fibers(p);
}

/* Return: whether this is the looper still. */
static bool watch_dispatch_one(struct poller *p, struct watch *w, unsigned ready)
{
	poller_begin_short_dispatch(p);
	if (__builtin_expect(p->sampled, 0))
		sample_dispatch(p, w->fn, w, watch_run_whole, w);
	else
		watch_run(p, w, ready);
	return poller_end_dispatch(p);
}

/* The next event whose watch is open; NULL: there is none. */
static inline const struct epoll_event *watch_next_event(struct poller *p, struct watch **ret)
{
	const struct watch_slot *s;

	while (p->now.event < p->now.event_end) {
		s = watch_slot_of(p, p->now.event->data.u64);
		if (__builtin_expect(s != NULL, 1)) {
			*ret = s->watch;
			return p->now.event;
		}
		p->stats.stale_events++;
		p->now.event++;
	}
	return NULL;
}

bool watch_go_on(struct poller *p)
{
	const struct epoll_event *e;
	struct watch *w;
	struct list *n;
	unsigned ready;

	if (p->now.dispatched)
		watch_link(p, p->now.dispatched);
	while ((e = watch_next_event(p, &w))) {
		ready = watch_take_event(p, e, w);
		if (ready && !watch_dispatch_one(p, w, ready))
			return false;
	}
	while ((n = list_pop(&p->now.watches))) {
		w = container_of(n, struct watch, link);
		if (!watch_dispatch_one(p, w, w->want & w->ready))
			return false;
	}
	p->now.dispatched = NULL;
	return true;
}

/*
 * What comes between two dispatches is none of a fiber's: other threads, samples, fibers that wait
 * for a stack or for their turn behind this dispatch. Nor is a watch whose function takes more than
 * a fiber's stack.
 */
const struct fiber_call *watch_next_fiber(void *poller)
{
	struct poller *p = poller;
	const struct epoll_event *e;
	struct watch *w;
	unsigned ready;

	p->clock = CLOCK_STALE;
	if (p->now.tail.first)
		return NULL;
	while (!p->between && (e = watch_next_event(p, &w)) && w->shallow) {
		ready = watch_take_event(p, e, w);
		if (!ready)
			continue;
		poller_begin_short_dispatch(p);
		watch_run(p, w, ready);
		if (p->now.tail.first) {
			p->stats.fibers_run++;
			return &spawn_pop(&p->now.tail)->call;
		}
	}
	return NULL;
}

bool watch_dispatch(struct poller *p)
{
	if (p->now.event == p->now.event_end && list_empty(&p->ready))
		return true;
	list_move_all(&p->ready, &p->now.watches);
	poller_publish_next(p);
	return watch_go_on(p);
}

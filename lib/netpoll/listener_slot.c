/* SPDX-License-Identifier: BSD-2-Clause */
/* listener_slot: opened, tried again while it is shut, drained and closed. */
#include "netpoll/listener_slot.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "netpoll/server_private.h"
#include "sys/addr.h"
#include "sys/sock.h"

/* ------------------------------------------------------------------ a listener that was shut */

#define AGAIN_MIN_MS 10
#define AGAIN_MAX_MS 1000

static void listener_slot_tell(struct listener_slot *slot, int err)
{
	struct server_part *part = slot->part;
	struct poller *p = part->group.poller;
	char at[128], holder[80];

	if (slot->told)
		return;
	slot->told = true;
	addr_format(&slot->address->ss, slot->address->len, at, sizeof at);
	if (!slot->steered)
		poller_log(
			p, NP_LOG_WARNING,
			"poller %d: accept on %s: %s: a process that shares the socket has shut it;"
			" tried again until it listens",
			poller_index(p), at, np_strerror(err));
	else
		poller_log(
			p, NP_LOG_WARNING,
			"poller %d: its listener on %s was shut while it hung, and cannot listen yet:"
			" %s%s; tried again until it does",
			poller_index(p), at,
			err == -EBUSY ? server_lock_holder(part->server, holder, sizeof holder) :
					np_strerror(err),
			err == -EBUSY ? " holds the lock of the service" : "");
}

/*
 * The listener was shut because this poller hung, and the queue is its siblings' now
 * (np_steer_relisten()). One that is not steered listens again when a process that shares it makes
 * it.
 */
static int listener_slot_reopen(struct listener_slot *slot)
{
	struct server_part *part = slot->part;
	int r = slot->steered ? server_relisten(part->server, part->index, slot->fd) : 0;

	return r < 0 ? r : listener_slot_open(slot);
}

static void listener_slot_pause(struct listener_slot *slot)
{
	struct poller *p = slot->part->group.poller;

	slot->again_ms = slot->again_ms ? slot->again_ms * 2 : AGAIN_MIN_MS;
	if (slot->again_ms > AGAIN_MAX_MS)
		slot->again_ms = AGAIN_MAX_MS;
	timer_arm(p, &slot->again, poller_after_ms(p, slot->again_ms));
}

/* The hindrance passes, unless it is the end of the service. New clients go to the siblings
 * meanwhile. */
static void listener_slot_try(struct listener_slot *slot)
{
	struct poller *p = slot->part->group.poller;
	int r = listener_slot_reopen(slot);

	if (r < 0 && r != -ESHUTDOWN) {
		/* a sibling that does the same at this moment is nothing to tell */
		if (slot->again_ms)
			listener_slot_tell(slot, r);
		listener_slot_pause(slot);
	} else if (r == 0 && slot->steered && slot->told) {
		slot->told = false;
		poller_log(p, NP_LOG_INFO, "poller %d: its listener listens again",
			   poller_index(p));
	}
}

static void listener_slot_again(struct timer *t)
{
	listener_slot_try(container_of(t, struct listener_slot, again));
}

/*
 * A shut socket says EINVAL. The first time it is tried at once; where that helps nothing it would
 * say so in each turn. Any other error is that of a descriptor which is no longer this socket's.
 */
static void listener_slot_on_error(struct listener *l, int err)
{
	struct listener_slot *slot = container_of(l, struct listener_slot, listener);
	struct poller *p = slot->part->group.poller;

	if (err != -EINVAL) {
		poller_log(
			p, NP_LOG_ERROR,
			"poller %d: descriptor %d is no listener any more, and is left alone: accept: %s",
			poller_index(p), slot->fd, np_strerror(err));
		return;
	}
	if (!slot->steered)
		listener_slot_tell(slot, err);
	if (slot->steered && !slot->again_ms)
		listener_slot_try(slot);
	else
		listener_slot_pause(slot);
}

/* ------------------------------------------------------------------ life */

void listener_slot_init(struct listener_slot *slot, struct server_part *part, unsigned index,
			void (*on_accept)(struct listener *, int *))
{
	const struct np_server *s = part->server;
	const struct server_address *a = &s->addresses[index];

	*slot = (struct listener_slot){
		.part = part,
		.address = a,
		.fd = a->fds[a->shared ? 0 : part->index],
		.shared = a->shared && s->n_parts > 1,
		.inet = a->ss.ss_family == AF_INET || a->ss.ss_family == AF_INET6,
		.steered = a->steered,
		.delays = a->delays && !s->opts.nagle,
	};
	listener_init(&slot->listener);
	slot->listener.on_accept = on_accept;
	slot->listener.on_error = listener_slot_on_error;
	slot->listener.sheds = &part->shed;
	timer_init(&slot->again, listener_slot_again);
}

int listener_slot_open(struct listener_slot *slot)
{
	return listener_open(&slot->listener, slot->part->group.poller, slot->fd);
}

void listener_slot_close(struct listener_slot *slot)
{
	timer_disarm(&slot->again);
	listener_close(&slot->listener);
}

void listener_slot_accepted(struct listener_slot *slot, int fd)
{
	slot->again_ms = 0;
	slot->told = false;
	if (slot->delays)
		/* without it the connection is slower, no more */
		sys_setsockopt_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

/*
 * How many connections the stop owes this listener. Not "until the queue is empty": others may fill
 * it as fast. A unix listener of ours refuses connect(2) by now; how much an inherited one holds
 * the kernel does not tell.
 */
static unsigned listener_slot_queued(const struct listener_slot *slot)
{
	unsigned n;

	if (slot->inet && sys_accept_queue(slot->fd, &n) == 0)
		return n;
	return slot->address->own ? UINT_MAX : sys_somaxconn() + 1;
}

/*
 * shutdown(2), not close(2) alone: a child that was forked without exec holds the listener too, and
 * the kernel would go on taking connections that none accepts. Peers that still wait in its queue
 * are reset by it, and counted.
 */
static void listener_slot_shut_socket(struct listener_slot *slot)
{
	uint64_t *shed = &slot->part->shed;
	unsigned n;

	if (slot->inet && sys_accept_queue(slot->fd, &n) == 0)
		__atomic_store_n(shed, *shed + n, __ATOMIC_RELAXED);
	sys_shutdown(slot->fd, SHUT_RDWR);
}

bool listener_slot_drain(struct listener_slot *slot)
{
	struct listener *l = &slot->listener;
	int r;

	timer_disarm(&slot->again);
	if (l->fd < 0)
		return true;
	if (!slot->draining) {
		slot->draining = true;
		slot->left = listener_slot_queued(slot);
		listener_drain_begin(l);
	}
	r = slot->part->full ? 0 : listener_drain(l, &slot->left);
	if (r > 0)
		return false;
	if (r < 0 && !(r == -EINVAL && slot->steered)) /* as in listener_slot_on_error() */
		poller_log(slot->part->group.poller, NP_LOG_WARNING,
			   "accept: %s: connections that were queued at the stop are reset",
			   np_strerror(r));
	if (slot->address->own)
		listener_slot_shut_socket(slot);
	listener_close(l);
	return true;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * slot: a listener's entry in the program's map, whether this library made the listener or the
 * caller
 *
 *   slot -> program -> roster
 *
 * A slot takes only a listening socket, and only one that no other service has.
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include <linux/bpf.h>

#include "steer/rescue.h"
#include "steer/steer.h"
#include "steer/watchdog.h"
#include "sys/io.h"
#include "sys/sock.h"

#ifndef SO_ATTACH_REUSEPORT_EBPF
#define SO_ATTACH_REUSEPORT_EBPF 52
#endif

/*
 * slot_insert() - @fd into the slot of its worker
 *
 * A socket can lie in one slot of one service only, which the kernel sees to: it is the one
 * question whose answer tells whether a listener is free. Another listener in our slot is one of
 * ours that was replaced.
 *
 * Return: 1: it lies there now; 0: it did already; -EBUSY: it is another worker's, or another
 * service's.
 */
static int slot_insert(struct np_steer_worker *w, unsigned g, int fd)
{
	uint32_t slot = NP_SLOT(g, w->index);
	struct np_steer *s = w->s;
	uint64_t value = (uint64_t)fd, cookie;
	int inserted = 0, r;

	r = sys_getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, sizeof cookie);
	if (r < 0)
		return r;
	if (map_listener(&s->maps, slot) != cookie) {
		r = map_update(&s->maps, MAP_np_socks, &slot, &value, BPF_ANY);
		if (r < 0)
			return r;
		inserted = 1;
	}
	/* In any case: a process that was killed may have got to the slot, and no further. */
	r = map_update(&s->maps, MAP_np_owners, &cookie, &slot, BPF_ANY);
	if (r < 0 && inserted)
		map_delete(&s->maps, MAP_np_socks, &slot);
	return r < 0 ? r : inserted;
}

static void slot_take_out(struct np_steer_worker *w, unsigned g, int fd)
{
	uint32_t slot = NP_SLOT(g, w->index);
	struct np_steer *s = w->s;
	uint64_t cookie;

	map_delete(&s->maps, MAP_np_socks, &slot);
	if (sys_getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, sizeof cookie) == 0)
		map_delete(&s->maps, MAP_np_owners, &cookie);
}

/*
 * Slot first, program last: an attached program cannot be taken back, since the one before it is
 * gone, and it may have been another service's.
 */
static int slot_steer(struct np_steer_worker *w, unsigned g, int fd)
{
	int prog, inserted = 0, r;

	r = level_program(w->s, g, &prog);
	if (r == 0)
		r = inserted = slot_insert(w, g, fd);
	if (r < 0)
		return r;
	r = sys_setsockopt_int(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, prog);
	if (r < 0 && inserted)
		slot_take_out(w, g, fd);
	return r;
}

/* Steering works without: a worker that hangs then keeps its queue. */
static void slot_watch(struct np_steer_worker *w, unsigned g, int fd)
{
	static const struct rescue_scope own = { .native = true };
	struct np_steer *s = w->s;
	int r;

	/* another process may shut it, in any case */
	r = listeners_note(&s->listeners, NP_SLOT(g, w->index), fd);
	if (r == 0 && s->level >= NP_STEER_L3 && s->rescue && !s->watchdog) {
		r = watchdog_new(s, &own, &s->watchdog);
		if (r == 0)
			r = watchdog_start(s->watchdog);
	}
	if (r < 0)
		steer_log(s, 1, "workers that hang will not be noticed: %s", np_strerror(r));
}

int slot_fill(struct np_steer_worker *w, unsigned g, int fd)
{
	struct np_steer *s = w->s;
	int r = 0;

	if (steer_has_program(s))
		r = slot_steer(w, g, fd);
	if (r < 0) {
		if (!group_live(s, g))
			group_free(s, g);
		return r;
	}
	w->members |= 1u << g;
	group_roster(s, g);
	if (!w->adopted)
		slot_watch(w, g, fd);
	if (s->level == NP_STEER_L1)
		listeners_prefer_cpu(&s->listeners, w->index, w->cpu);
	return 0;
}

int slot_refuse_left(struct np_steer_worker *w)
{
	return steer_fail(w->s, -ESHUTDOWN, "worker %u has left the service %s", w->index,
			  w->s->name);
}

/* Bound, listening, TCP. Sets @key. */
static int slot_examine(struct np_steer *s, int fd, struct np_group *key)
{
	struct sockaddr_storage ss;
	int listening = 0, type = 0;
	socklen_t len;
	int r;

	r = sys_getsockname(fd, &ss, &len);
	if (r < 0)
		return steer_fail(s, r, "descriptor %d is no socket: %s", fd, strerror(-r));
	if (ss.ss_family != AF_INET && ss.ss_family != AF_INET6)
		return steer_fail(s, -NP_EUNSUPPORTED,
				  "descriptor %d is not a TCP socket, and cannot be steered", fd);
	sys_getsockopt_int(fd, SOL_SOCKET, SO_TYPE, &type);
	sys_getsockopt_int(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening);
	if (type != SOCK_STREAM || !listening)
		return steer_fail(s, -EINVAL, "descriptor %d does not listen", fd);
	group_key(key, &ss, fd);
	return 0;
}

static int slot_add(struct np_steer_worker *w, int fd, const struct np_group *key)
{
	struct np_steer *s = w->s;
	uint64_t mine = 0, there;
	int g, r;

	g = group_take(s, key);
	if (g < 0)
		return g;
	sys_getsockopt(fd, SOL_SOCKET, SO_COOKIE, &mine, sizeof mine);
	there = map_listener(&s->maps, NP_SLOT(g, w->index));
	if (there && there != mine)
		return steer_fail(s, -EEXIST, "worker %u has another listener on that address",
				  w->index);
	r = slot_fill(w, (unsigned)g, fd);
	if (r == -EINVAL)
		return steer_fail(
			s, r,
			"descriptor %d cannot be steered: SO_REUSEPORT must be set before bind(2)",
			fd);
	if (r == -EBUSY)
		return steer_fail(
			s, r,
			"descriptor %d is a listener of another worker or service already, and stays that",
			fd);
	return r;
}

int np_steer_add(struct np_steer_worker *w, int fd)
{
	struct np_steer *s = w->s;
	struct np_group key;
	int r;

	if (w->left)
		return slot_refuse_left(w);
	r = slot_examine(s, fd, &key);
	if (r == 0)
		r = steer_lock(s);
	if (r < 0)
		return r;
	s->error[0] = '\0';
	r = slot_add(w, fd, &key);
	steer_unlock(s);
	return r < 0 && !s->error[0] ? steer_fail(s, r, "descriptor %d: %s", fd, strerror(-r)) : r;
}

int np_steer_relisten(struct np_steer_worker *w, int fd)
{
	struct np_steer *s = w->s;
	struct listeners_entry l;
	struct np_group key;
	uint64_t cookie;
	int r;

	r = sys_getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, sizeof cookie);
	if (r == 0)
		r = listeners_find(&s->listeners, cookie, &l) < 0 ||
				    l.slot % NP_WORKERS != w->index ?
			    -EINVAL :
			    0;
	if (r == 0)
		r = steer_try_lock(s); /* a poller has other connections to serve */
	if (r < 0)
		return r;
	r = w->left ? -ESHUTDOWN : listeners_listen(fd, &l);
	if (r == 0) {
		/*
		 * The address may have become another group: it looked as if no worker listened
		 * there.
		 */
		group_key(&key, &l.ss, fd);
		r = slot_add(w, fd, &key);
	}
	steer_unlock(s);
	return r;
}

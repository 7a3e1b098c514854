/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * listen: a listener and its slot, in the one order that works
 *
 *   socket -> SO_REUSEPORT -> bind -> listen -> slot -> attach -> roster
 *
 * A reader would get wrong every other order: SO_REUSEPORT after bind makes no group; a program
 * attached before bind lets no second socket bind; a slot takes only a listening socket, and only
 * one that no other service has. And the program belongs to the group, not to the socket: attaching
 * a private one to a port of others would take their connections. So a port where this service has
 * no worker must be free.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include <linux/bpf.h>

#include "steer/steer.h"
#include "steer/watchdog.h"
#include "sys/diag.h"
#include "sys/io.h"
#include "sys/sock.h"

#ifndef SO_ATTACH_REUSEPORT_EBPF
#define SO_ATTACH_REUSEPORT_EBPF 52
#endif

#define SOMAXCONN_OF_THE_KERNEL (1 << 30) /* listen(2) cuts it to net.core.somaxconn */

static int listen_socket(const struct addr *a, bool v6only, int *ret_fd)
{
	int fd = -1, r;

	r = sys_socket(a->ss.ss_family, SOCK_STREAM, &fd);
	/* Without it a port in TIME_WAIT counts as taken. It lets no two listeners share a port. */
	if (r == 0)
		r = sys_setsockopt_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (r == 0 && a->ss.ss_family == AF_INET6)
		r = sys_setsockopt_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, v6only);
	if (r < 0) {
		sys_close(&fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

/*
 * listen_reserve() - take the port for ourselves alone, by a bind without SO_REUSEPORT
 *
 * Only that tells that nobody else has it. A socket that is to share may be bound beside it, since
 * both have SO_REUSEADDR and neither listens; so the port is never free for others in between. Port
 * 0 becomes the port that the kernel chose: a listener bound to port 0 itself would get another
 * port if it ever had to listen again.
 */
static int listen_reserve(struct addr *a, bool v6only, int *ret_fd)
{
	int fd = -1, r;

	r = listen_socket(a, v6only, &fd);
	if (r == 0)
		r = sys_bind(fd, (const struct sockaddr *)&a->ss, a->len);
	if (r == 0)
		r = sys_getsockname(fd, &a->ss, &a->len);
	if (r == 0) {
		*ret_fd = fd;
		return 0;
	}
	sys_close(&fd);
	return r;
}

static int listen_say_taken(struct np_steer *s, const char *text)
{
	if (s->dir[0])
		return steer_fail(
			s, -EADDRINUSE,
			"%s is taken by a socket outside of the service %s, or by another "
			"user's: stop it, or start it in this service",
			text, s->name);
	return steer_fail(s, -EADDRINUSE,
			  "%s is taken: `npsteer load %s` to share it, and start both "
			  "servers with that service",
			  text, s->name);
}

/* ------------------------------------------------------------------ addresses that overlap */

static bool listen_is_wildcard(const struct np_group *k)
{
	static const uint8_t zero[16];

	return !memcmp(k->addr, zero, sizeof zero);
}

/* Whether some connections could come to either, were the other not there. */
static bool listen_overlap(const struct np_group *a, const struct np_group *b)
{
	const struct np_group *v6 = a->family == AF_INET6 ? a : b;

	if (a->port != b->port || a->netns != b->netns ||
	    (a->ifindex && b->ifindex && a->ifindex != b->ifindex))
		return false;
	if (a->family != b->family) /* the kernel has no mapped addresses here but the wildcard's */
		return listen_is_wildcard(v6) && !v6->v6only;
	return listen_is_wildcard(a) || listen_is_wildcard(b) ||
	       !memcmp(a->addr, b->addr, sizeof a->addr);
}

/* Whether the service listens on an address already that @k's overlaps with. */
static bool listen_has_beside(const struct np_steer *s, const struct np_group *k)
{
	for (unsigned g = 0; g < NP_GROUPS; g++)
		if (s->maps.groups[g].family && listen_overlap(&s->maps.groups[g], k) &&
		    group_live(s, g))
			return true;
	return false;
}

struct strangers {
	struct np_steer *s;
	unsigned n;
};

static void listen_count_stranger(void *arg, const struct sys_listener *l)
{
	struct strangers *x = arg;
	struct listeners_entry own;
	uint64_t cookie = l->cookie;
	uint32_t slot;

	if (listeners_find(&x->s->listeners, cookie, &own) == 0)
		return;
	if (steer_has_program(x->s) && map_lookup(&x->s->maps, MAP_np_owners, &cookie, &slot) == 0)
		return;
	x->n++;
}

/*
 * listen_only_ours() - whether every listener on the port is of this service
 *
 * Beside an overlapping address of our own no port can be reserved: that socket is in the way, too.
 * What shares neither our user nor SO_REUSEPORT fails the bind; the kernel's list tells of the
 * others.
 *
 * Return: 0, -EADDRINUSE; -errno where there is no such list, with a sentence.
 */
static int listen_only_ours(struct np_steer *s, unsigned port)
{
	struct strangers x = { .s = s };
	int fd = -1, r;

	r = sys_diag_open(&fd);
	if (r == 0)
		r = sys_diag_listeners(fd, AF_INET, port, listen_count_stranger, &x);
	if (r == 0)
		r = sys_diag_listeners(fd, AF_INET6, port, listen_count_stranger, &x);
	sys_close(&fd);
	if (r < 0)
		return steer_fail(
			s, r,
			"whether others listen on port %u beside this service cannot be asked of the kernel (sock_diag): %s",
			port, strerror(-r));
	return x.n ? -EADDRINUSE : 0;
}

/*
 * "[::]:80" beside our own "0.0.0.0:80" leaves IPv4 to that. Unless a "[::]:80" of ours is older
 * than that: its siblings are of the same kind as it is, and IPv4 goes to the other one all the
 * same.
 */
static bool listen_yields_to_v4(const struct np_steer *s, const struct np_group *k)
{
	int same = group_find(s, k);

	if (k->family != AF_INET6 || !listen_is_wildcard(k) ||
	    (same >= 0 && group_live(s, (unsigned)same)))
		return false;
	for (unsigned g = 0; g < NP_GROUPS; g++) {
		const struct np_group *o = &s->maps.groups[g];

		if (o->family == AF_INET && o->port == k->port && o->netns == k->netns &&
		    listen_is_wildcard(o) && group_live(s, g))
			return true;
	}
	return false;
}

/* For port 0: the port that a sibling was given for this address and that @w has not yet. */
static int listen_sibling_port(const struct np_steer_worker *w, const struct np_group *key)
{
	const struct np_steer *s = w->s;
	struct np_group k = *key;

	for (unsigned g = 0; g < NP_GROUPS; g++) {
		k.port = s->maps.groups[g].port;
		if ((s->port0[g / 32] & (1u << g % 32)) && !(w->members & (1u << g)) &&
		    group_same(&s->maps.groups[g], &k) && group_live(s, g))
			return k.port;
	}
	return 0;
}

/*
 * listen_insert() - @fd into the slot of its worker
 *
 * A socket can lie in one slot of one service only, which the kernel sees to: it is the one
 * question whose answer tells whether a listener is free. What else is in our slot is a listener of
 * ours that was replaced.
 *
 * Return: 1: it lies there now; 0: it did already; -EBUSY: it is another worker's, or another
 * service's.
 */
static int listen_insert(struct np_steer_worker *w, unsigned g, int fd)
{
	uint32_t slot = NP_SLOT(g, w->index);
	struct np_steer *s = w->s;
	uint64_t value = (uint64_t)fd, cookie, there = 0;
	int r;

	r = sys_getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, sizeof cookie);
	if (r < 0)
		return r;
	if (map_lookup(&s->maps, MAP_np_socks, &slot, &there) == 0 && there == cookie)
		return 0;
	r = map_update(&s->maps, MAP_np_socks, &slot, &value, BPF_ANY);
	if (r < 0)
		return r;
	r = map_update(&s->maps, MAP_np_owners, &cookie, &slot, BPF_ANY);
	if (r < 0)
		map_delete(&s->maps, MAP_np_socks, &slot);
	return r < 0 ? r : 1;
}

static void listen_take_out(struct np_steer_worker *w, unsigned g, int fd)
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
static int listen_steer(struct np_steer_worker *w, unsigned g, int fd)
{
	int prog, inserted, r;

	r = level_program(w->s, g, &prog);
	if (r == 0)
		r = inserted = listen_insert(w, g, fd);
	if (r < 0)
		return r;
	r = sys_setsockopt_int(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, prog);
	if (r < 0 && inserted)
		listen_take_out(w, g, fd);
	return r;
}

/* Steering works without: whoever hangs then keeps what it has queued. */
static void listen_watch(struct np_steer_worker *w, unsigned g, int fd)
{
	struct np_steer *s = w->s;
	int r;

	/* another process may shut it, in any case */
	r = listeners_note(&s->listeners, NP_SLOT(g, w->index), fd);
	if (r == 0 && s->level >= NP_STEER_L3 && s->rescue && !s->watchdog) {
		r = watchdog_new(s, &s->watchdog);
		if (r == 0)
			r = watchdog_start(s->watchdog);
	}
	if (r < 0)
		steer_log(s, 1, "workers that hang will not be noticed: %s", np_strerror(r));
}

/* slot -> program -> roster. @fd listens. */
static int listen_enrol(struct np_steer_worker *w, unsigned g, int fd)
{
	struct np_steer *s = w->s;
	int r = 0;

	if (steer_has_program(s))
		r = listen_steer(w, g, fd);
	if (r < 0) {
		if (!group_live(s, g))
			group_free(s, g);
		return r;
	}
	w->members |= 1u << g;
	group_roster(s, g);
	listen_watch(w, g, fd);
	if (s->level == NP_STEER_L1)
		listeners_prefer_cpu(&s->listeners, w->index, w->cpu);
	return 0;
}

/* Whether @w has a living listener in group @g. */
static bool listen_serves(const struct np_steer_worker *w, int g)
{
	uint32_t slot = NP_SLOT(g, w->index);
	uint64_t cookie;

	return g >= 0 && steer_has_program(w->s) &&
	       map_lookup(&w->s->maps, MAP_np_socks, &slot, &cookie) == 0;
}

/* @reserved is closed between bind and listen. */
static int listen_bind(const struct addr *a, bool v6only, int backlog, int *reserved, int *ret_fd)
{
	int fd = -1, r;

	r = listen_socket(a, v6only, &fd);
	if (r == 0)
		r = sys_setsockopt_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (r == 0)
		r = sys_bind(fd, (const struct sockaddr *)&a->ss, a->len);
	sys_close(reserved);
	if (r == 0)
		r = sys_listen(fd, backlog > 0 ? backlog : SOMAXCONN_OF_THE_KERNEL);
	if (r < 0) {
		sys_close(&fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

/* The group's key for an address that has no socket yet. */
static int listen_key(const struct addr *a, bool v6only, struct np_group *ret)
{
	int fd = -1, r;

	r = listen_socket(a, v6only, &fd);
	if (r < 0)
		return r;
	group_key(ret, &a->ss, fd);
	sys_close(&fd);
	return 0;
}

/* Under the lock. */
static int listen_locked(struct np_steer_worker *w, struct addr *a, int backlog, const char *text,
			 int *ret_fd)
{
	int fd = -1, reserved = -1, g, r;
	struct np_steer *s = w->s;
	bool v6only, port0;
	struct np_group key;

	r = listen_key(a, a->v6only, &key);
	if (r < 0)
		return r;
	key.v6only = a->v6only;
	if (!key.port) {
		key.port = (uint16_t)listen_sibling_port(w, &key);
		addr_set_port(&a->ss, key.port);
	}
	key.v6only = v6only = a->v6only || listen_yields_to_v4(s, &key);
	port0 = !key.port;
	g = port0 ? -ENOENT : group_find(s, &key);
	if (listen_serves(w, g))
		return steer_fail(s, -EEXIST, "worker %u listens on %s already", w->index, text);
	if (g < 0 || !group_live(s, (unsigned)g)) {
		r = !port0 && listen_has_beside(s, &key) ? listen_only_ours(s, key.port) :
							   listen_reserve(a, v6only, &reserved);
		if (r == -EADDRINUSE)
			return listen_say_taken(s, text);
		if (r < 0)
			return r;
		key.port = (uint16_t)addr_port(&a->ss);
	}
	r = listen_bind(a, v6only, backlog, &reserved, &fd);
	if (r == -EADDRINUSE)
		return listen_say_taken(s, text);
	if (r == 0)
		r = g = group_take(s, &key);
	if (r >= 0)
		r = listen_enrol(w, (unsigned)g, fd);
	if (r < 0) {
		sys_close(&fd);
		return r;
	}
	if (port0)
		s->port0[g / 32] |= 1u << g % 32;
	*ret_fd = fd;
	return 0;
}

/* Anything that the steps above have not put into words. */
static int listen_explain(struct np_steer *s, int r, const char *text)
{
	if (r == -NP_ERESOLVE)
		return steer_fail(s, r, "%s: listeners take an address, not a host name", text);
	if (r == -NP_EUNSUPPORTED)
		return steer_fail(s, r, "%s: only tcp, tcp4 and tcp6 can be steered", text);
	if (r == -EACCES)
		return steer_fail(s, r, "%s: a port below 1024 needs CAP_NET_BIND_SERVICE", text);
	if (r == -EINVAL)
		return steer_fail(s, r, "%s: not an address such as 127.0.0.1:80, [::1]:80 or :80",
				  text);
	if (r == -ENODEV)
		return steer_fail(s, r, "%s: there is no such network interface", text);
	return steer_fail(s, r, "%s: %s", text, strerror(-r));
}

static int listen_refuse_left(struct np_steer_worker *w)
{
	return steer_fail(w->s, -ESHUTDOWN, "worker %u has left the service %s", w->index,
			  w->s->name);
}

int np_steer_listen(struct np_steer_worker *w, const char *network, const char *address,
		    int backlog, int *ret_fd)
{
	struct np_steer *s = w->s;
	const char *text = address ? address : "(null)";
	struct addr a, v4;
	int r;

	if (w->left)
		return listen_refuse_left(w);
	r = addr_parse(network, address, &a);
	if (r == 0 && a.ss.ss_family == AF_UNIX)
		r = -NP_EUNSUPPORTED;
	if (r < 0)
		return listen_explain(s, r, text);
	r = steer_lock(s);
	if (r < 0)
		return r;
	s->error[0] = '\0';
	r = listen_locked(w, &a, backlog, text, ret_fd);
	if (a.any_stack && (r == -EAFNOSUPPORT || r == -EADDRNOTAVAIL) &&
	    addr_parse("tcp4", address, &v4) == 0)
		r = listen_locked(w, &v4, backlog, text, ret_fd); /* IPv6 is off */
	steer_unlock(s);
	return r < 0 && !s->error[0] ? listen_explain(s, r, text) : r;
}

/* Bound, listening, TCP. Sets @key. */
static int listen_examine(struct np_steer *s, int fd, struct np_group *key)
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

static int listen_add_locked(struct np_steer_worker *w, int fd, const struct np_group *key)
{
	struct np_steer *s = w->s;
	uint32_t slot;
	uint64_t mine = 0, there = 0;
	int g, r;

	g = group_take(s, key);
	if (g < 0)
		return g;
	slot = NP_SLOT(g, w->index);
	sys_getsockopt(fd, SOL_SOCKET, SO_COOKIE, &mine, sizeof mine);
	if (steer_has_program(s) && map_lookup(&s->maps, MAP_np_socks, &slot, &there) == 0 &&
	    there != mine)
		return steer_fail(s, -EEXIST, "worker %u has another listener on that address",
				  w->index);
	r = listen_enrol(w, (unsigned)g, fd);
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
		return listen_refuse_left(w);
	r = listen_examine(s, fd, &key);
	if (r == 0)
		r = steer_lock(s);
	if (r < 0)
		return r;
	s->error[0] = '\0';
	r = listen_add_locked(w, fd, &key);
	steer_unlock(s);
	return r < 0 && !s->error[0] ? steer_fail(s, r, "descriptor %d: %s", fd, strerror(-r)) : r;
}

/*
 * listen_again() - on the port that @fd had
 *
 * With the shutdown a listener that was bound to port 0 has lost its port, and listen(2) would take
 * another one: getsockname(2) still tells the old one. So it is bound once more; a socket that has
 * its port says -EINVAL to that.
 */
static int listen_again(int fd, const struct listeners_entry *l)
{
	int r = sys_bind(fd, (const struct sockaddr *)&l->ss, l->len);

	return r == 0 || r == -EINVAL ? sys_listen(fd, l->backlog) : r;
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
	r = w->left ? -ESHUTDOWN : listen_again(fd, &l);
	if (r == 0) {
		/*
		 * The address may have become another group: it looked as if nobody listened there.
		 */
		group_key(&key, &l.ss, fd);
		r = listen_add_locked(w, fd, &key);
	}
	steer_unlock(s);
	return r;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * listen: a listener and its slot, in the one order that works
 *
 *   socket -> SO_REUSEPORT -> bind -> listen -> slot -> attach -> roster
 *
 * Every other order fails: SO_REUSEPORT after bind makes no group; a program attached before bind
 * lets no second socket bind; a slot takes only a listening socket, and only one that no other
 * service has. And the program belongs to the group, not to the socket: attaching a private one to
 * a port of others would take their connections. So a port where this service has no worker must be
 * free.
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "steer/steer.h"
#include "sys/io.h"
#include "sys/sock.h"

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
 * Only that tells that no other socket has it. A socket that is to share may be bound beside it,
 * since both have SO_REUSEADDR and neither listens; so the port is never free for others in
 * between. Port 0 becomes the port that the kernel chose: a listener bound to port 0 itself would
 * get another port if it ever had to listen again.
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

/* The key of the group at @a; where @a has no port, the port of a sibling, if there is one. */
static int listen_key(const struct np_steer_worker *w, struct addr *a, struct np_group *ret)
{
	int fd = -1, r;

	r = listen_socket(a, a->v6only, &fd);
	if (r < 0)
		return r;
	group_key(ret, &a->ss, fd);
	sys_close(&fd);
	ret->v6only = a->v6only;
	if (!ret->port) {
		ret->port = (uint16_t)listen_sibling_port(w, ret);
		addr_set_port(&a->ss, ret->port);
	}
	ret->v6only = a->v6only || overlap_yields_to_v4(w->s, ret);
	return 0;
}

/* Makes sure that no stranger has the port. For port 0 it becomes one that is free. */
static int listen_claim_port(struct np_steer *s, struct addr *a, struct np_group *key,
			     int *ret_reserved)
{
	int r;

	if (key->port && overlap_has_beside(s, key))
		return overlap_only_ours(s, key->port);
	r = listen_reserve(a, key->v6only, ret_reserved);
	if (r == 0)
		key->port = (uint16_t)addr_port(&a->ss);
	return r;
}

/* Under the lock. */
static int listen_locked(struct np_steer_worker *w, struct addr *a, int backlog, const char *text,
			 int *ret_fd)
{
	int fd = -1, reserved = -1, g, r;
	struct np_steer *s = w->s;
	struct np_group key;
	bool port0;

	r = listen_key(w, a, &key);
	if (r < 0)
		return r;
	port0 = !key.port;
	g = port0 ? -ENOENT : group_find(s, &key);
	if (g >= 0 && map_listener(&s->maps, NP_SLOT(g, w->index)))
		return steer_fail(s, -EEXIST, "worker %u listens on %s already", w->index, text);
	if (g < 0 || !group_live(s, (unsigned)g))
		r = listen_claim_port(s, a, &key, &reserved);
	if (r == 0)
		r = listen_bind(a, key.v6only, backlog, &reserved, &fd);
	if (r == -EADDRINUSE)
		return listen_say_taken(s, text);
	if (r == 0)
		r = g = group_take(s, &key);
	if (r >= 0)
		r = slot_fill(w, (unsigned)g, fd);
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

int np_steer_listen(struct np_steer_worker *w, const char *network, const char *address,
		    int backlog, int *ret_fd)
{
	struct np_steer *s = w->s;
	const char *text = address ? address : "(null)";
	struct addr a, v4;
	int r;

	if (w->left)
		return slot_refuse_left(w);
	r = backlog < -1 ? -EINVAL : addr_parse(network, address, &a);
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

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * server_address: what np_server_listen() makes: a listener for each poller, or one that all share
 *
 * TCP goes through the steering layer, which also works where nothing can be steered. Unix
 * sockets and inherited ones have no reuseport group (EOPNOTSUPP): one socket, in every epoll.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "netpoll/server_private.h"
#include "steer/steer.h"
#include "sys/addr.h"
#include "sys/io.h"
#include "sys/lock.h"
#include "sys/sock.h"

static int server_listen_tcp(struct np_server *s, struct server_address *a, const char *network,
			     const char *address)
{
	int r = server_enter_service(s);

	if (r < 0)
		return r;
	for (unsigned i = 0; i < s->n_parts; i++) {
		r = np_steer_listen(s->workers[i], network, address, s->opts.backlog, &a->fds[i]);
		if (r < 0)
			return server_say(s, r, "%s", np_steer_error(s->steer));
		/* Connections accepted from it inherit that: a test proves it of the kernel. */
		if (!s->opts.nagle) {
			r = sys_setsockopt_int(a->fds[i], IPPROTO_TCP, TCP_NODELAY, 1);
			if (r < 0)
				return server_say(s, r, "TCP_NODELAY: %s", np_strerror(r));
		}
	}
	a->steered = a->own = true;
	return sys_getsockname(a->fds[0], &a->ss, &a->len);
}

/* ------------------------------------------------------------------ shared sockets */

static const char *server_address_path(const struct sockaddr_storage *ss)
{
	const char *path = ((const struct sockaddr_un *)ss)->sun_path;

	return ss->ss_family == AF_UNIX && path[0] ? path : NULL;
}

/*
 * bind(2) makes the file, and never over another: so the usual case needs no look at the name
 * before.
 */
static int server_address_bind_unix(struct server_address *a, const struct addr *at)
{
	int r = sys_socket(AF_UNIX, SOCK_STREAM, &a->fds[0]);

	if (r == 0)
		r = sys_bind(a->fds[0], (const struct sockaddr *)&at->ss, at->len);
	if (r == -EADDRINUSE && a->file.path) {
		r = socket_file_clear(&a->file, at);
		if (r == 0)
			r = sys_bind(a->fds[0], (const struct sockaddr *)&at->ss, at->len);
	}
	if (r == 0 && a->file.path)
		r = socket_file_note(&a->file);
	return r;
}

static int server_listen_unix(struct np_server *s, struct server_address *a, const struct addr *at,
			      const char *address)
{
	const char *path = server_address_path(&at->ss);
	struct sys_holder holder;
	char who[80];
	int r = path ? socket_file_open(&a->file, path, &holder) : 0;

	if (r == -EAGAIN) {
		sys_holder_format(&holder, who, sizeof who);
		return server_say(s, -EADDRINUSE, "%s: %s.lock is held by %s", address, address,
				  who);
	}
	if (r < 0)
		return server_say(s, r, "%s.lock: %s", address, np_strerror(r));
	r = server_address_bind_unix(a, at);
	if (r == 0)
		r = sys_listen(a->fds[0], s->opts.backlog);
	socket_file_unlock(&a->file);
	if (r == -EADDRINUSE)
		return server_say(
			s, r,
			path ? "%s: another process listens there, or it is no dead socket of this user" :
			       "%s: another process listens there",
			address);
	if (r < 0)
		return server_say(s, r, "%s: %s", address, np_strerror(r));
	a->shared = a->own = true;
	return sys_getsockname(a->fds[0], &a->ss, &a->len);
}

/* Whether a connection that @fd accepts has Nagle's algorithm on: it inherits the option, which TCP
 * alone has. */
static bool server_address_delays(int fd, int family)
{
	int on = 1;

	return family != AF_UNIX && sys_getsockopt_int(fd, IPPROTO_TCP, TCP_NODELAY, &on) == 0 &&
	       !on;
}

/* ------------------------------------------------------------------ addresses */

static void server_address_close(struct np_server *s, struct server_address *a)
{
	if (!a->fds)
		return;
	socket_file_remove(&a->file);
	for (unsigned i = 0; i < s->n_parts; i++) {
		if (a->own && a->fds[i] >= 0)
			sys_shutdown(a->fds[i], SHUT_RDWR); /* a forked child may hold it */
		sys_close(&a->fds[i]);
	}
	free(a->fds);
	a->fds = NULL;
}

int server_address_new(struct np_server *s, struct server_address **ret)
{
	struct server_address *a = server_facts_grow(s);

	if (!a)
		return -ENOMEM;
	memset(a, 0, sizeof *a);
	a->fds = malloc(s->n_parts * sizeof *a->fds);
	if (!a->fds)
		return -ENOMEM;
	for (unsigned i = 0; i < s->n_parts; i++)
		a->fds[i] = -1;
	*ret = a;
	return 0;
}

static int server_may_listen(struct np_server *s)
{
	if (s->phase != SERVER_MADE)
		return server_say(s, -EBUSY, "addresses are added before the server starts");
	s->error[0] = '\0';
	return 0;
}

int np_server_listen(struct np_server *s, const char *network, const char *address)
{
	struct server_address *a;
	struct addr at;
	int r = server_may_listen(s);

	if (r < 0)
		return r;
	r = addr_parse(network, address, &at);
	if (r == -NP_ERESOLVE)
		return server_say(s, r, "%s: a literal address is needed to listen on, not a name",
				  address);
	if (r == -ENODEV)
		return server_say(s, r, "%s: there is no such network interface", address);
	if (r < 0)
		return server_say(s, r, "%s %s: not an address: %s",
				  network ? network : "(no network)",
				  address ? address : "(no address)", np_strerror(r));
	r = server_address_new(s, &a);
	if (r < 0)
		return server_say(s, r, "%s: %s", address, np_strerror(r));
	r = at.ss.ss_family == AF_UNIX ? server_listen_unix(s, a, &at, address) :
					 server_listen_tcp(s, a, network, address);
	if (r < 0) {
		server_address_close(s, a);
		return s->error[0] ? r : server_say(s, r, "%s: %s", address, np_strerror(r));
	}
	server_facts_add_address(s);
	return 0;
}

/* Of records (SOCK_SEQPACKET) recv(2) drops what does not fit into the room that it is given. */
static int server_inspect(struct np_server *s, int fd)
{
	int listening = 0, type = 0;
	int r = sys_getsockopt_int(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening);

	if (r == 0)
		r = sys_getsockopt_int(fd, SOL_SOCKET, SO_TYPE, &type);
	if (r < 0 || !listening)
		return server_say(s, -EINVAL, "descriptor %d is no listening socket", fd);
	if (type != SOCK_STREAM)
		return server_say(s, -NP_EUNSUPPORTED, "descriptor %d is of records, no stream",
				  fd);
	return 0;
}

int np_server_listen_fd(struct np_server *s, int *fd)
{
	struct server_address *a;
	int r = server_may_listen(s);

	if (r == 0)
		r = server_inspect(s, *fd);
	if (r < 0)
		return r;
	r = sys_set_nonblock(*fd);
	if (r < 0)
		return server_say(s, r, "descriptor %d: %s", *fd, np_strerror(r));
	r = server_address_new(s, &a);
	if (r < 0)
		return server_say(s, r, "descriptor %d: %s", *fd, np_strerror(r));
	r = sys_getsockname(*fd, &a->ss, &a->len);
	if (r < 0) {
		server_address_close(s, a);
		return server_say(s, r, "descriptor %d: %s", *fd, np_strerror(r));
	}
	a->delays = server_address_delays(*fd, a->ss.ss_family);
	a->fds[0] = *fd;
	a->shared = true;
	*fd = -1;
	server_facts_add_address(s);
	return 0;
}

int np_server_addr(struct np_server *s, int i, struct sockaddr_storage *ret, socklen_t *ret_len)
{
	if (i < 0 || (unsigned)i >= s->n_addresses)
		return -EINVAL;
	*ret = s->addresses[i].ss;
	*ret_len = s->addresses[i].len;
	addr_unmap(ret, ret_len);
	return 0;
}

/* ------------------------------------------------------------------ the end of it */

void server_refuse_connects(struct np_server *s)
{
	for (unsigned i = 0; i < s->n_addresses; i++) {
		struct server_address *a = &s->addresses[i];

		if (!a->own || a->ss.ss_family != AF_UNIX)
			continue;
		sys_shutdown(a->fds[0], SHUT_RDWR);
		socket_file_remove(&a->file);
	}
}

void server_close_listeners(struct np_server *s)
{
	for (unsigned i = 0; i < s->n_addresses; i++)
		server_address_close(s, &s->addresses[i]);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * address: what np_server_listen() makes: a listener for each poller, or one that all share
 *
 * TCP goes through the steering layer, which also works where nothing can be steered. Unix
 * sockets and inherited ones have no reuseport group (EOPNOTSUPP): one socket, in every epoll.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "netpoll/server_private.h"
#include "steer/steer.h"
#include "sys/addr.h"
#include "sys/io.h"
#include "sys/lock.h"
#include "sys/sock.h"

_Static_assert(sizeof(struct np_worker_line) == sizeof(struct poller_load), "one line, two names");
_Static_assert(offsetof(struct np_worker_line, busy_since_ns) ==
			       offsetof(struct poller_load, busy_since_ns) &&
		       offsetof(struct np_worker_line, conns) ==
			       offsetof(struct poller_load, conns) &&
		       offsetof(struct np_worker_line, accepted_total) ==
			       offsetof(struct poller_load, accepted_total) &&
		       offsetof(struct np_worker_line, closed_total) ==
			       offsetof(struct poller_load, closed_total),
	       "one line, two names");

int server_say(struct np_server *s, int r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->error, sizeof s->error, fmt, ap);
	va_end(ap);
	return r;
}

/* ------------------------------------------------------------------ steering */

static int open_workers(struct np_server *s)
{
	struct np_worker_line *line;
	char name[NP_STEER_NAME_MAX + 1];
	int r;

	s->workers = calloc(s->n_parts, sizeof *s->workers);
	if (!s->workers)
		return -ENOMEM;
	for (unsigned i = 0; i < s->n_parts; i++) {
		snprintf(name, sizeof name, "%s/poller-%u", s->name, i % 10000u);
		r = np_steer_worker(s->steer, name, &s->workers[i]);
		if (r < 0)
			return server_say(s, r, "%s", np_steer_error(s->steer));
		np_steer_set_cpu(s->workers[i], poller_cpu(s->parts[i]->group.poller));
		line = steer_worker_line(s->workers[i]);
		__atomic_store_n(&line->says_idle, 1, __ATOMIC_RELAXED); /* as pollers do */
		facts_publish_to(s, i, (struct poller_load *)(void *)line);
	}
	return 0;
}

/* A service that can only be joined is not loaded privately behind the user's back. */
static int open_steering(struct np_server *s)
{
	struct np_steer_opts o = {
		.sz = sizeof o,
		.mode = (enum np_steer_mode)s->opts.steer,
		.policy = s->policy,
		.hang_ms = s->opts.hang_ms,
		.rescue = s->opts.rescue,
		.log = s->pollers->log,
		.log_arg = s->pollers->log_arg,
		.error = s->error,
		.error_cap = sizeof s->error,
	};
	struct np_steer *steer;
	int r;

	if (s->steer)
		return 0;
	if (s->service && o.mode == NP_STEER_REQUIRED)
		o.mode = NP_STEER_JOIN;
	r = np_steer_open(s->service, &o, &steer);
	if (r < 0)
		return r;
	facts_enter_service(s, steer);
	return open_workers(s);
}

/*
 * A worker whose claim cannot be given up, because another process holds the service's lock, keeps
 * the service open: np_server_free() tries once more.
 */
static void close_steering(struct np_server *s)
{
	struct np_steer *steer;
	int r = 0;

	for (unsigned i = 0; s->workers && i < s->n_parts; i++) {
		if (!s->workers[i])
			continue;
		facts_keep(s, i);
		r = np_steer_worker_close(&s->workers[i]);
		if (r < 0)
			break;
	}
	if (r < 0 || !s->steer)
		return;
	free(s->workers);
	s->workers = NULL;
	steer = facts_leave_service(s);
	np_steer_close(&steer);
}

int server_relisten(struct np_server *s, unsigned index, int fd)
{
	return np_steer_relisten(s->workers[index], fd);
}

const char *server_lock_holder(struct np_server *s, char *dst, size_t cap)
{
	struct sys_holder h;

	if (s->steer->lock_fd < 0) {
		snprintf(dst, cap, "another thread"); /* nobody else has this service */
		return dst;
	}
	sys_lock_holder(s->steer->lock_fd, &h);
	sys_holder_format(&h, dst, cap);
	return dst;
}

static int listen_tcp(struct np_server *s, struct address *a, const char *network,
		      const char *address)
{
	int r = open_steering(s);

	if (r < 0)
		return r;
	for (unsigned i = 0; i < s->n_parts; i++) {
		r = np_steer_listen(s->workers[i], network, address, s->opts.backlog, &a->fds[i]);
		if (r < 0)
			return server_say(s, r, "%s", np_steer_error(s->steer));
		/* Inherited by what is accepted from it (a test proves that the kernel does). */
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

static const char *socket_path(const struct sockaddr_storage *ss)
{
	const char *path = ((const struct sockaddr_un *)ss)->sun_path;

	return ss->ss_family == AF_UNIX && path[0] ? path : NULL;
}

/*
 * bind(2) makes the file, and never over another: so the usual case needs no look at what is there.
 */
static int address_bind_unix(struct address *a, const struct addr *at)
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

static int listen_unix(struct np_server *s, struct address *a, const struct addr *at,
		       const char *address)
{
	const char *path = socket_path(&at->ss);
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
	r = address_bind_unix(a, at);
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

/* Whether what @fd accepts has Nagle's algorithm on: it inherits the option. Nothing but TCP has
 * it. */
static bool address_delays(int fd, int family)
{
	int on = 1;

	return family != AF_UNIX && sys_getsockopt_int(fd, IPPROTO_TCP, TCP_NODELAY, &on) == 0 &&
	       !on;
}

/* ------------------------------------------------------------------ addresses */

static void address_close(struct np_server *s, struct address *a)
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

static int address_new(struct np_server *s, struct address **ret)
{
	struct address *a = facts_grow(s);

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

static int may_listen(struct np_server *s)
{
	if (s->phase != SERVER_MADE)
		return server_say(s, -EBUSY, "addresses are added before the server starts");
	s->error[0] = '\0';
	return 0;
}

int np_server_listen(struct np_server *s, const char *network, const char *address)
{
	struct address *a;
	struct addr at;
	int r = may_listen(s);

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
	r = address_new(s, &a);
	if (r < 0)
		return server_say(s, r, "%s: %s", address, np_strerror(r));
	r = at.ss.ss_family == AF_UNIX ? listen_unix(s, a, &at, address) :
					 listen_tcp(s, a, network, address);
	if (r < 0) {
		address_close(s, a);
		return s->error[0] ? r : server_say(s, r, "%s: %s", address, np_strerror(r));
	}
	facts_add_address(s);
	return 0;
}

int np_server_listen_fd(struct np_server *s, int *fd)
{
	struct address *a;
	int listening = 0, r = may_listen(s);

	if (r < 0)
		return r;
	r = sys_getsockopt_int(*fd, SOL_SOCKET, SO_ACCEPTCONN, &listening);
	if (r < 0 || !listening)
		return server_say(s, -EINVAL, "descriptor %d is no listening socket", *fd);
	r = sys_set_nonblock(*fd);
	if (r < 0)
		return server_say(s, r, "descriptor %d: %s", *fd, np_strerror(r));
	r = address_new(s, &a);
	if (r < 0)
		return server_say(s, r, "descriptor %d: %s", *fd, np_strerror(r));
	r = sys_getsockname(*fd, &a->ss, &a->len);
	if (r < 0) {
		address_close(s, a);
		return server_say(s, r, "descriptor %d: %s", *fd, np_strerror(r));
	}
	a->delays = address_delays(*fd, a->ss.ss_family);
	a->fds[0] = *fd;
	a->shared = true;
	*fd = -1;
	facts_add_address(s);
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

void server_stop_being_chosen(struct np_server *s)
{
	for (unsigned i = 0; s->workers && i < s->n_parts; i++)
		np_steer_drain(s->steer, (unsigned)np_steer_worker_index(s->workers[i]));
}

void server_say_full(struct np_server *s, unsigned index, bool full)
{
	if (s->workers && s->workers[index])
		steer_worker_full(s->workers[index], full);
}

void server_refuse_connects(struct np_server *s)
{
	for (unsigned i = 0; i < s->n_addresses; i++) {
		struct address *a = &s->addresses[i];

		if (!a->own || a->ss.ss_family != AF_UNIX)
			continue;
		sys_shutdown(a->fds[0], SHUT_RDWR);
		socket_file_remove(&a->file);
	}
}

void server_close_listeners(struct np_server *s)
{
	for (unsigned i = 0; i < s->n_addresses; i++)
		address_close(s, &s->addresses[i]);
}

void server_leave_service(struct np_server *s)
{
	close_steering(s);
}

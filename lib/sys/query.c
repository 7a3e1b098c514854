/* SPDX-License-Identifier: BSD-2-Clause */
/* query: a channel of c-ares for each lookup, and an epoll descriptor for the channel's sockets. */
#include "sys/query.h"

#include <errno.h>

#include "netpoll/status.h"

#ifdef NP_HAVE_CARES

#include <ares.h>
#include <arpa/inet.h>
#include <limits.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "sys/epoll.h"
#include "sys/io.h"
#include "sys/names.h"
#include "sys/names_conf.h"
#include "sys/sock.h"

struct query {
	ares_channel channel;
	int ep;
	int family; /* of the question under way: AF_UNSPEC is both */
	int port;
	int status;   /* ARES_*, of the last question */
	int error;    /* of a system call: why there was no answer */
	bool waiting; /* its callback has not been called yet */
	bool none;    /* AF_UNSPEC has found no address: each family by itself now */
	struct ares_addrinfo *found;
	char host[NAMES_HOST_MAX];
};

/* ------------------------------------------------------------------ sockets */

static void query_note(struct query *q, int err)
{
	if (err < 0)
		q->error = err;
}

/* c-ares makes a socket first and close-on-exec later: a fork in between would inherit it. */
static ares_socket_t query_socket(int family, int type, int protocol, void *arg)
{
	int fd = -1, r = sys_socket(family, type, &fd);

	if (r == -EMFILE || r == -ENFILE || r == -ENOMEM || r == -ENOBUFS)
		query_note(arg, r == -ENOBUFS ? -ENOMEM : r);
	errno = -r;
	return fd;
}

static int query_close_socket(ares_socket_t fd, void *arg)
{
	return close(fd);
}

static int query_connect(ares_socket_t fd, const struct sockaddr *sa, ares_socklen_t len, void *arg)
{
	return connect(fd, sa, len);
}

static ares_ssize_t query_recv(ares_socket_t fd, void *p, size_t n, int flags,
			       struct sockaddr *from, ares_socklen_t *len, void *arg)
{
	return recvfrom(fd, p, n, flags, from, len);
}

static ares_ssize_t query_send(ares_socket_t fd, const struct iovec *iov, int niov, void *arg)
{
	struct msghdr m = { .msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)niov };

	return sendmsg(fd, &m, MSG_NOSIGNAL);
}

static const struct ares_socket_functions query_sockets = {
	.asocket = query_socket,
	.aclose = query_close_socket,
	.aconnect = query_connect,
	.arecvfrom = query_recv,
	.asendv = query_send,
};

/* Called with neither before the socket is closed. */
static void query_watch(void *arg, ares_socket_t fd, int in, int out)
{
	struct query *q = arg;
	uint32_t events = (in ? EPOLLIN : 0) | (out ? EPOLLOUT : 0);
	int r;

	if (!events) {
		sys_epoll_del(q->ep, fd);
		return;
	}
	r = sys_epoll_add(q->ep, fd, events, (uint64_t)fd);
	query_note(q, r == -EEXIST ? sys_epoll_mod(q->ep, fd, events, (uint64_t)fd) : r);
}

/* ------------------------------------------------------------------ questions */

static void query_answer(void *arg, int status, int timeouts, struct ares_addrinfo *found)
{
	struct query *q = arg;

	q->waiting = false;
	q->status = status;
	q->found = found;
}

static void query_ask(struct query *q, int family)
{
	struct ares_addrinfo_hints hints = { .ai_family = family, .ai_socktype = SOCK_STREAM };

	q->family = family;
	q->waiting = true;
	ares_getaddrinfo(q->channel, q->host, NULL, &hints, query_answer, q);
}

/*
 * Of two questions the last to be answered says why there is no address, in c-ares: where that is
 * "none of this kind" the other may have been refused an answer, which is no word about the name.
 */
static void query_ask_again(struct query *q)
{
	while (!q->waiting && q->status == ARES_ENODATA && q->family != AF_INET6) {
		if (q->family == AF_INET && !q->none)
			return;
		q->none = true;
		query_ask(q, q->family == AF_UNSPEC ? AF_INET : AF_INET6);
	}
}

static int query_error(const struct query *q)
{
	switch (q->status) {
	case ARES_ENODATA:
	case ARES_ENOTFOUND:
	case ARES_EBADNAME:
		return -NP_ERESOLVE;
	case ARES_ENOMEM:
		return -ENOMEM;
	default:
		return q->error ? q->error : -NP_ERESOLVEAGAIN;
	}
}

/* ------------------------------------------------------------------ from the first to the last */

static int query_library;

static void query_library_init(void)
{
	query_library = ares_library_init(ARES_LIB_INIT_ALL);
}

static int query_channel(struct query *q, struct names_conf *c)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct ares_options o = {
		.timeout = c->timeout_ms,
		.tries = c->attempts,
		.lookups = c->lookups,
		.sock_state_cb = query_watch,
		.sock_state_cb_data = q,
	};
	int r;

	pthread_once(&once, query_library_init);
	r = query_library;
	if (r == ARES_SUCCESS)
		r = ares_init_options(&q->channel, &o,
				      ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS |
					      ARES_OPT_SOCK_STATE_CB);
	if (r != ARES_SUCCESS)
		return r == ARES_ENOMEM ? -ENOMEM : -NP_ERESOLVEAGAIN;
	ares_set_socket_functions(q->channel, &query_sockets, q);
	return 0;
}

/* "127.1", as inet_aton(3) takes it, is an address to getaddrinfo(3) and a name to c-ares. */
static int query_host(struct query *q, const char *address)
{
	struct in_addr number;
	int r = addr_split(address, q->host, sizeof q->host, &q->port);

	return r < 0 ? r : inet_aton(q->host, &number) ? -NP_EUNSUPPORTED : 0;
}

int query_open(const char *network, const char *address, struct query **ret)
{
	struct names_conf c;
	struct query *q;
	int r = names_conf_read(&c);

	if (r <= 0)
		return r ? r : -NP_EUNSUPPORTED;
	q = calloc(1, sizeof *q);
	if (!q)
		return -ENOMEM;
	q->ep = -1;
	r = query_host(q, address);
	if (r == 0)
		r = sys_epoll_create(&q->ep);
	if (r == 0)
		r = query_channel(q, &c);
	if (r < 0) {
		query_close(q);
		return r;
	}
	query_ask(q, !strcmp(network, "tcp4") ? AF_INET :
		     !strcmp(network, "tcp6") ? AF_INET6 :
						AF_UNSPEC);
	query_ask_again(q);
	*ret = q;
	return 0;
}

bool query_done(const struct query *q)
{
	return !q->waiting;
}

int query_fd(const struct query *q)
{
	return q->ep;
}

int query_ms(const struct query *q)
{
	struct timeval tv, *next = ares_timeout(q->channel, NULL, &tv);

	if (!next || next->tv_sec >= 60)
		return 60 * 1000;
	return (int)(next->tv_sec * 1000 + next->tv_usec / 1000 + 1);
}

/* A descriptor that is closed here and made again at once is asked once too often: EAGAIN. */
void query_step(struct query *q)
{
	struct epoll_event ev[8];
	int n = sys_epoll_wait(q->ep, ev, 8, 0);

	for (int i = 0; i < n; i++) {
		int fd = (int)ev[i].data.u64;
		bool in = ev[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP);
		bool out = ev[i].events & EPOLLOUT;

		ares_process_fd(q->channel, in ? fd : ARES_SOCKET_BAD, out ? fd : ARES_SOCKET_BAD);
	}
	if (n <= 0)
		ares_process_fd(q->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD); /* timeouts */
	query_ask_again(q);
}

static int query_copy(const struct query *q, struct addr **ret)
{
	struct addr *v;
	unsigned n = 0;

	for (const struct ares_addrinfo_node *a = q->found->nodes; a; a = a->ai_next)
		n++;
	if (!n)
		return -NP_ERESOLVE;
	v = calloc(n, sizeof *v);
	if (!v)
		return -ENOMEM;
	n = 0;
	for (const struct ares_addrinfo_node *a = q->found->nodes; a; a = a->ai_next) {
		v[n].len = a->ai_addrlen;
		memcpy(&v[n].ss, a->ai_addr, a->ai_addrlen);
		addr_set_port(&v[n++].ss, q->port);
	}
	names_in_turn(v, n);
	*ret = v;
	return (int)n;
}

int query_take(struct query *q, struct addr **ret)
{
	return q->status == ARES_SUCCESS ? query_copy(q, ret) : query_error(q);
}

void query_close(struct query *q)
{
	if (q->channel)
		ares_destroy(q->channel); /* calls back, if it is still waiting */
	if (q->found)
		ares_freeaddrinfo(q->found);
	sys_close(&q->ep);
	free(q);
}

#else

int query_open(const char *network, const char *address, struct query **ret)
{
	return -NP_EUNSUPPORTED;
}

/* Of none. */
bool query_done(const struct query *q)
{
	return true;
}

int query_fd(const struct query *q)
{
	return -1;
}

int query_ms(const struct query *q)
{
	return 1;
}

void query_step(struct query *q)
{
}

int query_take(struct query *q, struct addr **ret)
{
	return -NP_EUNSUPPORTED;
}

void query_close(struct query *q)
{
}

#endif

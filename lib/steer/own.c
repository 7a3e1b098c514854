/* SPDX-License-Identifier: BSD-2-Clause */
/* own: a list under a mutex; a process has a listener for each poller and address. */
#include "steer/own.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdlib.h>

#include "steer_abi.h"
#include "sys/fs.h"
#include "sys/io.h"
#include "sys/sock.h"

void own_init(struct own *o)
{
	*o = (struct own){ .all = NULL };
	pthread_mutex_init(&o->lock, NULL);
}

void own_fini(struct own *o)
{
	free(o->all);
	pthread_mutex_destroy(&o->lock);
}

static int describe(int fd, struct own_listener *l)
{
	struct tcp_info info;
	socklen_t len = sizeof info;
	int r;

	r = sys_getsockopt(fd, SOL_SOCKET, SO_COOKIE, &l->cookie, sizeof l->cookie);
	if (r == 0)
		r = sys_getsockname(fd, &l->ss, &l->len);
	/* Of a listener: tcpi_unacked is its queue and tcpi_sacked the longest that may get. */
	if (r == 0)
		r = getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 ? -errno : 0;
	l->backlog = r == 0 ? (int)info.tcpi_sacked : 0;
	return r;
}

static void put(struct own *o, const struct own_listener *l)
{
	for (unsigned i = 0; i < o->n; i++)
		if (o->all[i].slot == l->slot) {
			o->all[i] = *l;
			return;
		}
	o->all[o->n++] = *l;
}

int own_note(struct own *o, uint32_t slot, int fd)
{
	struct own_listener l = { .slot = slot, .fd = fd }, *grown;
	int r;

	r = describe(fd, &l);
	if (r < 0)
		return r;
	pthread_mutex_lock(&o->lock);
	grown = realloc(o->all, (o->n + 1) * sizeof *grown);
	if (grown) {
		o->all = grown;
		put(o, &l);
	}
	pthread_mutex_unlock(&o->lock);
	return grown ? 0 : -ENOMEM;
}

void own_forget(struct own *o, uint32_t slot)
{
	pthread_mutex_lock(&o->lock);
	for (unsigned i = 0; i < o->n; i++)
		if (o->all[i].slot == slot) {
			o->all[i] = o->all[--o->n];
			break;
		}
	pthread_mutex_unlock(&o->lock);
}

int own_find(struct own *o, uint64_t cookie, struct own_listener *ret)
{
	int r = -ENOENT;

	pthread_mutex_lock(&o->lock);
	for (unsigned i = 0; i < o->n && r < 0; i++)
		if (o->all[i].cookie == cookie) {
			*ret = o->all[i];
			r = 0;
		}
	pthread_mutex_unlock(&o->lock);
	return r;
}

bool own_is(int fd, uint64_t cookie)
{
	uint64_t is = 0;

	return sys_getsockopt(fd, SOL_SOCKET, SO_COOKIE, &is, sizeof is) == 0 && is == cookie;
}

int own_shut_if(int fd, uint64_t cookie)
{
	return own_is(fd, cookie) ? sys_shutdown(fd, SHUT_RD) : -ENOENT;
}

int own_dup(struct own *o, uint64_t cookie, int *ret_fd)
{
	struct own_listener l;
	int fd = -1, r;

	r = own_find(o, cookie, &l);
	if (r == 0)
		r = sys_dup(l.fd, &fd);
	if (r == 0 && !own_is(fd, cookie)) {
		sys_close(&fd);
		r = -ENOENT;
	}
	if (r < 0)
		return r == -EBADF ? -ENOENT : r;
	*ret_fd = fd;
	return 0;
}

int own_shut(struct own *o, uint64_t cookie)
{
	int fd = -1, r;

	r = own_dup(o, cookie, &fd);
	if (r == 0)
		r = own_shut_if(fd, cookie);
	sys_close(&fd);
	return r;
}

int own_prefer_cpu(struct own *o, unsigned w, int cpu)
{
	int r = 0;

	pthread_mutex_lock(&o->lock);
	for (unsigned i = 0; i < o->n && r == 0; i++)
		if (o->all[i].slot % NP_WORKERS == w && own_is(o->all[i].fd, o->all[i].cookie))
			r = sys_setsockopt_int(o->all[i].fd, SOL_SOCKET, SO_INCOMING_CPU, cpu);
	pthread_mutex_unlock(&o->lock);
	return r;
}

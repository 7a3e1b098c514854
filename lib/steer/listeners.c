/* SPDX-License-Identifier: BSD-2-Clause */
/* listeners: a list under a mutex; a process has a listener for each poller and address. */
#include "steer/listeners.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdlib.h>

#include "steer_abi.h"
#include "sys/fs.h"
#include "sys/io.h"
#include "sys/sock.h"

void listeners_init(struct listeners *ls)
{
	*ls = (struct listeners){ .all = NULL };
	pthread_mutex_init(&ls->lock, NULL);
}

void listeners_fini(struct listeners *ls)
{
	free(ls->all);
	pthread_mutex_destroy(&ls->lock);
}

int listeners_describe(int fd, struct listeners_entry *l)
{
	struct tcp_info info;
	int r;

	r = sys_getsockopt(fd, SOL_SOCKET, SO_COOKIE, &l->cookie, sizeof l->cookie);
	if (r == 0)
		r = sys_getsockname(fd, &l->ss, &l->len);
	/* Of a listener: tcpi_unacked is its queue and tcpi_sacked the longest that may get. */
	if (r == 0)
		r = sys_getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, sizeof info);
	l->backlog = r == 0 ? (int)info.tcpi_sacked : 0;
	return r;
}

static void listeners_put(struct listeners *ls, const struct listeners_entry *l)
{
	for (unsigned i = 0; i < ls->n; i++)
		if (ls->all[i].slot == l->slot) {
			ls->all[i] = *l;
			return;
		}
	ls->all[ls->n++] = *l;
}

int listeners_note(struct listeners *ls, uint32_t slot, int fd)
{
	struct listeners_entry l = { .slot = slot, .fd = fd }, *grown;
	int r;

	r = listeners_describe(fd, &l);
	if (r < 0)
		return r;
	pthread_mutex_lock(&ls->lock);
	grown = realloc(ls->all, (ls->n + 1) * sizeof *grown);
	if (grown) {
		ls->all = grown;
		listeners_put(ls, &l);
	}
	pthread_mutex_unlock(&ls->lock);
	return grown ? 0 : -ENOMEM;
}

void listeners_forget(struct listeners *ls, uint32_t slot)
{
	pthread_mutex_lock(&ls->lock);
	for (unsigned i = 0; i < ls->n; i++)
		if (ls->all[i].slot == slot) {
			ls->all[i] = ls->all[--ls->n];
			break;
		}
	pthread_mutex_unlock(&ls->lock);
}

int listeners_find(struct listeners *ls, uint64_t cookie, struct listeners_entry *ret)
{
	int r = -ENOENT;

	pthread_mutex_lock(&ls->lock);
	for (unsigned i = 0; i < ls->n && r < 0; i++)
		if (ls->all[i].cookie == cookie) {
			*ret = ls->all[i];
			r = 0;
		}
	pthread_mutex_unlock(&ls->lock);
	return r;
}

bool listeners_is(int fd, uint64_t cookie)
{
	uint64_t is = 0;

	return sys_getsockopt(fd, SOL_SOCKET, SO_COOKIE, &is, sizeof is) == 0 && is == cookie;
}

int listeners_listen(int fd, const struct listeners_entry *l)
{
	int r = sys_bind(fd, (const struct sockaddr *)&l->ss, l->len);

	return r == 0 || r == -EINVAL ? sys_listen(fd, l->backlog) : r;
}

int listeners_shut(int fd, uint64_t cookie)
{
	return listeners_is(fd, cookie) ? sys_shutdown(fd, SHUT_RD) : -ENOENT;
}

int listeners_dup(struct listeners *ls, uint64_t cookie, int *ret_fd)
{
	struct listeners_entry l;
	int fd = -1, r;

	r = listeners_find(ls, cookie, &l);
	if (r == 0)
		r = sys_dup(l.fd, &fd);
	if (r == 0 && !listeners_is(fd, cookie)) {
		sys_close(&fd);
		r = -ENOENT;
	}
	if (r < 0)
		return r == -EBADF ? -ENOENT : r;
	*ret_fd = fd;
	return 0;
}

int listeners_prefer_cpu(struct listeners *ls, unsigned w, int cpu)
{
	int r = 0;

	pthread_mutex_lock(&ls->lock);
	for (unsigned i = 0; i < ls->n && r == 0; i++)
		if (ls->all[i].slot % NP_WORKERS == w &&
		    listeners_is(ls->all[i].fd, ls->all[i].cookie))
			r = sys_setsockopt_int(ls->all[i].fd, SOL_SOCKET, SO_INCOMING_CPU, cpu);
	pthread_mutex_unlock(&ls->lock);
	return r;
}

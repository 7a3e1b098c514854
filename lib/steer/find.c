/* SPDX-License-Identifier: BSD-2-Clause */
/* find: one dump of the kernel's list, one look at who holds what, a duplicate of each that was
 * found. */
#include "steer/find_private.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "steer/cause.h"
#include "steer/listeners.h"
#include "steer/steer.h"
#include "sys/io.h"
#include "sys/netns.h"
#include "sys/process.h"
#include "sys/sock.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

#define FIND_MAX 4096u /* listeners */

int find_parse(struct find_query *q, const char *address)
{
	const char *digits = address && address[0] == ':' ? address + 1 : address;
	char *end;
	int r;

	*q = (struct find_query){ .any_host = true };
	if (!address)
		return 0;
	if (*digits && digits[strspn(digits, "0123456789")] == '\0') {
		unsigned long port = strtoul(digits, &end, 10);

		q->port = (unsigned)port;
		return port >= 1 && port <= 65535 ? 0 : -EINVAL;
	}
	r = addr_parse("tcp", address, &q->at);
	if (r == 0 && q->at.ss.ss_family == AF_UNIX)
		r = -EINVAL;
	if (r < 0)
		return -EINVAL;
	q->any_host = false;
	q->port = (unsigned)addr_port(&q->at.ss);
	return q->port ? 0 : -EINVAL;
}

static int find_say(struct find *f, int r, const char *what)
{
	snprintf(f->why, sizeof f->why, "%s: %s", what, strerror(-r));
	return r;
}

/* ------------------------------------------------------------------ the kernel's list */

static bool find_matches(const struct find_query *q, const struct sys_listener *d)
{
	struct sockaddr_storage ss = { .ss_family = d->family }, want = q->at.ss;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ss;
	struct sockaddr_in *in = (struct sockaddr_in *)&ss;
	struct np_group a = { 0 }, b = { 0 };
	socklen_t len;

	if (q->any_host)
		return true;
	if (d->family == AF_INET)
		memcpy(&in->sin_addr, d->addr, sizeof in->sin_addr);
	else
		memcpy(&in6->sin6_addr, d->addr, sizeof in6->sin6_addr);
	addr_unmap(&ss, &len);
	addr_unmap(&want, &len);
	group_key(&a, &ss, -1);
	group_key(&b, &want, -1);
	return a.family == b.family && !memcmp(a.addr, b.addr, sizeof a.addr);
}

struct find_dump {
	struct find *f;
	const struct find_query *q;
	uint64_t netns;
	int lack; /* -ENOMEM: a listener was left out; 0 */
	int err;  /* of the last visit */
};

static void find_note(void *arg, const struct sys_listener *d)
{
	struct find_dump *x = arg;
	struct find *f = x->f;
	struct find_listener *grown;

	if (f->n == FIND_MAX || !find_matches(x->q, d))
		return;
	grown = realloc(f->all, (f->n + 1) * sizeof *grown);
	if (!grown) {
		x->lack = -ENOMEM;
		return;
	}
	f->all = grown;
	f->all[f->n++] =
		(struct find_listener){ .d = *d, .netns = x->netns, .err = -ESRCH, .program = -1 };
}

/* On a thread that is in the namespace. One family may be missing from the kernel. */
static int find_dump(void *arg)
{
	struct find_dump *x = arg;
	int fd = -1, r, r6;

	r = sys_diag_open(&fd);
	if (r == 0) {
		r6 = sys_diag_listeners(fd, AF_INET6, x->q->port, find_note, x);
		r = sys_diag_listeners(fd, AF_INET, x->q->port, find_note, x);
		r = r < 0 && r6 < 0 ? r : x->lack;
	}
	sys_close(&fd);
	return r;
}

/* Another one's, where nothing was asked for by name, may be out of reach: it is left out. One that
 * this process lacks a descriptor, memory or a thread for (-EAGAIN) is not. */
static int find_visit(void *arg, const struct find_netns *netns)
{
	struct find_dump *x = arg;
	int r;

	x->netns = netns->id;
	r = netns->own ? find_dump(x) : sys_netns_run(netns->fd, find_dump, x);
	if (r < 0 && x->q->everywhere && !netns->own && !cause_is_lack(r) && r != -EAGAIN)
		r = 0;
	x->err = r;
	return r;
}

static int find_list(struct find *f, const struct find_query *q)
{
	struct find_dump x = { .f = f, .q = q };
	int r = find_namespaces(q, find_visit, &x);

	if (r < 0 && r != x.err)
		return find_say(f, r, "the network namespace cannot be opened");
	if (r == -EPERM)
		return find_say(f, r, "another network namespace is entered with CAP_SYS_ADMIN");
	return r < 0 ? find_say(f, r, "the kernel's list of listeners (sock_diag)") : 0;
}

/* ------------------------------------------------------------------ what a duplicate tells */

int find_take(const struct find_listener *l, int *ret_fd)
{
	int fd = -1, protocol = 0, r = -ESRCH;

	for (unsigned i = 0; i < l->holders; i++) {
		r = sys_process_take(l->holder[i].pid, l->holder[i].number, &fd);
		if (r < 0)
			continue;
		/* What the kernel lists of an MPTCP listener is a socket inside of it. */
		sys_getsockopt_int(fd, SOL_SOCKET, SO_PROTOCOL, &protocol);
		if (protocol == IPPROTO_MPTCP || listeners_is(fd, l->d.cookie)) {
			*ret_fd = fd;
			return 0;
		}
		sys_close(&fd);
		r = -ESTALE;
	}
	return r == -EBADF ? -ESTALE : r;
}

/* 0 also where it cannot be looked at; -errno where this process lacks what that takes. */
static int find_examine(struct find_listener *l)
{
	int fd = -1, v = 0;
	struct sockaddr_storage ss;
	socklen_t len;

	l->err = find_take(l, &fd);
	if (l->err < 0)
		return cause_is_lack(l->err) ? l->err : 0;
	sys_getsockopt_int(fd, SOL_SOCKET, SO_PROTOCOL, &v);
	l->mptcp = v == IPPROTO_MPTCP;
	v = 0;
	sys_getsockopt_int(fd, SOL_SOCKET, SO_REUSEPORT, &v);
	l->reuseport = v;
	l->err = sys_getsockname(fd, &ss, &len);
	if (l->err == 0)
		group_key(&l->key, &ss, fd);
	sys_close(&fd);
	return 0;
}

bool find_lies_at(const struct find_listener *l, const struct np_group *key)
{
	return l->err == 0 && !l->mptcp && group_same(&l->key, key);
}

bool find_same_address(const struct find_listener *a, const struct find_listener *b)
{
	/* One for IPv6 alone is of another group; the kernel's list does not say that it is. */
	bool known = a->err == 0 && b->err == 0;

	return a->netns == b->netns && a->d.family == b->d.family && a->d.port == b->d.port &&
	       a->d.ifindex == b->d.ifindex && !memcmp(a->d.addr, b->d.addr, sizeof a->d.addr) &&
	       (!known || a->key.v6only == b->key.v6only);
}

static void find_count_siblings(struct find *f)
{
	for (unsigned i = 0; i < f->n; i++)
		for (unsigned k = 0; k < f->n; k++)
			f->all[i].siblings += find_same_address(&f->all[i], &f->all[k]);
}

static void find_keep_chosen(struct find *f, const struct find_query *q)
{
	unsigned n = 0;

	for (unsigned i = 0; i < f->n; i++)
		if (f->all[i].chosen || (!q->pid && !q->cgroup))
			f->all[n++] = f->all[i];
	f->n = n;
}

static int find_by_address(const void *a, const void *b)
{
	const struct find_listener *x = a, *y = b;
	int r = x->d.port - y->d.port;

	r = r ? r : x->d.family - y->d.family;
	r = r ? r : memcmp(x->d.addr, y->d.addr, sizeof x->d.addr);
	return r ? r : x->d.inode < y->d.inode ? -1 : x->d.inode > y->d.inode;
}

int find_run(struct find *f, const struct find_query *q)
{
	int r;

	*f = (struct find){ .all = NULL };
	r = find_list(f, q);
	f->whole = r == 0 && !f->n;
	if (r < 0 || !f->n)
		return r;
	r = find_tasks(f, q);
	if (r < 0)
		return find_say(f, r, "/proc");
	f->denied += sys_process_first_is_hidden();
	qsort(f->all, f->n, sizeof *f->all, find_by_address);
	for (unsigned i = 0; i < f->n && r == 0; i++)
		r = find_examine(&f->all[i]);
	if (r < 0)
		return find_say(f, r, "a listener");
	find_count_siblings(f);
	find_keep_chosen(f, q);
	f->whole = true;
	return 0;
}

void find_fini(struct find *f)
{
	free(f->all);
	*f = (struct find){ .all = NULL };
}

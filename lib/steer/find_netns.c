/* SPDX-License-Identifier: BSD-2-Clause */
/* find_netns: the processes that are asked for, and the network namespaces that they are in */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "steer/cause.h"
#include "steer/find_private.h"
#include "sys/cgroup.h"
#include "sys/fs.h"
#include "sys/io.h"
#include "sys/netns.h"
#include "sys/process.h"

/* One after the other: a machine may have more of them than this process descriptors. */
struct netns_walk {
	const struct find_query *q;
	int (*fn)(void *arg, const struct find_netns *netns);
	void *arg;
	uint64_t own;
	uint64_t *seen;
	unsigned n;
	int err; /* of fn; 0 */
};

static bool netns_is_seen(const struct netns_walk *w, uint64_t id)
{
	for (unsigned i = 0; i < w->n; i++)
		if (w->seen[i] == id)
			return true;
	return false;
}

static int netns_visit(struct netns_walk *w, int fd)
{
	struct find_netns netns = { .fd = fd, .id = sys_netns_id(fd) };
	uint64_t *grown;

	if (netns_is_seen(w, netns.id))
		return 0;
	grown = realloc(w->seen, (w->n + 1) * sizeof *grown);
	if (!grown)
		return -ENOMEM;
	w->seen = grown;
	w->seen[w->n++] = netns.id;
	netns.own = netns.id == w->own;
	w->err = w->fn(w->arg, &netns);
	return w->err;
}

/* @pid 0: the caller's own. */
static int netns_visit_of(struct netns_walk *w, pid_t pid)
{
	int fd = -1, r;

	r = sys_netns_open(pid, &fd);
	if (r == 0)
		r = netns_visit(w, fd);
	sys_close(&fd);
	return r;
}

static bool netns_is_in_cgroup(pid_t pid, const char *cgroup)
{
	const char *want = cgroup, *root = sys_cgroup_root();
	char is[4096];
	size_t n;

	if (root && !strncmp(want, root, strlen(root)))
		want += strlen(root);
	want += strspn(want, "/");
	n = strlen(want);
	while (n && want[n - 1] == '/')
		n--;
	sys_cgroup_of(pid, is, sizeof is);
	return is[0] == '/' && !strncmp(is + 1, want, n) && (!n || !is[1 + n] || is[1 + n] == '/');
}

/* Itself, its parent, and so on. */
static bool netns_descends(pid_t pid, pid_t from)
{
	for (int depth = 0; pid > 0 && depth < 64; depth++, pid = sys_process_parent(pid))
		if (pid == from)
			return true;
	return false;
}

bool find_is_asked_for(const struct find_query *q, pid_t pid)
{
	return (!q->pid || netns_descends(pid, q->pid)) &&
	       (!q->cgroup || netns_is_in_cgroup(pid, q->cgroup));
}

struct netns_search {
	const struct find_query *q;
	pid_t pid; /* the first that is asked for */
};

static void netns_search_process(void *arg, pid_t pid)
{
	struct netns_search *x = arg;

	if (!x->pid && find_is_asked_for(x->q, pid))
		x->pid = pid;
}

pid_t find_process(const struct find_query *q)
{
	struct netns_search x = { .q = q };

	if (q->cgroup)
		sys_process_each(netns_search_process, &x);
	return x.pid;
}

/* A process that has gone is in none, and one that may not be looked into is passed over. */
static void netns_visit_process(void *arg, pid_t pid)
{
	struct netns_walk *w = arg;
	int r;

	if (w->err < 0 || !(w->q->everywhere || find_is_asked_for(w->q, pid)))
		return;
	r = netns_visit_of(w, pid);
	if (cause_is_lack(r))
		w->err = r;
}

static int netns_visit_all(struct netns_walk *w)
{
	int r = sys_process_each(netns_visit_process, w);

	return r < 0 ? r : w->err;
}

static int netns_walk(struct netns_walk *w)
{
	const struct find_query *q = w->q;
	int r;

	if (q->in_netns)
		return netns_visit(w, q->netns_fd);
	if (!q->everywhere && q->pid)
		return netns_visit_of(w, q->pid);
	if (!q->everywhere && q->cgroup)
		return netns_visit_all(w);
	r = netns_visit_of(w, 0);
	return r == 0 && q->everywhere ? netns_visit_all(w) : r;
}

int find_namespaces(const struct find_query *q,
		    int (*fn)(void *arg, const struct find_netns *netns), void *arg)
{
	struct netns_walk w = { .q = q, .fn = fn, .arg = arg };
	int own = -1, r;

	r = sys_netns_open(0, &own);
	w.own = r == 0 ? sys_netns_id(own) : 0;
	sys_close(&own);
	if (r == 0)
		r = netns_walk(&w);
	free(w.seen);
	return r;
}

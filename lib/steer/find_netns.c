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

static bool netns_is_known(const struct find *f, uint64_t id)
{
	for (unsigned i = 0; i < f->n_netns; i++)
		if (f->netns[i].id == id)
			return true;
	return false;
}

/* Takes *fd. */
static int netns_put(struct find *f, int *fd, bool own)
{
	struct find_netns n = { .fd = *fd, .id = sys_netns_id(*fd) }, *grown;

	n.own = own || (f->n_netns && n.id == f->netns[0].id && f->netns[0].own);
	grown = netns_is_known(f, n.id) ? NULL :
					  realloc(f->netns, (f->n_netns + 1) * sizeof *grown);
	if (!grown) {
		sys_close(fd);
		return netns_is_known(f, n.id) ? 0 : -ENOMEM;
	}
	f->netns = grown;
	f->netns[f->n_netns++] = n;
	return 0;
}

static int netns_add(struct find *f, pid_t pid)
{
	int fd = -1, r;

	r = sys_netns_open(pid, &fd);
	return r < 0 ? r : netns_put(f, &fd, !pid);
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
	struct find *f;
	const struct find_query *q;
	pid_t pid; /* the first that is asked for */
	int lack;  /* -EMFILE and others: not all were opened; 0 */
};

static void netns_visit(void *arg, pid_t pid)
{
	struct netns_search *w = arg;
	int r = 0;

	if (w->q->everywhere || find_is_asked_for(w->q, pid))
		r = netns_add(w->f, pid);
	w->lack = cause_is_lack(r) ? r : w->lack;
}

static int netns_add_all(struct netns_search *w)
{
	int r = sys_process_each(netns_visit, w);

	return r < 0 ? r : w->lack;
}

static void netns_visit_any(void *arg, pid_t pid)
{
	struct netns_search *w = arg;

	if (!w->pid && find_is_asked_for(w->q, pid))
		w->pid = pid;
}

pid_t find_process(const struct find_query *q)
{
	struct netns_search w = { .q = q };

	if (q->cgroup)
		sys_process_each(netns_visit_any, &w);
	return w.pid;
}

int find_namespaces(struct find *f, const struct find_query *q)
{
	struct netns_search w = { .f = f, .q = q };
	int own = -1, fd = -1, r;

	if (!q->in_netns && ((!q->pid && !q->cgroup) || q->everywhere)) {
		r = netns_add(f, 0);
		return r == 0 && q->everywhere ? netns_add_all(&w) : r;
	}
	if (q->in_netns)
		r = sys_dup(q->netns_fd, &fd) ?: netns_put(f, &fd, false);
	else
		r = q->pid ? netns_add(f, q->pid) : netns_add_all(&w);
	if (r == 0)
		r = sys_netns_open(0, &own);
	for (unsigned i = 0; r == 0 && i < f->n_netns; i++)
		f->netns[i].own = f->netns[i].id == sys_netns_id(own);
	sys_close(&own);
	return r;
}

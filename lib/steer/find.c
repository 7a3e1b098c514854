/* SPDX-License-Identifier: BSD-2-Clause */
/* find: one dump of the kernel's list, one walk over /proc, a duplicate of each that was found. */
#include "steer/find.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "netpoll/steer_admin.h"
#include "steer/attached.h"
#include "steer/listeners.h"
#include "steer/owner.h"
#include "steer/steer.h"
#include "sys/fs.h"
#include "sys/io.h"
#include "sys/netns.h"
#include "sys/opts.h"
#include "sys/process.h"
#include "sys/sock.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

#define FIND_MAX   4096u /* listeners */
#define FIND_LOOKS 10    /* a thread that runs is asleep a moment later, mostly */

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

/* ------------------------------------------------------------------ network namespaces */

static bool find_knows_netns(const struct find *f, uint64_t id)
{
	for (unsigned i = 0; i < f->n_netns; i++)
		if (f->netns[i].id == id)
			return true;
	return false;
}

/* Takes *fd. */
static int find_put_netns(struct find *f, int *fd, bool own)
{
	struct find_netns n = { .fd = *fd, .id = sys_netns_id(*fd) }, *grown;

	n.own = own || (f->n_netns && n.id == f->netns[0].id && f->netns[0].own);
	grown = find_knows_netns(f, n.id) ? NULL :
					    realloc(f->netns, (f->n_netns + 1) * sizeof *grown);
	if (!grown) {
		sys_close(fd);
		return find_knows_netns(f, n.id) ? 0 : -ENOMEM;
	}
	f->netns = grown;
	f->netns[f->n_netns++] = n;
	return 0;
}

static int find_add_netns(struct find *f, pid_t pid)
{
	int fd = -1, r;

	r = sys_netns_open(pid, &fd);
	return r < 0 ? r : find_put_netns(f, &fd, !pid);
}

static bool find_in_cgroup(pid_t pid, const char *cgroup)
{
	static const char *const roots[] = { "/sys/fs/cgroup/unified", "/sys/fs/cgroup" };
	const char *want = cgroup;
	char is[4096];
	size_t n;

	for (unsigned i = 0; i < 2 && want == cgroup; i++)
		if (!strncmp(cgroup, roots[i], strlen(roots[i])))
			want = cgroup + strlen(roots[i]);
	want += strspn(want, "/");
	n = strlen(want);
	while (n && want[n - 1] == '/')
		n--;
	sys_process_cgroup(pid, is, sizeof is);
	return is[0] == '/' && !strncmp(is + 1, want, n) && (!n || !is[1 + n] || is[1 + n] == '/');
}

/* Itself, its parent, and so on. */
static bool find_descends(pid_t pid, pid_t from)
{
	for (int depth = 0; pid > 0 && depth < 64; depth++, pid = sys_process_parent(pid))
		if (pid == from)
			return true;
	return false;
}

static bool find_is_asked_for(const struct find_query *q, pid_t pid)
{
	return (!q->pid || find_descends(pid, q->pid)) &&
	       (!q->cgroup || find_in_cgroup(pid, q->cgroup));
}

struct find_walk {
	struct find *f;
	const struct find_query *q;
	pid_t pid;
	int *epolls;
	unsigned n_epolls, tasks;
	int epoll; /* whose files are told */
	bool holds, is_asked_for;
};

static void find_visit_netns(void *arg, pid_t pid)
{
	struct find_walk *w = arg;

	if (w->q->everywhere || find_is_asked_for(w->q, pid))
		find_add_netns(w->f, pid);
}

static void find_visit_any(void *arg, pid_t pid)
{
	struct find_walk *w = arg;

	if (!w->pid && find_is_asked_for(w->q, pid))
		w->pid = pid;
}

pid_t find_process(const struct find_query *q)
{
	struct find_walk w = { .q = q };

	if (q->cgroup)
		sys_process_each(find_visit_any, &w);
	return w.pid;
}

/* The caller's own is the first, if it is one of them. */
static int find_namespaces(struct find *f, const struct find_query *q)
{
	struct find_walk w = { .f = f, .q = q };
	int own = -1, fd = -1, r;

	if (!q->in_netns && ((!q->pid && !q->cgroup) || q->everywhere)) {
		r = find_add_netns(f, 0);
		return r == 0 && q->everywhere ? sys_process_each(find_visit_netns, &w) : r;
	}
	if (q->in_netns)
		r = sys_dup(q->netns_fd, &fd) ?: find_put_netns(f, &fd, false);
	else
		r = q->pid ? find_add_netns(f, q->pid) : sys_process_each(find_visit_netns, &w);
	if (r == 0)
		r = sys_netns_open(0, &own);
	for (unsigned i = 0; r == 0 && i < f->n_netns; i++)
		f->netns[i].own = f->netns[i].id == sys_netns_id(own);
	sys_close(&own);
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
	int netns;
};

static void find_note(void *arg, const struct sys_listener *d)
{
	struct find_dump *x = arg;
	struct find *f = x->f;
	struct find_listener *grown;

	if (f->n == FIND_MAX || !find_matches(x->q, d))
		return;
	grown = realloc(f->all, (f->n + 1) * sizeof *grown);
	if (!grown)
		return;
	f->all = grown;
	f->all[f->n++] =
		(struct find_listener){ .d = *d, .netns = x->netns, .err = -ESRCH, .program = -1 };
}

static void find_programs(struct find *f, int netns)
{
	struct np_attached *all = NULL;
	const struct np_attached *a;
	int n = attached_read(&all);

	for (unsigned i = 0; n >= 0 && i < f->n; i++) {
		if (f->all[i].netns != netns)
			continue;
		a = attached_find(all, n, f->all[i].d.cookie);
		f->all[i].program = a && a->program;
		f->all[i].program_id = a ? a->id : 0;
	}
	free(all);
}

/* On a thread that is in the namespace. One family may be missing from the kernel. */
static int find_dump(void *arg)
{
	struct find_dump *x = arg;
	unsigned before = x->f->n;
	int fd = -1, r, r6;

	r = sys_diag_open(&fd);
	if (r == 0) {
		r6 = sys_diag_listeners(fd, AF_INET6, x->q->port, find_note, x);
		r = sys_diag_listeners(fd, AF_INET, x->q->port, find_note, x);
		r = r < 0 && r6 < 0 ? r : 0;
	}
	sys_close(&fd);
	if (r == 0 && x->f->n > before)
		find_programs(x->f, x->netns);
	return r;
}

static int find_list(struct find *f, const struct find_query *q)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < f->n_netns; i++) {
		struct find_dump x = { f, q, (int)i };

		r = f->netns[i].own ? find_dump(&x) : sys_netns_run(f->netns[i].fd, find_dump, &x);
		/* Another one's, where nothing was asked for by name. */
		if (r < 0 && q->everywhere && !f->netns[i].own)
			r = 0;
	}
	if (r == -EPERM)
		return find_say(f, r, "another network namespace is entered with CAP_SYS_ADMIN");
	return r < 0 ? find_say(f, r, "the kernel's list of listeners (sock_diag)") : 0;
}

/* ------------------------------------------------------------------ who holds, who accepts */

static struct find_listener *find_inode(struct find *f, uint64_t inode)
{
	for (unsigned i = 0; i < f->n; i++)
		if (f->all[i].d.inode == inode)
			return &f->all[i];
	return NULL;
}

static void find_note_epoll(struct find_walk *w, int number)
{
	int *grown = realloc(w->epolls, (w->n_epolls + 1) * sizeof *grown);

	if (!grown)
		return;
	w->epolls = grown;
	w->epolls[w->n_epolls++] = number;
}

/* The last place is that of the process that is looked at: it may be the one that accepts. */
static void find_note_holder(struct find_walk *w, struct find_listener *l, int number)
{
	if (!w->holds)
		w->is_asked_for = find_is_asked_for(w->q, w->pid);
	w->holds = true;
	l->chosen = l->chosen || w->is_asked_for;
	if (l->holders < FIND_HOLDERS)
		l->holders++;
	l->holder[l->holders - 1] = (struct find_holder){ w->pid, number };
}

static void find_visit_fd(void *arg, int number, const char *what)
{
	struct find_walk *w = arg;
	struct find_listener *l;

	if (!strcmp(what, "anon_inode:[eventpoll]"))
		find_note_epoll(w, number);
	if (strncmp(what, "socket:[", 8))
		return;
	l = find_inode(w->f, strtoull(what + 8, NULL, 10));
	if (l)
		find_note_holder(w, l, number);
}

static bool find_holds(const struct find_listener *l, pid_t pid, int number)
{
	for (unsigned i = 0; i < l->holders; i++)
		if (l->holder[i].pid == pid && (number < 0 || l->holder[i].number == number))
			return true;
	return false;
}

static void find_accepts(struct find_listener *l, const struct find_acceptor *a)
{
	for (unsigned i = 0; i < l->acceptors; i++)
		if (l->acceptor[i].pid == a->pid && l->acceptor[i].epoll == a->epoll &&
		    (a->epoll >= 0 || l->acceptor[i].tid == a->tid))
			return;
	if (l->acceptors < FIND_ACCEPTORS)
		l->acceptor[l->acceptors++] = *a;
}

/* An inode is one of its own file system: the process has to hold the listener too. */
static void find_visit_watched(void *arg, int number, uint64_t inode)
{
	struct find_walk *w = arg;
	struct find_listener *l = find_inode(w->f, inode);

	if (l && find_holds(l, w->pid, -1))
		find_accepts(l, &(struct find_acceptor){ w->pid, 0, w->epoll });
}

static void find_sleeps(struct find_walk *w, pid_t tid, enum sys_wait in, int number)
{
	for (unsigned i = 0; i < w->f->n; i++) {
		struct find_listener *l = &w->f->all[i];

		if (in == SYS_WAIT_ACCEPT && find_holds(l, w->pid, number))
			find_accepts(l, &(struct find_acceptor){ w->pid, tid, -1 });
		for (unsigned k = 0; in == SYS_WAIT_EPOLL && k < l->acceptors; k++) {
			struct find_acceptor *a = &l->acceptor[k];

			if (a->pid == w->pid && a->epoll == number)
				a->tid = !a->tid || a->tid == tid ? tid : -1;
		}
	}
}

static void find_visit_task(void *arg, pid_t tid)
{
	struct find_walk *w = arg;
	int number = -1;
	enum sys_wait in = sys_process_waits(w->pid, tid, &number);

	w->tasks++;
	find_sleeps(w, tid, in, number);
}

/* Of the process that is looked at: epoll instances whose thread is not known yet. */
static bool find_is_unsure(const struct find_walk *w)
{
	for (unsigned i = 0; i < w->f->n; i++)
		for (unsigned k = 0; k < w->f->all[i].acceptors; k++)
			if (w->f->all[i].acceptor[k].pid == w->pid && !w->f->all[i].acceptor[k].tid)
				return true;
	return false;
}

/* The process has one thread: whatever it does now, it is the one that accepts. */
static void find_only_thread(struct find_walk *w)
{
	for (unsigned i = 0; i < w->f->n; i++)
		for (unsigned k = 0; k < w->f->all[i].acceptors; k++)
			if (w->f->all[i].acceptor[k].pid == w->pid)
				w->f->all[i].acceptor[k].tid = w->pid;
}

static void find_tasks(struct find_walk *w)
{
	for (int look = 0; look < FIND_LOOKS && (!look || find_is_unsure(w)); look++) {
		if (look)
			usleep(1000);
		w->tasks = 0;
		if (sys_process_each_task(w->pid, find_visit_task, w) < 0 || w->tasks == 1)
			break;
	}
	if (w->tasks == 1)
		find_only_thread(w);
}

static void find_visit_process(void *arg, pid_t pid)
{
	struct find_walk *all = arg, w = { .f = all->f, .q = all->q, .pid = pid };
	int r;

	if (pid == getpid())
		return;
	r = sys_process_each_fd(pid, find_visit_fd, &w);
	all->f->denied += r == -EACCES || r == -EPERM;
	for (unsigned i = 0; w.holds && i < w.n_epolls; i++) {
		w.epoll = w.epolls[i];
		sys_process_each_watched(pid, w.epoll, find_visit_watched, &w);
	}
	free(w.epolls);
	if (w.holds)
		find_tasks(&w);
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

static void find_examine(struct find_listener *l)
{
	int fd = -1, v = 0;
	struct sockaddr_storage ss;
	socklen_t len;

	l->err = find_take(l, &fd);
	if (l->err < 0)
		return;
	sys_getsockopt_int(fd, SOL_SOCKET, SO_PROTOCOL, &v);
	l->mptcp = v == IPPROTO_MPTCP;
	v = 0;
	sys_getsockopt_int(fd, SOL_SOCKET, SO_REUSEPORT, &v);
	l->reuseport = v;
	l->err = sys_getsockname(fd, &ss, &len);
	if (l->err == 0)
		group_key(&l->key, &ss, fd);
	sys_close(&fd);
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
	struct find_walk w = { .f = f, .q = q };
	int r;

	*f = (struct find){ .all = NULL };
	r = find_namespaces(f, q);
	if (r < 0)
		return find_say(f, r, "the network namespace cannot be opened");
	r = find_list(f, q);
	f->whole = r == 0 && !f->n;
	if (r < 0 || !f->n)
		return r;
	r = sys_process_each(find_visit_process, &w);
	if (r < 0)
		return find_say(f, r, "/proc");
	f->denied += sys_process_first_is_hidden();
	qsort(f->all, f->n, sizeof *f->all, find_by_address);
	for (unsigned i = 0; i < f->n; i++)
		find_examine(&f->all[i]);
	find_count_siblings(f);
	find_keep_chosen(f, q);
	f->whole = true;
	return 0;
}

void find_fini(struct find *f)
{
	for (unsigned i = 0; i < f->n_netns; i++)
		sys_close(&f->netns[i].fd);
	free(f->netns);
	free(f->all);
	*f = (struct find){ .all = NULL };
}

/* ------------------------------------------------------------------ in words */

const struct find_acceptor *find_worker(const struct find_listener *l)
{
	return l->acceptors == 1 ? &l->acceptor[0] : NULL;
}

void find_address(const struct find_listener *l, char *dst, size_t cap)
{
	struct np_group k = l->key;

	if (l->err < 0) {
		k = (struct np_group){ .family = l->d.family,
				       .port = l->d.port,
				       .ifindex = l->d.ifindex };
		memcpy(k.addr, l->d.addr, sizeof k.addr);
	}
	group_format(&k, dst, cap);
}

static int find_judge_unseen(const struct find *f, const struct find_listener *l, char *dst,
			     size_t cap)
{
	bool denied = l->err == -EPERM || l->err == -EACCES || (!l->holders && f->denied);

	if (denied)
		snprintf(dst, cap,
			 "not known: looking into the processes of uid %u takes CAP_SYS_PTRACE "
			 "(and kernel.yama.ptrace_scope below 3)",
			 l->d.uid);
	else if (!l->holders)
		snprintf(dst, cap,
			 "not known: no process that can be seen from this PID namespace holds it");
	else
		snprintf(dst, cap, "not known: it cannot be duplicated from process %d: %s",
			 l->holder[0].pid, strerror(-l->err));
	return denied ? -EPERM : l->err;
}

static void find_judge_taken(const struct find_listener *l, char *dst, size_t cap)
{
	char service[OWNER_NAME];

	if (owner_find(l->program_id, service))
		snprintf(dst, cap,
			 "it has a steering program already (number %u), of another service, %s: "
			 "`npsteer release %s`",
			 l->program_id, service, service);
	else
		snprintf(dst, cap,
			 "it has a steering program already (number %u), of another service or "
			 "its server's own: --force replaces it",
			 l->program_id);
}

int find_judge(const struct find *f, const struct find_listener *l, uint32_t own, char *dst,
	       size_t cap)
{
	if (l->err < 0)
		return find_judge_unseen(f, l, dst, cap);
	if (l->mptcp) {
		snprintf(dst, cap,
			 "no: an MPTCP listener takes no steering program; with MPTCP off it "
			 "does (of a Go server: GODEBUG=multipathtcp=0)");
		return -NP_EUNSUPPORTED;
	}
	if (!l->reuseport) {
		snprintf(dst, cap,
			 "no: one listener without SO_REUSEPORT, whoever accepts from it: have "
			 "the server listen once for each worker (reuseport)");
		return -NP_EUNSUPPORTED;
	}
	if (l->siblings < 2) {
		snprintf(dst, cap,
			 l->acceptors > 1 ? "no: one listener that %u tasks share: a connection is "
					    "given to a listener, not to a task" :
					    "no: the only listener of its address: there is "
					    "nothing to choose from",
			 l->acceptors);
		return -NP_EUNSUPPORTED;
	}
	if (l->program > 0 && (!own || l->program_id != own)) {
		find_judge_taken(l, dst, cap);
		return -EBUSY;
	}
	snprintf(dst, cap, "yes");
	return 0;
}

/* ------------------------------------------------------------------ for programs */

void find_describe(const struct find *f, const struct find_listener *l, uint32_t own,
		   struct find_told *ret)
{
	*ret = (struct find_told){ .l = { .sz = sizeof ret->l } };
	find_address(l, ret->address, sizeof ret->address);
	for (unsigned i = 0; i < l->holders; i++)
		ret->holders[i].pid = l->holder[i].pid;
	for (unsigned i = 0; i < l->acceptors; i++) {
		ret->acceptors[i].pid = l->acceptor[i].pid;
		ret->acceptors[i].tid = l->acceptor[i].tid > 0 ? l->acceptor[i].tid : 0;
	}
	ret->l.can_be_steered = find_judge(f, l, own, ret->verdict, sizeof ret->verdict) == 0;
	ret->l.address = ret->address;
	ret->l.verdict = ret->verdict;
	ret->l.inode = l->d.inode;
	ret->l.cookie = l->d.cookie;
	ret->l.queued = l->d.queued;
	ret->l.backlog = l->d.backlog;
	ret->l.reuseport = l->err < 0 ? -1 : l->reuseport;
	ret->l.program = l->program;
	ret->l.program_id = l->program_id;
	ret->l.holders = ret->holders;
	ret->l.n_holders = l->holders;
	ret->l.acceptors = ret->acceptors;
	ret->l.n_acceptors = l->acceptors;
}

/* For nobody: whichever service has its program. */
static void find_describe_any(const struct find *f, const struct find_listener *l,
			      struct find_told *ret)
{
	char service[OWNER_NAME];
	bool owned = l->program > 0 && owner_find(l->program_id, service);

	find_describe(f, l, owned ? l->program_id : 0, ret);
	if (owned && ret->l.can_be_steered)
		snprintf(ret->verdict, sizeof ret->verdict, "yes: the service %s steers it",
			 service);
}

static void find_explain(const struct np_steer_find_opts *o, const char *why)
{
	if (o->error && o->error_cap)
		snprintf(o->error, o->error_cap, "%s", why);
}

int np_steer_listeners(const struct np_steer_find_opts *opts,
		       int (*fn)(void *arg, const struct np_steer_listener *l), void *arg)
{
	struct np_steer_find_opts o;
	struct find_told told;
	struct find_query q;
	struct find f;
	int r;

	r = sys_opts_take(&o, sizeof o, opts);
	if (r < 0)
		return r;
	r = find_parse(&q, o.address);
	if (r < 0) {
		find_explain(&o, "not an address such as 80, 127.0.0.1:80 or [::1]:80");
		return r;
	}
	q.pid = o.pid;
	q.cgroup = o.cgroup;
	r = find_run(&f, &q);
	if (r < 0)
		find_explain(&o, f.why);
	for (unsigned i = 0; r == 0 && i < f.n; i++) {
		find_describe_any(&f, &f.all[i], &told);
		r = fn(arg, &told.l);
	}
	find_fini(&f);
	return r;
}

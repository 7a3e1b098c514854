/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * find_tasks: which processes hold a listener, and which tasks accept from it
 *
 * Asked of an iterator, whose records come process by process; and of /proc where that cannot be
 * had, which takes a readlink(2) for each descriptor of the machine.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "steer/cause.h"
#include "steer/find_private.h"
#include "steer/holders.h"
#include "sys/process.h"

#define FIND_LOOKS 10 /* a thread that runs is asleep a moment later, mostly */

struct tasks_walk {
	struct find *f;
	const struct find_query *q;
	pid_t pid;
	int *epolls;
	unsigned n_epolls, tasks;
	int lack;  /* -EMFILE and others: not all was seen; 0 */
	int epoll; /* whose files are told */
	bool holds, is_asked_for;
};

static struct find_listener *tasks_inode(struct find *f, uint64_t inode)
{
	for (unsigned i = 0; i < f->n; i++)
		if (f->all[i].d.inode == inode)
			return &f->all[i];
	return NULL;
}

static void tasks_note_epoll(struct tasks_walk *w, int number)
{
	int *grown = realloc(w->epolls, (w->n_epolls + 1) * sizeof *grown);

	if (!grown)
		return;
	w->epolls = grown;
	w->epolls[w->n_epolls++] = number;
}

/* The last place is that of the process that is looked at: it may be the one that accepts. */
static void tasks_note_holder(struct tasks_walk *w, struct find_listener *l, int number)
{
	if (!w->holds)
		w->is_asked_for = find_is_asked_for(w->q, w->pid);
	w->holds = true;
	l->chosen = l->chosen || w->is_asked_for;
	if (l->holders < FIND_HOLDERS)
		l->holders++;
	l->holder[l->holders - 1] = (struct find_holder){ w->pid, number };
}

static void tasks_visit_fd(void *arg, int number, const char *what)
{
	struct tasks_walk *w = arg;
	struct find_listener *l;

	if (!strcmp(what, "anon_inode:[eventpoll]"))
		tasks_note_epoll(w, number);
	if (strncmp(what, "socket:[", 8))
		return;
	l = tasks_inode(w->f, strtoull(what + 8, NULL, 10));
	if (l)
		tasks_note_holder(w, l, number);
}

static bool tasks_hold(const struct find_listener *l, pid_t pid, int number)
{
	for (unsigned i = 0; i < l->holders; i++)
		if (l->holder[i].pid == pid && (number < 0 || l->holder[i].number == number))
			return true;
	return false;
}

static void tasks_accept(struct find_listener *l, const struct find_acceptor *a)
{
	for (unsigned i = 0; i < l->acceptors; i++)
		if (l->acceptor[i].pid == a->pid && l->acceptor[i].epoll == a->epoll &&
		    (a->epoll >= 0 || l->acceptor[i].tid == a->tid))
			return;
	if (l->acceptors < FIND_ACCEPTORS)
		l->acceptor[l->acceptors++] = *a;
}

/* An inode is one of its own file system: the process has to hold the listener too. */
static void tasks_visit_watched(void *arg, int number, uint64_t inode)
{
	struct tasks_walk *w = arg;
	struct find_listener *l = tasks_inode(w->f, inode);

	if (l && tasks_hold(l, w->pid, -1))
		tasks_accept(l, &(struct find_acceptor){ .pid = w->pid, .epoll = w->epoll });
}

static void tasks_sleep(struct tasks_walk *w, pid_t tid, enum sys_wait in, int number)
{
	for (unsigned i = 0; i < w->f->n; i++) {
		struct find_listener *l = &w->f->all[i];

		if (in == SYS_WAIT_ACCEPT && tasks_hold(l, w->pid, number))
			tasks_accept(l, &(struct find_acceptor){ w->pid, tid, .epoll = -1 });
		for (unsigned k = 0; in == SYS_WAIT_EPOLL && k < l->acceptors; k++) {
			struct find_acceptor *a = &l->acceptor[k];

			if (a->pid == w->pid && a->epoll == number)
				a->tid = !a->tid || a->tid == tid ? tid : -1;
		}
	}
}

static void tasks_visit(void *arg, pid_t tid)
{
	struct tasks_walk *w = arg;
	int number = -1;
	enum sys_wait in = sys_process_waits(w->pid, tid, &number);

	w->tasks++;
	tasks_sleep(w, tid, in, number);
}

/* Of the process that is looked at: epoll instances whose thread is not known yet. */
static bool tasks_are_unsure(const struct tasks_walk *w)
{
	for (unsigned i = 0; i < w->f->n; i++)
		for (unsigned k = 0; k < w->f->all[i].acceptors; k++)
			if (w->f->all[i].acceptor[k].pid == w->pid && !w->f->all[i].acceptor[k].tid)
				return true;
	return false;
}

/* The process has one thread: whatever it does now, it is the one that accepts. */
static void tasks_only_one(struct tasks_walk *w)
{
	for (unsigned i = 0; i < w->f->n; i++)
		for (unsigned k = 0; k < w->f->all[i].acceptors; k++)
			if (w->f->all[i].acceptor[k].pid == w->pid)
				w->f->all[i].acceptor[k].tid = w->pid;
}

static void tasks_look(struct tasks_walk *w)
{
	for (int look = 0; look < FIND_LOOKS && (!look || tasks_are_unsure(w)); look++) {
		if (look)
			usleep(1000);
		w->tasks = 0;
		if (sys_process_each_task(w->pid, tasks_visit, w) < 0 || w->tasks == 1)
			break;
	}
	if (w->tasks == 1)
		tasks_only_one(w);
}

static void tasks_visit_process(void *arg, pid_t pid)
{
	struct tasks_walk *all = arg, w = { .f = all->f, .q = all->q, .pid = pid };
	int r;

	if (pid == getpid())
		return;
	r = sys_process_each_fd(pid, tasks_visit_fd, &w);
	all->f->denied += r == -EACCES || r == -EPERM;
	all->lack = cause_is_lack(r) ? r : all->lack;
	for (unsigned i = 0; w.holds && i < w.n_epolls; i++) {
		w.epoll = w.epolls[i];
		sys_process_each_watched(pid, w.epoll, tasks_visit_watched, &w);
	}
	free(w.epolls);
	if (w.holds)
		tasks_look(&w);
}

/* ------------------------------------------------------------------ told by the iterator */

/* @h says that an instance watches @l: what that is to the process, another of its records says. */
static void tasks_take_watch(struct tasks_walk *w, struct find_listener *l,
			     const struct np_holding *h, const struct np_holding *all, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (!all[i].inode && all[i].epoll == h->epoll)
			tasks_accept(l, &(struct find_acceptor){ .pid = w->pid,
								 .epoll = (int)all[i].number,
								 .instance = h->epoll });
}

static void tasks_take(struct tasks_walk *w, const struct np_holding *all, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		const struct np_holding *h = &all[i];
		struct find_listener *l = h->inode ? tasks_inode(w->f, h->inode) : NULL;

		if (!l)
			continue;
		l->program = (int)h->program;
		l->program_id = h->program_id;
		if (w->pid == getpid())
			continue;
		if (!h->epoll)
			tasks_note_holder(w, l, (int)h->number);
		else
			tasks_take_watch(w, l, h, all, n);
	}
	if (w->holds)
		tasks_look(w);
}

static void tasks_take_all(struct find *f, const struct find_query *q, const struct np_holding *all,
			   unsigned n)
{
	for (unsigned i = 0, next; i < n; i = next) {
		struct tasks_walk w = { .f = f, .q = q, .pid = (pid_t)all[i].pid };

		for (next = i; next < n && all[next].pid == all[i].pid; next++)
			;
		tasks_take(&w, &all[i], next - i);
	}
}

int find_tasks(struct find *f, const struct find_query *q)
{
	struct tasks_walk w = { .f = f, .q = q };
	struct np_holding *all = NULL;
	int n = holders_read(q->tracer, &all), r;

	if (n < 0) {
		r = sys_process_each(tasks_visit_process, &w);
		return r < 0 ? r : w.lack;
	}
	tasks_take_all(f, q, all, (unsigned)n);
	free(all);
	return 0;
}

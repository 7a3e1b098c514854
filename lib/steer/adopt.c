/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * adopt: listeners of servers that know nothing of the service, as its workers
 *
 *   find -> duplicate, asked for its cookie -> claim -> slot -> program -> roster -> no claim
 *
 * The duplicate is closed at once: kept, it would leave the port open when its server ends, with
 * nobody to accept. Killed at any step, the server serves: before the program is attached by the
 * kernel's hash, after it as it would have been; the next adoption goes on from there.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "steer/adopt.h"
#include "steer/attached.h"
#include "steer/count.h"
#include "steer/find.h"
#include "steer/hold.h"
#include "steer/steer.h"
#include "sys/io.h"
#include "sys/opts.h"
#include "sys/process.h"
#include "sys/sock.h"

#ifndef SO_DETACH_REUSEPORT_BPF
#define SO_DETACH_REUSEPORT_BPF 68
#endif

#define ADOPT_KEPT 2 /* a result: it is kept open by this process, and by no other one */

#define ADOPT_LOOKS 5 /* listeners came or went between the look and the deed: it looks again */

/* The outcome for one listener. */
struct outcome {
	int result, worker;
	char name[NP_NAME];
	char text[NP_STEER_TEXT_MAX];
};

/* ------------------------------------------------------------------ whose program, whose slot */

/* Whether the program of that number is one of this service's. */
static bool adopt_is_ours(struct np_steer *s, uint32_t id)
{
	int fd;

	for (unsigned g = 0; id && g < NP_GROUPS; g++) {
		if (!s->dir[0] && s->progs[g] < 0)
			continue; /* a private one is loaded when it is needed */
		if (level_program(s, g, &fd) == 0 && attached_id(fd) == id)
			return true;
	}
	return false;
}

static uint32_t adopt_own_id(struct np_steer *s, const struct find_listener *l)
{
	return l->program > 0 && adopt_is_ours(s, l->program_id) ? l->program_id : 0;
}

/* The slot that the listener lies in. A tool that was killed may have got no further than that. */
static bool adopt_slot(const struct np_steer *s, const struct find_listener *l, uint32_t *ret)
{
	uint64_t cookie = l->d.cookie;
	int g = group_find(s, &l->key);

	if (map_lookup(&s->maps, MAP_np_owners, &cookie, ret) == 0 && *ret < NP_SLOTS &&
	    map_listener(&s->maps, *ret) == cookie)
		return true;
	for (unsigned w = 0; g >= 0 && w < steer_high_water(s); w++) {
		*ret = NP_SLOT(g, w);
		if (map_listener(&s->maps, *ret) == cookie)
			return true;
	}
	return false;
}

/* ------------------------------------------------------------------ who it is */

static uint64_t adopt_cgroup(pid_t pid)
{
	static const char *const roots[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
	char path[4200], name[4096];
	struct stat st;

	sys_process_cgroup(pid, name, sizeof name);
	for (unsigned i = 0; name[0] && i < 2; i++) {
		snprintf(path, sizeof path, "%s%s", roots[i], name);
		if (stat(path, &st) == 0)
			return st.st_ino;
	}
	return 0;
}

static void adopt_describe(const struct find_listener *l, struct np_worker_info *ret)
{
	const struct find_acceptor *a = find_worker(l);
	char comm[16];

	*ret = (struct np_worker_info){ .flags = NP_INFO_ADOPTED, .pidns = sys_process_pidns() };
	sys_process_name(a ? a->pid : l->holder[0].pid, comm, sizeof comm);
	if (!a) {
		snprintf(ret->name, sizeof ret->name, "%s#%llu", comm,
			 (unsigned long long)l->d.inode);
		return;
	}
	ret->pid = (uint32_t)a->pid;
	ret->tid = a->tid > 0 ? (uint32_t)a->tid : 0;
	ret->starttime = sys_process_starttime(a->pid);
	ret->cgroup = adopt_cgroup(a->pid);
	snprintf(ret->name, sizeof ret->name, "%s-%u", comm, ret->tid ? ret->tid : ret->pid);
}

/* The worker that this task is already, at other addresses; -1. */
static int adopt_number(const struct np_steer *s, const struct np_worker_info *who,
			const struct np_group *key)
{
	int g = group_find(s, key);
	struct np_worker_info is;

	for (unsigned w = 0; who->pid && w < steer_high_water(s); w++) {
		if (!worker_is_adopted(s, w) || !worker_is_claimed(s, w) || !worker_info(s, w, &is))
			continue;
		if (is.pid == who->pid && is.pidns == who->pidns && is.tid == who->tid &&
		    is.starttime == who->starttime &&
		    (g < 0 || !map_listener(&s->maps, NP_SLOT(g, w))))
			return (int)w;
	}
	return -1;
}

/* ------------------------------------------------------------------ counted by the kernel */

static int adopt_count_on(struct adopt *a, pid_t cgroup_of)
{
	int r = steer_lock(a->s);

	if (r == 0) {
		r = cgroup_of ? count_on_cgroup(a->s, cgroup_of) : count_on(a->s);
		steer_unlock(a->s);
	}
	if (r < 0)
		steer_log(a->s, 1, "connections are not counted%s: %s",
			  cgroup_of ? " by cgroup either" : "", a->s->error);
	a->s->error[0] = '\0';
	return r;
}

/*
 * Of a worker that is process @pid, 0: not known. Without CAP_PERFMON by its cgroup; where that
 * cannot be had either, steering goes by the queues alone.
 */
static bool adopt_counts(struct adopt *a, pid_t pid)
{
	int r;

	if (a->o.no_count)
		return false;
	if (!a->counting) {
		r = adopt_count_on(a, 0);
		a->counting = r < 0 ? r : 1;
	}
	if (a->counting == -EPERM && pid)
		return adopt_count_on(a, pid) == 0;
	return a->counting == 1;
}

/* With the claim. */
static void adopt_tag(struct adopt *a, const struct np_worker_info *who, unsigned w, int fd)
{
	int r = adopt_counts(a, (pid_t)who->pid) ? count_tag(a->s, w, fd) : 0;

	if (r < 0)
		steer_log(a->s, 1, "worker %u is not counted: %s", w, strerror(-r));
}

/* A process whose tasks are several workers: whose its connections are only their epolls tell. */
static bool adopt_is_several(const struct adopt *a, const struct outcome *x, pid_t pid, int w)
{
	for (unsigned i = 0; i < a->f.n; i++)
		for (unsigned k = 0; k < a->f.all[i].acceptors; k++)
			if (a->f.all[i].acceptor[k].pid == pid && x[i].worker != w)
				return true;
	return false;
}

/* Connections that were there before. */
static void adopt_seed_one(struct adopt *a, const struct outcome *x, unsigned i)
{
	const struct find_listener *l = &a->f.all[i];
	int fd = -1, w = x[i].worker, r;
	unsigned n;

	if (w < 0 || !count_has(a->s, (unsigned)w) || find_take(l, &fd) < 0)
		return;
	count_seed_begin(a->s, l->d.port);
	for (unsigned k = 0; k < l->acceptors; k++) {
		struct count_task t = { l->acceptor[k].pid, -1 };

		if (adopt_is_several(a, x, t.pid, w))
			t.epoll = l->acceptor[k].epoll;
		r = t.epoll < 0 && adopt_is_several(a, x, t.pid, w) ?
			    0 :
			    count_seed(a->s, (unsigned)w, fd, &t, true, &n);
		if (r < 0)
			steer_log(a->s, 1,
				  "connections that worker %d had before are not counted: %s", w,
				  strerror(-r));
	}
	count_seed_end(a->s);
	sys_close(&fd);
}

static void adopt_seed(struct adopt *a, const struct outcome *x)
{
	if (!a->counting || steer_lock(a->s) < 0)
		return;
	for (unsigned i = 0; i < a->f.n && a->counting == 1; i++)
		adopt_seed_one(a, x, i);
	count_off_unused(a->s);
	steer_unlock(a->s);
}

void adopt_rename(struct np_steer *s, uint32_t w, const struct find_listener *l)
{
	const struct find_acceptor *a = find_worker(l);
	struct np_worker_info is, who;

	if (!a || !worker_info(s, w, &is) || !(is.flags & NP_INFO_ADOPTED))
		return;
	if (is.pid == (uint32_t)a->pid && (a->tid <= 0 || is.tid == (uint32_t)a->tid))
		return;
	adopt_describe(l, &who);
	who.flags = is.flags;
	who.since_ns = is.since_ns;
	map_update(&s->maps, MAP_np_info, &w, &who, 0);
}

/* ------------------------------------------------------------------ one listener */

/* Its slot may be all that there is: a tool that was killed has not attached the program. */
static int adopt_again(struct adopt *a, const struct np_worker_info *who, uint32_t slot, int fd,
		       struct outcome *x)
{
	struct np_steer_worker *w;
	struct np_worker_info is;
	uint32_t key = slot % NP_WORKERS;
	int r;

	x->worker = (int)key;
	x->result = 0;
	if (!worker_info(a->s, key, &is) || !(is.flags & NP_INFO_ADOPTED))
		return 0; /* a worker of its own accord */
	snprintf(x->name, sizeof x->name, "%.31s", is.name);
	r = worker_adopt(a->s, (int)key, who, &w);
	if (r < 0)
		return r == -EEXIST ? 0 : r; /* by another tool, at this moment */
	adopt_tag(a, who, key, fd);
	r = np_steer_add(w, fd);
	worker_let_go(&w);
	return r;
}

static int adopt_new(struct adopt *a, const struct np_worker_info *who, const struct np_group *key,
		     int fd, struct outcome *x)
{
	int number = adopt_number(a->s, who, key), r;
	struct np_steer_worker *w;

	r = worker_adopt(a->s, number, who, &w);
	if (r == -EEXIST && number >= 0)
		r = worker_adopt(a->s, number = -1, who, &w);
	if (r < 0)
		return r;
	adopt_tag(a, who, w->index, fd);
	r = np_steer_add(w, fd);
	if (r < 0)
		count_untag(a->s, fd);
	if (r < 0 && number < 0) {
		np_steer_worker_close(&w);
		return r;
	}
	x->worker = (int)w->index;
	x->result = 1;
	snprintf(x->name, sizeof x->name, "%s", who->name);
	worker_let_go(&w);
	return r;
}

static int adopt_one(struct adopt *a, const struct find_listener *l, struct outcome *x)
{
	struct np_worker_info who;
	uint32_t slot;
	int fd = -1, r;

	r = find_take(l, &fd);
	if (r < 0)
		return r == -ESRCH ? -ESTALE : r;
	adopt_describe(l, &who);
	a->s->error[0] = '\0';
	r = adopt_slot(a->s, l, &slot) ? adopt_again(a, &who, slot, fd, x) :
					 adopt_new(a, &who, &l->key, fd, x);
	if (r == 0 && a->hold && worker_is_adopted(a->s, (unsigned)x->worker))
		hold_keep(a->hold, l, adopt_slot(a->s, l, &slot) ? slot : 0, &fd);
	sys_close(&fd);
	if (r == -EINVAL) /* it has been closed, or shut, since it was taken */
		r = -ESTALE;
	if (r == -EBUSY)
		snprintf(
			x->text, sizeof x->text,
			"another service steers it, or holds the lock: `npsteer release` there first");
	else if (r < 0)
		snprintf(x->text, sizeof x->text, "%s",
			 a->s->error[0] ? a->s->error : strerror(-r));
	return r;
}

/* ------------------------------------------------------------------ taken out again */

static bool adopt_lies_at(const struct find_listener *l, const struct np_group *key)
{
	return l->err == 0 && !l->mptcp && group_same(&l->key, key);
}

/* Where it is not known which program is there, it is ours if listeners of ours were. */
static bool adopt_has_ours(struct np_steer *s, const struct find_listener *l, bool were_ours)
{
	return l->program < 0 ? were_ours : l->program && adopt_is_ours(s, l->program_id);
}

/* Listens there, as the kernel's list has it, and cannot be looked at by this process. */
static bool adopt_is_out_of_sight(const struct find_listener *l, const struct np_group *key)
{
	return l->err < 0 && (l->err == -EPERM || l->err == -EACCES || !l->holders) &&
	       l->d.family == key->family && l->d.port == key->port &&
	       !memcmp(l->d.addr, key->addr, sizeof key->addr);
}

static int adopt_detach_from(const struct find_listener *l)
{
	int fd = -1, r = find_take(l, &fd);

	if (r < 0)
		return r;
	r = sys_setsockopt_int(fd, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, 0);
	sys_close(&fd);
	return r == -ENOENT ? 0 : r;
}

/* Under the lock. Off the group of @key, through whichever listener is given. 0 also where it is
 * not there. */
static int adopt_detach(struct np_steer *s, const struct find *f, const struct np_group *key,
			bool were_ours)
{
	int r = 0;

	for (unsigned i = 0; i < f->n; i++) {
		const struct find_listener *l = &f->all[i];

		if (!adopt_has_ours(s, l, were_ours))
			continue;
		if (adopt_is_out_of_sight(l, key))
			r = -EPERM;
		if (!adopt_lies_at(l, key))
			continue;
		r = adopt_detach_from(l);
		if (r == 0)
			return 0;
	}
	return r;
}

/* A number that nobody is any more is as if nobody had ever been it. */
static void adopt_clear(struct np_steer *s, unsigned w)
{
	static const struct np_worker_info none;
	uint32_t key = w;
	int claim = -1;

	if (worker_is_claimed(s, w) || worker_claim(s, w, &claim) < 0)
		return;
	worker_clear(s, w);
	map_update(&s->maps, MAP_np_info, &key, &none, 0);
	sys_close(&claim);
}

/* Members may write what tells that a worker was adopted, but not claim for it. */
static bool adopt_is_theirs(const struct np_steer *s, unsigned w)
{
	return worker_is_adopted(s, w) || !map_claim(&s->maps, w);
}

/* Of those that have no listener but the one in group @g, once for all of them. */
static void adopt_uncount(struct np_steer *s, unsigned g)
{
	unsigned gone[NP_WORKERS], n = 0, others;

	for (unsigned w = 0; w < NP_WORKERS; w++) {
		if (!count_has(s, w) || !map_listener(&s->maps, NP_SLOT(g, w)))
			continue;
		others = 0;
		for (unsigned i = 0; i < NP_GROUPS; i++)
			others += i != g && map_listener(&s->maps, NP_SLOT(i, w)) != 0;
		if (!others && adopt_is_theirs(s, w))
			gone[n++] = w;
	}
	count_stop(s, gone, n);
}

void adopt_empty_slot(struct np_steer *s, uint32_t slot, uint64_t cookie)
{
	uint64_t there = map_listener(&s->maps, slot);

	if (there == cookie)
		map_delete(&s->maps, MAP_np_socks, &slot);
	map_delete(&s->maps, MAP_np_owners, &cookie);
	if (!there || there == cookie)
		adopt_clear(s, slot % NP_WORKERS);
}

/* Under the lock. */
static unsigned adopt_empty(struct np_steer *s, unsigned g)
{
	unsigned n = 0;

	adopt_uncount(s, g);
	for (uint32_t w = 0; w < NP_WORKERS; w++) {
		uint32_t slot = NP_SLOT(g, w);
		uint64_t cookie = map_listener(&s->maps, slot);

		if (!cookie || !adopt_is_theirs(s, w))
			continue;
		adopt_empty_slot(s, slot, cookie);
		n++;
	}
	return n;
}

/* Their connections are still their workers', who may have other listeners. */
static void adopt_untag(struct np_steer *s, const struct find *f, const struct np_group *key)
{
	int fd = -1;

	for (unsigned i = 0; i < f->n && count_is_on(s); i++)
		if (adopt_lies_at(&f->all[i], key) && find_take(&f->all[i], &fd) == 0) {
			count_untag(s, fd);
			sys_close(&fd);
		}
}

/* Under the lock. The slots go first: an empty roster is the kernel's hash. */
static int adopt_release_group(struct np_steer *s, const struct find *f, unsigned g,
			       unsigned *ret_n)
{
	struct np_group key = s->maps.groups[g];
	unsigned n = adopt_empty(s, g);
	int r;

	*ret_n += n;
	if (n) {
		group_roster(s, g);
		adopt_untag(s, f, &key);
	}
	if (group_live(s, g))
		return 0;
	r = adopt_detach(s, f, &key, n > 0);
	if (r == 0)
		group_free(s, g);
	return r;
}

/* ------------------------------------------------------------------ all of an address, or none */

static void adopt_tell(struct adopt *a, const struct find_listener *l, const struct outcome *x)
{
	struct np_steer_adoption out = { .sz = sizeof out,
					 .result = x->result,
					 .worker = x->worker,
					 .name = x->name,
					 .text = x->text,
					 .counted = x->worker >= 0 &&
						    count_has(a->s, (unsigned)x->worker) };
	struct find_told told;

	if (!a->fn)
		return;
	find_describe(&a->f, l, adopt_own_id(a->s, l), &told);
	out.listener = &told.l;
	a->fn(a->arg, &out);
}

static void adopt_judge(struct adopt *a, const struct find_listener *l, struct outcome *x)
{
	*x = (struct outcome){ .result = 1, .worker = -1 };
	x->result = find_judge(&a->f, l, adopt_own_id(a->s, l), x->text, sizeof x->text);
	if (x->result == -EBUSY && a->o.force)
		x->result = 0;
	if (x->result == 0) {
		x->result = 1;
		x->text[0] = '\0';
	}
}

/*
 * Those that are kept open here alone stand in the list of what was found, and are not judged; nor
 * are those that are too new.
 */
static bool adopt_is_kept(const struct adopt *a, const struct find_listener *l)
{
	return a->hold && (hold_is_orphan(a->hold, l) || hold_is_new(a->hold, l));
}

/* What is wrong with one is wrong with the address: half of its listeners would get all. */
static void adopt_judge_all(struct adopt *a, struct outcome *x)
{
	for (unsigned i = 0; i < a->f.n; i++)
		if (adopt_is_kept(a, &a->f.all[i]))
			x[i] = (struct outcome){ .result = ADOPT_KEPT, .worker = -1 };
		else
			adopt_judge(a, &a->f.all[i], &x[i]);
	for (unsigned i = 0; i < a->f.n; i++)
		for (unsigned k = 0; k < a->f.n; k++)
			if (x[i].result > 0 && x[i].result != ADOPT_KEPT && x[k].result < 0 &&
			    find_same_address(&a->f.all[i], &a->f.all[k]))
				x[i] = x[k];
}

static void adopt_foresee(struct adopt *a, const struct find_listener *l, struct outcome *x)
{
	struct np_worker_info who;
	uint32_t slot;

	adopt_describe(l, &who);
	snprintf(x->name, sizeof x->name, "%s", who.name);
	if (adopt_slot(a->s, l, &slot)) {
		x->worker = (int)(slot % NP_WORKERS);
		x->result = 0;
	}
}

/* Back to what was before. */
static void adopt_undo(struct adopt *a, const struct find_listener *l)
{
	unsigned n = 0;
	int g;

	if (steer_lock(a->s) < 0)
		return;
	/* What the look said of the program was before this adoption attached one. */
	for (unsigned i = 0; i < a->f.n; i++)
		if (adopt_lies_at(&a->f.all[i], &l->key))
			a->f.all[i].program = -1;
	g = group_find(a->s, &l->key);
	if (g >= 0)
		adopt_release_group(a->s, &a->f, (unsigned)g, &n);
	steer_unlock(a->s);
}

/* -ESTALE: look again. Else the outcomes say what became of each. */
static int adopt_all(struct adopt *a, struct outcome *x)
{
	for (unsigned i = 0; i < a->f.n; i++) {
		const struct find_listener *l = &a->f.all[i];
		int r;

		if (x[i].result < 0 || x[i].result == ADOPT_KEPT)
			continue;
		r = adopt_one(a, l, &x[i]);
		if (r == -ESTALE)
			return r;
		if (r == 0)
			continue;
		x[i].result = r;
		adopt_undo(a, l);
		for (unsigned k = 0; k < a->f.n; k++)
			if (x[k].result != ADOPT_KEPT && find_same_address(l, &a->f.all[k])) {
				x[k] = x[i];
				x[k].worker = -1;
			}
	}
	return 0;
}

/* @n outcomes, the first refusal's sentence where nothing else came of it. */
static int adopt_sum(struct adopt *a, const struct outcome *x)
{
	int n = 0, first = -1;

	for (unsigned i = 0; i < a->f.n; i++) {
		if (x[i].result == ADOPT_KEPT)
			continue;
		adopt_tell(a, &a->f.all[i], &x[i]);
		n += x[i].result >= 0;
		if (x[i].result < 0 && first < 0)
			first = (int)i;
	}
	if (n || first < 0)
		return n;
	return steer_fail(a->s, x[first].result, "port %u cannot be adopted: %s",
			  a->f.all[first].d.port, x[first].text);
}

static unsigned adopt_count(const struct adopt *a)
{
	unsigned n = 0;

	for (unsigned i = 0; i < a->f.n; i++)
		n += !adopt_is_kept(a, &a->f.all[i]);
	return n;
}

static int adopt_look(struct adopt *a, struct outcome **ret)
{
	int r = find_run(&a->f, &a->q);

	if (r < 0)
		return steer_fail(a->s, r, "%s", a->f.why);
	if (!adopt_count(a))
		return steer_fail(a->s, -ENOENT, "nobody listens on %s%s", a->o.address,
				  a->o.pid || a->o.cgroup ? " of those processes" : "");
	*ret = calloc(a->f.n, sizeof **ret);
	return *ret ? 0 : -ENOMEM;
}

int adopt_try(struct adopt *a)
{
	struct outcome *x = NULL;
	int r = adopt_look(a, &x);

	if (r == 0) {
		adopt_judge_all(a, x);
		for (unsigned i = 0; a->o.dry_run && i < a->f.n; i++)
			if (x[i].result > 0)
				adopt_foresee(a, &a->f.all[i], &x[i]);
		if (!a->o.dry_run)
			r = adopt_all(a, x);
		adopt_seed(a, x);
		if (r == 0)
			r = adopt_sum(a, x);
	}
	free(x);
	return r;
}

int adopt_options(struct adopt *a, const struct np_steer_adopt_opts *opts)
{
	int r = sys_opts_take(&a->o, sizeof a->o, opts);

	if (r < 0)
		return r;
	if (!steer_has_program(a->s))
		return steer_no_program(a->s);
	r = find_parse(&a->q, a->o.address);
	if (r < 0)
		return steer_fail(a->s, r,
				  "\"%s\" is not an address such as 80, 127.0.0.1:80 or [::1]:80",
				  a->o.address);
	a->q.pid = a->o.pid;
	a->q.cgroup = a->o.cgroup;
	return 0;
}

int np_steer_adopt(struct np_steer *s, const struct np_steer_adopt_opts *opts,
		   void (*fn)(void *arg, const struct np_steer_adoption *a), void *arg)
{
	struct adopt a = { .s = s, .fn = fn, .arg = arg };
	int r = adopt_options(&a, opts);

	if (r < 0)
		return r;
	if (!a.o.address)
		return steer_fail(s, -EINVAL, "which port is to be adopted?");
	r = -ESTALE;
	for (int look = 0; look < ADOPT_LOOKS && r == -ESTALE; look++) {
		r = adopt_try(&a);
		find_fini(&a.f);
	}
	return r == -ESTALE ? steer_fail(s, r,
					 "the listeners on %s came and went while they were "
					 "adopted: try again",
					 a.o.address) :
			      r;
}

/* ------------------------------------------------------------------ release */

static bool adopt_is_meant(const struct adopt *a, const struct np_group *key)
{
	struct np_group want;
	struct sockaddr_storage ss = a->q.at.ss;

	if (!a->q.port)
		return true; /* all, and what a member has made of an address */
	if (!key->family || key->port != a->q.port)
		return false;
	if (a->q.any_host)
		return true;
	group_key(&want, &ss, -1);
	return want.family == key->family && !memcmp(want.addr, key->addr, sizeof want.addr);
}

/* Every group that is meant. The first error is told of, and hinders no other one. */
static int adopt_release_all(struct adopt *a, unsigned *ret_n)
{
	int err = 0, r;

	for (unsigned g = 0; g < NP_GROUPS; g++) {
		if (!adopt_is_meant(a, &a->s->maps.groups[g]))
			continue;
		r = adopt_release_group(a->s, &a->f, g, ret_n);
		err = err ? err : r;
	}
	return err;
}

/* Whether our program is in its group, and no worker of ours. */
static bool adopt_is_stray(const struct adopt *a, const struct find_listener *l)
{
	int g;

	if (l->err < 0 || l->program <= 0 || !adopt_is_ours(a->s, l->program_id))
		return false;
	g = group_find(a->s, &l->key);
	return g < 0 || !group_live(a->s, (unsigned)g);
}

/*
 * Asked of the kernel once more. Two of its groups may have one address (127.0.0.1 and
 * ::ffff:127.0.0.1), and the service may have forgotten one: the program goes off those now.
 * Return: how many listeners had it still.
 */
static int adopt_sweep(struct adopt *a)
{
	int n = 0, r;

	find_fini(&a->f);
	r = find_run(&a->f, &a->q);
	if (r == 0)
		r = steer_lock(a->s);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < a->f.n; i++) {
		if (!adopt_is_stray(a, &a->f.all[i]))
			continue;
		n++;
		adopt_detach_from(&a->f.all[i]);
	}
	steer_unlock(a->s);
	return n;
}

/* What the sweep has seen to is looked at by another one. */
static int adopt_verify(struct adopt *a)
{
	int r = adopt_sweep(a);

	if (r > 0)
		r = adopt_sweep(a);
	return r > 0 ? -EAGAIN : r;
}

int np_steer_release(struct np_steer *s, const struct np_steer_adopt_opts *opts)
{
	struct adopt a = { .s = s };
	unsigned n = 0;
	int r = adopt_options(&a, opts);

	if (r < 0)
		return r;
	if (a.o.dry_run)
		return steer_fail(s, -EINVAL, "a release has no dry run");
	a.q.everywhere = true;
	a.q.pid = 0;
	a.q.cgroup = NULL;
	r = find_run(&a.f, &a.q);
	if (r < 0)
		steer_fail(s, r, "%s", a.f.why);
	else
		r = steer_lock(s);
	if (r == 0) {
		s->error[0] = '\0';
		r = adopt_release_all(&a, &n);
		count_off_unused(s);
		steer_unlock(s);
		r = r < 0 ? r : adopt_verify(&a);
		if (r < 0)
			steer_fail(s, r,
				   "%u listeners are out of the service %s, and the kernel's hash "
				   "decides there, but its program could not be taken off all of "
				   "them: %s",
				   n, s->name,
				   r == -EPERM ? "that takes CAP_SYS_PTRACE over their processes" :
						 strerror(-r));
	}
	find_fini(&a.f);
	return r < 0 ? r : (int)n;
}

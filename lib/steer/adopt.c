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
#include <unistd.h>

#include "steer/adopt.h"
#include "steer/count.h"
#include "steer/find.h"
#include "steer/hold.h"
#include "steer/release.h"
#include "steer/steer.h"
#include "sys/bpf.h"
#include "sys/cgroup.h"
#include "sys/io.h"
#include "sys/opts.h"
#include "sys/process.h"
#include "sys/sock.h"

#define ADOPT_KEPT 2 /* a result: it is kept open by this process, and by no other one */

#define ADOPT_LOOKS 5 /* listeners came or went between the look and the deed: it looks again */

/* The outcome for one listener. */
struct outcome {
	int result, worker;
	char name[NP_NAME];
	char text[NP_STEER_TEXT_MAX];
};

/* ------------------------------------------------------------------ whose program, whose slot */

/* The id of group @g's; 0: it has none, since a private one is loaded when it is needed. */
static int adopt_program_id(const struct np_steer *s, unsigned g, uint32_t *ret)
{
	int fd = s->progs[g], r;

	*ret = fd < 0 ? 0 : sys_bpf_program_id(fd);
	if (fd >= 0 || !s->dir[0])
		return 0;
	r = pins_program(s, g, &fd);
	if (r == 0)
		*ret = sys_bpf_program_id(fd);
	sys_close(&fd);
	return r;
}

/* A stranger's is compared with those of all groups: one descriptor at a time. */
int adopt_is_ours(struct np_steer *s, uint32_t id)
{
	int err = 0, r;
	uint32_t is;

	for (unsigned g = 0; id && g < NP_GROUPS; g++) {
		r = adopt_program_id(s, g, &is);
		if (r == 0 && is == id)
			return 1;
		err = r < 0 ? r : err;
	}
	return err;
}

static uint32_t adopt_own_id(struct np_steer *s, const struct find_listener *l)
{
	return l->program > 0 && adopt_is_ours(s, l->program_id) > 0 ? l->program_id : 0;
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
	ret->cgroup = sys_cgroup_id(a->pid);
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
		struct count_task t = { .pid = l->acceptor[k].pid };

		if (adopt_is_several(a, x, t.pid, w)) {
			t.epoll = l->acceptor[k].instance;
			if (!t.epoll)
				continue;
		}
		r = count_seed(a->s, (unsigned)w, fd, &t, true, &n);
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
static int adopt_again(struct adopt *a, const struct find_listener *l,
		       const struct np_worker_info *who, uint32_t slot, int fd, struct outcome *x)
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
	adopt_rename(a->s, key, l);
	r = worker_open(a->s, (int)key, who, &w);
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

	r = worker_open(a->s, number, who, &w);
	if (r == -EEXIST && number >= 0)
		r = worker_open(a->s, number = -1, who, &w);
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
	r = adopt_slot(a->s, l, &slot) ? adopt_again(a, l, &who, slot, fd, x) :
					 adopt_new(a, &who, &l->key, fd, x);
	if (r == 0 && a->hold && worker_is_adopted(a->s, (unsigned)x->worker))
		hold_keep(a->hold, l, adopt_slot(a->s, l, &slot) ? slot : 0, &fd);
	sys_close(&fd);
	if (r == -EINVAL) /* it has been closed, or shut, since it was taken */
		r = -ESTALE;
	if (r == -EBUSY && adopt_slot(a->s, l, &slot)) /* by another tool, at this moment */
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
		if (find_lies_at(&a->f.all[i], &l->key))
			a->f.all[i].program = -1;
	g = group_find(a->s, &l->key);
	if (g >= 0)
		release_group(a->s, &a->f, (unsigned)g, &n);
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
	a->q.tracer = count_tracer(a->s);
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

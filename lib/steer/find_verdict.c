/* SPDX-License-Identifier: BSD-2-Clause */
/* find_verdict: what was found, in words: whether a listener can be steered, and why not */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "netpoll/steer_admin.h"
#include "steer/find.h"
#include "steer/owner.h"
#include "steer/steer.h"
#include "sys/opts.h"

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

static int verdict_unseen(const struct find *f, const struct find_listener *l, char *dst,
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

static void verdict_taken(const struct find_listener *l, char *dst, size_t cap)
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
		return verdict_unseen(f, l, dst, cap);
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
		verdict_taken(l, dst, cap);
		return -EBUSY;
	}
	snprintf(dst, cap, "yes");
	return 0;
}

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
static void verdict_for_nobody(const struct find *f, const struct find_listener *l,
			       struct find_told *ret)
{
	char service[OWNER_NAME];
	bool owned = l->program > 0 && owner_find(l->program_id, service);

	find_describe(f, l, owned ? l->program_id : 0, ret);
	if (owned && ret->l.can_be_steered)
		snprintf(ret->verdict, sizeof ret->verdict, "yes: the service %s steers it",
			 service);
}

static void verdict_explain(const struct np_steer_find_opts *o, const char *why)
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
		verdict_explain(&o, "not an address such as 80, 127.0.0.1:80 or [::1]:80");
		return r;
	}
	q.pid = o.pid;
	q.cgroup = o.cgroup;
	r = find_run(&f, &q);
	if (r < 0)
		verdict_explain(&o, f.why);
	for (unsigned i = 0; r == 0 && i < f.n; i++) {
		verdict_for_nobody(&f, &f.all[i], &told);
		r = fn(arg, &told.l);
	}
	find_fini(&f);
	return r;
}

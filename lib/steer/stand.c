/* SPDX-License-Identifier: BSD-2-Clause */
/* stand: one search, as an adoption makes it; then a look at those processes alone. */
#include "steer/stand.h"

#include <errno.h>

#include "sys/clock.h"

static void stand_add(struct stand *st, pid_t pid)
{
	for (unsigned i = 0; i < st->n; i++)
		if (st->pid[i] == pid)
			return;
	st->pid[st->n++] = pid;
}

static int stand_note(const struct find_listener *l, struct stand *ret)
{
	*ret = (struct stand){ .n = 0 };
	for (unsigned i = 0; i < l->acceptors; i++)
		stand_add(ret, l->acceptor[i].pid);
	for (unsigned i = 0; i < l->holders && !l->acceptors; i++)
		stand_add(ret, l->holder[i].pid);
	if (!ret->n)
		return -ENOENT;
	return l->acceptors == FIND_ACCEPTORS || (!l->acceptors && l->holders == FIND_HOLDERS) ?
		       -E2BIG :
		       0;
}

static const struct find_listener *stand_listener(const struct find *f, uint64_t cookie)
{
	for (unsigned i = 0; i < f->n; i++)
		if (f->all[i].d.cookie == cookie)
			return &f->all[i];
	return NULL;
}

int stand_find(const struct find *f, uint64_t cookie, struct stand *ret, int *ret_fd)
{
	const struct find_listener *l = stand_listener(f, cookie);
	int r;

	r = !l ? -ENOENT : f->denied ? -EACCES : stand_note(l, ret);
	if (r == 0)
		r = find_take(l, ret_fd);
	if (r == 0) {
		ret->cookie = cookie;
		ret->seen_ns = sys_clock_ns();
	}
	return r;
}

enum sys_halt stand_look(const struct stand *st)
{
	enum sys_halt all = SYS_HALT_STOPPED, one;

	for (unsigned i = 0; i < st->n; i++) {
		one = sys_halt_of(st->pid[i]);
		if (one == SYS_HALT_NONE)
			return one;
		all = one > all ? one : all;
	}
	return st->n ? all : SYS_HALT_NONE;
}

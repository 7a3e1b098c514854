/* SPDX-License-Identifier: BSD-2-Clause */
/* halt: PTRACE_SEIZE, and a wait for the stop of each thread; again until no new one is seen. */
#include "sys/halt.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/cgroup.h"
#include "sys/clock.h"
#include "sys/fault.h"
#include "sys/process.h"

#define HALT_PAUSE_US 50

/* ------------------------------------------------------------------ looked at */

struct halt_look {
	unsigned stopped, frozen, traced, others;
};

static bool halt_has_ended(char state)
{
	return !state || state == 'Z' || state == 'X';
}

static void halt_visit(void *arg, pid_t tid)
{
	struct halt_look *l = arg;
	char state = sys_process_state(tid);

	if (halt_has_ended(state))
		return;
	if (state == 'T')
		l->stopped++;
	else if (state == 't')
		l->traced++;
	else if (sys_cgroup_is_frozen(tid))
		l->frozen++;
	else
		l->others++;
}

enum sys_halt sys_halt_of(pid_t pid)
{
	struct halt_look l = { 0 };

	if (sys_process_each_task(pid, halt_visit, &l) < 0 || l.others)
		return SYS_HALT_NONE;
	if (l.traced)
		return SYS_HALT_TRACED;
	if (l.frozen)
		return SYS_HALT_FROZEN;
	return l.stopped ? SYS_HALT_STOPPED : SYS_HALT_NONE;
}

/* ------------------------------------------------------------------ kept */

struct halt {
	bool interrupt;
	uint64_t until_ns;
	pid_t *seized; /* as /proc has them */
	unsigned n;
	unsigned fresh; /* seized in this round */
	int err;
};

static long halt_ptrace(int request, pid_t tid)
{
	SYS_FAULT(ptrace);
	return ptrace(request, tid, NULL, NULL) < 0 ? -errno : 0;
}

/* Until it reports a stop; it may have ended instead. */
static int halt_wait(const struct halt *h, pid_t tid, bool again)
{
	pid_t r;

	while ((r = waitpid(tid, NULL, __WALL | WNOHANG)) == 0) {
		if (!again)
			return -EAGAIN;
		if (sys_clock_ns() > h->until_ns)
			return -ETIMEDOUT;
		usleep(HALT_PAUSE_US);
	}
	return r < 0 ? -errno : 0;
}

/* A thread in state T becomes a tracee that stands before PTRACE_SEIZE returns. */
static int halt_thread(const struct halt *h, pid_t tid)
{
	pid_t here = sys_process_here(tid);
	long r;
	int e;

	if (!here)
		return -ESRCH;
	r = halt_ptrace(PTRACE_SEIZE, here);
	if (r < 0)
		return (int)r;
	e = halt_wait(h, here, false);
	if (e != -EAGAIN || !h->interrupt)
		return e;
	r = halt_ptrace(PTRACE_INTERRUPT, here);
	return r < 0 ? (int)r : halt_wait(h, here, true);
}

static bool halt_has(const struct halt *h, pid_t tid)
{
	for (unsigned i = 0; i < h->n; i++)
		if (h->seized[i] == tid)
			return true;
	return false;
}

static int halt_note(struct halt *h, pid_t tid)
{
	pid_t *grown = realloc(h->seized, (h->n + 1) * sizeof *grown);

	if (!grown)
		return -ENOMEM;
	h->seized = grown;
	h->seized[h->n++] = tid;
	h->fresh++;
	return 0;
}

static void halt_seize(void *arg, pid_t tid)
{
	struct halt *h = arg;

	if (h->err || halt_has(h, tid) || halt_has_ended(sys_process_state(tid)))
		return;
	h->err = halt_thread(h, tid);
	if (h->err && halt_has_ended(sys_process_state(tid)))
		h->err = 0; /* meanwhile */
	else if (!h->err)
		h->err = halt_note(h, tid);
}

/* A thread that ran a moment ago may have made another one. */
int sys_halt(pid_t pid, bool interrupt, uint64_t until_ns)
{
	struct halt h = { .interrupt = interrupt, .until_ns = until_ns };
	int r;

	do {
		h.fresh = 0;
		r = sys_process_each_task(pid, halt_seize, &h);
		r = r < 0 ? r : h.err;
	} while (r == 0 && h.fresh);
	if (r == 0 && !h.n)
		r = -ESRCH;
	free(h.seized);
	return r;
}

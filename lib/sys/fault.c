/* SPDX-License-Identifier: BSD-2-Clause */
/* fault: the counters behind SYS_FAULT(). Atomic, since every thread makes system calls. */
#include "sys/fault.h"

#ifdef NP_FAULT
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

static struct {
	atomic_uint calls;
	atomic_uint nth;
	atomic_int err;
	atomic_int hit;
	atomic_int pid; /* that armed it */
} faults[SYS_CALL_MAX];

static const char *const names[SYS_CALL_MAX] = {
#define NP_ROW(name) #name,
	SYS_CALLS(NP_ROW)
#undef NP_ROW
};

const char *sys_fault_name(enum sys_call which)
{
	return names[which];
}

void sys_fault_arm(enum sys_call which, unsigned nth, int err)
{
	atomic_store(&faults[which].err, 0);
	atomic_store(&faults[which].calls, 0);
	atomic_store(&faults[which].hit, 0);
	atomic_store(&faults[which].nth, nth);
	atomic_store(&faults[which].pid, getpid());
	atomic_store(&faults[which].err, err);
}

unsigned sys_fault_calls(enum sys_call which)
{
	return atomic_load(&faults[which].calls);
}

int sys_fault_hit(enum sys_call which)
{
	return atomic_load(&faults[which].hit);
}

/* Of a process that is to be spared the calls are not counted: those that it forks begin at 1. */
static bool fault_is_for_us(enum sys_call which, int err)
{
	bool armed_it = getpid() == atomic_load(&faults[which].pid);

	return err < SYS_FAULT_KILL || armed_it == (err == SYS_FAULT_KILL);
}

int sys_fault(enum sys_call which)
{
	int err = atomic_load(&faults[which].err);
	unsigned n;

	if (!fault_is_for_us(which, err))
		return 0;
	n = atomic_fetch_add(&faults[which].calls, 1) + 1;
	if (!err || n != atomic_load(&faults[which].nth))
		return 0;
	atomic_store(&faults[which].hit, 1);
	if (err >= SYS_FAULT_KILL)
		raise(SIGKILL);
	return -err;
}
#endif

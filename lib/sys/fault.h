/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fault: a test build makes the n-th call of a chosen system call fail once
 *
 * Without NP_FAULT the macro is nothing. The list below is also the list of the calls that lib/sys
 * wraps. Of bpf those that change a map are map_write, too, and those of fs and bpf that change a
 * folder are folder_write: between two of them a process leaves the same behind wherever it is
 * killed.
 */
#ifndef SYS_FAULT_H
#define SYS_FAULT_H

/* clang-format off */
#define SYS_CALLS(X) \
	X(read) X(readv) X(recv) X(write) X(writev) X(send) X(sendmsg) X(sendfile) X(splice) \
	X(pipe) X(close) \
	X(socket) X(bind) X(listen) X(accept4) X(connect) X(shutdown) X(setsockopt) X(getsockopt) \
	X(getsockname) X(getpeername) X(ioctl) X(epoll_create) X(epoll_ctl) X(epoll_wait) \
	X(eventfd) X(fence) X(mmap) X(munmap) X(mprotect) X(madvise) X(setaffinity) X(open) \
	X(thread) X(fs) X(bpf) X(map_write) X(folder_write) X(diag) X(fork) X(ptrace)
/* clang-format on */

enum sys_call {
#define NP_ROW(name) SYS_##name,
	SYS_CALLS(NP_ROW)
#undef NP_ROW
		SYS_CALL_MAX
};

#ifdef NP_FAULT
/* As @err: the process is killed before that call, as by kill -9: it, or those that it forks. */
#define SYS_FAULT_KILL        1000
#define SYS_FAULT_KILL_FORKED 1001
/* The @nth call (1 = the next) of @which returns -@err, once; err 0 disarms. */
void sys_fault_arm(enum sys_call which, unsigned nth, int err);
/* How often @which was called since it was armed last, and whether the fault has struck. */
unsigned sys_fault_calls(enum sys_call which);
int sys_fault_hit(enum sys_call which);
int sys_fault(enum sys_call which);
const char *sys_fault_name(enum sys_call which);
#define SYS_FAULT(which)                             \
	do {                                         \
		int fault_ = sys_fault(SYS_##which); \
		if (fault_)                          \
			return fault_;               \
	} while (0)
#else
#define SYS_FAULT(which) ((void)0)
#endif

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* proc: what the kernel says of a process, and of its own memory */
#ifndef SCALE_PROC_H
#define SCALE_PROC_H

#include <stdint.h>
#include <sys/types.h>

/* Anonymous resident bytes: not the code, which all processes share. */
long proc_memory(pid_t pid);
/* Run time of all its threads, nanoseconds. */
uint64_t proc_cpu_ns(pid_t pid);
/* Bytes of the kernel's objects that it cannot take back: sockets and the like, of everybody. */
long proc_kernel_memory(void);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * clock: CLOCK_MONOTONIC in nanoseconds; the coarse one costs 6 ns and steps by one tick (1-4 ms).
 */
#ifndef SYS_CLOCK_H
#define SYS_CLOCK_H

#include <stdint.h>

uint64_t sys_clock_ns(void);
uint64_t sys_clock_coarse_ns(void);
/* What this thread has had of its CPU. A system call: 750 ns. */
uint64_t sys_clock_thread_ns(void);
/* How far the coarse clock steps: the kernel's tick. */
uint64_t sys_clock_tick_ns(void);
/*
 * This process's monotonic clock less the kernel's, which BPF programs see: the offset of its time
 * namespace (time_namespaces(7)). 0 outside of one.
 */
int64_t sys_clock_timens_offset_ns(void);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bpf: pins below a folder that is open; which program it is; and that programs have ended
 *
 * libbpf knows paths alone. From Linux 6.5 on bpf(2) takes a descriptor (BPF_F_PATH_FD); before
 * that it is /proc/self/fd/N/NAME, which needs a /proc and steps through no name but the last
 * either.
 */
#ifndef SYS_BPF_H
#define SYS_BPF_H

#include <stdint.h>

/* @flags as BPF_OBJ_GET has them: 0, BPF_F_RDONLY. -ENOENT, -EACCES, -EPERM. */
int sys_bpf_get_at(int at, const char *name, uint32_t flags, int *ret_fd);
/* -EEXIST; never replaces. */
int sys_bpf_pin_at(int at, const char *name, int bpf_fd);
/* The number of a program that is open; 0: it cannot be known. */
uint32_t sys_bpf_program_id(int prog_fd);
/*
 * sys_bpf_settle() - every program that runs at the moment has ended
 *
 * membarrier(2) waits for RCU, and programs run inside of that. Some milliseconds. Where it is
 * refused there is no such wait, and nothing else that could be done.
 */
void sys_bpf_settle(void);

#endif

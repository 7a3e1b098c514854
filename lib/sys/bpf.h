/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bpf: pins below a folder that is open
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

#endif

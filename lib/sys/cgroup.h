/* SPDX-License-Identifier: BSD-2-Clause */
/* cgroup: the group of a process in the cgroup2 hierarchy, wherever that is mounted */
#ifndef SYS_CGROUP_H
#define SYS_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Where cgroup2 is mounted: alone, or beside version 1. NULL: nowhere that is usual. */
const char *sys_cgroup_root(void);
/* The path of its group, as this process sees that: "/system.slice/nginx.service"; "": none. */
void sys_cgroup_of(pid_t pid, char *dst, size_t cap);
/* The folder of its group, for bpf(2) to attach to. -ENOENT. */
int sys_cgroup_open(pid_t pid, int *ret_fd);
/* What the kernel numbers its group by (bpf_get_current_cgroup_id()); 0: not known. */
uint64_t sys_cgroup_id(pid_t pid);
/* Whether its group is frozen (cgroup2's own freezer), and everything in it stands still. */
bool sys_cgroup_is_frozen(pid_t pid);

#endif

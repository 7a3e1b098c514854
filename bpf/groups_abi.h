/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* groups_abi: what bpf/groups.bpf.c tells of each listener */
#ifndef GROUPS_ABI_H
#define GROUPS_ABI_H

#include <linux/types.h>

struct np_attached {
	__u64 cookie;
	__u32 in_group; /* 1: it has SO_REUSEPORT, and so a group, of itself alone maybe */
	__u32 program;  /* 1: a program chooses in that group */
	__u32 id;       /* of the program; 0: a classic filter (SO_ATTACH_REUSEPORT_CBPF) */
	__u32 sockets;  /* in the group */
};

#endif

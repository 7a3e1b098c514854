/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * count_abi: what bpf/count.bpf.c is told before it looks for connections, what it tells, and what
 * of listeners
 */
#ifndef COUNT_ABI_H
#define COUNT_ABI_H

#include <linux/types.h>

/* Connections of one listener among the descriptors of one process. */
struct np_seed {
	__u64 tag;   /* NP_TAG() of those that are found */
	__u64 netns; /* cookie of the listener's network namespace; 0: any */
	__u32 tgid;  /* 0: the iterator is of that process alone */
	__u32 retag; /* 1: also those that count for another worker */
	__u64 epoll; /* np_holding.epoll: those that this one watches; 0: all */
	__u16 family;
	__u16 port;    /* in host order */
	__u32 any;     /* 1: the listener is at every address */
	__u32 addr[4]; /* in network order; IPv4 in the first */

	/* told */
	__u64 found;    /* that count since */
	__u64 retagged; /* of another worker before, not in found */
};

/* A descriptor of a listener, or of an epoll instance. */
struct np_holding {
	__u64 inode; /* of the listener; 0: an instance */
	/* which instance it is, or watches the listener; 0 in the first record of each listener */
	__u64 epoll;
	__u32 pid; /* as /proc numbers it */
	__u32 number;
	__u32 program;    /* 1: one chooses in the listener's group */
	__u32 program_id; /* 0: a classic filter (SO_ATTACH_REUSEPORT_CBPF) */
};

/* All tags of the service. */
struct np_sweep {
	__u64 kept;
	__u64 swept;
};

#endif

/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* count_abi: what bpf/count.bpf.c is told before it looks for connections, and what it tells */
#ifndef COUNT_ABI_H
#define COUNT_ABI_H

#include <linux/types.h>

#define SEED_FDS (1u << 20) /* descriptors that can be picked */

/* Connections of one listener among the descriptors of one process. */
struct np_seed {
	__u64 tag;    /* NP_TAG() of those that are found */
	__u64 netns;  /* cookie of the listener's network namespace; 0: any */
	__u32 tgid;   /* 0: the iterator is of that process alone */
	__u32 retag;  /* 1: also those that count for another worker */
	__u32 picked; /* 1: descriptors of np_seed_picked alone */
	__u32 _reserved;
	__u16 family;
	__u16 port;    /* in host order */
	__u32 any;     /* 1: the listener is at every address */
	__u32 addr[4]; /* in network order; IPv4 in the first */

	/* told */
	__u64 found;    /* that count since */
	__u64 retagged; /* of another worker before, not in found */
};

/* All tags of the service. */
struct np_sweep {
	__u64 kept;
	__u64 swept;
};

#endif

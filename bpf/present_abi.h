/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* present_abi: what bpf/present.bpf.c is asked for, and what it tells */
#ifndef PRESENT_ABI_H
#define PRESENT_ABI_H

#include <linux/types.h>

/* A connection as the server sees it. */
struct np_flow {
	__u32 family; /* AF_INET, AF_INET6; 0: none is asked for */
	__u16 local_port;
	__u16 remote_port;
	/* network order; IPv4 in the first word */
	__u32 local[4];
	__u32 remote[4];
};

/* A listener, or the flow that was asked for. */
struct np_present {
	__u64 cookie;  /* 0: nobody has asked for it */
	__u64 queue;   /* NP_QUEUE_*() */
	__u32 hash;    /* of the flow; of a listener, of the first connection in its queue */
	__u32 stamp;   /* when that was made, in jiffies */
	__u32 jiffies; /* now */
	__u32 first;   /* 1: there is one in the queue */
	__u32 is_flow; /* 1: no listener */
	__u32 _reserved;
};

#endif

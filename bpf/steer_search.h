/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * steer_search: a run's search for a worker: what it looks for, what it has found
 *
 * Of the program and of its replay in userspace alike.
 */
#ifndef STEER_SEARCH_H
#define STEER_SEARCH_H

#ifdef __bpf__
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>
#endif
#include <linux/types.h>
#include <stdbool.h>

#include "steer_abi.h"

struct sk_reuseport_md;
struct replay;

/* How fit a worker is: smaller is better. */
enum fit {
	FIT_READY = 4 * NP_WORKER_READY,
	FIT_CROWDED, /* by half-open connections, where the kernel answers with a SYN cookie */
	FIT_HUNG,
	FIT_DRAINING = 4 * NP_WORKER_DRAINING,
	FIT_FULL, /* its accept queue has no room: the SYN would be dropped, cookie or not */
	FIT_NONE = 4 * NP_WORKER_OUT, /* and above: not to be selected */
};

/*
 * What a run looks for and what it has found. It lies in a map, not on the stack, because of the
 * verifier: it follows a value on the stack through every turn of every loop, with all the values
 * it may have had (243 000 instructions for this program), and knows nothing of one in a map
 * (5 400). Runs do not nest on one CPU: they are all in softirq context.
 */
struct search {
	__u64 now;    /* 0: the clock has not been read */
	__u64 fit;    /* of the selected worker */
	__u32 worker; /* the selected one, if fit says that there is one */
	__u32 hash;
	__u32 roster; /* candidates: entries of the group's roster */
	__u32 policy;
	__u32 step;  /* of the walk, of the scan */
	__u32 begin; /* where the scan did */
	__u32 best;  /* of those that were weighed, plus one */
	__u32 group; /* that the program serves */
	__u64 least; /* its load */
	__u64 queue; /* of the selected worker's listener: NP_QUEUE_*(); level 4 */
	__u64 queue_of_best;
	__u64 waited; /* ns: the first of the queue that was looked at last; 0: it is not asked */
	__u64 waited_of_best; /* 0, too, where the policy does not count what is queued */
	__u32 full1;          /* a worker whose listener would drop the SYN, plus one */
	__u32 traced;         /* 1: what it reads is noted */

	/* kept from run to run of the group on this CPU */
	__u64 spent_ns; /* when a walk met no fit worker; 0: not lately */
	__u32 refuge1;  /* the one it fell back on, where that would answer, plus one */
	__u32 brief1;   /* in this run: input_spent()'s */

	/* likewise: the mean load, as the runs come by */
	__u32 turn;  /* of the roster */
	__u64 conns; /* of those whose turn it was since the last mean */
	__u64 weights;
	__u64 mean;
};

struct run {
	const struct np_config *cfg;
	struct np_verdicts *stats;
	volatile struct search *s;
	struct sk_reuseport_md *md; /* NULL in a replay */
	struct replay *replay;      /* NULL in the kernel */
	__u32 group;
};

/*
 * The empty asm keeps the compiler from merging two counters into one store through a pointer of
 * two origins: with CAP_BPF alone the verifier refuses that.
 */
#define COUNT(field)                         \
	do {                                 \
		__u64 *n_ = &(field);        \
		asm volatile("" : "+r"(n_)); \
		++*n_;                       \
	} while (0)

/* With CAP_BPF alone the verifier loses a loop counter's bound, and takes none as an index. */
#ifdef __bpf__
#define UNROLLED _Pragma("clang loop unroll(full)")
#else
#define UNROLLED
#endif

/* murmur3's finalizer over hash and @i: each @i is another permutation of the flows. */
static __always_inline __u32 rehash(__u32 hash, __u32 i)
{
	hash ^= i * 0x9e3779b9u;
	hash ^= hash >> 16;
	hash *= 0x85ebca6bu;
	hash ^= hash >> 13;
	hash *= 0xc2b2ae35u;
	return hash ^ (hash >> 16);
}

/* Evenly onto 0..n-1, without a division. */
static __always_inline __u32 below(__u32 hash, __u32 n)
{
	return (__u32)(((__u64)hash * n) >> 32);
}

/*
 * A worker's load in one word: its connections, its weight, 0 for the default, and whether what
 * waits for accept(2) is among its connections already.
 */
#define LOAD_CONNS(load)  ((load) & (((__u64)1 << 40) - 1))
#define LOAD_WEIGHT(load) ((load) >> 40 & ((1u << 23) - 1))
#define LOAD_COUNTED      ((__u64)1 << 63)

#define WEIGHT_DEFAULT 100
/* One connection for the default weight is a power of two: of that no load needs a division. */
#define LOAD_BITS      14
#define LOAD_UNIT      ((__u64)WEIGHT_DEFAULT << LOAD_BITS)

#endif

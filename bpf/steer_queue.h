/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * steer_queue: what waits at a listener, read out of the kernel's own sockets
 *
 * The few fields are found by CO-RE, wherever this kernel has them. A listener out of a sockarray
 * cannot be looked at, only selected: so it is selected, and then found where the kernel has noted
 * that.
 */
#ifndef STEER_QUEUE_H
#define STEER_QUEUE_H

#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "steer_abi.h"
#include "steer_level.h"

/* A connection in one word: when it was made, in jiffies, and the kernel's hash of it. */
#define QUEUE_HEAD_STAMP(head) ((__u32)(head))
#define QUEUE_HEAD_FLOW(head)  ((__u32)((head) >> 32))

#if STEER_LEVEL >= 4

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct sock_common {
	__u32 skc_hash; /* of a connection: its addresses and ports */
};

struct sock {
	struct sock_common __sk_common;
	__u32 sk_ack_backlog;     /* connections that wait for accept(2) */
	__u32 sk_max_ack_backlog; /* listen(2)'s, no more than net.core.somaxconn */
};

typedef struct {
	int counter;
} atomic_t;

struct request_sock {
	struct sock *sk; /* the connection, from its ACK on */
};

struct request_sock_queue {
	atomic_t qlen; /* half open: SYN received, no ACK yet */
	struct request_sock *rskq_accept_head;
};

struct tcp_sock {
	__u32 lsndtime; /* jiffies: when it was made, as long as it has sent nothing */
};

struct inet_connection_sock {
	struct request_sock_queue icsk_accept_queue;
};

struct sk_reuseport_kern {
	struct sock *selected_sk;
};

#pragma clang attribute pop

/* Inlined by the verifier: they cost nothing. Linux 6.2 and later; CAP_PERFMON. */
extern void *bpf_cast_to_kern_ctx(void *obj) __ksym;
extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym;

static __always_inline __u64 queue_at_most(__u64 n, __u64 max)
{
	return n < max ? n : max;
}

/*
 * Cast twice: of a pointer that the verifier trusts it looks up four names in the kernel's whole
 * BTF, at each use, and that was a third of what loading took.
 */
static __always_inline struct sock *queue_selected(struct sk_reuseport_md *md)
{
	struct sk_reuseport_kern *k = bpf_rdonly_cast(
		bpf_cast_to_kern_ctx(md), bpf_core_type_id_kernel(struct sk_reuseport_kern));

	return k->selected_sk;
}

/* NP_QUEUE_*() */
static __always_inline __u64 queue_of_selected(struct sk_reuseport_md *md)
{
	struct sock *sk = queue_selected(md);
	struct inet_connection_sock *icsk;

	if (!sk)
		return 0;
	icsk = bpf_rdonly_cast(sk, bpf_core_type_id_kernel(struct inet_connection_sock));
	return queue_at_most(sk->sk_ack_backlog, NP_QUEUE_MAX) |
	       queue_at_most((__u32)icsk->icsk_accept_queue.qlen.counter, NP_QUEUE_MAX)
		       << NP_QUEUE_BITS |
	       queue_at_most(sk->sk_max_ack_backlog, NP_QUEUE_MAX) << 2 * NP_QUEUE_BITS;
}

/*
 * queue_head_of_selected() - the first of the selected listener's accept queue: QUEUE_HEAD_*()
 *
 * Its worker may take it at any moment: what is read then means nothing, and harms one choice.
 * Return: 0: there is none.
 */
static __always_inline __u64 queue_head_of_selected(struct sk_reuseport_md *md)
{
	struct sock *sk = queue_selected(md);
	struct inet_connection_sock *icsk;
	struct request_sock *first;
	struct tcp_sock *tp;

	if (!sk)
		return 0;
	icsk = bpf_rdonly_cast(sk, bpf_core_type_id_kernel(struct inet_connection_sock));
	first = icsk->icsk_accept_queue.rskq_accept_head;
	if (!first)
		return 0;
	tp = bpf_rdonly_cast(first->sk, bpf_core_type_id_kernel(struct tcp_sock));
	return (__u64)first->sk->__sk_common.skc_hash << 32 | tp->lsndtime;
}

#else

static __always_inline __u64 queue_of_selected(struct sk_reuseport_md *md)
{
	return 0;
}

static __always_inline __u64 queue_head_of_selected(struct sk_reuseport_md *md)
{
	return 0;
}

#endif
#endif

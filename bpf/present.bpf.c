/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * present: what the steering program would see at each listener at this moment, and the kernel's
 * hash of one flow
 *
 * An iterator (iter/tcp) over the sockets of the reader's network namespace: what a SYN's run reads
 * of the listener that it has selected (steer_queue.h), of all of them. The kernel keys that hash
 * with a secret of its own, but keeps it in every connection. CAP_BPF and CAP_PERFMON.
 */
#include <linux/bpf.h>
#include <stdbool.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "present_abi.h"
#include "steer_abi.h"

#define FAMILY_V4 2  /* AF_INET */
#define LISTENING 10 /* TCP_LISTEN */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	int counter;
} atomic_t;

typedef struct {
	long long counter;
} atomic64_t;

struct in6_addr {
	union {
		__u32 u6_addr32[4];
	} in6_u;
};

struct sock_common {
	__u32 skc_daddr;
	__u32 skc_rcv_saddr;
	__u32 skc_hash;
	__u16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	unsigned char skc_state;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	atomic64_t skc_cookie;
};

struct sock {
	struct sock_common __sk_common;
	__u32 sk_ack_backlog;
	__u32 sk_max_ack_backlog;
};

struct request_sock {
	struct sock *sk;
};

struct request_sock_queue {
	atomic_t qlen;
	struct request_sock *rskq_accept_head;
};

struct inet_connection_sock {
	struct request_sock_queue icsk_accept_queue;
};

struct tcp_sock {
	__u32 lsndtime;
};

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
};

#pragma clang attribute pop

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct np_flow asked;

static __always_inline __u64 present_at_most(__u64 n, __u64 max)
{
	return n < max ? n : max;
}

static __always_inline void present_listener(struct sock_common *c, struct np_present *p)
{
	struct inet_connection_sock *icsk = (struct inet_connection_sock *)c;
	struct sock *sk = (struct sock *)c, *first;
	struct request_sock *head;
	__u64 waiting, half_open, most;

	waiting = BPF_CORE_READ(sk, sk_ack_backlog);
	half_open = (__u32)BPF_CORE_READ(icsk, icsk_accept_queue.qlen.counter);
	most = BPF_CORE_READ(sk, sk_max_ack_backlog);
	p->cookie = (__u64)c->skc_cookie.counter;
	p->queue = present_at_most(waiting, NP_QUEUE_MAX) |
		   present_at_most(half_open, NP_QUEUE_MAX) << NP_QUEUE_BITS |
		   present_at_most(most, NP_QUEUE_MAX) << 2 * NP_QUEUE_BITS;
	head = BPF_CORE_READ(icsk, icsk_accept_queue.rskq_accept_head);
	first = head ? BPF_CORE_READ(head, sk) : NULL;
	if (!first)
		return;
	p->first = 1;
	p->hash = BPF_CORE_READ(first, __sk_common.skc_hash);
	p->stamp = BPF_CORE_READ((struct tcp_sock *)first, lsndtime);
}

static __always_inline bool present_is_v6(struct sock_common *c)
{
	struct in6_addr local, remote;
	__u32 i, differ = 0;

	bpf_core_read(&local, sizeof local, &c->skc_v6_rcv_saddr);
	bpf_core_read(&remote, sizeof remote, &c->skc_v6_daddr);
	for (i = 0; i < 4; i++)
		differ |= (local.in6_u.u6_addr32[i] ^ asked.local[i]) |
			  (remote.in6_u.u6_addr32[i] ^ asked.remote[i]);
	return !differ;
}

/* Of a dual-stack listener, a connection of IPv4 has both of its addresses as IPv4 too. */
static __always_inline bool present_is_asked(struct sock_common *c)
{
	if (!asked.family || c->skc_num != asked.local_port ||
	    c->skc_dport != bpf_htons(asked.remote_port))
		return false;
	if (asked.family == FAMILY_V4)
		return c->skc_rcv_saddr == asked.local[0] && c->skc_daddr == asked.remote[0];
	return c->skc_family == asked.family && present_is_v6(c);
}

static __always_inline void present_flow(struct sock_common *c, struct np_present *p)
{
	p->is_flow = 1;
	p->hash = c->skc_hash;
}

SEC("iter/tcp")
int np_present(struct bpf_iter__tcp *ctx)
{
	struct sock_common *c = ctx->sk_common;
	struct np_present p = { .jiffies = (__u32)bpf_jiffies64() };

	if (!c)
		return 0;
	if (c->skc_state == LISTENING)
		present_listener(c, &p);
	else if (present_is_asked(c))
		present_flow(c, &p);
	else
		return 0;
	bpf_seq_write(ctx->meta->seq, &p, sizeof p);
	return 0;
}

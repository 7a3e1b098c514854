/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * count: the connections of servers that publish nothing, on the lines of their workers
 *
 * np_count_state  each change of state of a TCP socket of this machine. The socket of another
 *                 server, or a client's, costs a look: at its states, and, where a connection ends,
 *                 for its tag.
 * np_count_again  the same once more. A program of this kind is not run while it runs on that CPU:
 *                 what a softirq does to one socket while a process is in here with another would
 *                 be missed. It cannot be in both; and a tag changes once, whoever sees it.
 * np_count_seed   connections that were there before their listener had a tag, among the
 *                 descriptors of its worker; and, told to retag, those that migrated.
 * np_count_sweep  takes tags that count nowhere away.
 *
 * The tracepoint comes before the state is written: a seed may see a connection that has just left
 * as if it were there. So while a port is seeded (np_service.seeding), each of its connections that
 * leaves without a tag gets one that says so. BTF, Linux 5.12, CAP_BPF and CAP_PERFMON.
 */
#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "count_abi.h"
#include "count_tag.h"

#define IS_INET  2
#define IS_INET6 10
#define IS_TCP   6

#define SENDING_ENDED 2 /* SEND_SHUTDOWN */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct in6_addr {
	union {
		__u32 u6_addr32[4];
	} in6_u;
};

struct net {
	__u64 net_cookie;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct sock_common {
	__u32 skc_rcv_saddr;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	struct in6_addr skc_v6_rcv_saddr;
};

struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
	int sk_err;
	unsigned char sk_shutdown;
};

struct socket {
	struct sock *sk;
};

struct file;

struct task_struct {
	int tgid;
};

struct bpf_iter__task_file {
	struct task_struct *task;
	__u32 fd;
	struct file *file;
};

struct bpf_iter__bpf_sk_storage_map {
	struct sock *sk;
	void *value;
};

#pragma clang attribute pop

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct np_service_ctl);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
} np_service SEC(".maps");

struct np_seed np_seed;
__u64 np_seed_picked[SEED_FDS / 64]; /* bit n % 64 of word n / 64: descriptor n */
struct np_sweep np_sweep;

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* ------------------------------------------------------------------ changes of state */

static __always_inline bool count_is_seeded(const struct sock *sk)
{
	__u32 zero = 0;
	struct np_service_ctl *ctl = bpf_map_lookup_elem(&np_service, &zero);

	return ctl && ctl->seeding && ctl->seeding == sk->__sk_common.skc_num;
}

static __always_inline int count_change(struct sock *sk, int was, int is)
{
	struct np_tag *t, none = { 0 };

	if (is == BPF_TCP_ESTABLISHED && was == BPF_TCP_SYN_RECV) {
		t = bpf_sk_storage_get(&np_tags, sk, NULL, 0);
		if (t)
			tag_established(t);
		return 0;
	}
	if (!tag_is_live(was) || tag_is_live(is))
		return 0;
	t = bpf_sk_storage_get(&np_tags, sk, NULL, 0);
	if (!t && count_is_seeded(sk))
		t = bpf_sk_storage_get(&np_tags, sk, &none, BPF_SK_STORAGE_GET_F_CREATE);
	if (t)
		tag_over(t);
	return 0;
}

SEC("?tp_btf/inet_sock_set_state")
int BPF_PROG(np_count_state, struct sock *sk, int was, int is)
{
	return count_change(sk, was, is);
}

SEC("?tp_btf/inet_sock_set_state")
int BPF_PROG(np_count_again, struct sock *sk, int was, int is)
{
	return count_change(sk, was, is);
}

/* ------------------------------------------------------------------ connections there are */

static __always_inline bool seed_is_at(const struct sock_common *c)
{
	const struct np_seed *s = &np_seed;

	if (c->skc_family != s->family)
		return false;
	if (s->any)
		return true;
	if (s->family == IS_INET)
		return c->skc_rcv_saddr == s->addr[0];
	if (!bpf_core_field_exists(c->skc_v6_rcv_saddr))
		return false;
	return c->skc_v6_rcv_saddr.in6_u.u6_addr32[0] == s->addr[0] &&
	       c->skc_v6_rcv_saddr.in6_u.u6_addr32[1] == s->addr[1] &&
	       c->skc_v6_rcv_saddr.in6_u.u6_addr32[2] == s->addr[2] &&
	       c->skc_v6_rcv_saddr.in6_u.u6_addr32[3] == s->addr[3];
}

static __always_inline bool seed_is_live(const struct sock *sk)
{
	return tag_is_live(sk->__sk_common.skc_state) && !sk->sk_err &&
	       !(sk->sk_shutdown & SENDING_ENDED);
}

static __always_inline bool seed_is_meant(const struct sock *sk)
{
	const struct sock_common *c = &sk->__sk_common;

	if (c->skc_family != IS_INET && c->skc_family != IS_INET6)
		return false;
	if (sk->sk_protocol != IS_TCP || c->skc_num != np_seed.port)
		return false;
	if (np_seed.netns && c->skc_net.net->net_cookie != np_seed.netns)
		return false;
	return seed_is_at(c) && seed_is_live(sk);
}

/* From one word to np_seed's. False: another has changed it meanwhile. */
static __always_inline bool seed_turn(struct np_tag *t, __u64 was)
{
	struct np_worker_line *line = tag_line(np_seed.tag), *old;

	if (!line)
		return false;
	tag_add(line); /* first: an end that comes in between must not find nothing to take */
	if (!tag_exchange(t, was, np_seed.tag)) {
		tag_undo(line);
		return false;
	}
	old = NP_TAG_STATE(was) == NP_TAG_COUNTED ? tag_line(was) : NULL;
	if (old)
		tag_take(old);
	return true;
}

/* It counts for nobody: it was there before its listener had a tag, or its worker is none now. */
static __always_inline bool seed_is_free(__u64 word)
{
	return NP_TAG_STATE(word) == NP_TAG_NEW ||
	       (NP_TAG_STATE(word) == NP_TAG_COUNTED && !tag_line(word));
}

static __always_inline void seed_look_again(const struct sock *sk, struct np_tag *t)
{
	if (!seed_is_live(sk))
		tag_over(t);
}

static __always_inline bool seed_is_picked(__u32 fd)
{
	if (!np_seed.picked)
		return true;
	return fd < SEED_FDS && (np_seed_picked[fd / 64 % (SEED_FDS / 64)] >> (fd % 64) & 1);
}

SEC("?iter/task_file")
int np_count_seed(struct bpf_iter__task_file *ctx)
{
	struct np_tag *t, none = { 0 };
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct socket *socket;
	struct sock *sk;
	__u64 word;

	if (!task || !file || (np_seed.tgid && task->tgid != (int)np_seed.tgid))
		return 0;
	if (!seed_is_picked(ctx->fd))
		return 0;
	socket = bpf_sock_from_file(file);
	sk = socket ? socket->sk : NULL;
	if (!sk || !seed_is_meant(sk))
		return 0;
	t = bpf_sk_storage_get(&np_tags, sk, &none, BPF_SK_STORAGE_GET_F_CREATE);
	if (!t)
		return 0;
	word = tag_word(t);
	if (seed_is_free(word))
		np_seed.found += seed_turn(t, word);
	else if (np_seed.retag && NP_TAG_STATE(word) == NP_TAG_COUNTED && word != np_seed.tag)
		np_seed.retagged += seed_turn(t, word);
	seed_look_again(sk, t);
	return 0;
}

/* ------------------------------------------------------------------ tags that are left */

SEC("?iter/bpf_sk_storage_map")
int np_count_sweep(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct np_tag *t = ctx->value;
	struct sock *sk = ctx->sk;

	if (!sk || !t)
		return 0;
	if (tag_line(tag_word(t))) {
		np_sweep.kept++;
		return 0;
	}
	bpf_sk_storage_delete(&np_tags, sk);
	np_sweep.swept++;
	return 0;
}

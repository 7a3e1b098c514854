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
 * np_count_sweep  takes tags that count nowhere away, and
 * np_count_sweep_files  those of sockets with a descriptor, where the kernel refuses the iterator
 *                 over all tags.
 * np_holders      who holds a listener: holders.h. It is here because libbpf goes through the
 *                 kernel's BTF, 5 MB, for each object: that is what loading one takes.
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
#include "count_kernel.h"
#include "count_tag.h"
#include "holders.h"

#define SENDING_ENDED 2 /* SEND_SHUTDOWN */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct np_service_ctl);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
} np_service SEC(".maps");

struct np_seed np_seed;
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

#define seed_word(sk, i) ((sk)->__sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32[i])

static __always_inline bool seed_is_at(const struct sock *sk)
{
	const struct np_seed *s = &np_seed;

	if (sk->__sk_common.skc_family != s->family)
		return false;
	if (s->any)
		return true;
	if (s->family == IS_INET)
		return sk->__sk_common.skc_rcv_saddr == s->addr[0];
	if (!bpf_core_field_exists(sk->__sk_common.skc_v6_rcv_saddr))
		return false;
	return seed_word(sk, 0) == s->addr[0] && seed_word(sk, 1) == s->addr[1] &&
	       seed_word(sk, 2) == s->addr[2] && seed_word(sk, 3) == s->addr[3];
}

static __always_inline bool seed_is_live(const struct sock *sk)
{
	return tag_is_live(sk->__sk_common.skc_state) && !sk->sk_err &&
	       !(sk->sk_shutdown & SENDING_ENDED);
}

static __always_inline bool seed_is_meant(const struct sock *sk)
{
	if (sk->sk_protocol != IS_TCP || sk->__sk_common.skc_num != np_seed.port)
		return false;
	if (np_seed.netns && sk->__sk_common.skc_net.net->net_cookie != np_seed.netns)
		return false;
	return seed_is_at(sk) && seed_is_live(sk);
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
	if (np_seed.epoll && !holders_are_watched(file, np_seed.epoll))
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

static __always_inline void sweep(struct sock *sk, struct np_tag *t)
{
	if (tag_line(tag_word(t))) {
		np_sweep.kept++;
		return;
	}
	bpf_sk_storage_delete(&np_tags, sk);
	np_sweep.swept++;
}

SEC("?iter/bpf_sk_storage_map")
int np_count_sweep(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	if (ctx->sk && ctx->value)
		sweep(ctx->sk, ctx->value);
	return 0;
}

SEC("?iter/task_file")
int np_count_sweep_files(struct bpf_iter__task_file *ctx)
{
	struct socket *socket;
	struct sock *sk;
	struct np_tag *t;

	if (!ctx->task || !ctx->file)
		return 0;
	socket = bpf_sock_from_file(ctx->file);
	sk = socket ? socket->sk : NULL;
	if (!sk || sk->sk_protocol != IS_TCP)
		return 0;
	t = bpf_sk_storage_get(&np_tags, sk, NULL, 0);
	if (t)
		sweep(sk, t);
	return 0;
}

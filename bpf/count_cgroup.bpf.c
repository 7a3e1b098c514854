/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * count_cgroup: what count.bpf.c does, for the sockets of one cgroup, without CAP_PERFMON
 *
 * Connections are told of from their handshake on, and of those that were there before nothing is
 * known. Each costs more, and other servers' sockets nothing. CAP_BPF and CAP_NET_ADMIN.
 */
#include <linux/bpf.h>
#include <stddef.h>

#include <bpf/bpf_helpers.h>

#include "count_tag.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* From here on each change of its state is told. */
static __always_inline void cgroup_established(struct bpf_sock_ops *ops, struct np_tag *t)
{
	tag_established(t);
	if (NP_TAG_STATE(tag_word(t)) == NP_TAG_COUNTED)
		bpf_sock_ops_cb_flags_set(ops,
					  ops->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

static __always_inline struct np_tag *cgroup_tag(struct bpf_sock_ops *ops)
{
	struct bpf_sock *sk = ops->sk;

	return sk ? bpf_sk_storage_get(&np_tags, sk, NULL, 0) : NULL;
}

SEC("?sockops")
int np_count_sockops(struct bpf_sock_ops *ops)
{
	struct np_tag *t;

	if (ops->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB) {
		t = cgroup_tag(ops);
		if (t)
			cgroup_established(ops, t);
	} else if (ops->op == BPF_SOCK_OPS_STATE_CB && tag_is_live(ops->args[0]) &&
		   !tag_is_live(ops->args[1])) {
		t = cgroup_tag(ops);
		if (t)
			tag_over(t);
	}
	return 1;
}

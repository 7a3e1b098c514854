/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * groups: which program each reuseport group of listeners runs: what no getsockopt(2) tells
 *
 * An iterator (iter/tcp, Linux 5.9) over the sockets of the reader's network namespace. The few
 * fields are found by CO-RE. CAP_BPF and CAP_PERFMON.
 */
#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "groups_abi.h"

#define LISTENING 10 /* TCP_LISTEN */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	long long counter;
} atomic64_t;

struct sock_common {
	unsigned char skc_state;
	atomic64_t skc_cookie;
};

struct bpf_prog_aux {
	__u32 id;
};

struct bpf_prog {
	struct bpf_prog_aux *aux;
};

struct sock_reuseport {
	__u16 num_socks;
	struct bpf_prog *prog;
};

struct sock {
	struct sock_reuseport *sk_reuseport_cb;
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

SEC("iter/tcp")
int np_groups(struct bpf_iter__tcp *ctx)
{
	struct sock_common *c = ctx->sk_common;
	struct np_attached a = { 0 };
	struct sock_reuseport *group;
	struct bpf_prog *program;

	if (!c || c->skc_state != LISTENING)
		return 0;
	a.cookie = (__u64)c->skc_cookie.counter;
	group = BPF_CORE_READ((struct sock *)c, sk_reuseport_cb);
	if (group) {
		program = BPF_CORE_READ(group, prog);
		a.in_group = 1;
		a.sockets = BPF_CORE_READ(group, num_socks);
		a.program = !!program;
		a.id = program ? BPF_CORE_READ(program, aux, id) : 0;
	}
	bpf_seq_write(ctx->meta->seq, &a, sizeof a);
	return 0;
}

/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * join: a TCP socket that a program of this cgroup binds to the port gets SO_REUSEPORT first
 *
 * So that copies of a program that knows nothing of it listen on the same port, each with a
 * listener of its own. EADDRINUSE, which protects from a second start by mistake, is gone with it:
 * for that one port alone. Linux 5.12; CAP_BPF and CAP_NET_ADMIN.
 */
#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define STREAM    1  /* SOCK_STREAM */
#define SOCKET    1  /* SOL_SOCKET */
#define REUSEPORT 15 /* SO_REUSEPORT */

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile __u32 port;

static __always_inline int join_bind(struct bpf_sock_addr *c)
{
	int on = 1;

	if (c->type == STREAM && c->user_port == bpf_htons(port))
		bpf_setsockopt(c, SOCKET, REUSEPORT, &on, sizeof on);
	return 1; /* where that failed, bind(2) does as it would have */
}

SEC("cgroup/bind4")
int np_join_bind4(struct bpf_sock_addr *c)
{
	return join_bind(c);
}

SEC("cgroup/bind6")
int np_join_bind6(struct bpf_sock_addr *c)
{
	return join_bind(c);
}

/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * count_kernel: the kernel's structures, as far as they are read
 *
 * CO-RE finds the fields of the second part. For each type that a field is read of, libbpf goes
 * through the 130 000 types of the kernel once, which is most of what loading takes: so a socket's
 * fields are read as struct sock's, and what cannot lie elsewhere is not looked for.
 */
#ifndef COUNT_KERNEL_H
#define COUNT_KERNEL_H

#include <linux/types.h>

#define IS_INET  2
#define IS_INET6 10
#define IS_TCP   6
#define IS_MPTCP 262

/* ------------------------------------------------------------------ as they are */

struct hlist_node {
	struct hlist_node *next;
};

struct hlist_head {
	struct hlist_node *first;
};

struct upid {
	int nr;
	void *ns;
};

/* What an iterator is handed, in words of eight bytes each: DEFINE_BPF_ITER_FUNC() */
struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	__u64 fd;
	struct file *file;
};

struct bpf_iter__bpf_sk_storage_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	struct sock *sk;
	void *value;
};

/* ------------------------------------------------------------------ as CO-RE finds them */

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

struct bpf_prog_aux {
	__u32 id;
};

struct bpf_prog {
	struct bpf_prog_aux *aux;
};

struct sock_reuseport {
	struct bpf_prog *prog;
};

struct sock {
	struct sock_common __sk_common;
	struct sock_reuseport *sk_reuseport_cb;
	__u16 sk_protocol;
	int sk_err;
	unsigned char sk_shutdown;
};

struct socket {
	struct sock *sk;
};

struct inode {
	unsigned long i_ino;
};

struct file {
	struct inode *f_inode;
	void *private_data;
	struct hlist_head *f_ep; /* the epitems of those that watch it */
};

struct eventpoll {
	struct file *file;
};

struct epitem {
	struct hlist_node fllink;
	struct eventpoll *ep;
};

struct pid {
	unsigned int level;
	struct upid numbers[1]; /* of each PID namespace that it is in, outermost first */
};

struct task_struct {
	int pid;
	int tgid;
	struct pid *thread_pid;
};

#pragma clang attribute pop

#endif

/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * holders: which processes hold a TCP listener, which epoll instances watch it, which program is in
 * its group: what /proc tells by a link for each descriptor, and the last of it nothing tells
 *
 * np_holders is an iterator over the descriptors of every process (iter/task_file). One of a
 * listener is told once, and once more for each instance that watches it; one of an epoll instance
 * once. An instance is known by the address of its file.
 */
#ifndef HOLDERS_H
#define HOLDERS_H

#include <linux/bpf.h>
#include <stdbool.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "count_abi.h"
#include "count_kernel.h"

#define HOLDERS_WATCHING 64 /* instances that are told of one listener; more say no more */

__u32 np_holders_up; /* PID namespaces from the reader's out to that of /proc */

/* The instances that watch @file, one after the other: NULL, the first; 0: there is none more. */
static __always_inline struct epitem *holders_watch(const struct file *file, struct epitem *last)
{
	struct hlist_node *n = NULL;
	const void *at = last ? (void *)last + bpf_core_field_offset(struct epitem, fllink) :
				BPF_CORE_READ(file, f_ep); /* of either the first word */

	bpf_probe_read_kernel(&n, sizeof n, at);
	return n ? (void *)n - bpf_core_field_offset(struct epitem, fllink) : NULL;
}

/* By the instance whose file is at that address. */
static __always_inline bool holders_are_watched(const struct file *file, __u64 epoll)
{
	struct epitem *e = NULL;

	for (int i = 0; i < HOLDERS_WATCHING; i++) {
		e = holders_watch(file, e);
		if (!e)
			break;
		if ((__u64)BPF_CORE_READ(e, ep, file) == epoll)
			return true;
	}
	return false;
}

/* As /proc numbers it. */
static __always_inline __u32 holders_number(const struct task_struct *task)
{
	struct task_struct *self = (void *)bpf_get_current_task();
	__u32 level = BPF_CORE_READ(self, thread_pid, level) - np_holders_up, at;
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	int number = 0;

	at = bpf_core_field_offset(struct pid, numbers) + level * sizeof(struct upid);
	bpf_probe_read_kernel(&number, sizeof number, (void *)pid + at);
	return number;
}

static __always_inline bool holders_listens(const struct sock *sk)
{
	unsigned short family = sk->__sk_common.skc_family;

	return sk->__sk_common.skc_state == BPF_TCP_LISTEN &&
	       (family == IS_INET || family == IS_INET6) &&
	       (sk->sk_protocol == IS_TCP || sk->sk_protocol == IS_MPTCP);
}

static __always_inline void holders_tell_listener(struct seq_file *seq, struct file *file,
						  const struct sock *sk, struct np_holding *h)
{
	struct bpf_prog *program = BPF_CORE_READ(sk, sk_reuseport_cb, prog);
	struct epitem *e = NULL;

	h->inode = file->f_inode->i_ino;
	h->program = !!program;
	h->program_id = program ? BPF_CORE_READ(program, aux, id) : 0;
	bpf_seq_write(seq, h, sizeof *h);
	for (int i = 0; i < HOLDERS_WATCHING; i++) {
		e = holders_watch(file, e);
		if (!e)
			break;
		h->epoll = (__u64)BPF_CORE_READ(e, ep, file);
		bpf_seq_write(seq, h, sizeof *h);
	}
}

SEC("?iter/task_file")
int np_holders(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct np_holding h = { 0 };
	struct socket *socket;

	if (!task || !file || task->pid != task->tgid)
		return 0;
	socket = bpf_sock_from_file(file);
	if (socket && (!socket->sk || !holders_listens(socket->sk)))
		return 0;
	/* An instance leads back to its file; what else does so is watched by nobody through it. */
	if (!socket && BPF_CORE_READ((struct eventpoll *)file->private_data, file) != file)
		return 0;
	h.pid = holders_number(task);
	h.number = ctx->fd;
	if (socket) {
		holders_tell_listener(ctx->meta->seq, file, socket->sk, &h);
	} else {
		h.epoll = (__u64)file;
		bpf_seq_write(ctx->meta->seq, &h, sizeof h);
	}
	return 0;
}

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pass: descriptors that go to another process through a unix socket, and whose process that is
 *
 * The kernel drops what the receiver has no room for, and says so in a flag alone. So there is room
 * for one more than may come.
 */
#ifndef SYS_PASS_H
#define SYS_PASS_H

#include <stdint.h>
#include <sys/types.h>

/* In one message; the kernel has room for 253. */
#define SYS_PASS_MAX 64

/* @fds go with the first of the bytes. Return: as send(2); never SIGPIPE. */
ssize_t sys_pass_send(int sock, const void *p, size_t n, const int *fds, unsigned n_fds);
/*
 * sys_pass_recv() - up to @n bytes, and the descriptors that came with them: close-on-exec
 *
 * @fds: room for SYS_PASS_MAX. Return: as recv(2); -EMSGSIZE: more came, and all are closed.
 */
ssize_t sys_pass_recv(int sock, void *p, size_t n, int *fds, unsigned *ret_n);
/* The effective user of the process at the other end, when it connected. 0 or -errno. */
int sys_pass_peer(int sock, uid_t *ret_uid, pid_t *ret_pid);
/* Until @events (poll(2)) are there. @until_ns of sys_clock_ns(). Return: 0; -ETIMEDOUT. */
int sys_wait_until(int fd, short events, uint64_t until_ns);

#endif

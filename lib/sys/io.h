/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * io: bytes through a descriptor
 *
 * Every call returns what the kernel returned, or -errno; EINTR is retried here and nowhere
 * else. Sends carry MSG_NOSIGNAL: the library never dies of SIGPIPE.
 */
#ifndef SYS_IO_H
#define SYS_IO_H

#include <poll.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Linux moves at most this many bytes in one call (MAX_RW_COUNT); more iovec bytes is EINVAL. */
#define SYS_RW_MAX 0x7ffff000L

ssize_t sys_read(int fd, void *p, size_t n);
ssize_t sys_readv(int fd, const struct iovec *iov, int niov);
ssize_t sys_recv(int fd, void *p, size_t n, int flags);
ssize_t sys_write(int fd, const void *p, size_t n);
/* The same, and a pipe without a reader is -EPIPE and no signal. Not for what is often: it takes
 * four system calls. */
ssize_t sys_write_quietly(int fd, const void *p, size_t n);
ssize_t sys_writev(int fd, const struct iovec *iov, int niov);
ssize_t sys_send(int fd, const void *p, size_t n, int flags);
ssize_t sys_sendmsg(int fd, const struct iovec *iov, int niov, int flags);
ssize_t sys_pread(int fd, void *p, size_t n, off_t off);
ssize_t sys_sendfile(int out, int in, off_t *off, size_t n);
/* One of them is a pipe; it is never waited for. -EAGAIN: it is full, or empty, or the other is. */
ssize_t sys_splice(int in, int out, size_t n);
/*
 * sys_pipe() - a pipe that holds @size bytes, or fewer where the user has many (pipe(7):
 * pipe-user-pages-soft)
 *
 * fd[0] is read, fd[1] is written; neither blocks. Return: how many bytes it holds; or -errno.
 */
ssize_t sys_pipe(int fd[2], size_t size);

/*
 * A look at what is so now: never waits. Return: how many of them have something to say, or -errno.
 */
int sys_poll_now(struct pollfd *fds, unsigned n);
/*
 * Until one of them has something to say, or @ms have passed; -1: no limit. Return: as above; a
 * signal handler may end it with 0.
 */
int sys_poll_wait(struct pollfd *fds, unsigned n, int ms);
/* Until @fd can be read, or @ms have passed: 0 in both cases. -EINTR, which is not retried: a
 * signal handler ran. */
int sys_wait_readable(int fd, int ms);

/*
 * sys_close() - close *fd once and leave -1
 *
 * Linux frees the descriptor even where close() reports EINTR or EIO (close(2), "Dealing with
 * error returns"), so it is never called twice. A negative *fd is left alone.
 */
int sys_close(int *fd);

#endif

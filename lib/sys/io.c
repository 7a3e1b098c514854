/* SPDX-License-Identifier: BSD-2-Clause */
/* io: the read, write and close families, EINTR retried, errors as -errno. */
#include "sys/io.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "sys/fault.h"
#include "sys/raw.h"

#define RETRY(call)                               \
	({                                        \
		ssize_t r_;                       \
		do                                \
			r_ = (call);              \
		while (r_ < 0 && errno == EINTR); \
		r_ < 0 ? -(ssize_t)errno : r_;    \
	})

/* The arguments are RAW_CALL()'s. */
#define RAW_RETRY(...)                              \
	({                                          \
		long r_;                            \
		do                                  \
			r_ = RAW_CALL(__VA_ARGS__); \
		while (r_ == -EINTR);               \
		(ssize_t) r_;                       \
	})

ssize_t sys_read(int fd, void *p, size_t n)
{
	SYS_FAULT(read);
	return RETRY(read(fd, p, n));
}

ssize_t sys_readv(int fd, const struct iovec *iov, int niov)
{
	SYS_FAULT(readv);
	return RAW_RETRY(readv(fd, iov, niov), __NR_readv, fd, iov, niov, 0, 0, 0);
}

/* A signal came first. A poller's thread gets none: nothing is kept for a second call. */
static __attribute__((noinline)) ssize_t io_recv_again(int fd, void *p, size_t n, int flags)
{
	return RETRY(recv(fd, p, n, flags));
}

ssize_t sys_recv(int fd, void *p, size_t n, int flags)
{
	ssize_t r;

	SYS_FAULT(recv);
	r = RAW_CALL(recv(fd, p, n, flags), __NR_recvfrom, fd, p, n, flags, 0, 0);
	return r == -EINTR ? io_recv_again(fd, p, n, flags) : r;
}

ssize_t sys_write(int fd, const void *p, size_t n)
{
	SYS_FAULT(write);
	return RETRY(write(fd, p, n));
}

/* The signal is this thread's own: it is pending here, or it was not sent. */
ssize_t sys_write_quietly(int fd, const void *p, size_t n)
{
	const struct timespec now = { 0 };
	sigset_t pipe, was, pending;
	ssize_t r;

	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	sigpending(&pending);
	pthread_sigmask(SIG_BLOCK, &pipe, &was);
	r = sys_write(fd, p, n);
	if (r == -EPIPE && !sigismember(&pending, SIGPIPE))
		sigtimedwait(&pipe, NULL, &now);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	return r;
}

ssize_t sys_writev(int fd, const struct iovec *iov, int niov)
{
	SYS_FAULT(writev);
	return RETRY(writev(fd, iov, niov));
}

static __attribute__((noinline)) ssize_t io_send_again(int fd, const void *p, size_t n, int flags)
{
	return RETRY(send(fd, p, n, flags));
}

ssize_t sys_send(int fd, const void *p, size_t n, int flags)
{
	ssize_t r;

	SYS_FAULT(send);
	flags |= MSG_NOSIGNAL;
	r = RAW_CALL(send(fd, p, n, flags), __NR_sendto, fd, p, n, flags, 0, 0);
	return r == -EINTR ? io_send_again(fd, p, n, flags) : r;
}

ssize_t sys_sendmsg(int fd, const struct iovec *iov, int niov, int flags)
{
	struct msghdr m = { .msg_iov = (struct iovec *)iov, .msg_iovlen = niov };

	SYS_FAULT(sendmsg);
	flags |= MSG_NOSIGNAL;
	return RAW_RETRY(sendmsg(fd, &m, flags), __NR_sendmsg, fd, &m, flags, 0, 0, 0);
}

ssize_t sys_pread(int fd, void *p, size_t n, off_t off)
{
	SYS_FAULT(read);
	return RETRY(pread(fd, p, n, off));
}

ssize_t sys_sendfile(int out, int in, off_t *off, size_t n)
{
	SYS_FAULT(sendfile);
	return RETRY(sendfile(out, in, off, n));
}

ssize_t sys_splice(int in, int out, size_t n)
{
	const unsigned flags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;

	SYS_FAULT(splice);
	return RAW_RETRY(splice(in, NULL, out, NULL, n, flags), __NR_splice, in, 0, out, 0, n,
			 flags);
}

ssize_t sys_pipe(int fd[2], size_t size)
{
	int r = -1, had;

	SYS_FAULT(pipe);
	if (pipe2(fd, O_NONBLOCK | O_CLOEXEC) < 0)
		return -errno;
	had = fcntl(fd[1], F_GETPIPE_SZ);
	/* A user who has many pipes is given no more than some of that. */
	for (; r < 0 && (int)size > had; size /= 4)
		r = fcntl(fd[1], F_SETPIPE_SZ, (int)size);
	return r < 0 ? had : r;
}

int sys_poll_now(struct pollfd *fds, unsigned n)
{
	return (int)RETRY(poll(fds, n, 0));
}

int sys_poll_wait(struct pollfd *fds, unsigned n, int ms)
{
	int r = poll(fds, n, ms);

	if (r >= 0)
		return r;
	for (unsigned i = 0; i < n; i++)
		fds[i].revents = 0;
	return errno == EINTR ? 0 : -errno;
}

int sys_wait_readable(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) < 0 ? -errno : 0;
}

int sys_close(int *fd)
{
	int f = *fd;

	if (f < 0)
		return 0;
	*fd = -1;
	if (close(f) < 0 && errno != EINTR)
		return -errno;
	/* Fault injection reports an error after the real close: there is no other kind. */
	SYS_FAULT(close);
	return 0;
}

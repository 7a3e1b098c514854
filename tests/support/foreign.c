/* SPDX-License-Identifier: BSD-2-Clause */
/* foreign: plain epoll and accept loops; the parent learns who runs them. */
#include "support/foreign.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/filter.h>

#include "support/steer.h"
#include "support/test.h"
#include "sys/process.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

struct plan {
	enum foreign_shape shape;
	unsigned n, port;
};

struct loop {
	int fd[2]; /* -1: none */
	char letter;
	bool blocking;
	enum foreign_shape shape;
	int tell; /* gets the thread's number */
};

/* All connections to the first listener of the group. */
static void foreign_filter(int fd)
{
	struct sock_filter first = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog prog = { 1, &first };

	setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &prog, sizeof prog);
}

static int foreign_listen(const struct plan *p, unsigned port, int *ret_fd)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int one = 1, fd;

	fd = socket(AF_INET, SOCK_STREAM | (p->shape == FOREIGN_BLOCKING ? 0 : SOCK_NONBLOCK),
		    p->shape == FOREIGN_MPTCP ? IPPROTO_MPTCP : 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (p->shape != FOREIGN_ALONE)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
	if (bind(fd, (struct sockaddr *)&in, sizeof in) < 0 || listen(fd, 128) < 0)
		return -errno;
	if (p->shape == FOREIGN_PROGRAM)
		foreign_filter(fd);
	*ret_fd = fd;
	return 0;
}

static unsigned foreign_port(int fd)
{
	struct sockaddr_in in;
	socklen_t len = sizeof in;

	return getsockname(fd, (struct sockaddr *)&in, &len) == 0 ? ntohs(in.sin_port) : 0;
}

static void foreign_answer(int conn, char letter)
{
	if (conn < 0)
		return;
	send(conn, &letter, 1, MSG_NOSIGNAL);
	close(conn);
}

/* What its listener says is no client. */
static void foreign_take_offence(const struct loop *l, uint32_t events)
{
	bool hung_up = (events & (EPOLLHUP | EPOLLERR)) || errno == EINVAL;

	if (hung_up && l->shape == FOREIGN_TOUCHY)
		_exit(3);
	while (hung_up && l->shape == FOREIGN_SULKY)
		pause();
}

static volatile sig_atomic_t may_go_on;

/* In a handler of its own, as it were: blocked, or burning its CPU. */
static void foreign_hang(int sig, siginfo_t *info, void *context)
{
	while (!may_go_on)
		if (!info->si_value.sival_int)
			poll(NULL, 0, 5);
	may_go_on = 0;
}

static void foreign_go_on(int sig)
{
	may_go_on = 1;
}

static void foreign_obey(void)
{
	struct sigaction hang = { .sa_sigaction = foreign_hang, .sa_flags = SA_SIGINFO };
	struct sigaction go_on = { .sa_handler = foreign_go_on };

	sigaction(SIGUSR1, &hang, NULL);
	sigaction(SIGUSR2, &go_on, NULL);
}

static void *foreign_loop(void *arg)
{
	struct loop *l = arg;
	int ep = l->blocking ? -1 : epoll_create1(0);
	pid_t tid = (pid_t)syscall(SYS_gettid);
	struct epoll_event e;

	foreign_obey();
	for (int i = 0; ep >= 0 && i < 2; i++) {
		e = (struct epoll_event){ .events = EPOLLIN, .data.fd = l->fd[i] };
		if (l->fd[i] >= 0)
			epoll_ctl(ep, EPOLL_CTL_ADD, l->fd[i], &e);
	}
	child_send(l->tell, &tid, sizeof tid);
	e = (struct epoll_event){ .events = EPOLLIN, .data.fd = l->fd[0] };
	for (;;) {
		if (ep >= 0 && epoll_wait(ep, &e, 1, -1) < 1)
			continue;
		errno = 0;
		foreign_answer(accept4(e.data.fd, NULL, NULL, 0), l->letter);
		foreign_take_offence(l, e.events);
	}
	return NULL;
}

static void foreign_thread(struct loop *l)
{
	pthread_t t;

	if (pthread_create(&t, NULL, foreign_loop, l) != 0)
		child_fail("no thread");
}

static pid_t foreign_fork(struct loop *l)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		foreign_loop(l);
	}
	return pid;
}

static int foreign_open(const struct plan *p, unsigned i, struct loop *ret, int tell)
{
	static unsigned port; /* of the first listener: in the child */
	bool one = p->shape == FOREIGN_SHARED || p->shape == FOREIGN_ALONE;
	int r = 0;

	*ret = (struct loop){
		{ ret->fd[0], -1 }, (char)('A' + i), p->shape == FOREIGN_BLOCKING, p->shape, tell
	};
	if (!i || !one)
		r = foreign_listen(p, i ? port : p->port, &ret->fd[0]);
	if (r == 0 && !i)
		port = foreign_port(ret->fd[0]);
	if (r == 0 && p->shape == FOREIGN_TWO_PORTS)
		r = foreign_listen(p, port + 1, &ret->fd[1]);
	return r < 0 ? r : (int)port;
}

/* The master: says its port or -errno, then the workers' numbers; ends when it hears something. */
static void foreign_run(int sock, void *arg)
{
	const struct plan *p = arg;
	bool threads = p->shape == FOREIGN_THREADS || p->shape == FOREIGN_BLOCKING;
	struct loop loops[FOREIGN_MAX];
	pid_t pids[FOREIGN_MAX] = { 0 }, tids[FOREIGN_MAX] = { 0 };
	int sp[2], r = 0;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sp) < 0)
		child_fail("no socket pair");
	for (unsigned i = 0; i < p->n && r >= 0; i++) {
		loops[i].fd[0] = i ? loops[0].fd[0] : -1;
		r = foreign_open(p, i, &loops[i], sp[1]);
	}
	child_send(sock, &r, sizeof r);
	for (unsigned i = 0; i < p->n && r >= 0; i++) {
		if (threads)
			foreign_thread(&loops[i]);
		pids[i] = threads ? getpid() : foreign_fork(&loops[i]);
		child_recv(sp[0], &tids[i], sizeof tids[i]);
	}
	child_send(sock, pids, sizeof pids);
	child_send(sock, tids, sizeof tids);
	while (read(sock, &r, 1) < 0 && errno == EINTR)
		;
	for (unsigned i = 0; i < p->n && !threads; i++) {
		if (pids[i] <= 0)
			continue;
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
}

bool foreign_waits(const struct foreign *f, unsigned i)
{
	int number;

	return sys_process_waits(f->pid[i], f->tid[i], &number) != SYS_WAIT_NONE;
}

int foreign_start(struct foreign *f, enum foreign_shape shape, unsigned n, unsigned port)
{
	struct plan p = { shape, n, port };
	int r;

	ck_assert_uint_le(n, FOREIGN_MAX);
	*f = (struct foreign){ .n = n };
	child_start(&f->child, foreign_run, &p);
	child_recv(f->child.sock, &r, sizeof r);
	child_recv(f->child.sock, f->pid, sizeof f->pid);
	child_recv(f->child.sock, f->tid, sizeof f->tid);
	snprintf(f->address, sizeof f->address, "127.0.0.1:%d", r);
	if (r < 0)
		foreign_end(f);
	/* Who sleeps nowhere is nobody's acceptor. By other numbers than /proc's none is seen. */
	for (unsigned i = 0; i < n && r >= 0 && sys_process_depth() == 1; i++)
		AWAIT(foreign_waits(f, i));
	return r < 0 ? r : 0;
}

void foreign_end(struct foreign *f)
{
	child_say(f->child.sock, 'q');
	child_join(&f->child);
}

void foreign_signal(const struct foreign *f, unsigned i, int sig)
{
	ck_assert_int_eq((int)syscall(SYS_tgkill, f->pid[i], f->tid[i], sig), 0);
}

char foreign_ask(const char *address)
{
	int fd = client_connect(address);
	char letter = 0;

	ck_assert_msg(fd >= 0, "%s: %s", address, strerror(-fd));
	await_fd(fd, POLLIN);
	ck_assert_int_eq(recv(fd, &letter, 1, 0), 1);
	client_close(&fd);
	return letter;
}

void foreign_count(const char *address, unsigned n, unsigned ret[FOREIGN_MAX])
{
	memset(ret, 0, FOREIGN_MAX * sizeof *ret);
	for (unsigned i = 0; i < n; i++)
		ret[foreign_ask(address) - 'A']++;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_epoll: a plain epoll server whose connections the kernel steers; of this library, only that
 *
 *	steer_epoll ADDRESS [THREADS [SERVICE]]
 *
 * Each thread has an epoll and a listener of its own. A client says for how many milliseconds its
 * request blocks the thread ("0\n"), and is told which worker served it ("worker 2\n"). While one
 * is blocked, the others get the new connections, and after a tenth of a second also those that
 * were queued at it. It ends with SIGINT or SIGTERM.
 *
 * Marked with "steer" below: all that another server has to add.
 */
#include <errno.h>
#include <netpoll/steer.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define THREADS_MAX 64

struct server {
	struct np_steer_worker *worker;
	int listener, epoll;
	pthread_t thread;
};

static int watch(int epoll, int fd)
{
	struct epoll_event e = { .events = EPOLLIN, .data.fd = fd };

	return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e);
}

/* A server must not do this for long: it blocks the thread. */
static void block_for(int ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000l };

	nanosleep(&t, NULL);
}

static void accept_all(struct server *s)
{
	int fd;

	while ((fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		if (watch(s->epoll, fd) < 0)
			close(fd);
		else
			np_steer_conn_inc(s->worker); /* steer */
	}
	/* steer: we hung, and our queue was given to the others. What fails is tried again at the
	 * next epoll_wait(). */
	if (errno == EINVAL && np_steer_relisten(s->worker, s->listener) < 0)
		block_for(1);
}

static void serve(struct server *s, int fd)
{
	char in[32] = "", out[32];
	ssize_t n = recv(fd, in, sizeof in - 1, 0);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n > 0) {
		block_for(atoi(in));
		n = snprintf(out, sizeof out, "worker %d\n", np_steer_worker_index(s->worker));
		send(fd, out, (size_t)n, MSG_NOSIGNAL);
	}
	close(fd);
	np_steer_conn_dec(s->worker); /* steer */
}

static void *run(void *arg)
{
	struct epoll_event events[64];
	struct server *s = arg;
	int n;

	for (;;) {
		np_steer_idle(s->worker); /* steer */
		n = epoll_wait(s->epoll, events, 64, -1);
		for (int i = 0; i < n; i++) {
			/* steer: before each, so that one that hangs is told from many */
			np_steer_busy(s->worker);
			if (events[i].data.fd == s->listener)
				accept_all(s);
			else
				serve(s, events[i].data.fd);
		}
	}
	return NULL;
}

static int start(struct server *s, struct np_steer *steer, const char *address)
{
	int r = np_steer_worker(steer, NULL, &s->worker); /* steer */

	if (r == 0)
		/* steer: not socket, bind, listen */
		r = np_steer_listen(s->worker, "tcp", address, 0, &s->listener);
	if (r < 0) {
		fprintf(stderr, "steer_epoll: %s\n", np_steer_error(steer));
		return r;
	}
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll < 0 || watch(s->epoll, s->listener) < 0)
		return -errno;
	return -pthread_create(&s->thread, NULL, run, s);
}

int main(int argc, char **argv)
{
	static struct server servers[THREADS_MAX];
	struct np_steer_info info = { .sz = sizeof info };
	int threads = argc > 2 ? atoi(argv[2]) : 4, sig;
	struct np_steer *steer;
	char why[NP_STEER_TEXT_MAX];
	sigset_t ends;

	if (argc < 2 || threads < 1 || threads > THREADS_MAX) {
		fprintf(stderr, "usage: steer_epoll ADDRESS [THREADS [SERVICE]]\n");
		return 2;
	}
	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &ends, NULL);

	if (np_steer_open(argc > 3 ? argv[3] : NULL,
			  NP_OPTS(np_steer_opts, .error = why, .error_cap = sizeof why),
			  &steer) < 0) { /* steer */
		fprintf(stderr, "steer_epoll: %s\n", why);
		return 1;
	}
	for (int i = 0; i < threads; i++)
		if (start(&servers[i], steer, argv[1]) < 0)
			return 1;
	np_steer_info(steer, &info);
	printf("%d workers on %s, level %d: %s\n", threads, argv[1], info.level, info.reason);
	fflush(stdout);
	sigwait(&ends, &sig);
	/* claims and slots go with the process, and what is queued to processes that go on */
	return 0;
}

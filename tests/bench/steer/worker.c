/* SPDX-License-Identifier: BSD-2-Clause */
/* worker: a loop that accepts, greets with its number, and answers each byte with it; the byte is
 * the cost. */
#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "steer.h"

struct worker worker[WORKERS_MAX];
unsigned workers;

static _Atomic(bool) over;
static pthread_rwlock_t gate = PTHREAD_RWLOCK_INITIALIZER;

/* In epoll_event.data: what else there is to know about a descriptor. */
#define GREET (1ull << 32)

void watch(int ep, int fd, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.u64 = (uint64_t)fd };

	if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) < 0)
		die("epoll_ctl");
}

void gate_shut(void)
{
	pthread_rwlock_wrlock(&gate);
}

void gate_open(void)
{
	pthread_rwlock_unlock(&gate);
}

void gate_pass(void)
{
	pthread_rwlock_rdlock(&gate);
	pthread_rwlock_unlock(&gate);
}

static void rest(unsigned us)
{
	nanosleep(&(struct timespec){ us / 1000000, (long)(us % 1000000) * 1000 }, NULL);
}

static void greet(const struct worker *k, int fd)
{
	char c = (char)('A' + k->i);

	if (send(fd, &c, 1, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET)
		die("send");
}

void worker_take(struct worker *k, int fd, bool greeted)
{
	struct epoll_event ev = { .events = greeted ? EPOLLIN | EPOLLRDHUP : EPOLLOUT,
				  .data.u64 = (uint64_t)fd | (greeted ? 0 : GREET) };

	k->live++;
	if (k->w)
		np_steer_conn_inc(k->w);
	if (epoll_ctl(k->ep, EPOLL_CTL_ADD, fd, &ev) < 0)
		die("epoll_ctl");
}

static void accept_all(struct worker *k)
{
	int fd;

	while ((fd = accept4(k->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		greet(k, fd);
		worker_take(k, fd, true);
	}
	if (errno == EINVAL && k->w && np_steer_relisten(k->w, k->listener) < 0)
		die("np_steer_relisten");
}

static void end(struct worker *k, int fd)
{
	close(fd);
	k->live--;
	if (k->w)
		np_steer_conn_dec(k->w);
}

static void answer(struct worker *k, int fd)
{
	ssize_t n;
	char c;

	while ((n = read(fd, &c, 1)) == 1) {
		rest(c == 'h' ? HEAVY_US : LIGHT_US);
		greet(k, fd);
	}
	if (n == 0 || errno != EAGAIN)
		end(k, fd);
}

static void handle(struct worker *k, const struct epoll_event *ev)
{
	int fd = (int)(uint32_t)ev->data.u64;

	if (fd == k->listener) {
		accept_all(k);
	} else if (ev->data.u64 & GREET) {
		struct epoll_event in = { .events = EPOLLIN | EPOLLRDHUP,
					  .data.u64 = (uint64_t)fd };

		greet(k, fd);
		epoll_ctl(k->ep, EPOLL_CTL_MOD, fd, &in);
	} else {
		answer(k, fd);
	}
}

static void *work(void *arg)
{
	struct epoll_event ev[64];
	struct worker *k = arg;
	uint64_t stall_at = now_ns() + 1000000000u;
	int n, wait_ms;

	prctl(PR_SET_TIMERSLACK, 1000ul);
	while (!over) {
		gate_pass();
		wait_ms = chooser_turn(k);
		if (k->w)
			np_steer_idle(k->w);
		n = epoll_wait(k->ep, ev, 64, wait_ms);
		k->turned_ns = now_ns();
		gate_pass();
		if (n > 0 && k->w)
			np_steer_busy(k->w);
		if (n > 0 && mix->stall_ms && k->i == 0 && now_ns() >= stall_at) {
			rest(mix->stall_ms * 1000);
			stall_at += 1000000000u;
		}
		for (int i = 0; i < n; i++) {
			if (k->w)
				/* as the pollers do: a long batch is no hung handler */
				np_steer_busy(k->w);
			handle(k, &ev[i]);
		}
	}
	if (k->w)
		np_steer_idle(k->w);
	return NULL;
}

void workers_start(void)
{
	for (unsigned i = 0; i < workers; i++)
		if (pthread_create(&worker[i].thread, NULL, work, &worker[i]))
			die("thread");
}

void workers_stop(void)
{
	over = true;
	for (unsigned i = 0; i < workers; i++)
		pthread_join(worker[i].thread, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * chooser: who decides which worker gets a connection
 *
 *   shared     one listener in every worker's epoll
 *   exclusive  the same with EPOLLEXCLUSIVE: one of those that wait is woken
 *   kernel     a listener each, the kernel's hash
 *   incoming   a listener each, SO_INCOMING_CPU: worker i says the last CPU but i, modulo their
 *              number
 *   handoff    one thread accepts, and hands each connection to the better of two workers
 *   hermes     a listener each; the workers judge each other in each turn and publish who may be
 *              chosen, and the program draws from those (Hermes, SIGCOMM '25, as far as its paper
 *              tells): policy "bitmap", whose own guard is off
 *   POLICY     npsteer(8)'s; "-norescue" behind it: a stalled worker's queue is left alone
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "steer.h"

struct np_steer *steer;
struct sockaddr_in address = { .sin_family = AF_INET };

static bool hermes;
static uint64_t hang_ns;

/* ------------------------------------------------------------------ listeners */

static int listener(bool reuseport, unsigned backlog)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
	socklen_t len = sizeof address;

	if (fd < 0 || (reuseport && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) < 0) ||
	    bind(fd, (struct sockaddr *)&address, len) < 0 || listen(fd, (int)backlog) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &len) < 0)
		die("listener");
	return fd;
}

static void share_one(uint32_t how)
{
	int fd = listener(false, mix->backlog * workers);

	for (unsigned i = 0; i < workers; i++) {
		worker[i].listener = fd;
		worker[i].how = how;
	}
}

static void give_each_one(bool incoming_cpu)
{
	int cpus = (int)sysconf(_SC_NPROCESSORS_ONLN), cpu;

	for (unsigned i = 0; i < workers; i++) {
		worker[i].listener = listener(true, mix->backlog);
		worker[i].how = EPOLLIN;
		/* worker 0, which may stall, is the clients' CPU's */
		cpu = cpus - 1 - (int)i % cpus;
		if (incoming_cpu && setsockopt(worker[i].listener, SOL_SOCKET, SO_INCOMING_CPU,
					       &cpu, sizeof cpu) < 0)
			die("SO_INCOMING_CPU");
	}
}

static void steered_listener(struct worker *k)
{
	socklen_t len = sizeof address;
	char text[32];

	snprintf(text, sizeof text, "127.0.0.1:%d", ntohs(address.sin_port));
	if (np_steer_worker(steer, "bench", &k->w) < 0 ||
	    np_steer_listen(k->w, "tcp", text, (int)mix->backlog, &k->listener) < 0 ||
	    getsockname(k->listener, (struct sockaddr *)&address, &len) < 0)
		die("listener");
	k->how = EPOLLIN;
}

static bool steered(const char *mode, int hang_ms)
{
	char why[NP_STEER_TEXT_MAX] = "", policy[32];
	char *dash;
	int r;

	snprintf(policy, sizeof policy, "%s", hermes ? "bitmap" : mode);
	dash = strstr(policy, "-norescue");
	if (dash)
		*dash = '\0';
	r = np_steer_open(NULL,
			  NP_OPTS(np_steer_opts, .mode = NP_STEER_REQUIRED, .policy = policy,
				  .rescue = dash || hermes ? NP_OFF : NP_ON,
				  .hang_ms = hermes ? -1 : hang_ms, .error = why,
				  .error_cap = sizeof why),
			  &steer);
	if (r < 0) {
		fprintf(stderr, "steer: %s\n", why);
		return false;
	}
	for (unsigned i = 0; i < workers; i++)
		steered_listener(&worker[i]);
	return true;
}

/* ------------------------------------------------------------------ handoff */

static pthread_t acceptor;
static int acceptor_ends[2];

static struct worker *better_of_two(void)
{
	struct worker *a = &worker[(unsigned)rand() % workers],
		      *b = &worker[(unsigned)rand() % workers];

	return b->live < a->live ? b : a;
}

static void *accept_for_all(void *arg)
{
	int ep = epoll_create1(EPOLL_CLOEXEC), from = listener(false, mix->backlog * workers), fd;
	struct epoll_event ev;

	watch(ep, from, EPOLLIN);
	watch(ep, acceptor_ends[0], EPOLLIN);
	*(_Atomic(bool) *)arg = true;
	while (epoll_wait(ep, &ev, 1, -1) >= 0 && (int)ev.data.u64 == from) {
		gate_pass();
		while ((fd = accept4(from, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
			worker_take(better_of_two(), fd, false);
	}
	close(from);
	close(ep);
	return NULL;
}

static void hand_off(void)
{
	_Atomic(bool) listening = false;

	for (unsigned i = 0; i < workers; i++)
		worker[i].listener = -1;
	if (pipe(acceptor_ends) < 0 || pthread_create(&acceptor, NULL, accept_for_all, &listening))
		die("acceptor");
	while (!listening)
		sched_yield();
}

/* ------------------------------------------------------------------ Hermes */

/* Its clock may be later than ours: another one has turned since we looked. */
static bool has_turned_lately(const struct worker *k)
{
	uint64_t turned_ns = k->turned_ns, now = now_ns();

	return now <= turned_ns || now - turned_ns < hang_ns;
}

/* Who has come round lately, and has no more connections than a quarter over the mean. */
static void publish_the_fit(void)
{
	uint64_t set = 0;
	unsigned sum = 0;

	for (unsigned i = 0; i < workers; i++)
		sum += worker[i].live;
	for (unsigned i = 0; i < workers; i++)
		if (has_turned_lately(&worker[i]) &&
		    worker[i].live * workers * 4 <= sum * 5 + 4 * workers)
			set |= 1ull << np_steer_worker_index(worker[i].w);
	np_steer_publish(steer, &set, 1);
}

/* ------------------------------------------------------------------ all of them */

int chooser_turn(struct worker *k)
{
	if (!hermes)
		return 100;
	k->turned_ns = now_ns();
	publish_the_fit();
	return 5; /* so that an idle worker does not look hung */
}

bool chooser_start(const char *mode, int hang_ms)
{
	hermes = !strcmp(mode, "hermes");
	hang_ns = (uint64_t)hang_ms * 1000000;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (unsigned i = 0; i < workers; i++) {
		worker[i].i = i;
		worker[i].turned_ns = now_ns();
		worker[i].ep = epoll_create1(EPOLL_CLOEXEC);
	}
	if (!strcmp(mode, "shared"))
		share_one(EPOLLIN);
	else if (!strcmp(mode, "exclusive"))
		share_one(EPOLLIN | EPOLLEXCLUSIVE);
	else if (!strcmp(mode, "kernel") || !strcmp(mode, "incoming"))
		give_each_one(mode[0] == 'i');
	else if (!strcmp(mode, "handoff"))
		hand_off();
	else if (!steered(mode, hang_ms))
		return false;
	for (unsigned i = 0; i < workers; i++)
		if (worker[i].listener >= 0)
			watch(worker[i].ep, worker[i].listener, worker[i].how);
	return true;
}

void chooser_stop(void)
{
	if (!acceptor)
		return;
	close(acceptor_ends[1]);
	pthread_join(acceptor, NULL);
}

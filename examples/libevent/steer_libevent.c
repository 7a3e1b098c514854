/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_libevent: a libevent server whose connections the kernel steers; libevent's loop is
 * untouched
 *
 *	steer_libevent ADDRESS [THREADS [SERVICE]]
 *
 * It does the same as steer_epoll. The listener comes from np_steer_listen() and is given to
 * evconnlistener_new(); each callback says when it begins and ends, which is all that a worker has
 * to publish to be passed over while it hangs.
 */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netpoll/steer.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define THREADS_MAX 64

struct server {
	struct np_steer_worker *worker;
	struct event_base *base;
	int listener;
	pthread_t thread;
};

/* A server must not do this: it blocks the thread. */
static void block_for(int ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000l };

	nanosleep(&t, NULL);
}

static void gone(struct server *s, struct bufferevent *b)
{
	bufferevent_free(b);
	np_steer_conn_dec(s->worker); /* steer */
}

static void on_written(struct bufferevent *b, void *arg)
{
	gone(arg, b);
}

static void on_readable(struct bufferevent *b, void *arg)
{
	struct server *s = arg;
	char *line = evbuffer_readln(bufferevent_get_input(b), NULL, EVBUFFER_EOL_LF);

	if (!line)
		return;
	np_steer_busy(s->worker); /* steer */
	block_for(atoi(line));
	free(line);
	bufferevent_disable(b, EV_READ);
	bufferevent_setcb(b, NULL, on_written, NULL, s);
	evbuffer_add_printf(bufferevent_get_output(b), "worker %d\n",
			    np_steer_worker_index(s->worker));
	np_steer_idle(s->worker); /* steer */
}

static void on_event(struct bufferevent *b, short what, void *arg)
{
	gone(arg, b);
}

static void on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa, int len,
		      void *arg)
{
	struct server *s = arg;
	struct bufferevent *b = bufferevent_socket_new(s->base, fd, BEV_OPT_CLOSE_ON_FREE);

	if (!b) {
		evutil_closesocket(fd);
		return;
	}
	np_steer_conn_inc(s->worker); /* steer */
	bufferevent_setcb(b, on_readable, NULL, on_event, s);
	bufferevent_enable(b, EV_READ);
}

/* steer: EINVAL: we hung, and our queue was given to the others */
static void on_accept_error(struct evconnlistener *l, void *arg)
{
	struct server *s = arg;

	if (EVUTIL_SOCKET_ERROR() == EINVAL)
		np_steer_relisten(s->worker, s->listener);
}

static void *run(void *arg)
{
	struct server *s = arg;

	event_base_dispatch(s->base);
	return NULL;
}

static int start(struct server *s, struct np_steer *steer, const char *address)
{
	int r = np_steer_worker(steer, NULL, &s->worker); /* steer */
	struct evconnlistener *l;

	if (r == 0)
		r = np_steer_listen(s->worker, "tcp", address, 0, &s->listener); /* steer */
	if (r < 0) {
		fprintf(stderr, "steer_libevent: %s\n", np_steer_error(steer));
		return r;
	}
	s->base = event_base_new();
	if (!s->base)
		return -ENOMEM;
	l = evconnlistener_new(s->base, on_accept, s, LEV_OPT_CLOSE_ON_FREE,
			       0 /* it listens already */, s->listener);
	if (!l)
		return -ENOMEM;
	evconnlistener_set_error_cb(l, on_accept_error);
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
		fprintf(stderr, "usage: steer_libevent ADDRESS [THREADS [SERVICE]]\n");
		return 2;
	}
	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &ends, NULL);

	if (np_steer_open(argc > 3 ? argv[3] : NULL,
			  NP_OPTS(np_steer_opts, .error = why, .error_cap = sizeof why),
			  &steer) < 0) { /* steer */
		fprintf(stderr, "steer_libevent: %s\n", why);
		return 1;
	}
	for (int i = 0; i < threads; i++)
		if (start(&servers[i], steer, argv[1]) < 0)
			return 1;
	np_steer_info(steer, &info);
	printf("%d workers on %s, level %d: %s\n", threads, argv[1], info.level, info.reason);
	fflush(stdout);
	sigwait(&ends, &sig);
	return 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* libevent: framed echo over bufferevents; frames_pass() looks at the input where it lies. */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <unistd.h>

#include "frames.h"
#include "listener.h"

#define PIECES 16

static int pass(struct frames *f, struct evbuffer *in)
{
	struct evbuffer_iovec v[PIECES];
	size_t left = evbuffer_get_length(in);
	struct evbuffer_ptr at;

	evbuffer_ptr_set(in, &at, 0, EVBUFFER_PTR_SET);
	while (left) {
		int n = evbuffer_peek(in, -1, &at, v, PIECES);
		size_t seen = 0;

		for (int i = 0; i < n && i < PIECES; i++) {
			if (frames_pass(f, v[i].iov_base, v[i].iov_len) < 0)
				return -1;
			seen += v[i].iov_len;
		}
		left -= seen;
		if (left && evbuffer_ptr_set(in, &at, seen, EVBUFFER_PTR_ADD) < 0)
			return -1;
	}
	return 0;
}

static void drop(struct bufferevent *b, struct frames *f)
{
	bufferevent_free(b);
	free(f);
}

static void on_read(struct bufferevent *b, void *arg)
{
	struct evbuffer *in = bufferevent_get_input(b);

	/* The bytes move from one buffer to the other without a copy. */
	if (pass(arg, in) < 0 || bufferevent_write_buffer(b, in) < 0)
		drop(b, arg);
}

static void on_event(struct bufferevent *b, short what, void *arg)
{
	drop(b, arg);
}

static void on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa, int len,
		      void *base)
{
	struct bufferevent *b = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
	struct frames *f = calloc(1, sizeof *f);

	if (!b || !f)
		abort();
	bufferevent_setcb(b, on_read, NULL, on_event, f);
	bufferevent_set_max_single_read(b, 64 * 1024);
	bufferevent_set_max_single_write(b, 64 * 1024);
	bufferevent_enable(b, EV_READ | EV_WRITE);
}

int main(void)
{
	struct event_base *base = event_base_new();

	if (!base || !evconnlistener_new(base, on_accept, base, LEV_OPT_CLOSE_ON_FREE, 0,
					 listener_open("libevent"))) {
		fprintf(stderr, "libevent: it does not listen\n");
		return 1;
	}
	return event_base_dispatch(base);
}

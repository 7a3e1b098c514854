/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * serve: answers each frame with the same one; slow ones do not hold up those behind them
 *
 * A slow one becomes a task of its own: its bytes are sliced, the connection is held, and the
 * answer is sent when it is done. What is quick is answered where it is read, in one send for a
 * batch.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"
#include "rpc.h"

#define SLOW_MAX 256 /* tasks of one connection */

struct slow {
	struct np_conn *c;
	struct np_linkbuf *frame;
	int ms;
};

/* Of one connection. */
struct load {
	int slow;
	bool over;
};

static void serve_leave(struct load *l)
{
	if (l->over && !l->slow)
		free(l);
}

static void serve_end_slow(struct slow *s)
{
	struct load *l = np_conn_data(s->c);

	l->slow--;
	serve_leave(l);
	np_linkbuf_free(&s->frame);
	np_conn_unhold(s->c);
	np_conn_unref(s->c);
	free(s);
}

static int serve_slow(void *arg)
{
	struct slow *s = arg;

	/* A peer that does not read its answers is let go of at send_high. */
	if (np_sleep(s->ms) == 0 && np_conn_send(s->c, &s->frame) == -EAGAIN)
		np_conn_abort(s->c);
	serve_end_slow(s);
	return 0;
}

static int serve_later(struct np_conn *c, size_t n, int ms)
{
	struct slow *s = calloc(1, sizeof *s);
	int r = s ? np_conn_slice(c, n, &s->frame) : -ENOMEM;

	if (r < 0) {
		free(s);
		return r;
	}
	s->c = np_conn_ref(c);
	s->ms = ms;
	((struct load *)np_conn_data(c))->slow++;
	np_conn_hold(c);
	r = np_go(NULL, NP_HERE, serve_slow, s, NULL);
	if (r < 0)
		serve_end_slow(s);
	return r;
}

static bool serve_is_slow(const char *frame, size_t n)
{
	const char *body = frame + FRAME_HEAD + FRAME_ID;

	return n >= FRAME_HEAD + FRAME_ID + 4 && !memcmp(body, "slow", 4);
}

static int serve_request(struct np_conn *c, void *arg)
{
	const struct rpc_opts *o = arg;
	const void *frame;
	size_t n;
	int r = frame_peek(c, &n);

	n += FRAME_HEAD;
	if (r == 0)
		r = np_conn_peek(c, n, &frame);
	if (r < 0)
		return r;
	if (serve_is_slow(frame, n)) {
		if (((struct load *)np_conn_data(c))->slow < SLOW_MAX)
			return serve_later(c, n, o->slow_ms);
		r = np_sleep(o->slow_ms); /* too many: the peer waits */
	}
	if (r == 0)
		r = np_conn_skip(c, n);
	return r < 0 ? r : np_conn_say(c, frame, n);
}

static int serve_begin(struct np_conn *c, void *arg)
{
	struct load *l = calloc(1, sizeof *l);

	np_conn_set_data(c, l);
	return l ? 0 : -ENOMEM;
}

/* Slow ones may be left: the last of them frees it. */
static void serve_over(struct np_conn *c, void *arg)
{
	struct load *l = np_conn_data(c);

	l->over = true;
	serve_leave(l);
}

int serve_main(const struct rpc_opts *o, char **argv)
{
	const struct np_handlers h = {
		.sz = sizeof h,
		.on_prepare = serve_begin,
		.on_request = serve_request,
		.on_close = serve_over,
	};

	struct np_pollers *pollers;
	int r = rpc_pollers(o, &pollers), code = EXIT_FAILURE;

	if (r < 0)
		fprintf(stderr, "rpc: cannot start: %s\n", np_strerror(r));
	else
		code = rpc_serve(o, pollers, &h, (void *)o, argv);
	rpc_end(&pollers);
	return code;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_serve: the fiber that runs on_connect and on_request
 *
 * At most one for each connection. It takes a stack when there is something to handle and gives it
 * back when there is not: an idle connection has none. on_request is not called "while there is
 * input" but while it makes progress; one that leaves its input alone is called again when more has
 * arrived, and once at EOF.
 */
#include <errno.h>

#include "conn/conn.h"
#include "netpoll/linkbuf.h"
#include "poll/baton.h"
#include "poll/meter.h"
#include "sys/ack.h"
#include "sys/clock.h"
#include "sys/probe.h"
#include "sys/symbol.h"

#define RELEASE_AT    4096u
#define PUBLISH_EVERY 8u /* handlers in a row */
#define SAY_EVERY_MS  1000u

/*
 * What is left of the input is the beginning of the next one. While a hold is in force, its answer
 * is still owed.
 */
static slow_path void serve_request_over(struct np_conn *c)
{
	if (c->holds)
		return;
	c->io->request = false;
	if (linkbuf_len(&c->io->stream.in))
		conn_request_came(c);
}

/* What it has left alone it is called for again, there or here. */
static slow_path bool serve_was_sent_home(struct conn_io *io)
{
	bool sent = io->parting & CONN_PARTING_HOME;

	io->parting &= (uint8_t)~CONN_PARTING_HOME;
	return sent;
}

/* A peer that left is no failure of the handler's: it returned what its verb said. */
static slow_path void serve_failed(struct np_conn *c, int r)
{
	const void *fn = poller_handler(conn_poller(c));
	struct conn_group *g = c->group;
	uint64_t now = poller_now_ms(conn_poller(c));
	char name[128];

	if (r == -NP_EMOVED && serve_was_sent_home(c->io))
		return;
	if (conn_life(c) == CONN_OPEN &&
	    !((c->flags & CONN_LEFT) &&
	      (np_err_is_closed(r) || r == c->rx_err || r == -ECANCELED))) {
		__atomic_store_n(&g->handler_errors, g->handler_errors + 1, __ATOMIC_RELAXED);
		if (g->said_ms && now - g->said_ms < SAY_EVERY_MS) {
			g->unsaid++;
		} else {
			poller_log(
				conn_poller(c), 1,
				"poller %d: handler %s returned %d (%s): its connection is closed; %llu more since the last line",
				poller_index(conn_poller(c)), sys_symbol(fn, name, sizeof name), r,
				np_strerror(r), (unsigned long long)g->unsaid);
			g->said_ms = now;
			g->unsaid = 0;
		}
	}
	conn_close(c, r);
}

/*
 * A handler that was left alone gives the poller up behind each of its verbs, and so would those
 * that serve what is left of its batch on this thread. Where the loop is they need not.
 */
slow_path void conn_serve_leave_rest(struct conn_io *io)
{
	if (!baton_is_guest() || !conn_has_request(io->spawn.call.arg, io))
		return;
	io->on_request = NULL;
	io->rest = true;
}

static slow_path void serve_queue_rest(struct conn_io *io)
{
	struct np_conn *c = io->spawn.call.arg;

	io->rest = false;
	conn_find_handler(c);
	if (!conn_has_request(c, io))
		return;
	io->service = CONN_QUEUED;
	poller_spawn_node(conn_poller(c), &io->spawn);
}

int conn_serve_blocking(struct np_conn *c, void *arg)
{
	int r;

	baton_user_begin();
	r = c->io->called(c, arg);
	baton_user_end();
	if (unlikely(baton_is_called()))
		conn_serve_leave_rest(c->io);
	return r;
}

/*
 * What comes before the first request, or where a peer that leaves cancels the handler. Return:
 * whether there is a request.
 */
static slow_path bool serve_connect(struct np_conn *c)
{
	int (*fn)(struct np_conn *, void *) = c->group->handlers->on_connect;
	int r = 0;

	conn_cancel_left(c);
	if ((c->flags & CONN_CONNECTED) || conn_life(c) != CONN_OPEN)
		return conn_has_request(c, c->io);
	if ((c->flags & CONN_PROXIED) && !c->io->on_request(c, NULL))
		return conn_has_request(c, c->io);
	if (fn) { /* of one that began with a PROXY header there may be none */
		conn_note_handler(c, fn);
		c->io->called = fn;
		r = c->group->handlers->flags & NP_MAY_BLOCK ?
			    conn_serve_blocking(c, c->group->arg) :
			    fn(c, c->group->arg);
	}
	c->flags |= CONN_CONNECTED;
	conn_find_handler(c);
	fiber_begins_anew(fiber_self());
	if ((c->flags & CONN_LEFT) || c->group->draining)
		conn_later(c); /* on_disconnect and on_drain have waited for this */
	if (r < 0)
		serve_failed(c, r);
	else
		serve_request_over(c);
	return conn_has_request(c, c->io);
}

/*
 * What a request read may go once it has returned. In a batch that is put off until a block's worth
 * has come together: one release frees it, and one at the end of the batch what is left. Debug
 * builds release each time, so that a pointer kept too long is found.
 */
static inline void serve_release(struct stream *s)
{
#ifndef NP_DEBUG
	if (likely(stream_unreleased(s) < RELEASE_AT))
		return;
#endif
	stream_release(s);
}

/* What handlers have taken of the input, or forwarded. */
static inline size_t serve_taken(const struct stream *s)
{
	return s->rx_total - linkbuf_len(&s->in);
}

/*
 * The handler has taken nothing: it is called again when more has come, or what it wants. An end
 * that came behind its call it has not seen.
 */
static slow_path void serve_no_progress(struct conn_io *io)
{
	if (serve_was_sent_home(io))
		return;
	if (conn_is_end(io->was.in, io->was.flags))
		io->end_handled = true;
	io->passed_at = io->stream.rx_total;
	io->forwards = false;
	if (!io->wanted)
		io->call_at = linkbuf_len(&io->stream.in) + 1;
}

/*
 * Both callers have it inline: one looks at it, and the other is every request's. That the input
 * has become less does not tell of progress: more may have come meanwhile.
 */
static inline __attribute__((always_inline)) void serve_request(struct np_conn *c,
								struct conn_io *io)
{
	struct stream *s = &io->stream;
	size_t taken = serve_taken(s);
	int r;

	io->was = c->state;

	io->wanted = false;
	io->call_at = 1;
	PROBE3(handler__begin, c, s->fd, io->on_request);
	r = io->on_request(c, io->arg);
	PROBE3(handler__end, c, s->fd, r);
	if (unlikely(r < 0))
		serve_failed(c, r);
	else if (unlikely(serve_taken(s) == taken))
		serve_no_progress(io);
	else if (unlikely(c->flags & CONN_MINDED))
		serve_request_over(c);
}

/* The first request of a connection that began then has been served. */
static slow_path void serve_meter_first(struct poller *p, uint64_t began_ms)
{
	uint64_t now = poller_turn_ms(p);

	if (meter_is_on(poller_meter(p)))
		meter_note(poller_meter(p), METER_FIRST_BYTE,
			   now > began_ms ? (now - began_ms) * 1000u : 0, 1);
}

/* How long the peer's last byte has waited for this: of TCP the kernel knows it, to its tick. */
static uint64_t serve_age_us(const struct stream *s)
{
	return sys_tcp_quiet_ms(s->fd) * 1000u;
}

/* The next request of a batch is a piece of work of its own. */
static inline void serve_anew(struct conn_io *io)
{
	serve_release(&io->stream);
	fiber_begins_anew(io->handler);
}

/* One of many, or each: see meter.h. Return: whether there are more. */
static slow_path bool serve_metered(struct conn_io *io)
{
	struct np_conn *c = io->spawn.call.arg;
	struct meter *m = poller_meter(conn_poller(c));
	uint64_t from = sys_clock_ns(), weight = meter_take(m, from);

	if (weight)
		meter_note(m, METER_AGE, serve_age_us(&io->stream), weight);
	serve_request(c, io);
	if (weight)
		meter_note(m, METER_HANDLER, (sys_clock_ns() - from) / 1000u, weight);
	meter_count(m, 1);
	if (!conn_has_request(c, io))
		return false;
	serve_anew(io);
	return true;
}

/* All that are there. A handler that is replaced meanwhile is named as the first one. */
static inline void serve_requests(struct np_conn *c, struct conn_io *io)
{
	unsigned n = 1;

	conn_note_handler(c, io->called);
	if (!meter_is_due(poller_meter(conn_poller(c))) || serve_metered(io)) {
		for (;; n++) {
			serve_request(c, io);
			if (likely(!conn_has_request(c, io)))
				break;
			/* A long batch of short handlers is not one hung handler. */
			if (unlikely(n % PUBLISH_EVERY == 0))
				poller_publish_row(conn_poller(c), PUBLISH_EVERY);
			serve_anew(io);
		}
		meter_count(poller_meter(conn_poller(c)), n);
	}
	stream_release(&io->stream);
}

/* What was flushed leaves in one send. */
static slow_path void serve_send_put_off(struct conn_io *io)
{
	struct np_conn *c = io->spawn.call.arg;

	conn_put_off_ends(io);
	fiber_before_park(io->handler, NULL);
	if (conn_life(c) == CONN_OPEN)
		conn_pump(c, PUMP_FLUSH);
}

void conn_before_blocking(struct fiber *f)
{
	struct np_conn *c = conn_of_service(fiber_fn(f), fiber_arg(f));

	if (!c || c->io->aside)
		return;
	if (c->io->put_off)
		serve_send_put_off(c->io);
	stream_mark_due(&c->io->stream);
}

/* No fiber serves it any more. */
static inline void serve_leave(struct conn_io *io)
{
	io->handler = NULL;
	io->service = CONN_UNSERVED;
}

/*
 * The connection goes idle, or to its end: what follows where it is open and plain no more is for
 * the turn's end.
 */
static slow_path void serve_end(struct np_conn *c, struct conn_io *io)
{
	if (!(c->flags & CONN_USED) && io->was.life && serve_taken(&io->stream)) {
		c->flags |= CONN_USED; /* not fresh any more: conn_drain.c */
		serve_meter_first(conn_poller(c), conn_began_ms(c->began_high, &c->watch));
	}
	if (c->in == CONN_IN_FULL) /* what was put off makes room */
		conn_pump(c, PUMP_ROOM);
	if (io->put_off)
		serve_send_put_off(io);
	serve_leave(io);
	c->inside--;
	if (io->rest)
		serve_queue_rest(io);
	if (!conn_is_plain(c, 0, CONN_LEFT | CONN_MOVES) || c->group->retiring)
		conn_later(c);
	else
		conn_io_shrink(c);
}

static void serve(void *arg)
{
	struct np_conn *c = arg;
	struct conn_io *io = c->io;

	c->inside++;
	io->service = CONN_SERVED;
	io->handler = fiber_self();
	if (likely(conn_is_plain(c, CONN_CONNECTED, CONN_CANCEL)) ? conn_has_enough(io) :
								    serve_connect(c))
		serve_requests(c, io);
	if (unlikely(!conn_is_plain(c, CONN_USED, CONN_LEFT | CONN_MOVES) || c->group->retiring ||
		     io->unusual)) {
		serve_end(c, io);
		return;
	}
	serve_leave(io);
	c->inside--;
	if (unlikely(!io->warm))
		conn_io_shrink(c);
}

void conn_serve(struct np_conn *c, struct conn_io *io)
{
	if (io->service != CONN_UNSERVED)
		return;
	io->service = CONN_QUEUED;
	io->spawn.call.fn = serve;
	io->spawn.call.arg = c;
	poller_begin_fiber(conn_poller(c), &io->spawn);
}

/* A peer that has shut its writing side may wait for its answer still, where half_open says so. */
void conn_cancel_left(struct np_conn *c)
{
	struct fiber *f = c->io ? c->io->handler : NULL;
	bool broken = c->rx_err || (c->watch.flags & (WATCH_HUP | WATCH_ERR));
	bool left = (c->flags & CONN_LEFT) && !(c->flags & CONN_HALF_OPEN);

	if (f && (c->flags & CONN_CANCEL) && (broken || left))
		park_cancel_fiber(f);
}

int np_conn_cancel_on_leave(struct np_conn *c, bool on)
{
	NP_GATE(np_conn_cancel_on_leave(c, on));

	if (conn_life(c) == CONN_GONE)
		return -NP_ECLOSED;
	c->flags = (uint16_t)((c->flags & ~CONN_CANCEL) | (on ? CONN_CANCEL : 0));
	conn_cancel_left(c);
	return 0;
}

struct np_conn *conn_of_service(const void *fn, void *arg)
{
	return fn == serve ? arg : NULL;
}

int conn_fd_of_fiber(const struct fiber *f)
{
	return fiber_fn(f) == serve ? ((struct np_conn *)fiber_arg(f))->watch.fd : -1;
}

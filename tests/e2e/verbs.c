/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * verbs: every verb of netpoll/conn.h in every state of a connection
 *
 * One table says what each returns. A connection that is gone is looked at through a reference;
 * what a verb attached to it then would be found by the assertions of its end, and by a leak
 * checker.
 */
#include <errno.h>
#include <netpoll/conn.h>
#include <netpoll/linkbuf.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "support/peer.h"
#include "support/serve.h"
#include "support/test.h"

/*
 * SHUT: behind shutdown_write; STACK: open and idle, asked on its poller's own stack; LEFT: in
 * on_disconnect; ENDED: gone, since the peer has left
 */
enum { FRESH, OPEN, CLOSING, DETACHED, GONE, SHUT, STACK, LEFT, ENDED, STATES };

static const char *const names[STATES] = { "fresh", "open",  "closing", "detached", "gone",
					   "shut",  "stack", "left",    "ended" };

static struct {
	_Atomic(int) closes, looked, refuse, taken;
	bool looks_when_left;
	_Atomic(struct np_conn *) conn; /* with a reference */
	int file;
	char bad[2048];
	int (*handler)(struct np_conn *, void *);
} saw;

#define LINES 100 /* what a peer sends, each byte is one */

static int n; /* how many bytes a reading verb asks for */

/* ------------------------------------------------------------------ the verbs */

static const void *p;
static size_t got;

static void nothing(struct np_conn *c, void *arg)
{
}

static struct np_linkbuf *message(void)
{
	struct np_linkbuf *b;

	if (np_linkbuf_new(0, &b) < 0 || np_linkbuf_write(b, "m", 1) < 0)
		ck_abort_msg("no memory for a message");
	return b;
}

#define VERB(name, expr)                   \
	static int name(struct np_conn *c) \
	{                                  \
		return (int)(expr);        \
	}

VERB(v_wait, np_conn_wait(c, (size_t)n))
VERB(v_next, np_conn_next(c, (size_t)n, &p))
VERB(v_peek, np_conn_peek(c, (size_t)n, &p))
VERB(v_skip, np_conn_skip(c, (size_t)n))
VERB(v_until, np_conn_until(c, '\n', 1000, &p, &got))
VERB(v_until_str, np_conn_until_str(c, "\n", 1, 1000, &p, &got))
VERB(v_want, np_conn_want(c, 1))
VERB(v_in, np_conn_in(c) ? 1 : 0)
VERB(v_trim, np_conn_trim(c, 0))
VERB(v_printf, np_conn_printf(c, "%c", 'w'))
VERB(v_write, np_conn_write(c, "w", 1))
VERB(v_write_ref, np_conn_write_ref(c, "w", 1, NULL, NULL))
VERB(v_write_direct, np_conn_write_direct(c, "w", 1, 0, NULL, NULL))
VERB(v_out, np_conn_out(c) ? 1 : 0)
VERB(v_say, np_conn_say(c, "s", 1))
VERB(v_flush, np_conn_flush(c))
VERB(v_sync, np_conn_sync(c))
VERB(v_sendfile, np_conn_sendfile(c, saw.file, 0, 1))
VERB(v_pending, np_conn_pending(c))
VERB(v_post, np_conn_post(c, nothing, NULL))
VERB(v_post_none, np_conn_post(c, NULL, NULL))
VERB(v_read_timeout, np_conn_set_read_timeout(c, 60000))
VERB(v_write_timeout, np_conn_set_write_timeout(c, 60000))
VERB(v_read_deadline, np_conn_set_read_deadline(c, 0))
VERB(v_write_deadline, np_conn_set_write_deadline(c, 0))
VERB(v_idle, np_conn_set_idle_timeout(c, 60000))
VERB(v_linger, np_conn_set_linger(c, AWAIT_MS))
VERB(v_keepalive, np_conn_set_keepalive(c, 0, 0, 0))
VERB(v_user_timeout, np_conn_set_user_timeout(c, 0))
VERB(v_nagle, np_conn_set_nagle(c, false))
VERB(v_marks, np_conn_set_limits(c, &(struct np_limits){ .in_high = 1000 }))
VERB(v_on_request, np_conn_set_on_request(c, saw.handler, NULL))
VERB(v_callback, np_conn_add_close_callback(c, nothing, NULL))
VERB(v_callback_none, np_conn_add_close_callback(c, NULL, NULL))
VERB(v_cancel, np_conn_cancel_on_leave(c, false))
VERB(v_request, np_conn_set_request_timeout(c, 60000))
VERB(v_min_rate, np_conn_set_min_rate(c, 0))
VERB(v_fd, np_conn_fd(c) < 0 ? -1 : 0)
VERB(v_poller, np_conn_poller(c))
VERB(v_error, np_conn_error(c))
VERB(v_active, np_conn_is_active(c))

static int v_slice(struct np_conn *c)
{
	struct np_linkbuf *b = NULL;
	int r = np_conn_slice(c, (size_t)n, &b);

	np_linkbuf_free(&b); /* NULL where it was taken */
	return r;
}

static int v_read(struct np_conn *c)
{
	char b[1];

	return (int)np_conn_read(c, b, sizeof b) < 0 ? -NP_ECLOSED : 0;
}

static int v_reserve(struct np_conn *c)
{
	void *w;
	int r = np_conn_reserve(c, 1, &w);

	if (r == 0)
		*(char *)w = 'r';
	return r;
}

static int v_commit(struct np_conn *c)
{
	void *w;
	int r = np_conn_reserve(c, 2, &w);

	if (r == 0)
		*(char *)w = 'c';
	return np_conn_commit(c, 1);
}

static int v_append(struct np_conn *c)
{
	struct np_linkbuf *b = message();
	int r = np_conn_append(c, &b);

	np_linkbuf_free(&b); /* NULL where it was taken */
	return r;
}

static int v_send(struct np_conn *c)
{
	struct np_linkbuf *b = message();
	int r = np_conn_send(c, &b);

	np_linkbuf_free(&b); /* NULL where it was taken */
	return r;
}

static int v_ref(struct np_conn *c)
{
	np_conn_unref(np_conn_ref(c));
	np_conn_hold(c);
	np_conn_unhold(c);
	np_conn_pause_read(c);
	np_conn_resume_read(c);
	np_conn_release(c);
	np_conn_set_data(c, &saw);
	return np_conn_data(c) == &saw ? 0 : -1;
}

static int v_local(struct np_conn *c)
{
	struct sockaddr_storage ss;
	socklen_t len;

	return np_conn_local_addr(c, &ss, &len);
}

static int v_remote(struct np_conn *c)
{
	struct sockaddr_storage ss;
	socklen_t len;

	return np_conn_remote_addr(c, &ss, &len);
}

/* Those that end something: on a connection that is open they are what makes the other columns. */
VERB(v_shutdown, np_conn_shutdown_write(c))
VERB(v_close, np_conn_close(c))
VERB(v_abort, np_conn_abort(c))

static int v_detach(struct np_conn *c)
{
	int fd = -1, r = np_conn_detach(c, &fd, NULL);

	return fd < 0 ? r : -1;
}

#define SKIPPED 99999
#define NOT     (-NP_ENOTOPEN)
#define CLOSED  (-NP_ECLOSED)
#define FIBER   (-NP_ENOTFIBER)
#define SHUTS   (-EPIPE)
#define GOES    (-NP_EEOF)

static const struct {
	const char *name;
	int (*call)(struct np_conn *c);
	int want[STATES];
} verbs[] = {
	/* fresh, open, closing, detached, gone, shut, stack, left, ended */
	{ "wait", v_wait, { NOT, 0, CLOSED, CLOSED, CLOSED, 0, FIBER, GOES, GOES } },
	{ "next", v_next, { NOT, 0, CLOSED, CLOSED, CLOSED, 0, FIBER, GOES, GOES } },
	{ "peek", v_peek, { NOT, 0, CLOSED, CLOSED, CLOSED, 0, FIBER, GOES, GOES } },
	{ "skip", v_skip, { NOT, 0, CLOSED, CLOSED, CLOSED, 0, FIBER, GOES, GOES } },
	{ "until", v_until, { NOT, 0, CLOSED, CLOSED, CLOSED, 0, FIBER, GOES, GOES } },
	{ "until_str", v_until_str, { NOT, 0, CLOSED, CLOSED, CLOSED, 0, FIBER, GOES, GOES } },
	{ "slice", v_slice, { NOT, 0, CLOSED, CLOSED, CLOSED, 0, FIBER, GOES, GOES } },
	{ "read", v_read, { CLOSED, 0, CLOSED, CLOSED, CLOSED, 0, CLOSED, 0, 0 } },
	{ "want", v_want, { NOT, 0, CLOSED, CLOSED, CLOSED, 0, 0, 0, GOES } },
	{ "in", v_in, { 0, 1, SKIPPED, SKIPPED, 0, 1, 1, 1, 0 } },
	{ "reserve", v_reserve, { NOT, 0, CLOSED, CLOSED, CLOSED, SHUTS, 0, 0, CLOSED } },
	{ "commit", v_commit, { NOT, 0, CLOSED, CLOSED, CLOSED, SHUTS, 0, 0, CLOSED } },
	{ "trim", v_trim, { NOT, 0, CLOSED, CLOSED, CLOSED, SHUTS, 0, 0, CLOSED } },
	{ "write", v_write, { NOT, 0, CLOSED, CLOSED, CLOSED, SHUTS, 0, 0, CLOSED } },
	{ "printf", v_printf, { NOT, 0, CLOSED, CLOSED, CLOSED, SHUTS, 0, 0, CLOSED } },
	{ "write_ref", v_write_ref, { NOT, 0, CLOSED, CLOSED, CLOSED, SHUTS, 0, 0, CLOSED } },
	{ "write_direct", v_write_direct, { NOT, 0, CLOSED, CLOSED, CLOSED, SHUTS, 0, 0, CLOSED } },
	{ "append", v_append, { NOT, 0, CLOSED, CLOSED, CLOSED, SHUTS, 0, 0, CLOSED } },
	{ "out", v_out, { 0, 1, 0, 0, 0, 0, 1, 1, 0 } },
	{ "say", v_say, { NOT, 0, CLOSED, CLOSED, CLOSED, SHUTS, 0, 0, CLOSED } },
	{ "flush", v_flush, { NOT, 0, CLOSED, CLOSED, CLOSED, SHUTS, 0, 0, CLOSED } },
	{ "sync", v_sync, { NOT, 0, CLOSED, CLOSED, CLOSED, SHUTS, 0, 0, CLOSED } },
	{ "sendfile", v_sendfile, { NOT, 0, CLOSED, CLOSED, CLOSED, SHUTS, FIBER, FIBER, CLOSED } },
	{ "pending", v_pending, { 0, 0, 0, 0, 0, 0, 0, 0, 0 } },
	{ "send", v_send, { NOT, 0, CLOSED, CLOSED, CLOSED, SHUTS, 0, 0, CLOSED } },
	{ "post no fn",
	  v_post_none,
	  { -EINVAL, -EINVAL, -EINVAL, -EINVAL, -EINVAL, -EINVAL, -EINVAL, -EINVAL, -EINVAL } },
	{ "callback no fn",
	  v_callback_none,
	  { -EINVAL, -EINVAL, -EINVAL, -EINVAL, -EINVAL, -EINVAL, -EINVAL, -EINVAL, -EINVAL } },
	{ "post", v_post, { 0, 0, 0, 0, 0, 0, 0, 0, 0 } },
	{ "references and data", v_ref, { 0, 0, 0, 0, 0, 0, 0, 0, 0 } },
	{ "read timeout", v_read_timeout, { 0, 0, 0, 0, CLOSED, 0, 0, 0, CLOSED } },
	{ "write timeout", v_write_timeout, { 0, 0, 0, 0, CLOSED, 0, 0, 0, CLOSED } },
	{ "read deadline", v_read_deadline, { 0, 0, 0, 0, CLOSED, 0, 0, 0, CLOSED } },
	{ "write deadline", v_write_deadline, { 0, 0, 0, 0, CLOSED, 0, 0, 0, CLOSED } },
	{ "idle timeout", v_idle, { 0, 0, 0, 0, CLOSED, 0, 0, 0, CLOSED } },
	{ "linger", v_linger, { 0, 0, 0, 0, CLOSED, 0, 0, 0, CLOSED } },
	{ "keepalive", v_keepalive, { 0, 0, 0, CLOSED, CLOSED, 0, 0, 0, CLOSED } },
	{ "user timeout", v_user_timeout, { 0, 0, 0, CLOSED, CLOSED, 0, 0, 0, CLOSED } },
	{ "nagle", v_nagle, { 0, 0, 0, CLOSED, CLOSED, 0, 0, 0, CLOSED } },
	{ "limits", v_marks, { 0, 0, 0, CLOSED, CLOSED, 0, 0, 0, CLOSED } },
	{ "on_request", v_on_request, { 0, 0, 0, 0, CLOSED, 0, 0, 0, CLOSED } },
	{ "cancel on leave", v_cancel, { 0, 0, 0, 0, CLOSED, 0, 0, 0, CLOSED } },
	{ "request timeout", v_request, { 0, 0, 0, 0, CLOSED, 0, 0, 0, CLOSED } },
	{ "min rate", v_min_rate, { 0, 0, 0, 0, CLOSED, 0, 0, 0, CLOSED } },
	{ "close callback", v_callback, { 0, 0, CLOSED, CLOSED, CLOSED, 0, 0, 0, CLOSED } },
	{ "fd", v_fd, { 0, 0, 0, -1, -1, 0, 0, 0, -1 } },
	{ "poller", v_poller, { 0, 0, 0, 0, 0, 0, 0, 0, 0 } },
	{ "local address", v_local, { 0, 0, 0, CLOSED, CLOSED, 0, 0, 0, CLOSED } },
	{ "remote address", v_remote, { 0, 0, 0, CLOSED, CLOSED, 0, 0, 0, CLOSED } },
	{ "error", v_error, { 0, 0, CLOSED, CLOSED, CLOSED, 0, 0, GOES, GOES } },
	{ "active", v_active, { 1, 1, 0, 0, 0, 0, 1, 1, 0 } },
	{ "shutdown_write", v_shutdown, { NOT, SKIPPED, 0, 0, 0, 0, SKIPPED, SKIPPED, 0 } },
	{ "detach",
	  v_detach,
	  { NOT, SKIPPED, CLOSED, CLOSED, CLOSED, SKIPPED, SKIPPED, SKIPPED, CLOSED } },
	{ "close", v_close, { SKIPPED, SKIPPED, 0, 0, 0, SKIPPED, SKIPPED, SKIPPED, 0 } },
	{ "abort", v_abort, { SKIPPED, SKIPPED, SKIPPED, 0, 0, SKIPPED, SKIPPED, SKIPPED, 0 } },
};

static void look(struct np_conn *c, int state)
{
	n = state == OPEN || state == SHUT ? 1 : 100;
	for (unsigned i = 0; i < sizeof verbs / sizeof *verbs; i++) {
		size_t used = strlen(saw.bad);
		int r = verbs[i].want[state] == SKIPPED ? SKIPPED : verbs[i].call(c);

		if (r != verbs[i].want[state])
			snprintf(saw.bad + used, sizeof saw.bad - used, "%s, %s: %d, not %d\n",
				 names[state], verbs[i].name, r, verbs[i].want[state]);
	}
	saw.looked |= 1 << state;
}

/* ------------------------------------------------------------------ the states */

static int on_prepare(struct np_conn *c, void *arg)
{
	look(c, FRESH);
	if (!saw.conn)
		saw.conn = np_conn_ref(c);
	return saw.refuse;
}

static int close_and_look(struct np_conn *c, void *arg)
{
	np_conn_wait(c, 64);
	look(c, OPEN);
	np_conn_skip(c, np_conn_len(c));
	np_conn_close(c);
	look(c, CLOSING);
	return 0;
}

static int detached_fd;

static int detach_and_look(struct np_conn *c, void *arg)
{
	np_conn_skip(c, np_conn_len(c));
	ck_assert_int_eq(np_conn_detach(c, &detached_fd, NULL), 0);
	look(c, DETACHED);
	return 0;
}

static int shut_and_look(struct np_conn *c, void *arg)
{
	np_conn_wait(c, 64);
	ck_assert_int_eq(np_conn_shutdown_write(c), 0);
	look(c, SHUT);
	return np_conn_skip(c, np_conn_len(c));
}

static int take_all(struct np_conn *c, void *arg)
{
	int r = np_conn_skip(c, LINES);

	saw.taken += r == 0;
	return r;
}

static void look_on_the_stack(struct np_conn *c, void *arg)
{
	look(c, STACK);
}

static void on_disconnect(struct np_conn *c, void *arg)
{
	if (saw.looks_when_left)
		look(c, LEFT);
}

static void on_close(struct np_conn *c, void *arg)
{
	saw.closes++;
}

static void look_when_gone(struct np_conn *c, void *arg)
{
	look(c, *(int *)arg);
}

/* The states that a handler has not seen; then the last reference goes, on this thread. */
static void end(int *fd, int states)
{
	int gone = states & 1 << ENDED ? ENDED : GONE;
	int r = np_conn_post(saw.conn, look_when_gone, &gone);

	ck_assert_int_eq(r, 0);
	AWAIT(saw.looked == states);
	ck_assert_msg(!saw.bad[0], "\n%s", saw.bad);
	np_conn_unref(saw.conn);
	close(saw.file);
	peer_close(fd);
	serve_end();
}

static struct np_handlers h;

static void given(int (*on_request)(struct np_conn *, void *))
{
	h = (struct np_handlers){ .sz = sizeof h,
				  .on_prepare = on_prepare,
				  .on_request = on_request,
				  .on_disconnect = on_disconnect,
				  .on_close = on_close };
	saw.handler = on_request;
	serve(1, &h, NULL, NULL);
	saw.file = memfd_create("verbs", MFD_CLOEXEC);
	ck_assert_int_eq((int)write(saw.file, "f", 1), 1);
}

static int asked(void)
{
	static char lines[LINES];
	int fd = serve_connect(0);

	memset(lines, '\n', sizeof lines);
	peer_send(fd, lines, sizeof lines);
	return fd;
}

START_TEST(every_verb_answers_by_the_table_until_a_closed_connection_is_gone)
{
	int fd;

	given(close_and_look);
	fd = asked();
	peer_drain(fd);
	shutdown(fd, SHUT_WR);
	AWAIT(saw.closes == 1);
	end(&fd, 1 << FRESH | 1 << OPEN | 1 << CLOSING | 1 << GONE);
}
END_TEST

START_TEST(and_until_a_detached_one_is)
{
	int fd;

	given(detach_and_look);
	fd = asked();
	AWAIT(saw.closes == 1);
	ck_assert_int_eq((int)write(detached_fd, "mine", 4), 4);
	close(detached_fd);
	end(&fd, 1 << FRESH | 1 << DETACHED | 1 << GONE);
}
END_TEST

START_TEST(and_until_one_whose_output_has_ended_is)
{
	int fd;

	given(shut_and_look);
	fd = asked();
	peer_expect_eof(fd);
	shutdown(fd, SHUT_WR);
	AWAIT(saw.closes == 1);
	end(&fd, 1 << FRESH | 1 << SHUT | 1 << ENDED);
}
END_TEST

/* What needs no wait is done there. */
START_TEST(and_of_an_idle_one_on_the_stack_of_its_poller)
{
	int fd;

	given(take_all);
	fd = asked();
	AWAIT(saw.taken);
	ck_assert_int_eq(np_conn_post(saw.conn, look_on_the_stack, NULL), 0);
	AWAIT(saw.looked & 1 << STACK);
	shutdown(fd, SHUT_WR);
	peer_drain(fd);
	AWAIT(saw.closes == 1);
	end(&fd, 1 << FRESH | 1 << STACK | 1 << ENDED);
}
END_TEST

START_TEST(and_where_its_peer_has_left)
{
	int fd;

	saw.looks_when_left = true;
	given(take_all);
	fd = asked();
	AWAIT(saw.taken);
	shutdown(fd, SHUT_WR);
	peer_drain(fd);
	AWAIT(saw.closes == 1);
	end(&fd, 1 << FRESH | 1 << LEFT | 1 << ENDED);
}
END_TEST

START_TEST(one_that_on_prepare_refuses_is_gone_and_its_reference_good)
{
	int fd;

	given(close_and_look);
	saw.refuse = 1;
	fd = asked();
	peer_drain(fd);
	AWAIT(saw.conn);
	end(&fd, 1 << FRESH | 1 << GONE);
	ck_assert_int_eq(saw.closes, 0);
}
END_TEST

/*
 * ------------------------------------------------------------------ ends that begin in on_prepare
 */

static int ended_in_prepare(struct np_conn *c, void *arg)
{
	if (!saw.conn)
		saw.conn = np_conn_ref(c);
	np_conn_set_idle_timeout(c, 10);
	if (*(const char *)arg == 'a')
		np_conn_abort(c);
	np_conn_close(c);
	saw.looked++;
	return saw.refuse;
}

static int never(struct np_conn *c, void *arg)
{
	ck_abort_msg("a handler of a connection that on_prepare had ended");
}

static int given_one_ended_in_prepare(const char *how, int refuse)
{
	h = (struct np_handlers){ .sz = sizeof h,
				  .on_prepare = ended_in_prepare,
				  .on_connect = never,
				  .on_request = never,
				  .on_close = on_close };
	saw.refuse = refuse;
	serve(1, &h, (void *)(uintptr_t)how, NP_OPTS(np_server_opts, .linger_ms = 20));
	return serve_connect(0);
}

static int last_read(int fd)
{
	char c;

	return recv(fd, &c, 1, 0) == 0 ? 0 : errno;
}

/*
 * The timer of its linger must not stay armed on memory that is given back; the next connection
 * takes the same.
 */
START_TEST(closed_and_refused_in_on_prepare_leaves_nothing_behind)
{
	int fd = given_one_ended_in_prepare("close", 1), again;

	ck_assert_int_eq(last_read(fd), 0);
	peer_close(&fd);
	np_conn_unref(saw.conn);
	for (int i = 0; i < 20; i++) {
		again = serve_connect(0);
		ck_assert_int_eq(last_read(again), 0);
		peer_close(&again);
	}
	AWAIT(saw.looked == 21);
	ck_assert_int_eq(saw.closes, 0);
	serve_end();
}
END_TEST

START_TEST(closed_in_on_prepare_ends_with_fin_and_on_close_alone)
{
	int fd = given_one_ended_in_prepare("close", 0);

	ck_assert_int_eq(last_read(fd), 0);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(np_conn_error(saw.conn), -NP_ECLOSED);
	np_conn_unref(saw.conn);
	serve_end();
}
END_TEST

START_TEST(aborted_in_on_prepare_ends_with_rst_and_on_close_alone)
{
	int fd = given_one_ended_in_prepare("abort", 0);

	ck_assert_int_eq(last_read(fd), ECONNRESET);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	np_conn_unref(saw.conn);
	serve_end();
}
END_TEST

/*
 * ------------------------------------------------------------------ what is not the caller's to
 * give
 */

static int send_what_is_not_its_own(struct np_conn *c, void *arg)
{
	struct np_linkbuf *in = np_conn_in(c), *out = np_conn_out(c), *none = NULL;
	int bad = 0;

	np_conn_skip(c, np_conn_len(c));
	np_conn_write(c, "intact", 6);
	bad += np_conn_send(c, &in) != -EINVAL || in != np_conn_in(c);
	bad += np_conn_send(c, &out) != -EINVAL || out != np_conn_out(c);
	bad += np_conn_send(c, &none) != -EINVAL;
	saw.looked = 1 + bad;
	return np_conn_flush(c);
}

START_TEST(send_refuses_the_buffers_of_a_connection)
{
	char b[6];
	int fd;

	h = (struct np_handlers){ .sz = sizeof h, .on_request = send_what_is_not_its_own };
	serve(1, &h, NULL, NULL);
	fd = serve_connect(0);
	peer_send(fd, "?", 1);
	peer_recv(fd, b, 6);
	ck_assert_mem_eq(b, "intact", 6);
	ck_assert_int_eq(saw.looked, 1);
	peer_close(&fd);
	serve_end();
}
END_TEST

#define LARGE (8u << 20) /* more than the kernel takes at once: its rest is submitted and unsent */
static char large[LARGE];

/* The one it asks first has an output of which a part is submitted, and a part is being built. */
static int append_what_is_not_its_own(struct np_conn *c, void *arg)
{
	struct np_linkbuf *other, *b;
	int bad = 0;

	np_conn_skip(c, np_conn_len(c));
	if (!saw.conn) {
		saw.conn = np_conn_ref(c);
		return np_conn_write_ref(c, large, LARGE, NULL, NULL) || np_conn_flush(c) ||
		       np_conn_write(c, "built", 5);
	}
	other = np_conn_out(saw.conn);
	bad += np_linkbuf_new(0, &b) != 0;
	bad += np_conn_append(c, &other) != -EINVAL || other != np_conn_out(saw.conn);
	bad += np_linkbuf_append(np_conn_out(c), &other) != -EINVAL ||
	       other != np_conn_out(saw.conn);
	bad += np_linkbuf_append(b, &other) != -EINVAL || other != np_conn_out(saw.conn);
	other = np_conn_out(c);
	bad += np_conn_append(c, &other) != -EINVAL || other != np_conn_out(c);
	np_linkbuf_free(&b);
	other = np_conn_out(saw.conn);
	np_linkbuf_free(&other);
	bad += other != np_conn_out(saw.conn);
	bad += np_conn_flush(saw.conn) != 0;
	saw.looked = 1 + bad;
	return np_conn_write(c, "intact", 6) || np_conn_flush(c);
}

START_TEST(append_and_free_leave_the_output_of_a_connection_alone)
{
	static char back[LARGE + 5];
	int fd, other;

	h = (struct np_handlers){ .sz = sizeof h, .on_request = append_what_is_not_its_own };
	for (size_t i = 0; i < LARGE; i++)
		large[i] = (char)(i % 251);
	serve(1, &h, NULL, NP_OPTS(np_server_opts, .limits.out_high = 2 * LARGE));
	fd = serve_connect(0);
	peer_send(fd, "?", 1);
	AWAIT(saw.conn);
	other = serve_connect(0);
	peer_send(other, "?", 1);
	peer_recv(other, back, 6);
	ck_assert_mem_eq(back, "intact", 6);
	ck_assert_int_eq(saw.looked, 1);
	peer_recv(fd, back, sizeof back);
	ck_assert(!memcmp(back, large, LARGE) && !memcmp(back + LARGE, "built", 5));
	np_conn_unref(saw.conn);
	peer_close(&fd);
	peer_close(&other);
	serve_end();
}
END_TEST

static int wait_for_more(struct np_conn *c, void *arg)
{
	saw.conn = np_conn_ref(c);
	return np_conn_until(c, '\n', 100, &p, &got);
}

static void look_at_the_input(struct np_conn *c, void *arg)
{
	saw.looked = np_conn_in(c) ? 2 : 1;
}

/* np_conn_until() remembers where it has searched. */
START_TEST(the_input_that_a_fiber_waits_for_is_nobody_elses)
{
	int fd;

	h = (struct np_handlers){ .sz = sizeof h, .on_request = wait_for_more };
	serve(1, &h, NULL, NULL);
	fd = serve_connect(0);
	peer_send(fd, "half", 4);
	AWAIT(saw.conn);
	ck_assert_int_eq(np_conn_post(saw.conn, look_at_the_input, NULL), 0);
	AWAIT(saw.looked);
	ck_assert_int_eq(saw.looked, 1);
	np_conn_unref(saw.conn);
	peer_close(&fd);
	serve_end();
}
END_TEST

/* An idle connection has no input at all, not even an empty one. */
static int take_the_line(struct np_conn *c, void *arg)
{
	int r = np_conn_until(c, '\n', 100, &p, &got);

	if (r == 0)
		r = np_conn_write(c, p, got);
	saw.conn = np_conn_ref(c);
	return r == 0 ? np_conn_flush(c) : r;
}

static void ask_for_nothing(struct np_conn *c, void *arg)
{
	const void *next = NULL, *peeked = NULL;
	struct np_linkbuf *b = NULL;
	char none;

	saw.refuse = np_conn_next(c, 0, &next) || np_conn_peek(c, 0, &peeked) ||
		     np_conn_skip(c, 0) || np_conn_wait(c, 0) || np_conn_read(c, &none, 0) ||
		     np_conn_slice(c, 0, &b) || !next || !peeked || !b;
	np_linkbuf_free(&b);
	saw.looked = 1;
}

START_TEST(no_bytes_at_all_can_be_read_of_an_idle_connection)
{
	char back;
	int fd;

	h = (struct np_handlers){ .sz = sizeof h, .on_request = take_the_line };
	serve(1, &h, NULL, NULL);
	fd = serve_connect(0);
	peer_send(fd, "\n", 1);
	peer_recv(fd, &back, 1);
	AWAIT(saw.conn);
	ck_assert_int_eq(np_conn_post(saw.conn, ask_for_nothing, NULL), 0);
	AWAIT(saw.looked);
	ck_assert_int_eq(saw.refuse, 0);
	np_conn_unref(saw.conn);
	peer_close(&fd);
	serve_end();
}
END_TEST

/*
 * ------------------------------------------------------------------ behind an end
 */

static int sent(struct np_conn *c)
{
	struct np_linkbuf *b = message();
	int r = np_conn_send(c, &b);

	if (r < 0 && !b)
		ck_abort_msg("what was refused is gone");
	np_linkbuf_free(&b);
	return r;
}

/* Its thread is kept, so what others ask of the connection has not arrived. */
static int keep_the_thread(struct np_conn *c, void *arg)
{
	np_conn_skip(c, np_conn_len(c));
	saw.conn = np_conn_ref(c);
	AWAIT(saw.looked);
	return 0;
}

static int given_a_kept_thread(void)
{
	int fd;

	h = (struct np_handlers){ .sz = sizeof h, .on_request = keep_the_thread };
	serve(1, &h, NULL, NULL);
	fd = serve_connect(0);
	peer_send(fd, "?", 1);
	AWAIT(saw.conn);
	return fd;
}

START_TEST(a_send_behind_shutdown_write_is_refused_though_that_is_still_on_its_way)
{
	char last;
	int fd = given_a_kept_thread();

	ck_assert_int_eq(sent(saw.conn), 0);
	ck_assert_int_eq(np_conn_shutdown_write(saw.conn), 0);
	ck_assert_int_eq(sent(saw.conn), -EPIPE);
	saw.looked = 1;
	peer_recv(fd, &last, 1);
	peer_expect_eof(fd);
	ck_assert_int_eq(sent(saw.conn), -EPIPE);
	np_conn_unref(saw.conn);
	peer_close(&fd);
	serve_end();
}
END_TEST

START_TEST(and_behind_a_close)
{
	char last;
	int fd = given_a_kept_thread();

	ck_assert_int_eq(sent(saw.conn), 0);
	ck_assert_int_eq(np_conn_close(saw.conn), 0);
	ck_assert_int_eq(sent(saw.conn), -NP_ECLOSED);
	saw.looked = 1;
	peer_recv(fd, &last, 1);
	peer_expect_eof(fd);
	np_conn_unref(saw.conn);
	peer_close(&fd);
	serve_end();
}
END_TEST

static int shut_and_send(struct np_conn *c, void *arg)
{
	np_conn_skip(c, np_conn_len(c));
	saw.refuse = np_conn_shutdown_write(c) == 0 ? sent(c) : 1;
	saw.looked = 1;
	return 0;
}

START_TEST(and_where_its_own_handler_was_first)
{
	int fd;

	h = (struct np_handlers){ .sz = sizeof h, .on_request = shut_and_send };
	serve(1, &h, NULL, NULL);
	fd = serve_connect(0);
	peer_send(fd, "?", 1);
	peer_expect_eof(fd);
	AWAIT(saw.looked);
	ck_assert_int_eq(saw.refuse, -EPIPE);
	peer_close(&fd);
	serve_end();
}
END_TEST

/* The first one is closed, and the second takes what it had. */
static int forward_from_the_first(struct np_conn *c, void *arg)
{
	np_conn_skip(c, np_conn_len(c));
	if (!saw.conn) {
		saw.conn = np_conn_ref(c);
		return np_conn_close(c);
	}
	saw.refuse = np_conn_forward(saw.conn, c);
	saw.looked = 1;
	return 0;
}

START_TEST(nothing_is_forwarded_from_one_that_is_gone_and_that_is_said)
{
	int fd, other;

	h = (struct np_handlers){ .sz = sizeof h,
				  .on_request = forward_from_the_first,
				  .on_close = on_close };
	serve(1, &h, NULL, NULL);
	fd = serve_connect(0);
	peer_send(fd, "?", 1);
	peer_expect_eof(fd);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	other = serve_connect(0);
	peer_send(other, "?", 1);
	AWAIT(saw.looked);
	ck_assert_int_eq(saw.refuse, -NP_ECLOSED);
	np_conn_unref(saw.conn);
	peer_close(&other);
	serve_end();
}
END_TEST

/* ------------------------------------------------------------------ main */

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "table");

	tcase_add_test(t, every_verb_answers_by_the_table_until_a_closed_connection_is_gone);
	tcase_add_test(t, and_until_a_detached_one_is);
	tcase_add_test(t, and_until_one_whose_output_has_ended_is);
	tcase_add_test(t, and_of_an_idle_one_on_the_stack_of_its_poller);
	tcase_add_test(t, and_where_its_peer_has_left);
	tcase_add_test(t, one_that_on_prepare_refuses_is_gone_and_its_reference_good);
	t = add_case(s, "prepare");
	tcase_add_test(t, closed_and_refused_in_on_prepare_leaves_nothing_behind);
	tcase_add_test(t, closed_in_on_prepare_ends_with_fin_and_on_close_alone);
	tcase_add_test(t, aborted_in_on_prepare_ends_with_rst_and_on_close_alone);
	t = add_case(s, "buffers");
	tcase_add_test(t, send_refuses_the_buffers_of_a_connection);
	tcase_add_test(t, append_and_free_leave_the_output_of_a_connection_alone);
	tcase_add_test(t, the_input_that_a_fiber_waits_for_is_nobody_elses);
	tcase_add_test(t, no_bytes_at_all_can_be_read_of_an_idle_connection);
	t = add_case(s, "ends");
	tcase_add_test(t, a_send_behind_shutdown_write_is_refused_though_that_is_still_on_its_way);
	tcase_add_test(t, and_behind_a_close);
	tcase_add_test(t, and_where_its_own_handler_was_first);
	tcase_add_test(t, nothing_is_forwarded_from_one_that_is_gone_and_that_is_said);
}

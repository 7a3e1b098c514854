/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ends: {ways to end} x {states of the input} x {what is out}: the bytes that the peer gets, then
 * FIN or RST
 *
 * The table is that of netpoll/conn.h. All cases of a test are connections of one server at one
 * time. The handler builds its case up, waits for the word, and ends it. Peers either read from the
 * word on, or not before on_close: then part of a large output is lost.
 */
#include <errno.h>
#include <netpoll/conn.h>
#include <netpoll/pollers.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "support/peer.h"
#include "support/serve.h"
#include "support/test.h"

#define SMALL        1000u
#define LARGE        (16u << 20) /* more than all buffers of the kernel on a way */
#define IN_HIGH      4096u
#define MEMORY       (4u << 20) /* memory_max, and less than one stalled output of its test */
#define INT_MAX_RATE (1 << 30)

enum way {
	CLOSE,
	FAIL,
	IDLE,
	REQUEST,
	TIMED_OUT,
	ABORT,
	FILE_CLOSED,
	FILE_SHORT,
	PEER_FIN,
	PEER_RST,
	DETACH,
	REPLACED,
	STOPPED,
	STOPPED_INSIDE,
	FORCED,
	MEMORY_MAX,
	WAYS
};
enum input { EMPTY, UNREAD, FULL, PAUSED, INPUTS };
/* nothing; small; large and read; large and not read */
enum output { NONE, ALL, TAKEN, STALLED, OUTPUTS };

static const char *const way_names[] = {
	"close",         "handler < 0",  "idle",         "request timeout",
	"write timeout", "abort",        "file, closed", "file too short",
	"peer's FIN",    "peer's RST",   "detach",       "new handler < 0",
	"stop",          "stop, inside", "forced stop",  "memory_max"
};
static const char *const input_names[] = { "empty", "unread", "full", "paused" };
static const char *const output_names[] = { "no output", "all out", "large, taken",
					    "large, stalled" };

struct end {
	enum way way;
	enum input input;
	enum output output;
	int fd, detached;
	_Atomic(bool) ready, closed, left;
	_Atomic(int) why;
	struct np_conn *conn; /* with a reference, of REPLACED */
	size_t got;
	int last; /* of the peer's reads: 0 FIN, or an errno */
	bool over;
};

static struct end ends[WAYS * INPUTS * OUTPUTS];
static int n_ends;
static _Atomic(bool) go;
static char *large;
static int whole_file, short_file; /* of LARGE and of twice SMALL bytes, the beginning of large */

static size_t size_of(const struct end *e)
{
	return e->output == NONE ? 0 : e->output == ALL ? SMALL : LARGE;
}

/* ------------------------------------------------------------------ memory that cannot be had */

static __thread bool no_memory;

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1
#endif
#endif
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && defined(__GLIBC__)
extern void *__libc_malloc(size_t n);

void *malloc(size_t n)
{
	return no_memory ? NULL : __libc_malloc(n);
}
#endif

/* ------------------------------------------------------------------ the table */

/*
 * A write timeout, and memory_max here, need a peer that does not read; what follows a file or a
 * detach has to be out; a FIN that is not read, for input is paused, ends nothing.
 */
static bool makes_sense(const struct end *e)
{
	switch (e->way) {
	case TIMED_OUT:
	case MEMORY_MAX:
		return e->output == STALLED;
	case FILE_CLOSED:
	case FILE_SHORT:
	case DETACH:
		return e->output == NONE || e->output == ALL;
	case PEER_FIN:
		return e->input != PAUSED && e->output != STALLED;
	case REPLACED:
		return e->input == UNREAD || e->input == FULL;
	case PEER_RST:
	case FORCED:
		return e->output != TAKEN;
	default:
		return true;
	}
}

/* Its handler has returned when it ends. */
static bool ends_outside(const struct end *e)
{
	return e->way == PEER_FIN || e->way == PEER_RST || e->way == REPLACED || e->way == STOPPED;
}

/*
 * What is left unread is a request; with nothing left, the one that ends is a second one, read and
 * not answered.
 */
static bool asks_twice(const struct end *e)
{
	return e->way == REQUEST && (e->input == EMPTY || e->input == PAUSED);
}

static bool expects_reset(const struct end *e)
{
	return e->output == STALLED || e->way == ABORT || e->way == FORCED ||
	       e->way == FILE_CLOSED || e->way == FILE_SHORT;
}

static bool expects_all(const struct end *e)
{
	return !expects_reset(e);
}

static size_t expected_bytes(const struct end *e)
{
	return size_of(e) + (e->way == DETACH); /* one more by the new owner */
}

static int expected_why(const struct end *e)
{
	switch (e->way) {
	case FAIL:
	case REPLACED:
		return -EPROTO;
	case IDLE:
	case REQUEST:
		return -ETIMEDOUT;
	case TIMED_OUT:
		return -NP_EWRITETIMEOUT;
	case CLOSE:
	case STOPPED:
	case STOPPED_INSIDE:
		return e->output == STALLED ? -NP_EWRITETIMEOUT : -NP_ECLOSED;
	case FILE_SHORT:
		return -ENODATA;
	case MEMORY_MAX:
		return -ENOBUFS;
	case PEER_FIN:
		return -NP_EEOF;
	case PEER_RST:
		return -ECONNRESET;
	default:
		return -NP_ECLOSED;
	}
}

/* ------------------------------------------------------------------ this side */

static int stay_inside(struct np_conn *c)
{
	int r = 0;

	while (r == 0 && !np_conn_error(c))
		r = np_sleep(10);
	return r;
}

static void close_it(struct np_conn *c, void *arg)
{
	np_conn_close(c);
}

static int detach(struct np_conn *c, struct end *e)
{
	int r = np_conn_detach(c, &e->detached, NULL);

	if (r == 0 && write(e->detached, large + size_of(e), 1) != 1)
		r = -errno;
	if (r == 0 && shutdown(e->detached, SHUT_WR) < 0)
		r = -errno;
	return r;
}

static int end_it(struct np_conn *c, struct end *e)
{
	switch (e->way) {
	case CLOSE:
		return np_conn_close(c);
	case FAIL:
		return -EPROTO;
	case IDLE:
		return np_conn_set_idle_timeout(c, 50);
	case REQUEST:
		return np_conn_set_request_timeout(c, 50);
	case TIMED_OUT:
		np_conn_set_write_timeout(c, 50);
		return np_conn_sync(c);
	case ABORT:
		return np_conn_abort(c);
	case FILE_CLOSED:
		np_conn_post(c, close_it, NULL);
		return np_conn_sendfile(c, whole_file, (off_t)size_of(e), LARGE - size_of(e));
	case FILE_SHORT:
		return np_conn_sendfile(c, short_file, (off_t)size_of(e), LARGE);
	case DETACH:
		return detach(c, e);
	case STOPPED_INSIDE:
		return 0;
	case FORCED:
	case MEMORY_MAX:
		return stay_inside(c);
	default:
		return -EINVAL;
	}
}

/* References are no memory of ours. */
static int write_copies(struct np_conn *c)
{
	int small = 65536;

	setsockopt(np_conn_fd(c), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
	return np_conn_write(c, large, 2 * MEMORY);
}

/* The rest of the input stays unread, but for a second request. */
static int again(struct np_conn *c, const struct end *e)
{
	int r;

	if (!asks_twice(e))
		return 0;
	r = np_conn_skip(c, np_conn_len(c));
	if (e->input == PAUSED)
		np_conn_pause_read(c);
	return r < 0 ? r : stay_inside(c);
}

static int on_request(struct np_conn *c, void *arg)
{
	const unsigned char *index;
	struct end *e;
	int r;

	if (np_conn_data(c))
		return again(c, np_conn_data(c));
	r = np_conn_next(c, 1, (const void **)&index);
	if (r < 0)
		return r;
	e = &ends[*index];
	np_conn_set_data(c, e);
	if (e->way == REPLACED) {
		/* so that a later one needs no memory */
		np_conn_set_on_request(c, on_request, NULL);
		e->conn = np_conn_ref(c);
	}
	if (e->input == PAUSED && !asks_twice(e))
		np_conn_pause_read(c);
	if (e->way == MEMORY_MAX)
		r = write_copies(c);
	else if (size_of(e))
		r = np_conn_write_ref(c, large, size_of(e), NULL, NULL);
	if (r == 0)
		r = np_conn_flush(c);
	if (asks_twice(e) && r == 0)
		r = end_it(c, e);
	e->ready = true;
	if (ends_outside(e) || asks_twice(e))
		return r;
	while (!go)
		np_sleep(1);
	return r < 0 ? r : end_it(c, e);
}

static void on_disconnect(struct np_conn *c, void *arg)
{
	struct end *e = np_conn_data(c);

	if (e)
		e->left = true;
}

static void on_close(struct np_conn *c, void *arg)
{
	struct end *e = np_conn_data(c);

	if (!e)
		return;
	e->why = np_conn_error(c);
	e->closed = true;
}

/* ------------------------------------------------------------------ the other side */

static void begin(struct end *e)
{
	static const size_t more[INPUTS] = { 0, 100, 8 * IN_HIGH, 100 };
	static char rest[8 * IN_HIGH];
	unsigned char index = (unsigned char)(e - ends);

	e->fd = serve_connect(0);
	peer_send(e->fd, &index, 1);
	if (e->input == PAUSED)
		AWAIT(e->ready);
	if (!asks_twice(e))
		peer_send(e->fd, rest, more[e->input]);
}

static int request_fails(struct np_conn *c, void *arg)
{
	return -EPROTO;
}

/* Its fiber begins when this one has ended, and takes no memory for that. */
static int replace_handler(void *arg)
{
	struct np_conn *c = arg;
	int r;

	no_memory = true;
	r = np_conn_set_on_request(c, request_fails, NULL);
	no_memory = false;
	np_conn_unref(c);
	return r;
}

static void replace(struct end *e)
{
	struct np_task *t = NULL;
	int r = -1;

	ck_assert_int_eq(np_go(pollers, np_conn_poller(e->conn), replace_handler, e->conn, &t), 0);
	ck_assert_int_eq(np_join(&t, &r), 0);
	ck_assert_int_eq(r, 0);
}

static void leave(struct end *e)
{
	if (e->way == REPLACED)
		replace(e);
	if (asks_twice(e))
		peer_send(e->fd, "?", 1);
	if (e->way == PEER_FIN)
		shutdown(e->fd, SHUT_WR);
	if (e->way != PEER_RST)
		return;
	peer_reset(&e->fd);
	e->last = ECONNRESET;
	e->got = size_of(e);
	e->over = true;
}

/* Some of what there is, until the end: no peer keeps the others from their turn. */
static void read_on(struct end *e)
{
	static char got[256 * 1024];
	size_t turn = sizeof got;
	ssize_t n;

	while (turn && (n = recv(e->fd, got, turn, MSG_DONTWAIT)) > 0) {
		if (e->got + (size_t)n > LARGE || memcmp(got, large + e->got, (size_t)n))
			ck_abort_msg("not the bytes that were sent");
		e->got += (size_t)n;
		turn -= (size_t)n;
	}
	if (!turn || (n < 0 && errno == EAGAIN))
		return;
	e->last = n < 0 ? errno : 0;
	e->over = true;
	peer_close(&e->fd);
}

static bool all_over(void)
{
	bool over = true;

	for (int i = 0; i < n_ends; i++) {
		struct end *e = &ends[i];

		if (!e->over && ((e->output != STALLED && e->way != FILE_CLOSED) || e->closed))
			read_on(e);
		over &= e->over && e->closed;
	}
	return over;
}

static bool is_right(const struct end *e)
{
	bool reset = e->last == ECONNRESET, left = e->way == PEER_FIN || e->way == PEER_RST;

	if (e->why != expected_why(e) || e->left != left || (e->last && !reset))
		return false;
	if (e->way == PEER_RST)
		return true;
	return reset == expects_reset(e) && (!expects_all(e) || e->got == expected_bytes(e));
}

static int wrong(const struct end *e)
{
	if (is_right(e))
		return 0;
	fprintf(stderr,
		"%s, input %s, %s: %zu of %zu bytes, then %s; np_conn_error() %d, not %d%s\n",
		way_names[e->way], input_names[e->input], output_names[e->output], e->got,
		expected_bytes(e), e->last ? strerror(e->last) : "FIN", e->why, expected_why(e),
		e->left ? "; on_disconnect" : "");
	return 1;
}

/* ------------------------------------------------------------------ given, when, then */

static int file_of(size_t n)
{
	int fd = memfd_create("ends", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq((int)write(fd, large, n), (int)n);
	return fd;
}

static void given_rows(enum way from, enum way to)
{
	struct end e = { .detached = -1 };

	for (e.way = from; e.way <= to; e.way++)
		for (e.input = 0; e.input < INPUTS; e.input++)
			for (e.output = 0; e.output < OUTPUTS; e.output++)
				if (makes_sense(&e))
					memcpy(&ends[n_ends++], &e, sizeof e);
	large = malloc(LARGE);
	for (size_t i = 0; i < LARGE; i++)
		large[i] = (char)(i * 7 + (i >> 12));
	whole_file = file_of(LARGE);
	short_file = file_of(2 * SMALL);
}

static void given_connections(const struct np_server_opts *o)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_request = on_request,
					      .on_disconnect = on_disconnect,
					      .on_close = on_close };

	serve(2, &h, NULL, o);
	for (int i = 0; i < n_ends; i++)
		begin(&ends[i]);
	for (int i = 0; i < n_ends; i++)
		AWAIT(ends[i].ready);
}

static void the_table_holds(void)
{
	struct np_server_stats st = { .sz = sizeof st };
	int bad = 0, stalled = 0;

	AWAIT(all_over());
	for (int i = 0; i < n_ends; i++) {
		bad += wrong(&ends[i]);
		stalled += ends[i].output == STALLED;
	}
	ck_assert_int_eq(bad, 0);
	AWAIT(serve_conns() == 0);
	ck_assert_int_eq(np_server_stats(serve_server, &st), 0);
	ck_assert_uint_ge(st.cut, (unsigned)stalled);
}

static void end(void)
{
	for (int i = 0; i < n_ends; i++)
		if (ends[i].detached >= 0)
			close(ends[i].detached);
	serve_end();
	close(whole_file);
	close(short_file);
	free(large);
}

#define OPTS .limits.in_high = IN_HIGH, .limits.out_high = 2 * LARGE, .min_rate = INT_MAX_RATE

START_TEST(the_peer_gets_what_the_table_says_and_np_conn_error_too)
{
	given_rows(CLOSE, REPLACED);
	given_connections(NP_OPTS(np_server_opts, OPTS, .linger_ms = under_tsan() ? 6000 : 1500));
	go = true;
	for (int i = 0; i < n_ends; i++)
		leave(&ends[i]);
	the_table_holds();
	end();
}
END_TEST

static void on_stopped(void *arg, int result, unsigned forced)
{
	*(_Atomic(int) *)arg = result == 0 && forced == 0 ? 1 : -1;
}

START_TEST(a_stop_delivers_what_a_close_delivers)
{
	_Atomic(int) stopped = 0;

	given_rows(STOPPED, STOPPED_INSIDE);
	given_connections(NP_OPTS(np_server_opts, OPTS, .linger_ms = under_tsan() ? 6000 : 1500,
				  .fresh_ms = 1, .drain_ms = 1));
	ck_assert_int_eq(np_server_stop_async(serve_server, AWAIT_MS, on_stopped, &stopped), 0);
	go = true;
	the_table_holds();
	AWAIT(stopped);
	ck_assert_int_eq(stopped, 1);
	end();
}
END_TEST

START_TEST(a_forced_stop_resets)
{
	unsigned forced = 0;

	given_rows(FORCED, FORCED);
	given_connections(NP_OPTS(np_server_opts, OPTS));
	go = true;
	ck_assert_int_eq(np_server_stop(serve_server, 50, &forced), 0);
	ck_assert_uint_eq(forced, (unsigned)n_ends);
	the_table_holds();
	end();
}
END_TEST

/* Each one alone holds more than the bound. */
START_TEST(memory_max_resets)
{
	given_rows(MEMORY_MAX, MEMORY_MAX);
	given_connections(NP_OPTS(np_server_opts, OPTS, .memory_max = MEMORY));
	go = true;
	the_table_holds();
	end();
}
END_TEST

/* ------------------------------------------------------------------ refused */

static _Atomic(struct np_conn *) refused; /* with a reference */
static _Atomic(int) told, refused_why;

/* On its poller, so behind its end. */
static void note_why(struct np_conn *c, void *arg)
{
	refused_why = np_conn_error(c);
}

static void on_tell(struct np_conn *c, void *arg)
{
	told++;
}

static int refuse(struct np_conn *c, void *arg)
{
	uint64_t until = now_ms() + AWAIT_MS;
	int want = *(int *)arg, n = 0;

	while (n < want && now_ms() < until)
		ioctl(np_conn_fd(c), FIONREAD, &n);
	refused = np_conn_ref(c);
	return 1;
}

static void given_refused(int bytes, int *ret_fd)
{
	static const struct np_handlers h = {
		.sz = sizeof h, .on_prepare = refuse, .on_disconnect = on_tell, .on_close = on_tell
	};

	serve(1, &h, &bytes, NULL);
	*ret_fd = serve_connect(0);
	peer_send(*ret_fd, "?", (size_t)bytes);
	AWAIT(refused);
}

START_TEST(a_refusal_is_seen_as_fin_or_as_rst_where_input_is_unread)
{
	int fd, r;
	char c;

	given_refused(_i, &fd);
	r = (int)recv(fd, &c, 1, 0);
	ck_assert_int_eq(r < 0 ? errno : r, _i ? ECONNRESET : 0);
	ck_assert_int_eq(np_conn_post(refused, note_why, NULL), 0);
	AWAIT(refused_why);
	ck_assert_int_eq(refused_why, -NP_ECLOSED);
	AWAIT(serve_conns() == 0);
	ck_assert_int_eq(told, 0);
	np_conn_unref(refused);
	peer_close(&fd);
	serve_end();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "table");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, the_peer_gets_what_the_table_says_and_np_conn_error_too);
	tcase_add_test(t, a_stop_delivers_what_a_close_delivers);
	tcase_add_test(t, a_forced_stop_resets);
	tcase_add_test(t, memory_max_resets);
	tcase_add_loop_test(t, a_refusal_is_seen_as_fin_or_as_rst_where_input_is_unread, 0, 2);
}

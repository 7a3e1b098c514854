/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nomem: a server and its clients where each allocation fails in turn, alone or with those that
 * follow
 *
 * malloc(3) and its like are this program's own; mmap(2) is in faults.c. Each run is a process. The
 * n-th allocation fails, on whichever thread: what was called says -ENOMEM, or what follows for a
 * connection that ended; a peer gets the right bytes or an end; then, with memory, all serve, and
 * everything is given back.
 */
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <netpoll/block.h>
#include <netpoll/call.h>
#include <netpoll/client.h>
#include <netpoll/linkbuf.h>
#include <netpoll/observe.h>
#include <netpoll/pool.h>
#include <netpoll/server.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/test.h"

#define HANG_S    60
#define PEERS     20
#define BIG       300000u
#define UNREACHED 1000000

/* ------------------------------------------------------------------ the allocator */

static _Atomic(long) fail_from, fail_n, allocations; /* fail_n 0: none fails */
static _Atomic(bool) failed;

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && defined(__GLIBC__) && \
	!defined(__clang__)
#define OWN_MALLOC true

static bool alloc_fails(void)
{
	long i, n = fail_n;

	if (!n)
		return false;
	i = ++allocations;
	if (i < fail_from || i >= fail_from + n)
		return false;
	failed = true;
	errno = ENOMEM;
	return true;
}

/* Seen by libc as well: strdup(3) and stdio take theirs here. */
#pragma GCC visibility push(default)
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);

void *malloc(size_t n)
{
	return alloc_fails() ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	return alloc_fails() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	return alloc_fails() ? NULL : __libc_realloc(p, n);
}

void *aligned_alloc(size_t align, size_t n)
{
	return alloc_fails() ? NULL : __libc_memalign(align, n);
}

int posix_memalign(void **ret, size_t align, size_t n)
{
	void *p = alloc_fails() ? NULL : __libc_memalign(align, n);

	if (p)
		*ret = p;
	return p ? 0 : ENOMEM;
}
#pragma GCC visibility pop
#else
#define OWN_MALLOC false
#endif

/* ------------------------------------------------------------------ in the child */

enum phase { ALL, LOOK };

static struct {
	enum phase phase; /* from its beginning on allocations are counted */
	long fail_n;
	struct np_pollers *pollers;
	struct np_server *server;
	char address[64];
	_Atomic(int) callbacks, posts; /* promised, and not called yet */
} now;

static void begin(enum phase phase)
{
	if (phase == now.phase)
		fail_n = now.fail_n;
}

/* A failed promise; the parent prints it with the number of the allocation. */
static void wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
static void wrong(const char *fmt, ...)
{
	va_list ap;

	fail_n = 0;
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	_exit(1);
}

static int may_be(int r, const char *what)
{
	if (r < 0 && r != -ENOMEM && r != -EAGAIN && !np_err_is_closed(r))
		wrong("%s: %d, %s", what, r, np_strerror(r));
	return r;
}

#define MAY(call) may_be((int)(call), #call)

static void told(struct np_conn *c, void *arg)
{
	(*(_Atomic(int) *)arg)--;
}

static int on_connect(struct np_conn *c, void *arg)
{
	if (np_conn_add_close_callback(c, told, &now.callbacks) == 0)
		now.callbacks++;
	np_conn_set_read_timeout(c, AWAIT_MS); /* settings of its own */
	return 0;
}

static int seven(void *arg)
{
	np_yield();
	return 7;
}

static void nothing(void *arg)
{
}

static void set_event(void *arg)
{
	np_event_set(arg);
}

static void use_a_task(void)
{
	struct np_task *t = NULL;
	int result = 0;

	if (MAY(np_go(NULL, NP_HERE, seven, NULL, &t)) < 0)
		return;
	np_join(&t, &result);
	if (result != 7 && result != -ECANCELED && result != -ENOMEM)
		wrong("a task returned %d", result);
}

static void use_a_timer(void)
{
	struct np_event *e = NULL;
	struct np_timer *t = NULL;

	if (MAY(np_event_new(&e)) < 0)
		return;
	if (MAY(np_timer_start(1, set_event, e, &t)) == 0)
		if (np_event_wait(e, AWAIT_MS) < 0)
			wrong("a timer that was started did not fire");
	np_timer_stop(&t);
	np_event_free(&e);
}

static int say(struct np_conn *c, const char *line, size_t n)
{
	int r = np_conn_write(c, line, n);

	return r < 0 ? r : np_conn_flush(c);
}

static int exchange(struct np_conn *c)
{
	const void *back;
	size_t n;
	int r = say(c, "E\n", 2);

	if (r == 0)
		r = np_conn_until(c, '\n', 2, &back, &n);
	if (r == 0 && memcmp(back, "E\n", 2))
		wrong("other bytes came back");
	return MAY(r);
}

static void use_a_dial(void)
{
	struct np_conn *c = NULL;

	if (MAY(np_dial(NULL, NP_HERE, "tcp", now.address, NULL, &c)) < 0)
		return;
	exchange(c);
	np_conn_close(c);
	np_conn_unref(c);
}

static void send_aside(struct np_conn *c)
{
	struct np_linkbuf *b = NULL;

	if (MAY(np_linkbuf_new(0, &b)) == 0 && MAY(np_linkbuf_write(b, "!", 1)) == 0)
		MAY(np_conn_send(c, &b));
	np_linkbuf_free(&b);
}

static int on_request(struct np_conn *c, void *arg)
{
	const char *line;
	size_t n;
	int r = np_conn_until(c, '\n', BIG, (const void **)&line, &n);

	if (r < 0)
		return r;
	switch (line[0]) {
	case 'T':
		use_a_task();
		break;
	case 'W':
		use_a_timer();
		break;
	case 'D':
		use_a_dial();
		break;
	case 'P':
		now.posts++;
		if (MAY(np_conn_post(c, told, &now.posts)) < 0)
			now.posts--;
		break;
	case 'O':
		MAY(np_offload(nothing, NULL));
		MAY(np_blocking(nothing, NULL));
		break;
	case 'M':
		MAY(np_conn_move(c, !np_conn_poller(c)));
		break;
	case 'S':
		send_aside(c);
		return 0;
	}
	return say(c, line, n);
}

static void on_move(struct np_conn *c, void *arg, bool arrived)
{
}

/* ---- the other side */

static int connected(void)
{
	struct timeval t = { .tv_sec = AWAIT_MS / 1000 };
	struct sockaddr_storage ss;
	socklen_t len;
	int fd;

	np_server_addr(now.server, 0, &ss, &len);
	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
	if (connect(fd, (struct sockaddr *)&ss, len) < 0)
		wrong("connect: %s", strerror(errno));
	return fd;
}

/* 0: answered rightly; -1: the connection ended, and the next question gets a new one. */
static int asked(int *fd, const char *q, size_t n)
{
	static char back[BIG];
	size_t want = q[0] == 'S' ? 1 : n, got = 0;
	ssize_t r = 1;

	if (*fd < 0)
		*fd = connected();
	for (size_t put = 0; put < n && r > 0; put += (size_t)r)
		r = send(*fd, q + put, n - put, MSG_NOSIGNAL);
	while (r > 0 && got < want) {
		r = recv(*fd, back + got, want - got, 0);
		got += r > 0 ? (size_t)r : 0;
	}
	if (r < 0 && errno == EAGAIN)
		wrong("neither an answer to '%c' nor an end", q[0]);
	if (memcmp(back, q[0] == 'S' ? "!" : q, got))
		wrong("other bytes answer '%c'", q[0]);
	if (got == want)
		return 0;
	close(*fd);
	*fd = -1;
	return -1;
}

static int use_a_pool(void *arg)
{
	struct np_conn *c = NULL;

	if (MAY(np_pool_get(arg, &c)) < 0)
		return 0;
	if (exchange(c) == 0)
		np_pool_put(arg, &c);
	else
		np_pool_drop(arg, &c);
	return 0;
}

static int frame(struct np_conn *c, uint64_t *ret_id, size_t *ret_len, void *arg)
{
	const char *p;
	int r = np_conn_peek(c, 3, (const void **)&p);

	*ret_id = r < 0 ? 0 : (uint64_t)(p[1] - '0');
	*ret_len = 3;
	return r;
}

static int use_a_channel(void *arg)
{
	const struct np_channel_opts o = { .sz = sizeof o, .frame = frame };
	struct np_linkbuf *question = NULL, *answer = NULL;
	struct np_channel *ch = NULL;

	if (MAY(np_channel_dial("tcp", now.address, &o, &ch)) < 0)
		return 0;
	if (MAY(np_linkbuf_new(0, &question)) == 0 &&
	    MAY(np_linkbuf_write(question, "E1\n", 3)) == 0)
		if (MAY(np_call(ch, np_channel_id(ch), &question, AWAIT_MS, &answer)) == 0 &&
		    np_linkbuf_len(answer) != 3)
			wrong("an answer of %zu bytes", np_linkbuf_len(answer));
	np_linkbuf_free(&question);
	np_linkbuf_free(&answer);
	np_channel_free(&ch);
	return 0;
}

static void on_each_poller(int (*fn)(void *), void *arg)
{
	struct np_task *t = NULL;

	for (int i = 0; i < 2; i++)
		if (MAY(np_go(now.pollers, i, fn, arg, &t)) == 0)
			np_join(&t, NULL);
}

/* What says that it is done has said something. */
static void look_inside(void)
{
	int file = memfd_create("dump", MFD_CLOEXEC);
	struct np_linkbuf *b = NULL;

	if (MAY(np_dump(file, NULL)) == 0 && lseek(file, 0, SEEK_END) == 0)
		wrong("an empty dump");
	close(file);
	if (MAY(np_linkbuf_new(0, &b)) == 0 &&
	    MAY(np_metrics_write(b, NP_METRICS_OPENMETRICS)) == 0 && !np_linkbuf_pending(b))
		wrong("an empty page of metrics");
	np_linkbuf_free(&b);
}

static int begun(void)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_connect = on_connect,
					      .on_request = on_request,
					      .on_move = on_move };
	static const struct np_pollers_opts two = {
		.sz = sizeof two, .count = 2, .pin = NP_OFF, .metrics = true
	};
	static const struct np_server_opts o = {
		.sz = sizeof o, .steer = NP_STEER_OFF, .drain_ms = 1, .fresh_ms = 1
	};
	struct sockaddr_storage ss;
	socklen_t len;
	int r = MAY(np_pollers_start(&two, &now.pollers));

	if (r == 0)
		r = MAY(np_server_new(now.pollers, &h, NULL, &o, &now.server));
	if (r == 0)
		r = MAY(np_server_listen(now.server, "tcp", "127.0.0.1:0"));
	if (r < 0 && now.server && !*np_server_error(now.server))
		wrong("a server that cannot listen does not say why");
	if (r == 0)
		r = MAY(np_server_start(now.server));
	if (r < 0)
		return r;
	np_server_addr(now.server, 0, &ss, &len);
	snprintf(now.address, sizeof now.address, "127.0.0.1:%d",
		 ntohs(((struct sockaddr_in *)&ss)->sin_port));
	return 0;
}

static void played(void)
{
	static char big[BIG];
	struct np_pool *pool = NULL;
	int fd[PEERS];

	memset(fd, -1, sizeof fd);
	memset(big, 'E', BIG);
	big[BIG - 1] = '\n';
	for (const char *q = "E\nT\nP\nW\nO\nM\nE\nS\nD\nM\nE\n"; *q; q += 2)
		asked(&fd[0], q, 2);
	asked(&fd[0], big, BIG);
	for (int i = 0; i < PEERS; i++)
		asked(&fd[i], "E\n", 2);
	if (MAY(np_pool_new(now.pollers, "tcp", now.address, NULL, &pool)) == 0)
		on_each_poller(use_a_pool, pool);
	np_pool_free(&pool);
	on_each_poller(use_a_channel, NULL);
	begin(LOOK);
	look_inside();

	fail_n = 0;
	for (int i = 0; i < PEERS; i++) {
		if (asked(&fd[i], "E\n", 2) < 0)
			wrong("with memory it does not serve");
		close(fd[i]);
	}
}

static void ended(void)
{
	struct np_block_stats st = { .sz = sizeof st };
	int r = now.server ? np_server_stop(now.server, AWAIT_MS, NULL) : 0;

	if (r == 0)
		r = np_server_free(&now.server);
	if (r == 0 && now.pollers)
		r = np_pollers_stop(now.pollers, AWAIT_MS);
	if (r == 0)
		r = np_pollers_free(&now.pollers);
	if (r < 0)
		wrong("the end: %s", np_strerror(r));
	if (now.callbacks || now.posts)
		wrong("%d close callbacks and %d posts are owed", now.callbacks, now.posts);
	np_block_stats(&st);
	if (st.blocks_in_use || st.cells_in_use)
		wrong("%zu blocks and %zu cells are left", st.blocks_in_use, st.cells_in_use);
}

/* Whether the allocation was reached is the exit code: 0 or 2. */
static void play(enum phase phase, long from, long n)
{
	int fds = open_fds();

	alarm(HANG_S);
	fail_from = from;
	now.fail_n = n;
	now.phase = phase;
	begin(ALL);
	if (begun() == 0)
		played();
	fail_n = 0;
	ended();
	if (open_fds() != fds)
		wrong("%d descriptors, not %d", open_fds(), fds);
	_exit(failed ? 0 : 2);
}

/* ------------------------------------------------------------------ in the test */

static bool reached(enum phase phase, long from, long n)
{
	pid_t pid = fork();
	int st;

	ck_assert_int_ge(pid, 0);
	if (!pid)
		play(phase, from, n);
	ck_assert_int_eq(waitpid(pid, &st, 0), pid);
	ck_assert_msg(WIFEXITED(st) && WEXITSTATUS(st) != 1, "allocations %ld to %ld: status %x",
		      from, from + n - 1, (unsigned)st);
	return WEXITSTATUS(st) == 0;
}

START_TEST(an_allocation_that_fails_loses_nothing_but_what_it_was_for)
{
	long n = 1;

	if (!OWN_MALLOC)
		SKIP("the allocator is the compiler's");
	ck_assert(!reached(ALL, UNREACHED, 1));
	while (reached(ALL, n, 1))
		n++;
	ck_assert_int_gt(n, 50);
}
END_TEST

START_TEST(nor_do_twenty_in_a_row)
{
	if (!OWN_MALLOC)
		SKIP("the allocator is the compiler's");
	for (long n = 1; reached(ALL, n, 20); n += 7)
		;
}
END_TEST

START_TEST(a_look_inside_without_memory_is_no_success_with_nothing_in_it)
{
	long n = 1;

	if (!OWN_MALLOC)
		SKIP("the allocator is the compiler's");
	while (reached(LOOK, n, 1))
		n++;
	ck_assert_int_gt(n, 3);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "nomem");

	tcase_set_timeout(t, 900);
	tcase_add_test(t, an_allocation_that_fails_loses_nothing_but_what_it_was_for);
	tcase_add_test(t, nor_do_twenty_in_a_row);
	tcase_add_test(t, a_look_inside_without_memory_is_no_success_with_nothing_in_it);
}

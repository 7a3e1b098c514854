/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * faults: every scenario with each system call of lib/sys failing in turn, once
 *
 * Each run is a process of its own: the n-th call of one kind fails with one errno while a server
 * and its peer play a scenario through. Whatever fails, the peer gets the right bytes or sees the
 * connection end; the library reports the injected errno or what follows from it; afterwards the
 * server serves, stops in time, and gives back every descriptor, block, fiber and thread.
 *
 * What each call's failure means is doc/errors.md.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netpoll/block.h>
#include <netpoll/client.h>
#include <netpoll/conn.h>
#include <netpoll/linkbuf.h>
#include <netpoll/server.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/test.h"
#include "sys/fault.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

#ifdef NP_FAULT

#define HANG_S 10
#define BIG    (1u << 20)

static const struct fault {
	enum sys_call call;
	int err[4];
} faults[] = {
	/* EAGAIN and EINTR are not here: the kernel promises an edge with the one, lib/sys deals
	 * with the other. */
	{ SYS_read, { EIO } },
	{ SYS_readv, { ECONNRESET, ENOMEM, EIO } },
	{ SYS_recv, { ECONNRESET, ENOMEM, ENOBUFS, ETIMEDOUT } },
	{ SYS_write, { EIO } },
	{ SYS_writev, { EIO, EPIPE } },
	{ SYS_send, { EPIPE, ECONNRESET, ENOMEM, ENOBUFS } },
	{ SYS_sendmsg, { EPIPE, ENOBUFS, EIO } },
	{ SYS_sendfile, { EIO, EPIPE, ENOMEM } },
	{ SYS_close, { EIO } },
	{ SYS_socket, { EMFILE, ENOBUFS } },
	{ SYS_bind, { EADDRINUSE, EACCES } },
	{ SYS_listen, { EADDRINUSE } },
	{ SYS_accept4, { ECONNABORTED, EMFILE, ENFILE, ENOBUFS } },
	{ SYS_connect, { ECONNREFUSED, ENETUNREACH, EADDRNOTAVAIL } },
	{ SYS_shutdown, { ENOTCONN } },
	{ SYS_setsockopt, { EINVAL, ENOPROTOOPT } },
	{ SYS_getsockopt, { EINVAL } },
	{ SYS_getsockname, { ENOBUFS } },
	{ SYS_getpeername, { ENOTCONN } },
	{ SYS_epoll_create, { EMFILE } },
	{ SYS_epoll_ctl, { ENOMEM, ENOSPC } },
	{ SYS_epoll_wait, { EBADF } },
	{ SYS_eventfd, { EMFILE } },
	{ SYS_mmap, { ENOMEM } },
	{ SYS_munmap, { EINVAL, ENOMEM } },
	{ SYS_mprotect, { ENOMEM } },
	{ SYS_madvise, { EINVAL, ENOMEM } },
	{ SYS_setaffinity, { EINVAL } },
	{ SYS_open, { ENOENT, EMFILE } },
	{ SYS_fs, { EACCES } },
	{ SYS_thread, { EAGAIN } },
};

#define N_FAULTS (int)(sizeof faults / sizeof faults[0])

/* ------------------------------------------------------------------ in the child */

static struct play {
	int injected; /* the errno, negative */
	struct np_pollers *pollers;
	struct np_server *server;
	struct sockaddr_storage ss;
	socklen_t len;
	int file;
	pthread_t other;
	_Atomic(struct np_conn *) conn; /* with a reference, for the other thread */
	_Atomic(bool) may_time_out;
} now;

static unsigned char big[BIG];

/* A failed promise of the library; the parent prints it with what was injected. */
static void wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
static void wrong(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	_exit(1);
}

/* Results of library calls: well, or what was injected, or what follows for a connection that
 * broke. */
static int may_be(int r, const char *what)
{
	if (r >= 0 || r == now.injected || np_err_is_closed(r) || r == -EAGAIN)
		return r;
	if (now.may_time_out && (np_err_is_timeout(r) || r == -ETIMEDOUT))
		return r;
	wrong("%s: %s", what, np_strerror(r));
}

#define MAY(call) may_be((int)(call), #call)

/* ---- the server's side: the first byte of a request says what is to be done */

static int echo(struct np_conn *c)
{
	const unsigned char *n;
	const void *p;
	int r = MAY(np_conn_next(c, 1, (const void **)&n));
	unsigned len;

	if (r < 0)
		return r;
	len = *n;
	r = MAY(np_conn_next(c, len, &p));
	if (r == 0)
		r = MAY(np_conn_write(c, p, len));
	return r < 0 ? r : MAY(np_conn_flush(c));
}

/* So that sends are partial; a small receive buffer would do it too, and take a thousand times as
 * long. */
static void small_buffer(struct np_conn *c)
{
	int n = 65536;

	setsockopt(np_conn_fd(c), SOL_SOCKET, SO_SNDBUF, &n, sizeof n);
}

static int send_big(struct np_conn *c)
{
	int r;

	small_buffer(c);
	r = MAY(np_conn_write_ref(c, big, BIG / 2, NULL, NULL));

	if (r == 0)
		r = MAY(np_conn_write(c, big + BIG / 2, BIG / 2));
	return r < 0 ? r : MAY(np_conn_sync(c));
}

static int send_file(struct np_conn *c)
{
	small_buffer(c);
	return MAY(np_conn_sendfile(c, now.file, 0, BIG));
}

static int want(struct np_conn *c)
{
	const void *p;
	int r;

	if (np_conn_len(c) < 8)
		return MAY(np_conn_want(c, 8));
	r = MAY(np_conn_next(c, 8, &p));
	if (r == 0)
		r = MAY(np_conn_write(c, "wanted", 6));
	return r < 0 ? r : MAY(np_conn_flush(c));
}

static int set_options(struct np_conn *c)
{
	struct sockaddr_storage ss;
	socklen_t len;

	MAY(np_conn_set_keepalive(c, 10, 10, 3));
	MAY(np_conn_set_user_timeout(c, 1000));
	MAY(np_conn_set_nagle(c, false));
	MAY(np_conn_local_addr(c, &ss, &len));
	MAY(np_conn_remote_addr(c, &ss, &len));
	MAY(np_conn_set_idle_timeout(c, 60000));
	return 0;
}

static int detach(struct np_conn *c)
{
	int fd = -1, r = MAY(np_conn_detach(c, &fd, NULL));

	if (r < 0)
		return r;
	if (send(fd, "mine", 4, MSG_NOSIGNAL) != 4)
		wrong("send on a detached descriptor: %s", strerror(errno));
	close(fd);
	return 0;
}

static int park(struct np_conn *c)
{
	const void *p;

	return MAY(np_conn_next(c, 100, &p));
}

static void add_one(void *arg)
{
	++*(int *)arg;
}

static void set_event(void *arg)
{
	np_event_set(arg);
}

/* A wait that was refused, or came to its end with the right result. */
static int waits(void *arg)
{
	struct np_event *e;
	int n = 0, fd = now.file, r;

	MAY(np_sleep(1));
	r = MAY(np_offload(add_one, &n));
	if (n != (r == 0))
		wrong("np_offload said %d, and fn was called %d times", r, n);
	r = np_wait_fd(fd, POLLIN, 1);
	if (r != -EPERM && r != now.injected) /* a file cannot be waited for */
		wrong("np_wait_fd of a file: %s", np_strerror(r));
	fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	r = MAY(np_wait_fd(fd, POLLIN, 0));
	if (r >= 0 && r != POLLIN)
		wrong("np_wait_fd: events %d", r);
	close(fd);
	if (np_event_new(&e) < 0)
		wrong("np_event_new");
	r = MAY(np_timer_start(1, set_event, e, NULL));
	if (r == 0 && np_event_wait(e, 0) < 0)
		wrong("np_event_wait");
	np_event_free(&e);
	return 17;
}

static int run_tasks(struct np_conn *c)
{
	struct np_task *t;
	int r, result;

	for (int i = 0; i < 2; i++) {
		r = MAY(np_go(NULL, i, waits, NULL, &t));
		if (r < 0)
			return r;
		if (np_join(&t, &result) < 0 || result != 17)
			wrong("np_join: result %d", result);
	}
	r = MAY(np_conn_write(c, "ran", 3));
	return r < 0 ? r : MAY(np_conn_flush(c));
}

static int on_request(struct np_conn *c, void *arg)
{
	const char *cmd;
	int r;

	if (!now.conn)
		now.conn = np_conn_ref(c);
	r = MAY(np_conn_peek(c, 1, (const void **)&cmd));
	if (r < 0)
		return r;
	if (*cmd == 'w')
		return want(c);
	np_conn_skip(c, 1);
	switch (*cmd) {
	case 'e':
		return echo(c);
	case 'b':
		return send_big(c);
	case 'f':
		return send_file(c);
	case 'o':
		return set_options(c);
	case 'd':
		return detach(c);
	case 'm':
		return MAY(np_conn_move(c, 1 - np_conn_poller(c)));
	case 'p':
		return park(c);
	case 'r':
		return run_tasks(c);
	case 'c':
		np_conn_write(c, "bye", 3);
		np_conn_flush(c);
		return np_conn_close(c);
	case 'a':
		return np_conn_abort(c);
	case 't':
		now.may_time_out = true;
		np_conn_set_read_timeout(c, 5);
		return park(c);
	case 'i':
		now.may_time_out = true;
		return MAY(np_conn_set_idle_timeout(c, 5));
	default:
		wrong("the server read %02x as a request", *cmd & 0xff);
	}
}

static void on_move(struct np_conn *c, void *arg, bool arrived)
{
}

static void on_close(struct np_conn *c, void *arg)
{
	may_be(np_conn_error(c), "np_conn_error");
}

/* ---- the peer's side: right bytes or a visible end, never a wait in vain */

/* -1: it could not be had, which is a connection that ended. */
static int p_connect(void)
{
	struct timeval t = { .tv_sec = HANG_S / 2 };
	int fd = socket(now.ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		wrong("socket: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
	if (connect(fd, (struct sockaddr *)&now.ss, now.len) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void p_send(int fd, const void *p, size_t n)
{
	if (fd >= 0 && send(fd, p, n, MSG_NOSIGNAL) < 0 && (errno == EAGAIN || errno == EINTR))
		wrong("the server takes nothing");
}

/* Whether all of it came; if not, the connection ended. */
static bool p_expect(int fd, const void *want, size_t n)
{
	static unsigned char got[BIG];
	ssize_t r = 0;

	if (fd < 0)
		return false;
	for (size_t done = 0; done < n; done += (size_t)r) {
		r = recv(fd, got + done, n - done, 0);
		if (r < 0 && errno == EAGAIN)
			wrong("no answer and no end after %zu of %zu bytes", done, n);
		if (r <= 0)
			return false;
	}
	if (memcmp(got, want, n))
		wrong("wrong bytes");
	return true;
}

static void p_expect_end(int fd)
{
	char c;
	ssize_t r = fd < 0 ? 0 : recv(fd, &c, 1, 0);

	if (r > 0)
		wrong("a byte too many: %02x", c & 0xff);
	if (r < 0 && errno == EAGAIN)
		wrong("the connection does not end");
}

static void p_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* ------------------------------------------------------------------ scenarios */

static bool echoed(void)
{
	int fd = p_connect();
	bool well;

	p_send(fd, "e\5hello", 7);
	well = p_expect(fd, "hello", 5);
	p_close(&fd);
	return well;
}

static void echoes(void)
{
	for (int i = 0; i < 3; i++)
		echoed();
}

static void pipelined(void)
{
	char batch[16 * 7 + 1] = "", want[16 * 5 + 1] = "";
	int fd = p_connect();

	for (int i = 0; i < 16; i++) {
		memcpy(batch + i * 7, "e\5hello", 7);
		memcpy(want + i * 5, "hello", 5);
	}
	p_send(fd, batch, 16 * 7);
	p_expect(fd, want, 16 * 5);
	p_close(&fd);
}

static void in_pieces(void)
{
	int fd = p_connect();

	p_send(fd, "e", 1);
	test_pause();
	p_send(fd, "\5he", 3);
	test_pause();
	p_send(fd, "llo", 3);
	p_expect(fd, "hello", 5);
	p_close(&fd);
}

static void half_close(void)
{
	int fd = p_connect();

	p_send(fd, "e\5hello", 7);
	if (fd >= 0)
		shutdown(fd, SHUT_WR);
	p_expect(fd, "hello", 5);
	p_expect_end(fd);
	p_close(&fd);
}

static void reset(void)
{
	struct linger l = { .l_onoff = 1 };
	int fd = p_connect();

	p_send(fd, "p", 1);
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
	p_close(&fd);
}

static void large(const char *cmd)
{
	int fd = p_connect();

	p_send(fd, cmd, 1);
	p_expect(fd, big, BIG);
	p_close(&fd);
}

static void large_reply(void)
{
	large("b");
}

static void file_reply(void)
{
	large("f");
}

static void one(const char *cmd)
{
	int fd = p_connect();

	p_send(fd, cmd, strlen(cmd));
	p_expect_end(fd);
	p_close(&fd);
}

static void timeouts(void)
{
	one("t");
	one("i");
}

static void closes(void)
{
	int fd = p_connect();

	p_send(fd, "cgarbage behind the last request", 32);
	p_expect(fd, "bye", 3);
	p_expect_end(fd);
	p_close(&fd);
	one("a");
}

static void detached(void)
{
	int fd = p_connect();

	p_send(fd, "d", 1);
	p_expect(fd, "mine", 4);
	p_expect_end(fd);
	p_close(&fd);
}

static void wants(void)
{
	int fd = p_connect();

	p_send(fd, "w123", 4);
	test_pause();
	p_send(fd, "4567", 4);
	p_expect(fd, "wanted", 6);
	p_close(&fd);
}

/* A part of a frame is buffered when it goes, and most of a long reply is unsent. */
static void moves(void)
{
	int fd = p_connect();

	for (int i = 0; i < 3; i++) {
		p_send(fd, "mw12", 4);
		test_pause();
		p_send(fd, "34567", 5);
		p_expect(fd, "wanted", 6);
	}
	p_send(fd, "fm", 2);
	p_expect(fd, big, BIG);
	p_close(&fd);
}

static void options(void)
{
	int fd = p_connect();

	p_send(fd, "oe\5hello", 8);
	p_expect(fd, "hello", 5);
	p_close(&fd);
}

static void *meddle(void *arg)
{
	struct np_linkbuf *b = NULL;

	if (MAY(np_linkbuf_new(0, &b)) == 0 && MAY(np_linkbuf_write(b, "sent", 4)) == 0)
		MAY(np_conn_send(now.conn, &b));
	np_linkbuf_free(&b);
	np_conn_close(now.conn);
	np_conn_unref(now.conn);
	now.conn = NULL;
	return NULL;
}

static void from_another_thread(void)
{
	pthread_t t;
	int fd = p_connect();

	p_send(fd, "p", 1);
	for (int i = 0; i < 200 && !now.conn; i++) /* the fault may have ended it before */
		test_pause();
	if (!now.conn) {
		p_close(&fd);
		return;
	}
	pthread_create(&t, NULL, meddle, NULL);
	p_expect(fd, "sent", 4);
	p_expect_end(fd);
	p_close(&fd);
	pthread_join(t, NULL);
}

/* Both ends are ours. */
static int dial_and_ask(void *arg)
{
	struct np_conn *c;
	const void *p;
	int r = MAY(np_dial(NULL, NP_HERE, "tcp", arg,
			    NP_OPTS(np_dial_opts, .timeout_ms = HANG_S * 500), &c));

	if (r < 0)
		return 0;
	if (MAY(np_conn_write(c, "e\5hello", 7)) == 0 && MAY(np_conn_sync(c)) == 0 &&
	    MAY(np_conn_next(c, 5, &p)) == 0 && memcmp(p, "hello", 5))
		wrong("wrong bytes");
	np_conn_close(c);
	np_conn_unref(c);
	return 0;
}

static void dialed(void)
{
	char address[32];

	snprintf(address, sizeof address, "127.0.0.1:%d",
		 ntohs(((struct sockaddr_in *)&now.ss)->sin_port));
	MAY(np_run(now.pollers, dial_and_ask, address));
}

/* One end of a socket pair, made elsewhere; it closes when its peer does. */
static void adopted(void)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_request = on_request,
					      .on_close = on_close };
	struct timeval t = { .tv_sec = HANG_S / 2 };
	struct np_conn *c;
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) < 0)
		wrong("socketpair: %s", strerror(errno));
	setsockopt(fd[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
	if (MAY(np_conn_from_fd(now.pollers, 0, &fd[1], &h, NULL, &c)) == 0)
		np_conn_unref(c);
	p_send(fd[0], "e\5hello", 7);
	p_expect(fd[0], "hello", 5);
	p_close(&fd[0]);
}

/* A handler that waits when the stop comes; what is after() sees the forced end. */
static void stopped_in_the_middle(void)
{
	unsigned forced;
	int fd = p_connect();

	p_send(fd, "p", 1);
	for (int i = 0; i < 100 && !now.conn; i++)
		test_pause();
	now.may_time_out = true;
	if (np_server_stop(now.server, 10, &forced) != 0)
		wrong("stop with a deadline");
	p_expect_end(fd);
	p_close(&fd);
}

static void tasks(void)
{
	int fd = p_connect(), r;

	p_send(fd, "r", 1);
	p_expect(fd, "ran", 3);
	p_close(&fd);
	r = np_run(now.pollers, waits, NULL);
	if (r != 17)
		wrong("np_run: %d", r);
}

static const struct scenario {
	const char *name;
	void (*play)(void);
	const char *network, *address;
	int pollers;
} scenarios[] = {
	{ "echoes", echoes, "tcp", "127.0.0.1:0", 2 },
	{ "pipelined", pipelined, "tcp", "127.0.0.1:0", 1 },
	{ "in_pieces", in_pieces, "tcp", "127.0.0.1:0", 1 },
	{ "half_close", half_close, "tcp", "127.0.0.1:0", 1 },
	{ "reset", reset, "tcp", "127.0.0.1:0", 1 },
	{ "large_reply", large_reply, "tcp", "127.0.0.1:0", 1 },
	{ "file_reply", file_reply, "tcp", "127.0.0.1:0", 1 },
	{ "timeouts", timeouts, "tcp", "127.0.0.1:0", 1 },
	{ "closes", closes, "tcp", "127.0.0.1:0", 1 },
	{ "detached", detached, "tcp", "127.0.0.1:0", 1 },
	{ "wants", wants, "tcp", "127.0.0.1:0", 1 },
	{ "moves", moves, "tcp", "127.0.0.1:0", 2 },
	{ "options", options, "tcp", "127.0.0.1:0", 1 },
	{ "from_another_thread", from_another_thread, "tcp", "127.0.0.1:0", 1 },
	{ "dialed", dialed, "tcp", "127.0.0.1:0", 2 },
	{ "adopted", adopted, "tcp", "127.0.0.1:0", 1 },
	{ "stopped_in_the_middle", stopped_in_the_middle, "tcp", "127.0.0.1:0", 1 },
	{ "tasks", tasks, "tcp", "127.0.0.1:0", 2 },
	{ "unix", echoes, "unix", "@np-faults-%d", 2 },
};

#define N_SCENARIOS (int)(sizeof scenarios / sizeof scenarios[0])

/* ------------------------------------------------------------------ one run */

static bool served(const struct scenario *s)
{
	static const struct np_handlers h = {
		.sz = sizeof h, .on_request = on_request, .on_close = on_close, .on_move = on_move
	};
	static const int cpu = 0;
	char address[64];

	if (MAY(np_pollers_start(NP_OPTS(np_pollers_opts, .count = s->pollers, .cpus = &cpu,
					 .n_cpus = 1),
				 &now.pollers)) < 0)
		return false;
	if (MAY(np_server_new(now.pollers, &h, NULL,
			      NP_OPTS(np_server_opts, .steer = NP_STEER_OFF, .linger_ms = 200),
			      &now.server)) < 0)
		return false;
	/* Abstract names are of the whole network namespace, where this suite may run more than
	 * once. */
	snprintf(address, sizeof address, s->address, getpid());
	if (MAY(np_server_listen(now.server, s->network, address)) < 0 ||
	    MAY(np_server_start(now.server)) < 0)
		return false;
	return MAY(np_server_addr(now.server, 0, &now.ss, &now.len)) == 0;
}

static void given_back(int fds)
{
	struct np_block_stats b = { .sz = sizeof b };
	int r;

	if (now.conn)
		np_conn_unref(now.conn);
	if (now.server && (r = np_server_stop(now.server, HANG_S * 1000, NULL)) < 0)
		wrong("np_server_stop: %s", np_strerror(r));
	if (now.server && (r = np_server_free(&now.server)) < 0)
		wrong("np_server_free: %s", np_strerror(r));
	if (now.pollers && (r = np_pollers_stop(now.pollers, HANG_S * 1000)) < 0)
		wrong("np_pollers_stop: %s", np_strerror(r));
	if (now.pollers && (r = np_pollers_free(&now.pollers)) < 0)
		wrong("np_pollers_free: %s", np_strerror(r));
	if (open_fds() != fds)
		wrong("%d descriptors before, %d after", fds, open_fds());
	/* a joined thread may be listed for a moment more */
	for (int i = 0; i < 1000 && np_threads(); i++)
		test_pause();
	if (np_threads())
		wrong("%d threads are left", np_threads());
	np_block_stats(&b);
	if (b.blocks_in_use || b.cells_in_use)
		wrong("%zu blocks and %zu buffers are left", b.blocks_in_use, b.cells_in_use);
}

/* The child's life. Exit 0: well; 2: well, and the n-th call was never made; 1: a sentence on
 * stderr. */
static void run(const struct scenario *s, enum sys_call call, unsigned nth, int err)
	__attribute__((noreturn));
static void run(const struct scenario *s, enum sys_call call, unsigned nth, int err)
{
	int fds;
	bool up, struck;

	signal(SIGALRM, SIG_DFL); /* Check has a handler of its own, which kills the group */
	alarm(HANG_S);
	now.file = memfd_create("faults", MFD_CLOEXEC);
	if (write(now.file, big, BIG) != BIG)
		wrong("memfd: %s", strerror(errno));
	fds = open_fds();
	now.injected = -err;
	sys_fault_arm(call, nth, err);
	up = served(s);
	if (up)
		s->play();
	struck = sys_fault_hit(call);
	sys_fault_arm(call, 0, 0);
	if (up && s->play != stopped_in_the_middle && !echoed())
		wrong("the server does not serve any more");
	given_back(fds);
#ifdef __SANITIZE_ADDRESS__
	now = (struct play){ 0 }; /* freed, but still pointed at */
	if (__lsan_do_recoverable_leak_check())
		wrong("memory is leaked");
#endif
	_exit(struck ? 0 : 2);
}

/* ------------------------------------------------------------------ all runs */

/* Whether the fault struck. */
static bool try(const struct scenario *s, enum sys_call call, unsigned nth, int err)
{
	char text[256] = "";
	int out[2], st;
	ssize_t n;
	pid_t pid;

	ck_assert_int_eq(pipe(out), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		dup2(out[1], STDERR_FILENO);
		close(out[0]);
		close(out[1]);
		run(s, call, nth, err);
	}
	close(out[1]);
	n = read(out[0], text, sizeof text - 1);
	text[n > 0 ? n : 0] = '\0';
	close(out[0]);
	ck_assert_int_eq(waitpid(pid, &st, 0), pid);
	if (WIFSIGNALED(st))
		ck_abort_msg("%s, %s no. %u = -%d: %s %s", s->name, sys_fault_name(call), nth, err,
			     WTERMSIG(st) == SIGALRM ? "hangs" : strsignal(WTERMSIG(st)), text);
	if (WEXITSTATUS(st) == 1)
		ck_abort_msg("%s, %s no. %u = -%d: %s", s->name, sys_fault_name(call), nth, err,
			     text);
	return WEXITSTATUS(st) == 0;
}

START_TEST(each_call_that_fails_once_breaks_at_most_its_connection)
{
	const struct scenario *s = &scenarios[_i];
	unsigned runs = 0;

	for (unsigned i = 0; i < BIG; i++)
		big[i] = (unsigned char)(i * 11u + (i >> 9));
	for (int f = 0; f < N_FAULTS; f++)
		for (int e = 0; e < 4 && faults[f].err[e]; e++)
			for (unsigned nth = 1; try(s, faults[f].call, nth, faults[f].err[e]); nth++)
				runs++;
	printf("%s: %u runs with a fault\n", s->name, runs);
	fflush(stdout);
}
END_TEST
#endif

START_TEST(faults_can_be_injected)
{
#ifndef NP_FAULT
	SKIP("this build cannot inject faults");
#endif
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "faults");

	tcase_add_test(t, faults_can_be_injected);
#ifdef NP_FAULT
	tcase_add_loop_test(t, each_call_that_fails_once_breaks_at_most_its_connection, 0,
			    N_SCENARIOS);
#endif
}

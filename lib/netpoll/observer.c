/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * observer: the thread, and the questions that it answers one after another
 *
 * A request of a signal handler is a flag and a write to an eventfd. The eventfd is closed when no
 * handler is at it: one that comes later finds -1.
 */
#include "netpoll/observer.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "netpoll/dump.h"
#include "netpoll/metrics.h"
#include "netpoll/observer_socket.h"
#include "sys/clock.h"
#include "sys/io.h"
#include "sys/opts.h"
#include "sys/pass.h"
#include "sys/sock.h"
#include "sys/thread.h"
#include "sys/wake.h"

#define QUESTION_MAX 64
#define QUESTION_NS  1000000000u

static struct {
	/* setup threads, under the lock */
	pthread_mutex_t lock;
	unsigned users;
	bool prepared; /* np_dump_prepare() */
	bool runs;
	struct sys_thread thread;

	/* the thread's, while it runs */
	struct observer_socket socket;
	int asking; /* the peer that is being answered; -1: none. Changes under the lock */

	/* any thread, and signal handlers */
	_Atomic(int) wake_fd;
	_Atomic(int) ringing; /* between their look at wake_fd and their write */
	_Atomic(bool) over, requested;
	_Atomic(int) dump_fd, dump_format;
} observer = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.socket = { .fd = -1 },
	.asking = -1,
	.wake_fd = -1,
	.dump_fd = -1,
};

/* ------------------------------------------------------------------ questions */

struct observer_word {
	const char *word;
	unsigned value;
};

static const struct observer_word observer_parts[] = {
	{ "all", 0 },
	{ "pollers", NP_DUMP_POLLERS },
	{ "servers", NP_DUMP_SERVERS },
	{ "conns", NP_DUMP_CONNS },
	{ "fibers", NP_DUMP_FIBERS },
	{ "pools", NP_DUMP_POOLS },
	{ "channels", NP_DUMP_CHANNELS },
	{ "offload", NP_DUMP_OFFLOAD },
	{ "top", NP_DUMP_POLLERS | NP_DUMP_SERVERS },
	{ NULL, 0 },
};

static const struct observer_word observer_formats[] = {
	{ "text", NP_DUMP_TEXT },
	{ "json", NP_DUMP_JSON },
	{ "tsv", NP_DUMP_TSV },
	{ NULL, 0 },
};

static bool observer_find(const struct observer_word *of, const char *word, unsigned *ret)
{
	for (; word && of->word; of++)
		if (!strcmp(of->word, word)) {
			*ret = of->value;
			return true;
		}
	return false;
}

/* A line, without its end. Return: 0; -ETIMEDOUT, -EBADMSG: none came. */
static int observer_hear(int fd, char *dst, size_t cap)
{
	uint64_t until = sys_clock_ns() + QUESTION_NS;
	size_t n = 0;

	while (n < cap - 1) {
		int r = sys_wait_until(fd, POLLIN, until);
		ssize_t got = r < 0 ? r : sys_read(fd, dst + n, 1);

		if (got < 0 && got != -EAGAIN)
			return (int)got;
		if (got == 0)
			return -EBADMSG;
		if (got > 0 && dst[n++] == '\n') {
			dst[n - 1] = '\0';
			return 0;
		}
	}
	return -EBADMSG;
}

static void observer_say(int fd, const char *sentence)
{
	char line[160];

	dump_write(fd, line, (size_t)snprintf(line, sizeof line, "error %s\n", sentence));
}

static const struct observer_word observer_metrics[] = {
	{ "openmetrics", NP_METRICS_OPENMETRICS },
	{ "text", NP_METRICS_TEXT },
	{ NULL, 0 },
};

/* Return: 0; -EBADMSG: no such question; -ENOMEM. */
static int observer_make(char *question, char **ret, size_t *ret_n)
{
	char *rest, *what = strtok_r(question, " ", &rest), *format = strtok_r(NULL, " ", &rest);
	unsigned parts, as;

	if (what && !strcmp(what, "metrics") && observer_find(observer_metrics, format, &as))
		return metrics_make((enum np_metrics_format)as, ret, ret_n);
	if (observer_find(observer_parts, what, &parts) &&
	    observer_find(observer_formats, format, &as))
		return dump_make((enum np_dump_format)as, parts, ret, ret_n);
	return -EBADMSG;
}

static void observer_answer(int fd, char *question)
{
	char *text;
	size_t n;
	int r = observer_make(question, &text, &n);

	if (r < 0) {
		observer_say(fd, r == -EBADMSG ? "this process does not know the question" :
						 "no memory for the answer");
		return;
	}
	if (dump_write(fd, "ok\n", 3) == 0)
		dump_write(fd, text, n);
	free(text);
}

static void observer_set_asking(int fd)
{
	pthread_mutex_lock(&observer.lock);
	observer.asking = fd;
	pthread_mutex_unlock(&observer.lock);
}

static void observer_serve(void)
{
	char question[QUESTION_MAX];
	int fd;

	if (observer_socket_accept(&observer.socket, &fd) < 0)
		return;
	observer_set_asking(fd);
	if (!atomic_load(&observer.over) && observer_hear(fd, question, sizeof question) == 0)
		observer_answer(fd, question);
	observer_set_asking(-1);
	sys_close(&fd);
}

/* ------------------------------------------------------------------ the thread */

static void observer_requested(void)
{
	char *text;
	size_t n;

	if (!atomic_exchange(&observer.requested, false) || atomic_load(&observer.dump_fd) < 0)
		return;
	if (dump_make((enum np_dump_format)atomic_load(&observer.dump_format), 0, &text, &n) < 0)
		return;
	dump_write(atomic_load(&observer.dump_fd), text, n);
	free(text);
}

static void observer_main(void *arg)
{
	struct pollfd fds[2] = { { .fd = atomic_load(&observer.wake_fd), .events = POLLIN },
				 { .fd = observer.socket.fd, .events = POLLIN } };
	uint64_t count;

	while (!atomic_load(&observer.over)) {
		sys_poll_wait(fds, 2, -1);
		if (fds[0].revents)
			sys_read(fds[0].fd, &count, sizeof count);
		observer_requested();
		if (fds[1].revents & POLLIN && !atomic_load(&observer.over))
			observer_serve();
	}
}

/* Under the lock. The thread is started anew where it is to listen from now on. */
static void observer_end_thread(void)
{
	int fd = atomic_exchange(&observer.wake_fd, -1);

	if (!observer.runs)
		return;
	atomic_store(&observer.over, true);
	sys_wake_signal(fd);
	if (observer.asking >= 0)
		sys_shutdown(observer.asking, SHUT_RDWR);
	pthread_mutex_unlock(&observer.lock);
	sys_thread_join(&observer.thread, 0);
	pthread_mutex_lock(&observer.lock);
	observer.runs = false;
	atomic_store(&observer.over, false);
	while (atomic_load(&observer.ringing))
		sched_yield();
	sys_close(&fd);
}

static int observer_begin_thread(void)
{
	int fd = -1, r = sys_wake_open(&fd);

	if (r < 0)
		return r;
	atomic_store(&observer.wake_fd, fd);
	r = sys_thread_start(&observer.thread, "np-observe", observer_main, NULL);
	observer.runs = r == 0;
	if (r < 0) {
		atomic_store(&observer.wake_fd, -1);
		sys_close(&fd);
	}
	return r;
}

/* Under the lock: as it is to be from now on, with or without a socket. */
static int observer_change(const char *path)
{
	int r = 0;

	observer_end_thread();
	if (!observer.users)
		observer_socket_close(&observer.socket);
	else if (observer.socket.fd < 0)
		r = observer_socket_open(&observer.socket, path);
	if (r == 0 && (observer.users || observer.prepared))
		r = observer_begin_thread();
	return r;
}

/* ------------------------------------------------------------------ who asks for it */

/* Setup threads, one at a time: the lock above is given up while the thread ends. */
static pthread_mutex_t observer_setup = PTHREAD_MUTEX_INITIALIZER;

static int observer_join_locked(const char *path)
{
	int r = 0;

	observer.users++;
	if (observer.users == 1)
		r = observer_change(path);
	if (r < 0) {
		observer.users--;
		observer_change(NULL);
	}
	return r;
}

int observer_join(const char *path, char *ret_where, size_t cap)
{
	int r;

	observer_socket_path(path, ret_where, cap);
	pthread_mutex_lock(&observer_setup);
	pthread_mutex_lock(&observer.lock);
	r = observer_join_locked(path);
	pthread_mutex_unlock(&observer.lock);
	pthread_mutex_unlock(&observer_setup);
	return r;
}

void observer_leave(void)
{
	pthread_mutex_lock(&observer_setup);
	pthread_mutex_lock(&observer.lock);
	if (--observer.users == 0)
		observer_change(NULL);
	pthread_mutex_unlock(&observer.lock);
	pthread_mutex_unlock(&observer_setup);
}

static int observer_prepare(int fd, int format)
{
	bool was = observer.prepared;
	int r = 0;

	observer.prepared = fd >= 0;
	atomic_store(&observer.dump_format, format);
	atomic_store(&observer.dump_fd, fd);
	if (was || observer.prepared)
		r = observer_change(NULL); /* no dump is under way to the one before */
	if (r < 0)
		observer.prepared = false;
	return r;
}

int np_dump_prepare(int fd, int format)
{
	int r;

	if (fd < -1 || (unsigned)format > NP_DUMP_TSV)
		return -EINVAL;
	pthread_mutex_lock(&observer_setup);
	pthread_mutex_lock(&observer.lock);
	r = observer_prepare(fd, format);
	pthread_mutex_unlock(&observer.lock);
	pthread_mutex_unlock(&observer_setup);
	return r;
}

int np_dump_request(void)
{
	int was = errno, fd;

	atomic_store(&observer.requested, true);
	atomic_fetch_add(&observer.ringing, 1);
	fd = atomic_load(&observer.dump_fd) < 0 ? -1 : atomic_load(&observer.wake_fd);
	if (fd >= 0)
		sys_wake_signal(fd);
	atomic_fetch_sub(&observer.ringing, 1);
	errno = was;
	return fd < 0 ? -ENOENT : 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * observer: the thread, and the questions that it answers
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

#include "netpoll/askers.h"
#include "netpoll/dump.h"
#include "netpoll/metrics_page.h"
#include "netpoll/observer_socket.h"
#include "sys/io.h"
#include "sys/opts.h"
#include "sys/thread.h"
#include "sys/wake.h"

#define DEAF_MS 100 /* after an accept that failed: no descriptors, say */

static struct {
	/* setup threads, under the lock */
	pthread_mutex_t lock;
	unsigned users;
	bool prepared; /* np_dump_prepare() */
	bool runs;
	struct sys_thread thread;

	/* the thread's, while it runs */
	struct observer_socket socket;
	struct askers askers;

	/* any thread, and signal handlers */
	_Atomic(int) wake_fd;
	_Atomic(int) ringing; /* between their look at wake_fd and their write */
	_Atomic(bool) over, requested;
	_Atomic(int) dump_fd, dump_format;
} observer = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.socket = { .fd = -1 },
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

static int observer_refuse(const char *line, char **ret, size_t *ret_n)
{
	char *text = strdup(line);

	if (!text)
		return -ENOMEM;
	*ret = text;
	*ret_n = strlen(text);
	return 0;
}

/* Lifetime: *ret is for free(3). Return: 0; -ENOMEM: there is not even room to say so. */
static int observer_answer(char *question, char **ret, size_t *ret_n)
{
	char *text, *all;
	size_t n;
	int r = observer_make(question, &text, &n);

	if (r == -EBADMSG)
		return observer_refuse("error this process does not know the question\n", ret,
				       ret_n);
	all = r == 0 ? realloc(text, n + 3) : NULL;
	if (r == 0 && !all)
		free(text);
	if (!all)
		return observer_refuse("error no memory for the answer\n", ret, ret_n);
	memmove(all + 3, all, n);
	memcpy(all, "ok\n", 3);
	*ret = all;
	*ret_n = n + 3;
	return 0;
}

/* ------------------------------------------------------------------ the thread */

/* To the descriptor that it began for: np_dump_prepare() may name another one, or none, meanwhile,
 * and waits. */
static void observer_requested(void)
{
	bool requested = atomic_exchange(&observer.requested, false);
	int fd = atomic_load(&observer.dump_fd);
	char *text;
	size_t n;

	if (!requested || fd < 0)
		return;
	if (dump_make((enum np_dump_format)atomic_load(&observer.dump_format), 0, &text, &n) < 0)
		return;
	dump_write(fd, text, n);
	free(text);
}

/* Return: false: none can be accepted for a while; the next poll(2) would say at once that one
 * waits. */
static bool observer_accept(void)
{
	int fd, r = observer_socket_accept(&observer.socket, &fd);

	if (r == 0)
		askers_add(&observer.askers, fd);
	return r == 0 || r == -EACCES || r == -EAGAIN || r == -ECONNABORTED;
}

static void observer_main(void *arg)
{
	struct pollfd fds[2 + ASKERS_MAX] = { { .fd = atomic_load(&observer.wake_fd),
						.events = POLLIN } };
	uint64_t count;
	bool deaf = false;
	unsigned n;
	int ms;

	askers_init(&observer.askers, observer_answer);
	while (!atomic_load(&observer.over)) {
		observer_requested(); /* also of the thread before, if that has ended without it */
		fds[1] = (struct pollfd){ .fd = deaf ? -1 : observer.socket.fd, .events = POLLIN };
		n = askers_watch(&observer.askers, fds + 2, &ms);
		sys_poll_wait(fds, 2 + n, deaf ? DEAF_MS : ms);
		if (fds[0].revents)
			sys_read(fds[0].fd, &count, sizeof count);
		askers_serve(&observer.askers);
		deaf = fds[1].revents & POLLIN && !observer_accept();
	}
	askers_close(&observer.askers);
}

/* Under the lock. The thread is started anew where it is to listen from now on. */
static void observer_end_thread(void)
{
	int fd;

	if (!observer.runs)
		return;
	atomic_store(&observer.over, true); /* before the descriptor goes: a thread that has just
					       begun looks for both in the other order */
	fd = atomic_exchange(&observer.wake_fd, -1);
	sys_wake_signal(fd);
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
	if (!observer.prepared)
		atomic_store(&observer.requested, false);
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
	bool prepared;

	atomic_fetch_add(&observer.ringing, 1);
	prepared = atomic_load(&observer.dump_fd) >= 0;
	if (prepared)
		atomic_store(&observer.requested, true);
	/* without one the thread is being started anew, and looks for requests first */
	fd = prepared ? atomic_load(&observer.wake_fd) : -1;
	if (fd >= 0)
		sys_wake_signal(fd);
	atomic_fetch_sub(&observer.ringing, 1);
	errno = was;
	return prepared ? 0 : -ENOENT;
}

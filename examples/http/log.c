/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * log: each poller has a buffer, which the writing thread takes away and gives an empty one for
 *
 * The thread wakes at the first line, waits a moment for others unless a buffer is half full, and
 * writes. A buffer is locked while a line is written into it, or pointers are exchanged.
 */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"

#define BUFFER    (1u << 20)
#define LINE_ROOM 4096u /* more than any line */
#define TEXT_MAX  1024u /* of what a client wrote, escaped */
#define GATHER_MS 100
#define LAST_MS   1000

struct shard {
	pthread_mutex_t lock;
	char *lines; /* BUFFER bytes */
	size_t n;
	_Atomic(uint64_t) dropped;
} __attribute__((aligned(64)));

struct log {
	int fd;
	bool owns_fd;
	int n;
	struct shard *shards;
	char *spare; /* the writer's */
	sem_t wake;
	_Atomic(bool) ends;
	uint64_t until_ms; /* of the writer, once it ends */
	pthread_t thread;
};

/* ------------------------------------------------------------------ the thread that writes */

/* A pipe whose reader is slow makes it wait here, and nobody else. Standard output may block: it
 * gets no more than a pipe takes at once. */
static void write_all(struct log *log, const char *p, size_t n)
{
	while (n) {
		struct pollfd ready = { log->fd, POLLOUT, 0 };
		size_t piece = !log->owns_fd && n > PIPE_BUF ? PIPE_BUF : n;
		ssize_t k;

		if (poll(&ready, 1, GATHER_MS) == 0) {
			if (atomic_load(&log->ends) && clock_ms() > log->until_ms)
				return;
			continue;
		}
		k = write(log->fd, p, piece);
		if (k < 0 && errno != EINTR && errno != EAGAIN)
			return;
		p += k > 0 ? k : 0;
		n -= k > 0 ? (size_t)k : 0;
	}
}

static void write_shard(struct log *log, struct shard *s)
{
	char *full;
	size_t n;

	pthread_mutex_lock(&s->lock);
	full = s->lines;
	n = s->n;
	s->lines = log->spare;
	s->n = 0;
	pthread_mutex_unlock(&s->lock);
	log->spare = full;
	write_all(log, full, n);
}

static void gather(struct log *log)
{
	struct timespec t;

	while (sem_wait(&log->wake) < 0)
		;
	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_nsec += GATHER_MS * 1000000l;
	t.tv_sec += t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	if (!atomic_load(&log->ends))
		sem_clockwait(&log->wake, CLOCK_MONOTONIC, &t);
}

static void *log_run(void *arg)
{
	struct log *log = arg;
	bool ends;

	do {
		gather(log);
		ends = atomic_load(&log->ends);
		for (int i = 0; i < log->n; i++)
			write_shard(log, &log->shards[i]);
	} while (!ends);
	return NULL;
}

/* ------------------------------------------------------------------ a line */

static char *put(char *at, const char *p, size_t n)
{
	return mempcpy(at, p, n);
}

static char *put_number(char *at, uint64_t v)
{
	char digits[20];
	size_t n = 0;

	do
		digits[sizeof digits - ++n] = (char)('0' + v % 10);
	while (v /= 10);
	return put(at, digits + sizeof digits - n, n);
}

/* How many of the first @n bytes stand for themselves. */
static size_t plain_run(const unsigned char *p, size_t n)
{
	static const bool plain[256] = {
		[' ' ... '!'] = true,
		['#' ... '['] = true,
		[']' ... '~'] = true,
	};
	size_t i = 0;

	while (i < n && plain[p[i]])
		i++;
	return i;
}

static char *put_escaped(char *at, struct text t)
{
	static const char hex[] = "0123456789abcdef";
	const unsigned char *p = (const unsigned char *)t.p, *end = p + t.n;
	char *last = at + TEXT_MAX - 4;

	if (!t.n)
		*at++ = '-';
	while (p < end && at < last) {
		size_t left = (size_t)(end - p), room = (size_t)(last - at);
		size_t n = plain_run(p, left < room ? left : room);

		at = put(at, (const char *)p, n);
		p += n;
		if (p == end || at == last)
			break;
		*at++ = '\\';
		*at++ = 'x';
		*at++ = hex[*p >> 4];
		*at++ = hex[*p++ & 15];
	}
	return at;
}

static size_t make_line(char *dst, const char *addr, const struct request *rq, int status,
			uint64_t bytes)
{
	char *at = put(dst, addr, strlen(addr));

	at = put(at, " - - [", 6);
	at = put(at, clock_log_date(), 26);
	at = put(at, "] \"", 3);
	at = put_escaped(at, rq->line);
	at = put(at, "\" ", 2);
	at = put_number(at, (unsigned)status);
	at = put(at, " ", 1);
	at = put_number(at, bytes);
	at = put(at, " \"", 2);
	at = put_escaped(at, rq->referer);
	at = put(at, "\" \"", 3);
	at = put_escaped(at, rq->user_agent);
	at = put(at, "\"\n", 2);
	return (size_t)(at - dst);
}

void log_line(struct log *log, int poller, const char *addr, const struct request *rq, int status,
	      uint64_t bytes)
{
	struct shard *s = &log->shards[poller];
	size_t was, n = 0;

	pthread_mutex_lock(&s->lock);
	was = s->n;
	if (was + LINE_ROOM <= BUFFER)
		n = make_line(s->lines + was, addr, rq, status, bytes);
	s->n += n;
	pthread_mutex_unlock(&s->lock);
	if (!n)
		atomic_fetch_add_explicit(&s->dropped, 1, memory_order_relaxed);
	else if (!was || (was < BUFFER / 2 && was + n >= BUFFER / 2))
		sem_post(&log->wake);
}

uint64_t log_dropped(struct log *log)
{
	uint64_t sum = 0;

	for (int i = 0; i < log->n; i++)
		sum += atomic_load_explicit(&log->shards[i].dropped, memory_order_relaxed);
	return sum;
}

/* ------------------------------------------------------------------ its life */

static void log_free(struct log *log)
{
	for (int i = 0; i < log->n; i++) {
		pthread_mutex_destroy(&log->shards[i].lock);
		free(log->shards[i].lines);
	}
	free(log->shards);
	free(log->spare);
	sem_destroy(&log->wake);
	if (log->owns_fd)
		close(log->fd);
	free(log);
}

/* O_NONBLOCK for a FIFO: it is opened when its reader is there. */
static int open_file(struct log *log, const char *path)
{
	log->owns_fd = strcmp(path, "-") != 0;
	log->fd = log->owns_fd ?
			  open(path,
			       O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
			       0640) :
			  STDOUT_FILENO;
	return log->fd < 0 ? -errno : 0;
}

static int shards_init(struct log *log, int n)
{
	log->shards = aligned_alloc(64, (size_t)n * sizeof *log->shards);
	log->spare = malloc(BUFFER);
	if (!log->shards || !log->spare)
		return -ENOMEM;
	memset(log->shards, 0, (size_t)n * sizeof *log->shards);
	for (; log->n < n; log->n++) {
		struct shard *s = &log->shards[log->n];

		s->lines = malloc(BUFFER);
		if (!s->lines)
			return -ENOMEM;
		pthread_mutex_init(&s->lock, NULL);
	}
	return 0;
}

int log_open(const char *path, int pollers, struct log **ret)
{
	struct log *log = calloc(1, sizeof *log);
	int r;

	if (!log)
		return -ENOMEM;
	sem_init(&log->wake, 0, 0);
	r = open_file(log, path);
	log->owns_fd &= r == 0;
	if (r == 0)
		r = shards_init(log, pollers);
	if (r == 0)
		r = -pthread_create(&log->thread, NULL, log_run, log);
	if (r < 0)
		log_free(log);
	else
		*ret = log;
	return r;
}

void log_close(struct log **log)
{
	if (!*log)
		return;
	(*log)->until_ms = clock_ms() + LAST_MS;
	atomic_store(&(*log)->ends, true);
	sem_post(&(*log)->wake);
	pthread_join((*log)->thread, NULL);
	log_free(*log);
	*log = NULL;
}

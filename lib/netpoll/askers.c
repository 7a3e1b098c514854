/* SPDX-License-Identifier: BSD-2-Clause */
/* askers: no call on one of their sockets blocks. */
#include "netpoll/askers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "sys/clock.h"
#include "sys/io.h"

#define ASK_NS    1000000000u
#define ANSWER_NS 10000000000u

void askers_init(struct askers *a, int (*answer)(char *line, char **ret, size_t *ret_n))
{
	*a = (struct askers){ .answer = answer };
	for (unsigned i = 0; i < ASKERS_MAX; i++)
		a->of[i].fd = -1;
}

static void asker_end(struct asker *k)
{
	sys_close(&k->fd);
	free(k->answer);
	k->answer = NULL;
}

void askers_close(struct askers *a)
{
	for (unsigned i = 0; i < ASKERS_MAX; i++)
		asker_end(&a->of[i]);
}

/* ------------------------------------------------------------------ one of them */

/* Its line ends with a zero now. Return: 0; -EAGAIN: more of it is to come; -errno: none is. */
static int asker_hear(struct asker *k)
{
	ssize_t got = sys_recv(k->fd, k->line + k->n, sizeof k->line - 1 - k->n, 0);
	char *end;

	if (got < 0)
		return (int)got;
	if (got == 0) /* its end, or a line that is too long */
		return -EBADMSG;
	k->n += (size_t)got;
	end = memchr(k->line, '\n', k->n);
	if (!end)
		return -EAGAIN;
	*end = '\0';
	return 0;
}

static int asker_begin_answer(struct asker *k, const struct askers *a)
{
	int r = a->answer(k->line, &k->answer, &k->n);

	k->at = 0;
	k->until_ns = sys_clock_ns() + ANSWER_NS;
	return r;
}

/* Return: 0: it has all; -EAGAIN: it has to take more; -errno. */
static int asker_say(struct asker *k)
{
	while (k->at < k->n) {
		ssize_t w = sys_send(k->fd, k->answer + k->at, k->n - k->at, MSG_NOSIGNAL);

		if (w < 0)
			return (int)w;
		k->at += (size_t)w;
	}
	return 0;
}

static void asker_serve(struct asker *k, const struct askers *a)
{
	int r = 0;

	if (!k->answer) {
		r = asker_hear(k);
		if (r == 0)
			r = asker_begin_answer(k, a);
	}
	if (r == 0)
		r = asker_say(k);
	if (r != -EAGAIN || sys_clock_ns() >= k->until_ns)
		asker_end(k);
}

/* ------------------------------------------------------------------ all of them */

/* Whose place a new one gets: a free one, else of those that ask, else of all, the oldest. */
static struct asker *askers_place(struct askers *a)
{
	struct asker *best = NULL;

	for (unsigned i = 0; i < ASKERS_MAX; i++) {
		struct asker *k = &a->of[i];

		if (k->fd < 0)
			return k;
		if (!best || (!k->answer && best->answer) ||
		    (!k->answer == !best->answer && k->came < best->came))
			best = k;
	}
	return best;
}

void askers_add(struct askers *a, int fd)
{
	struct asker *k = askers_place(a);

	asker_end(k);
	*k = (struct asker){ .fd = fd, .came = ++a->came, .until_ns = sys_clock_ns() + ASK_NS };
	/* so that a line which is here is answered, though another comes behind it */
	asker_serve(k, a);
}

static int askers_ms(uint64_t until_ns)
{
	uint64_t now = sys_clock_ns();

	return until_ns > now ? (int)((until_ns - now + 999999u) / 1000000u) : 0;
}

unsigned askers_watch(const struct askers *a, struct pollfd *fds, int *ret_ms)
{
	uint64_t until = UINT64_MAX;
	unsigned n = 0;

	for (unsigned i = 0; i < ASKERS_MAX; i++) {
		const struct asker *k = &a->of[i];

		if (k->fd < 0)
			continue;
		fds[n++] = (struct pollfd){ .fd = k->fd, .events = k->answer ? POLLOUT : POLLIN };
		if (k->until_ns < until)
			until = k->until_ns;
	}
	*ret_ms = n ? askers_ms(until) : -1;
	return n;
}

void askers_serve(struct askers *a)
{
	for (unsigned i = 0; i < ASKERS_MAX; i++)
		if (a->of[i].fd >= 0)
			asker_serve(&a->of[i], a);
}

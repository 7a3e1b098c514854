/* SPDX-License-Identifier: BSD-2-Clause */
/* stall: two looks at a poller, and a line in the log. */
#include "netpoll/stall.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "netpoll/pollers.h"
#include "netpoll/pollers_private.h"
#include "sys/clock.h"
#include "sys/cond.h"
#include "sys/symbol.h"
#include "sys/thread.h"

#define LOOK_MS      1000
#define SAY_AGAIN_MS 60000u

struct stalled {
	struct poller_sight seen;
	uint64_t since_ms; /* when it was seen first; 0: nothing was */
	uint64_t said_ms;
};

struct stall {
	struct np_pollers *pollers;
	int limit_ms;
	struct sys_thread thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool over, rung;     /* under lock */
	struct stalled of[]; /* each poller */
};

static uint64_t stall_now_ms(void)
{
	return sys_clock_ns() / 1000000u;
}

static bool stall_is_same(const struct poller_sight *a, const struct poller_sight *b)
{
	return a->began_ms == b->began_ms && a->handlers == b->handlers && a->handler == b->handler;
}

static void stall_whose(struct poller *p, const struct poller_sight *s, char *dst, size_t cap)
{
	struct poller_sight now;

	poller_whose(s, dst, cap);
	poller_look(p, &now);
	if (!stall_is_same(s, &now)) /* then the number may have been another's when it was asked */
		dst[0] = '\0';
}

static void stall_say(struct poller *p, const struct poller_sight *s, uint64_t ms)
{
	char name[160], whose[192];

	stall_whose(p, s, whose, sizeof whose);
	poller_log(
		p, NP_LOG_WARNING,
		"poller %d: held for more than %llu ms by %s%s, which has not returned: the others wait",
		poller_index(p), (unsigned long long)ms, sys_symbol(s->handler, name, sizeof name),
		whose);
}

/* Return: whether it is to be looked at again soon. */
static bool stall_look(struct stall *t, unsigned i)
{
	struct poller *p = t->pollers->poller[i];
	struct stalled *was = &t->of[i];
	uint64_t now = stall_now_ms();
	struct poller_sight s;

	poller_look(p, &s);
	if (!s.handler || !s.began_ms || (int64_t)(now - s.began_ms) < t->limit_ms) {
		was->since_ms = 0;
		return false;
	}
	if (!was->since_ms || !stall_is_same(&was->seen, &s)) {
		*was = (struct stalled){ .seen = s, .since_ms = now };
		return true;
	}
	if ((int64_t)(now - was->since_ms) < t->limit_ms)
		return true;
	if (!was->said_ms || now - was->said_ms >= SAY_AGAIN_MS) {
		was->said_ms = now;
		stall_say(p, &s, now - was->since_ms);
	}
	return false;
}

/* A poller begins a turn after a pause. */
static void stall_ring(void *arg)
{
	struct stall *t = arg;

	pthread_mutex_lock(&t->lock);
	t->rung = true;
	pthread_cond_signal(&t->changed);
	pthread_mutex_unlock(&t->lock);
}

/* @ms 0: until a poller has something to do. Return: false: it is over. */
static bool stall_wait(struct stall *t, int ms)
{
	uint64_t until_ns = ms ? sys_clock_ns() + (uint64_t)ms * 1000000u : 0;
	bool over;
	int r = 0;

	pthread_mutex_lock(&t->lock);
	while (!t->over && !t->rung && r == 0)
		r = sys_cond_wait(&t->changed, &t->lock, until_ns);
	t->rung = false;
	over = t->over;
	pthread_mutex_unlock(&t->lock);
	return !over;
}

/* Whether none has begun a turn for two looks, nor is in one: an idle process is not woken. */
static bool stall_may_sleep(struct stall *t)
{
	struct poller_sight s;
	bool quiet = true;

	for (unsigned i = 0; i < t->pollers->n; i++) {
		quiet &= poller_alarm(t->pollers->poller[i]) == POLLER_QUIET;
		poller_look(t->pollers->poller[i], &s);
		quiet &= !s.began_ms;
	}
	return quiet;
}

static void stall_main(void *arg)
{
	struct stall *t = arg;
	int ms = LOOK_MS;

	while (stall_wait(t, ms)) {
		ms = LOOK_MS;
		for (unsigned i = 0; i < t->pollers->n; i++)
			if (stall_look(t, i))
				ms = t->limit_ms;
		if (stall_may_sleep(t))
			ms = 0;
	}
}

static void stall_init(struct stall *t)
{
	sys_cond_init(&t->changed);
	pthread_mutex_init(&t->lock, NULL);
	for (unsigned i = 0; i < t->pollers->n; i++)
		poller_on_alarm(t->pollers->poller[i], stall_ring, t);
}

static void stall_free(struct stall *t)
{
	pthread_cond_destroy(&t->changed);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

int stall_start(struct np_pollers *p, int limit_ms, struct stall **ret)
{
	struct stall *t = calloc(1, sizeof *t + p->n * sizeof t->of[0]);
	int r;

	if (!t)
		return -ENOMEM;
	t->pollers = p;
	t->limit_ms = limit_ms;
	stall_init(t);
	r = sys_thread_start(&t->thread, "np-stall", stall_main, t);
	if (r < 0) {
		stall_free(t);
		return r;
	}
	*ret = t;
	return 0;
}

void stall_end(struct stall *t)
{
	if (!t)
		return;
	pthread_mutex_lock(&t->lock);
	t->over = true;
	pthread_cond_signal(&t->changed);
	pthread_mutex_unlock(&t->lock);
	sys_thread_join(&t->thread, 0);
	stall_free(t);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* sync: mutex, semaphore and condition: what each gives to the first in line. */
#include "netpoll/sync.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>

#include "netpoll/waitq.h"
#include "poll/baton.h"

/* ------------------------------------------------------------------ mutex */

/*
 *   holder    leaves it by
 *   NULL      lock, trylock -> the caller
 *   one       unlock -> the first in line, or NULL
 */
struct np_mutex {
	struct waitq q;
	void *holder; /* waitq_self() */
};

int np_mutex_new(struct np_mutex **ret)
{
	struct np_mutex *m = waitq_new(sizeof *m);

	if (!m)
		return -ENOMEM;
	*ret = m;
	return 0;
}

int np_mutex_free(struct np_mutex **p)
{
	struct np_mutex *m = *p;
	bool held;

	if (!m)
		return 0;
	pthread_mutex_lock(&m->q.lock);
	held = m->holder;
	pthread_mutex_unlock(&m->q.lock);
	if (held)
		return -EBUSY;
	*p = NULL;
	return waitq_free(&m->q);
}

/* With the lock held. Return: 0: the caller holds it; -EBUSY, -EDEADLK. */
static int sync_mutex_take(struct np_mutex *m)
{
	if (m->holder)
		return m->holder == waitq_self() ? -EDEADLK : -EBUSY;
	m->holder = waitq_self();
	return 0;
}

static int sync_mutex_lock(struct np_mutex *m, int ms, bool firm)
{
	struct waiter_in_line w;
	int r;

	pthread_mutex_lock(&m->q.lock);
	r = sync_mutex_take(m);
	if (r == -EBUSY)
		waitq_join(&m->q, &w);
	pthread_mutex_unlock(&m->q.lock);
	return r == -EBUSY ? waitq_wait(&m->q, &w, ms, firm) : r;
}

int np_mutex_lock(struct np_mutex *m, int ms)
{
	NP_GATE(np_mutex_lock(m, ms));

	int r = waitq_may_wait(ms);

	return r < 0 ? r : sync_mutex_lock(m, ms, false);
}

int np_mutex_trylock(struct np_mutex *m)
{
	NP_GATE(np_mutex_trylock(m));

	int r;

	pthread_mutex_lock(&m->q.lock);
	r = sync_mutex_take(m);
	pthread_mutex_unlock(&m->q.lock);
	return r;
}

/* *ret_next holds it from now on, and is to be served. Return: 0; -EPERM. */
static int sync_mutex_give(struct np_mutex *m, struct waiter_in_line **ret_next)
{
	int r = -EPERM;

	pthread_mutex_lock(&m->q.lock);
	if (m->holder == waitq_self()) {
		*ret_next = waitq_pop(&m->q);
		m->holder = *ret_next ? (*ret_next)->self : NULL;
		r = 0;
	}
	pthread_mutex_unlock(&m->q.lock);
	return r;
}

int np_mutex_unlock(struct np_mutex *m)
{
	NP_GATE(np_mutex_unlock(m));

	struct waiter_in_line *next;
	int r = sync_mutex_give(m, &next);

	if (r == 0)
		waitq_serve(next);
	return r;
}

/* ------------------------------------------------------------------ semaphore */

/* The line is empty while value is above 0. */
struct np_sem {
	struct waitq q;
	unsigned value;
};

int np_sem_new(unsigned value, struct np_sem **ret)
{
	struct np_sem *s = waitq_new(sizeof *s);

	if (!s)
		return -ENOMEM;
	s->value = value;
	*ret = s;
	return 0;
}

int np_sem_free(struct np_sem **p)
{
	int r = waitq_free(*p ? &(*p)->q : NULL);

	if (r == 0)
		*p = NULL;
	return r;
}

int np_sem_wait(struct np_sem *s, int ms)
{
	NP_GATE(np_sem_wait(s, ms));

	int r = waitq_may_wait(ms);
	struct waiter_in_line w;
	bool taken;

	if (r < 0)
		return r;
	pthread_mutex_lock(&s->q.lock);
	taken = s->value > 0;
	if (taken)
		s->value--;
	else
		waitq_join(&s->q, &w);
	pthread_mutex_unlock(&s->q.lock);
	return taken ? 0 : waitq_wait(&s->q, &w, ms, false);
}

int np_sem_trywait(struct np_sem *s)
{
	NP_GATE(np_sem_trywait(s));

	int r = -EAGAIN;

	pthread_mutex_lock(&s->q.lock);
	if (s->value) {
		s->value--;
		r = 0;
	}
	pthread_mutex_unlock(&s->q.lock);
	return r;
}

int np_sem_post(struct np_sem *s)
{
	NP_GATE(np_sem_post(s));

	struct waiter_in_line *next;
	int r = 0;

	pthread_mutex_lock(&s->q.lock);
	next = waitq_pop(&s->q);
	if (!next && s->value == UINT_MAX)
		r = -EOVERFLOW;
	else if (!next)
		s->value++;
	pthread_mutex_unlock(&s->q.lock);
	waitq_serve(next);
	return r;
}

unsigned np_sem_value(struct np_sem *s)
{
	unsigned v;

	pthread_mutex_lock(&s->q.lock);
	v = s->value;
	pthread_mutex_unlock(&s->q.lock);
	return v;
}

/* ------------------------------------------------------------------ condition */

struct np_cond {
	struct waitq q;
};

int np_cond_new(struct np_cond **ret)
{
	struct np_cond *c = waitq_new(sizeof *c);

	if (!c)
		return -ENOMEM;
	*ret = c;
	return 0;
}

int np_cond_free(struct np_cond **p)
{
	int r = waitq_free(*p ? &(*p)->q : NULL);

	if (r == 0)
		*p = NULL;
	return r;
}

int np_cond_wait(struct np_cond *c, struct np_mutex *m, int ms)
{
	NP_GATE(np_cond_wait(c, m, ms));

	struct waiter_in_line w, *next;
	int r = waitq_may_wait(ms);

	if (r < 0)
		return r;
	/* The line is closed while the mutex is given up: a signal by its next holder finds the
	 * caller in it. */
	pthread_mutex_lock(&c->q.lock);
	r = sync_mutex_give(m, &next);
	if (r == 0)
		waitq_join(&c->q, &w);
	pthread_mutex_unlock(&c->q.lock);
	if (r < 0)
		return r;
	waitq_serve(next);
	r = waitq_wait(&c->q, &w, ms, false);
	sync_mutex_lock(m, 0, true);
	return r;
}

int np_cond_signal(struct np_cond *c)
{
	NP_GATE(np_cond_signal(c));

	struct waiter_in_line *w;

	pthread_mutex_lock(&c->q.lock);
	w = waitq_pop(&c->q);
	pthread_mutex_unlock(&c->q.lock);
	waitq_serve(w);
	return 0;
}

int np_cond_broadcast(struct np_cond *c)
{
	NP_GATE(np_cond_broadcast(c));

	waitq_serve_all(&c->q);
	return 0;
}

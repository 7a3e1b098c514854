/* SPDX-License-Identifier: BSD-2-Clause */
/* thread: pthread_create, and an end that can be waited for on the monotonic clock. */
#include "sys/thread.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "sys/cond.h"
#include "sys/fault.h"

static void *thread_main(void *arg)
{
	struct sys_thread *t = arg;

	pthread_setname_np(pthread_self(), t->name);
	t->fn(t->arg);
	pthread_mutex_lock(&t->lock);
	t->ended = true;
	pthread_cond_signal(&t->over);
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

/*
 * A new thread starts with its maker's mask: so there is no moment in which it could take a signal.
 */
static int thread_create(pthread_t *id, void *(*main)(void *), void *arg)
{
	sigset_t mask, old;
	int r;

	sigfillset(&mask);
	sigdelset(&mask, SIGSEGV);
	sigdelset(&mask, SIGBUS);
	sigdelset(&mask, SIGFPE);
	sigdelset(&mask, SIGILL);
	pthread_sigmask(SIG_SETMASK, &mask, &old);
	r = pthread_create(id, NULL, main, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -r;
}

static void thread_init(struct sys_thread *t)
{
	pthread_mutex_init(&t->lock, NULL);
	sys_cond_init(&t->over);
}

static void thread_fini(struct sys_thread *t)
{
	pthread_cond_destroy(&t->over);
	pthread_mutex_destroy(&t->lock);
}

int sys_thread_start(struct sys_thread *t, const char *name, void (*fn)(void *), void *arg)
{
	int r;

	SYS_FAULT(thread);
	*t = (struct sys_thread){ .fn = fn, .arg = arg };
	snprintf(t->name, sizeof t->name, "%s", name);
	thread_init(t);
	r = thread_create(&t->id, thread_main, t);
	if (r < 0)
		thread_fini(t);
	return r;
}

static int thread_await_end(struct sys_thread *t, uint64_t until_ns)
{
	int r = 0;

	pthread_mutex_lock(&t->lock);
	while (!t->ended && r == 0)
		r = sys_cond_wait(&t->over, &t->lock, until_ns);
	if (t->ended)
		r = 0;
	pthread_mutex_unlock(&t->lock);
	return r;
}

int sys_thread_join(struct sys_thread *t, uint64_t until_ns)
{
	int r = thread_await_end(t, until_ns);

	if (r < 0)
		return r;
	pthread_join(t->id, NULL);
	thread_fini(t);
	return 0;
}

/* ------------------------------------------------------------------ one that nobody joins */

struct lone {
	void (*fn)(void *);
	void *arg;
	char name[16];
};

static void *thread_lone_main(void *arg)
{
	struct lone l = *(struct lone *)arg;

	free(arg);
	pthread_detach(pthread_self());
	pthread_setname_np(pthread_self(), l.name);
	l.fn(l.arg);
	return NULL;
}

int sys_thread_lone(const char *name, void (*fn)(void *), void *arg)
{
	struct lone *l;
	pthread_t id;
	int r;

	SYS_FAULT(thread);
	l = malloc(sizeof *l);
	if (!l)
		return -ENOMEM;
	*l = (struct lone){ .fn = fn, .arg = arg };
	snprintf(l->name, sizeof l->name, "%s", name);
	r = thread_create(&id, thread_lone_main, l);
	if (r < 0)
		free(l);
	return r;
}

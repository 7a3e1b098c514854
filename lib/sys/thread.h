/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * thread: a thread of the library: named, deaf to the process's signals, joined with a deadline
 *
 * Every signal is blocked but SEGV, BUS, FPE and ILL: a signal meant for the process must not
 * interrupt a poller, its own faults it must get.
 */
#ifndef SYS_THREAD_H
#define SYS_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct sys_thread {
	pthread_t id;
	void (*fn)(void *);
	void *arg;
	char name[16]; /* with its zero: the kernel keeps no more (pthread_setname_np(3)) */
	pthread_mutex_t lock;
	pthread_cond_t over;
	bool ended; /* fn has returned */
};

/*
 * @t stays where it is until it has been joined. Return: 0; -EAGAIN, -ENOMEM (no thread to be had).
 */
int sys_thread_start(struct sys_thread *t, const char *name, void (*fn)(void *), void *arg);
/*
 * sys_thread_join() - wait for fn to return, and give the thread back
 *
 * @until_ns of sys_clock_ns(), 0 = for ever. Return: 0; -ETIMEDOUT: it still runs, join it again.
 */
int sys_thread_join(struct sys_thread *t, uint64_t until_ns);

/* One that nobody joins. Return: 0; -EAGAIN, -ENOMEM: fn is not called. */
int sys_thread_lone(const char *name, void (*fn)(void *), void *arg);

#endif

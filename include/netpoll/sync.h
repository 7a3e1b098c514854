/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sync: mutex, semaphore and condition for fibers, across pollers
 *
 * A fiber that has to wait parks, and its poller serves others; a plain thread, and a worker of
 * np_offload(), is blocked. Waiters are served in the order in which they came. What is given to a
 * waiter is its own at once: none overtakes it, and a wait that ends late but was served first is
 * a success.
 *
 * Common to those that wait: @ms bounds the wait, 0, -1: no limit; the fiber's deadline and a
 * cancel end it too (pollers.h). Thread: fiber, or a thread that is no poller's. May park: yes.
 * Return: 0; -ETIMEDOUT; -ECANCELED; -NP_ENOTFIBER: on a poller's own stack, whether or not it
 * would have had to wait; -EINVAL: @ms below -1. What returns otherwise than 0 holds nothing.
 *
 * Unless a call says otherwise: Thread: any. May park: no. Lifetime: each object belongs to no
 * pollers, and is freed when none is about to use it.
 *
 * A lock of the system guards each object for a few instructions, never over a system call or a
 * wait.
 */
#ifndef NETPOLL_SYNC_H
#define NETPOLL_SYNC_H

#include <netpoll/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------ mutex */

/* Held by the fiber, or the thread, that locked it, also while that parks. Not recursive. */
struct np_mutex;

/* np_mutex_new() - not held. Return: 0; -ENOMEM. */
NP_API int np_mutex_new(struct np_mutex **ret);
/* np_mutex_free() - free it. Return: 0: *m is NULL; -EBUSY: it is held, and *m stays. */
NP_API int np_mutex_free(struct np_mutex **m);
/* np_mutex_lock() - lock it; waits. Return: as those that wait; -EDEADLK: the caller holds it. */
NP_API int np_mutex_lock(struct np_mutex *m, int ms);
/*
 * np_mutex_trylock() - without waiting
 *
 * On a poller's own stack too; it is to be unlocked there before the function returns.
 * Return: 0; -EBUSY; -EDEADLK: the caller holds it.
 */
NP_API int np_mutex_trylock(struct np_mutex *m);
/* np_mutex_unlock() - the longest waiter has it. Return: 0; -EPERM: the caller does not hold it. */
NP_API int np_mutex_unlock(struct np_mutex *m);

/* ------------------------------------------------------------------ semaphore */

/* A count that is never below 0. */
struct np_sem;

/* np_sem_new() - at @value. Return: 0; -ENOMEM. */
NP_API int np_sem_new(unsigned value, struct np_sem **ret);
/* np_sem_free() - free it. Return: 0: *s is NULL; -EBUSY: it is waited for, and *s stays. */
NP_API int np_sem_free(struct np_sem **s);
/* np_sem_wait() - take one; waits. Return: as those that wait. */
NP_API int np_sem_wait(struct np_sem *s, int ms);
/* np_sem_trywait() - without waiting. Return: 0: one was taken; -EAGAIN: there was none. */
NP_API int np_sem_trywait(struct np_sem *s);
/* np_sem_post() - give one, to the longest waiter. Return: 0; -EOVERFLOW: the count is UINT_MAX. */
NP_API int np_sem_post(struct np_sem *s);
/* np_sem_value() - what could be taken at once; perhaps no more when the caller looks at it */
NP_API unsigned np_sem_value(struct np_sem *s);

/* ------------------------------------------------------------------ condition */

struct np_cond;

/* np_cond_new() - not signalled. Return: 0; -ENOMEM. */
NP_API int np_cond_new(struct np_cond **ret);
/* np_cond_free() - free it. Return: 0: *c is NULL; -EBUSY: it is waited for, and *c stays. */
NP_API int np_cond_free(struct np_cond **c);
/*
 * np_cond_wait() - unlock @m, wait to be signalled, lock it again
 *
 * In one step: a signal given under @m after the caller looked is not missed. @m is held again
 * whatever the result is, and that wait is neither cancelled nor late. Not every return means that
 * what the caller waits for is so: look again.
 *
 * Return: as those that wait; -EPERM: the caller does not hold @m, and has not waited.
 */
NP_API int np_cond_wait(struct np_cond *c, struct np_mutex *m, int ms);
/* np_cond_signal() - the one that waits longest. With or without the mutex. Return: 0. */
NP_API int np_cond_signal(struct np_cond *c);
/* np_cond_broadcast() - all that wait now. With or without the mutex. Return: 0. */
NP_API int np_cond_broadcast(struct np_cond *c);

#ifdef __cplusplus
}
#endif
#endif

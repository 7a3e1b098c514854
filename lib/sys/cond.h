/* SPDX-License-Identifier: BSD-2-Clause */
/* cond: conditions that are waited for on the clock of sys_clock_ns(). */
#ifndef SYS_COND_H
#define SYS_COND_H

#include <pthread.h>
#include <stdint.h>

/* glibc's cond of this kind cannot fail: it holds no resource. */
void sys_cond_init(pthread_cond_t *c);
/* With @lock held; it may return for no reason. @until_ns 0: no limit. Return: 0; -ETIMEDOUT. */
int sys_cond_wait(pthread_cond_t *c, pthread_mutex_t *lock, uint64_t until_ns);

#endif

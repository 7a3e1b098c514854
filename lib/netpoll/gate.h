/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * gate: a control thread waits until so many pollers have done their part
 *
 * Control path only: start and stop of a server. The last one to arrive opens it.
 */
#ifndef NETPOLL_GATE_H
#define NETPOLL_GATE_H

#include <pthread.h>
#include <stdint.h>

struct gate {
	pthread_mutex_t lock;
	pthread_cond_t opened;
	unsigned left;
};

void gate_init(struct gate *g);
void gate_fini(struct gate *g);
/* How many arrivals open it. Only while nobody is under way. */
void gate_close(struct gate *g, unsigned n);
void gate_arrive(struct gate *g);
/* @until_ns of sys_clock_ns(), 0 = for ever. Return: 0; -ETIMEDOUT. */
int gate_wait(struct gate *g, uint64_t until_ns);

#endif

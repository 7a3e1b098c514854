/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * holders: which processes hold which listeners, and which epoll instances watch those: one read
 *
 * Of every process in the reader's PID namespace; Linux 5.11, CAP_BPF and CAP_PERFMON.
 */
#ifndef STEER_HOLDERS_H
#define STEER_HOLDERS_H

#include <stdint.h>

#include "count_abi.h"

struct tracer;

/*
 * holders_read() - the records of a process one after the other; numbers as /proc has them
 *
 * @t NULL: one of its own. *ret is malloc'ed. Return: how many, or -errno.
 */
int holders_read(struct tracer *t, struct np_holding **ret);

#endif

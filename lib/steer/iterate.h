/* SPDX-License-Identifier: BSD-2-Clause */
/* iterate: what a loaded iterator (BPF_TRACE_ITER) writes, read to its end. */
#ifndef STEER_ITERATE_H
#define STEER_ITERATE_H

#include <stddef.h>

union bpf_iter_link_info;

/*
 * iterate() - attach the program @fd, read all that it writes, detach
 *
 * @about (may be NULL): what it goes over; a task_file iterator without goes over every process in
 * the PID namespace of the calling thread, one of sockets over that thread's network namespace.
 * *ret is malloc'ed. Return: 0 or -errno.
 */
int iterate(int fd, union bpf_iter_link_info *about, char **ret, size_t *ret_n);

#endif

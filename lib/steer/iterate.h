/* SPDX-License-Identifier: BSD-2-Clause */
/* iterate: what a loaded iterator (BPF_TRACE_ITER) writes, read to its end. */
#ifndef STEER_ITERATE_H
#define STEER_ITERATE_H

#include <stddef.h>

struct bpf_program;

/*
 * iterate() - attach @p, read all that it writes, detach
 *
 * Of the network namespace of the calling thread. Between words_take() and words_give_back().
 * *ret is malloc'ed. Return: 0 or -errno.
 */
int iterate(struct bpf_program *p, char **ret, size_t *ret_n);

#endif

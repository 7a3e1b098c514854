/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tracer: the programs that look at sockets of other processes (bpf/count.bpf.c), loaded at need
 *
 * All at once and once only: libbpf reads 5 MB of the kernel's BTF for each object. Without rights
 * it says so at once when it is asked again.
 */
#ifndef STEER_TRACER_H
#define STEER_TRACER_H

struct count_bpf__bss;
struct np_steer;

#define TRACER_WHY 256

enum tracer_program {
	TRACER_HOLDERS,
	TRACER_STATE,
	TRACER_AGAIN,
	TRACER_SEED,
	TRACER_SWEEP,
	TRACER_PROGRAMS
};

struct tracer {
	const struct np_steer *s; /* whose connections are counted; NULL: np_holders alone */
	int fd[TRACER_PROGRAMS];  /* -1: not loaded */
	int vars_fd;
	struct count_bpf__bss *vars; /* what they are told, and tell; NULL: not loaded */
	int err;                     /* 0, or -EPERM: it was refused */
	char why[TRACER_WHY];        /* libbpf's sentence */
};

void tracer_init(struct tracer *t, const struct np_steer *s);
/* Return: 0; -EPERM, -ENOMEM, and what libbpf says. */
int tracer_load(struct tracer *t);
void tracer_fini(struct tracer *t);

#endif

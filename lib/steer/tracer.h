/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tracer: the programs that look at sockets of other processes (bpf/count.bpf.c), loaded at need
 *
 * All at once and once only: libbpf reads 5 MB of the kernel's BTF for each object. Without rights
 * it says so at once when it is asked again.
 */
#ifndef STEER_TRACER_H
#define STEER_TRACER_H

struct count_bpf;
struct np_steer;

#define TRACER_WHY 256

struct tracer {
	const struct np_steer *s; /* whose connections are counted; NULL: np_holders alone */
	struct count_bpf *o;      /* NULL: not loaded */
	int err;                  /* 0, or -EPERM: it was refused */
	char why[TRACER_WHY];     /* libbpf's sentence */
};

/* *ret is the tracer's. Return: 0; -EPERM, -ENOMEM, and what libbpf says. */
int tracer_load(struct tracer *t, struct count_bpf **ret);
void tracer_free(struct tracer *t);

#endif

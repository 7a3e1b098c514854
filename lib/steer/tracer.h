/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tracer: the programs that look at sockets of other processes (bpf/count.bpf.c)
 *
 * A load pins them beside the service's maps, since loading them takes libbpf through 5 MB of the
 * kernel's BTF: an adoption opens the pins. Where there are none, or not for this process, they
 * are loaded at need, all at once and once only; without rights that is said at once when it is
 * asked again.
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
	TRACER_SWEEP_FILES,
	TRACER_SWEEP, /* the last one: there are kernels that refuse it */
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
/* Opened or loaded. Return: 0; -EPERM, -ENOMEM, and what libbpf says. */
int tracer_load(struct tracer *t);
/* For those to come, by the service's loader alone. 0 or -errno. */
int tracer_pin(const struct tracer *t, int folder);
void tracer_fini(struct tracer *t);

#endif

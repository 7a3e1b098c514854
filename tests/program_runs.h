/* SPDX-License-Identifier: BSD-2-Clause */
/* program_runs: how often the kernel ran the steering program, by its own count: bpf_enable_stats()
 * has to be on. */
#ifndef TESTS_PROGRAM_RUNS_H
#define TESTS_PROGRAM_RUNS_H

#include <string.h>

#include <bpf/bpf.h>

#include "steer/steer.h"
#include "support/steer.h"

/* Of group 0. */
static inline uint64_t runs_by_kernel(const struct rig *r)
{
	struct bpf_prog_info info;
	unsigned len = sizeof info;

	memset(&info, 0, sizeof info);
	ck_assert_int_eq(bpf_obj_get_info_by_fd(r->s->progs[0], &info, &len), 0);
	return info.run_cnt;
}

#endif

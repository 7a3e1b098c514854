/* SPDX-License-Identifier: BSD-2-Clause */
/* samples: how long something took, noted by several processes and threads in one memory */
#ifndef SUPPORT_SAMPLES_H
#define SUPPORT_SAMPLES_H

#include <stdint.h>

struct samples;

/* Before the processes are forked. What comes after the first @cap is not kept. */
struct samples *samples_new(uint32_t cap);
void samples_free(struct samples **s);
void samples_add(struct samples *s, uint64_t ns);
uint32_t samples_n(const struct samples *s);
/* The value that @share of them do not exceed; ms. Thread: while nobody adds. */
double samples_ms(struct samples *s, double share);

#endif

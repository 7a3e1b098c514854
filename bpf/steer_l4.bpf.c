/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* steer_l4: the steering program for kernels whose listeners' queues can be read: level 4 */
#define STEER_LEVEL 4
#include "steer.bpf.c"

/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* steer_l2: the steering program for kernels before 5.14: level 2 */
#define STEER_LEVEL 2
#include "steer.bpf.c"

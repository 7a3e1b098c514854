/* SPDX-License-Identifier: BSD-2-Clause */
/* memory: the count. */
#include "memory.h"

_Thread_local size_t memory_used;

/* SPDX-License-Identifier: BSD-2-Clause */
/* chance: its state. */
#include "chance.h"

_Thread_local uint64_t chance_state;

/* SPDX-License-Identifier: BSD-2-Clause */
/* decision: a record of np_trace in the words of the public header. */
#ifndef STEER_DECISION_H
#define STEER_DECISION_H

#include <stddef.h>

#include "netpoll/steer_admin.h"
#include "steer_abi.h"

/* -EBADMSG: @size bytes are no record. */
int decision_read(const struct np_decision *d, size_t size, struct np_steer_decision *ret);

#endif

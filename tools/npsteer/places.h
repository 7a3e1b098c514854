/* SPDX-License-Identifier: BSD-2-Clause */
/* places: the BPF file systems where services may be pinned, and the ways there. */
#ifndef NPSTEER_PLACES_H
#define NPSTEER_PLACES_H

#include "check.h"

void places_check(struct report *r);

#endif

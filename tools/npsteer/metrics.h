/* SPDX-License-Identifier: BSD-2-Clause */
/* metrics: the page of a service or of a process, for verbs that read it */
#ifndef NPSTEER_METRICS_H
#define NPSTEER_METRICS_H

#include "npsteer.h"

/* OpenMetrics of what n->service names. Lifetime: *ret is for free(3). DONE, or what fail()
 * returned. */
int metrics_page(struct npsteer *n, char **ret);

#endif

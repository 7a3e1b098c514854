/* SPDX-License-Identifier: BSD-2-Clause */
/* metrics_page: what this process has counted, written to memory */
#ifndef NETPOLL_METRICS_PAGE_H
#define NETPOLL_METRICS_PAGE_H

#include <stddef.h>

#include "netpoll/observe.h"

/* Lifetime: *ret is for free(3). Return: 0; -ENOMEM. */
int metrics_make(enum np_metrics_format format, char **ret, size_t *ret_n);

#endif

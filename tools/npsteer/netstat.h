/* SPDX-License-Identifier: BSD-2-Clause */
/* netstat: what the kernel has counted of TCP in this network namespace, since it was made */
#ifndef NPSTEER_NETSTAT_H
#define NPSTEER_NETSTAT_H

#include <stdbool.h>
#include <stdint.h>

/* One of TcpExt's, "ListenOverflows". Return: false: this kernel has none of that name. */
bool netstat_read(const char *name, uint64_t *ret);

#endif

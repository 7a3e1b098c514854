/* SPDX-License-Identifier: BSD-2-Clause */
/* dump: what this process does, written to memory */
#ifndef NETPOLL_DUMP_H
#define NETPOLL_DUMP_H

#include <stddef.h>
#include <stdint.h>

#include "netpoll/observe.h"

/* @parts of enum np_dump_part, 0: all. Lifetime: *ret is for free(3). Return: 0; -ENOMEM. */
int dump_make(enum np_dump_format format, unsigned parts, char **ret, size_t *ret_n);
/* All of it, to a reader that may be slow, but not for ever. Return: 0; as np_dump(). */
int dump_write(int fd, const char *p, size_t n);

#endif

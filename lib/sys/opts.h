/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * opts: structs that begin with their own size, across an ABI whose two sides differ in age
 *
 * The caller's header may be older (a shorter struct: the missing fields are zero, the default) or
 * newer (a longer one: fine while what we do not know is zero).
 */
#ifndef SYS_OPTS_H
#define SYS_OPTS_H

#include <stddef.h>

/* Copies the caller's options; @src may be NULL. Return: 0, -EINVAL (no size), -E2BIG. */
int sys_opts_take(void *dst, size_t dst_sz, const void *src);
/* Fills in the caller's struct, as far as it goes, and zeroes the rest. Return: 0, -EINVAL. */
int sys_opts_give(void *dst, const void *src, size_t src_sz);

#endif

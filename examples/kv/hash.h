/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hash: of a key's bytes: SipHash-1-2, with a secret of this process
 *
 * A client that chooses keys cannot make them collide. The lower half finds the bucket of a table,
 * the upper one the shard.
 */
#ifndef KV_HASH_H
#define KV_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Once, before any other. Return: 0; -errno. */
int hash_init(void);
uint64_t hash_bytes(const void *p, size_t n);

#endif

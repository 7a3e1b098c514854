/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * apart: blocks that are an allocation of their own: those above BLOCK_MAX, and all under
 * np_block_debug()
 *
 * Their home is BLOCK_LOOSE, which is no cache's id, so every fast path passes them on to here.
 */
#ifndef BUFFER_APART_H
#define BUFFER_APART_H

#include "buffer/block.h"
#include "netpoll/block.h"

/* A header of class @cls with @n bytes of data; NULL: no memory. */
struct block *apart_get(unsigned cls, size_t n);
void apart_free(struct block *b);
/* Adds the blocks that are held to the sums. */
void apart_stats(struct np_block_stats *t);

#endif

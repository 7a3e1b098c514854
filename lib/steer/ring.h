/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ring: a BPF ring buffer, read by any number of readers, each of which gets every record
 *
 * libbpf's reader is the only one there is: it moves the one position up to which the kernel may
 * write again. Here each reader has a position of its own, and moves that one on to it where it is
 * behind. A reader that is slower than another finds what it has not read overwritten: it skips
 * that, and knows how much it was.
 *
 * poll(2) on the buffer tells of that one position alone. A slow reader looks for itself, at least
 * as often as ring_wait() was told.
 */
#ifndef STEER_RING_H
#define STEER_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ring {
	int fd;
	size_t bytes;     /* of the data, a power of two */
	uint64_t at;      /* up to here this reader has read */
	uint64_t skipped; /* bytes it found overwritten, not yet told */
	void *consumer;   /* mapped: the kernel may write again up to here */
	void *producer;   /* mapped, with the data behind it, twice */
};

/* From now on: the records that are in it already are skipped. @fd is not taken. */
int ring_open(struct ring *r, int fd, size_t bytes);
void ring_close(struct ring *r);
/* Until there may be something, or @ms have passed. 0; -EINTR: a signal handler ran. */
int ring_wait(const struct ring *r, int ms);
/* Copies the next record, @cap bytes of it at most. *ret_size is its size. False: there is none. */
bool ring_next(struct ring *r, void *dst, size_t cap, size_t *ret_size);
/* How many records of @size bytes have been skipped since it was asked last. */
uint64_t ring_take_lost(struct ring *r, size_t size);

#endif

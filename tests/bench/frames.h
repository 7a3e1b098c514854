/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * frames: where a frame ends, for the framed echo servers of the benches
 *
 * 4 bytes of length, big-endian, and so many of payload. A server that answers requests has to find
 * the borders, so each of these does, though an echo needs none.
 */
#ifndef BENCH_FRAMES_H
#define BENCH_FRAMES_H

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>

#define FRAMES_MAX (16u << 20)

struct frames {
	uint32_t skip;     /* bytes of the current frame still to come */
	uint32_t head_len; /* bytes of the length that have arrived */
	unsigned char head[4];
};

/* Return: 0, or -1 for a length over FRAMES_MAX. */
static inline int frames_pass(struct frames *f, const char *b, size_t n)
{
	while (n) {
		uint32_t k;

		if (f->skip) {
			k = n < f->skip ? (uint32_t)n : f->skip;
			f->skip -= k;
		} else {
			k = 4 - f->head_len;
			if (k > n)
				k = (uint32_t)n;
			memcpy(f->head + f->head_len, b, k);
			f->head_len += k;
			if (f->head_len == 4) {
				memcpy(&f->skip, f->head, 4);
				f->skip = ntohl(f->skip);
				f->head_len = 0;
				if (f->skip > FRAMES_MAX)
					return -1;
			}
		}
		b += k;
		n -= k;
	}
	return 0;
}

#endif

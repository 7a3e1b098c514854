/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * words: what libbpf says, which goes to the caller and never to stderr
 *
 * Every call of libbpf that may say something is made between words_take() and words_give_back(),
 * on one thread.
 *
 * libbpf reports through one callback of the whole process, which a program that uses libbpf too
 * may have set. So it is taken for as long as any thread of ours is inside, what other threads say
 * meanwhile goes on to the one that was there, and that one is put back, unless the program has set
 * another meanwhile, which then stays.
 */
#ifndef STEER_WORDS_H
#define STEER_WORDS_H

#include <stddef.h>

struct words {
	struct words *outer; /* of the same thread */
	char *dst;           /* NULL: the caller does not want them */
	size_t cap;
};

/* @dst gets the first warning, in one line: the later ones say what came of it. */
void words_take(struct words *w, char *dst, size_t cap);
void words_give_back(struct words *w);

#endif

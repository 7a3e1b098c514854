/* SPDX-License-Identifier: BSD-2-Clause */
/* hash: SipHash as in "SipHash: a fast short-input PRF", with one round for each word and two at
 * the end. */
#include "hash.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

static uint64_t hash_secret[2];

struct state {
	uint64_t a, b, c, d;
};

int hash_init(void)
{
	ssize_t n = getrandom(hash_secret, sizeof hash_secret, 0);

	return n == (ssize_t)sizeof hash_secret ? 0 : n < 0 ? -errno : -EIO;
}

static inline uint64_t hash_rotate(uint64_t v, int bits)
{
	return v << bits | v >> (64 - bits);
}

static inline void hash_round(struct state *s)
{
	s->a += s->b;
	s->b = hash_rotate(s->b, 13) ^ s->a;
	s->a = hash_rotate(s->a, 32);
	s->c += s->d;
	s->d = hash_rotate(s->d, 16) ^ s->c;
	s->a += s->d;
	s->d = hash_rotate(s->d, 21) ^ s->a;
	s->c += s->b;
	s->b = hash_rotate(s->b, 17) ^ s->c;
	s->c = hash_rotate(s->c, 32);
}

static inline void hash_word(struct state *s, uint64_t word)
{
	s->d ^= word;
	hash_round(s);
	s->a ^= word;
}

uint64_t hash_bytes(const void *bytes, size_t n)
{
	const char *p = bytes, *end = p + (n & ~(size_t)7);
	struct state s = {
		hash_secret[0] ^ 0x736f6d6570736575u,
		hash_secret[1] ^ 0x646f72616e646f6du,
		hash_secret[0] ^ 0x6c7967656e657261u,
		hash_secret[1] ^ 0x7465646279746573u,
	};
	uint64_t word, last = (uint64_t)n << 56;

	for (; p < end; p += 8) {
		memcpy(&word, p, 8);
		hash_word(&s, le64toh(word));
	}
	for (size_t i = 0; i < (n & 7); i++)
		last |= (uint64_t)(unsigned char)p[i] << 8 * i;
	hash_word(&s, last);
	s.c ^= 0xff;
	hash_round(&s);
	hash_round(&s);
	return s.a ^ s.b ^ s.c ^ s.d;
}

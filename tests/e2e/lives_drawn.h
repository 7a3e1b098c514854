/* SPDX-License-Identifier: BSD-2-Clause */
/* lives_drawn: what one life is to be, all of it drawn from its seed */
#ifndef TESTS_E2E_LIVES_DRAWN_H
#define TESTS_E2E_LIVES_DRAWN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "support/test.h"

#define FRAMES_MAX 6
#define BY_THREAD  6u /* writes: another thread sends the replies, and ends it */

/*
 *   ending      the peer                               must get             handled   ends in
 *   PEER_FIN    reads all replies, then closes         all replies          all       -
 *   HALF_CLOSE  last bytes and FIN in one segment      all replies          all       FIN
 *   SEND_CLOSE  sends all and closes; no replies       -                    all       -
 *   PEER_RESET  resets at any moment                   a beginning          any       -
 *   CLOSE       goes on sending                        first k replies      k         FIN
 *   ERROR       goes on sending                        first k replies      k         FIN
 *   ABORT       goes on sending                        a beginning          k         FIN or RST
 *   THREAD      goes on sending                        whole replies        any       FIN
 *   SHUTDOWN    goes on sending, then closes           first k replies      all       FIN
 *   TIMEOUT     stops in the middle of a frame         whole replies        any       FIN
 *   IDLE        stops in the middle of a frame         whole replies        any       FIN
 */
enum ending {
	PEER_FIN,
	HALF_CLOSE,
	SEND_CLOSE,
	PEER_RESET,
	CLOSE,
	ERROR,
	ABORT,
	THREAD,
	SHUTDOWN,
	TIMEOUT,
	IDLE,
	ENDINGS
};

static const char *const ending_names[] = { "PEER_FIN", "HALF_CLOSE", "SEND_CLOSE", "PEER_RESET",
					    "CLOSE",    "ERROR",      "ABORT",      "THREAD",
					    "SHUTDOWN", "TIMEOUT",    "IDLE" };

struct life {
	uint64_t seed;
	enum ending ending;
	unsigned frames, k;     /* the server ends it after k */
	unsigned reads, writes; /* styles of the handler */
	bool tiny, urgent, pauses;
	bool local;           /* a unix socket */
	bool cut;             /* TLS: the peer's FIN comes without close_notify */
	bool moves, settings; /* goes from poller to poller; changes its settings */
	uint32_t size[FRAMES_MAX];
	unsigned char *sent; /* the peer's stream, hello included */
	size_t len;
	size_t reply_end[FRAMES_MAX + 1]; /* where the replies to the first i frames end */
	_Atomic(unsigned) handled;
	_Atomic(int) why, closed, told; /* told: on_disconnect ran */
};

/* ------------------------------------------------------------------ chance */

static uint64_t mix(uint64_t *s)
{
	uint64_t z = (*s += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static unsigned upto(uint64_t *s, unsigned n)
{
	return (unsigned)(mix(s) % n);
}

/* One in a hundred is above every default watermark but in_max. */
static uint32_t draw_size(uint64_t *s)
{
	unsigned kind = upto(s, 100);

	if (kind < 70)
		return upto(s, 300);
	if (kind < 90)
		return upto(s, 20000);
	return kind < 99 ? upto(s, 100000) : 300000 + upto(s, 400000);
}

/* @tls: it speaks TLS */
static void draw(struct life *l, uint64_t seed, uint32_t id, bool tls)
{
	uint64_t s = seed;
	size_t at = sizeof id;

	l->seed = seed;
	l->ending = upto(&s, ENDINGS);
	l->frames = 1 + upto(&s, FRAMES_MAX);
	l->k = upto(&s, l->frames + 1);
	if (l->k == 0)
		l->k = 1;
	l->reads = upto(&s, 5);
	if (l->reads == 1 && l->ending == TIMEOUT)
		l->reads = 0; /* np_conn_want() waits without a timeout */
	l->writes = upto(&s, BY_THREAD + 1);
	if (l->writes == BY_THREAD && l->ending == ERROR)
		l->writes = 5; /* only a handler returns an error */
	l->tiny = upto(&s, 3) == 0;
	l->urgent = upto(&s, 10) == 0;
	l->pauses = upto(&s, 4) == 0;
	l->local = upto(&s, 5) == 0;
	l->urgent &= !l->local;
	l->moves = upto(&s, 3) == 0;
	l->settings = upto(&s, 2) == 0;
	for (unsigned i = 0; i < l->frames; i++) {
		l->size[i] = draw_size(&s);
		l->reply_end[i + 1] = l->reply_end[i] + 4 + l->size[i];
	}
	l->len = at + l->reply_end[l->frames];
	l->sent = malloc(l->len);
	ck_assert_ptr_nonnull(l->sent);
	memcpy(l->sent, &id, sizeof id);
	for (unsigned i = 0; i < l->frames; i++) {
		memcpy(l->sent + at, &l->size[i], 4);
		at += 4;
		for (uint32_t k = 0; k < l->size[i]; k++)
			l->sent[at++] = (unsigned char)mix(&s);
	}
	l->cut = tls && l->ending == PEER_FIN && upto(&s, 4) == 0;
}

#endif

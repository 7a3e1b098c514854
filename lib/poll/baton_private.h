/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * baton: its holder, its queue, its flags, for looper.c and spare.c
 *
 * Under the gate, but for what says otherwise.
 */
#ifndef POLL_BATON_PRIVATE_H
#define POLL_BATON_PRIVATE_H

#include "poll/baton.h"
#include "poll/poller_private.h"

static inline struct baton *baton_of(const struct rider *r)
{
	return &r->poller->baton;
}

static inline struct rider *baton_holder(const struct baton *b)
{
	return atomic_load_explicit(&b->holder, memory_order_relaxed);
}

static inline void baton_set_holder(struct baton *b, struct rider *r)
{
	atomic_store_explicit(&b->holder, r, memory_order_relaxed);
}

static inline struct rider *baton_looper(const struct baton *b)
{
	return atomic_load_explicit(&b->looper, memory_order_relaxed);
}

/* Under the gate. A thread that has not begun is LIB: it waits for the gate. */
static inline uint32_t baton_word(const struct rider *r)
{
	return r->here ? __atomic_load_n(&r->here->word, __ATOMIC_ACQUIRE) : BATON_LIB;
}

static inline enum baton_state baton_state(const struct rider *r)
{
	return baton_word(r) & 3;
}

/* In @r's own thread, without the gate. Return: whether others have the baton, or want it. */
bool baton_to(enum baton_state state);

/* @lazy: the holder need not hurry; @front: before those that wait already. */
void baton_enqueue(struct baton *b, struct rider *r, bool lazy, bool front);
/* If it is in there. */
void baton_unqueue(struct baton *b, struct rider *r);
void baton_set_flag(struct rider *r, uint32_t f);
/* What the flag of one that holds it has to be; @lent: it has it for a while. */
uint32_t baton_flag_of(const struct baton *b, const struct rider *r, bool lent);

/* The first of the queue, if any, holds it; nobody does. */
void baton_grant_next(struct baton *b);
/* @r runs code of the user's, and has the baton no more. */
void baton_left(struct rider *r);
/* Return: whether nobody holds it now. One that has not been told to fence is not robbed. */
bool baton_rob(struct baton *b);
/* Until @r, whose thread this is, holds it. */
void baton_wait(struct baton *b, struct rider *r);
/* Out of its sleep: what it sleeps for may have changed. */
void baton_kick(struct rider *r);
/* By @r, which holds it. The looper, which may be asleep, has what it leaves behind. */
void baton_drop(struct baton *b, struct rider *r);
/* Without the gate: by @r, if it holds it still, and somebody waits for it. */
void baton_give_up(struct rider *r);
/* The calling thread is @r's. */
void baton_mount_held(struct baton *b, struct rider *r);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* wheel: put, look ahead, turn. */
#include "poll/wheel.h"

#define SHIFT(level) (6u * (unsigned)(level))

void wheel_init(struct wheel *w, uint64_t now_ms)
{
	w->now = now_ms;
	list_init(&w->due);
	for (int l = 0; l < WHEEL_LEVELS; l++) {
		w->bits[l] = 0;
		for (int i = 0; i < WHEEL_SLOTS; i++)
			list_init(&w->slot[l][i]);
	}
}

void wheel_put(struct wheel *w, struct timer *t)
{
	uint64_t delta, when = t->when_ms;
	unsigned level = 0, i;

	if (when <= w->now) {
		list_append(&w->due, &t->link);
		return;
	}
	delta = when - w->now;
	while (level < WHEEL_LEVELS - 1 && delta >> SHIFT(level + 1))
		level++;
	/* Past the last level's reach: as far as it goes; it is put again from there. */
	if (delta >> SHIFT(WHEEL_LEVELS))
		when = w->now + ((uint64_t)1 << SHIFT(WHEEL_LEVELS)) - 1;
	i = (when >> SHIFT(level)) & (WHEEL_SLOTS - 1);
	list_append(&w->slot[level][i], &t->link);
	w->bits[level] |= (uint64_t)1 << i;
}

/* Steps from slot @at to the next set bit, 1..64; 0 where there is none. */
static unsigned ahead(uint64_t bits, unsigned at)
{
	unsigned r = (at + 1) & 63;

	if (!bits)
		return 0;
	bits = r ? bits >> r | bits << (64 - r) : bits;
	return (unsigned)__builtin_ctzll(bits) + 1;
}

uint64_t wheel_next(const struct wheel *w)
{
	uint64_t best = WHEEL_NEVER, at, t;
	unsigned d;

	if (!list_empty(&w->due))
		return w->now;
	for (int l = 0; l < WHEEL_LEVELS; l++) {
		at = w->now >> SHIFT(l);
		d = ahead(w->bits[l], at & (WHEEL_SLOTS - 1));
		if (!d)
			continue;
		t = (at + d) << SHIFT(l);
		best = t < best ? t : best;
	}
	return best;
}

static unsigned fire_all(struct list *l)
{
	struct list *n;
	unsigned fired = 0;

	while ((n = list_pop(l))) {
		struct timer *t = container_of(n, struct timer, link);

		fired++;
		t->fn(t);
	}
	return fired;
}

/* Enters the slots that begin at w->now: what lies in higher levels comes down. */
static void come_down(struct wheel *w, struct list *due)
{
	struct list all, *n;

	for (int l = WHEEL_LEVELS - 1; l >= 0; l--) {
		unsigned i = (w->now >> SHIFT(l)) & (WHEEL_SLOTS - 1);

		if (w->now & (((uint64_t)1 << SHIFT(l)) - 1) || !(w->bits[l] >> i & 1))
			continue;
		w->bits[l] &= ~((uint64_t)1 << i);
		list_move_all(&w->slot[l][i], &all);
		while ((n = list_pop(&all))) {
			struct timer *t = container_of(n, struct timer, link);

			if (t->when_ms <= w->now)
				list_append(due, n);
			else
				wheel_put(w, t);
		}
	}
}

unsigned wheel_turn(struct wheel *w, uint64_t now_ms)
{
	unsigned fired;
	struct list due;
	uint64_t next;

	list_move_all(&w->due, &due);
	while ((next = wheel_next(w)) <= now_ms && list_empty(&w->due)) {
		w->now = next;
		come_down(w, &due);
	}
	if (now_ms > w->now)
		w->now = now_ms;
	/* A timer's function may disarm another that is due: it unlinks itself from this list. */
	fired = fire_all(&due);
	return fired;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* wheel: put, look ahead, turn. */
#include "poll/wheel.h"

#define WHEEL_SHIFT(level) (6u * (unsigned)(level))
#define WHEEL_LOOK         8u /* timers of a slot that are looked at for the earliest */

void wheel_init(struct wheel *w, uint64_t now_ms)
{
	w->now = now_ms;
	w->entry = WHEEL_NEVER;
	w->known = NULL;
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

	w->known = NULL;
	if (when <= w->now) {
		list_append(&w->due, &t->link);
		return;
	}
	delta = when - w->now;
	while (level < WHEEL_LEVELS - 1 && delta >> WHEEL_SHIFT(level + 1))
		level++;
	/* Past the last level's reach: as far as it goes; it is put again from there. */
	if (delta >> WHEEL_SHIFT(WHEEL_LEVELS))
		when = w->now + ((uint64_t)1 << WHEEL_SHIFT(WHEEL_LEVELS)) - 1;
	i = (when >> WHEEL_SHIFT(level)) & (WHEEL_SLOTS - 1);
	list_append(&w->slot[level][i], &t->link);
	w->bits[level] |= (uint64_t)1 << i;
	when = when >> WHEEL_SHIFT(level) << WHEEL_SHIFT(level);
	if (when < w->entry)
		w->entry = when;
}

/* Steps from slot @at to the next set bit, 1..64; 0 where there is none. */
static unsigned wheel_ahead(uint64_t bits, unsigned at)
{
	unsigned r = (at + 1) & 63;

	if (!bits)
		return 0;
	bits = r ? bits >> r | bits << (64 - r) : bits;
	return (unsigned)__builtin_ctzll(bits) + 1;
}

/*
 * The next slot of @level that holds a timer, counted through all turns; WHEEL_NEVER where there is
 * none. Bits that disarmed timers left behind go: each was set by a put, so this costs no more than
 * that.
 */
static uint64_t wheel_next_slot(struct wheel *w, int level)
{
	uint64_t at = w->now >> WHEEL_SHIFT(level);
	unsigned d, i;

	while ((d = wheel_ahead(w->bits[level], at & (WHEEL_SLOTS - 1)))) {
		i = (at + d) & (WHEEL_SLOTS - 1);
		if (!list_empty(&w->slot[level][i]))
			return at + d;
		w->bits[level] &= ~((uint64_t)1 << i);
	}
	return WHEEL_NEVER;
}

/* The next time at which a slot is entered that holds a timer. */
static uint64_t wheel_next_entry(struct wheel *w)
{
	uint64_t best = WHEEL_NEVER, slot, t;

	for (int l = 0; l < WHEEL_LEVELS; l++) {
		slot = wheel_next_slot(w, l);
		if (slot == WHEEL_NEVER)
			continue;
		t = slot << WHEEL_SHIFT(l);
		best = t < best ? t : best;
	}
	return best;
}

/*
 * The earliest timer of a slot that spans @from..@to. Of a slot that holds many only the beginning
 * is known: the wheel turns for nothing then, once, and the slot's timers come down a level.
 */
static uint64_t wheel_earliest(const struct list *slot, uint64_t from, uint64_t to)
{
	unsigned looked = 0;

	for (struct list *n = slot->next; n != slot; n = n->next) {
		uint64_t when = container_of(n, struct timer, link)->when_ms;

		if (++looked > WHEEL_LOOK)
			return from;
		to = when < to ? when : to;
	}
	return to;
}

static uint64_t wheel_look_ahead(struct wheel *w, const struct list **ret_slot)
{
	uint64_t best = WHEEL_NEVER, at, t;
	const struct list *slot;

	for (int l = 0; l < WHEEL_LEVELS; l++) {
		at = wheel_next_slot(w, l);
		if (at == WHEEL_NEVER)
			continue;
		slot = &w->slot[l][at & (WHEEL_SLOTS - 1)];
		t = wheel_earliest(slot, at << WHEEL_SHIFT(l), ((at + 1) << WHEEL_SHIFT(l)) - 1);
		if (t >= best)
			continue;
		best = t;
		*ret_slot = slot;
	}
	return best;
}

/* Whether its last answer is right still: only a put makes it sooner, and a timer's end later. */
static bool wheel_knows(const struct wheel *w)
{
	return w->known && w->known->next == w->known_only && w->known->prev == w->known_only;
}

uint64_t wheel_next(struct wheel *w)
{
	uint64_t next;

	if (!list_empty(&w->due))
		return w->now;
	if (wheel_knows(w))
		return w->known_next;
	w->known = &w->due;
	next = wheel_look_ahead(w, &w->known);
	w->known_only = w->known->next;
	w->known_next = next;
	if (!wheel_knows(w)) /* it is one of several */
		w->known = NULL;
	return next;
}

/* Enters the slots that begin at w->now: what lies in higher levels comes down. */
static void wheel_come_down(struct wheel *w, struct list *due)
{
	struct list all, *n;

	for (int l = WHEEL_LEVELS - 1; l >= 0; l--) {
		unsigned i = (w->now >> WHEEL_SHIFT(l)) & (WHEEL_SLOTS - 1);

		if (w->now & (((uint64_t)1 << WHEEL_SHIFT(l)) - 1) || !(w->bits[l] >> i & 1))
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

void wheel_turn(struct wheel *w, uint64_t now_ms, struct list *ret_due)
{
	list_move_all(&w->due, ret_due);
	while (w->entry <= now_ms) {
		w->now = w->entry;
		wheel_come_down(w, ret_due);
		w->entry = wheel_next_entry(w);
	}
	if (now_ms > w->now)
		w->now = now_ms;
}

static unsigned wheel_count_list(const struct list *head)
{
	unsigned n = 0;

	for (const struct list *l = head->next; l != head; l = l->next)
		n++;
	return n;
}

unsigned wheel_count(const struct wheel *w)
{
	unsigned n = wheel_count_list(&w->due);

	for (unsigned level = 0; level < WHEEL_LEVELS; level++)
		for (unsigned i = 0; i < WHEEL_SLOTS; i++)
			n += wheel_count_list(&w->slot[level][i]);
	return n;
}

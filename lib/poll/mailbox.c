/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mailbox: many senders, one taker, no lock
 *
 * Senders push onto a stack, the owner takes all of it with one exchange and turns it round. No ABA
 * trouble: nobody ever pops a single element.
 */
#include "poll/mailbox.h"

bool mailbox_put(struct mailbox *b, struct mail *m)
{
	struct mail *head = atomic_load_explicit(&b->head, memory_order_relaxed);

	do
		m->next = head;
	while (!atomic_compare_exchange_weak_explicit(&b->head, &head, m, memory_order_release,
						      memory_order_relaxed));
	return !head;
}

bool mailbox_any(const struct mailbox *b)
{
	return atomic_load_explicit(&b->head, memory_order_relaxed) != NULL;
}

struct mail *mailbox_take(struct mailbox *b)
{
	struct mail *m, *next, *oldest = NULL;

	if (!mailbox_any(b))
		return NULL;
	for (m = atomic_exchange_explicit(&b->head, NULL, memory_order_acquire); m; m = next) {
		next = m->next;
		m->next = oldest;
		oldest = m;
	}
	return oldest;
}

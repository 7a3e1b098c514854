/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mailbox: what other threads want done on a poller's thread
 *
 * A mail is a node inside whatever it is about, so posting never allocates and cannot fail for
 * memory. FIFO per sender. A mail belongs to the mailbox from post to the start of its fn.
 */
#ifndef POLL_MAILBOX_H
#define POLL_MAILBOX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct mail {
	struct mail *next;
	void (*fn)(struct mail *m); /* on the poller's main; may post m again, or free it */
};

struct mailbox {
	_Atomic(struct mail *) head; /* newest first */
};

/*
 * Return: whether the box was empty: then its owner may be asleep and has to be woken. Thread: any.
 */
bool mailbox_put(struct mailbox *b, struct mail *m);
/* Whether there is mail: a hint, exact when nobody puts. Thread: the owner. */
bool mailbox_any(const struct mailbox *b);
/* All that is there, oldest first, linked by next. Thread: the owner. */
struct mail *mailbox_take(struct mailbox *b);

#endif

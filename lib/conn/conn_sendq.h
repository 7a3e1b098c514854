/* SPDX-License-Identifier: BSD-2-Clause */
/* conn_sendq: how a buffer carries its mail while it is queued. */
#ifndef CONN_CONN_SENDQ_H
#define CONN_CONN_SENDQ_H

#include "buffer/linkbuf.h"
#include "poll/mailbox.h"

_Static_assert(sizeof(struct mail) == 2 * sizeof(void *),
	       "a linkbuf carries its mail in two words");

static inline struct mail *sendq_mail(struct np_linkbuf *b)
{
	return (struct mail *)(void *)linkbuf_link(b);
}

static inline struct np_linkbuf *sendq_buf(struct mail *m)
{
	return (struct np_linkbuf *)(void *)m - 1;
}

#endif

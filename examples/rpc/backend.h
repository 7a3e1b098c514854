/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * backend: a server that is called: one channel to it from each poller, dialed when it is needed
 *
 * A channel that has ended is dialed anew by the next call.
 */
#ifndef RPC_BACKEND_H
#define RPC_BACKEND_H

#include <netpoll/call.h>

struct backend;

/* For all pollers of @p. Return: 0; -ENOMEM. */
int backend_new(const struct np_pollers *p, const char *address, struct backend **ret);
/* Once no call is inside. */
void backend_free(struct backend **b);
/*
 * backend_call() - @body there, the answer's body back
 *
 * Thread: fiber, whose deadline holds. May park: yes.
 * Return: 0; as np_channel_dial() and np_call().
 */
int backend_call(struct backend *b, const void *body, size_t n, struct np_linkbuf **ret);

#endif

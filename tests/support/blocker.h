/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * blocker: a server on one poller whose handlers keep their thread at a gate until they are let
 * through. Public headers only.
 *
 * A handler that is at the gate for two milliseconds is left alone with its thread.
 */
#ifndef SUPPORT_BLOCKER_H
#define SUPPORT_BLOCKER_H

#include <netpoll/server.h>
#include <stdatomic.h>

extern struct np_server *blocker;
/* How often the gate was reached since the server began. */
extern _Atomic(int) blocker_begun;

/* How many of its connections have ended, and the error of the last one. */
extern _Atomic(int) blocker_closed, blocker_error;

/* Handlers that may block, and count what ends. Lifetime: to the next call. */
const struct np_handlers *blocker_handlers(int (*on_request)(struct np_conn *c, void *arg));
/* On `pollers`, with keep_log(). @threads 0: as many as there are by default; @o may be NULL. */
void given_blocker(const struct np_handlers *h, int threads, const struct np_server_opts *o);
/* The same with another number of threads, in place of the one that there is. */
void given_blocker_threads(const struct np_handlers *h, int threads);
/* Stops in good order; no descriptor and no thread is left. */
void end_blocker(void);

/* For handlers: keeps the thread, in the kernel or at work. */
void blocker_wait(void);
void blocker_spin(void);
/* Or for a few milliseconds, in which the handler may be left alone, or not. */
void blocker_stall(void);
/* Lets one through. */
void blocker_let(void);

int blocker_peer(void);
/* One more request, @op, whose handler is at the gate; and it has been left alone. */
int given_at_gate(char op);
int given_left_alone(char op);
/* Its next byte is @op. */
void must_answer(int fd, char op);
/* Another connection is served, by a handler that answers 'x' with 'x'. */
void must_serve(void);
/* Let through, the handler answers with @op; and the peer closes. */
void must_go_on(int *fd, char op);

/* The first byte of a request, for handlers. Return: as np_conn_next(). */
int blocker_take(struct np_conn *c, char *ret_op);
/* One byte, flushed. Return: as np_conn_flush(). */
int blocker_answer(struct np_conn *c, char op);

#endif

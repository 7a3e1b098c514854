/* SPDX-License-Identifier: BSD-2-Clause */
/* serve: servers of one test, on its pollers, and what is left when they end. Public headers. */
#ifndef SUPPORT_SERVE_H
#define SUPPORT_SERVE_H

#include <netpoll/server.h>

#include "support/pollers.h"

extern struct np_server *serve_server;

/*
 * serve_server, started on "127.0.0.1:0" with @n threads; @o may be NULL. Its end waits for no idle
 * peer, unless @o has drain_ms and fresh_ms.
 */
void serve(int n, const struct np_handlers *h, void *arg, const struct np_server_opts *o);
/* A connected peer of the @i-th address. */
int serve_connect(int i);
uint64_t serve_conns(void);
/* Stops in good order; no descriptor and no thread is left. */
void serve_end(void);

/* Another server, or one with options of its own, of the pollers that there are: *s. */
void serve_at(struct np_server **s, const struct np_handlers *h, void *arg,
	      const struct np_server_opts *o, const char *network, const char *address);
struct np_server_stats serve_stats(struct np_server *s);
/* Of loopback, as text, valid until this thread's next call. */
const char *serve_address(struct np_server *s);
/* Stops in good order; NULL is none. */
void serve_over(struct np_server **s);

/* For handlers: all that has come goes back. */
int serve_echo(struct np_conn *c, void *arg);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* serve: a server of one test, on loopback, and what is left when it ends. Public headers only. */
#ifndef SUPPORT_SERVE_H
#define SUPPORT_SERVE_H

#include <netpoll/server.h>

extern struct np_pollers *serve_pollers;
extern struct np_server *serve_server;

/*
 * Started on "127.0.0.1:0" with @pollers threads; @o may be NULL. Its end waits for no idle peer,
 * unless @o has drain_ms and fresh_ms.
 */
void serve(int pollers, const struct np_handlers *h, void *arg, const struct np_server_opts *o);
/* A connected peer of the @i-th address. */
int serve_connect(int i);
uint64_t serve_conns(void);
/* Stops in good order; no descriptor and no thread is left. */
void serve_end(void);

#endif

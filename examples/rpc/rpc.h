/* SPDX-License-Identifier: BSD-2-Clause */
/* rpc: what the three programs in one share */
#ifndef RPC_RPC_H
#define RPC_RPC_H

#include <netpoll/server.h>

#include "examples/service/addresses.h"

#define RPC_BACKENDS 16

struct rpc_opts {
	struct addresses listen;
	int pollers;
	int slow_ms;     /* serve: for a body that begins with "slow" */
	int deadline_ms; /* fanout, call: for all of a call */
	const char *backend[RPC_BACKENDS];
	int n_backends;
	int count, callers, size; /* call */
};

/* Each is a program: what main() returns. */
int serve_main(const struct rpc_opts *o, char **argv);
int fanout_main(const struct rpc_opts *o, char **argv);
int call_main(const struct rpc_opts *o);

/* *ret is NULL where it fails. */
int rpc_pollers(const struct rpc_opts *o, struct np_pollers **ret);
/* Stopped and freed; NULL is nothing. */
void rpc_end(struct np_pollers **p);
/* A server with these handlers until a signal ends it. Return: an exit code. */
int rpc_serve(const struct rpc_opts *o, struct np_pollers *p, const struct np_handlers *h,
	      void *arg, char **argv);

#endif

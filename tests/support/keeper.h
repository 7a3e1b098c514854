/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keeper: a server in a process of its own that keeps its connections, and ends each as its client
 * asks
 *
 * It knows nothing of this library. What a client may send, a letter:
 *
 *   c  the server closes            s  the server shuts its side, and closes after the client
 *   r  the server resets it         anything else: it waits for the client's end, and closes
 */
#ifndef SUPPORT_KEEPER_H
#define SUPPORT_KEEPER_H

#include "support/child.h"

#define KEEPER_PORT 7490
#define KEEPER_AT   "127.0.0.1:7490"

struct keeper {
	struct child child;
	int listener; /* number of the descriptor in the keeper */
};

struct keeper_count {
	unsigned accepted;
	unsigned live; /* that neither side has ended, as far as it has heard */
};

/* The same as @n threads of one process: each with a listener and an epoll instance, as haproxy. */
void keeper_start_threads(struct keeper *k, unsigned n, const char *address);
void keeper_end_threads(struct keeper *k, unsigned n);
/* Listens with SO_REUSEPORT; @address is IPv4 or IPv6, without the port. */
void keeper_start(struct keeper *k, const char *address);
void keeper_end(struct keeper *k);
struct keeper_count keeper_ask(struct keeper *k);
/* It takes nothing out of its queue, and goes on. */
void keeper_pause(struct keeper *k);
void keeper_go_on(struct keeper *k);
/* Its listener is closed, and there is another one. */
void keeper_listen_anew(struct keeper *k);

/* A client of a keeper at @address, port included, that has sent it that letter. */
int keeper_client(const char *address, char what);
/* Until the keeper has ended it. */
void keeper_await_end(int client);

#endif

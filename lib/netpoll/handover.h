/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * handover: what the two sides of a hand-over share: the socket between them, and one batch of
 * connections at one poller
 *
 * The frames: handover_frame.h. hand_over.c is the old process's side, take_over.c the new one's.
 */
#ifndef NETPOLL_HANDOVER_H
#define NETPOLL_HANDOVER_H

#include <stdbool.h>

#include "conn/conn_export.h"
#include "netpoll/handover_frame.h"
#include "netpoll/latch.h"
#include "netpoll/server_private.h"

/* A pause is as long as a batch takes: not the whole of what many connections hold. */
#define HANDOVER_BATCH_BYTES (1u << 20)

/*
 * Connections of one part on their way out. Made on the control thread, filled by the poller in two
 * turns: those that are quiet, and then those whose handlers were sent home for it.
 */
struct handover_out {
	struct mail mail;
	struct server_part *part;
	struct latch filled;
	_Atomic(int) owner; /* enum handover_owner */
	unsigned max;       /* connections at most */
	unsigned n;
	size_t bytes;
	unsigned n_asked;     /* of the second turn */
	unsigned busy, stays; /* others, that cannot go now, or ever */
	unsigned because[NP_STAYS_N];
	bool answered; /* what was not taken was refused */
	bool taken[SYS_PASS_MAX];
	struct {
		struct np_conn *c, *mate; /* references; NULL: it is in no set */
	} asked[SYS_PASS_MAX];
	uint32_t set[SYS_PASS_MAX]; /* of struct handover_conn */
	struct conn_export conn[SYS_PASS_MAX];
};

/* Return: NULL: no memory, or the poller did not come to it by @until_ns. */
struct handover_out *handover_out_fill(struct server_part *part, unsigned max, uint64_t until_ns);
/* Those that were taken are gone, the others go on. Takes it, and waits for nothing. */
void handover_out_settle(struct handover_out *out);

/* Connections on their way in. */
struct handover_in {
	struct mail mail;
	struct server_part *part;
	struct latch done;
	unsigned n;
	uint32_t set[SYS_PASS_MAX]; /* of struct handover_conn */
	int result[SYS_PASS_MAX];   /* of conn_import(), at the first of each set */
	struct conn_arrival arrival[SYS_PASS_MAX];
	struct conn_import conn[SYS_PASS_MAX];
};

/* On the part's poller, and back when it is done. */
void handover_in_make(struct handover_in *in);
/* @keep: they open; else they are dropped. */
void handover_in_settle(struct handover_in *in, bool keep);

/*
 * handover_meet()   - the socket to the next process: "fd:N", or a path, "@name" to wait at
 * handover_reach()  - to the process before: the same, or a path that it waits at
 *
 * Lifetime: N is taken. Return: 0; what socket calls say; -ETIMEDOUT; -EACCES: another user's.
 */
int handover_meet(struct np_server *s, const char *where, uint64_t until_ns, int *ret_sock);
int handover_reach(struct np_server *s, const char *where, uint64_t until_ns, int *ret_sock);
/* For what the other process is to say first: @until_ns, and a second from now on at least. It may
 * have come while this one was stopped, and waits for a word. */
uint64_t handover_heard_until(uint64_t until_ns);

#endif

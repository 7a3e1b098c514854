/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_export: a connection, or a set of two, on its way to another process, seen from both sides
 *
 *   here      conn_export() -> parted: off its poller, and nobody reads it
 *             parted: conn_export_done() -> gone here, nothing is sent;  conn_export_undo() -> as
 *             if nothing had been
 *   there     conn_import() -> made: it has all that it needs, and nobody reads it either
 *             made: conn_import_open() -> open;  conn_import_drop() -> gone there, and nothing is
 *             sent
 *
 * While it is parted or made it is like one in on_prepare: CONN_NEW. What its own thread asks of it
 * then finds nothing to read or to write; other threads have no reference, or their handlers answer
 * for it (NP_EXPORT_HELD).
 *
 * Of a set both go, or neither. Its first is a server's, or nobody would find it; the second may be
 * a dialed one, which has a group, and handlers, from np_conn_import_mate().
 */
#ifndef CONN_CONN_EXPORT_H
#define CONN_CONN_EXPORT_H

#include "conn/conn_pack.h"

#define CONN_SET_MAX 2u

/* One, and the other one of its set. */
struct conn_set {
	struct np_conn *c[CONN_SET_MAX];
	unsigned n;
};

/*
 * conn_is_dialed()    - it is no server's
 * conn_stays()        - of a set one cannot go, whatever comes: then both stay
 * conn_set_is_quiet() - all may go now: no handler is at work, and nobody else counts on them
 *
 * Thread: owner.
 */
struct conn_set conn_set_of(struct np_conn *c);
bool conn_is_dialed(const struct np_conn *c);
bool conn_stays(const struct conn_set *s);
bool conn_set_is_quiet(const struct conn_set *s);

struct conn_export {
	struct np_conn *c;
	struct conn_pack pack;
	bool dialed;
	void *bytes; /* a conn_message */
	size_t n;
};

/*
 * conn_export() - a connection of a server that is quiet, and its set, part from their poller
 *
 * Return: how many, the server's first; -EAGAIN: not quiet now, or they have more than fits;
 *         -NP_EUNSUPPORTED: they stay; -ENOMEM. Thread: owner, main.
 */
int conn_export(struct np_conn *c, struct conn_export ret[CONN_SET_MAX]);
/* Why it was not exported, or would not be. Thread: owner. */
enum np_stays conn_export_why(struct np_conn *c);
/*
 * conn_export_ask() - handlers that wait where it may go are sent home, and no other begins
 *
 * Return: whether that may make it quiet by the next turn: then conn_export(), or
 *         conn_stay() of each, follows. Thread: owner, main.
 */
bool conn_export_ask(struct np_conn *c);
/* The other process has all @n: on_close is called, the descriptors closed. Thread: owner, main. */
void conn_export_done(struct conn_export e[], unsigned n);
/* @refused: and they are not tried again. Thread: owner, main. */
void conn_export_undo(struct conn_export e[], unsigned n, bool refused);

struct conn_arrival {
	int fd; /* taken */
	const void *bytes;
	size_t n;
};

struct conn_import {
	struct np_conn *c;
	struct conn_pack pack;
	bool asked; /* on_import has said that it is to come: on_close is owed */
};

/*
 * conn_import() - @n of a set, or one alone, of their descriptors and messages: all, or none
 *
 * Return: 0; what conn_message_read() says; -EPROTO: not a set; -NP_EUNSUPPORTED: @g has no
 *         on_import, or that has not asked for the dialed one; what it returns; -ENOSPC: @g is
 *         full; -ENOMEM; what epoll_ctl(2) says. The descriptors are taken in every case.
 * Thread: the poller's of @g, main.
 */
int conn_import(struct conn_group *g, struct conn_arrival a[], unsigned n,
		struct conn_import ret[]);
/*
 * conn_import_mate() - in the on_import of @c: the dialed one of its set, as one of @g
 *
 * @g gets its poller by on_travel, and on_freed with the connection, or here if there is none.
 * Return: 0, *ret a reference; -EALREADY; -NP_EUNSUPPORTED: none is to come, or @g has no
 *         on_import; what that returns; -ENOMEM.
 */
int conn_import_mate(struct np_conn *c, struct conn_group *g, struct np_conn **ret);
void conn_import_open(struct conn_import i[], unsigned n);
void conn_import_drop(struct conn_import i[], unsigned n);

#endif

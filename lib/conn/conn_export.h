/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_export: a connection on its way to another process, seen from both sides
 *
 *   here      conn_export() -> parted: off its poller, and nobody reads it
 *             parted: conn_export_done() -> gone here, nothing is sent;  conn_export_undo() -> as
 *             if nothing had been
 *   there     conn_import() -> made: nobody reads it either
 *             made: conn_import_open() -> open;  conn_import_drop() -> gone there, and nothing is
 *             sent
 *
 * While it is parted or made it is like one in on_prepare: CONN_NEW. What its own thread asks of it
 * then finds nothing to read or to write; other threads have no reference, or it would not go.
 */
#ifndef CONN_CONN_EXPORT_H
#define CONN_CONN_EXPORT_H

#include "conn/conn_pack.h"

struct conn_export {
	struct np_conn *c;
	struct conn_pack pack;
	void *bytes; /* a conn_message */
	size_t n;
};

/*
 * conn_export() - a connection that is quiet parts from its poller
 *
 * Return: 0; -EAGAIN: it is not quiet now, or has more than fits; -NP_EUNSUPPORTED: it stays;
 *         -ENOMEM. Thread: owner, main.
 */
int conn_export(struct np_conn *c, struct conn_export *ret);
/* The other process has it: on_close is called, the descriptor closed. Thread: owner, main. */
void conn_export_done(struct conn_export *e);
/* @refused: and it is not tried again. Thread: owner, main. */
void conn_export_undo(struct conn_export *e, bool refused);

struct conn_import {
	struct np_conn *c;
	struct conn_pack pack;
};

/*
 * conn_import() - a connection of @fd (taken) and the @n bytes of its message
 *
 * Return: 0; what conn_message_read() says; -NP_EUNSUPPORTED: @g has no on_import; what that
 *         returns; -ENOSPC: @g is full; -ENOMEM. *fd is -1 in every case.
 * Thread: the poller's of @g, main.
 */
int conn_import(struct conn_group *g, int *fd, const void *bytes, size_t n,
		struct conn_import *ret);
void conn_import_open(struct conn_import *i);
void conn_import_drop(struct conn_import *i);

#endif

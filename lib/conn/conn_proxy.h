/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_proxy: connections that begin with what a proxy says of its client
 *
 * Until the header is through, its bytes are nobody else's: on_connect has not been called, and no
 * handler is. No stack is held meanwhile: the fiber that finds it incomplete ends, and another one
 * begins when more has come.
 *
 *   state        leaves it by
 *   (none)       conn_proxy_begin(): a source that has to send one -> awaited;  one that may not
 *                connect -> refused
 *   awaited      conn_proxy_take(): complete, TLVs too -> through;  garbled, the peer's FIN in its
 *                middle -> refused;  conn_proxy_is_late() -> refused;  the connection ends
 *   through      CONN_PROXIED is off; its addresses are those of the header
 *   refused      closed; counted when it is gone
 */
#ifndef CONN_CONN_PROXY_H
#define CONN_CONN_PROXY_H

#include <stdbool.h>
#include <stdint.h>

#include "conn/proxy_header.h"
#include "netpoll/conn.h"

struct np_conn;
struct proxy_from;

/* Of a group. Owner thread; the counts are published. */
struct conn_proxy {
	enum np_proxy_mode mode;
	const struct proxy_from *from; /* NULL: any; the server's */
	int header_ms;                 /* 0: no limit */
	uint64_t taken, refused;       /* any thread may read them */
	uint64_t said_ms, unsaid;      /* the log line about refusals */
};

/* Of a connection, in its extra. */
struct conn_proxied {
	struct proxy_ends ends;
	uint64_t until_ms; /* its header has to be here; 0: no limit */
	uint32_t skip;     /* TLVs that are still to come, or to be thrown away */
	bool begun;        /* bytes of it have come */
	bool late;         /* it has got its one turn more */
	bool refused;
};

/* Before on_prepare. Return: 0; 1: it may not connect; -ENOMEM. */
int conn_proxy_begin(struct np_conn *c);
/*
 * conn_proxy_take() - what has come of the header; on its fiber
 *
 * Stands in the place of on_request while the header is awaited (conn_find_handler()).
 * Return: 1: it is through, and the handlers' time has come; 0: the connection waits for more, a
 * filter's handshake begins, or it closes.
 */
int conn_proxy_take(struct np_conn *c, void *arg);
/* The time for it is over. Return: whether it is refused; the clock is set anew where it is not. */
bool conn_proxy_is_late(struct np_conn *c);
/* One that is awaited still is gone. */
void conn_proxy_gone(struct np_conn *c);
/* What its header has named. NULL: nothing. */
const struct proxy_ends *conn_proxy_ends(const struct np_conn *c);
/* From another process. Return: 0; -ENOMEM, -NP_ECLOSED. */
int conn_proxy_set_ends(struct np_conn *c, const struct proxy_ends *ends);

#endif

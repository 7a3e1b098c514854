/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_message: a connection as bytes, for another process of this machine
 *
 *   fixed part | unread input | unsent output | output being built | the user's blob | ends
 *
 * The descriptor goes beside it. Times are how long ago, or how long still: two processes need not
 * have the same clock. What is read comes from outside: each number is checked
 * before anything is made of it.
 */
#ifndef CONN_CONN_MESSAGE_H
#define CONN_CONN_MESSAGE_H

#include "conn/conn.h"

/* Of the input, of the output: what has more waits until it has less. */
#define CONN_MESSAGE_PART_MAX (64u << 20)

enum conn_message_flag {
	CONN_MESSAGE_HALF_OPEN = 1 << 0,
	CONN_MESSAGE_CANCEL = 1 << 1,   /* np_conn_cancel_on_leave() */
	CONN_MESSAGE_PAUSED = 1 << 2,   /* np_conn_pause_read() */
	CONN_MESSAGE_SETTINGS = 1 << 3, /* they are its own */
	CONN_MESSAGE_REQUEST = 1 << 4,  /* a request has begun, and its timeout runs */
	CONN_MESSAGE_USED = 1 << 5,     /* a request has been served */
	CONN_MESSAGE_WANTED = 1 << 6,   /* call_at is np_conn_want()'s */
	CONN_MESSAGE_LEFT = 1 << 7,     /* the peer left, and on_disconnect was called */
	CONN_MESSAGE_ENDED = 1 << 8,    /* its FIN was read */
	CONN_MESSAGE_DRAINING = 1 << 9, /* FIN is due behind the output */
	CONN_MESSAGE_SHUT = 1 << 10,    /* it was sent */
	CONN_MESSAGE_DIALED = 1 << 11,  /* no server's: the second one of a set */
	CONN_MESSAGE_FLAGS = (1 << 12) - 1,
};

enum conn_message_part {
	CONN_MESSAGE_IN,
	CONN_MESSAGE_OUT,   /* submitted */
	CONN_MESSAGE_BUILT, /* written, and not submitted */
	CONN_MESSAGE_BLOB,
	CONN_MESSAGE_ENDS, /* what its PROXY header named: a struct proxy_ends, or nothing */
	CONN_MESSAGE_PARTS,
};

struct conn_bytes {
	const void *p;
	size_t n;
};

struct conn_message {
	uint16_t flags; /* enum conn_message_flag */
	enum transport_kind transport;
	struct conn_settings settings; /* with CONN_MESSAGE_SETTINGS */
	uint64_t idle_ms;              /* since bytes moved last */
	uint64_t request_ms;           /* since the request's first byte */
	uint64_t read_left_ms;         /* of a deadline; 0: none */
	uint64_t write_left_ms;
	uint64_t call_at; /* on_request is called from so many buffered bytes on */
	uint64_t rx_total, tx_total;
	struct conn_bytes part[CONN_MESSAGE_PARTS];
};

size_t conn_message_size(const struct conn_message *m);
/* conn_message_size() bytes to @dst. */
void conn_message_write(const struct conn_message *m, void *dst);
/*
 * conn_message_read() - @n bytes, all of which are one message
 *
 * Lifetime: the parts point into @p. Return: 0; -EPROTONOSUPPORT: another version; -EPROTO: it is
 * cut, or says what no connection could.
 */
int conn_message_read(const void *p, size_t n, struct conn_message *ret);

#endif

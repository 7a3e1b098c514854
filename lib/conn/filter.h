/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * filter: a filter below a stream, in the place of the socket
 *
 * It lives as long as the connection, while a stream is attached only where there is something to
 * do. Like the stream it moves bytes and says what came of it.
 *
 *   state      leaves it by
 *   HANDSHAKE  filter_read(): done -> OPENED;  to be worked on -> WORK;  an error -> FAILED
 *   WORK       conn_filter_settle() asks for a worker -> WORKING
 *   WORKING    its job has returned: filter_worked() -> OPENED, HANDSHAKE, WORK or FAILED
 *   OPENED     conn_filter_settle() tells those that wait for it -> OPEN
 *   OPEN       filter_shutdown() -> SHUT;  an error -> FAILED
 *   SHUT       an error -> FAILED
 *   FAILED     what still comes from the peer is thrown away as it is: stream_discard()
 */
#ifndef CONN_FILTER_H
#define CONN_FILTER_H

#include <stdbool.h>
#include <stdint.h>

#include "buffer/linkbuf.h"
#include "conn/transport.h"
#include "netpoll/filter.h"

enum filter_state {
	FILTER_HANDSHAKE,
	FILTER_WORK,
	FILTER_WORKING,
	FILTER_OPENED,
	FILTER_OPEN,
	FILTER_SHUT,
	FILTER_FAILED,
};

/* Bits of stream.odd and below.odd; the others are those of a watch's flags. */
enum {
	FILTER_DRY = 1 << 0,    /* this edge has no more: not asked again before the next one */
	FILTER_UNSURE = 1 << 1, /* a short read does not tell */
	FILTER_ALL = 1 << 7,    /* of stream.odd: dry, and nothing is left in the filter */
};

struct np_filter_below {
	int fd;
	bool tcp;
	bool last; /* nothing but FIN follows what is written now */
	uint8_t odd;
	size_t holds;            /* np_filter_holds() */
	struct np_linkbuf early; /* read before the filter came */
};

struct filter {
	const struct np_filter_ops *ops;
	bool (*pending)(void *); /* of ops, which may be older than it: NULL */
	void *it;                /* what ops->open made */
	struct np_filter_below below;
	enum filter_state state;
	bool asked;     /* for input, since the last step has begun */
	int error;      /* of FAILED */
	size_t counted; /* of below.holds, in *total: its poller's, NULL: on its way */
	size_t *total;
};

/* The transport of a stream that has a filter. */
extern const struct transport filter_transport;

/* Codes between the filter and its stream, in the place of an errno that no socket returns. */
#define FILTER_NEWS    (-EINPROGRESS) /* the state has changed: conn_filter_settle() */
#define FILTER_BLOCKED (-EBUSY)       /* no input before something has gone out */

/* Return: 0; 1: it speaks first; what open says. */
int filter_init(struct filter *f, const struct np_filter_maker *m, int fd, bool tcp,
		const char *host);
void filter_fini(struct filter *f);
/* What it holds counts in *total from here on; NULL: nowhere. */
void filter_count_in(struct filter *f, size_t *total);
/* What comes of a call of handshake, here or on a worker. */
void filter_worked(struct filter *f, int r);
/* Return: 0: the last word is out, or there can be none; -EAGAIN. */
int filter_shutdown(struct filter *f);

/* What comes is not for it any more: it has failed, or was closed before it was open. */
static inline bool filter_takes_nothing(const struct filter *f)
{
	return f->state == FILTER_FAILED || (f->state < FILTER_OPEN && f->state != FILTER_WORKING);
}

/* Nobody has said yet that it is open. */
static inline bool filter_is_new(const struct filter *f)
{
	return f->state < FILTER_OPEN;
}

#endif

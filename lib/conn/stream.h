/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stream: the bytes of a connection: input, output, and the descriptor between them and the peer
 *
 * A stream moves bytes and says what came of it. It knows no watch, fiber, handler, timer or state:
 * conn_pump() is its only caller, and turns the results into those.
 *
 * Order on the wire: `sends`, then the submitted head of `out`, then the file. What lies behind
 * `submitted` in `out` is still being built.
 *
 * It may be built by one thread while another sends: stream_mark_due() says, before that, where the
 * submitted bytes end, and stream_lend() looks at nothing that a writing verb of np_linkbuf
 * changes: not at the two counts of `out`, nor at the end of its last block. What it has sent stays
 * there until stream_unlend().
 */
#ifndef CONN_STREAM_H
#define CONN_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer/linkbuf.h"
#include "conn/pipe.h"
#include "conn/transport.h"
#include "sys/ack.h"

/* What stream_read(), stream_write() and stream_discard() return, or -errno. */
enum stream_result {
	STREAM_DRAINED = 0, /* write: nothing is left, and none of it was of `sends` */
	STREAM_SENDS_GONE,  /* write: nothing is left */
	STREAM_AGAIN,       /* the kernel has no more, or takes no more; an edge will tell */
	STREAM_MORE,        /* there may be more, or room for more */
	STREAM_FULL,        /* not the stream's: the reader takes no more now */
	STREAM_LATER,       /* memory is short now; no edge will tell when it is not */
	STREAM_END,         /* read: the peer's FIN, or the end that its filter has */
	STREAM_NEWS,        /* read: its filter is open now, or is to be worked on */
	STREAM_BLOCKED,     /* read: its filter has to write first, and an edge will tell when */
};

/* A file, or what a pipe holds, being sent; it lies on the stack of the fiber that waits for it. */
struct stream_file {
	struct pipe *pipe; /* NULL: the file */
	int fd;
	int err; /* it was refused, and not one byte of it sent */
	off_t off;
	size_t left;
	bool begun;
};

struct filter;

/* Where the submitted bytes of `out` end. */
struct stream_due {
	const struct block *last; /* the first bytes of it, up to @end, are some of them */
	const unsigned char *end;
	uint64_t at; /* of all that is ever sent; where that differs, this is out of date */
};

struct stream {
	const struct transport *transport;
	struct filter *filter; /* NULL: none */
	int fd;
	uint32_t rx_space;       /* how much room the next read offers; adapts, up to SPACE_MAX */
	struct np_linkbuf in;    /* stream_read() fills, the handler drains */
	struct np_linkbuf out;   /* the handler fills; the first `submitted` bytes are flushed */
	struct np_linkbuf sends; /* from np_conn_send() */
	size_t sends_gone;       /* bytes of them that the kernel took: since the pump took note */
	size_t submitted;
	size_t held;       /* bytes in `in`, those read and not yet released included */
	size_t need;       /* a waiting verb wants `in` to reach this length; 0: none waits */
	uint64_t tx_total; /* bytes ever given to the kernel */
	size_t rx_total;   /* bytes ever committed to `in` */
	struct stream_file *file; /* goes out when nothing is unsent */
	struct stream_due due;
	size_t lent; /* bytes of `out` that were sent, and are there still */
	bool lends;  /* it is built beside this: between stream_lend() and stream_unlend() */
	union {
		struct {
			uint32_t edge; /* bytes that this edge has brought; SPACE_MAX: or more */
			/*
			 * Flags of the watch: not 0 where the last edge said more than that there
			 * is input: the last bytes and the FIN can arrive in one, urgent data cuts
			 * reads short. Then a short read does not tell that no more is there: 0 or
			 * EAGAIN do. With a filter also FILTER_DRY and FILTER_ALL.
			 */
			uint8_t odd;
			bool unsure; /* nor does it ever: not transport's short_is_all */
			uint16_t unused;
		};
		uint64_t goes_on; /* 0: what one short read brings is all of an edge */
	};
};

void stream_init(struct stream *s, enum transport_kind kind, int fd);
/* Where each byte of @s is 0 already. */
void stream_init_zeroed(struct stream *s, enum transport_kind kind, int fd);
/*
 * What room its reads and its replies have adapted to, in eight bits, for a later stream of the
 * same connection; 0: none beyond that of a new one.
 */
unsigned stream_room(const struct stream *s);
void stream_set_room(struct stream *s, unsigned room);
/* From here on what is read and written goes through @f. */
void stream_set_filter(struct stream *s, struct filter *f);
/* Frees what it holds. */
void stream_fini(struct stream *s);

/* One read of at most @room > 0 bytes into `in`. Return: STREAM_AGAIN, _MORE, _END or -errno. */
int stream_read(struct stream *s, size_t room);
/* Reads about @budget bytes and throws them away; *ret_n: how many, always. Return: as
 * stream_read(). */
int stream_discard(struct stream *s, size_t budget, size_t *ret_n);
/* One splice into a pipe that is empty. Return: STREAM_AGAIN, _MORE, _LATER, _END or -errno. */
int stream_fill(struct stream *s, struct pipe *p);
/* Sends what is unsent, and then the file, a MiB and a short tail at most. Return: STREAM_DRAINED,
 * _SENDS_GONE, _AGAIN, _MORE or -errno. */
int stream_write(struct stream *s);
/* What is unsent may be lent from here on, until more is submitted. */
void stream_mark_due(struct stream *s);
/* stream_write() beside one who builds. Return: likewise; DRAINED too where nothing was marked. */
int stream_lend(struct stream *s);
/* Nobody builds beside this one any more. */
void stream_unlend(struct stream *s);
/* What the peer has taken. Return: 0 or what sys_ack() says. */
int stream_progress(const struct stream *s, struct sys_ack *ret);

/* Flushed bytes that the kernel has not taken; the file is not counted. */
static inline size_t stream_unsent(const struct stream *s)
{
	return linkbuf_len(&s->sends) + s->submitted;
}

/* Whether there is nothing left to send, of any kind. */
static inline bool stream_is_drained(const struct stream *s)
{
	return !stream_unsent(s) && !s->file;
}

/* All that was built becomes due. */
static inline void stream_submit(struct stream *s)
{
	linkbuf_flush(&s->out);
	s->submitted = linkbuf_len(&s->out);
}

/* @f goes out behind what is submitted. */
void stream_set_file(struct stream *s, struct stream_file *f);
/* No more of it does. */
void stream_end_file(struct stream *s);

/* What was read goes back, and no longer counts. */
void stream_release_some(struct stream *s);
static inline void stream_release(struct stream *s)
{
	struct block *e = s->in.tail;

	if (unlikely(!e || block_left(e) || !linkbuf_is_only(&s->in, e))) {
		stream_release_some(s);
		return;
	}
	linkbuf_give_only(&s->in, e);
	s->held = 0;
}

/* Bytes that were read and not yet released. */
static inline size_t stream_unreleased(const struct stream *s)
{
	return s->held - linkbuf_len(&s->in);
}

/* Nothing is built or unsent. */
static inline bool stream_is_sent(const struct stream *s)
{
	return !linkbuf_len(&s->out) && !np_linkbuf_pending(&s->out) && stream_is_drained(s);
}

/* Nothing is held, either: the stream can be made again from nothing. */
static inline bool stream_is_empty(const struct stream *s)
{
	return !s->held && stream_is_sent(s);
}

/* What was flushed so far goes out before what joins `sends` from here on. Return: 0; -ENOMEM. */
int stream_requeue(struct stream *s);
/*
 * stream_pipe_to_output() - what a pipe that is being sent still holds becomes output, due before
 * anything that follows
 *
 * Return: 0, and nothing is being sent from a pipe any more; -ENOMEM; what read(2) says.
 */
int stream_pipe_to_output(struct stream *s);
/*
 * What was submitted is given up. What is being built stays until stream_fini(): a fiber that waits
 * elsewhere has pointers into it. Return: whether flushed bytes, or the file's, were lost.
 */
bool stream_drop_output(struct stream *s);

#endif

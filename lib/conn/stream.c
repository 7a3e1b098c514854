/* SPDX-License-Identifier: BSD-2-Clause */
/* stream: the two loops between the buffers and the transport. */
#include "conn/stream.h"

#include <errno.h>

#include "conn/filter.h"
#include "netpoll/linkbuf.h"
#include "sys/io.h"
#include "sys/probe.h"

#define SPACE_MIN    4096u
#define SPACE_MAX    (256u * 1024)
#define SPACE_HEADS  (16u * 1024) /* beside SPACE_MAX: for the heads of what it brings */
#define SPACE_FIRST  (16u * 1024) /* of a big message whose first bytes have not come */
#define WRITE_IOV    64
#define WRITE_BUDGET ((size_t)1 << 20)
#define REPLY_MAX    ((size_t)32 << 10) /* a block for so much may be taken in advance */
#define FILE_PIECE   (16u * 1024)       /* of a file that goes through a filter */
#define FILE_TAIL    (64u * 1024)       /* of a file: not worth a turn of its own */

void stream_init_zeroed(struct stream *s, enum transport_kind kind, int fd)
{
	const struct transport *t = &transports[kind];

	s->transport = t;
	s->fd = fd;
	s->rx_space = SPACE_MIN;
	s->unsure = !t->short_is_all;
	s->in.first = s->out.first = s->sends.first = BLOCK_FIRST;
	s->out.flags = LINKBUF_OUT;
}

void stream_init(struct stream *s, enum transport_kind kind, int fd)
{
	*s = (struct stream){ 0 };
	stream_init_zeroed(s, kind, fd);
}

unsigned stream_room(const struct stream *s)
{
	unsigned replies = (unsigned)s->out.first - BLOCK_FIRST;

	return (unsigned)__builtin_ctz(s->rx_space / SPACE_MIN) | replies << 4;
}

void stream_set_room(struct stream *s, unsigned room)
{
	if (likely(!room))
		return;
	s->rx_space = SPACE_MIN << (room & 15);
	if (room & 15)
		linkbuf_expect(&s->in, s->rx_space);
	s->out.first = (uint8_t)(BLOCK_FIRST + (room >> 4));
}

void stream_set_filter(struct stream *s, struct filter *f)
{
	s->filter = f;
	s->transport = &filter_transport;
	s->unsure = !s->transport->short_is_all;
}

/* One that goes because its connection is idle holds nothing. */
void stream_fini(struct stream *s)
{
	if (s->in.head)
		linkbuf_fini(&s->in);
	if (s->out.head)
		linkbuf_fini(&s->out);
	if (s->sends.head)
		linkbuf_fini(&s->sends);
}

/* Plain, and over TCP. */
static bool stream_is_tcp(const struct stream *s)
{
	return s->transport == &transports[TRANSPORT_TCP] || s->transport == &transport_more;
}

int stream_progress(const struct stream *s, struct sys_ack *ret)
{
	return sys_ack(s->fd, s->filter ? s->filter->below.tcp : stream_is_tcp(s), ret);
}

/* Memory is short now, not for ever: the bytes wait until the stream is tried again. */
static bool stream_err_passes(ssize_t n)
{
	return n == -ENOMEM || n == -ENOBUFS;
}

/* What a filter has failed with is for ever, whatever it is. */
static int stream_stopped(const struct stream *s, ssize_t n)
{
	if (n == -EAGAIN)
		return STREAM_AGAIN;
	if (s->filter && s->filter->state == FILTER_FAILED)
		return (int)n;
	return stream_err_passes(n) ? STREAM_LATER : (int)n;
}

static slow_path int stream_read_stopped(const struct stream *s, ssize_t n)
{
	if (s->filter && n == FILTER_NEWS)
		return STREAM_NEWS;
	return s->filter && n == FILTER_BLOCKED ? STREAM_BLOCKED : stream_stopped(s, n);
}

/* ------------------------------------------------------------------ reading */

/*
 * A waiting verb's big message gets room soon, but never more than twice what has come: a claimed
 * length commits no memory.
 */
static slow_path size_t stream_offer_needed(const struct stream *s, size_t space)
{
	size_t missing = s->need - linkbuf_len(&s->in), shown = 2 * s->held + SPACE_FIRST;

	missing = missing < shown ? missing : shown;
	missing = missing > space ? missing : space;
	return missing < SPACE_MAX ? missing : SPACE_MAX;
}

/* How much room the next read offers. */
static inline size_t stream_offer(const struct stream *s, size_t room)
{
	size_t space = s->rx_space;

	if (unlikely(s->need > linkbuf_len(&s->in)))
		space = stream_offer_needed(s, space);
	else if (space == SPACE_MAX)
		space += SPACE_HEADS;
	return space < room ? space : room;
}

/*
 * The next edge is offered more than this one brought, so that one short read takes it and tells
 * that there is no more; half of it when three quarters were empty.
 */
static slow_path void stream_grow(struct stream *s)
{
	while (s->rx_space <= s->edge && s->rx_space < SPACE_MAX)
		s->rx_space *= 2;
}

static inline int stream_edge_is_over(struct stream *s)
{
	if (unlikely(s->edge < s->rx_space / 4 && s->rx_space > SPACE_MIN))
		s->rx_space /= 2;
	s->edge = 0;
	return STREAM_AGAIN;
}

static slow_path int stream_read_ended(struct stream *s, ssize_t n)
{
	np_linkbuf_commit(&s->in, 0);
	if (n == -EAGAIN)
		return s->edge ? stream_edge_is_over(s) : STREAM_AGAIN;
	return n ? stream_read_stopped(s, n) : STREAM_END;
}

/* Where a short read does not tell: only a filter may know all the same. */
static slow_path int stream_read_more(struct stream *s)
{
	return s->odd == FILTER_ALL ? stream_edge_is_over(s) : STREAM_MORE;
}

/* Not all that this edge brings lies in one read, or the room that is offered has to be adapted. */
static slow_path int stream_edge_goes_on(struct stream *s, size_t n, size_t offered)
{
	s->edge = n < SPACE_MAX - s->edge ? s->edge + (uint32_t)n : SPACE_MAX;
	if (s->edge >= s->rx_space)
		stream_grow(s);
	if (n == offered || !s->transport->short_is_all || s->odd)
		return stream_read_more(s);
	return stream_edge_is_over(s);
}

/* @n > 0 bytes of the @offered have come. Inline in both callers: one of them is each read. */
static inline __attribute__((always_inline)) int stream_has_read(struct stream *s, size_t n,
								 size_t offered)
{
	PROBE2(read, s->fd, n);
	s->held += n;
	s->rx_total += n;
	if (likely(n < offered && n < SPACE_MIN && s->rx_space == SPACE_MIN && !s->goes_on))
		return STREAM_AGAIN;
	return stream_edge_goes_on(s, n, offered);
}

/* Into what room the chain has, and a new block behind it. */
static slow_path int stream_read_two(struct stream *s, size_t want)
{
	struct iovec iov[2];
	int niov = np_linkbuf_space(&s->in, want, iov, 2);
	size_t offered;
	ssize_t n;

	if (niov < 0)
		return stream_read_ended(s, niov);
	offered = iov[0].iov_len + (niov > 1 ? iov[1].iov_len : 0);
	n = niov == 1 ? s->transport->read(s, iov[0].iov_base, offered) :
			s->transport->readv(s, iov, niov);
	if (n <= 0)
		return stream_read_ended(s, n);
	np_linkbuf_commit(&s->in, (size_t)n);
	return stream_has_read(s, (size_t)n, offered);
}

static slow_path int stream_read_much(struct stream *s, size_t room)
{
	size_t offer = stream_offer(s, room);
	void *p = linkbuf_space(&s->in, offer);
	ssize_t n;

	if (unlikely(!p))
		return stream_read_two(s, offer);
	n = s->transport->read(s, p, offer);
	if (unlikely(n <= 0))
		return stream_read_ended(s, n);
	linkbuf_commit(&s->in, (size_t)n);
	return stream_has_read(s, (size_t)n, offer);
}

/* Nothing has come into @e, or more than a first block takes. */
static slow_path int stream_read_odd(struct stream *s, struct block *e, ssize_t n)
{
	if (n <= 0) {
		block_free(e);
		return stream_read_ended(s, n);
	}
	linkbuf_hold(&s->in, e, (size_t)n);
	s->in.len = (size_t)n;
	linkbuf_adapt(&s->in, (size_t)n);
	return stream_has_read(s, (size_t)n, SPACE_MIN);
}

/* A block for a read of SPACE_MIN; NULL: it offers more, or less, or not into an empty buffer. */
static inline struct block *stream_block(const struct stream *s, size_t room)
{
	if (unlikely(s->rx_space != SPACE_MIN || room < SPACE_MIN || s->need > SPACE_MIN ||
		     s->in.tail || s->in.first != BLOCK_FIRST))
		return NULL;
	return block_warm(block_cache, block_class(SPACE_MIN));
}

/* Most reads bring little. What they are given joins the buffer when something has come. */
int stream_read(struct stream *s, size_t room)
{
	struct block *e = stream_block(s, room);
	ssize_t n;

	if (unlikely(!e))
		return stream_read_much(s, room);
	n = s->transport->read(s, e->base, SPACE_MIN);
	if (unlikely((size_t)n - 1 >= block_size(BLOCK_FIRST)))
		return stream_read_odd(s, e, n);
	PROBE2(read, s->fd, n);
	linkbuf_hold(&s->in, e, (size_t)n);
	s->in.len = s->held = (size_t)n;
	s->rx_total += (size_t)n;
	if (likely(!s->goes_on))
		return STREAM_AGAIN;
	return stream_edge_goes_on(s, (size_t)n, SPACE_MIN);
}

/*
 * One splice alone: EAGAIN of a pipe that holds something might be the pipe's. What it moved says
 * nothing of what is left.
 */
int stream_fill(struct stream *s, struct pipe *p)
{
	ssize_t n;

	if (p->held)
		return STREAM_LATER;
	n = sys_splice(s->fd, p->wr, p->size);
	if (n == -EINVAL || n == -ENOSYS || n == -EPERM)
		return STREAM_LATER; /* not by a pipe: the bytes can still be read */
	if (n <= 0)
		return n ? stream_stopped(s, n) : STREAM_END;
	p->held = (size_t)n;
	s->rx_total += (size_t)n;
	return STREAM_MORE;
}

int stream_discard(struct stream *s, size_t budget, size_t *ret_n)
{
	bool raw = s->filter && filter_takes_nothing(s->filter);
	const struct transport *t = raw ? &transports[TRANSPORT_TCP] : s->transport;
	char sink[16384]; /* not thread-local: dlopen(3) has a kilobyte of that to give */
	ssize_t n;

	s->odd = FILTER_UNSURE;
	for (*ret_n = 0; *ret_n < budget; *ret_n += (size_t)n) {
		n = t->read(s, sink, sizeof sink);
		if (n <= 0)
			return n == FILTER_BLOCKED ? STREAM_AGAIN :
			       n                   ? stream_stopped(s, n) :
						     STREAM_END;
	}
	return STREAM_MORE;
}

/* ------------------------------------------------------------------ a file behind the output */

/* A file of no bytes pushes nothing. */
void stream_set_file(struct stream *s, struct stream_file *f)
{
	s->file = f;
	if (f->left && stream_is_tcp(s))
		s->transport = &transport_more;
}

void stream_end_file(struct stream *s)
{
	s->file = NULL;
	if (s->transport == &transport_more)
		s->transport = &transports[TRANSPORT_TCP];
}

/* ------------------------------------------------------------------ writing */

static uint64_t stream_end(const struct stream *s)
{
	return s->tx_total + stream_unsent(s);
}

void stream_mark_due(struct stream *s)
{
	const struct block *e = s->out.read;
	size_t n = s->submitted;

	if (!n)
		return;
	for (; block_left(e) < n; e = e->next)
		n -= block_left(e);
	s->due = (struct stream_due){ .last = e, .end = e->r + n, .at = stream_end(s) };
}

/* What of `out` is due and not lent, where it is built beside this. */
static int stream_gather_due(const struct stream *s, struct iovec *iov, int max)
{
	size_t skip = s->lent;
	int n = 0;

	for (const struct block *e = s->out.read; n < max; e = e->next) {
		size_t k = (size_t)((e == s->due.last ? s->due.end : e->w) - e->r);

		if (k > skip)
			iov[n++] = (struct iovec){ e->r + skip, k - skip };
		skip = skip > k ? skip - k : 0;
		if (e == s->due.last)
			break;
	}
	return n;
}

/* Up to @max segments of what is unsent. Return: how many; *ret_bytes are in them. */
static int stream_gather(struct stream *s, struct iovec *iov, int max, size_t *ret_bytes)
{
	size_t left = s->submitted, bytes = 0;
	int n = 0, m;

	if (linkbuf_len(&s->sends)) {
		n = np_linkbuf_iov(&s->sends, iov, max);
		for (int i = 0; i < n; i++)
			bytes += iov[i].iov_len;
		if (bytes < linkbuf_len(&s->sends))
			left = 0; /* more of `sends` comes first */
	}
	if (left && n < max) {
		m = s->lends ? stream_gather_due(s, iov + n, max - n) :
			       np_linkbuf_iov(&s->out, iov + n, max - n);
		for (m += n; n < m && left; n++) {
			if (iov[n].iov_len > left)
				iov[n].iov_len = left;
			left -= iov[n].iov_len;
			bytes += iov[n].iov_len;
		}
	}
	/* The kernel refuses more than MAX_RW_COUNT in one call. */
	while (bytes > SYS_RW_MAX && n > 1)
		bytes -= iov[--n].iov_len;
	if (bytes > SYS_RW_MAX)
		bytes = iov[0].iov_len = SYS_RW_MAX;
	*ret_bytes = bytes;
	return n;
}

/*
 * What was written took several blocks: the next time one is to have room for it. Bytes that lie in
 * somebody else's memory have it already.
 */
static void stream_replies_grow(struct stream *s, size_t n)
{
	for (const struct block *e = s->out.read; e; e = e->next)
		if (e->mem != e || e->flags & BLOCK_FIXED)
			return;
	linkbuf_adapt(&s->out, n < REPLY_MAX ? n : REPLY_MAX);
}

static slow_path ssize_t stream_send_gathered(struct stream *s, size_t *ret_offered)
{
	struct iovec iov[WRITE_IOV];
	int n = stream_gather(s, iov, WRITE_IOV, ret_offered);

	if (n > 1 && !s->lends && !linkbuf_len(&s->sends))
		stream_replies_grow(s, *ret_offered);
	return n > 1 ? s->transport->writev(s, iov, n) :
		       s->transport->write(s, iov->iov_base, iov->iov_len);
}

/* The kernel has taken @n bytes. */
static void stream_sent(struct stream *s, size_t n)
{
	size_t first = linkbuf_len(&s->sends);

	s->tx_total += n;
	if (first) {
		first = n < first ? n : first;
		linkbuf_consume(&s->sends, first);
		s->sends_gone += first;
		n -= first;
	}
	s->submitted -= n;
	if (s->lends)
		s->lent += n;
	else if (n)
		linkbuf_consume(&s->out, n);
}

/* Whether sendfile(2) speaks of the file and not of the socket. */
static bool stream_err_is_files(ssize_t n)
{
	return n == -EINVAL || n == -EBADF || n == -EIO || n == -EOVERFLOW || n == -ESPIPE ||
	       n == -EACCES || n == -EISDIR;
}

static ssize_t stream_send_file(struct stream *s, struct stream_file *f, size_t n)
{
	ssize_t r;

	if (!f->pipe)
		return sys_sendfile(s->fd, f->fd, &f->off, n);
	r = sys_splice(f->pipe->rd, s->fd, n);
	f->pipe->held -= r > 0 ? (size_t)r : 0;
	return r;
}

/* What a filter has not taken is read anew: then its first bytes are the same. */
static ssize_t stream_file_piece(struct stream *s, void *piece, size_t n)
{
	struct stream_file *f = s->file;
	ssize_t r = sys_pread(f->fd, piece, n, f->off);

	if (r <= 0)
		return r;
	/* A filter may owe the record that it made of this: it cannot be taken back. */
	f->begun = true;
	r = s->transport->write(s, piece, (size_t)r);
	if (r > 0)
		f->off += r;
	return r;
}

/* The piece is in a block: a fiber's stack may be no longer than that. */
static ssize_t stream_file_filtered(struct stream *s, size_t want)
{
	struct block *b = block_data(block_class(FILE_PIECE));
	ssize_t r;

	if (!b)
		return -ENOMEM;
	r = stream_file_piece(s, b->base, want < FILE_PIECE ? want : FILE_PIECE);
	block_free(b);
	return r;
}

static slow_path int stream_write_file(struct stream *s, size_t budget)
{
	struct stream_file *f = s->file;
	size_t part = f->left < budget + FILE_TAIL ? f->left : budget;

	while (part) {
		ssize_t n = s->filter ? stream_file_filtered(s, part) :
					stream_send_file(s, f, part);

		if (n < 0 && !f->pipe && !f->begun && stream_err_is_files(n)) {
			/* The stream is as it was, and something else may be sent. */
			f->err = (int)n;
			f->left = 0;
			if (s->transport == &transport_more)
				sys_tcp_push(s->fd); /* what was to go with it goes alone */
			break;
		}
		if (n <= 0)
			return n ? stream_stopped(s, n) : -ENODATA;
		f->begun = true;
		f->left -= (size_t)n;
		part -= (size_t)n;
		s->tx_total += (size_t)n;
	}
	if (f->left)
		return STREAM_MORE;
	stream_end_file(s);
	return s->sends_gone ? STREAM_SENDS_GONE : STREAM_DRAINED;
}

/* What is left when not all went in one piece. */
static slow_path int stream_write_rest(struct stream *s, size_t budget)
{
	size_t offered;
	ssize_t n;

	while (stream_unsent(s)) {
		if (!budget)
			return STREAM_MORE;
		n = stream_send_gathered(s, &offered);
		if (n < 0)
			return stream_stopped(s, n);
		PROBE2(write, s->fd, n);
		stream_sent(s, (size_t)n);
		if ((size_t)n < offered && s->transport->short_is_all)
			return STREAM_AGAIN;
		budget = budget > (size_t)n ? budget - (size_t)n : 0;
	}
	if (s->file)
		return stream_write_file(s, budget);
	return s->sends_gone ? STREAM_SENDS_GONE : STREAM_DRAINED;
}

/* The kernel has not taken all of it, or there is no more to it than an error. */
static slow_path int stream_wrote_part(struct stream *s, ssize_t r)
{
	if (r < 0)
		return stream_stopped(s, r);
	PROBE2(write, s->fd, r);
	stream_sent(s, (size_t)r);
	if (s->transport->short_is_all)
		return STREAM_AGAIN;
	return stream_write_rest(s, WRITE_BUDGET - (size_t)r);
}

int stream_write(struct stream *s)
{
	struct block *e = s->out.tail;
	size_t n = s->submitted;
	ssize_t r;

	/* The common case: what is submitted is one block's all, and nothing else waits. */
	if (unlikely(n - 1 >= WRITE_BUDGET || block_left(e) != n || !linkbuf_is_only(&s->out, e) ||
		     linkbuf_len(&s->sends)))
		return stream_write_rest(s, WRITE_BUDGET);
	r = s->transport->write(s, e->r, n);
	if (unlikely(r != (ssize_t)n))
		return stream_wrote_part(s, r);
	PROBE2(write, s->fd, n);
	s->tx_total += n;
	s->submitted = 0;
	linkbuf_give_only(&s->out, e);
	if (unlikely(s->out.first != BLOCK_FIRST))
		linkbuf_adapt(&s->out, n);
	return likely(!s->file) ? STREAM_DRAINED : stream_write_rest(s, WRITE_BUDGET - n);
}

int stream_lend(struct stream *s)
{
	if (s->file || s->due.at != stream_end(s))
		return STREAM_DRAINED;
	s->lends = true;
	return stream_write_rest(s, WRITE_BUDGET);
}

void stream_unlend(struct stream *s)
{
	s->lends = false;
	if (s->lent)
		linkbuf_consume(&s->out, s->lent);
	s->lent = 0;
}

void stream_release_some(struct stream *s)
{
	np_linkbuf_release(&s->in);
	s->held = linkbuf_len(&s->in);
}

int stream_requeue(struct stream *s)
{
	struct np_linkbuf *b;
	int r;

	if (!s->submitted)
		return 0;
	r = np_linkbuf_slice(&s->out, s->submitted, &b);
	if (r < 0)
		return r;
	r = np_linkbuf_append(&s->sends, &b);
	if (r < 0) {
		np_linkbuf_free(&b);
		return r;
	}
	np_linkbuf_release(&s->out);
	np_linkbuf_flush(&s->sends);
	s->submitted = 0;
	return 0;
}

int stream_pipe_to_output(struct stream *s)
{
	struct stream_file *f = s->file;
	size_t got = 0;
	ssize_t n = 1;
	void *p;
	int r = f->left ? np_linkbuf_reserve(&s->out, f->left, &p) : 0;

	if (r < 0)
		return r;
	while (got < f->left && n > 0) {
		n = sys_read(f->pipe->rd, (char *)p + got, f->left - got);
		got += n > 0 ? (size_t)n : 0;
	}
	if (f->left)
		np_linkbuf_trim(&s->out, got);
	stream_submit(s);
	f->pipe->held -= got;
	f->left -= got;
	if (f->left) /* what is left follows what was taken */
		return n < 0 ? (int)n : -ENODATA;
	stream_end_file(s);
	return 0;
}

bool stream_drop_output(struct stream *s)
{
	bool lost = !stream_is_drained(s);

	stream_end_file(s);
	linkbuf_fini(&s->sends);
	linkbuf_init(&s->sends);
	if (s->submitted)
		linkbuf_consume(&s->out, s->submitted);
	s->submitted = 0;
	return lost;
}

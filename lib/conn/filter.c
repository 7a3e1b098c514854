/* SPDX-License-Identifier: BSD-2-Clause */
/* filter: the transport whose bytes go through a filter, and the socket as the filter sees it. */
#include "conn/filter.h"

#include <errno.h>
#include <sys/socket.h>

#include "conn/stream.h"
#include "netpoll/linkbuf.h"
#include "sys/io.h"

/* ------------------------------------------------------------------ what lies below it */

static ssize_t filter_read_early(struct np_linkbuf *b, void *p, size_t n)
{
	int r;

	if (n > linkbuf_len(b))
		n = linkbuf_len(b);
	r = np_linkbuf_copy(b, p, n);
	np_linkbuf_release(b);
	return r < 0 ? r : (ssize_t)n;
}

/*
 * Where a short read says that nothing is left, the next one would only learn EAGAIN: an edge will
 * tell, and the stream is read anew from there.
 */
ssize_t np_filter_read(struct np_filter_below *b, void *p, size_t n)
{
	ssize_t r;

	if (unlikely(linkbuf_len(&b->early)))
		return filter_read_early(&b->early, p, n);
	if (b->odd == FILTER_DRY)
		return -EAGAIN;
	r = sys_recv(b->fd, p, n, 0);
	if (r > 0 && (size_t)r < n && b->tcp && !b->odd)
		b->odd = FILTER_DRY;
	return r;
}

ssize_t np_filter_write(struct np_filter_below *b, const void *p, size_t n)
{
	return sys_send(b->fd, p, n, b->last ? MSG_MORE : 0);
}

/* Behind each call of the filter's. */
static inline void filter_weigh(struct filter *f)
{
	if (unlikely(f->below.holds != f->counted))
		filter_count_in(f, f->total);
}

void filter_count_in(struct filter *f, size_t *total)
{
	if (f->total)
		*f->total -= f->counted;
	f->counted = total ? f->below.holds : 0;
	f->total = total;
	if (total)
		*total += f->counted;
}

void np_filter_holds(struct np_filter_below *below, size_t n)
{
	below->holds = n;
}

/* ------------------------------------------------------------------ as a transport */

static ssize_t filter_passes(struct filter *f, ssize_t r)
{
	if (r < 0 && r != -EAGAIN && r != FILTER_BLOCKED && r != -ENOMEM) {
		f->state = FILTER_FAILED;
		f->error = (int)r;
	}
	return r;
}

void filter_worked(struct filter *f, int r)
{
	filter_weigh(f);
	f->state = r == 0 ? FILTER_OPENED : r > 0 ? FILTER_WORK : FILTER_HANDSHAKE;
	filter_passes(f, r);
}

/* Of one that is not open: what a step of the handshake comes to. */
static slow_path ssize_t filter_read_new(struct stream *s)
{
	struct filter *f = s->filter;
	int r;

	if (f->state == FILTER_FAILED)
		return f->error;
	f->asked = f->state != FILTER_HANDSHAKE;
	if (f->asked)
		return -EAGAIN; /* what comes of it says conn_filter_settle() */
	f->below.odd = s->odd;
	r = f->ops->handshake(f->it);
	s->odd = f->below.odd;
	filter_worked(f, r);
	return f->state == FILTER_HANDSHAKE || f->state == FILTER_FAILED ? r : FILTER_NEWS;
}

static ssize_t filter_read(struct stream *s, void *p, size_t n)
{
	struct filter *f = s->filter;
	ssize_t r;

	if (unlikely(f->state != FILTER_OPEN && f->state != FILTER_SHUT))
		return filter_read_new(s);
	f->below.odd = s->odd;
	r = f->ops->read(f->it, p, n);
	s->odd = f->below.odd;
	filter_weigh(f);
	if (unlikely(r <= 0))
		return filter_passes(f, r);
	if (s->odd == FILTER_DRY && (size_t)r < n && f->pending && !f->pending(f->it))
		s->odd = FILTER_ALL;
	return r;
}

static ssize_t filter_readv(struct stream *s, const struct iovec *iov, int niov)
{
	return filter_read(s, iov[0].iov_base, iov[0].iov_len);
}

static ssize_t filter_writev(struct stream *s, const struct iovec *iov, int niov)
{
	struct filter *f = s->filter;
	ssize_t r;

	if (unlikely(f->state != FILTER_OPEN))
		return f->state == FILTER_FAILED ? f->error :
		       f->state == FILTER_SHUT   ? -EPIPE :
						   -EAGAIN;
	r = f->ops->write(f->it, iov, niov);
	filter_weigh(f);
	return filter_passes(f, r);
}

static ssize_t filter_write(struct stream *s, const void *p, size_t n)
{
	return filter_writev(s, &(struct iovec){ (void *)p, n }, 1);
}

const struct transport filter_transport = {
	.read = filter_read,
	.readv = filter_readv,
	.write = filter_write,
	.writev = filter_writev,
};

/* ------------------------------------------------------------------ begin and end */

int filter_init(struct filter *f, const struct np_filter_maker *m, int fd, bool tcp,
		const char *host)
{
	*f = (struct filter){ .ops = m->ops, .below = { .fd = fd, .tcp = tcp } };
	linkbuf_init(&f->below.early);
	if (m->ops->sz >= sizeof *m->ops)
		f->pending = m->ops->pending;
	return f->ops->open(m, &f->below, host, &f->it);
}

void filter_fini(struct filter *f)
{
	if (f->it)
		f->ops->close(f->it);
	f->it = NULL;
	filter_count_in(f, NULL);
	linkbuf_fini(&f->below.early);
}

/* FIN follows at once, in the segment of the last word: the peer wakes up once for both. */
int filter_shutdown(struct filter *f)
{
	int r;

	if (f->state != FILTER_OPEN)
		return 0;
	f->below.last = true;
	r = f->ops->shutdown(f->it);
	f->below.last = false;
	if (r == -EAGAIN)
		return r;
	f->state = FILTER_SHUT;
	filter_passes(f, r);
	return 0;
}

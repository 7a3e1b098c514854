/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bufio: the verbs of linkbuf.h over whatever can be read and written: a file, a pipe, a TLS
 * session
 *
 *	static ssize_t file_readv(void *arg, const struct iovec *iov, int n)
 *	{
 *		ssize_t k = readv(*(int *)arg, iov, n);
 *
 *		return k < 0 ? -errno : k;
 *	}
 *
 *	r = np_bufio_new(NP_OPTS(np_bufio_ops, .readv = file_readv), &fd, &b);
 *	r = np_bufio_until(b, '\n', 4096, &line, &n);
 *
 * It reads ahead: its source is asked for more than the verb needs (.chunk), and a second reader of
 * that source finds bytes missing that lie in np_bufio_in().
 *
 * For every call below, unless it says otherwise:
 *   Thread:    one at a time. On a fiber one may read while another writes.
 *   May park:  yes where a callback does; reading calls readv() only when too few bytes are here.
 *   Failure:   nothing is consumed and nothing written, ret_x are untouched.
 */
#ifndef NETPOLL_BUFIO_H
#define NETPOLL_BUFIO_H

#include <stddef.h>
#include <sys/types.h>

#include "netpoll/opts.h"
#include "netpoll/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct iovec;
struct np_linkbuf;
struct np_bufio;

/*
 * How an np_bufio reads and writes. Either may be NULL where that direction does not exist.
 *
 * readv  - fills some of what is asked for; short is fine. Return: bytes; 0 at the end; -errno
 *          or a status of this library.
 * writev - takes some of what is offered; short is fine. Return: bytes; -errno or a status.
 * Both: -EINTR is tried again at once. -EAGAIN (and writev's 0) means not now: the verb returns
 * -EAGAIN and the next one tries again. Every other error, and the end, is for good: the callback
 * is not called again. Bytes that arrive with an error or the end are returned first, and that the
 * next time. They may not use the np_bufio that calls them.
 */
struct np_bufio_ops {
	size_t sz; /* sizeof(struct np_bufio_ops) */
	ssize_t (*readv)(void *arg, const struct iovec *iov, int n);
	ssize_t (*writev)(void *arg, const struct iovec *iov, int n);
	void (*close)(void *arg); /* once, from np_bufio_free(); may be NULL */
	/* readv is asked for at least this much; 0: 16 KiB; 1: for no more than the verb needs */
	size_t chunk;
	size_t in_max; /* no verb waits for more than this; 0, SIZE_MAX: no limit */
};
NP_OPTS_INIT(np_bufio_ops)

/*
 * np_bufio_new() - the verbs over @ops, which is copied, and @arg, which its callbacks get
 *
 * Thread: any. May park: no. Lifetime: until np_bufio_free().
 * Return: 0, -ENOMEM, -EINVAL (@ops is NULL, @ops->sz is missing, or neither callback is there),
 *         -E2BIG (@ops has a field that this library does not know).
 */
NP_API int np_bufio_new(const struct np_bufio_ops *ops, void *arg, struct np_bufio **ret);

/*
 * np_bufio_free() - end it; bytes that were not flushed or not taken are dropped
 *
 * *b is NULL then; NULL in *b does nothing. Runs done() of what it drops, then ops.close().
 * Thread: any that holds it. May park: where close() does.
 */
NP_API void np_bufio_free(struct np_bufio **b);

/* ------------------------------------------------------------------ reading */

/*
 * np_bufio_wait() - read until @n bytes are buffered
 *
 * Return: 0; -NP_EEOF (the end, with fewer: what is here stays readable); what readv() returned,
 *         then and at every later call that needs more; -EAGAIN; -NP_ETOOLONG (@n is over in_max);
 *         -NP_ECONCURRENT (another fiber is reading); -NP_EUNSUPPORTED (no readv()); -ENOMEM.
 */
NP_API int np_bufio_wait(struct np_bufio *b, size_t n);

/*
 * np_bufio_next() and the like - wait for bytes, and do with them what the linkbuf verb does
 *
 * They wait as np_bufio_wait() does. The linkbuf verb is the one of the same name.
 *
 * Lifetime: pointers until np_bufio_release() or np_bufio_free(). The verbs that give none
 * (skip, copy, dup, byte, slice, read) need no release(): the bytes they have read go by
 * themselves.
 * Return: as np_bufio_wait(), and as the linkbuf verb.
 */
NP_API int np_bufio_next(struct np_bufio *b, size_t n, const void **ret_p);
NP_API int np_bufio_peek(struct np_bufio *b, size_t n, const void **ret_p);
NP_API int np_bufio_skip(struct np_bufio *b, size_t n);
NP_API int np_bufio_copy(struct np_bufio *b, void *dst, size_t n);
NP_API int np_bufio_dup(struct np_bufio *b, size_t n, char **ret_s);
NP_API int np_bufio_byte(struct np_bufio *b, unsigned char *ret);
NP_API int np_bufio_slice(struct np_bufio *b, size_t n, struct np_linkbuf **ret);

/*
 * np_bufio_until() - up to and with the first @delim, which must be among the next @max bytes
 *
 * Looks at each byte once, in however many pieces they arrive, also where -EAGAIN came between
 * (but from the first one again after np_bufio_in(), or for another @delim).
 * Lifetime: as np_bufio_next().
 * Return: 0; -NP_ETOOLONG (none within @max, or within in_max); -EINVAL (@max is 0); as
 * np_bufio_wait().
 */
NP_API int np_bufio_until(struct np_bufio *b, char delim, size_t max, const void **ret_p,
			  size_t *ret_n);

/*
 * np_bufio_read() - like read(2): at least one byte, at most @cap
 *
 * Where nothing is buffered and @cap is no less than a chunk, straight into @dst.
 * Return: bytes; 0 at the end, or with @cap 0; as np_bufio_wait().
 */
NP_API ssize_t np_bufio_read(struct np_bufio *b, void *dst, size_t cap);

/* np_bufio_release() - the bytes that were read may go, and their pointers end. May park: no. */
NP_API void np_bufio_release(struct np_bufio *b);
/* np_bufio_len() - bytes read ahead and not consumed. May park: no. Return: the count. */
NP_API size_t np_bufio_len(const struct np_bufio *b);
/*
 * np_bufio_in() - the buffer behind the reading verbs: with the linkbuf verbs it is read, or taken
 * over
 *
 * May park: no. Lifetime: the np_bufio's; not to be freed. Return: never NULL.
 */
NP_API struct np_linkbuf *np_bufio_in(struct np_bufio *b);

/* ------------------------------------------------------------------ writing */

/*
 * np_bufio_reserve() and the like - write as the linkbuf verbs of the same name
 *
 * writev() sees nothing before np_bufio_flush().
 *
 * May park: no. Return: as the linkbuf verb; once writev() has failed, what it returned;
 * -NP_ECONCURRENT (another fiber is in flush()); -NP_EUNSUPPORTED (no writev()).
 */
NP_API int np_bufio_reserve(struct np_bufio *b, size_t n, void **ret_p);
NP_API int np_bufio_trim(struct np_bufio *b, size_t n);
NP_API int np_bufio_write(struct np_bufio *b, const void *p, size_t n);
NP_API int np_bufio_write_byte(struct np_bufio *b, unsigned char c);
NP_API int np_bufio_write_ref(struct np_bufio *b, const void *p, size_t n, void (*done)(void *arg),
			      void *arg);
NP_API int np_bufio_write_direct(struct np_bufio *b, const void *p, size_t n, size_t remain,
				 void (*done)(void *arg), void *arg);
NP_API int np_bufio_append(struct np_bufio *b, struct np_linkbuf **other);
/* np_bufio_pending() - bytes written and not flushed. May park: no. Return: the count. */
NP_API size_t np_bufio_pending(const struct np_bufio *b);

/*
 * np_bufio_flush() - hand all that was written to writev(), as often as it takes
 *
 * done() of references runs when writev() has taken their last byte.
 * Return: 0: all of it is taken. -EAGAIN: a part is, the next flush() goes on from there. What
 *         writev() returned, now and from every writing verb to come; -NP_ECONCURRENT;
 *         -NP_EUNSUPPORTED (no writev()).
 */
NP_API int np_bufio_flush(struct np_bufio *b);

/*
 * np_bufio_out() - the buffer behind the writing verbs; readable in it is what was flushed and not
 * taken
 *
 * May park: no. Lifetime: the np_bufio's; not to be freed. Return: never NULL.
 */
NP_API struct np_linkbuf *np_bufio_out(struct np_bufio *b);

#ifdef __cplusplus
}
#endif
#endif

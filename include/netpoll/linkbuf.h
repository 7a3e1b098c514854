/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * linkbuf: bytes in a chain of blocks, read and written without copying
 *
 * A pointer that next() or peek() gave lives until release(), not until the next call; and bytes
 * that are written cannot be read before flush().
 *
 *     consumed        readable          unflushed
 *   |-----------|-------------------|---------------|  room
 *   kept for      np_linkbuf_len()    np_linkbuf_pending()
 *   pointers      next() takes here   reserve() adds here
 *   release()                         flush() makes it readable, trim() cuts it
 *   frees it
 *
 * For every call below, unless it says otherwise:
 *   Thread:    the holder of the buffer, one thread at a time; two buffers never need a lock
 *              between them, not even where they share memory (slices).
 *   May park:  no. Nothing here waits; too few bytes is -NP_ESHORT.
 *   Failure:   a call that fails has changed nothing, and its ret_x are untouched.
 *   n == 0:    0, and nothing happens; a pointer then returned may not be dereferenced.
 *
 * An empty buffer whose reader has called release() holds no memory but itself.
 */
#ifndef NETPOLL_LINKBUF_H
#define NETPOLL_LINKBUF_H

#include <stddef.h>

#include "netpoll/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct iovec;
struct np_linkbuf;

/*
 * np_linkbuf_new() - an empty buffer
 *
 * @hint: how many bytes are likely to be in it at a time, 0 where that is not known. It sizes the
 *        first block and allocates nothing.
 * Thread: any. Lifetime: until np_linkbuf_free(), or a call that takes it (np_linkbuf_append(),
 * np_conn_append(), np_conn_send(), np_call()).
 * Return: 0, -ENOMEM.
 */
NP_API int np_linkbuf_new(size_t hint, struct np_linkbuf **ret);

/*
 * np_linkbuf_free() - give back the buffer and every block that only it holds
 *
 * *b is NULL then; NULL in *b does nothing. Slices of it live on. Unread and unflushed bytes are
 * dropped, and done() of every write_ref() that is not shared runs before this returns.
 * np_conn_out() is left as it is, and *b too: bytes of it may be on their way.
 * Thread: any that holds it; it need not be the one that filled it.
 */
NP_API void np_linkbuf_free(struct np_linkbuf **b);

/* ------------------------------------------------------------------ reading */

/* np_linkbuf_len() - bytes that can be read now. Return: the count. */
NP_API size_t np_linkbuf_len(const struct np_linkbuf *b);

/*
 * np_linkbuf_next() - the next @n bytes as one contiguous piece, consumed
 *
 * Within one block that is a pointer into it. Bytes that lie in several are first pulled together
 * into one (copied once); pointers given earlier stay valid.
 * Lifetime: *ret_p until np_linkbuf_release() or np_linkbuf_free().
 * Return: 0, -NP_ESHORT, -ENOMEM (only where bytes of several blocks had to be pulled together).
 */
NP_API int np_linkbuf_next(struct np_linkbuf *b, size_t n, const void **ret_p);

/*
 * np_linkbuf_peek() - as np_linkbuf_next(), but the bytes stay to be read
 *
 * Peeking at more and more of what is in a buffer copies at most twice the bytes in all.
 * Lifetime: *ret_p until np_linkbuf_release() or np_linkbuf_free(), also past a later, longer peek.
 * Return: 0, -NP_ESHORT, -ENOMEM.
 */
NP_API int np_linkbuf_peek(struct np_linkbuf *b, size_t n, const void **ret_p);

/* np_linkbuf_skip() - consume @n bytes unread. Return: 0, -NP_ESHORT. */
NP_API int np_linkbuf_skip(struct np_linkbuf *b, size_t n);

/*
 * np_linkbuf_until() - the next bytes up to and with the first @delim, consumed
 *
 * @max: the longest acceptable piece, @delim included.
 * On an error nothing is consumed.
 * Lifetime: as np_linkbuf_next().
 * Return: 0, -NP_ESHORT (no @delim yet, and fewer than @max bytes are here), -NP_ETOOLONG (none
 *         within @max), -EINVAL (@max is 0), -ENOMEM.
 */
NP_API int np_linkbuf_until(struct np_linkbuf *b, char delim, size_t max, const void **ret_p,
			    size_t *ret_n);

/* np_linkbuf_copy() - consume @n bytes into memory of the caller's. Return: 0, -NP_ESHORT. */
NP_API int np_linkbuf_copy(struct np_linkbuf *b, void *dst, size_t n);

/*
 * np_linkbuf_dup() - consume @n bytes into a string of their own
 *
 * Lifetime: *ret_s has a NUL after the @n bytes and is the caller's to free(3); @n may be 0.
 * Return: 0, -NP_ESHORT, -ENOMEM.
 */
NP_API int np_linkbuf_dup(struct np_linkbuf *b, size_t n, char **ret_s);

/* np_linkbuf_byte() - consume one byte. Return: 0, -NP_ESHORT. */
NP_API int np_linkbuf_byte(struct np_linkbuf *b, unsigned char *ret);

/*
 * np_linkbuf_slice() - consume @n bytes into a buffer of their own that shares the memory
 *
 * Copies nothing. The slice can be read, sliced, appended and written to like any buffer; what is
 * written to it goes into memory of its own. It may be read and freed on another thread than @b.
 * Lifetime: *ret until np_linkbuf_free() or a call that takes it, whatever becomes of @b. A
 * slice keeps the whole blocks alive that its bytes lie in. @n may be 0: an empty buffer.
 * Return: 0, -NP_ESHORT, -ENOMEM.
 */
NP_API int np_linkbuf_slice(struct np_linkbuf *b, size_t n, struct np_linkbuf **ret);

/*
 * np_linkbuf_release() - the bytes that were read may go
 *
 * Ends every pointer that next(), peek() and until() have given. An empty buffer holds no block
 * afterwards. done() of references that were read to their end runs before this returns.
 */
NP_API void np_linkbuf_release(struct np_linkbuf *b);

/* ---------------------------------------------------------------- writing: unseen until flush() */

/*
 * np_linkbuf_reserve() - @n contiguous bytes to fill
 *
 * They count as written from now on; give back what was not needed with np_linkbuf_trim().
 * Lifetime: *ret_p may be written to until the flush() or trim() that follows.
 * Return: 0, -ENOMEM.
 */
NP_API int np_linkbuf_reserve(struct np_linkbuf *b, size_t n, void **ret_p);

/*
 * np_linkbuf_trim() - keep the first @n of the unflushed bytes, drop the others
 *
 * Return: 0, -EINVAL (@n is more than np_linkbuf_pending()).
 */
NP_API int np_linkbuf_trim(struct np_linkbuf *b, size_t n);

/* np_linkbuf_pending() - bytes written and not flushed. Return: the count. */
NP_API size_t np_linkbuf_pending(const struct np_linkbuf *b);

/* np_linkbuf_write() - add a copy of @n bytes. Return: 0, -ENOMEM. */
NP_API int np_linkbuf_write(struct np_linkbuf *b, const void *p, size_t n);

/*
 * np_linkbuf_write_ref() - add @n bytes of the caller's without copying them
 *
 * @done: runs once, with @arg, when the last buffer that shares the bytes lets go of them, on
 *        whichever thread that is; it may not park, and may not call np_conn_*. NULL: none
 *        is called. After an error it never runs. With @n == 0 it runs before this returns.
 * Lifetime: @p must stay as it is until @done.
 * Return: 0, -ENOMEM.
 */
NP_API int np_linkbuf_write_ref(struct np_linkbuf *b, const void *p, size_t n,
				void (*done)(void *arg), void *arg);

/*
 * np_linkbuf_write_direct() - insert @n bytes of the caller's before the last @remain unflushed
 * ones
 *
 * For a payload that belongs inside a reserved frame: reserve head and trailer in one, then insert
 * the payload between. Any number of times; the pointers of reserve() stay valid.
 * Lifetime: @p and @done as for np_linkbuf_write_ref().
 * Return: 0, -EINVAL (@remain is more than np_linkbuf_pending()), -ENOMEM.
 */
NP_API int np_linkbuf_write_direct(struct np_linkbuf *b, const void *p, size_t n, size_t remain,
				   void (*done)(void *arg), void *arg);

/* np_linkbuf_write_byte() - add one byte. Return: 0, -ENOMEM. */
NP_API int np_linkbuf_write_byte(struct np_linkbuf *b, unsigned char c);

/*
 * np_linkbuf_append() - add all of *other, flushed or not, without copying
 *
 * Like everything written it is seen after the flush(). Pointers that were read from *other end.
 * Lifetime: takes *other and leaves NULL; NULL in *other does nothing. What another object owns
 * (np_conn_in(), np_bufio_in(), np_bufio_out()) is emptied and stays its owner's. The output of a
 * connection (np_conn_out()) cannot be given: bytes of it may be on their way.
 * Return: 0, -EINVAL (*other is @b, or np_conn_out() of any connection; it is left alone).
 */
NP_API int np_linkbuf_append(struct np_linkbuf *b, struct np_linkbuf **other);

/* np_linkbuf_flush() - let readers see what was written. Return: 0. */
NP_API int np_linkbuf_flush(struct np_linkbuf *b);

/* -------------------------------------------------------------- towards other sources and sinks */

/*
 * np_linkbuf_iov() - where the readable bytes lie, for writev(2) and the like
 *
 * Fills at most @max entries, oldest bytes first, none of them empty; consumes nothing. Follow
 * with np_linkbuf_skip() for what was taken, and release().
 * Lifetime: the pieces as for np_linkbuf_peek().
 * Return: how many entries, 0 where nothing is readable; -EINVAL (@max is negative).
 */
NP_API int np_linkbuf_iov(const struct np_linkbuf *b, struct iovec *iov, int max);

/*
 * np_linkbuf_space() - room for up to @want bytes, for readv(2) and the like
 *
 * Gives what is left of the last block, and a fresh block where that is less than @want (that one
 * alone where @want is the rest of a piece larger than a block, of which little is here): never
 * more than @want bytes in all, sometimes fewer (a large @want is met in proportion to what has
 * arrived already, so that a claimed length commits no memory). With @want 0 the buffer chooses.
 * Follow with np_linkbuf_commit() before any other call that writes, also where nothing came.
 * Lifetime: the pieces until that commit().
 * Return: how many entries were filled, 1 or 2; -EINVAL (@max < 1), -EBUSY (unflushed bytes are
 *         pending: what comes from the kernel cannot be read before them), -ENOMEM.
 */
NP_API int np_linkbuf_space(struct np_linkbuf *b, size_t want, struct iovec *iov, int max);

/*
 * np_linkbuf_commit() - the first @n bytes of space() hold data now; they are readable at once
 *
 * Gives a block that stayed empty back. @n may be 0.
 * Return: 0, -EINVAL (@n is more than space() gave; what it gave is still there).
 */
NP_API int np_linkbuf_commit(struct np_linkbuf *b, size_t n);

#ifdef __cplusplus
}
#endif
#endif

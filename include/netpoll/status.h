/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * status: what the calls of this library return
 *
 * 0, a positive outcome that the call names, or a negative code: -errno, or one of the codes
 * below, negated. The library's own codes lie in 0x101..0x1FF, where Linux has no errno.
 *
 * What is released, or given away, is passed by its address: *p is NULL (a descriptor -1) exactly
 * where it was taken, whatever the result, and each call says on which results that is. Releasing
 * NULL is 0 and nothing. A reference is counted, and so np_conn_unref() takes the pointer itself.
 */
#ifndef NETPOLL_STATUS_H
#define NETPOLL_STATUS_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef NP_API
#define NP_API __attribute__((visibility("default")))
#endif

enum np_status {
	NP_ECLOSED = 0x101,       /* closed by this side */
	NP_EREADTIMEOUT = 0x102,  /* read timeout or deadline passed */
	NP_EDIALTIMEOUT = 0x103,  /* no connection within the dial timeout */
	NP_ENOTOPEN = 0x104,      /* on_prepare still runs: nothing can be read or written yet */
	NP_EUNSUPPORTED = 0x105,  /* this kind of descriptor or network cannot do that */
	NP_EEOF = 0x106,          /* the peer sent FIN and its last byte has been read */
	NP_EWRITETIMEOUT = 0x107, /* the kernel did not take the output in time */
	NP_ECONCURRENT = 0x108,   /* another fiber is reading, or writing, this connection */
	NP_ETOOLONG = 0x109,      /* more than the given or configured maximum */
	NP_ESHORT = 0x10A,        /* fewer bytes than asked for; nothing changed */
	NP_ENOTFIBER = 0x10B,     /* this call may have to park, and this is no fiber */
	/* there is no such name, or it has no address of this kind: trying again is no use */
	NP_ERESOLVE = 0x10C,
	/* no name server answered, or none knew (SERVFAIL): trying again may be */
	NP_ERESOLVEAGAIN = 0x10D,
	NP_EMOVED = 0x10E, /* another process has the connection now: np_server_hand_over() */
	NP_ECUT = 0x10F,   /* TLS: FIN without close_notify: what was read need not be all */
	NP_ETLS = 0x110, /* TLS failed: np_tls_conn_error() and np_tls_error() have the sentence */
	NP_EVERIFY = 0x111, /* TLS: the peer's certificate was refused; likewise */
};

/*
 * np_strerror() - text of a status, negative or positive
 *
 * Thread: any. May park: no. Lifetime: static text, never freed, never NULL.
 * Return: a sentence without a final stop; for errno values what strerror(3) says.
 */
NP_API const char *np_strerror(int status);

/*
 * np_err_is_timeout() - whether @status is a read, write or dial timeout, or -ETIMEDOUT
 *
 * Thread: any. May park: no. Return: true or false; 0 is no error.
 */
NP_API bool np_err_is_timeout(int status);

/*
 * np_err_is_closed() - whether @status says that the connection is over, by either side
 *
 * NP_ECLOSED, NP_EEOF, ECONNRESET and EPIPE.
 * Thread: any. May park: no. Return: true or false.
 */
NP_API bool np_err_is_closed(int status);

#ifdef __cplusplus
}
#endif
#endif

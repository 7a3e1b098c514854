/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dialer: several addresses, one connected descriptor
 *
 * Attempts run side by side, each begun 250 ms after the one before it or as soon as that has
 * failed (RFC 8305, section 5). All of it on one poller, by one fiber. Every address is tried, in
 * its order; with 16 under way the next one takes the place of the first.
 *
 *   attempt    leaves it by
 *   waiting    its turn -> running
 *   running    writable -> connected, or failed (SO_ERROR);  another has won, deadline, cancel, 16
 *              later ones -> closed
 *   backoff    a unix listener's queue was full: 10 ms -> running
 *   failed     refused by itself, or connected to itself: twice more -> running
 */
#ifndef CONN_DIALER_H
#define CONN_DIALER_H

#include <stdbool.h>
#include <stdint.h>

#include "sys/addr.h"

#define DIALER_BESIDE 16 /* attempts side by side */

struct dialer_opts {
	const struct addr *local; /* NULL: the kernel's choice */
	uint64_t until_ms;        /* of poller_after_ms(); 0 = none */
	bool nagle;
};

/*
 * dialer_connect() - the first of @n addresses that answers
 *
 * Thread: a fiber. Return: 0; -NP_EDIALTIMEOUT; -ETIMEDOUT: the fiber's deadline; -ECANCELED;
 * -NP_ENOTFIBER; or what the first address met.
 */
int dialer_connect(const struct addr *to, unsigned n, const struct dialer_opts *o, int *ret_fd);

#endif

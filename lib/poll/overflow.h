/* SPDX-License-Identifier: BSD-2-Clause */
/* overflow: says which handler has overrun its stack, and what to raise, before the process dies of
 * it. */
#ifndef POLL_OVERFLOW_H
#define POLL_OVERFLOW_H

struct fiber;

/*
 * overflow_report() - for every poller that is started with opts.report_overflow; once for a
 * process
 *
 * @fd_of says which descriptor a fiber serves, -1 for none; async-signal-safe. Return: 0,
 * sigaction(2)'s.
 */
int overflow_report(int (*fd_of)(const struct fiber *f));

#endif

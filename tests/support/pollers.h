/* SPDX-License-Identifier: BSD-2-Clause */
/* pollers: a set of pollers of one test, and what is left when it ends. Public headers only. */
#ifndef SUPPORT_POLLERS_H
#define SUPPORT_POLLERS_H

#include <netpoll/pollers.h>

extern struct np_pollers *pollers;

/* @o may be NULL: two, not pinned. */
void given_pollers(const struct np_pollers_opts *o);
/* np_go() to @poller that has to succeed. */
struct np_task *given_task(int poller, int (*fn)(void *), void *arg);
/* np_join(), from anywhere; what fn returned. */
int joined(struct np_task *t);
struct np_pollers_stats pollers_stats(void);
/* Stopped in good order and freed; no descriptor and no thread is left. */
void end_pollers(void);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * observer: one thread of the process that answers those who look at it: a unix socket, a request
 * of a signal handler
 *
 * It lives while somebody asks for it: a set of pollers with np_pollers_opts.observe, or
 * np_dump_prepare(). The first path that is asked for is the process's; a reader there sees
 * every set.
 *
 *   question: one line, WHAT FORMAT: "conns json"
 *   answer: "ok", a newline, and what was asked for; or "error" and a sentence; then the end
 */
#ifndef NETPOLL_OBSERVER_H
#define NETPOLL_OBSERVER_H

#include <stddef.h>

/*
 * observer_join() - @path: as np_pollers_opts.observe has it
 *
 * Return: 0; why there is no socket, which *ret_where names: nothing was joined. Thread: setup.
 */
int observer_join(const char *path, char *ret_where, size_t cap);
void observer_leave(void);

#endif

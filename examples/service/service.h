/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * service: a server's life under a supervisor: ready, restarted, drained, ended
 *
 *   signal           what it does
 *   SIGTERM, SIGINT  np_server_stop(): drain, serve what there is, end; the second one ends now
 *                    (one that was replaced takes the first as said before)
 *   SIGHUP           starts the program again, as it is on disk now, and ends as by SIGTERM once
 *                    that is ready: for that both have to listen, so it needs a pinned service
 */
#ifndef SERVICE_SERVICE_H
#define SERVICE_SERVICE_H

#include <netpoll/server.h>

/* How long connections that are at work may take at the end. */
#define SERVICE_STOP_MS 10000

/* Before the pollers start: their threads inherit which signals are blocked. */
void service_prepare(void);
/*
 * service_run() - the rest of a server that has started; @argv is main()'s
 *
 * Says "ready" to systemd and to the process that started this one, and what it does from then on.
 * Return: an exit code.
 */
int service_run(struct np_server *s, char **argv);

#endif

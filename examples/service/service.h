/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * service: a server's life under a supervisor: ready, restarted, drained, ended
 *
 *   signal           what it does
 *   SIGTERM, SIGINT  np_server_stop(): drain, serve what there is, end; the second one ends now
 *                    (one that was replaced takes the first as said before)
 *   SIGHUP           starts the program again, as it is on disk now, and ends as by SIGTERM once
 *                    that is ready: for that both have to listen, so it needs a pinned service
 *   SIGUSR2          starts it likewise, hands it what this one listens on and the connections that
 *                    can go, and ends with what is left; needs addresses_take_over() in its main()
 */
#ifndef SERVICE_SERVICE_H
#define SERVICE_SERVICE_H

#include <netpoll/server.h>

/* How long connections that are at work may take at the end, where nothing else is said. */
#define SERVICE_STOP_MS 10000

/* --stop-ms: another time for that; -1: no limit. Return: 0; -1: it is none, and that was said. */
int service_set_stop_ms(const char *text);
int service_stop_ms(void);
/* Before the pollers start: their threads inherit which signals are blocked. */
void service_prepare(void);
/*
 * service_take_over() - in the place of listening, where the process before hands over
 *
 * Return: how many addresses; 0: there is no such process, and the caller listens; as
 *         np_server_take_over().
 */
int service_take_over(struct np_server *s);
/* Says the library's sentence, or that of @error. Return: -1. */
int service_failed(struct np_server *s, int error);
/* A server that listens: starts it, prints one line, which scripts wait for, and service_run(). */
int service_serve(struct np_server *s, char **argv);
/*
 * service_run() - the rest of a server that has started; @argv is main()'s
 *
 * Says "ready" to systemd and to the process that started this one, and what it does from then on.
 * Return: an exit code.
 */
int service_run(struct np_server *s, char **argv);

#endif

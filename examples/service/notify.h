/* SPDX-License-Identifier: BSD-2-Clause */
/* notify: what a service tells systemd, without its library: sd_notify(3) */
#ifndef SERVICE_NOTIFY_H
#define SERVICE_NOTIFY_H

/*
 * notify() - sends the text to $NOTIFY_SOCKET: "READY=1", "STOPPING=1", "MAINPID=42" and the like,
 * several in lines of their own
 *
 * Return: 1; 0: there is no such socket, and so nobody to tell; -errno.
 */
int notify(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif

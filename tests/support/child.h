/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * child: another process of a test, talked to over a socket pair
 *
 * The child runs a function and exits; it does not return into Check. It may say bytes and hear
 * bytes; what it cannot do it reports by its exit code (child_fail()).
 */
#ifndef SUPPORT_CHILD_H
#define SUPPORT_CHILD_H

#include <sys/types.h>

struct child {
	pid_t pid;
	int sock;
};

void child_start(struct child *c, void (*fn)(int sock, void *arg), void *arg);
/* One byte each way; both sides fail after the usual deadline. */
void child_say(int sock, char what);
char child_hear(int sock);
/* A block of bytes. */
void child_send(int sock, const void *p, size_t n);
void child_recv(int sock, void *p, size_t n);
/* In the child: end it, with a sentence on stderr. */
void child_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
/* Waits for it to end and fails the test unless it ended well. */
void child_join(struct child *c);
/* SIGKILL, and waits. */
void child_kill(struct child *c);

#endif

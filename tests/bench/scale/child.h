/* SPDX-License-Identifier: BSD-2-Clause */
/* child: a process of the bench, which is told what to do and tells what it has seen */
#ifndef SCALE_CHILD_H
#define SCALE_CHILD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct child {
	pid_t pid;
	int sock;
};

/* It dies with its parent. @fn gets its end of the socket, and does not return. */
void child_start(struct child *c, void (*fn)(int sock, const void *arg), const void *arg);
void child_end(struct child *c);
/* All @n bytes; what fails ends the process. */
void child_tell(int sock, const void *p, size_t n);
void child_hear(int sock, void *p, size_t n);

void die(const char *what) __attribute__((noreturn));
uint64_t now_ns(void);

#endif

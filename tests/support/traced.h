/* SPDX-License-Identifier: BSD-2-Clause */
/* traced: how many system calls something makes, to the unit (ptrace(2)) */
#ifndef SUPPORT_TRACED_H
#define SUPPORT_TRACED_H

/* Of fn(arg) in a child, on its own thread: it ends with _exit(0), or the test fails. */
unsigned traced_calls(void (*fn)(void *arg), void *arg);

#endif

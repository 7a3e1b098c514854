/* SPDX-License-Identifier: BSD-2-Clause */
/* server: an echo server of messages of MESSAGE bytes, on one poller, in a process of its own */
#ifndef SCALE_SERVER_H
#define SCALE_SERVER_H

#include <netinet/in.h>

#define MESSAGE 64u

/* Of a child; @arg is the struct in_addr to listen at. Tells its address when it serves. */
void server_run(int sock, const void *arg);

#endif

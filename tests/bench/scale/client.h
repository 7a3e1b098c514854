/* SPDX-License-Identifier: BSD-2-Clause */
/* client: connections that are held, and connections that ask, in processes of their own */
#ifndef SCALE_CLIENT_H
#define SCALE_CLIENT_H

#include "latency.h"

/*
 * Of a child; @arg is the struct sockaddr_in of its server. Told a number (int), it opens
 * connections until it has so many, each asked once, and tells the struct latency of what that
 * took, from connect(2) to the answer.
 */
void client_hold(int sock, const void *arg);

struct active {
	int n, servers;
	struct sockaddr_in *at; /* of them */
};

/*
 * Of a child; @arg is a struct active. Told how many milliseconds (int), each of its connections
 * asks, and asks again when the answer is there; tells the struct latency of the answers.
 */
void client_ask(int sock, const void *arg);

#endif

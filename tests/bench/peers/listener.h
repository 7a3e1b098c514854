/* SPDX-License-Identifier: BSD-2-Clause */
/* listener: the listening socket of a peer, the same for each; it says where on standard output. */
#ifndef BENCH_PEERS_LISTENER_H
#define BENCH_PEERS_LISTENER_H

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define LISTENER_BACKLOG 4096

/* Binds to a port of 127.0.0.1 that is free, and listens. Does not return when it cannot. */
static inline int listener_open(const char *who)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int l = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
	socklen_t len = sizeof sa;

	signal(SIGPIPE, SIG_IGN);
	if (l < 0 || setsockopt(l, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0 ||
	    bind(l, (struct sockaddr *)&sa, sizeof sa) < 0 || listen(l, LISTENER_BACKLOG) < 0 ||
	    getsockname(l, (struct sockaddr *)&sa, &len) < 0) {
		perror(who);
		exit(1);
	}
	printf("listening on 127.0.0.1:%d\n", ntohs(sa.sin_port));
	fflush(stdout);
	return l;
}

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* beside: a child listens, and waits to be told that it is over. */
#include "support/beside.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/foreign.h"

/* A process that listens at each, until it hears something; it accepts nothing. */
static void listen_beside(int sock, void *arg)
{
	int one = 1, fd;

	for (const struct beside *b = arg; b->address; b++) {
		struct sockaddr_in6 in6 = { .sin6_family = AF_INET6,
					    .sin6_port = htons(FOREIGN_PORT) };
		struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(FOREIGN_PORT) };
		bool six = inet_pton(AF_INET6, b->address, &in6.sin6_addr) == 1;
		const void *at = six ? (const void *)&in6 : &in;

		inet_pton(AF_INET, b->address, &in.sin_addr);
		fd = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
		if (six)
			setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &b->v6only, sizeof b->v6only);
		if (bind(fd, at, six ? sizeof in6 : sizeof in) < 0 || listen(fd, 8) < 0)
			child_fail("%s: %s", b->address, strerror(errno));
	}
	child_say(sock, 'y');
	while (read(sock, &one, 1) < 0 && errno == EINTR)
		;
}

void given_beside(struct child *c, struct beside *b)
{
	char y;

	child_start(c, listen_beside, b);
	child_recv(c->sock, &y, 1);
}

void end_beside(struct child *c)
{
	child_say(c->sock, 'q');
	child_join(c);
}

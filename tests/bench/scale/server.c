/* SPDX-License-Identifier: BSD-2-Clause */
/* server: each connection has an idle timeout and keepalive, as a server would have. */
#include "server.h"

#include <arpa/inet.h>
#include <netpoll/server.h>
#include <stdio.h>
#include <unistd.h>

#include "child.h"

static int server_connected(struct np_conn *c, void *arg)
{
	return np_conn_set_keepalive(c, 60, 10, 5);
}

static int server_echo(struct np_conn *c, void *arg)
{
	const void *p;
	int r = np_conn_next(c, MESSAGE, &p);

	if (r == 0)
		r = np_conn_write(c, p, MESSAGE);
	return r < 0 ? r : np_conn_flush(c);
}

void server_run(int sock, const void *arg)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_connect = server_connected,
					      .on_request = server_echo };
	char address[32], host[INET_ADDRSTRLEN];
	struct np_pollers *pollers;
	struct np_server *server;
	struct sockaddr_storage ss;
	socklen_t len;

	inet_ntop(AF_INET, arg, host, sizeof host);
	snprintf(address, sizeof address, "%s:0", host);
	if (np_pollers_start(NP_OPTS(np_pollers_opts, .count = 1), &pollers) < 0 ||
	    np_server_new(pollers, &h, NULL,
			  NP_OPTS(np_server_opts, .steer = NP_STEER_OFF, .idle_timeout_ms = 600000),
			  &server) < 0 ||
	    np_server_listen(server, "tcp4", address) < 0 || np_server_start(server) < 0 ||
	    np_server_addr(server, 0, &ss, &len) < 0)
		die("server");
	child_tell(sock, &ss, sizeof(struct sockaddr_in));
	for (;;)
		pause();
}

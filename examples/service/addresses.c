/* SPDX-License-Identifier: BSD-2-Clause */
/* addresses: the first that cannot be had ends it, with the library's sentence. */
#include "addresses.h"

#include <errno.h>
#include <netdb.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "arguments.h"
#include "service.h"

const char *address_network(const char **text)
{
	if (strncmp(*text, "unix:", 5))
		return "tcp";
	*text += 5;
	return "unix";
}

int addresses_add(struct addresses *a, const char *text)
{
	if (a->n == ADDRESSES_MAX)
		return argument_bad("too many addresses at", text);
	a->text[a->n++] = text;
	return 0;
}

int addresses_listen(const struct addresses *a, struct np_server *s)
{
	int inherited = np_server_listen_inherited(s);

	if (inherited < 0)
		return service_failed(s, inherited);
	for (int i = 0; i < a->n; i++) {
		const char *text = a->text[i], *network = address_network(&text);
		int r = np_server_listen(s, network, text);

		if (r < 0)
			return service_failed(s, r);
	}
	if (inherited + a->n)
		return 0;
	fprintf(stderr, "%s: nothing to listen on: --listen ADDR:PORT, or sockets of systemd\n",
		program_invocation_short_name);
	return -1;
}

int addresses_take_over(const struct addresses *a, struct np_server *s)
{
	int r = service_take_over(s);

	if (r < 0)
		return service_failed(s, r);
	return r ? 0 : addresses_listen(a, s);
}

static void print_unix(const struct sockaddr_un *un, socklen_t len)
{
	int n = (int)(len - offsetof(struct sockaddr_un, sun_path));

	if (un->sun_path[0])
		printf(" unix:%.*s", (int)strnlen(un->sun_path, (size_t)n), un->sun_path);
	else
		printf(" unix:@%.*s", n - 1, un->sun_path + 1);
}

/* The zone of a link-local address is printed as the interface's name. */
static void print_inet(const struct sockaddr *sa, socklen_t len)
{
	char host[NI_MAXHOST], port[NI_MAXSERV];

	if (getnameinfo(sa, len, host, sizeof host, port, sizeof port,
			NI_NUMERICHOST | NI_NUMERICSERV))
		return;
	printf(sa->sa_family == AF_INET6 ? " [%s]:%s" : " %s:%s", host, port);
}

void addresses_print(struct np_server *s)
{
	struct sockaddr_storage ss;
	socklen_t len;

	for (int i = 0; np_server_addr(s, i, &ss, &len) == 0; i++)
		if (ss.ss_family == AF_UNIX)
			print_unix((const struct sockaddr_un *)&ss, len);
		else
			print_inet((const struct sockaddr *)&ss, len);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* addr: parsing and printing of literal addresses. */
#include "sys/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "netpoll/status.h"

#define HOST_MAX 256 /* a domain name has at most 253 characters (RFC 1035) */

static int parse_unix(const char *path, struct addr *a)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&a->ss;
	size_t n = strlen(path);

	if (n == 0)
		return -EINVAL;
	if (n >= sizeof un->sun_path)
		return -ENAMETOOLONG;
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, path, n);
	a->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
	if (path[0] == '@') {
		/* unix(7): an abstract name starts with a zero byte and has no terminator. */
		un->sun_path[0] = '\0';
		a->len--;
	}
	return 0;
}

static int parse_port(const char *s, int *ret)
{
	unsigned long v;
	char *end;

	if (*s < '0' || *s > '9')
		return -EINVAL;
	v = strtoul(s, &end, 10);
	if (*end || v > 65535)
		return -EINVAL;
	*ret = (int)v;
	return 0;
}

/* "host:port" -> @host (brackets removed) and @port. */
static int split(const char *s, char *host, size_t cap, bool *bracket, int *port)
{
	const char *colon = strrchr(s, ':'), *from = s, *to = colon;
	size_t n;

	if (!colon)
		return -EINVAL;
	*bracket = s[0] == '[';
	if (*bracket) {
		if (colon == s || colon[-1] != ']')
			return -EINVAL;
		from++;
		to--;
	}
	n = (size_t)(to - from);
	if (n >= cap)
		return -EINVAL;
	memcpy(host, from, n);
	host[n] = '\0';
	if (!*bracket && strchr(host, ':'))
		return -EINVAL; /* "::1:80" could be read two ways */
	return parse_port(colon + 1, port);
}

static int parse_v6(char *host, struct addr *a)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&a->ss;
	char *zone = strchr(host, '%');

	if (zone)
		*zone++ = '\0';
	if (inet_pton(AF_INET6, host, &in6->sin6_addr) != 1)
		return -EINVAL;
	in6->sin6_family = AF_INET6;
	if (zone) {
		in6->sin6_scope_id = if_nametoindex(zone);
		if (!in6->sin6_scope_id)
			return -EINVAL;
	}
	a->len = sizeof *in6;
	return 0;
}

int addr_parse(const char *network, const char *address, struct addr *ret)
{
	struct addr a = { 0 };
	struct sockaddr_in *in = (struct sockaddr_in *)&a.ss;
	char host[HOST_MAX];
	bool bracket, v4, v6;
	int port, r;

	if (!network || !address)
		return -EINVAL;
	if (!strcmp(network, "unix")) {
		r = parse_unix(address, &a);
		goto out;
	}
	v4 = !strcmp(network, "tcp") || !strcmp(network, "tcp4");
	v6 = !strcmp(network, "tcp") || !strcmp(network, "tcp6");
	if (!v4 && !v6)
		return -NP_EUNSUPPORTED;
	r = split(address, host, sizeof host, &bracket, &port);
	if (r < 0)
		return r;
	a.v6only = !v4;

	if (!host[0] && !bracket) {
		if (v6) {
			a.ss.ss_family = AF_INET6;
			a.len = sizeof(struct sockaddr_in6);
			a.any_stack = v4;
		} else {
			in->sin_family = AF_INET;
			a.len = sizeof *in;
		}
	} else if (bracket) {
		r = v6 ? parse_v6(host, &a) : -EAFNOSUPPORT;
	} else if (inet_pton(AF_INET, host, &in->sin_addr) == 1) {
		in->sin_family = AF_INET;
		a.len = sizeof *in;
		r = v4 ? 0 : -EAFNOSUPPORT;
	} else {
		r = -NP_ERESOLVE;
	}
	addr_set_port(&a.ss, port);
out:
	if (r == 0)
		*ret = a;
	return r;
}

int addr_port(const struct sockaddr_storage *ss)
{
	if (ss->ss_family == AF_INET)
		return ntohs(((const struct sockaddr_in *)ss)->sin_port);
	if (ss->ss_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)ss)->sin6_port);
	return 0;
}

void addr_set_port(struct sockaddr_storage *ss, int port)
{
	if (ss->ss_family == AF_INET)
		((struct sockaddr_in *)ss)->sin_port = htons((uint16_t)port);
	else if (ss->ss_family == AF_INET6)
		((struct sockaddr_in6 *)ss)->sin6_port = htons((uint16_t)port);
}

static void format_unix(const struct sockaddr_un *un, socklen_t len, char *dst, size_t cap)
{
	size_t n = len > offsetof(struct sockaddr_un, sun_path) ? len - offsetof(struct sockaddr_un, sun_path) : 0;

	if (n == 0)
		snprintf(dst, cap, "unix:"); /* a client that never bound has no name */
	else if (un->sun_path[0] == '\0')
		snprintf(dst, cap, "unix:@%.*s", (int)n - 1, un->sun_path + 1);
	else
		snprintf(dst, cap, "unix:%.*s", (int)n, un->sun_path);
}

void addr_format(const struct sockaddr_storage *ss, socklen_t len, char *dst, size_t cap)
{
	char host[INET6_ADDRSTRLEN];

	if (ss->ss_family == AF_INET) {
		inet_ntop(AF_INET, &((const struct sockaddr_in *)ss)->sin_addr, host, sizeof host);
		snprintf(dst, cap, "%s:%d", host, addr_port(ss));
	} else if (ss->ss_family == AF_INET6) {
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)ss)->sin6_addr, host, sizeof host);
		snprintf(dst, cap, "[%s]:%d", host, addr_port(ss));
	} else if (ss->ss_family == AF_UNIX) {
		format_unix((const struct sockaddr_un *)ss, len, dst, cap);
	} else {
		snprintf(dst, cap, "family %d", ss->ss_family);
	}
}

int addr_split(const char *address, char *host, size_t cap, int *ret_port)
{
	bool bracket;

	return split(address, host, cap, &bracket, ret_port);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* addr: parsing and printing of literal addresses. */
#include "sys/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "netpoll/status.h"

#define HOST_MAX 256 /* a domain name has at most 253 characters (RFC 1035) */

static int addr_parse_unix(const char *path, struct addr *a)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&a->ss;
	size_t n = strlen(path);

	if (n == 0)
		return -EINVAL;
	/* unix(7): an abstract name starts with a zero byte and has no terminator, so it may fill
	 * all there is. */
	if (n > sizeof un->sun_path || (n == sizeof un->sun_path && path[0] != '@'))
		return -ENAMETOOLONG;
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, path, n);
	a->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
	if (path[0] == '@') {
		un->sun_path[0] = '\0';
		a->len--;
	}
	return 0;
}

static int addr_parse_port(const char *s, int *ret)
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
static int addr_split_host(const char *s, char *host, size_t cap, bool *bracket, int *port)
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
	return addr_parse_port(colon + 1, port);
}

/* An interface by its name, else by its number (RFC 4007, section 11.2). */
static int addr_zone(const char *zone, uint32_t *ret)
{
	unsigned index = if_nametoindex(zone);
	char name[IF_NAMESIZE], *end;
	unsigned long long n;

	if (!index && *zone >= '0' && *zone <= '9') {
		n = strtoull(zone, &end, 10);
		if (!*end && n > 0 && n <= UINT32_MAX && if_indextoname((unsigned)n, name))
			index = (unsigned)n;
	}
	if (!index)
		return *zone ? -ENODEV : -EINVAL;
	*ret = index;
	return 0;
}

static int addr_parse_v6(char *host, struct addr *a)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&a->ss;
	char *zone = strchr(host, '%');

	if (zone)
		*zone++ = '\0';
	if (inet_pton(AF_INET6, host, &in6->sin6_addr) != 1)
		return -EINVAL;
	in6->sin6_family = AF_INET6;
	a->len = sizeof *in6;
	return zone ? addr_zone(zone, &in6->sin6_scope_id) : 0;
}

/* "[...]:80": an IPv4 address in the notation of IPv6 is IPv4. */
static int addr_parse_bracket(char *host, bool v4, bool v6, struct addr *a)
{
	int r = addr_parse_v6(host, a);

	if (r < 0)
		return r;
	addr_unmap(&a->ss, &a->len);
	if (a->ss.ss_family == AF_INET)
		a->v6only = false;
	return (a->ss.ss_family == AF_INET ? v4 : v6) ? 0 : -EAFNOSUPPORT;
}

/* No host: any address, of both families where both are asked for. */
static void addr_any(bool v4, bool v6, struct addr *a)
{
	a->ss.ss_family = v6 ? AF_INET6 : AF_INET;
	a->len = v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
	a->any_stack = v4 && v6;
}

static int addr_parse_v4(const char *host, bool v4, struct addr *a)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&a->ss;

	if (inet_pton(AF_INET, host, &in->sin_addr) != 1)
		return -NP_ERESOLVE;
	in->sin_family = AF_INET;
	a->len = sizeof *in;
	return v4 ? 0 : -EAFNOSUPPORT;
}

static int addr_parse_tcp(const char *network, const char *address, struct addr *a)
{
	bool v4 = !strcmp(network, "tcp") || !strcmp(network, "tcp4");
	bool v6 = !strcmp(network, "tcp") || !strcmp(network, "tcp6"), bracket;
	char host[HOST_MAX];
	int port, r;

	if (!v4 && !v6)
		return -NP_EUNSUPPORTED;
	r = addr_split_host(address, host, sizeof host, &bracket, &port);
	if (r < 0)
		return r;
	a->v6only = !v4;
	if (bracket)
		r = addr_parse_bracket(host, v4, v6, a);
	else if (host[0])
		r = addr_parse_v4(host, v4, a);
	else
		addr_any(v4, v6, a);
	addr_set_port(&a->ss, port);
	return r;
}

int addr_parse(const char *network, const char *address, struct addr *ret)
{
	struct addr a = { 0 };
	int r;

	if (!network || !address)
		return -EINVAL;
	r = strcmp(network, "unix") ? addr_parse_tcp(network, address, &a) :
				      addr_parse_unix(address, &a);
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

/* ::ffff:1.2.3.4 is what an IPv6 socket calls an IPv4 peer. */
void addr_unmap(struct sockaddr_storage *ss, socklen_t *len)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss;
	struct sockaddr_in in = { .sin_family = AF_INET };

	if (ss->ss_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
		return;
	in.sin_port = in6->sin6_port;
	memcpy(&in.sin_addr, &in6->sin6_addr.s6_addr[12], sizeof in.sin_addr);
	memset(ss, 0, sizeof *ss);
	memcpy(ss, &in, sizeof in);
	*len = sizeof in;
}

/* "[::1]:80", "[fe80::1%eth0]:80"; by number where the interface has gone. */
static void addr_format_v6(const struct sockaddr_in6 *in6, char *dst, size_t cap)
{
	char host[INET6_ADDRSTRLEN], zone[IF_NAMESIZE + 1] = "";

	inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
	if (in6->sin6_scope_id) {
		zone[0] = '%';
		if (!if_indextoname(in6->sin6_scope_id, zone + 1))
			snprintf(zone, sizeof zone, "%%%u", in6->sin6_scope_id);
	}
	snprintf(dst, cap, "[%s%s]:%d", host, zone, ntohs(in6->sin6_port));
}

static void addr_format_unix(const struct sockaddr_un *un, socklen_t len, char *dst, size_t cap)
{
	size_t n = len > offsetof(struct sockaddr_un, sun_path) ?
			   len - offsetof(struct sockaddr_un, sun_path) :
			   0;

	if (n == 0)
		snprintf(dst, cap, "unix:"); /* a client that never bound has no name */
	else if (un->sun_path[0] == '\0')
		snprintf(dst, cap, "unix:@%.*s", (int)n - 1, un->sun_path + 1);
	else
		snprintf(dst, cap, "unix:%.*s", (int)n, un->sun_path);
}

void addr_format(const struct sockaddr_storage *given, socklen_t len, char *dst, size_t cap)
{
	struct sockaddr_storage plain = *given, *ss = &plain;
	char host[INET6_ADDRSTRLEN];

	addr_unmap(ss, &len);
	if (ss->ss_family == AF_INET) {
		inet_ntop(AF_INET, &((const struct sockaddr_in *)ss)->sin_addr, host, sizeof host);
		snprintf(dst, cap, "%s:%d", host, addr_port(ss));
	} else if (ss->ss_family == AF_INET6) {
		addr_format_v6((const struct sockaddr_in6 *)ss, dst, cap);
	} else if (ss->ss_family == AF_UNIX) {
		addr_format_unix((const struct sockaddr_un *)ss, len, dst, cap);
	} else {
		snprintf(dst, cap, "family %d", ss->ss_family);
	}
}

int addr_split(const char *address, char *host, size_t cap, int *ret_port)
{
	bool bracket;

	return addr_split_host(address, host, cap, &bracket, ret_port);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* header: made byte by byte; nothing here is padded. */
#include "header.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

enum { V2_FIXED = 16, V2_LOCAL = 0x20, V2_PROXY = 0x21, V2_TCP4 = 0x11, V2_TCP6 = 0x21 };

static const char v2_mark[12] = "\r\n\r\n\0\r\nQUIT\n";

static const void *addr_of(const struct sockaddr_storage *ss, uint16_t *ret_port)
{
	const struct sockaddr_in *in = (const void *)ss;
	const struct sockaddr_in6 *in6 = (const void *)ss;

	*ret_port = ss->ss_family == AF_INET ? in->sin_port : in6->sin6_port;
	return ss->ss_family == AF_INET ? (const void *)&in->sin_addr : &in6->sin6_addr;
}

static size_t make_v1(char *dst, int family, const struct ends *e)
{
	char from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];
	uint16_t from_port, to_port;

	if (!family)
		return (size_t)snprintf(dst, HEADER_MAX, "PROXY UNKNOWN\r\n");
	inet_ntop(family, addr_of(&e->from, &from_port), from, sizeof from);
	inet_ntop(family, addr_of(&e->to, &to_port), to, sizeof to);
	return (size_t)snprintf(dst, HEADER_MAX, "PROXY TCP%d %s %s %d %d\r\n",
				family == AF_INET ? 4 : 6, from, to, ntohs(from_port),
				ntohs(to_port));
}

static size_t make_v2(char *dst, int family, const struct ends *e)
{
	size_t size = family == AF_INET ? 4 : 16;
	uint16_t ports[2];

	memcpy(dst, v2_mark, sizeof v2_mark);
	dst[12] = family ? V2_PROXY : V2_LOCAL;
	dst[13] = family == AF_INET ? V2_TCP4 : family ? V2_TCP6 : 0;
	dst[14] = 0;
	dst[15] = (char)(family ? 2 * size + 4 : 0);
	if (!family)
		return V2_FIXED;
	memcpy(dst + V2_FIXED, addr_of(&e->from, &ports[0]), size);
	memcpy(dst + V2_FIXED + size, addr_of(&e->to, &ports[1]), size);
	memcpy(dst + V2_FIXED + 2 * size, ports, 4);
	return V2_FIXED + 2 * size + 4;
}

/* ::ffff:a.b.c.d for a.b.c.d. */
static void map(struct sockaddr_storage *ss)
{
	struct sockaddr_in in = *(struct sockaddr_in *)ss;
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = in.sin_port };

	if (ss->ss_family != AF_INET)
		return;
	memset(&in6.sin6_addr.s6_addr[10], 0xff, 2);
	memcpy(&in6.sin6_addr.s6_addr[12], &in.sin_addr, 4);
	memcpy(ss, &in6, sizeof in6);
}

static int is_inet(const struct sockaddr_storage *ss)
{
	return ss->ss_family == AF_INET || ss->ss_family == AF_INET6;
}

size_t header_make(char *dst, int version, const struct ends *ends)
{
	struct ends e = *ends;
	int family = 0;

	if (is_inet(&e.from) && is_inet(&e.to)) {
		if (e.from.ss_family != e.to.ss_family) {
			map(&e.from);
			map(&e.to);
		}
		family = e.from.ss_family;
	}
	return version == 1 ? make_v1(dst, family, &e) : make_v2(dst, family, &e);
}

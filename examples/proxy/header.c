/* SPDX-License-Identifier: BSD-2-Clause */
/* header: read and made byte by byte; nothing here is padded. */
#include "header.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netpoll/conn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define V1_MAX 107 /* "\r\n" included */
#define V2_FIXED 16
#define V2_LEN_MAX 4096 /* what we take of TLVs */

static const char v2_mark[12] = "\r\n\r\n\0\r\nQUIT\n";

enum { V2_LOCAL = 0x20, V2_PROXY = 0x21, V2_TCP4 = 0x11, V2_TCP6 = 0x21 };

void header_ends(struct np_conn *c, struct ends *ret)
{
	socklen_t len;

	memset(ret, 0, sizeof *ret);
	np_conn_remote_addr(c, &ret->from, &len);
	np_conn_local_addr(c, &ret->to, &len);
}

static int set(struct sockaddr_storage *ss, int family, const void *addr, uint16_t port)
{
	struct sockaddr_in *in = (void *)ss;
	struct sockaddr_in6 *in6 = (void *)ss;

	memset(ss, 0, sizeof *ss);
	ss->ss_family = (sa_family_t)family;
	if (family == AF_INET) {
		memcpy(&in->sin_addr, addr, 4);
		in->sin_port = port;
	} else {
		memcpy(&in6->sin6_addr, addr, 16);
		in6->sin6_port = port;
	}
	return 0;
}

/* ------------------------------------------------------------------ version 1: a line of text */

static int set_text(struct sockaddr_storage *ss, int family, const char *addr, const char *port)
{
	unsigned char bytes[16];
	char *end;
	long n = strtol(port, &end, 10);

	if (inet_pton(family, addr, bytes) != 1 || end == port || *end || n < 0 || n > 65535)
		return -EBADMSG;
	return set(ss, family, bytes, htons((uint16_t)n));
}

static int parse_v1(char *line, struct ends *ends)
{
	char proto[8], from[40], to[40], from_port[6], to_port[6], more;
	int family, r;

	if (!strncmp(line, "PROXY UNKNOWN", 13))
		return 0;
	if (sscanf(line, "PROXY %7s %39s %39s %5s %5s%c", proto, from, to, from_port, to_port, &more) != 5)
		return -EBADMSG;
	family = !strcmp(proto, "TCP4") ? AF_INET : !strcmp(proto, "TCP6") ? AF_INET6 : 0;
	if (!family)
		return -EBADMSG;
	r = set_text(&ends->from, family, from, from_port);
	return r < 0 ? r : set_text(&ends->to, family, to, to_port);
}

static int read_v1(struct np_conn *c, struct ends *ends)
{
	char line[V1_MAX + 1];
	const void *p;
	size_t n;
	int r = np_conn_until(c, '\n', V1_MAX, &p, &n);

	if (r < 0)
		return r == -NP_ETOOLONG ? -EBADMSG : r;
	memcpy(line, p, n);
	if (n < 2 || line[n - 2] != '\r')
		return -EBADMSG;
	line[n - 2] = '\0';
	return parse_v1(line, ends);
}

/* ------------------------------------------------------------------ version 2: binary */

static int parse_v2(const unsigned char *h, size_t len, struct ends *ends)
{
	const unsigned char *a = h + V2_FIXED;
	size_t size = h[13] == V2_TCP4 ? 4 : 16;
	int family = h[13] == V2_TCP4 ? AF_INET : AF_INET6;
	uint16_t ports[2];

	if (h[12] == V2_LOCAL)
		return 0;
	if (h[12] != V2_PROXY)
		return -EBADMSG;
	if (h[13] != V2_TCP4 && h[13] != V2_TCP6)
		return 0; /* of a kind that we do not pass on: the connection's own addresses hold */
	if (len < 2 * size + 4)
		return -EBADMSG;
	memcpy(ports, a + 2 * size, 4);
	set(&ends->from, family, a, ports[0]);
	return set(&ends->to, family, a + size, ports[1]);
}

static int read_v2(struct np_conn *c, struct ends *ends)
{
	const void *p;
	size_t len;
	int r = np_conn_peek(c, V2_FIXED, &p);

	if (r < 0)
		return r;
	if (memcmp(p, v2_mark, sizeof v2_mark))
		return -EBADMSG;
	len = (size_t)((const unsigned char *)p)[14] << 8 | ((const unsigned char *)p)[15];
	if (len > V2_LEN_MAX)
		return -EBADMSG;
	r = np_conn_next(c, V2_FIXED + len, &p);
	return r < 0 ? r : parse_v2(p, len, ends);
}

int header_read(struct np_conn *c, struct ends *ends)
{
	const void *p;
	int r = np_conn_peek(c, 1, &p);

	if (r < 0)
		return r;
	return *(const char *)p == 'P' ? read_v1(c, ends) : read_v2(c, ends);
}

/* ------------------------------------------------------------------ making one */

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
	return (size_t)snprintf(dst, HEADER_MAX, "PROXY TCP%d %s %s %d %d\r\n", family == AF_INET ? 4 : 6, from, to,
				ntohs(from_port), ntohs(to_port));
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

size_t header_make(char *dst, int version, const struct ends *ends)
{
	int family = ends->from.ss_family;

	if (family != ends->to.ss_family || (family != AF_INET && family != AF_INET6))
		family = 0;
	return version == 1 ? make_v1(dst, family, ends) : make_v2(dst, family, ends);
}

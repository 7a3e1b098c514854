/* SPDX-License-Identifier: BSD-2-Clause */
/* header: parsed and made byte by byte; nothing here is padded. */
#include "header.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static const char v2_mark[12] = "\r\n\r\n\0\r\nQUIT\n";

enum { V2_LOCAL = 0x20, V2_PROXY = 0x21, V2_TCP4 = HEADER_TCP4, V2_TCP6 = 0x21 };

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

/* "0" to "65535", as a machine writes it: no sign, no zeroes before it. */
static int parse_port(const char *s, uint16_t *ret)
{
	unsigned n = 0;
	size_t len = strspn(s, "0123456789");

	if (!len || len > 5 || s[len] || (s[0] == '0' && len > 1))
		return -EBADMSG;
	for (; *s; s++)
		n = 10 * n + (unsigned)(*s - '0');
	if (n > 65535)
		return -EBADMSG;
	*ret = htons((uint16_t)n);
	return 0;
}

static int set_text(struct sockaddr_storage *ss, int family, const char *addr, const char *port)
{
	unsigned char bytes[16];
	uint16_t n;

	if (parse_port(port, &n) < 0 || inet_pton(family, addr, bytes) != 1)
		return -EBADMSG;
	return set(ss, family, bytes, n);
}

/* The next word of *@line, which ends at one space, or at the end of the line. */
static const char *word(char **line)
{
	char *at = *line, *space = strchr(at, ' ');

	*line = space ? space + 1 : at + strlen(at);
	if (space)
		*space = '\0';
	return at;
}

/* @line without its "\r\n". */
static int parse_line(char *line, struct ends *ends)
{
	const char *proto, *from, *to, *from_port, *to_port;
	struct ends e;
	int family, r;

	if (strcmp(word(&line), "PROXY"))
		return -EBADMSG;
	proto = word(&line);
	if (!strcmp(proto, "UNKNOWN"))
		return 0; /* with all that the line says of it */
	family = !strcmp(proto, "TCP4") ? AF_INET : !strcmp(proto, "TCP6") ? AF_INET6 : 0;
	from = word(&line);
	to = word(&line);
	from_port = word(&line);
	to_port = line; /* the last: a space in it is an error */
	r = family ? set_text(&e.from, family, from, from_port) : -EBADMSG;
	if (r == 0)
		r = set_text(&e.to, family, to, to_port);
	if (r == 0)
		*ends = e;
	return r;
}

static long parse_v1(const char *p, size_t n, struct ends *ends)
{
	const char *end = memchr(p, '\n', n < HEADER_V1_MAX ? n : HEADER_V1_MAX);
	char line[HEADER_V1_MAX + 1];
	size_t len;
	int r;

	if (!end)
		return n < HEADER_V1_MAX ? 0 : -EBADMSG;
	len = (size_t)(end - p) + 1;
	if (len < 2 || end[-1] != '\r' || memchr(p, '\0', len))
		return -EBADMSG;
	memcpy(line, p, len - 2);
	line[len - 2] = '\0';
	r = parse_line(line, ends);
	return r < 0 ? r : (long)len;
}

/* ------------------------------------------------------------------ version 2: binary */

static long parse_v2(const char *p, size_t n, struct ends *ends)
{
	const unsigned char *h = (const unsigned char *)p, *a = h + HEADER_V2_FIXED;
	size_t len, size;
	uint16_t ports[2];
	int family;

	if (memcmp(p, v2_mark, n < sizeof v2_mark ? n : sizeof v2_mark))
		return -EBADMSG;
	if (n < HEADER_V2_FIXED)
		return 0;
	len = (size_t)h[14] << 8 | h[15];
	if (h[12] != V2_LOCAL && h[12] != V2_PROXY)
		return -EBADMSG;
	/* LOCAL, and kinds that we do not pass on: the connection's own addresses hold. */
	if (h[12] == V2_LOCAL || (h[13] != V2_TCP4 && h[13] != V2_TCP6))
		return (long)(HEADER_V2_FIXED + len);
	family = h[13] == V2_TCP4 ? AF_INET : AF_INET6;
	size = family == AF_INET ? 4 : 16;
	if (len < 2 * size + 4)
		return -EBADMSG;
	if (n < HEADER_V2_FIXED + 2 * size + 4)
		return 0;
	memcpy(ports, a + 2 * size, 4);
	set(&ends->from, family, a, ports[0]);
	set(&ends->to, family, a + size, ports[1]);
	return (long)(HEADER_V2_FIXED + len);
}

/* ------------------------------------------------------------------ either */

static void unmap(struct sockaddr_storage *ss)
{
	const struct in6_addr *a = &((struct sockaddr_in6 *)ss)->sin6_addr;
	uint16_t port = ((struct sockaddr_in6 *)ss)->sin6_port;
	unsigned char bytes[4];

	memcpy(bytes, &a->s6_addr[12], 4);
	set(ss, AF_INET, bytes, port);
}

/* A client that an IPv6 socket gives as ::ffff:a.b.c.d is a.b.c.d, if both ends are such. */
static void unmap_ends(struct ends *e)
{
	if (e->from.ss_family != AF_INET6 ||
	    !IN6_IS_ADDR_V4MAPPED(&((struct sockaddr_in6 *)&e->from)->sin6_addr) ||
	    !IN6_IS_ADDR_V4MAPPED(&((struct sockaddr_in6 *)&e->to)->sin6_addr))
		return;
	unmap(&e->from);
	unmap(&e->to);
}

long header_parse(const void *bytes, size_t n, struct ends *ends)
{
	struct ends e = *ends;
	const char *p = bytes;
	long r = !n ? 0 : *p == 'P' ? parse_v1(p, n, &e) : parse_v2(p, n, &e);

	if (r > 0) {
		unmap_ends(&e);
		*ends = e;
	}
	return r;
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
		return HEADER_V2_FIXED;
	memcpy(dst + HEADER_V2_FIXED, addr_of(&e->from, &ports[0]), size);
	memcpy(dst + HEADER_V2_FIXED + size, addr_of(&e->to, &ports[1]), size);
	memcpy(dst + HEADER_V2_FIXED + 2 * size, ports, 4);
	return HEADER_V2_FIXED + 2 * size + 4;
}

size_t header_make(char *dst, int version, const struct ends *ends)
{
	int family = ends->from.ss_family;

	if (family != ends->to.ss_family || (family != AF_INET && family != AF_INET6))
		family = 0;
	return version == 1 ? make_v1(dst, family, ends) : make_v2(dst, family, ends);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* proxy_header: parsed byte by byte; nothing here is padded. */
#include "conn/proxy_header.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

static void header_set(struct proxy_end *e, int family, const void *addr, uint16_t port)
{
	memset(e, 0, sizeof *e);
	e->family = (uint16_t)family;
	e->port = port;
	memcpy(e->addr, addr, family == AF_INET ? 4 : 16);
}

/* ------------------------------------------------------------------ version 1: a line of text */

/* "0" to "65535", as a machine writes it: no sign, no zeroes before it. */
static int header_parse_port(const char *s, uint16_t *ret)
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

static int header_set_text(struct proxy_end *e, int family, const char *addr, const char *port)
{
	unsigned char bytes[16];
	uint16_t n;

	if (header_parse_port(port, &n) < 0 || inet_pton(family, addr, bytes) != 1)
		return -EBADMSG;
	header_set(e, family, bytes, n);
	return 0;
}

/* The next word of *@line, which ends at one space, or at the end of the line. */
static const char *header_word(char **line)
{
	char *at = *line, *space = strchr(at, ' ');

	*line = space ? space + 1 : at + strlen(at);
	if (space)
		*space = '\0';
	return at;
}

/* @line without its "\r\n". */
static int header_parse_line(char *line, struct proxy_ends *ret)
{
	const char *proto, *from, *to, *from_port, *to_port;
	int family, r;

	if (strcmp(header_word(&line), "PROXY"))
		return -EBADMSG;
	proto = header_word(&line);
	if (!strcmp(proto, "UNKNOWN"))
		return 0; /* with all that the line says of it */
	family = !strcmp(proto, "TCP4") ? AF_INET : !strcmp(proto, "TCP6") ? AF_INET6 : 0;
	from = header_word(&line);
	to = header_word(&line);
	from_port = header_word(&line);
	to_port = line; /* the last: a space in it is an error */
	r = family ? header_set_text(&ret->from, family, from, from_port) : -EBADMSG;
	return r < 0 ? r : header_set_text(&ret->to, family, to, to_port);
}

/* Garbage that begins as a line does is not waited for: its first bytes have to be right. */
static long header_parse_v1(const char *p, size_t n, struct proxy_ends *ret)
{
	static const char mark[] = "PROXY ";
	size_t len = n < PROXY_V1_MAX ? n : PROXY_V1_MAX;
	const char *end = memchr(p, '\n', len);
	char line[PROXY_V1_MAX + 1];
	int r;

	if (memcmp(p, mark, len < sizeof mark - 1 ? len : sizeof mark - 1))
		return -EBADMSG;
	if (!end)
		return n < PROXY_V1_MAX ? 0 : -EBADMSG;
	len = (size_t)(end - p) + 1;
	if (end[-1] != '\r' || memchr(p, '\0', len))
		return -EBADMSG;
	memcpy(line, p, len - 2);
	line[len - 2] = '\0';
	r = header_parse_line(line, ret);
	return r < 0 ? r : (long)len;
}

/* ------------------------------------------------------------------ version 2: binary */

static const char header_mark[12] = "\r\n\r\n\0\r\nQUIT\n";

enum { V2_LOCAL = 0x20, V2_PROXY = 0x21 };
/* The halves of the byte behind it. */
enum { V2_UNSPEC, V2_INET, V2_INET6, V2_UNIX, V2_FAMILIES };
enum { V2_STREAM = 1, V2_DGRAM, V2_KINDS };

/* What the two addresses of a family take, at the least. */
static const unsigned char header_sizes[V2_FAMILIES] = { 0, 12, 36, 216 };

static void header_set_binary(struct proxy_ends *ret, int family, const unsigned char *a)
{
	size_t size = family == AF_INET ? 4 : 16;
	uint16_t ports[2];

	memcpy(ports, a + 2 * size, sizeof ports);
	header_set(&ret->from, family, a, ports[0]);
	header_set(&ret->to, family, a + size, ports[1]);
}

static long header_parse_v2(const char *p, size_t n, struct proxy_ends *ret)
{
	const unsigned char *h = (const unsigned char *)p;
	unsigned family, kind;
	size_t len;

	if (memcmp(p, header_mark, n < sizeof header_mark ? n : sizeof header_mark))
		return -EBADMSG;
	if (n < PROXY_V2_FIXED)
		return 0;
	len = (size_t)h[14] << 8 | h[15];
	family = h[13] >> 4;
	kind = h[13] & 0xf;
	if (h[12] == V2_LOCAL) /* a health check of the proxy's own: whatever else it says */
		return (long)(PROXY_V2_FIXED + len);
	if (h[12] != V2_PROXY || family >= V2_FAMILIES || kind >= V2_KINDS ||
	    len < header_sizes[family])
		return -EBADMSG;
	if (kind != V2_STREAM || (family != V2_INET && family != V2_INET6))
		return (long)(PROXY_V2_FIXED + len);
	if (n < (size_t)PROXY_V2_FIXED + header_sizes[family])
		return 0;
	header_set_binary(ret, family == V2_INET ? AF_INET : AF_INET6, h + PROXY_V2_FIXED);
	return (long)(PROXY_V2_FIXED + len);
}

long proxy_header_parse(const void *bytes, size_t n, struct proxy_ends *ret)
{
	struct proxy_ends e = { 0 };
	const char *p = bytes;
	long r = !n ? 0 : *p == 'P' ? header_parse_v1(p, n, &e) : header_parse_v2(p, n, &e);

	if (r > 0)
		*ret = e;
	return r;
}

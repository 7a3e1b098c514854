/* SPDX-License-Identifier: BSD-2-Clause */
/* flow: the socket that has a flow's hash is made as a checkpoint's is restored (TCP_REPAIR). */
#include "steer/flow.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

#include "sys/fs.h"
#include "sys/io.h"
#include "sys/sock.h"

#define FLOW_TEXT 160

static int flow_parse_end(const char *text, struct addr *ret)
{
	int r = addr_parse("tcp", text, ret);

	if (r == 0 && (ret->any_stack || !addr_port(&ret->ss)))
		r = -EINVAL;
	return r < 0 ? -EINVAL : 0;
}

int flow_parse(const char *text, struct flow *ret)
{
	char from[FLOW_TEXT];
	const char *arrow = text ? strchr(text, '>') : NULL;
	int n = text ? snprintf(from, sizeof from, "%.*s", arrow ? (int)(arrow - text) : FLOW_TEXT,
				text) :
		       FLOW_TEXT;
	int r;

	*ret = (struct flow){ .anywhere = !arrow };
	if (n >= FLOW_TEXT)
		return -EINVAL;
	ret->drawn = !strcmp(from, "next");
	if (!arrow)
		return ret->drawn ? 0 : -EINVAL;
	r = flow_parse_end(arrow + 1, &ret->to);
	if (r < 0 || ret->drawn)
		return r;
	r = flow_parse_end(from, &ret->from);
	return r < 0 || ret->from.ss.ss_family == ret->to.ss.ss_family ? r : -EINVAL;
}

void flow_draw(struct flow *f)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&f->from.ss;
	struct sockaddr_in *in = (struct sockaddr_in *)&f->from.ss;
	uint16_t port;

	sys_random(&port, sizeof port);
	f->from = f->to;
	if (f->to.ss.ss_family == AF_INET6)
		sys_random(&in6->sin6_addr, sizeof in6->sin6_addr);
	else
		sys_random(&in->sin_addr, sizeof in->sin_addr);
	addr_set_port(&f->from.ss, 32768 + port % 28232); /* the kernel's own range */
}

static void flow_put(const struct sockaddr_storage *ss, __u32 addr[4], __u16 *port)
{
	*port = (__u16)addr_port(ss);
	if (ss->ss_family == AF_INET6)
		memcpy(addr, &((const struct sockaddr_in6 *)ss)->sin6_addr, 16);
	else
		memcpy(addr, &((const struct sockaddr_in *)ss)->sin_addr, 4);
}

void flow_key(const struct flow *f, struct np_flow *ret)
{
	*ret = (struct np_flow){ .family = f->to.ss.ss_family };
	flow_put(&f->to.ss, ret->local, &ret->local_port);
	flow_put(&f->from.ss, ret->remote, &ret->remote_port);
}

void flow_format(const struct flow *f, char *dst, size_t cap)
{
	char from[80], to[80];

	addr_format(&f->from.ss, f->from.len, from, sizeof from);
	addr_format(&f->to.ss, f->to.len, to, sizeof to);
	snprintf(dst, cap, "%s>%s", from, to);
}

/* Bound beside every listener of the port. One that others bind meanwhile must not fail by it. */
static int flow_bind(int fd, const struct addr *a)
{
	int r = sys_setsockopt_int(fd, IPPROTO_TCP, TCP_REPAIR, 1);

	if (r == 0 && a->ss.ss_family == AF_INET6)
		r = sys_setsockopt_int(fd, IPPROTO_IPV6, IPV6_FREEBIND, 1);
	if (r == 0)
		r = sys_bind(fd, (const struct sockaddr *)&a->ss, a->len);
	if (r == 0)
		r = sys_setsockopt_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	return r;
}

static int flow_connect(const struct flow *f, int *ret_fd)
{
	int fd = -1, r;

	r = sys_socket(f->to.ss.ss_family, SOCK_STREAM, &fd);
	if (r == 0)
		r = flow_bind(fd, &f->to);
	if (r == 0)
		r = sys_connect(fd, (const struct sockaddr *)&f->from.ss, f->from.len);
	if (r < 0)
		sys_close(&fd);
	*ret_fd = fd;
	return r;
}

int flow_pose(const struct flow *f, bool wildcard, struct np_flow *ret_key, int *ret_fd)
{
	/* a discard prefix (RFC 6666) */
	static const struct in6_addr ends_in_zeroes = { { { 0x01 } } };
	struct flow like = *f;
	int r;

	if (wildcard && f->to.ss.ss_family == AF_INET)
		return -EDESTADDRREQ;
	if (wildcard)
		((struct sockaddr_in6 *)&like.to.ss)->sin6_addr = ends_in_zeroes;
	flow_key(&like, ret_key);
	r = flow_connect(&like, ret_fd);
	return r == -EADDRNOTAVAIL || r == -EADDRINUSE ? 0 : r;
}

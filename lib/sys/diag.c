/* SPDX-License-Identifier: BSD-2-Clause */
/* diag: one dump of NETLINK_SOCK_DIAG for each question. */
#include "sys/diag.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>

#include "sys/fault.h"
#include "sys/netns.h"

#define STATE_LISTEN 10 /* TCP_LISTEN of netinet/tcp.h, which linux/tcp.h would redefine */

int sys_diag_open(int *ret_fd)
{
	int fd;

	SYS_FAULT(diag);
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

static int diag_open_here(void *arg)
{
	return sys_diag_open(arg);
}

int sys_diag_open_in(int netns_fd, int *ret_fd)
{
	return sys_netns_run(netns_fd, diag_open_here, ret_fd);
}

static int diag_ask(int fd, int family, unsigned port, uint32_t seq)
{
	struct {
		struct nlmsghdr head;
		struct inet_diag_req_v2 body;
	} m;

	memset(&m, 0, sizeof m);
	m.head.nlmsg_len = sizeof m;
	m.head.nlmsg_type = SOCK_DIAG_BY_FAMILY;
	m.head.nlmsg_seq = seq;
	m.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	m.body.sdiag_family = (uint8_t)family;
	m.body.sdiag_protocol = IPPROTO_TCP;
	m.body.idiag_states = 1u << STATE_LISTEN;
	m.body.id.idiag_sport = htons((uint16_t)port);
	return send(fd, &m, sizeof m, 0) == (ssize_t)sizeof m ? 0 : -errno;
}

static void diag_tell(const struct nlmsghdr *h, unsigned port,
		      void (*fn)(void *, const struct sys_listener *), void *arg)
{
	const struct inet_diag_msg *d = NLMSG_DATA(h);
	struct sys_listener l = {
		.cookie = d->id.idiag_cookie[0] | (uint64_t)d->id.idiag_cookie[1] << 32,
		.inode = d->idiag_inode,
		.queued = d->idiag_rqueue,
		.backlog = d->idiag_wqueue,
		.family = d->idiag_family,
		.port = ntohs(d->id.idiag_sport),
		.ifindex = d->id.idiag_if,
		.uid = d->idiag_uid,
	};

	memcpy(l.addr, d->id.idiag_src, d->idiag_family == AF_INET ? 4 : sizeof l.addr);
	if (!port || l.port == port)
		fn(arg, &l);
}

/* One datagram of the answer; the rest of the answer to another question is passed over. 1:
 * there is more. */
static int diag_take(const char *buf, size_t n, unsigned port, uint32_t seq,
		     void (*fn)(void *, const struct sys_listener *), void *arg)
{
	const struct nlmsghdr *h;

	for (h = (const void *)buf; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
		if (h->nlmsg_seq != seq)
			continue;
		if (h->nlmsg_type == NLMSG_DONE)
			return 0;
		if (h->nlmsg_type == NLMSG_ERROR)
			return ((const struct nlmsgerr *)NLMSG_DATA(h))->error ?: -EPROTO;
		diag_tell(h, port, fn, arg);
	}
	return 1;
}

int sys_diag_listeners(int fd, int family, unsigned port,
		       void (*fn)(void *arg, const struct sys_listener *l), void *arg)
{
	static _Atomic(uint32_t) questions;
	_Alignas(struct nlmsghdr) char buf[16384];
	uint32_t seq = ++questions;
	ssize_t n;
	int r;

	SYS_FAULT(diag);
	r = diag_ask(fd, family, port, seq);
	if (r < 0)
		return r;
	do {
		do
			n = recv(fd, buf, sizeof buf, 0);
		while (n < 0 && errno == EINTR);
		r = n < 0  ? -errno :
		    n == 0 ? -EPROTO :
			     diag_take(buf, (size_t)n, port, seq, fn, arg);
	} while (r > 0);
	return r;
}

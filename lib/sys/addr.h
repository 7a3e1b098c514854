/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * addr: "tcp" "127.0.0.1:80" <-> sockaddr
 *
 * addr_parse() takes literal addresses only. Names are for sys/names.h.
 */
#ifndef SYS_ADDR_H
#define SYS_ADDR_H

#include <stdbool.h>
#include <sys/socket.h>

struct addr {
	struct sockaddr_storage ss;
	socklen_t len;
	bool v6only;    /* an IPv6 listener that must not take IPv4 */
	bool any_stack; /* ":port": one dual-stack socket, IPv4 where IPv6 is off */
};

/*
 * addr_parse() - @network "tcp", "tcp4", "tcp6", "unix"; @address "1.2.3.4:80", "[::1]:80",
 * "[fe80::1%eth0]:80", ":80", "/run/x.sock", "@abstract"
 *
 * Return: 0; -EINVAL for a malformed address, -EAFNOSUPPORT where network and address disagree,
 *         -NP_EUNSUPPORTED for another network, -ENAMETOOLONG for a unix path over 107 bytes,
 *         -NP_ERESOLVE where the host is a name, which only a dial can resolve.
 */
int addr_parse(const char *network, const char *address, struct addr *ret);
/* "host:port" -> @host, brackets removed, and the port. Return: 0; -EINVAL: malformed, or longer than @cap. */
int addr_split(const char *address, char *host, size_t cap, int *ret_port);
/* "127.0.0.1:80", "[::1]:80", "unix:/path", "unix:@name"; always terminated. */
void addr_format(const struct sockaddr_storage *ss, socklen_t len, char *dst, size_t cap);
int addr_port(const struct sockaddr_storage *ss);
void addr_set_port(struct sockaddr_storage *ss, int port);

#endif

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
 * "[fe80::1%eth0]:80", "[fe80::1%2]:80", ":80", "/run/x.sock", "@abstract"
 *
 * Return: 0; -EINVAL for a malformed address, -EAFNOSUPPORT where network and address disagree,
 *         -ENODEV for a zone that is no interface, -NP_EUNSUPPORTED for another network,
 *         -ENAMETOOLONG for a unix path over 107 bytes (108 for @abstract), -NP_ERESOLVE where the
 *         host is a name, which only a dial can resolve.
 */
int addr_parse(const char *network, const char *address, struct addr *ret);
/* "host:port" -> @host, brackets removed, and the port. Return: 0; -EINVAL: malformed, or longer
 * than @cap. */
int addr_split(const char *address, char *host, size_t cap, int *ret_port);
/*
 * addr_unmap() - ::ffff:1.2.3.4 as 1.2.3.4: an IPv4 address, on whatever socket it came
 *
 * For an address that is shown, sent on or compared; not for one that is given back to the same
 * socket: an IPv6 one does not bind to an IPv4 address.
 */
void addr_unmap(struct sockaddr_storage *ss, socklen_t *len);
/* "127.0.0.1:80", "[::1]:80", "[fe80::1%eth0]:80", "unix:/path", "unix:@name"; unmapped; always
 * terminated. */
void addr_format(const struct sockaddr_storage *ss, socklen_t len, char *dst, size_t cap);
int addr_port(const struct sockaddr_storage *ss);
void addr_set_port(struct sockaddr_storage *ss, int port);

#endif

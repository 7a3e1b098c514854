/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * header: the PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt)
 *
 * UNKNOWN (v1) and LOCAL (v2) are valid and name no client: then the connection's own addresses
 * hold.
 */
#ifndef PROXY_HEADER_H
#define PROXY_HEADER_H

#include <stddef.h>
#include <sys/socket.h>

struct np_conn;

#define HEADER_V1_MAX   107 /* "\r\n" included */
#define HEADER_V2_FIXED 16  /* these tell how long the remainder is */
#define HEADER_TCP4     0x11

struct ends {
	struct sockaddr_storage from, to;
};

/* The connection's own: the peer's address, and ours. */
void header_ends(struct np_conn *c, struct ends *ret);
/*
 * header_parse() - the header that @n bytes begin with
 *
 * Return: how long it is, with TLVs that may lie behind the @n bytes; 0: more bytes are needed to
 *         tell; -EBADMSG. *ends is changed where it names a client.
 */
long header_parse(const void *bytes, size_t n, struct ends *ends);
/*
 * header_read() - take the header off @c's input; *ends stays where it names no client
 *
 * Thread: fiber. Return: 0; -EBADMSG: it is none, or names something else; what np_conn_peek()
 * says.
 */
int header_read(struct np_conn *c, struct ends *ends);

#define HEADER_MAX 108
/* The header of @version, 1 or 2. Return: how many bytes. */
size_t header_make(char *dst, int version, const struct ends *ends);

#endif

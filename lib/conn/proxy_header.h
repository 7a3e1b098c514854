/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * proxy_header: what a proxy says of its client before the first byte of it
 *
 * The PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt). What is read comes from
 * outside: each length is checked before anything is made of it.
 */
#ifndef CONN_PROXY_HEADER_H
#define CONN_PROXY_HEADER_H

#include <stddef.h>
#include <stdint.h>

#define PROXY_V1_MAX   107 /* "\r\n" included */
#define PROXY_V2_FIXED 16  /* these tell how long the remainder is */
/* So many bytes tell all that a header has for us; what lies behind them are TLVs. */
#define PROXY_LOOK_MAX PROXY_V1_MAX

/* Without holes: it goes to another process as it is. */
struct proxy_end {
	uint16_t family; /* AF_INET, AF_INET6; 0: not known */
	uint16_t port;   /* in network order */
	unsigned char addr[16];
};

struct proxy_ends {
	struct proxy_end from, to; /* both are known, or neither */
};

/*
 * proxy_header_parse() - the header that @n bytes begin with
 *
 * UNKNOWN (v1), LOCAL and a family that is not ours (v2) are valid and name no client: *ret has no
 * family then.
 *
 * Return: how long it is, with TLVs that may lie behind the @n bytes; 0: more bytes are needed to
 *         tell, and never where PROXY_LOOK_MAX are there; -EBADMSG.
 */
long proxy_header_parse(const void *bytes, size_t n, struct proxy_ends *ret);

#endif

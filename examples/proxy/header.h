/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * header: what an upstream server is told of the client, in the PROXY protocol (haproxy.org,
 * proxy-protocol.txt)
 *
 * What clients send of it the library reads: np_server_opts.proxy.
 */
#ifndef PROXY_HEADER_H
#define PROXY_HEADER_H

#include <stddef.h>
#include <sys/socket.h>

struct ends {
	struct sockaddr_storage from, to;
};

#define HEADER_MAX 108
/*
 * The header of @version, 1 or 2; one without addresses where @ends has none of the internet's.
 * Return: how many bytes.
 */
size_t header_make(char *dst, int version, const struct ends *ends);

#endif

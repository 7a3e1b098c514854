/* SPDX-License-Identifier: BSD-2-Clause */
/* pair: a client's connection and the upstream one, and the bytes between them */
#ifndef PROXY_PAIR_H
#define PROXY_PAIR_H

#include <netpoll/handlers.h>

#include "upstream.h"

struct pair_opts {
	struct upstreams upstreams;
	int send_header; /* 0, 1, 2: the version of the PROXY header that upstream is sent */
	int connect_ms, idle_ms;
	struct np_tls *tls;   /* with which upstream is spoken to; NULL: in the clear */
	const char *tls_host; /* whose certificate it has; NULL: that of its address */
};

/* For the clients' server; their arg is a struct pair_opts. */
extern const struct np_handlers pair_client_handlers;

#endif

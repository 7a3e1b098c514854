/* SPDX-License-Identifier: BSD-2-Clause */
/* site: what all connections share: limits, and what is served; it does not change once started */
#ifndef HTTP_SITE_H
#define HTTP_SITE_H

#include <netpoll/server.h>
#include <stdbool.h>
#include <stdint.h>

#include "counts.h"
#include "files.h"
#include "log.h"

struct site {
	struct files files;
	bool metrics;   /* /metrics is there */
	int head_ms;    /* from the first byte of a head to its end; -1: no limit */
	int request_ms; /* from there to the last byte of the body; likewise */
	uint64_t body_max;
	struct log *log;       /* NULL: none */
	struct counts *counts; /* one for each poller */
	struct np_server *server;
	struct np_tls *tls; /* NULL: plain HTTP */
};

#endif

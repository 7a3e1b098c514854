/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * log: a line for each answer, written by a thread of its own
 *
 * A poller only writes its line into memory. Where that is full, because the disk or the pipe takes
 * nothing, lines are dropped and counted; no request waits for the log.
 *
 *   127.0.0.1 - - [29/Nov/2026:07:02:02 +0000] "GET /a HTTP/1.1" 200 12 "referer" "user agent"
 *
 * What a client wrote is escaped: \xHH for a quote, a backslash, and what is not printable ASCII.
 */
#ifndef HTTP_LOG_H
#define HTTP_LOG_H

#include <stdint.h>

#include "request.h"

struct log;

/* log_open() - @path "-": standard output; @pollers: how many write. Return: 0; -errno. */
int log_open(const char *path, int pollers, struct log **ret);
/* log_close() - when no poller writes any more: what is left is written, for a second at most. NULL
 * in *log does nothing. */
void log_close(struct log **log);
/* Thread: poller number @poller. */
void log_line(struct log *log, int poller, const char *addr, const struct request *rq, int status,
	      uint64_t bytes);
/* Lines that were dropped. Thread: any. */
uint64_t log_dropped(struct log *log);

#endif

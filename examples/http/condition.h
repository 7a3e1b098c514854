/* SPDX-License-Identifier: BSD-2-Clause */
/* condition: which version of a file it is, and what a request asks of that (RFC 9110, 13) */
#ifndef HTTP_CONDITION_H
#define HTTP_CONDITION_H

#include <stdbool.h>
#include <sys/stat.h>

#include "clock.h"
#include "request.h"

struct version {
	/* "W/..." where the file changed within this second: it may change again unseen */
	char etag[64];
	char modified[DATE_LEN + 1];
	time_t mtime; /* not after now */
};

void version_init(struct version *v, const struct stat *st);
bool version_is_weak(const struct version *v);
/* condition_status() - Return: 0: the request goes on; 304, 412. */
int condition_status(const struct request *rq, const struct version *v);
/* condition_range() - whether If-Range lets Range count. */
bool condition_range(const struct request *rq, const struct version *v);

#endif

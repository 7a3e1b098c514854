/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * files: a folder, served: whole files, ranges of them, and whether they have changed
 *
 * GET and HEAD. A folder is its index.html. Names are looked up, and files read, on the poller's
 * thread: a disk that is slow keeps it.
 */
#ifndef HTTP_FILES_H
#define HTTP_FILES_H

#include "open_files.h"
#include "request.h"
#include "response.h"

struct files {
	int folder;      /* a descriptor; -1: none is served */
	int descriptors; /* of /proc/self/fd: what was found is opened there */
	int keep_ms;     /* for so long a file stays open */
	int pollers;
	struct open_files *open; /* one for each poller */
};

/* files_open() - Return: 0; -errno, and *ret_what is what cannot be had. */
int files_open(struct files *f, const char *folder, int pollers, const char **ret_what);
void files_close(struct files *f);
/* files_answer() - all of the answer but response_end(). May park. */
void files_answer(const struct files *f, const struct request *rq, struct response *rs);

#endif

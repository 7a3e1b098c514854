/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * files: a folder, served: whole files, ranges of them, and whether they have changed
 *
 * GET and HEAD. A folder is its index.html. Names are looked up, and files read, on the poller's
 * thread: a disk that is slow keeps it.
 */
#ifndef HTTP_FILES_H
#define HTTP_FILES_H

#include "request.h"
#include "response.h"

/* files_open() - Return: a descriptor of the folder; -errno. */
int files_open(const char *folder);
/* files_answer() - all of the answer but response_end(). May park. */
void files_answer(int folder, const struct request *rq, struct response *rs);

#endif

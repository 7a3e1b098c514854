/* SPDX-License-Identifier: BSD-2-Clause */
/* path: the name of a file, out of the path of a target; and beneath a folder, the file */
#ifndef HTTP_PATH_H
#define HTTP_PATH_H

#include <stddef.h>
#include <sys/stat.h>

#include "request.h"

#define PATH_NAME_MAX 4096

/*
 * path_name() - decode @path into @dst, PATH_NAME_MAX bytes, without its first slash
 *
 * Return: 0; the status of the answer: 400: a % without two digits behind it, %00; 404: what no
 *         file here is called: a part that is empty or begins with a dot ("..", ".git"), one with a
 *         slash in it (%2f), a path that is too long.
 */
int path_name(struct text path, char *dst);

/*
 * path_find() - the thing called @name beneath @folder, not opened: O_PATH
 *
 * No symbolic link is followed, and nothing leads out of @folder, whatever is renamed meanwhile.
 * Return: a descriptor; the status of the answer, negative: -404, -403, -503.
 */
int path_find(int folder, const char *name, struct stat *ret);
/* path_open() - that thing, which has to be a regular file, for reading; @found stays open.
 * @descriptors is /proc/self/fd. Return: likewise. */
int path_open(int descriptors, int found);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* json: whether a text is one JSON value and nothing else (RFC 8259), and numbers out of it. */
#ifndef SUPPORT_JSON_H
#define SUPPORT_JSON_H

#include <stdbool.h>

/* One value, white space around it allowed. */
bool json_valid(const char *text);

/*
 * json_number() - the number behind the first "key": at or after @path's other keys
 *
 * @path is keys joined by '.', each looked for behind the one before: "total.steered". Fails the
 * test if there is none. For compact output as npsteer -j writes it.
 */
long long json_number(const char *text, const char *path);

#endif

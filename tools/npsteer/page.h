/* SPDX-License-Identifier: BSD-2-Clause */
/* page: the files of `npsteer serve`, compiled into the tool */
#ifndef NPSTEER_PAGE_H
#define NPSTEER_PAGE_H

#include <stddef.h>

struct page {
	const char *path, *type;
	const unsigned char *bytes;
	size_t n;
};

/* NULL: there is none at @path. */
const struct page *page_find(const char *path);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* media: the type of a file, by the end of its name */
#ifndef HTTP_MEDIA_H
#define HTTP_MEDIA_H

/* "text/html; charset=utf-8"; static. */
const char *media_type(const char *name);

#endif

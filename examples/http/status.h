/* SPDX-License-Identifier: BSD-2-Clause */
/* status: the codes that this server answers with, and their texts */
#ifndef HTTP_STATUS_H
#define HTTP_STATUS_H

/* "404 Not Found"; static. */
const char *status_text(int status);

#endif

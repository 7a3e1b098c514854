/* SPDX-License-Identifier: BSD-2-Clause */
/* metrics: what the library and this server have counted, as a page of text */
#ifndef HTTP_METRICS_H
#define HTTP_METRICS_H

#include "response.h"
#include "site.h"

/* All of the answer but response_end(). */
void metrics_answer(struct site *site, struct response *rs);

#endif

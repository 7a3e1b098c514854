/* SPDX-License-Identifier: BSD-2-Clause */
/* clock: the time of day as HTTP writes it, and the time that limits are told by */
#ifndef HTTP_CLOCK_H
#define HTTP_CLOCK_H

#include <stdint.h>
#include <time.h>

#include "request.h"

#define DATE_LEN 29 /* "Sun, 06 Nov 1994 08:49:37 GMT" */

/* DATE_LEN bytes, no NUL; made once a second for each thread. */
const char *clock_date(void);
/* Likewise "06/Nov/1994:08:49:37 +0000", 26 bytes, for the log. */
const char *clock_log_date(void);
time_t clock_now(void);
/* CLOCK_MONOTONIC */
uint64_t clock_ms(void);

void date_write(char dst[DATE_LEN], time_t t);
/* Of a header, in any of the three forms. Return: 0; -EINVAL. */
int date_read(struct text text, time_t *ret);

#endif

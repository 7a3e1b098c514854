/* SPDX-License-Identifier: BSD-2-Clause */
/* clock: two texts for each thread, renewed when the second has changed. */
#include "clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LOG_DATE_LEN 26

static _Thread_local struct {
	time_t at;
	char date[DATE_LEN + 1], log_date[LOG_DATE_LEN + 1];
} texts;

time_t clock_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME_COARSE, &t);
	return t.tv_sec;
}

uint64_t clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void date_write(char dst[DATE_LEN], time_t t)
{
	char text[64];
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
	memcpy(dst, text, DATE_LEN);
}

static void renew(time_t now)
{
	char text[64];
	struct tm tm;

	texts.at = now;
	date_write(texts.date, now);
	gmtime_r(&now, &tm);
	strftime(text, sizeof text, "%d/%b/%Y:%H:%M:%S +0000", &tm);
	memcpy(texts.log_date, text, LOG_DATE_LEN);
}

const char *clock_date(void)
{
	time_t now = clock_now();

	if (now != texts.at)
		renew(now);
	return texts.date;
}

const char *clock_log_date(void)
{
	time_t now = clock_now();

	if (now != texts.at)
		renew(now);
	return texts.log_date;
}

int date_read(struct text text, time_t *ret)
{
	static const char *const forms[] = {
		"%a, %d %b %Y %H:%M:%S GMT", /* IMF-fixdate */
		"%A, %d-%b-%y %H:%M:%S GMT", /* RFC 850 */
		"%a %b %d %H:%M:%S %Y",      /* asctime() */
	};
	char copy[64];

	if (text.n >= sizeof copy)
		return -EINVAL;
	memcpy(copy, text.p, text.n);
	copy[text.n] = '\0';
	for (int i = 0; i < 3; i++) {
		struct tm tm = { 0 };
		const char *end = strptime(copy, forms[i], &tm);

		if (end && !*end)
			return *ret = timegm(&tm), 0;
	}
	return -EINVAL;
}

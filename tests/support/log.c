/* SPDX-License-Identifier: BSD-2-Clause */
/* log: one buffer under a lock; each test is a process of its own. */
#include "support/log.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char kept[65536];

void keep_log(void *arg, int level, const char *msg)
{
	size_t n;

	pthread_mutex_lock(&lock);
	n = strlen(kept);
	snprintf(kept + n, sizeof kept - n, "%d:%s\n", level, msg);
	pthread_mutex_unlock(&lock);
}

unsigned in_log(const char *text)
{
	unsigned n = 0;

	pthread_mutex_lock(&lock);
	for (const char *at = kept; (at = strstr(at, text)); at++)
		n++;
	pthread_mutex_unlock(&lock);
	return n;
}

unsigned log_names(const void *fn)
{
	char addr[40];

	snprintf(addr, sizeof addr, "handler %p ", fn);
	return in_log(addr);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* sched: getrusage(2), and a line of proc(5). */
#include "sys/sched.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

uint64_t sys_sched_sleeps(void)
{
	struct rusage u;

	return getrusage(RUSAGE_THREAD, &u) < 0 ? 0 : (uint64_t)u.ru_nvcsw;
}

uint64_t sys_sched_waited_ns(int *fd)
{
	unsigned long long ran, waited;
	char text[96];
	ssize_t n;

	if (*fd < 0)
		*fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
	n = *fd < 0 ? -1 : pread(*fd, text, sizeof text - 1, 0);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	return sscanf(text, "%llu %llu", &ran, &waited) == 2 ? waited : 0;
}

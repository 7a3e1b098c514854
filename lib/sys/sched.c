/* SPDX-License-Identifier: BSD-2-Clause */
/* sched: getrusage(2), and a line of proc(5). */
#include "sys/sched.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "sys/io.h"

uint64_t sys_sched_sleeps(void)
{
	struct rusage u;

	return getrusage(RUSAGE_THREAD, &u) < 0 ? 0 : (uint64_t)u.ru_nvcsw;
}

void sys_sched_open(struct sys_sched *s)
{
	s->tid = gettid();
	s->fd = -1;
	pthread_getcpuclockid(pthread_self(), &s->clock);
}

void sys_sched_close(struct sys_sched *s)
{
	sys_close(&s->fd);
}

uint64_t sys_sched_ran_ns(const struct sys_sched *s)
{
	struct timespec t;

	if (clock_gettime(s->clock, &t) < 0)
		return 0;
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t sys_sched_waited_ns(struct sys_sched *s)
{
	unsigned long long ran, waited;
	char text[96];
	ssize_t n;

	if (s->fd < 0) {
		snprintf(text, sizeof text, "/proc/self/task/%d/schedstat", s->tid);
		s->fd = open(text, O_RDONLY | O_CLOEXEC);
	}
	n = s->fd < 0 ? -1 : pread(s->fd, text, sizeof text - 1, 0);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	return sscanf(text, "%llu %llu", &ran, &waited) == 2 ? waited : 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* overflow: a fault in a fiber's guard. Runs in a signal handler: no printf, no lock, no memory. */
#include "poll/overflow.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fiber/fiber.h"
#include "poll/poller.h"
#include "sys/crash.h"

static int (*overflow_fd_of)(const struct fiber *f);

/* A line under construction; what does not fit is left out. */
struct overflow_line {
	char text[400];
	size_t n;
};

static void overflow_add(struct overflow_line *l, const char *s)
{
	while (*s && l->n < sizeof l->text - 1)
		l->text[l->n++] = *s++;
	l->text[l->n] = '\0';
}

static void overflow_add_number(struct overflow_line *l, uint64_t v, unsigned base)
{
	char digits[24];
	size_t i = sizeof digits;

	digits[--i] = '\0';
	do
		digits[--i] = "0123456789abcdef"[v % base];
	while ((v /= base));
	overflow_add(l, digits + i);
}

static void overflow_look(const void *addr)
{
	struct poller *p = poller_self();
	struct fiber *f = fiber_self();
	struct overflow_line l = { .n = 0 };
	int fd;

	/* Others of the poller may be another thread's at this moment. */
	if (!p || !f || !fiber_has_hit_guard(f, addr))
		return;
	fd = overflow_fd_of(f);
	overflow_add(&l, "netpoll: poller ");
	overflow_add_number(&l, (unsigned)poller_index(p), 10);
	overflow_add(&l, ": handler 0x");
	overflow_add_number(&l, (uintptr_t)poller_handler(p), 16);
	if (fd >= 0) {
		overflow_add(&l, ", of the connection on descriptor ");
		overflow_add_number(&l, (unsigned)fd, 10);
		overflow_add(&l, ",");
	}
	overflow_add(&l, " has overrun its stack of ");
	overflow_add_number(&l, fiber_stack_size(f), 10);
	overflow_add(
		&l,
		" bytes: raise stack_size in np_pollers_opts, or keep large objects off the stack\n");
	sys_crash_say(l.text);
}

int overflow_report(int (*fd_of)(const struct fiber *f))
{
	overflow_fd_of = fd_of;
	return sys_crash_watch(overflow_look);
}

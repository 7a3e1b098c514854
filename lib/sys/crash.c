/* SPDX-License-Identifier: BSD-2-Clause */
/* crash: SIGSEGV and SIGBUS, and the way back to the handlers before. */
#include "sys/crash.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "sys/mem.h"

/* an AVX-512 frame alone takes more than MINSIGSTKSZ; untouched pages cost nothing */
#define STACK (64u * 1024)

static void (*looker)(const void *addr);
static struct sigaction before_segv, before_bus;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int result;

static void crash_fault(int sig, siginfo_t *info, void *context)
{
	const struct sigaction *before = sig == SIGSEGV ? &before_segv : &before_bus;
	int err = errno;

	looker(info->si_addr);
	errno = err;
	if (before->sa_flags & SA_SIGINFO)
		before->sa_sigaction(sig, info, context);
	else if (before->sa_handler != SIG_DFL && before->sa_handler != SIG_IGN)
		before->sa_handler(sig);
	else
		/* the instruction faults again, and this time nobody looks */
		sigaction(sig, before, NULL);
}

static void crash_install(void)
{
	struct sigaction a = { .sa_sigaction = crash_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	sigemptyset(&a.sa_mask);
	if (sigaction(SIGSEGV, &a, &before_segv) < 0 || sigaction(SIGBUS, &a, &before_bus) < 0)
		result = -errno;
}

int sys_crash_watch(void (*look)(const void *addr))
{
	if (!looker)
		looker = look;
	pthread_once(&once, crash_install);
	return result;
}

int sys_crash_stack(void **ret)
{
	stack_t s = { .ss_size = STACK };
	int r = sys_mem_map(STACK, &s.ss_sp);

	if (r < 0)
		return r;
	if (sigaltstack(&s, NULL) < 0) {
		r = -errno;
		sys_mem_unmap(s.ss_sp, STACK);
		return r;
	}
	*ret = s.ss_sp;
	return 0;
}

void sys_crash_stack_free(void **stack)
{
	stack_t off = { .ss_flags = SS_DISABLE };

	if (!*stack)
		return;
	sigaltstack(&off, NULL);
	sys_mem_unmap(*stack, STACK);
	*stack = NULL;
}

void sys_crash_say(const char *text)
{
	ssize_t n = write(STDERR_FILENO, text, strlen(text));

	(void)n; /* there is nobody left to tell */
}

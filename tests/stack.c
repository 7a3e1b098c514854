/* SPDX-License-Identifier: BSD-2-Clause */
/* stack: what one takes, whose it is, and its guard. */
#include "fiber/fiber.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "given_fibers.h"
#include "support/child.h"
#include "support/test.h"
#include "sys/fault.h"

#define PAGE  4096u
#define STACK (64u * 1024)
#define GUARD (64u * 1024) /* at least so much below each stack faults */

/* ------------------------------------------------------------------ what they take */

static void parks_deep(void *arg)
{
	char frame[20000];

	/* Seen from outside: of an array whose ends alone are used, clang keeps the ends. */
	__asm__ volatile("" : : "r"(frame) : "memory");
	fiber_park();
	__asm__ volatile("" : : "r"(frame) : "memory");
}

static struct fiber *deep_one;

static void parks_deep_and_is_known(void *arg)
{
	deep_one = fiber_self();
	parks_deep(arg);
}

START_TEST(stacks_are_counted_by_where_their_fibers_parked)
{
	struct fiber_pool *fp = given_pool(0, 0, 0);
	size_t fresh;

	ck_assert_uint_eq(stats(fp).touched, 0);
	ck_assert_int_eq(fiber_run(fp, parks_deep_and_is_known, NULL), FIBER_PARKED);
	ck_assert_uint_ge(stats(fp).touched, 20000);
	ck_assert_uint_le(stats(fp).touched, 20000 + 5 * 4096 + (under_asan() ? 65536 : 0));

	/* a free stack keeps its pages, until it is unmapped */
	fresh = stats(fp).touched;
	ck_assert_int_eq(fiber_resume(deep_one), FIBER_ENDED);
	ck_assert_uint_eq(stats(fp).touched, fresh);
	ck_assert_int_eq(fiber_pool_free(fp), 0);
}
END_TEST

/* ------------------------------------------------------------------ whose stack */

static void notes_stack(void *arg)
{
	*(void **)arg = __builtin_frame_address(0);
}

struct place {
	struct fiber *f;
	void *stack;
};

static void notes_place_and_parks(void *arg)
{
	struct place *p = arg;

	p->f = fiber_self();
	p->stack = __builtin_frame_address(0);
	fiber_park();
}

START_TEST(the_stack_used_last_is_used_next)
{
	struct fiber_pool *fp = given_pool(0, 0, 0);
	struct place p[4];
	void *stack;

	for (int i = 0; i < 4; i++)
		fiber_run(fp, notes_place_and_parks, &p[i]);
	fiber_resume(p[3].f);
	fiber_resume(p[0].f);
	fiber_resume(p[2].f);

	for (int i = 0; i < 3; i++) {
		fiber_run(fp, notes_stack, &stack);
		ck_assert_uint_lt((uintptr_t)stack ^ (uintptr_t)p[2].stack, PAGE);
	}
	fiber_resume(p[1].f);
	fiber_run(fp, notes_stack, &stack);
	ck_assert_uint_lt((uintptr_t)stack ^ (uintptr_t)p[1].stack, PAGE);
	ck_assert_uint_eq(stats(fp).stacks, 4);
	ck_assert_int_eq(fiber_pool_free(fp), 0);
}
END_TEST

START_TEST(at_max_a_run_is_refused_and_later_served)
{
	struct fiber_pool *fp = given_pool(0, 2, 0);
	struct walk w[2] = { { "" } };
	char log[8] = "";

	fiber_run(fp, parks_twice, &w[0]);
	fiber_run(fp, parks_twice, &w[1]);
	ck_assert_int_eq(fiber_run(fp, says_a, log), -EAGAIN);
	ck_assert_str_eq(log, "");
	ck_assert_uint_eq(stats(fp).refused, 1);

	fiber_resume(w[0].f);
	fiber_resume(w[0].f);
	ck_assert_int_eq(fiber_run(fp, says_a, log), FIBER_ENDED);
	ck_assert_str_eq(log, "a");
	ck_assert_uint_eq(stats(fp).stacks, 2);

	fiber_resume(w[1].f);
	fiber_resume(w[1].f);
	ck_assert_int_eq(fiber_pool_free(fp), 0);
}
END_TEST

START_TEST(a_pool_with_a_parked_fiber_is_not_freed)
{
	struct fiber_pool *fp = given_pool(0, 0, 0);
	struct walk w = { "" };

	fiber_run(fp, parks_twice, &w);
	ck_assert_int_eq(fiber_pool_free(fp), -EBUSY);

	fiber_resume(w.f);
	fiber_resume(w.f);
	ck_assert_str_eq(w.log, "123");
	ck_assert_int_eq(fiber_pool_free(fp), 0);
}
END_TEST

START_TEST(no_memory_for_a_stack_is_said_and_nothing_is_called)
{
#ifdef NP_FAULT
	struct fiber_pool *fp = given_pool(0, 0, 0);
	char log[8] = "";

	sys_fault_arm(SYS_mmap, 1, ENOMEM);
	ck_assert_int_eq(fiber_run(fp, says_a, log), -ENOMEM);
	ck_assert_str_eq(log, "");
	ck_assert_uint_eq(stats(fp).stacks, 0);
	ck_assert_uint_eq(stats(fp).refused, 1);
	ck_assert_int_eq(fiber_run(fp, says_a, log), FIBER_ENDED);
	ck_assert_int_eq(fiber_pool_free(fp), 0);
#else
	SKIP("no fault injection in this build");
#endif
}
END_TEST

START_TEST(a_stack_without_a_guard_is_not_used)
{
#ifdef NP_FAULT
	struct fiber_pool *fp = given_pool(0, 0, 0);
	char log[8] = "";

	sys_fault_arm(SYS_madvise, 1, EINVAL);
	sys_fault_arm(SYS_mprotect, 1, ENOMEM);
	ck_assert_int_eq(fiber_run(fp, says_a, log), -ENOMEM);
	ck_assert(sys_fault_hit(SYS_mprotect));
	ck_assert_str_eq(log, "");
	ck_assert_uint_eq(stats(fp).stacks, 0);
	ck_assert_int_eq(fiber_pool_free(fp), 0);
#else
	SKIP("no fault injection in this build");
#endif
}
END_TEST

/* ------------------------------------------------------------------ the guard */

/* What a SIGSEGV handler on a stack of its own found out; in memory that the parent sees too. */
struct crash {
	struct fiber_pool *fp;
	struct place neighbour, victim;
	const char *addr;
	bool in_guard_of_victim;
	bool old_kernel; /* no MADV_GUARD_INSTALL */
	size_t frame;    /* bytes of the frame that runs over; 0 = recursion */
};

static struct crash *crash;

static void on_segv(int sig, siginfo_t *info, void *uc)
{
	crash->addr = info->si_addr;
	crash->in_guard_of_victim = fiber_has_hit_guard(crash->victim.f, info->si_addr);
	_exit(42);
}

static volatile unsigned enough = 1000000; /* frames; no stack here holds so many */

static unsigned endless(unsigned depth)
{
	volatile char frame[1000];

	frame[0] = (char)depth;
	return (depth < enough ? endless(depth + 1) : 0) + (unsigned char)frame[0];
}

/* Touches the far end of a frame first: a guard of one page would be stepped over. */
__attribute__((no_sanitize_address)) static void touches_far_end(size_t n)
{
	volatile char *frame = __builtin_alloca(n);

	frame[0] = 1;
}

static void runs_over(void *arg)
{
	crash->victim.f = fiber_self();
	crash->victim.stack = __builtin_frame_address(0);
	if (crash->frame)
		touches_far_end(crash->frame);
	else
		endless(0);
}

static void crashes(int sock, void *arg)
{
	stack_t alt = { .ss_size = 64 * 1024 };
	struct sigaction sa = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	alt.ss_sp = malloc(alt.ss_size);
	sigaltstack(&alt, NULL);
	sigaction(SIGSEGV, &sa, NULL);
	crash->fp = given_pool(0, 0, 0);
#ifdef NP_FAULT
	if (crash->old_kernel)
		sys_fault_arm(SYS_madvise, 1, EINVAL);
#endif
	/* Several, since the kernel puts them one below the other: each has a neighbour. */
	fiber_run(crash->fp, notes_place_and_parks, &crash->neighbour);
#ifdef NP_FAULT
	if (crash->old_kernel)
		sys_fault_arm(SYS_madvise, 1, EINVAL);
#endif
	fiber_run(crash->fp, runs_over, NULL);
	_exit(1);
}

static void crash_in_child(size_t frame, bool old_kernel)
{
	struct child c;
	int status;

	crash = mmap(NULL, sizeof *crash, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	ck_assert_ptr_ne(crash, MAP_FAILED);
	crash->frame = frame;
	crash->old_kernel = old_kernel;
	child_start(&c, crashes, NULL);
	ck_assert_int_eq(waitpid(c.pid, &status, 0), c.pid);
	close(c.sock);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 42,
		      "no fault was caught: status 0x%x", status);
}

static void then_it_faulted_in_the_victims_guard(void)
{
	uintptr_t stack = (uintptr_t)crash->victim.stack, addr = (uintptr_t)crash->addr;

	ck_assert_msg(crash->in_guard_of_victim, "%p is in no guard of the fiber at %p",
		      crash->addr, crash->victim.stack);
	ck_assert_uint_lt(addr, stack);
	ck_assert_uint_le(stack - addr, STACK + PAGE + GUARD);
	munmap(crash, sizeof *crash);
}

START_TEST(recursion_without_end_faults_in_the_guard)
{
	crash_in_child(0, false);
	then_it_faulted_in_the_victims_guard();
}
END_TEST

START_TEST(a_frame_smaller_than_the_guard_cannot_step_over_it)
{
	/*
	 * Wherever in its page the frame begins, both ends of what it may reach are in the guard.
	 */
	crash_in_child(STACK, false);
	then_it_faulted_in_the_victims_guard();
	crash_in_child(STACK + GUARD - 2 * PAGE, false);
	then_it_faulted_in_the_victims_guard();
}
END_TEST

START_TEST(a_kernel_without_guard_regions_guards_by_mprotect)
{
#ifdef NP_FAULT
	crash_in_child(0, true);
	then_it_faulted_in_the_victims_guard();
#else
	SKIP("no fault injection in this build");
#endif
}
END_TEST

START_TEST(only_addresses_in_a_guard_are_guard_hits)
{
	struct fiber_pool *fp = given_pool(0, 0, 0);
	struct place p;
	const char *stack;

	fiber_run(fp, notes_place_and_parks, &p);
	stack = p.stack;
	ck_assert(!fiber_has_hit_guard(p.f, &p));
	ck_assert(!fiber_has_hit_guard(p.f, stack));
	ck_assert(!fiber_has_hit_guard(p.f, stack - STACK / 2));
	ck_assert(fiber_has_hit_guard(p.f, stack - STACK - PAGE));
	ck_assert(fiber_has_hit_guard(p.f, stack - STACK - GUARD + PAGE));
	ck_assert(!fiber_has_hit_guard(p.f, stack - STACK - GUARD - PAGE));
	fiber_resume(p.f);
	ck_assert_int_eq(fiber_pool_free(fp), 0);
}
END_TEST

static void uses_much(void *arg)
{
	size_t n = *(size_t *)arg;
	volatile char *p = __builtin_alloca(n);

	for (size_t i = n; i > 0; i--)
		p[i - 1] = (char)i;
}

START_TEST(a_handler_has_the_stack_it_was_promised)
{
	/* The rest is for the frames of the handler itself. */
	size_t usual = STACK - 2 * PAGE, large = 1024 * 1024 - 2 * PAGE, odd = 3 * PAGE;
	struct fiber_pool *fp = given_pool(0, 0, 0);

	ck_assert_int_eq(fiber_run(fp, uses_much, &usual), FIBER_ENDED);
	fiber_pool_free(fp);
	fp = given_pool(1024 * 1024, 0, 0);
	ck_assert_int_eq(fiber_run(fp, uses_much, &large), FIBER_ENDED);
	fiber_pool_free(fp);
	fp = given_pool(4 * PAGE + 1, 0, 0);
	ck_assert_int_eq(fiber_run(fp, uses_much, &odd), FIBER_ENDED);
	fiber_pool_free(fp);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "pool");

	tcase_add_test(t, stacks_are_counted_by_where_their_fibers_parked);
	tcase_add_test(t, the_stack_used_last_is_used_next);
	tcase_add_test(t, at_max_a_run_is_refused_and_later_served);
	tcase_add_test(t, a_pool_with_a_parked_fiber_is_not_freed);
	tcase_add_test(t, no_memory_for_a_stack_is_said_and_nothing_is_called);
	tcase_add_test(t, a_stack_without_a_guard_is_not_used);

	t = add_case(s, "guard");
	tcase_add_test(t, recursion_without_end_faults_in_the_guard);
	tcase_add_test(t, a_frame_smaller_than_the_guard_cannot_step_over_it);
	tcase_add_test(t, a_kernel_without_guard_regions_guards_by_mprotect);
	tcase_add_test(t, only_addresses_in_a_guard_are_guard_hits);
	tcase_add_test(t, a_handler_has_the_stack_it_was_promised);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* fiber: where code runs, what comes next, and what survives a switch. */
#include "fiber/fiber.h"

#include <errno.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unwind.h>

#include "given_fibers.h"
#include "support/test.h"

/* ------------------------------------------------------------------ where code runs */

START_TEST(a_function_that_returns_has_ended_before_run_returns)
{
	struct fiber_pool *fp = given_pool(0, 0, 0);
	char log[8] = "";

	ck_assert_int_eq(fiber_run(fp, says_a, log), FIBER_ENDED);
	append(log, 'm');

	ck_assert_str_eq(log, "am");
	ck_assert_int_eq(fiber_pool_free(fp), 0);
}
END_TEST

START_TEST(run_and_resume_return_when_the_fiber_parks)
{
	struct fiber_pool *fp = given_pool(0, 0, 0);
	struct walk w = { "" };

	ck_assert_int_eq(fiber_run(fp, parks_twice, &w), FIBER_PARKED);
	append(w.log, 'm');
	ck_assert_int_eq(fiber_resume(w.f), FIBER_PARKED);
	append(w.log, 'm');
	ck_assert_int_eq(fiber_resume(w.f), FIBER_ENDED);

	ck_assert_str_eq(w.log, "1m2m3");
	ck_assert_int_eq(fiber_pool_free(fp), 0);
}
END_TEST

START_TEST(self_is_the_running_fiber_and_nothing_on_main)
{
	struct fiber_pool *fp = given_pool(0, 0, 0);
	struct walk a = { "" }, b = { "" };

	ck_assert_ptr_null(fiber_self());
	fiber_run(fp, parks_twice, &a);
	ck_assert_ptr_null(fiber_self());
	fiber_run(fp, parks_twice, &b);
	ck_assert_ptr_nonnull(a.f);
	ck_assert_ptr_nonnull(b.f);
	ck_assert_ptr_ne(a.f, b.f);

	for (int i = 0; i < 2; i++) {
		fiber_resume(a.f);
		fiber_resume(b.f);
	}
	ck_assert_ptr_null(fiber_self());
	ck_assert_int_eq(fiber_pool_free(fp), 0);
}
END_TEST

static void *runs_own_pool(void *arg)
{
	struct fiber_pool *fp = given_pool(0, 0, 0);
	struct walk w = { "" };

	for (int i = 0; i < 1000; i++) {
		w.log[0] = '\0';
		fiber_run(fp, parks_twice, &w);
		fiber_resume(w.f);
		fiber_resume(w.f);
	}
	*(struct fiber **)arg = fiber_self();
	fiber_pool_free(fp);
	return NULL;
}

START_TEST(threads_with_pools_of_their_own_do_not_meet)
{
	pthread_t t[2];
	struct fiber *self[2] = { (void *)1, (void *)1 };

	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, runs_own_pool, &self[i]), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	ck_assert_ptr_null(self[0]);
	ck_assert_ptr_null(self[1]);
}
END_TEST

static void notes_owner(void *arg)
{
	*(void **)arg = fiber_owner(fiber_self());
	fiber_set_owner(fiber_self(), arg);
	ck_assert_ptr_eq(fiber_owner(fiber_self()), arg);
}

/* ------------------------------------------------------------------ what comes next */

static struct {
	struct fiber_call calls[3];
	unsigned asked;
	char log[16];
	struct fiber *f; /* of the last call */
	unsigned fresh;  /* calls that found nothing of the one before */
} row;

static const struct fiber_call *next_of_row(void *arg)
{
	ck_assert_ptr_eq(arg, &row);
	ck_assert_ptr_null(fiber_self());
	append(row.log, '?');
	return row.asked < 3 && row.calls[row.asked].fn ? &row.calls[row.asked++] : NULL;
}

static struct fiber_pool *given_row(void (*first)(void *), void (*second)(void *),
				    void (*third)(void *))
{
	struct fiber_pool_opts o = { .next = next_of_row, .next_arg = &row };
	struct fiber_pool *fp;

	row.calls[0].fn = first;
	row.calls[1].fn = second;
	row.calls[2].fn = third;
	for (int i = 0; i < 3; i++)
		row.calls[i].arg = row.log;
	ck_assert_int_eq(fiber_pool_new(&o, &fp), 0);
	return fp;
}

/* And leaves as much of itself as it can. */
static void says_whether_it_is_fresh(void *log)
{
	struct fiber *f = fiber_self();

	append(log, 'a');
	row.fresh += !fiber_owner(f) && !fiber_until(f) && !fiber_began(f) && !fiber_cancelled(f) &&
		     fiber_fn(f) == says_whether_it_is_fresh && fiber_arg(f) == log;
	fiber_note_begin(f, 1);
	fiber_set_until(f, 1);
	fiber_cancel(f);
	fiber_set_owner(f, log);
	row.f = f;
}

static void says_p_and_parks(void *log)
{
	row.f = fiber_self();
	append(log, 'p');
	fiber_park();
	append(log, 'e');
}

START_TEST(a_fiber_that_ends_runs_what_comes_next_as_a_fresh_one)
{
	struct fiber_pool *fp = given_row(says_whether_it_is_fresh, says_whether_it_is_fresh, NULL);

	ck_assert_int_eq(fiber_run(fp, says_whether_it_is_fresh, row.log), FIBER_ENDED);

	ck_assert_str_eq(row.log, "a?a?a?");
	ck_assert_uint_eq(row.fresh, 3);
	ck_assert_uint_eq(stats(fp).stacks, 1);
	ck_assert_ptr_null(fiber_self());
	ck_assert_int_eq(fiber_pool_free(fp), 0);
}
END_TEST

START_TEST(what_comes_next_may_park_and_goes_back_to_main_at_its_end)
{
	struct fiber_pool *fp = given_row(says_p_and_parks, says_whether_it_is_fresh, NULL);

	ck_assert_int_eq(fiber_run(fp, says_whether_it_is_fresh, row.log), FIBER_PARKED);
	append(row.log, 'm');
	ck_assert_int_eq(fiber_pool_free(fp), -EBUSY);
	ck_assert_int_eq(fiber_resume(row.f), FIBER_ENDED);
	append(row.log, 'm');

	ck_assert_str_eq(row.log, "a?pmem");
	ck_assert_uint_eq(stats(fp).in_use, 0);

	/* its stack is used anew, and asks again */
	ck_assert_int_eq(fiber_run(fp, says_a, row.log), FIBER_ENDED);
	ck_assert_str_eq(row.log, "a?pmema?a?");
	ck_assert_uint_eq(stats(fp).stacks, 1);
	ck_assert_int_eq(fiber_pool_free(fp), 0);
}
END_TEST

START_TEST(a_reused_fiber_forgets_its_owner)
{
	struct fiber_pool *fp = given_pool(0, 1, 0);
	void *seen;

	for (int i = 0; i < 2; i++) {
		seen = &seen;
		fiber_run(fp, notes_owner, &seen);
		ck_assert_ptr_null(seen);
	}
	ck_assert_int_eq(fiber_pool_free(fp), 0);
}
END_TEST

static int calls;

static void counts(void *arg)
{
	ck_assert_ptr_eq(fiber_arg(fiber_self()), arg);
	calls++;
}

static void note_fiber(void *arg, struct fiber *f)
{
	*(struct fiber **)arg = f;
}

/* Parks so often, and asks for it before the first and the last time. */
static void is_told_before_it_parks(void *arg)
{
	int times = *(int *)arg;

	for (int i = 1; i <= times; i++) {
		if (i == 1 || i == times)
			fiber_before_park(fiber_self(), counts);
		fiber_park();
	}
	fiber_before_park(fiber_self(), counts);
	fiber_before_park(fiber_self(), NULL);
}

START_TEST(what_is_to_run_before_a_park_runs_once_on_the_fiber_and_not_at_its_end)
{
	struct fiber_pool *fp = given_pool(0, 1, 0);
	int times = 3;
	struct fiber *f;

	ck_assert_int_eq(fiber_run(fp, is_told_before_it_parks, &times), FIBER_PARKED);
	fiber_pool_each(fp, note_fiber, &f);
	ck_assert_int_eq(calls, 1);
	ck_assert_int_eq(fiber_resume(f), FIBER_PARKED);
	ck_assert_int_eq(calls, 1);
	ck_assert_int_eq(fiber_resume(f), FIBER_PARKED);
	ck_assert_int_eq(calls, 2);
	ck_assert_int_eq(fiber_resume(f), FIBER_ENDED);
	ck_assert_int_eq(calls, 2);
	ck_assert_int_eq(fiber_pool_free(fp), 0);
}
END_TEST

START_TEST(parked_fibers_can_be_queued)
{
	struct fiber_pool *fp = given_pool(0, 0, 0);
	struct walk w[3] = { { "" } };

	for (int i = 0; i < 3; i++)
		fiber_run(fp, parks_twice, &w[i]);
	for (int i = 0; i < 3; i++)
		fiber_set_next(w[i].f, i < 2 ? w[i + 1].f : NULL);

	/* The link is gone once the fiber ends, so it is read before the resume. */
	for (int turn = 0; turn < 2; turn++)
		for (struct fiber *f = w[0].f, *next; f; f = next) {
			next = fiber_next(f);
			fiber_resume(f);
		}
	for (int i = 0; i < 3; i++)
		ck_assert_str_eq(w[i].log, "123");
	ck_assert_int_eq(fiber_pool_free(fp), 0);
}
END_TEST

/* ------------------------------------------------------------------ what survives a switch */

/* Fills every frame on the way down, parks at the bottom, and checks each frame on the way up. */
static unsigned deep(unsigned depth, unsigned seed)
{
	volatile unsigned local[32];
	unsigned sum = 0;

	for (unsigned i = 0; i < 32; i++)
		local[i] = seed * 31 + depth * 7 + i;
	if (depth == 0)
		fiber_park();
	else
		sum = deep(depth - 1, seed);
	for (unsigned i = 0; i < 32; i++)
		sum += local[i] != seed * 31 + depth * 7 + i;
	return sum;
}

struct nest {
	struct fiber *f;
	unsigned depth, seed, wrong;
};

static void nests(void *arg)
{
	struct nest *n = arg;

	n->f = fiber_self();
	n->wrong = deep(n->depth, n->seed);
}

START_TEST(frames_below_a_park_are_kept)
{
	struct fiber_pool *fp = given_pool(0, 0, 0);
	struct nest n[8];

	for (unsigned i = 0; i < 8; i++) {
		n[i] = (struct nest){ .depth = 10 * i, .seed = i, .wrong = 1 };
		ck_assert_int_eq(fiber_run(fp, nests, &n[i]), FIBER_PARKED);
	}
	for (unsigned i = 0; i < 8; i++) {
		ck_assert_int_eq(fiber_resume(n[(i + 3) % 8].f), FIBER_ENDED);
		ck_assert_uint_eq(n[(i + 3) % 8].wrong, 0);
	}
	ck_assert_int_eq(fiber_pool_free(fp), 0);
}
END_TEST

START_TEST(ten_thousand_fibers_park_at_once)
{
	/* TSan keeps a shadow of its own for each. */
	enum { MANY = 10000, FEW = 500 };
	unsigned count = under_tsan() || under_valgrind() ? FEW : MANY;
	struct fiber_pool *fp = given_pool(0, 0, 0);
	struct nest *n = calloc(count, sizeof *n);

	for (unsigned i = 0; i < count; i++) {
		n[i] = (struct nest){ .depth = 2, .seed = i, .wrong = 1 };
		ck_assert_int_eq(fiber_run(fp, nests, &n[i]), FIBER_PARKED);
	}
	ck_assert_uint_eq(stats(fp).in_use, count);

	/*
	 * 7 has no common factor with the count: each is met once, none in the order of its start.
	 */
	for (unsigned i = 0; i < count; i++) {
		ck_assert_int_eq(fiber_resume(n[i * 7 % count].f), FIBER_ENDED);
		ck_assert_uint_eq(n[i * 7 % count].wrong, 0);
	}
	ck_assert_uint_eq(stats(fp).in_use, 0);
	ck_assert_uint_eq(stats(fp).high, count);
	free(n);
	ck_assert_int_eq(fiber_pool_free(fp), 0);
}
END_TEST

/*
 * Fills every register that the ABI lets a callee keep, calls fiber_park(), and stores what is in
 * them afterwards. No compiler can be asked to do that.
 */
#if defined(__x86_64__)
#define NREGS    6
#define REGS_ARE "rbx, rbp, r12, r13, r14, r15"
void park_with(const uint64_t *in, uint64_t *out, void (*park)(void));
__asm__(".text\n"
	".type park_with, @function\n"
	"park_with:\n"
	"	.cfi_startproc\n"
	"	pushq %rbx\n	.cfi_adjust_cfa_offset 8\n"
	"	pushq %rbp\n	.cfi_adjust_cfa_offset 8\n"
	"	pushq %r12\n	.cfi_adjust_cfa_offset 8\n"
	"	pushq %r13\n	.cfi_adjust_cfa_offset 8\n"
	"	pushq %r14\n	.cfi_adjust_cfa_offset 8\n"
	"	pushq %r15\n	.cfi_adjust_cfa_offset 8\n"
	"	pushq %rsi\n	.cfi_adjust_cfa_offset 8\n"
	"	movq 0(%rdi), %rbx\n"
	"	movq 8(%rdi), %rbp\n"
	"	movq 16(%rdi), %r12\n"
	"	movq 24(%rdi), %r13\n"
	"	movq 32(%rdi), %r14\n"
	"	movq 40(%rdi), %r15\n"
	"	call *%rdx\n"
	"	popq %rsi\n	.cfi_adjust_cfa_offset -8\n"
	"	movq %rbx, 0(%rsi)\n"
	"	movq %rbp, 8(%rsi)\n"
	"	movq %r12, 16(%rsi)\n"
	"	movq %r13, 24(%rsi)\n"
	"	movq %r14, 32(%rsi)\n"
	"	movq %r15, 40(%rsi)\n"
	"	popq %r15\n	.cfi_adjust_cfa_offset -8\n"
	"	popq %r14\n	.cfi_adjust_cfa_offset -8\n"
	"	popq %r13\n	.cfi_adjust_cfa_offset -8\n"
	"	popq %r12\n	.cfi_adjust_cfa_offset -8\n"
	"	popq %rbp\n	.cfi_adjust_cfa_offset -8\n"
	"	popq %rbx\n	.cfi_adjust_cfa_offset -8\n"
	"	ret\n"
	"	.cfi_endproc\n"
	".size park_with, . - park_with\n");
#elif defined(__aarch64__)
#define NREGS    18
#define REGS_ARE "x19 to x28, d8 to d15"
void park_with(const uint64_t *in, uint64_t *out, void (*park)(void));
__asm__(".text\n"
	".type park_with, %function\n"
	"park_with:\n"
	"	stp x29, x30, [sp, #-176]!\n"
	"	stp x19, x20, [sp, #16]\n"
	"	stp x21, x22, [sp, #32]\n"
	"	stp x23, x24, [sp, #48]\n"
	"	stp x25, x26, [sp, #64]\n"
	"	stp x27, x28, [sp, #80]\n"
	"	stp d8, d9, [sp, #96]\n"
	"	stp d10, d11, [sp, #112]\n"
	"	stp d12, d13, [sp, #128]\n"
	"	stp d14, d15, [sp, #144]\n"
	"	str x1, [sp, #160]\n"
	"	ldp x19, x20, [x0, #0]\n"
	"	ldp x21, x22, [x0, #16]\n"
	"	ldp x23, x24, [x0, #32]\n"
	"	ldp x25, x26, [x0, #48]\n"
	"	ldp x27, x28, [x0, #64]\n"
	"	ldp d8, d9, [x0, #80]\n"
	"	ldp d10, d11, [x0, #96]\n"
	"	ldp d12, d13, [x0, #112]\n"
	"	ldp d14, d15, [x0, #128]\n"
	"	blr x2\n"
	"	ldr x1, [sp, #160]\n"
	"	stp x19, x20, [x1, #0]\n"
	"	stp x21, x22, [x1, #16]\n"
	"	stp x23, x24, [x1, #32]\n"
	"	stp x25, x26, [x1, #48]\n"
	"	stp x27, x28, [x1, #64]\n"
	"	stp d8, d9, [x1, #80]\n"
	"	stp d10, d11, [x1, #96]\n"
	"	stp d12, d13, [x1, #112]\n"
	"	stp d14, d15, [x1, #128]\n"
	"	ldp x19, x20, [sp, #16]\n"
	"	ldp x21, x22, [sp, #32]\n"
	"	ldp x23, x24, [sp, #48]\n"
	"	ldp x25, x26, [sp, #64]\n"
	"	ldp x27, x28, [sp, #80]\n"
	"	ldp d8, d9, [sp, #96]\n"
	"	ldp d10, d11, [sp, #112]\n"
	"	ldp d12, d13, [sp, #128]\n"
	"	ldp d14, d15, [sp, #144]\n"
	"	ldp x29, x30, [sp], #176\n"
	"	ret\n"
	".size park_with, . - park_with\n");
#endif

#ifdef NREGS
struct registers {
	struct fiber *f;
	uint64_t in[NREGS], out[NREGS];
};

static void parks_with_registers(void *arg)
{
	struct registers *r = arg;

	r->f = fiber_self();
	park_with(r->in, r->out, fiber_park);
}

/* main's turn, with registers of its own: two fibers end in it, one of them for the first time
 * seen. */
static struct registers *to_resume;
static void resumes(void)
{
	fiber_resume(to_resume->f);
}

START_TEST(callee_saved_registers_are_kept_on_both_sides)
{
	struct fiber_pool *fp = given_pool(0, 0, 0);
	struct registers a, b;
	uint64_t in[NREGS], out[NREGS];

	for (uint64_t i = 0; i < NREGS; i++) {
		a.in[i] = 0xa5a5000000000000u + i;
		b.in[i] = 0x5a5a000000000000u + i;
		in[i] = 0x1234000000000000u + i;
	}
	fiber_run(fp, parks_with_registers, &a);
	fiber_run(fp, parks_with_registers, &b);
	to_resume = &a;
	park_with(in, out, resumes);
	ck_assert_msg(!memcmp(in, out, sizeof in), "main's: " REGS_ARE);
	fiber_resume(b.f);

	ck_assert_msg(!memcmp(a.in, a.out, sizeof a.in), "the fiber's: " REGS_ARE);
	ck_assert_msg(!memcmp(b.in, b.out, sizeof b.in), "the fiber's: " REGS_ARE);
	ck_assert_int_eq(fiber_pool_free(fp), 0);
}
END_TEST
#endif

struct sum {
	struct fiber *f;
	double x, result;
};

/* More live doubles than there are registers, across parks. */
static void adds(void *arg)
{
	struct sum *s = arg;
	double v[24], total = 0;

	s->f = fiber_self();
	for (int i = 0; i < 24; i++)
		v[i] = s->x / (i + 1);
	for (int i = 0; i < 24; i++) {
		fiber_park();
		total += v[i] * (i + 1);
	}
	s->result = total;
}

START_TEST(floating_point_values_are_kept)
{
	struct fiber_pool *fp = given_pool(0, 0, 0);
	struct sum s[3] = { { .x = 1.5 }, { .x = -3.25 }, { .x = 1e300 } };
	double here = 0.1;

	for (int i = 0; i < 3; i++)
		fiber_run(fp, adds, &s[i]);
	for (int turn = 0; turn < 24; turn++)
		for (int i = 0; i < 3; i++) {
			fiber_resume(s[i].f);
			here *= 1.01;
		}
	for (int i = 0; i < 3; i++)
		ck_assert_double_eq_tol(s[i].result / s[i].x, 24, 1e-9);
	ck_assert_double_eq_tol(here, 0.1 * 2.04709931, 1e-6);
	ck_assert_int_eq(fiber_pool_free(fp), 0);
}
END_TEST

static void notes_alignment(void *arg)
{
	/* The compiler takes 16 for granted: an aligned local of that size is not realigned. */
	volatile alignas(16) char local[16];

	local[0] = 0;
	*(uintptr_t *)arg = (uintptr_t)local % 16;
}

START_TEST(a_stack_begins_aligned_as_the_abi_says)
{
	struct fiber_pool *fp = given_pool(0, 0, 0);
	uintptr_t off = 1;

	fiber_run(fp, notes_alignment, &off);
	ck_assert_uint_eq(off, 0);
	ck_assert_int_eq(fiber_pool_free(fp), 0);
}
END_TEST

struct trace {
	unsigned frames;
	_Unwind_Reason_Code how;
};

static _Unwind_Reason_Code count_frame(struct _Unwind_Context *c, void *arg)
{
	struct trace *t = arg;

	return ++t->frames < 100 ? _URC_NO_REASON : _URC_NORMAL_STOP;
}

static void unwinds(void *arg)
{
	struct trace *t = arg;

	t->how = _Unwind_Backtrace(count_frame, t);
}

/*
 * Debuggers, profilers and pthread_cancel() walk stacks: they must come to an end, not to garbage.
 */
START_TEST(unwinding_ends_at_the_first_frame)
{
	struct fiber_pool *fp = given_pool(0, 0, 0);
	struct trace t = { 0 };

	fiber_run(fp, unwinds, &t);
	ck_assert_int_eq(t.how, _URC_END_OF_STACK);
	ck_assert_uint_ge(t.frames, 2);
	ck_assert_uint_le(t.frames, 6);
	ck_assert_int_eq(fiber_pool_free(fp), 0);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "switch");

	tcase_add_test(t, a_function_that_returns_has_ended_before_run_returns);
	tcase_add_test(t, run_and_resume_return_when_the_fiber_parks);
	tcase_add_test(t, self_is_the_running_fiber_and_nothing_on_main);
	tcase_add_test(t, threads_with_pools_of_their_own_do_not_meet);
	tcase_add_test(t, a_fiber_that_ends_runs_what_comes_next_as_a_fresh_one);
	tcase_add_test(t, what_comes_next_may_park_and_goes_back_to_main_at_its_end);
	tcase_add_test(t, a_reused_fiber_forgets_its_owner);
	tcase_add_test(t, what_is_to_run_before_a_park_runs_once_on_the_fiber_and_not_at_its_end);
	tcase_add_test(t, parked_fibers_can_be_queued);
	tcase_add_test(t, frames_below_a_park_are_kept);
	tcase_add_test(t, ten_thousand_fibers_park_at_once);
#ifdef NREGS
	tcase_add_test(t, callee_saved_registers_are_kept_on_both_sides);
#endif
	tcase_add_test(t, floating_point_values_are_kept);
	tcase_add_test(t, a_stack_begins_aligned_as_the_abi_says);
	tcase_add_test(t, unwinding_ends_at_the_first_frame);
}

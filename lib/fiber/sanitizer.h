/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sanitizer: tells ASan and TSan which stack runs; nothing at all in other builds
 *
 * ASan wants to hear before and after each switch; TSan has a shadow state for each stack.
 */
#ifndef FIBER_SANITIZER_H
#define FIBER_SANITIZER_H

#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__)
#define FIBER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define FIBER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FIBER_TSAN 1
#endif
#endif

/*
 * For the frames that a fiber never leaves: TSan would count them as entered again at each run, and
 * its own record of the call stack would overflow.
 */
#if defined(FIBER_TSAN) && defined(__clang__)
#define FIBER_NO_TSAN __attribute__((disable_sanitizer_instrumentation))
#else
#define FIBER_NO_TSAN
#endif

/* What is known of a stack that does not run. */
struct sanitizer {
	void *fake; /* ASan's fake stack */
	const void *bottom;
	size_t size;
	void *tsan;
};

#ifdef FIBER_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef FIBER_TSAN
#include <sanitizer/tsan_interface.h>
#endif

/* About to leave @from for @to. @ends: @from will never run again. */
static inline void sanitizer_leave(struct sanitizer *from, const struct sanitizer *to, int ends)
{
#ifdef FIBER_ASAN
	__sanitizer_start_switch_fiber(ends ? NULL : &from->fake, to->bottom, to->size);
#endif
#ifdef FIBER_TSAN
	__tsan_switch_to_fiber(to->tsan, 0);
#endif
	(void)from, (void)to, (void)ends;
}

/* Now on @self, coming from @from (NULL where it is not worth learning). */
static inline void sanitizer_arrive(struct sanitizer *self, struct sanitizer *from)
{
#ifdef FIBER_ASAN
	__sanitizer_finish_switch_fiber(self->fake, from ? &from->bottom : NULL,
					from ? &from->size : NULL);
#endif
	(void)self, (void)from;
}

static inline void sanitizer_stack_new(struct sanitizer *s, const void *bottom, size_t size)
{
	s->bottom = bottom;
	s->size = size;
#ifdef FIBER_TSAN
	s->tsan = __tsan_create_fiber(0);
#endif
}

/* What runs on it now is not what ran before. */
static inline void sanitizer_stack_begins(struct sanitizer *s)
{
#ifdef FIBER_ASAN
	s->fake = NULL;
#endif
	(void)s;
}

static inline void sanitizer_stack_free(struct sanitizer *s)
{
#ifdef FIBER_TSAN
	__tsan_destroy_fiber(s->tsan);
#endif
	(void)s;
}

static inline void sanitizer_main(struct sanitizer *s)
{
#ifdef FIBER_TSAN
	s->tsan = __tsan_get_current_fiber();
#endif
	(void)s;
}

#endif

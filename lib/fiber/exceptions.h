/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * exceptions: what a C++ runtime knows of the exceptions that a thread handles, kept for each fiber
 *
 * A `catch` puts its exception on a list of the thread's, and `throw;`, std::current_exception()
 * and the end of the block take the newest from it. A fiber that parks in such a block leaves it on
 * the list, and another one ends: so the list is exchanged with the stack. Its place is the Itanium
 * C++ ABI's: two words behind __cxa_get_globals(), for each thread, the same for as long as that
 * lives.
 */
#ifndef FIBER_EXCEPTIONS_H
#define FIBER_EXCEPTIONS_H

struct exceptions {
	void *caught;      /* the newest first */
	unsigned uncaught; /* thrown, and not caught yet: std::uncaught_exceptions() */
};

/* Where a thread's own are; the calling thread's. */
typedef struct exceptions *exceptions_fn(void);

/*
 * exceptions_find() - the runtime of this process, looked for anew
 *
 * Also one that came by dlopen(3) with RTLD_LOCAL, by its usual name. Not found: one that is linked
 * into such an object (-static-libstdc++), and one that comes later than this call.
 *
 * Thread: any; takes the dynamic linker's lock. Return: NULL where there is none: nothing to
 * exchange.
 */
exceptions_fn *exceptions_find(void);

static inline void exceptions_swap(struct exceptions *a, struct exceptions *b)
{
	struct exceptions e = *a;

	*a = *b;
	*b = e;
}

#endif

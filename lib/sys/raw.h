/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * raw: the system calls of the data path without glibc's wrappers
 *
 * The wrappers of recv, send, readv, sendmsg, splice and epoll_wait are cancellation points: in a
 * process with threads each call announces and withdraws itself, 30 instructions each way, and
 * errno goes through TLS.
 * Nobody cancels a poller. Under a sanitizer the wrappers stay, because it learns from them what
 * memory was written and who synchronized with whom.
 */
#ifndef SYS_RAW_H
#define SYS_RAW_H

#include <asm/unistd.h> /* not sys/syscall.h: its SYS_read and so on are the names in fault.h */
#include <errno.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define RAW_WRAPPED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define RAW_WRAPPED 1
#endif
#endif

#if defined(__x86_64__) && !defined(RAW_WRAPPED)
static inline long raw6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long r = nr;

	__asm__ volatile("syscall"
			 : "+a"(r)
			 : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return r;
}
#define RAW 1
#elif defined(__aarch64__) && !defined(RAW_WRAPPED)
static inline long raw6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc #0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
}
#define RAW 1
#endif

/* RAW_CALL(wrapper call, number, arguments...): the result, or -errno. */
#ifdef RAW
#define RAW_CALL(wrapper, nr, a, b, c, d, e, f) \
	raw6(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#else
#define RAW_CALL(wrapper, nr, a, b, c, d, e, f) \
	({                                      \
		long raw_ = (wrapper);          \
		raw_ < 0 ? -(long)errno : raw_; \
	})
#endif

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * compiler: compilers for programs that a test builds against the library under test, with the
 * sanitizer that the library was built with
 */
#ifndef SUPPORT_COMPILER_H
#define SUPPORT_COMPILER_H

#include "support/run.h"
#include "support/test.h"

/* For a shell, with their flags. */
static inline const char *compiler_c(void)
{
	if (under_tsan())
		return "clang -fsanitize=thread";
	if (under_asan())
		return "cc -fsanitize=address,undefined -fno-sanitize-recover=undefined";
	return "cc";
}

static inline const char *compiler_cxx(void)
{
	if (under_tsan())
		return "clang++ -fsanitize=thread";
	if (under_asan())
		return "c++ -fsanitize=address,undefined -fno-sanitize-recover=undefined";
	return "c++";
}

#define NEEDS_CXX()                                          \
	do {                                                 \
		if (!have(under_tsan() ? "clang++" : "c++")) \
			SKIP("no C++ compiler");             \
	} while (0)

#endif

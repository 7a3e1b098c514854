/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cxx: netpoll/netpoll.hh as a C++ program has it
 *
 * One program (support/callables.cc), with exceptions and without, by both compilers.
 */
#include <stdlib.h>

#include "support/compiler.h"
#include "support/run.h"
#include "support/test.h"

#define PROGRAM "tests/support/callables.cc"
#define FLAGS   "-g -pthread -Wall -Wextra -Wpedantic -Werror -Iinclude"

static char *dir;
static const char *build;

static void setup(void)
{
	build = getenv("NP_BUILD") ? getenv("NP_BUILD") : "build";
	dir = temp_dir();
}

static void teardown(void)
{
	remove_tree(&dir);
}

static const char *const ways[] = { "-std=c++17", "-std=c++17 -O2 -fno-exceptions -fno-rtti" };

START_TEST(a_cxx_programs_promises_are_kept)
{
	NEEDS_CXX();
	must_sh("%1$s %4$s " FLAGS " " PROGRAM " -o '%2$s/p' '-L%3$s' -lnetpoll-bpf && "
		"LD_LIBRARY_PATH='%3$s' '%2$s/p'",
		compiler_cxx(), dir, build, ways[_i]);
}
END_TEST

START_TEST(the_header_compiles_as_cxx20_by_clang)
{
	if (!have("clang++"))
		SKIP("clang++ is not installed");
	must_sh("echo '#include <netpoll/netpoll.hh>' | "
		"clang++ -std=c++20 -Wall -Wextra -Wpedantic -Werror -Iinclude -fsyntax-only -xc++ -");
}
END_TEST

START_TEST(an_older_standard_is_told_what_it_lacks)
{
	struct ran r;

	NEEDS_CXX();
	sh(&r,
	   "echo '#include <netpoll/netpoll.hh>' | c++ -std=c++14 -Iinclude -fsyntax-only -xc++ - 2>&1 | "
	   "grep -q 'netpoll/netpoll.hh needs C++17'");
	ck_assert_int_eq(r.code, 0);
	ran_free(&r);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "cxx");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, a_cxx_programs_promises_are_kept, 0,
			    (int)(sizeof ways / sizeof *ways));
	tcase_add_test(t, the_header_compiles_as_cxx20_by_clang);
	tcase_add_test(t, an_older_standard_is_told_what_it_lacks);
}

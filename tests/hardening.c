/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hardening: what an attacker would meet in what is installed
 *
 * Looked for in the files themselves, not in the flags they were built with. The notes about
 * branches are read in the objects: the C runtime's own start-up files may have none, and then the
 * linker drops the note of the whole.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/release.h"
#include "support/run.h"
#include "support/test.h"

static char *dir; /* the tree is installed here */

static void setup(void)
{
	dir = temp_dir();
}

static void teardown(void)
{
	remove_tree(&dir);
}

static void given_installed(void)
{
	release_make("install DESTDIR='%s' PREFIX=/usr", dir);
}

#define INSTALLED_SO "'%1$s/usr/lib/libnetpoll-bpf.so'"

START_TEST(relocations_are_read_only_before_main)
{
	given_installed();
	must_sh("for f in " INSTALLED_SO
		" '%1$s/usr/sbin/npsteer' '%2$s/examples/echo' '%2$s/examples/proxy/proxy'; do "
		"readelf -lW \"$f\" | grep -q GNU_RELRO || { echo \"$f: no relro\"; exit 1; }; "
		"readelf -dW \"$f\" | grep -qE 'FLAGS_1.*NOW' || { echo \"$f: bound lazily\"; exit 1; }; done",
		dir, release_dir());
}
END_TEST

START_TEST(programs_lie_where_the_kernel_wants)
{
	given_installed();
	must_sh("for f in '%1$s/usr/sbin/npsteer' '%2$s/examples/echo' '%2$s/examples/proxy/proxy'; do "
		"readelf -dW \"$f\" | grep -qE 'FLAGS_1.*PIE' || { echo \"$f: no PIE\"; exit 1; }; done",
		dir, release_dir());
}
END_TEST

START_TEST(nothing_installed_has_an_executable_stack)
{
	given_installed();
	must_sh("for f in " INSTALLED_SO " '%1$s/usr/sbin/npsteer'; do "
		"readelf -lW \"$f\" | grep GNU_STACK | grep -qv E || { echo \"$f\"; exit 1; }; done; "
		/* The archive too: one object that does not say so makes its user's stack
		 * executable. */
		"for o in '%2$s'/lib/*/*.o; do readelf -SW \"$o\" | grep -q '\\.note\\.GNU-stack' || "
		"{ echo \"$o: does not say\"; exit 1; }; done",
		dir, release_dir());
}
END_TEST

START_TEST(stacks_and_libc_calls_are_checked)
{
	given_installed();
	must_sh("for f in " INSTALLED_SO " '%1$s/usr/sbin/npsteer'; do "
		"nm -D --undefined-only \"$f\" | grep -qw '__stack_chk_fail' || { echo \"$f: no stack protector\"; exit 1; }; "
		"nm -D --undefined-only \"$f\" | grep -qE '__v?snprintf_chk' || { echo \"$f: no FORTIFY\"; exit 1; }; "
		"done; "
		/* And so is each object of which we know an array in some frame. */
		"for o in sys/addr sys/cpu sys/symbol steer/listen netpoll/server conn/stream; do "
		"nm '%2$s'/lib/$o.o | grep -qE '__stack_chk_(fail|guard)' || { echo \"$o: none\"; exit 1; }; done",
		dir, release_dir());
}
END_TEST

/* A frame of more than a page touches each page on its way down: gcc or's a zero to it, clang
 * stores one. */
START_TEST(large_frames_touch_every_page)
{
#if defined(__x86_64__)
	given_installed();
	must_sh("objdump -d --no-show-raw-insn " INSTALLED_SO
		" | grep -qE '(or|mov)q +\\$0x0,\\(%%rsp\\)'",
		dir);
#else
	SKIP("known for x86-64 only");
#endif
}
END_TEST

START_TEST(each_object_says_that_indirect_branches_land_where_they_may)
{
#if defined(__x86_64__)
	static const char is[] = "IBT", never[] = "SHSTK"; /* stacks change under a shadow stack */
#elif defined(__aarch64__)
	static const char is[] = "BTI", never[] = "GCS";
#endif
#if defined(__x86_64__) || defined(__aarch64__)
	given_installed();
	must_sh("for o in '%1$s'/lib/*/*.o '%1$s'/tools/npsteer/*.o; do n=$(readelf -n \"$o\"); "
		"case $n in *%2$s*) ;; *) echo \"$o: no %2$s\"; exit 1;; esac; "
		"case $n in *%3$s*) echo \"$o: claims %3$s\"; exit 1;; esac; done",
		release_dir(), is, never);
#else
	SKIP("known for x86-64 and aarch64 only");
#endif
}
END_TEST

START_TEST(every_exported_function_begins_with_a_landing_pad)
{
#if defined(__x86_64__)
	given_installed();
	must_sh("objdump -d --no-show-raw-insn " INSTALLED_SO " | awk '"
		"want { if ($2 != \"endbr64\") { print f; bad = 1 } want = 0; n++ } "
		"/^[0-9a-f]+ <np_[a-z0-9_]+(@@[A-Z0-9_.]+)?>:/ { want = 1; f = $2 } "
		"END { if (n < 100) { print n \" functions\"; bad = 1 } exit bad }'",
		dir);
#else
	SKIP("known for x86-64 only");
#endif
}
END_TEST

/* --------------------------------------------------------------- what is built with other flags */

START_TEST(flags_on_the_command_line_come_on_top_of_ours)
{
	static const char *const flags[] = { "CPPFLAGS=-DX", "CFLAGS=-O3", "CFLAGS=-O0",
					     "LDFLAGS=-Wl,-O1", "CC=clang" };
	static const char objects[] =
		"lib/fiber/fiber.o lib/conn/conn.o lib/sys/fault.o tools/npsteer/stats.o";

	for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
		must_sh("out=$(" PLAIN_MAKE
			" O='%1$s/o' '%2$s' $(for o in %3$s; do echo '%1$s/o'/$o; done) 2>&1) || "
			"{ echo \"$out\"; exit 1; }; case $out in *warning*) echo \"%2$s: $out\"; exit 1;; esac",
			dir, flags[i], objects);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "hardening");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, relocations_are_read_only_before_main);
	tcase_add_test(t, programs_lie_where_the_kernel_wants);
	tcase_add_test(t, nothing_installed_has_an_executable_stack);
	tcase_add_test(t, stacks_and_libc_calls_are_checked);
	tcase_add_test(t, large_frames_touch_every_page);
	tcase_add_test(t, each_object_says_that_indirect_branches_land_where_they_may);
	tcase_add_test(t, every_exported_function_begins_with_a_landing_pad);
	tcase_add_test(t, flags_on_the_command_line_come_on_top_of_ours);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* probes: those of lib/sys/probe.h are in the library as it was built, and each is a nop. */
#include <stdlib.h>

#include "support/run.h"
#include "support/test.h"

START_TEST(each_probe_is_there_and_is_a_nop)
{
	struct ran r;

	sh(&r, "scripts/check-probes ${NP_BUILD:-build}/libnetpoll-bpf.so");
	if (r.code == 77) {
		ran_free(&r);
		SKIP("needs <sys/sdt.h>: scripts/deps --all");
	}
	ck_assert_msg(r.code == 0, "%s%s", r.out, r.err);
	ran_free(&r);
}
END_TEST

/* What the others of the library are built with, and without the header. */
START_TEST(without_the_header_it_is_built_all_the_same)
{
	must_sh("for f in lib/sys/probe.c lib/poll/park.c lib/conn/stream.c; do"
		" ${CC:-cc} -DNP_NO_PROBES -D_GNU_SOURCE -Iinclude -iquote lib -std=gnu11 -Wall -Wextra"
		" -Wno-unused-parameter -Wno-missing-field-initializers -Werror -fsyntax-only $f"
		" || exit 1; done");
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "probes");

	tcase_add_test(t, each_probe_is_there_and_is_a_nop);
	tcase_add_test(t, without_the_header_it_is_built_all_the_same);
}

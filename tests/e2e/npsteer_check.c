/* SPDX-License-Identifier: BSD-2-Clause */
/* npsteer_check: `npsteer check` where something is taken away: it names the cause, and its
 * findings agree with that */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "support/json.h"
#include "support/restrict.h"
#include "support/test.h"
#include "support/tool.h"

static void few_descriptors(void)
{
	limit_fds(12);
}

static void filter(void)
{
	deny_bpf(EPERM);
}

static const struct lack {
	const char *name;
	void (*restrict_it)(void);
	int code, level;
	const char *reason;
	const char *finding; /* "name value" of one that agrees */
} lacks[] = {
	{ "a user namespace", own_userns, DENIED, 0, "user namespace alone",
	  "in this user namespace alone" },
	{ "a seccomp filter", filter, DENIED, 0, "a seccomp filter is in force",
	  "a filter is in force" },
	{ "nothing at /sys", empty_sys, DONE, 3, "no /sys/kernel/btf/vmlinux", "\"BTF\"" },
	{ "few descriptors", few_descriptors, UNSUPPORTED, 0, "`ulimit -n` is 1", "\"CAP_BPF\"" },
};
#define LACKS (int)(sizeof lacks / sizeof lacks[0])

START_TEST(check_names_the_cause_and_prints_nothing_else)
{
	const struct lack *l = &lacks[_i];
	struct ran r;

	NEEDS_RIGHTS();
	l->restrict_it();
	npsteer(&r, "-j check");
	ck_assert_msg(r.code == l->code, "%s: exit %d: %s%s", l->name, r.code, r.out, r.err);
	ck_assert_msg(json_valid(r.out), "%s: no JSON: %s", l->name, r.out);
	ck_assert_int_eq(json_number(r.out, "level"), l->level);
	must_have(r.out, l->reason);
	must_have(r.out, l->finding);
	ck_assert_str_eq(r.err, "");
	ran_free(&r);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "check");

	tcase_add_checked_fixture(t, tool_setup, tool_teardown);
	tcase_add_loop_test(t, check_names_the_cause_and_prints_nothing_else, 0, LACKS);
}

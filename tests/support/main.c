/* SPDX-License-Identifier: BSD-2-Clause */
/* main: the program around the cases of a suite, which has the program's name. */
#include <errno.h>

#include "support/test.h"

TCase *add_case(Suite *s, const char *name)
{
	TCase *t = tcase_create(name);

	suite_add_tcase(s, t);
	return t;
}

int main(void)
{
	Suite *s = suite_create(program_invocation_short_name);

	add_cases(s);
	return run_suite(s);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* main: the program around the cases of a suite, which has the program's name. */
#include <errno.h>
#include <stdlib.h>

#include "support/run.h"
#include "support/test.h"

TCase *add_case(Suite *s, const char *name)
{
	TCase *t = tcase_create(name);

	suite_add_tcase(s, t);
	return t;
}

static int run_suite(Suite *s)
{
	SRunner *r = srunner_create(s);
	int failed;

	temp_dirs_begin();
	srunner_run_all(r, CK_ENV);
	temp_dirs_end();
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(void)
{
	Suite *s = suite_create(program_invocation_short_name);

	add_cases(s);
	return run_suite(s);
}

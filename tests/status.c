/* SPDX-License-Identifier: BSD-2-Clause */
/* status: every code has a text of its own, and the two questions about codes take either sign. */
#include "netpoll/status.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "netpoll/version.h"
#include "support/test.h"

static const int own[] = { NP_ECLOSED,      NP_EREADTIMEOUT,  NP_EDIALTIMEOUT, NP_EUNSUPPORTED,
			   NP_EEOF,         NP_EWRITETIMEOUT, NP_ECONCURRENT,  NP_ETOOLONG,
			   NP_ESHORT,       NP_ENOTFIBER,     NP_ERESOLVE,     NP_ENOTOPEN,
			   NP_ERESOLVEAGAIN };

#define NOWN (sizeof own / sizeof own[0])

START_TEST(every_code_of_ours_has_a_text_that_no_other_has)
{
	for (size_t i = 0; i < NOWN; i++) {
		ck_assert_str_eq(np_strerror(own[i]), np_strerror(-own[i]));
		ck_assert_str_ne(np_strerror(own[i]), np_strerror(0x1FF));
		for (size_t k = 0; k < i; k++)
			ck_assert_str_ne(np_strerror(own[i]), np_strerror(own[k]));
	}
}
END_TEST

START_TEST(our_codes_are_no_errno)
{
	for (size_t i = 0; i < NOWN; i++)
		ck_assert_ptr_null(strerrordesc_np(own[i]));
}
END_TEST

START_TEST(errno_values_read_as_strerror_has_them)
{
	ck_assert_str_eq(np_strerror(-EADDRINUSE), strerror(EADDRINUSE));
	ck_assert_str_eq(np_strerror(ENOENT), strerror(ENOENT));
}
END_TEST

START_TEST(a_text_is_never_null)
{
	ck_assert_ptr_nonnull(np_strerror(0));
	ck_assert_ptr_nonnull(np_strerror(0x1FF));
	ck_assert_str_eq(np_strerror(INT_MIN), np_strerror(INT_MAX)); /* it has no other sign */
	ck_assert_str_eq(np_strerror(-100000), np_strerror(100000));
	ck_assert(!np_err_is_timeout(INT_MIN) && !np_err_is_closed(INT_MIN));
}
END_TEST

START_TEST(the_questions_take_either_sign)
{
	ck_assert(np_err_is_timeout(-NP_EREADTIMEOUT) && np_err_is_timeout(NP_EDIALTIMEOUT));
	ck_assert(np_err_is_timeout(-NP_EWRITETIMEOUT) && np_err_is_timeout(-ETIMEDOUT));
	ck_assert(!np_err_is_timeout(0) && !np_err_is_timeout(-NP_EEOF));

	ck_assert(np_err_is_closed(-NP_EEOF) && np_err_is_closed(NP_ECLOSED));
	ck_assert(np_err_is_closed(-ECONNRESET) && np_err_is_closed(-EPIPE));
	ck_assert(!np_err_is_closed(0) && !np_err_is_closed(-NP_EREADTIMEOUT));
}
END_TEST

START_TEST(the_library_says_its_version_as_text_and_as_a_number)
{
	int number = 0, major, minor, patch;

	ck_assert_str_eq(np_version(&number), NP_VERSION);
	ck_assert_str_eq(np_version(NULL), NP_VERSION);
	ck_assert_int_eq(number, NP_VERSION_NUMBER);
	ck_assert_int_eq(sscanf(np_version(NULL), "%d.%d.%d", &major, &minor, &patch), 3);
	ck_assert_int_eq(number, major * 10000 + minor * 100 + patch);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "status");

	tcase_add_test(t, every_code_of_ours_has_a_text_that_no_other_has);
	tcase_add_test(t, our_codes_are_no_errno);
	tcase_add_test(t, errno_values_read_as_strerror_has_them);
	tcase_add_test(t, a_text_is_never_null);
	tcase_add_test(t, the_questions_take_either_sign);
	tcase_add_test(t, the_library_says_its_version_as_text_and_as_a_number);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* hog: when one that was named is named again. The rest is in tests/e2e/hog.c. */
#include "poll/hog.h"

#include "support/test.h"

static struct hog hog;
static const char functions[2], tags[HOG_KNOWN + 2];
static uint64_t unsaid;

static bool due(const void *handler, const char *tag, uint64_t now_ms)
{
	hog.handler = handler;
	hog.tag = tag;
	return hog_due(&hog, now_ms, &unsaid);
}

START_TEST(one_is_named_again_after_a_minute_with_how_often_it_came_meanwhile)
{
	ck_assert(due(functions, tags, 5000));
	ck_assert_uint_eq(unsaid, 0);
	for (int i = 0; i < 7; i++)
		ck_assert(!due(functions, tags, 6000 + i));
	ck_assert(!due(functions, tags, 5000 + HOG_AGAIN_MS - 1));
	ck_assert(due(functions, tags, 5000 + HOG_AGAIN_MS));
	ck_assert_uint_eq(unsaid, 8);
	ck_assert(!due(functions, tags, 5001 + HOG_AGAIN_MS));
	ck_assert(due(functions, tags, 5000 + 2 * HOG_AGAIN_MS));
	ck_assert_uint_eq(unsaid, 1);
}
END_TEST

START_TEST(what_is_known_is_a_handler_with_a_tag)
{
	ck_assert(due(functions, NULL, 5000));
	ck_assert(due(functions, tags, 5000));
	ck_assert(due(functions, tags + 1, 5000));
	ck_assert(due(functions + 1, tags, 5000));
	ck_assert(!due(functions, NULL, 5001) && !due(functions, tags + 1, 5001) &&
		  !due(functions + 1, tags, 5001));
}
END_TEST

/* Not one line for each hog, however many there are, and none is left out for ever. */
START_TEST(of_more_than_it_can_keep_the_one_named_longest_ago_gives_way_after_its_minute)
{
	for (unsigned i = 0; i < HOG_KNOWN; i++)
		ck_assert(due(functions, tags + i, 5000 + i));
	ck_assert(!due(functions, tags + HOG_KNOWN, 6000));
	ck_assert(due(functions, tags + HOG_KNOWN, 5000 + HOG_AGAIN_MS));
	ck_assert(!due(functions, tags + HOG_KNOWN + 1, 5000 + HOG_AGAIN_MS));
	ck_assert(!due(functions, tags + 1, 5000 + HOG_AGAIN_MS));
	ck_assert(due(functions, tags + 1, 5001 + HOG_AGAIN_MS));
	ck_assert_uint_eq(unsaid, 1);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *tc = add_case(s, "hog");

	tcase_add_test(tc, one_is_named_again_after_a_minute_with_how_often_it_came_meanwhile);
	tcase_add_test(tc, what_is_known_is_a_handler_with_a_tag);
	tcase_add_test(
		tc, of_more_than_it_can_keep_the_one_named_longest_ago_gives_way_after_its_minute);
}

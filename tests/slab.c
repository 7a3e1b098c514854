/* SPDX-License-Identifier: BSD-2-Clause */
/* slab: objects of one size, and that their memory goes back. */
#include "conn/slab.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/test.h"
#include "sys/fault.h"

#define SIZE 224u
#define MANY 3000u

static struct slab slab;
static unsigned char *obj[MANY];

static void given_objects(void)
{
	slab_init(&slab, SIZE);
	for (unsigned i = 0; i < MANY; i++) {
		obj[i] = slab_get(&slab);
		ck_assert_ptr_nonnull(obj[i]);
		memset(obj[i], (int)i, SIZE);
	}
}

static void give_all_back(void)
{
	for (unsigned i = 0; i < MANY; i++)
		if (obj[i])
			slab_put(&slab, obj[i]);
	slab_fini(&slab);
}

/* Mappings of this process. */
static unsigned mappings(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	unsigned n = 0;
	int c;

	ck_assert_ptr_nonnull(f);
	while ((c = getc(f)) != EOF)
		n += c == '\n';
	fclose(f);
	return n;
}

START_TEST(no_object_shares_a_byte_with_another)
{
	given_objects();

	for (unsigned i = 0; i < MANY; i++)
		for (unsigned k = 0; k < SIZE; k++)
			ck_assert_uint_eq(obj[i][k], (unsigned char)i);

	give_all_back();
}
END_TEST

START_TEST(what_was_put_is_got_again_before_anything_is_mapped)
{
	unsigned before;

	given_objects();
	for (unsigned i = 0; i < MANY; i += 2)
		slab_put(&slab, obj[i]);
	before = mappings();

	for (unsigned i = 0; i < MANY; i += 2)
		obj[i] = slab_get(&slab);

	ck_assert_uint_eq(mappings(), before);
	give_all_back();
}
END_TEST

/* What is in the cache still, of whichever region. */
START_TEST(what_was_put_last_is_got_next)
{
	if (under_asan())
		SKIP("objects come from malloc under AddressSanitizer");
	given_objects();
	slab_put(&slab, obj[MANY - 1]);
	slab_put(&slab, obj[0]);

	ck_assert_ptr_eq(slab_get(&slab), obj[0]);
	obj[MANY - 1] = NULL;
	give_all_back();
}
END_TEST

static bool is_mapped(void *p)
{
	FILE *f = fopen("/proc/self/maps", "re");
	unsigned long from, to;
	bool found = false;
	char line[512];

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof line, f))
		if (sscanf(line, "%lx-%lx", &from, &to) == 2)
			found |= (uintptr_t)p >= from && (uintptr_t)p < to;
	fclose(f);
	return found;
}

START_TEST(regions_in_the_middle_go_back_to_the_kernel)
{
	unsigned char *middle;

	if (under_asan())
		SKIP("objects come from malloc under AddressSanitizer");
	given_objects();
	middle = obj[MANY / 2];

	for (unsigned i = 1; i < MANY - 1; i++) {
		slab_put(&slab, obj[i]);
		obj[i] = NULL;
	}

	ck_assert(!is_mapped(middle));
	ck_assert(is_mapped(obj[0]) && is_mapped(obj[MANY - 1]));
	give_all_back();
}
END_TEST

START_TEST(without_memory_get_says_so_and_works_later)
{
#ifndef NP_FAULT
	SKIP("this build has no fault injection");
#else
	void *p;

	if (under_asan())
		SKIP("objects come from malloc under AddressSanitizer");
	slab_init(&slab, SIZE);
	sys_fault_arm(SYS_mmap, 1, ENOMEM);

	p = slab_get(&slab);

	ck_assert_ptr_null(p);
	p = slab_get(&slab);
	ck_assert_ptr_nonnull(p);
	slab_put(&slab, p);
	slab_fini(&slab);
#endif
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "slab");

	tcase_add_test(t, no_object_shares_a_byte_with_another);
	tcase_add_test(t, what_was_put_is_got_again_before_anything_is_mapped);
	tcase_add_test(t, what_was_put_last_is_got_next);
	tcase_add_test(t, regions_in_the_middle_go_back_to_the_kernel);
	tcase_add_test(t, without_memory_get_says_so_and_works_later);
}

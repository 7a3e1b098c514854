/* SPDX-License-Identifier: BSD-2-Clause */
/* linkbuf_model: long random runs of every verb against flat arrays. Seeds are fixed; NP_SEED=n
 * takes another. */
#include "support/linkbuf_model.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "support/test.h"

#define PROGRAM       4096
#define SHORT_PROGRAM 1000
#define CORPUS        "tests/fuzz/corpus/linkbuf"
#define INPUT_MAX     4096

static const char *only_seed; /* from NP_SEED */

static uint64_t random64(uint64_t *s)
{
	uint64_t z = *s += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static void random_bytes(uint64_t *s, uint8_t *p, size_t n)
{
	uint64_t r = 0;

	for (size_t i = 0; i < n; i++, r >>= 8) {
		if (i % 8 == 0)
			r = random64(s);
		p[i] = (uint8_t)r;
	}
}

/* Slow where every load is looked at. */
static unsigned long fewer(unsigned long steps)
{
	return under_tsan() || under_valgrind() ? steps / 10 : steps;
}

static struct model_result run_random(uint64_t seed, unsigned long steps)
{
	struct model_result sum = { 0 }, one;
	uint64_t s = seed;
	uint8_t program[PROGRAM];

	printf("NP_SEED=%llu: ", (unsigned long long)seed); /* seen where it fails */
	fflush(stdout);
	while (sum.steps < steps) {
		random_bytes(&s, program, sizeof program);
		one = model_run(program, sizeof program);
		sum.steps += one.steps;
		sum.refused += one.refused;
	}
	printf("%lu steps, %lu refused for memory\n", sum.steps, sum.refused);
	return sum;
}

/* @steps in all over seeds 1 .. 8; NP_SEED: all with that one. Adds up what was refused. */
static unsigned long run_seeds(unsigned long steps)
{
	unsigned long refused = 0;

	if (only_seed)
		return run_random(strtoull(only_seed, NULL, 0), fewer(steps)).refused;
	for (uint64_t seed = 1; seed <= 8; seed++)
		refused += run_random(seed, fewer(steps) / 8).refused;
	return refused;
}

START_TEST(random_verbs_do_what_flat_arrays_do)
{
	model_cached();
	run_seeds(400000);
}
END_TEST

/* As ASan and valgrind can follow it. */
START_TEST(they_do_with_each_block_apart_and_poisoned)
{
	model_apart();
	run_seeds(100000);
}
END_TEST

START_TEST(no_memory_at_random_leaves_everything_as_it_was)
{
	model_apart_failing(5);
	ck_assert_uint_gt(run_seeds(100000), 100);
}
END_TEST

/* The same program over and over; the n-th time its n-th allocation fails. A read into space() does
 * with less. */
START_TEST(no_memory_at_any_one_allocation_leaves_everything_as_it_was)
{
	uint64_t s = only_seed ? strtoull(only_seed, NULL, 0) : 1;
	unsigned long nth = 0, refused = 0;
	uint8_t program[SHORT_PROGRAM];

	random_bytes(&s, program, sizeof program);
	do {
		model_apart_failing_once(++nth);
		refused += model_run(program, sizeof program).refused;
	} while (model_allocations() >= nth);
	printf("%lu allocations failed once each, %lu refused a call\n", nth - 1, refused);
	ck_assert_uint_gt(refused, 50);
}
END_TEST

static void replay(const char *name)
{
	uint8_t input[INPUT_MAX];
	char path[512];
	ssize_t n;
	int fd;

	snprintf(path, sizeof path, "%s/%s", CORPUS, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	n = read(fd, input, sizeof input);
	ck_assert_int_ge(n, 0);
	close(fd);
	printf("%s\n", path); /* seen where it fails */
	model_run_input(input, (size_t)n);
}

START_TEST(what_the_fuzzer_has_found_holds)
{
	DIR *d = opendir(CORPUS);
	struct dirent *e;
	int n = 0;

	ck_assert_msg(d, "%s: run from the top of the tree", CORPUS);
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		replay(e->d_name);
		n++;
	}
	closedir(d);
	ck_assert_int_gt(n, 0);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "model");

	only_seed = getenv("NP_SEED");
	setvbuf(stdout, NULL, _IOLBF, 0);
	tcase_add_test(t, random_verbs_do_what_flat_arrays_do);
	tcase_add_test(t, they_do_with_each_block_apart_and_poisoned);
	tcase_add_test(t, no_memory_at_random_leaves_everything_as_it_was);
	tcase_add_test(t, no_memory_at_any_one_allocation_leaves_everything_as_it_was);
	tcase_add_test(t, what_the_fuzzer_has_found_holds);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* cpu: how many CPUs there are for us, and who is pinned to one. */
#include "sys/cpu.h"

#include <errno.h>
#include <netpoll/pollers.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/run.h"
#include "support/test.h"

static char *dir;

static void setup(void)
{
	dir = temp_dir();
}

static void teardown(void)
{
	remove_tree(&dir);
}

/* ------------------------------------------------------------------ the quota of a group */

/* A path of @n levels of 200 characters, below @top, made; malloc'ed, as /proc/self/cgroup would
 * say it. */
static char *given_levels(const char *top, int n)
{
	char *path = calloc(1, (size_t)n * 201 + 1), full[8192];

	for (int i = 0; i < n; i++) {
		strcat(path, "/");
		memset(path + strlen(path), 'a' + i, 200);
		snprintf(full, sizeof full, "%s%s", top, path);
		ck_assert_msg(mkdir(full, 0755) == 0, "%s: %s", full, strerror(errno));
	}
	return path;
}

static void given_quota(const char *top, const char *group, const char *file, const char *text)
{
	char path[8192];
	FILE *f;

	snprintf(path, sizeof path, "%s%s/%s", top, group, file);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	ck_assert_int_eq(fclose(f), 0);
}

START_TEST(a_group_has_its_quota_however_long_its_path)
{
	char *group = given_levels(dir, 8);

	given_quota(dir, group, "cpu.max", "250000 100000");
	ck_assert_int_eq(sys_cpu_quota(dir, group, true), 3);

	given_quota(dir, group, "cpu.cfs_quota_us", "100001");
	given_quota(dir, group, "cpu.cfs_period_us", "100000");
	ck_assert_int_eq(sys_cpu_quota(dir, group, false), 2);
	free(group);
}
END_TEST

START_TEST(the_tightest_quota_on_the_way_up_holds)
{
	char *group = given_levels(dir, 3);

	given_quota(dir, group, "cpu.max", "max 100000");
	ck_assert_int_eq(sys_cpu_quota(dir, group, true), 0);
	given_quota(dir, "", "cpu.max", "400000 100000");
	ck_assert_int_eq(sys_cpu_quota(dir, group, true), 4);
	group[201] = '\0';
	given_quota(dir, group, "cpu.max", "200000 100000");
	group[201] = '/';
	ck_assert_int_eq(sys_cpu_quota(dir, group, true), 2);
	ck_assert_int_eq(sys_cpu_quota(dir, "/absent/below", true), 4);
	ck_assert_int_eq(sys_cpu_quota(dir, "/", true), 4);
	free(group);
}
END_TEST

START_TEST(a_quota_that_is_no_number_is_none)
{
	static const char *const texts[] = { "",         "max",    "max 100000", "-1 100000",
					     "100000 0", "100000", "many few" };

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		given_quota(dir, "", "cpu.max", texts[i]);
		ck_assert_int_eq(sys_cpu_quota(dir, "/", true), 0);
	}
	given_quota(dir, "", "cpu.max", "9223372036854775807 1");
	ck_assert_int_gt(sys_cpu_quota(dir, "/", true), 0);
}
END_TEST

/* ------------------------------------------------------------------ who is pinned */

static char said[256];

static void keep_log(void *arg, int level, const char *msg)
{
	snprintf(said, sizeof said, "%s", msg);
}

static int count_mask(void *ret)
{
	*(int *)ret = sys_cpu_list(NULL, 1 << 20);
	return 0;
}

/* How many CPUs the thread of a poller may run on, of @count pollers. */
static int mask_with(int count, const int *cpus, int n_cpus)
{
	struct np_pollers_opts o = {
		.sz = sizeof o, .count = count, .cpus = cpus, .n_cpus = n_cpus, .log = keep_log
	};
	struct np_pollers *p;
	int n = -1;

	said[0] = '\0';
	if (np_pollers_start(&o, &p) < 0 || np_run(p, count_mask, &n) < 0)
		return -1;
	np_pollers_stop(p, 0);
	np_pollers_free(&p);
	return n;
}

START_TEST(pollers_for_every_cpu_are_pinned_and_fewer_are_not)
{
	int cpus[1024], n = sys_cpu_list(cpus, 1024);

	if (n < 2 || sys_cpu_count() < n)
		SKIP("needs two CPUs and no quota");
	ck_assert_int_eq(mask_with(0, NULL, 0), 1);
	ck_assert_str_eq(said, "");
	ck_assert_int_eq(mask_with(n, NULL, 0), 1);

	/* One of several: every such process would choose the first CPU. */
	ck_assert_int_eq(mask_with(1, NULL, 0), n);
	ck_assert_ptr_nonnull(strstr(said, "not pinned"));

	ck_assert_int_eq(mask_with(1, &cpus[1], 1), 1);
	ck_assert_str_eq(said, "");
}
END_TEST

#define V1 "/sys/fs/cgroup/cpu"

/*
 * This process into a group of its own, of one CPU's time, with a long path. Return: 0, or why not.
 */
static int enter_group(const char *top, char **ret)
{
	char path[8192], self[32];
	int r;

	*ret = given_levels(top, 2);
	snprintf(path, sizeof path, "%s%s/cpu.cfs_quota_us", top, *ret);
	r = write_file(path, "100000");
	snprintf(path, sizeof path, "%s%s/cgroup.procs", top, *ret);
	snprintf(self, sizeof self, "%d", (int)getpid());
	return r < 0 ? r : write_file(path, self);
}

static void leave_group(const char *top, char *group)
{
	char path[8192], self[32];

	snprintf(self, sizeof self, "%d", (int)getpid());
	write_file(V1 "/cgroup.procs", self);
	snprintf(path, sizeof path, "%s%s", top, group);
	for (size_t n = strlen(top); strlen(path) >= n; *strrchr(path, '/') = '\0')
		rmdir(path);
	free(group);
}

START_TEST(under_a_quota_pollers_are_as_many_as_it_and_not_pinned)
{
	int cpus = sys_cpu_list(NULL, 1 << 20), entered, count, mask;
	char top[64], *group;

	if (cpus < 2)
		SKIP("needs two CPUs");
	if (access(V1 "/cpu.cfs_period_us", F_OK) < 0 && access(V1 "/cgroup.procs", W_OK) < 0)
		SKIP("needs the cpu controller of cgroup v1, and to write there");
	snprintf(top, sizeof top, V1 "/np-test-%d", (int)getpid());
	if (mkdir(top, 0755) < 0)
		SKIP("cannot make a group: %s", strerror(errno));

	/* Nothing fails before the group is gone. */
	entered = enter_group(top, &group);
	count = sys_cpu_count();
	mask = mask_with(0, NULL, 0);
	leave_group(top, group);

	ck_assert_int_eq(access(top, F_OK), -1);
	ck_assert_int_eq(entered, 0);
	ck_assert_int_eq(count, 1);
	ck_assert_int_eq(mask, cpus);
	ck_assert_ptr_nonnull(strstr(said, "not pinned"));
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "cpu");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_group_has_its_quota_however_long_its_path);
	tcase_add_test(t, the_tightest_quota_on_the_way_up_holds);
	tcase_add_test(t, a_quota_that_is_no_number_is_none);
	tcase_add_test(t, pollers_for_every_cpu_are_pinned_and_fewer_are_not);
	tcase_add_test(t, under_a_quota_pollers_are_as_many_as_it_and_not_pinned);
}

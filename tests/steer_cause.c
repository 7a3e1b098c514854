/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_cause: a service that cannot be had says what was tried, what the kernel said, and why; and
 * libbpf says nothing
 *
 * Each restriction is a real one, put on the test's own process.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "netpoll/steer_admin.h"
#include "steer/words.h"
#include "support/privilege.h"
#include "support/restrict.h"
#include "support/steer.h"
#include "support/test.h"

/* TSan has a thread of its own, and a process of several gets no user namespace. */
#define SKIP_UNDER_TSAN()                                                  \
	do {                                                               \
		if (under_tsan())                                          \
			SKIP("a sanitizer's thread bars user namespaces"); \
	} while (0)

static void filter_eperm(void)
{
	deny_bpf(EPERM);
}

static void filter_enosys(void)
{
	deny_bpf(ENOSYS);
}

static void without_capabilities(void)
{
	become(1234, 0);
}

static void few_descriptors(void)
{
	limit_fds(9);
}

static const struct cause {
	const char *name;
	void (*restrict_it)(void);
	int code; /* of NP_STEER_REQUIRED */
	const char *says, *says_not;
} causes[] = {
	{ "no capability", without_capabilities, -EPERM, "no CAP_BPF", "user namespace" },
	{ "a user namespace", own_userns, -EPERM, "user namespace alone", "no CAP_BPF" },
	{ "a seccomp filter", filter_eperm, -EPERM, "seccomp filter is in force", "no CAP_BPF" },
	{ "a seccomp filter that says ENOSYS", filter_enosys, -NP_EUNSUPPORTED,
	  "seccomp filter is in force", "no CAP_BPF" },
	{ "few descriptors", few_descriptors, -EMFILE, "`ulimit -n` is", "there is no service" },
};
#define CAUSES (int)(sizeof causes / sizeof causes[0])

/* What is written to stderr from here on. */
static int hear_stderr(void)
{
	int fd = memfd_create("stderr", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(dup2(fd, STDERR_FILENO), STDERR_FILENO);
	return fd;
}

static void must_be_silent(int fd)
{
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_eq(st.st_size, 0);
}

START_TEST(each_cause_has_its_sentence)
{
	const struct cause *c = &causes[_i];
	char why[NP_STEER_TEXT_MAX] = "";
	struct np_steer *s = NULL;
	int err, r;

	OWN_STEERING();
	if (c->restrict_it == own_userns)
		SKIP_UNDER_TSAN();
	err = hear_stderr();
	c->restrict_it();
	r = np_steer_open(NULL,
			  NP_OPTS(np_steer_opts, .mode = NP_STEER_REQUIRED, .error = why,
				  .error_cap = sizeof why),
			  &s);
	ck_assert_msg(r == c->code, "%s: %d, \"%s\"", c->name, r, why);
	ck_assert_ptr_null(s);
	ck_assert_msg(strstr(why, "loading the steering program: ") == why, "%s: \"%s\"", c->name,
		      why);
	ck_assert_msg(strstr(why, c->says) && !strstr(why, c->says_not), "%s: \"%s\"", c->name,
		      why);
	ck_assert_uint_lt(strlen(why), sizeof why - 1); /* all of it */
	must_be_silent(err);
}
END_TEST

/* ------------------------------------------------------------------ a service that is there */

static void read_only(void)
{
	ck_assert_int_eq(mount(NULL, own_bpffs(), NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
}

static const struct cause closed[] = {
	{ "a seccomp filter", filter_eperm, -EPERM, "seccomp filter is in force", "--group" },
	{ "a seccomp filter that says ENOSYS", filter_enosys, -ENOSYS, "seccomp filter is in force",
	  "--force" },
	{ "few descriptors", few_descriptors, -EMFILE, "`ulimit -n` is", "--force" },
	{ "a bpffs that is read-only", read_only, -EROFS, "Read-only file system", "--force" },
};
#define CLOSED (int)(sizeof closed / sizeof closed[0])

/* Whoever is told that such pins are incomplete, and to replace them, ends a service that works. */
START_TEST(pins_that_cannot_be_opened_are_not_called_incomplete)
{
	const struct cause *c = &closed[_i];
	char why[NP_STEER_TEXT_MAX] = "";
	struct np_steer *s = NULL;
	int r;

	OWN_STEERING();
	ck_assert_int_eq(np_steer_load("web", NULL), 0);
	c->restrict_it();
	r = np_steer_open("web",
			  NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN, .error = why,
				  .error_cap = sizeof why),
			  &s);
	ck_assert_msg(r == c->code, "%s: join: %d, \"%s\"", c->name, r, why);
	ck_assert_msg(strstr(why, c->says) && !strstr(why, c->says_not), "%s: join: \"%s\"",
		      c->name, why);
	r = np_steer_load("web",
			  NP_OPTS(np_steer_load_opts, .error = why, .error_cap = sizeof why));
	ck_assert_msg(r == c->code, "%s: load: %d, \"%s\"", c->name, r, why);
	ck_assert_msg(strstr(why, c->says) && !strstr(why, c->says_not), "%s: load: \"%s\"",
		      c->name, why);
}
END_TEST

/* The same sentence is the reason of level 0, where that is served. */
START_TEST(at_level_0_the_reason_is_the_cause)
{
	struct np_steer_info i = { .sz = sizeof i };
	struct np_steer *s;

	OWN_STEERING();
	SKIP_UNDER_TSAN();
	own_userns();
	ck_assert_int_eq(np_steer_open(NULL, NULL, &s), 0);
	ck_assert_int_eq(np_steer_info(s, &i), 0);
	ck_assert_int_eq(i.level, NP_STEER_L0);
	ck_assert_msg(strstr(i.reason, "user namespace alone") != NULL, "%s", i.reason);
	ck_assert_int_eq(np_steer_close(&s), 0);
}
END_TEST

static void little_memory(void)
{
	limit_memory(4 << 20);
}

static void one_capability(void)
{
	become(1234, 1ull << 39); /* CAP_BPF */
}

static const struct cause not_exact[] = {
	{ "nothing at /sys", empty_sys, 0, "/sys/kernel/btf/vmlinux", "CAP_PERFMON" },
	{ "little memory", little_memory, 0, "`ulimit -v` is", "CAP_PERFMON" },
	{ "CAP_BPF alone", one_capability, 0, "CAP_PERFMON is missing", "ulimit" },
};

/* And everything else works: the counters, which need the number of CPUs, too. */
START_TEST(where_level_4_cannot_be_had_level_3_says_why)
{
	const struct cause *c = &not_exact[_i];
	struct np_steer_info i = { .sz = sizeof i };
	struct rig r;
	int err;

	OWN_STEERING();
	if (c->restrict_it == little_memory && (under_asan() || under_tsan() || under_valgrind()))
		SKIP("a sanitizer needs more address space than that");
	err = hear_stderr();
	c->restrict_it();
	rig_start(&r, 2, NULL);
	ck_assert_int_eq(np_steer_info(r.s, &i), 0);
	ck_assert_msg(i.level == NP_STEER_L3, "%s: level %d: %s", c->name, i.level, i.reason);
	ck_assert_msg(strstr(i.reason, c->says) && !strstr(i.reason, c->says_not), "%s: %s",
		      c->name, i.reason);
	rig_drive(&r, 60);
	ck_assert_uint_eq(rig_stats(&r).steered, 60);
	ck_assert_uint_eq(rig_worker_info(&r, 0).steered + rig_worker_info(&r, 1).steered, 60);
	must_be_silent(err);
	rig_stop(&r);
}
END_TEST

START_TEST(where_nothing_is_missing_nothing_is_said)
{
	struct rig r;
	int err;

	OWN_STEERING();
	err = hear_stderr();
	rig_start(&r, 2, NULL);
	rig_drive(&r, 10);
	ck_assert_uint_eq(rig_stats(&r).steered, 10);
	must_be_silent(err);
	rig_stop(&r);
}
END_TEST

/* --------------------------------------------------------------- a program that uses libbpf too */

static unsigned heard;

static int host_hears(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	__atomic_add_fetch(&heard, level == LIBBPF_WARN, __ATOMIC_RELAXED);
	return 0;
}

static int host_hears_elsewhere(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	return 0;
}

/* libbpf warns: that is no object. */
static void *make_libbpf_warn(void *arg)
{
	ck_assert_ptr_null(bpf_object__open_mem("no object", 9, NULL));
	return NULL;
}

static void elsewhere(void *(*fn)(void *))
{
	pthread_t t;

	ck_assert_int_eq(pthread_create(&t, NULL, fn, NULL), 0);
	pthread_join(t, NULL);
}

START_TEST(a_programs_own_callback_of_libbpf_hears_what_is_its_own)
{
	struct words outer, inner;
	char first[200], second[200];

	libbpf_set_print(host_hears);
	words_take(&outer, first, sizeof first);
	words_take(&inner, second, sizeof second);
	make_libbpf_warn(NULL);
	ck_assert_uint_gt(strlen(second), 0);
	words_give_back(&inner);
	make_libbpf_warn(NULL);
	ck_assert_uint_gt(strlen(first), 0);
	ck_assert_uint_eq(heard, 0);
	elsewhere(make_libbpf_warn); /* another thread of the program, meanwhile */
	ck_assert_uint_gt(heard, 0);
	words_give_back(&outer);
	ck_assert(libbpf_set_print(host_hears) == host_hears);
}
END_TEST

START_TEST(a_callback_that_the_program_sets_meanwhile_stays)
{
	struct words w;

	libbpf_set_print(host_hears);
	words_take(&w, NULL, 0);
	libbpf_set_print(host_hears_elsewhere);
	words_give_back(&w);
	ck_assert(libbpf_set_print(host_hears) == host_hears_elsewhere);
}
END_TEST

static void *open_and_close(void *arg)
{
	struct np_steer *s;

	for (unsigned i = 0; i < 5; i++) {
		ck_assert_int_eq(np_steer_open(NULL, NULL, &s), 0);
		ck_assert_int_eq(np_steer_close(&s), 0);
	}
	return NULL;
}

START_TEST(threads_that_open_services_at_once_give_the_callback_back)
{
	pthread_t t[4];

	OWN_STEERING();
	libbpf_set_print(host_hears);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, open_and_close, NULL), 0);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	ck_assert(libbpf_set_print(host_hears) == host_hears);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "cause");

	tcase_add_loop_test(t, each_cause_has_its_sentence, 0, CAUSES);
	tcase_add_loop_test(t, pins_that_cannot_be_opened_are_not_called_incomplete, 0, CLOSED);
	tcase_add_test(t, at_level_0_the_reason_is_the_cause);
	tcase_add_loop_test(t, where_level_4_cannot_be_had_level_3_says_why, 0, 3);
	tcase_add_test(t, where_nothing_is_missing_nothing_is_said);
	tcase_add_test(t, a_programs_own_callback_of_libbpf_hears_what_is_its_own);
	tcase_add_test(t, a_callback_that_the_program_sets_meanwhile_stays);
	tcase_add_test(t, threads_that_open_services_at_once_give_the_callback_back);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* steer_release: what was adopted is left as it was before */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "netpoll/steer_admin.h"
#include "steer/steer.h"
#include "support/adopted.h"
#include "support/beside.h"
#include "support/child.h"
#include "support/foreign.h"
#include "support/restrict.h"
#include "support/steer.h"
#include "support/test.h"

START_TEST(release_leaves_the_services_own_workers_and_their_program)
{
	struct np_steer_worker *w;
	struct np_steer *s;
	struct foreign f;
	int fd, c;

	OWN_STEERING();
	s = given_adopted(&f, "rr", FOREIGN_PROCESSES, 2);
	ck_assert_int_eq(np_steer_worker(s, "native", &w), 0);
	ck_assert_int_eq(np_steer_listen(w, "tcp", FOREIGN_AT, 0, &fd), 0);
	must_release(s, 2);
	ck_assert_uint_eq(workers(s), 1);
	ck_assert_int_eq(look(FOREIGN_AT).program, 1);
	c = client_connect(FOREIGN_AT);
	await_fd(fd, POLLIN);
	client_close(&c);
	ck_assert_uint_eq(worker(s, 2).steered, 1);
	close(fd);
	ck_assert_int_eq(np_steer_worker_close(&w), 0);
	end_adopted(s, &f);
}
END_TEST

/* Programs of the service are opened whenever one is met that may be its own, in any namespace. */
static unsigned sockets(void)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;
	char what[64];
	unsigned n = 0;
	ssize_t len;

	ck_assert_ptr_nonnull(d);
	while ((e = readdir(d))) {
		len = readlinkat(dirfd(d), e->d_name, what, sizeof what);
		n += len > 0 && !strncmp(what, "socket:", strlen("socket:"));
	}
	closedir(d);
	return n;
}

/* Two groups of the kernel, and one address: the service knows one group. */
START_TEST(release_takes_the_program_off_each_group_of_an_address)
{
	struct beside each[] = { { "127.0.0.1", 0 },
				 { "127.0.0.1", 0 },
				 { "::ffff:127.0.0.1", 0 },
				 { "::ffff:127.0.0.1", 0 },
				 { NULL, 0 } };
	struct np_steer *s;
	unsigned before;
	struct child c;

	OWN_STEERING();
	given_beside(&c, each);
	s = given_service("web", "rr");
	must_adopt(s, "7480", 4);
	must_release(s, 4);
	before = sockets();
	must_adopt(s, "7480", 4);
	must_release(s, 4);
	ck_assert_uint_eq(sockets(), before);
	expect_nothing_left(s, "7480", 4);
	end_service(s, "web");
	end_beside(&c);
}
END_TEST

static const struct np_worker_info no_info;
static const struct np_group no_group;

static const struct spoilt {
	enum map map;
	const void *with;
} spoilt[] = {
	{ MAP_np_info, &no_info },
	{ MAP_np_groups, &no_group },
};

#define SPOILT (int)(sizeof spoilt / sizeof spoilt[0])

/* Members may write these maps. */
START_TEST(release_leaves_nothing_whatever_a_member_has_written)
{
	const struct spoilt *k = &spoilt[_i];
	struct np_steer *s;
	struct foreign f;

	OWN_STEERING();
	ck_assert_int_eq(foreign_start(&f, FOREIGN_PROCESSES, 3, FOREIGN_PORT), 0);
	s = given_service("web", "rr");
	must_adopt(s, "7480", 3);
	for (uint32_t i = 0; i < 3; i++)
		ck_assert_int_eq(map_update(&s->maps, k->map, &i, k->with, 0), 0);
	must_release(s, 3);
	foreign_ask(FOREIGN_AT);
	expect_nothing_left(s, "7480", 3);
	end_service(s, "web");
	foreign_end(&f);
}
END_TEST

START_TEST(a_release_has_no_dry_run)
{
	struct np_steer *s;
	struct foreign f;

	OWN_STEERING();
	ck_assert_int_eq(foreign_start(&f, FOREIGN_PROCESSES, 3, FOREIGN_PORT), 0);
	s = given_service("web", "rr");
	must_adopt(s, "7480", 3);
	fails(np_steer_release(s, NP_OPTS(np_steer_adopt_opts, .dry_run = true)), -EINVAL,
	      "no dry run", s);
	ck_assert_uint_eq(workers(s), 3);
	must_release(s, 3);
	end_service(s, "web");
	foreign_end(&f);
}
END_TEST

START_TEST(a_service_with_adopted_workers_is_not_unloaded)
{
	struct np_steer *s;
	struct foreign f;

	OWN_STEERING();
	s = given_adopted(&f, NULL, FOREIGN_PROCESSES, 2);
	ck_assert_int_eq(np_steer_unload("web", NP_OPTS(np_steer_load_opts, .error = why,
							.error_cap = sizeof why)),
			 -EBUSY);
	ck_assert_msg(strstr(why, "npsteer release web") != NULL, "%s", why);
	must_release(s, 2);
	end_adopted(s, &f);
}
END_TEST

START_TEST(unloaded_by_force_a_service_releases_what_it_had_adopted)
{
	struct np_steer *s;
	struct foreign f;

	OWN_STEERING();
	ck_assert_int_eq(foreign_start(&f, FOREIGN_PROCESSES, 2, FOREIGN_PORT), 0);
	s = given_service("web", NULL);
	must_adopt(s, "7480", 2);
	ck_assert_int_eq(np_steer_close(&s), 0);
	ck_assert_int_eq(np_steer_unload("web", NP_OPTS(np_steer_load_opts, .force = true)), 0);
	ck_assert_int_eq(look("7480").program, 0);
	s = given_service("web", NULL);
	must_adopt(s, "7480", 2);
	must_release(s, 2);
	expect_nothing_left(s, "7480", 2);
	end_service(s, "web");
	foreign_end(&f);
}
END_TEST

#define ENOUGH 64 /* descriptors for an unload that releases */

/* In a child: with so few descriptors. */
static void unload_with(int sock, void *arg)
{
	int r;

	limit_fds(*(const unsigned *)arg);
	r = np_steer_unload("web", NP_OPTS(np_steer_load_opts, .force = true, .error = why,
					   .error_cap = sizeof why));
	child_send(sock, &r, sizeof r);
	child_send(sock, why, sizeof why);
}

/* Nobody could release them afterwards: their listeners lie in maps that only their program has. */
START_TEST(an_unload_that_lacks_descriptors_to_release_unloads_nothing)
{
	struct np_steer *s;
	struct foreign f;
	struct child c;
	int r = -EMFILE;

	OWN_STEERING();
	s = given_adopted(&f, NULL, FOREIGN_PROCESSES, 2);
	for (unsigned more = 0; r < 0 && more < ENOUGH; more++) {
		child_start(&c, unload_with, &more);
		child_recv(c.sock, &r, sizeof r);
		child_recv(c.sock, why, sizeof why);
		child_join(&c);
		ck_assert_msg(r == 0 || r == -EMFILE, "%u: %d %s", more, r, why);
		if (r < 0) {
			ck_assert_msg(why[0] != '\0', "%u: not a word", more);
			ck_assert_msg(workers(s) == 2, "%u: %d %s", more, r, why);
		}
	}
	ck_assert_int_eq(r, 0);
	ck_assert_int_eq(look(FOREIGN_AT).program, 0);
	ck_assert_int_eq(np_steer_close(&s), 0);
	foreign_end(&f);
}
END_TEST

START_TEST(a_release_without_ptrace_says_that_the_program_is_there_still)
{
	struct np_steer *s;
	struct foreign f;

	OWN_STEERING();
	s = given_adopted(&f, NULL, FOREIGN_PROCESSES, 2);
	fails_without_ptrace(release);
	ck_assert_int_eq(look(FOREIGN_AT).program, 1);
	foreign_ask(FOREIGN_AT);
	must_release(s, 0);
	expect_nothing_left(s, FOREIGN_AT, 2);
	end_adopted(s, &f);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "release");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, release_leaves_the_services_own_workers_and_their_program);
	tcase_add_test(t, release_takes_the_program_off_each_group_of_an_address);
	tcase_add_loop_test(t, release_leaves_nothing_whatever_a_member_has_written, 0, SPOILT);
	tcase_add_test(t, a_release_has_no_dry_run);
	tcase_add_test(t, a_release_without_ptrace_says_that_the_program_is_there_still);
	tcase_add_test(t, a_service_with_adopted_workers_is_not_unloaded);
	tcase_add_test(t, unloaded_by_force_a_service_releases_what_it_had_adopted);
	tcase_add_test(t, an_unload_that_lacks_descriptors_to_release_unloads_nothing);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_adopt: servers that know nothing of this library: how their listeners lie, and what becomes
 * of them as workers
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "netpoll/steer_admin.h"
#include "steer/find.h"
#include "steer/steer.h"
#include "support/adopted.h"
#include "support/foreign.h"
#include "support/privilege.h"
#include "support/restrict.h"
#include "support/steer.h"
#include "support/test.h"
#include "sys/fault.h"

/* ------------------------------------------------------------------ listeners */

/* Each worker is the acceptor of one listener. */
static void expect_each_has_one(const struct foreign *f, const struct seen *s, bool threads)
{
	ck_assert_uint_eq(s->alone, f->n);
	for (unsigned i = 0; i < f->n; i++) {
		unsigned times = 0;

		for (unsigned k = 0; k < s->alone; k++)
			times += s->acceptor[k].pid == f->pid[i] &&
				 s->acceptor[k].tid == (threads ? f->tid[i] : f->pid[i]);
		ck_assert_msg(times == 1, "worker %u accepts from %u listeners", i, times);
	}
}

START_TEST(each_listener_is_shown_with_the_task_that_accepts_from_it)
{
	struct foreign f;
	struct seen s;

	OWN_STEERING();
	ck_assert_int_eq(foreign_start(&f, steerable[_i], 3, FOREIGN_PORT), 0);
	s = look("7480");
	ck_assert_uint_eq(s.n, 3);
	ck_assert_uint_eq(s.steerable, 3);
	ck_assert_str_eq(s.verdict, "yes");
	ck_assert_str_eq(s.address, FOREIGN_AT);
	ck_assert_int_eq(s.reuseport, 1);
	ck_assert_int_eq(s.program, 0);
	ck_assert_uint_eq(s.holders, steerable[_i] == FOREIGN_PROCESSES ? 4 : 1);
	expect_each_has_one(&f, &s, steerable[_i] != FOREIGN_PROCESSES);
	foreign_end(&f);
}
END_TEST

/* Each process holds the listeners of all; one process has an epoll instance for each. */
START_TEST(of_more_workers_than_64_each_is_shown_too)
{
	struct foreign f;
	struct seen s;

	OWN_STEERING();
	ck_assert_int_eq(foreign_start(&f, steerable[_i], 80, FOREIGN_PORT), 0);
	s = look("7480");
	ck_assert_uint_eq(s.n, 80);
	ck_assert_uint_eq(s.steerable, 80);
	expect_each_has_one(&f, &s, steerable[_i] != FOREIGN_PROCESSES);
	foreign_end(&f);
}
END_TEST

/* ------------------------------------------------------------------ listeners side by side */

struct beside {
	const char *address;
	int v6only;
};

/* A process that listens at each, until it hears something; it accepts nothing. */
static void listen_beside(int sock, void *arg)
{
	int one = 1, fd;

	for (const struct beside *b = arg; b->address; b++) {
		struct sockaddr_in6 in6 = { .sin6_family = AF_INET6,
					    .sin6_port = htons(FOREIGN_PORT) };
		struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(FOREIGN_PORT) };
		bool six = inet_pton(AF_INET6, b->address, &in6.sin6_addr) == 1;
		const void *at = six ? (const void *)&in6 : &in;

		inet_pton(AF_INET, b->address, &in.sin_addr);
		fd = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
		if (six)
			setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &b->v6only, sizeof b->v6only);
		if (bind(fd, at, six ? sizeof in6 : sizeof in) < 0 || listen(fd, 8) < 0)
			child_fail("%s: %s", b->address, strerror(errno));
	}
	child_say(sock, 'y');
	while (read(sock, &one, 1) < 0 && errno == EINTR)
		;
}

static void given_beside(struct child *c, struct beside *b)
{
	char y;

	child_start(c, listen_beside, b);
	child_recv(c->sock, &y, 1);
}

static void end_beside(struct child *c)
{
	child_say(c->sock, 'q');
	child_join(c);
}

START_TEST(a_listener_for_ipv6_alone_is_no_sibling_of_one_for_both)
{
	struct beside each[] = { { "::", 0 }, { "::", 1 }, { NULL, 0 } };
	struct child c;
	struct seen s;

	OWN_STEERING();
	given_beside(&c, each);
	s = look("7480");
	ck_assert_uint_eq(s.n, 2);
	ck_assert_uint_eq(s.steerable, 0);
	ck_assert_msg(strstr(s.verdict, "the only listener of its address") != NULL, "%s",
		      s.verdict);
	end_beside(&c);
}
END_TEST

static const struct refused {
	enum foreign_shape shape;
	unsigned n, acceptors;
	const char *why;
} refused[] = {
	{ FOREIGN_SHARED, 3, 3, "3 tasks share" },
	{ FOREIGN_ALONE, 3, 3, "without SO_REUSEPORT" },
	{ FOREIGN_PROCESSES, 1, 1, "the only listener of its address" },
	{ FOREIGN_MPTCP, 2, 1, "MPTCP" },
};
#define REFUSED (int)(sizeof refused / sizeof refused[0])

START_TEST(what_cannot_be_steered_is_said_in_words)
{
	const struct refused *x = &refused[_i];
	struct foreign f;
	struct seen s;

	OWN_STEERING();
	if (foreign_start(&f, x->shape, x->n, FOREIGN_PORT) < 0)
		SKIP("this kernel has no MPTCP");
	s = look(FOREIGN_AT);
	ck_assert_uint_eq(s.steerable, 0);
	ck_assert_uint_eq(s.acceptors, x->acceptors);
	ck_assert_msg(strstr(s.verdict, x->why) != NULL, "%s", s.verdict);
	foreign_end(&f);
}
END_TEST

START_TEST(listeners_are_picked_by_address_and_process)
{
	struct foreign f, g;
	struct seen s;

	OWN_STEERING();
	ck_assert_int_eq(foreign_start(&f, FOREIGN_PROCESSES, 2, FOREIGN_PORT), 0);
	ck_assert_int_eq(foreign_start(&g, FOREIGN_PROCESSES, 3, FOREIGN_PORT), 0);
	ck_assert_uint_eq(look(NULL).n, 5);
	ck_assert_uint_eq(look(":7480").n, 5);
	ck_assert_uint_eq(look("127.0.0.2:7480").n, 0);
	ck_assert_uint_eq(look("7481").n, 0);
	s = (struct seen){ 0 };
	ck_assert_int_eq(
		np_steer_listeners(NP_OPTS(np_steer_find_opts, .pid = g.child.pid), see, &s), 0);
	ck_assert_uint_eq(s.n, 3);
	ck_assert_int_eq(np_steer_listeners(NP_OPTS(np_steer_find_opts, .address = "no"), see, &s),
			 -EINVAL);
	ck_assert_int_eq(np_steer_listeners(NP_OPTS(np_steer_find_opts, .address = "0"), see, &s),
			 -EINVAL);
	foreign_end(&f);
	foreign_end(&g);
}
END_TEST

/* What /proc says behind "0::"; "" where there is no such hierarchy. */
static void cgroup_of(pid_t pid, char *dst, size_t cap)
{
	char path[48], line[512];
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/cgroup", pid);
	f = fopen(path, "re");
	dst[0] = '\0';
	while (f && fgets(line, sizeof line, f))
		if (!strncmp(line, "0::", 3))
			snprintf(dst, cap, "%.*s", (int)strcspn(line + 3, "\n"), line + 3);
	if (f)
		fclose(f);
}

START_TEST(listeners_are_picked_by_cgroup)
{
	char path[512], below[520];
	struct seen s = { 0 };
	struct foreign f;

	OWN_STEERING();
	/* That cgroup may have others at the usual port, in other network namespaces. */
	ck_assert_int_eq(foreign_start(&f, FOREIGN_PROCESSES, 3, 0), 0);
	cgroup_of(f.child.pid, path, sizeof path);
	if (!path[0])
		SKIP("there is no cgroup2 hierarchy");
	ck_assert_int_eq(np_steer_listeners(NP_OPTS(np_steer_find_opts, .address = f.address,
						    .cgroup = path),
					    see, &s),
			 0);
	ck_assert_uint_eq(s.n, 3);
	snprintf(below, sizeof below, "%s/none", path);
	ck_assert_int_eq(np_steer_listeners(NP_OPTS(np_steer_find_opts, .address = f.address,
						    .cgroup = below),
					    see, &s),
			 0);
	ck_assert_uint_eq(s.n, 3);
	foreign_end(&f);
}
END_TEST

/* In a child that becomes somebody else. */
static void look_as_somebody(int sock, void *arg)
{
	struct seen s = { 0 };

	become(1234, 0);
	if (np_steer_listeners(NP_OPTS(np_steer_find_opts, .address = FOREIGN_AT), see, &s) != 0)
		child_fail("no list");
	child_send(sock, &s, sizeof s);
}

START_TEST(without_rights_the_list_says_which_are_missing)
{
	struct foreign f;
	struct child c;
	struct seen s;

	OWN_STEERING();
	ck_assert_int_eq(foreign_start(&f, FOREIGN_PROCESSES, 2, FOREIGN_PORT), 0);
	child_start(&c, look_as_somebody, NULL);
	child_recv(c.sock, &s, sizeof s);
	ck_assert_uint_eq(s.n, 2);
	ck_assert_uint_eq(s.steerable, 0);
	ck_assert_int_eq(s.reuseport, -1);
	ck_assert_int_eq(s.program, -1);
	ck_assert_msg(strstr(s.verdict, "CAP_SYS_PTRACE") != NULL, "%s", s.verdict);
	child_join(&c);
	foreign_end(&f);
}
END_TEST

/* ------------------------------------------------------------------ adopted */

START_TEST(adopted_listeners_get_what_the_policy_says_and_are_left_as_they_were)
{
	unsigned got[FOREIGN_MAX];
	struct np_steer *s;
	struct foreign f;

	OWN_STEERING();
	s = given_service("web", "rr");
	ck_assert_int_eq(foreign_start(&f, steerable[_i], 3, FOREIGN_PORT), 0);
	must_adopt(s, "7480", 3);
	foreign_count(FOREIGN_AT, 60, got);
	for (unsigned i = 0; i < 3; i++) {
		struct np_steer_worker_info w = worker(s, i);

		ck_assert_uint_eq(got[i], 20);
		ck_assert_uint_eq(w.steered, 20);
		ck_assert(w.adopted && !w.held);
		ck_assert(!w.counted || w.accepted_total == 20);
		ck_assert_int_gt(w.pid, 0);
		ck_assert_int_gt(w.tid, 0);
	}
	ck_assert_uint_eq(stats(s).steered, 60);
	must_adopt(s, FOREIGN_AT, 3); /* they are already */
	ck_assert_uint_eq(workers(s), 3);
	must_release(s, 3);
	expect_nothing_left(s, FOREIGN_AT, 3);
	foreign_count(FOREIGN_AT, 20, got);
	ck_assert_uint_eq(stats(s).syn_total, 60);
	must_release(s, 0);
	foreign_end(&f);
	end_service(s, "web");
}
END_TEST

/* Nobody watches: they are adopted when that is asked for again. */
START_TEST(listeners_that_come_later_get_nothing_until_they_are_adopted_too)
{
	unsigned got[FOREIGN_MAX];
	struct foreign f, later;
	struct np_steer *s;

	OWN_STEERING();
	s = given_service("web", "rr");
	ck_assert_int_eq(foreign_start(&f, FOREIGN_PROCESSES, 2, FOREIGN_PORT), 0);
	must_adopt(s, FOREIGN_AT, 2);
	ck_assert_int_eq(foreign_start(&later, FOREIGN_PROCESSES, 2, FOREIGN_PORT), 0);
	foreign_count(FOREIGN_AT, 40, got);
	ck_assert_uint_eq(worker(s, 0).steered + worker(s, 1).steered, 40);

	must_adopt(s, FOREIGN_AT, 4);

	foreign_count(FOREIGN_AT, 40, got);
	ck_assert_uint_eq(worker(s, 2).steered + worker(s, 3).steered, 20);
	must_release(s, 4);
	foreign_end(&later);
	foreign_end(&f);
	end_service(s, "web");
}
END_TEST

START_TEST(the_worker_is_named_after_the_task_that_accepts)
{
	struct np_steer *s;
	struct foreign f;
	char name[40];
	bool seen;

	OWN_STEERING();
	s = given_service("web", NULL);
	ck_assert_int_eq(foreign_start(&f, steerable[_i], 3, FOREIGN_PORT), 0);
	must_adopt(s, FOREIGN_AT, 3);
	for (unsigned i = 0; i < 3; i++) {
		pid_t task = steerable[_i] == FOREIGN_PROCESSES ? f.pid[i] : f.tid[i];

		snprintf(name, sizeof name, "-%d", task);
		seen = false;
		for (unsigned w = 0; w < 3; w++)
			seen = seen || (worker(s, w).tid == task && worker(s, w).pid == f.pid[i] &&
					strstr(worker(s, w).name, name));
		ck_assert_msg(seen, "no worker is %d", task);
	}
	must_release(s, 3);
	foreign_end(&f);
	end_service(s, "web");
}
END_TEST

START_TEST(several_addresses_of_one_worker_share_its_number)
{
	unsigned got[FOREIGN_MAX];
	struct np_steer *s;
	struct foreign f;

	OWN_STEERING();
	s = given_service("web", "rr");
	ck_assert_int_eq(foreign_start(&f, FOREIGN_TWO_PORTS, 3, FOREIGN_PORT), 0);
	must_adopt(s, "7480", 3);
	must_adopt(s, "7481", 3);
	ck_assert_uint_eq(workers(s), 3);
	ck_assert_int_eq(np_steer_drain(s, 1), 0); /* of both addresses */
	foreign_count("127.0.0.1:7480", 20, got);
	ck_assert_uint_eq(worker(s, 1).steered, 0);
	foreign_count("127.0.0.1:7481", 20, got);
	ck_assert_uint_eq(worker(s, 1).steered, 0);
	ck_assert_int_eq(np_steer_undrain(s, 1), 0);
	ck_assert_int_eq(np_steer_release(s, NP_OPTS(np_steer_adopt_opts, .address = "7480")), 3);
	ck_assert_uint_eq(workers(s), 3);
	ck_assert_int_eq(look("7480").program, 0);
	ck_assert_int_eq(look("7481").program, 1);
	must_release(s, 3);
	expect_nothing_left(s, "7481", 3);
	foreign_end(&f);
	end_service(s, "web");
}
END_TEST

static void count_foreseen(void *arg, const struct np_steer_adoption *a)
{
	unsigned *n = arg;

	ck_assert_int_eq(a->result, 1);
	ck_assert_int_eq(a->worker, -1);
	ck_assert_str_ne(a->name, "");
	++*n;
}

START_TEST(a_dry_run_says_what_would_be_and_changes_nothing)
{
	struct np_steer *s;
	struct foreign f;
	unsigned n = 0;

	OWN_STEERING();
	s = given_service("web", NULL);
	ck_assert_int_eq(foreign_start(&f, FOREIGN_PROCESSES, 3, FOREIGN_PORT), 0);
	ck_assert_int_eq(
		np_steer_adopt(s,
			       NP_OPTS(np_steer_adopt_opts, .address = FOREIGN_AT, .dry_run = true),
			       count_foreseen, &n),
		3);
	ck_assert_uint_eq(n, 3);
	expect_nothing_left(s, FOREIGN_AT, 3);
	foreign_end(&f);
	end_service(s, "web");
}
END_TEST

START_TEST(what_cannot_be_steered_is_not_adopted)
{
	const struct refused *x = &refused[_i];
	struct np_steer *s;
	struct foreign f;

	OWN_STEERING();
	s = given_service("web", NULL);
	if (foreign_start(&f, x->shape, x->n, FOREIGN_PORT) < 0)
		SKIP("this kernel has no MPTCP");
	fails(adopt(s, FOREIGN_AT), -NP_EUNSUPPORTED, x->why, s);
	expect_nothing_left(s, FOREIGN_AT, look(FOREIGN_AT).n);
	foreign_end(&f);
	fails(adopt(s, FOREIGN_AT), -ENOENT, "nobody listens", s);
	fails(adopt(s, "x"), -EINVAL, "not an address", s);
	fails(adopt(s, NULL), -EINVAL, "which port", s);
	end_service(s, "web");
}
END_TEST

/* The third of its listeners finds no number. */
START_TEST(an_adoption_that_fails_leaves_no_program_behind)
{
	struct np_steer_worker *own[NP_WORKERS - 2];
	struct foreign f;
	struct np_steer *s;

	OWN_STEERING();
	ck_assert_int_eq(foreign_start(&f, FOREIGN_PROCESSES, 3, FOREIGN_PORT), 0);
	s = given_service("web", "rr");
	for (unsigned i = 0; i < NP_WORKERS - 2; i++)
		ck_assert_int_eq(np_steer_worker(s, "own", &own[i]), 0);
	fails(adopt(s, "7480"), -ENOSPC, "all 256 workers", s);
	ck_assert_int_eq(look("7480").program, 0);
	foreign_ask(FOREIGN_AT);
	for (unsigned i = 0; i < NP_WORKERS - 2; i++)
		ck_assert_int_eq(np_steer_worker_close(&own[i]), 0);
	expect_nothing_left(s, "7480", 3);
	end_service(s, "web");
	foreign_end(&f);
}
END_TEST

START_TEST(the_list_says_which_service_steers_a_listener)
{
	struct np_steer *s;
	struct foreign f;
	struct seen now;

	OWN_STEERING();
	s = given_service("web", "rr");
	ck_assert_int_eq(foreign_start(&f, FOREIGN_PROCESSES, 2, FOREIGN_PORT), 0);
	must_adopt(s, FOREIGN_AT, 2);
	now = look(FOREIGN_AT);
	ck_assert_str_eq(now.verdict, "yes: the service web steers it");
	ck_assert_uint_eq(now.steerable, 2);
	must_release(s, 2);
	ck_assert_str_eq(look(FOREIGN_AT).verdict, "yes");
	foreign_end(&f);
	end_service(s, "web");
}
END_TEST

START_TEST(a_second_service_is_refused_and_the_first_goes_on)
{
	struct np_steer *first, *second;
	unsigned got[FOREIGN_MAX];
	struct foreign f;

	OWN_STEERING();
	first = given_service("web", "rr");
	second = given_service("other", "rr");
	ck_assert_int_eq(foreign_start(&f, FOREIGN_PROCESSES, 2, FOREIGN_PORT), 0);
	must_adopt(first, FOREIGN_AT, 2);
	fails(adopt(second, FOREIGN_AT), -EBUSY, "another service, web: `npsteer release web`",
	      second);
	fails(np_steer_adopt(second,
			     NP_OPTS(np_steer_adopt_opts, .address = FOREIGN_AT, .force = true),
			     NULL, NULL),
	      -EBUSY, "another service", second);
	foreign_count(FOREIGN_AT, 40, got);
	ck_assert_uint_eq(stats(first).steered, 40);
	ck_assert_uint_eq(got[0], 20);
	ck_assert_uint_eq(workers(second), 0);
	must_release(second, 0);
	must_release(first, 2);
	must_adopt(second, FOREIGN_AT, 2);
	must_release(second, 2);
	foreign_end(&f);
	end_service(second, "other");
	end_service(first, "web");
}
END_TEST

START_TEST(a_program_of_the_servers_own_is_replaced_by_force_only)
{
	unsigned got[FOREIGN_MAX];
	struct np_steer *s;
	struct foreign f;

	OWN_STEERING();
	s = given_service("web", "rr");
	ck_assert_int_eq(foreign_start(&f, FOREIGN_PROGRAM, 2, FOREIGN_PORT), 0);
	fails(adopt(s, FOREIGN_AT), -EBUSY, "--force", s);
	ck_assert_msg(strstr(look(FOREIGN_AT).verdict, "--force") != NULL, "no --force");
	foreign_count(FOREIGN_AT, 10, got);
	ck_assert_uint_eq(got[0], 10); /* its program says so */
	ck_assert_int_eq(
		np_steer_adopt(s,
			       NP_OPTS(np_steer_adopt_opts, .address = FOREIGN_AT, .force = true),
			       NULL, NULL),
		2);
	foreign_count(FOREIGN_AT, 10, got);
	ck_assert_uint_eq(got[0], 5);
	must_release(s, 2);
	foreign_end(&f);
	end_service(s, "web");
}
END_TEST

/* ------------------------------------------------------------------ beside native workers */

START_TEST(a_claim_passes_the_numbers_of_adopted_workers_over)
{
	struct np_steer_worker *w, *again;
	struct np_steer *s;
	struct foreign f;

	OWN_STEERING();
	s = given_service("web", NULL);
	ck_assert_int_eq(foreign_start(&f, FOREIGN_PROCESSES, 3, FOREIGN_PORT), 0);
	must_adopt(s, FOREIGN_AT, 3);
	ck_assert_int_eq(np_steer_worker(s, "native", &w), 0);
	ck_assert_int_eq(np_steer_worker_index(w), 3);
	ck_assert_str_eq(worker(s, 3).name, "native");
	foreign_end(&f);
	ck_assert_uint_eq(workers(s), 1); /* they went with their server */
	ck_assert_int_eq(np_steer_worker(s, "again", &again), 0);
	ck_assert_int_eq(np_steer_worker_index(again), 0);
	ck_assert(!worker(s, 0).adopted);
	ck_assert_int_eq(np_steer_worker_close(&w), 0);
	ck_assert_int_eq(np_steer_worker_close(&again), 0);
	end_service(s, "web");
}
END_TEST

START_TEST(release_leaves_the_services_own_workers_and_their_program)
{
	struct np_steer_worker *w;
	struct np_steer *s;
	struct foreign f;
	int fd, c;

	OWN_STEERING();
	s = given_service("web", "rr");
	ck_assert_int_eq(foreign_start(&f, FOREIGN_PROCESSES, 2, FOREIGN_PORT), 0);
	must_adopt(s, FOREIGN_AT, 2);
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
	foreign_end(&f);
	end_service(s, "web");
}
END_TEST

static unsigned descriptors(void)
{
	unsigned n = 0;
	DIR *d = opendir("/proc/self/fd");

	ck_assert_ptr_nonnull(d);
	while (readdir(d))
		n++;
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
	before = descriptors(); /* the service's programs are open now */
	must_adopt(s, "7480", 4);
	must_release(s, 4);
	ck_assert_uint_eq(descriptors(), before);
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
	s = given_service("web", NULL);
	ck_assert_int_eq(foreign_start(&f, FOREIGN_PROCESSES, 2, FOREIGN_PORT), 0);
	must_adopt(s, FOREIGN_AT, 2);
	ck_assert_int_eq(np_steer_unload("web", NP_OPTS(np_steer_load_opts, .error = why,
							.error_cap = sizeof why)),
			 -EBUSY);
	ck_assert_msg(strstr(why, "npsteer release web") != NULL, "%s", why);
	must_release(s, 2);
	foreign_end(&f);
	end_service(s, "web");
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

/* A listener that is shut is listened on again by a server of this library, and by no other. */
START_TEST(no_watchdog_shuts_the_listener_of_an_adopted_worker)
{
	int fds[16], done;
	struct np_steer *s;
	struct foreign f;
	char letter;

	OWN_STEERING();
	s = given_service("web", "hash");
	ck_assert_int_eq(np_steer_set_hang_ms(s, 20), 0);
	ck_assert_int_eq(foreign_start(&f, FOREIGN_PROCESSES, 2, FOREIGN_PORT), 0);
	must_adopt(s, FOREIGN_AT, 2);
	stop_process(f.pid[0]);
	for (unsigned i = 0; i < 16; i++) {
		fds[i] = client_connect(FOREIGN_AT);
		ck_assert_int_ge(fds[i], 0);
	}
	done = np_steer_rescue(s, 300);
	ck_assert_msg(done == 0 || done == -ETIMEDOUT /* a busy machine */, "%d", done);
	ck_assert_uint_eq(worker(s, 0).rescued + worker(s, 1).rescued, 0);
	kill(f.pid[0], SIGCONT);
	for (unsigned i = 0; i < 16; i++) {
		await_fd(fds[i], POLLIN);
		ck_assert_int_eq(recv(fds[i], &letter, 1, 0), 1);
		client_close(&fds[i]);
	}
	ck_assert_uint_eq(workers(s), 2);
	must_release(s, 2);
	foreign_end(&f);
	end_service(s, "web");
}
END_TEST

/* ------------------------------------------------------------------ what may go wrong */

START_TEST(a_descriptor_that_is_another_socket_by_now_is_not_adopted)
{
	struct find_query q;
	struct foreign f;
	struct find found;
	int fd = -1;

	OWN_STEERING();
	ck_assert_int_eq(foreign_start(&f, FOREIGN_PROCESSES, 2, FOREIGN_PORT), 0);
	ck_assert_int_eq(find_parse(&q, FOREIGN_AT), 0);
	ck_assert_int_eq(find_run(&found, &q), 0);
	ck_assert_uint_eq(found.n, 2);
	ck_assert_int_eq(find_take(&found.all[0], &fd), 0);
	close(fd);
	for (unsigned i = 0; i < found.all[0].holders; i++)
		found.all[0].holder[i].number = found.all[1].holder[0].number; /* used again */
	ck_assert_int_eq(find_take(&found.all[0], &fd), -ESTALE);
	for (unsigned i = 0; i < found.all[0].holders; i++)
		found.all[0].holder[i].pid = getpid(); /* likewise */
	ck_assert_int_eq(find_take(&found.all[0], &fd), -ESTALE);
	foreign_end(&f);
	find_fini(&found);
}
END_TEST

/* In a child with capabilities of the machine's root but the one that it takes. */
static void do_without_ptrace(int sock, void *arg)
{
	int (*deed)(struct np_steer * s) = arg;
	uint64_t all = 1ull << CAP_BPF | 1ull << CAP_PERFMON | 1ull << CAP_NET_ADMIN;
	struct np_steer *s;
	int r;

	become(0, all);
	r = np_steer_open("web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN, .rescue = NP_OFF),
			  &s);
	if (r < 0)
		child_fail("the service cannot be joined: %d", r);
	r = deed(s);
	child_send(sock, &r, sizeof r);
	snprintf(why, sizeof why, "%s", np_steer_error(s));
	child_send(sock, why, sizeof why);
}

static int adopt_usual(struct np_steer *s)
{
	return adopt(s, FOREIGN_AT);
}

static void fails_without_ptrace(int (*deed)(struct np_steer *s))
{
	struct child c;
	int r;

	child_start(&c, do_without_ptrace, deed);
	child_recv(c.sock, &r, sizeof r);
	child_recv(c.sock, why, sizeof why);
	child_join(&c);
	ck_assert_int_eq(r, -EPERM);
	ck_assert_msg(strstr(why, "CAP_SYS_PTRACE") != NULL, "%s", why);
}

START_TEST(without_ptrace_nothing_is_adopted_and_the_sentence_says_so)
{
	struct np_steer *s;
	struct foreign f;

	OWN_STEERING();
	s = given_service("web", NULL);
	ck_assert_int_eq(foreign_start(&f, FOREIGN_PROCESSES, 2, FOREIGN_PORT), 0);
	fails_without_ptrace(adopt_usual);
	expect_nothing_left(s, FOREIGN_AT, 2);
	foreign_end(&f);
	end_service(s, "web");
}
END_TEST

START_TEST(a_release_without_ptrace_says_that_the_program_is_there_still)
{
	struct np_steer *s;
	struct foreign f;

	OWN_STEERING();
	s = given_service("web", NULL);
	ck_assert_int_eq(foreign_start(&f, FOREIGN_PROCESSES, 2, FOREIGN_PORT), 0);
	must_adopt(s, FOREIGN_AT, 2);
	fails_without_ptrace(release);
	ck_assert_int_eq(look(FOREIGN_AT).program, 1);
	foreign_ask(FOREIGN_AT);
	must_release(s, 0);
	expect_nothing_left(s, FOREIGN_AT, 2);
	foreign_end(&f);
	end_service(s, "web");
}
END_TEST

START_TEST(a_listener_bound_to_port_0_is_adopted_at_the_port_it_got)
{
	unsigned got[FOREIGN_MAX];
	struct np_steer *s;
	struct foreign f;

	OWN_STEERING();
	s = given_service("web", "rr");
	ck_assert_int_eq(foreign_start(&f, FOREIGN_PROCESSES, 2, 0), 0);
	must_adopt(s, f.address, 2);
	foreign_count(f.address, 20, got);
	ck_assert_uint_eq(got[0], 10);
	must_release(s, 2);
	foreign_count(f.address, 20, got);
	foreign_end(&f);
	end_service(s, "web");
}
END_TEST

/* ------------------------------------------------------------------ in other namespaces */

static int count_queue(void *arg, const struct np_steer_queue *q)
{
	ck_assert_uint_eq(q->queued, 0);
	ck_assert_uint_gt(q->backlog, 0);
	++*(unsigned *)arg;
	return 0;
}

START_TEST(a_server_in_namespaces_of_its_own_is_adopted_from_outside)
{
	bool rootless = _i;
	unsigned got[FOREIGN_MAX], seen = 0;
	struct np_steer *s;
	struct child c;
	pid_t pid;
	int r;

	OWN_STEERING();
	s = given_service("web", "rr");
	child_start(&c, run_apart, &rootless);
	child_recv(c.sock, &r, sizeof r);
	child_recv(c.sock, &pid, sizeof pid);
	ck_assert_int_eq(r, 0);
	fails(adopt(s, FOREIGN_AT), -ENOENT, "nobody listens", s); /* not in this one */
	r = np_steer_adopt(s, NP_OPTS(np_steer_adopt_opts, .address = FOREIGN_AT, .pid = pid), NULL,
			   NULL);
	ck_assert_msg(r == 2, "%d %s", r, np_steer_error(s));
	child_say(c.sock, 'g');
	child_recv(c.sock, got, sizeof got);
	ck_assert_uint_eq(got[0], 20);
	ck_assert_uint_eq(stats(s).steered, 40);
	ck_assert_int_eq(np_steer_queues(s, count_queue, &seen), 0);
	ck_assert_uint_eq(seen, 2);
	must_release(s, 2);
	ck_assert_uint_eq(workers(s), 0);
	child_say(c.sock, 'q');
	child_join(&c);
	end_service(s, "web");
}
END_TEST

/* ------------------------------------------------------------------ killed */

#ifdef NP_FAULT

enum { KILL_ADOPT, KILL_RELEASE };

/* True: it was killed at the @nth call. False: there is no such call any more. */
static bool kill_at(int what, enum sys_call call, unsigned nth)
{
	struct np_steer *s;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (np_steer_open("web",
				  NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN, .rescue = NP_OFF),
				  &s) < 0)
			_exit(2);
		sys_fault_arm(call, nth, SYS_FAULT_KILL);
		_exit((what == KILL_ADOPT ? adopt(s, FOREIGN_AT) : release(s)) < 0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return true;
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%u: status %#x", nth, status);
	return false;
}

static const struct killing {
	int what;
	enum sys_call call;
} killings[] = {
	{ KILL_ADOPT, SYS_bpf },
	{ KILL_ADOPT, SYS_setsockopt },
	{ KILL_RELEASE, SYS_bpf },
	{ KILL_RELEASE, SYS_setsockopt },
};
#define KILLINGS (int)(sizeof killings / sizeof killings[0])

START_TEST(killed_at_any_step_the_server_serves_and_the_next_one_goes_on)
{
	const struct killing *k = &killings[_i];
	unsigned got[FOREIGN_MAX], nth = 0;
	struct np_steer *s;
	struct foreign f;

	OWN_STEERING();
	s = given_service("web", "rr");
	ck_assert_int_eq(foreign_start(&f, FOREIGN_PROCESSES, 2, FOREIGN_PORT), 0);
	for (bool killed = true; killed;) {
		nth = getenv("NP_EACH_STEP") ? nth + 1 : nth + nth / 2 + 1; /* check-steer-long */
		if (k->what == KILL_RELEASE)
			must_adopt(s, FOREIGN_AT, 2);
		killed = kill_at(k->what, k->call, nth);
		foreign_count(FOREIGN_AT, 6, got);
		must_adopt(s, FOREIGN_AT, 2);
		foreign_count(FOREIGN_AT, 6, got);
		ck_assert_uint_eq(got[0], 3);
		ck_assert_uint_eq(workers(s), 2);
		ck_assert_int_ge(release(s), 2);
		expect_nothing_left(s, FOREIGN_AT, 2);
	}
	ck_assert_uint_gt(nth, 1);
	foreign_end(&f);
	end_service(s, "web");
}
END_TEST

#endif

int main(void)
{
	Suite *s = suite_create("steer_adopt");
	TCase *t = tcase_create("listeners");

	tcase_add_loop_test(t, each_listener_is_shown_with_the_task_that_accepts_from_it, 0, 3);
	tcase_add_loop_test(t, of_more_workers_than_64_each_is_shown_too, 0, 3);
	tcase_add_test(t, a_listener_for_ipv6_alone_is_no_sibling_of_one_for_both);
	tcase_add_loop_test(t, what_cannot_be_steered_is_said_in_words, 0, REFUSED);
	tcase_add_test(t, listeners_are_picked_by_address_and_process);
	tcase_add_test(t, listeners_are_picked_by_cgroup);
	tcase_add_test(t, without_rights_the_list_says_which_are_missing);
	suite_add_tcase(s, t);
	t = tcase_create("adopted");
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, adopted_listeners_get_what_the_policy_says_and_are_left_as_they_were,
			    0, 3);
	tcase_add_test(t, listeners_that_come_later_get_nothing_until_they_are_adopted_too);
	tcase_add_loop_test(t, the_worker_is_named_after_the_task_that_accepts, 0, 3);
	tcase_add_test(t, several_addresses_of_one_worker_share_its_number);
	tcase_add_test(t, a_dry_run_says_what_would_be_and_changes_nothing);
	tcase_add_loop_test(t, what_cannot_be_steered_is_not_adopted, 0, REFUSED);
	tcase_add_test(t, an_adoption_that_fails_leaves_no_program_behind);
	tcase_add_test(t, the_list_says_which_service_steers_a_listener);
	tcase_add_test(t, a_second_service_is_refused_and_the_first_goes_on);
	tcase_add_test(t, a_program_of_the_servers_own_is_replaced_by_force_only);
	suite_add_tcase(s, t);
	t = tcase_create("beside");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_claim_passes_the_numbers_of_adopted_workers_over);
	tcase_add_test(t, release_leaves_the_services_own_workers_and_their_program);
	tcase_add_test(t, release_takes_the_program_off_each_group_of_an_address);
	tcase_add_loop_test(t, release_leaves_nothing_whatever_a_member_has_written, 0, SPOILT);
	tcase_add_test(t, a_release_has_no_dry_run);
	tcase_add_test(t, a_service_with_adopted_workers_is_not_unloaded);
	tcase_add_test(t, unloaded_by_force_a_service_releases_what_it_had_adopted);
	tcase_add_test(t, no_watchdog_shuts_the_listener_of_an_adopted_worker);
	suite_add_tcase(s, t);
	t = tcase_create("wrong");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_descriptor_that_is_another_socket_by_now_is_not_adopted);
	tcase_add_test(t, without_ptrace_nothing_is_adopted_and_the_sentence_says_so);
	tcase_add_test(t, a_release_without_ptrace_says_that_the_program_is_there_still);
	tcase_add_test(t, a_listener_bound_to_port_0_is_adopted_at_the_port_it_got);
	tcase_add_loop_test(t, a_server_in_namespaces_of_its_own_is_adopted_from_outside, 0, 2);
	suite_add_tcase(s, t);
	t = tcase_create("killed");
	tcase_set_timeout(t, getenv("NP_EACH_STEP") ? 1800 : 240);
#ifdef NP_FAULT
	tcase_add_loop_test(t, killed_at_any_step_the_server_serves_and_the_next_one_goes_on, 0,
			    KILLINGS);
#endif
	suite_add_tcase(s, t);
	return run_suite(s);
}

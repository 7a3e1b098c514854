/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_find: servers that know nothing of this library: how their listeners lie, who holds them,
 * and who accepts
 */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "netpoll/steer_admin.h"
#include "steer/find.h"
#include "support/adopted.h"
#include "support/beside.h"
#include "support/foreign.h"
#include "support/privilege.h"
#include "support/restrict.h"
#include "support/steer.h"
#include "support/test.h"

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

/* In a child that may look into any process, and load no program. */
static void look_without_bpf(int sock, void *arg)
{
	struct seen s;

	become(0, 1ull << CAP_SYS_PTRACE);
	s = look(FOREIGN_AT);
	child_send(sock, &s, sizeof s);
}

START_TEST(without_bpf_links_tell_the_same_but_for_the_program)
{
	struct seen whole, links;
	struct foreign f;
	struct child c;

	OWN_STEERING();
	ck_assert_int_eq(foreign_start(&f, steerable[_i], 3, FOREIGN_PORT), 0);
	whole = look(FOREIGN_AT);
	child_start(&c, look_without_bpf, NULL);
	child_recv(c.sock, &links, sizeof links);
	child_join(&c);
	ck_assert_int_eq(links.program, -1);
	ck_assert_int_eq(whole.program, 0);
	links.program = 0;
	ck_assert_mem_eq(&links, &whole, sizeof whole);
	expect_each_has_one(&f, &links, steerable[_i] != FOREIGN_PROCESSES);
	foreign_end(&f);
}
END_TEST

/* In a PID namespace inside of that whose /proc is there. */
static void look_from_inside(int sock, void *arg)
{
	struct seen s;

	if (unshare(CLONE_NEWPID) < 0)
		child_fail("no PID namespace: %s", strerror(errno));
	if (fork() != 0) {
		while (wait(NULL) < 0 && errno == EINTR)
			;
		return;
	}
	s = look(FOREIGN_AT);
	child_send(sock, &s, sizeof s);
	_exit(0);
}

START_TEST(from_a_pid_namespace_inside_of_that_of_proc_nobody_outside_is_seen)
{
	struct foreign f;
	struct child c;
	struct seen s;

	OWN_STEERING();
	ck_assert_int_eq(foreign_start(&f, FOREIGN_PROCESSES, 2, FOREIGN_PORT), 0);
	child_start(&c, look_from_inside, NULL);
	child_recv(c.sock, &s, sizeof s);
	child_join(&c);
	ck_assert_uint_eq(s.n, 2);
	ck_assert_uint_eq(s.steerable, 0);
	ck_assert_msg(strstr(s.verdict, "no process that can be seen from this PID namespace") !=
			      NULL,
		      "%s", s.verdict);
	foreign_end(&f);
}
END_TEST

/* A server in there is held by processes that have one number inside, and another in /proc. */
static void serve_and_look_inside(int sock, void *arg)
{
	struct foreign f;
	struct seen s;
	int r;

	if (unshare(CLONE_NEWPID) < 0)
		child_fail("no PID namespace: %s", strerror(errno));
	if (fork() != 0) {
		while (wait(NULL) < 0 && errno == EINTR)
			;
		return;
	}
	r = foreign_start(&f, FOREIGN_PROCESSES, 2, FOREIGN_PORT);
	s = look(FOREIGN_AT);
	child_send(sock, &r, sizeof r);
	child_send(sock, &s, sizeof s);
	foreign_end(&f);
	_exit(0);
}

START_TEST(a_server_in_there_is_seen_under_the_numbers_of_proc)
{
	struct child c;
	struct seen s;
	int r;

	OWN_STEERING();
	child_start(&c, serve_and_look_inside, NULL);
	child_recv(c.sock, &r, sizeof r);
	child_recv(c.sock, &s, sizeof s);
	child_join(&c);
	ck_assert_int_eq(r, 0);
	ck_assert_str_eq(s.verdict, "yes");
	ck_assert_uint_eq(s.alone, 2);
	ck_assert_int_gt(s.acceptor[0].pid, c.pid); /* inside they are 3 and 4 */
	ck_assert_int_gt(s.acceptor[1].pid, c.pid);
}
END_TEST

#define APART 24 /* servers, each in a network namespace of its own */
#define FEW   14 /* descriptors for the one who looks */

/* Says its listener's cookie, which is another one in each network namespace of the machine. */
static void listen_apart(int sock, void *arg)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(FOREIGN_PORT) };
	uint64_t cookie = 0;
	socklen_t len = sizeof cookie;
	int fd = own_netns() < 0 ? -1 : socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 8) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) < 0)
		child_fail("no listener: %s", strerror(errno));
	child_send(sock, &cookie, sizeof cookie);
	child_hear(sock);
}

static bool was_found(const struct find *f, uint64_t cookie)
{
	for (unsigned i = 0; i < f->n; i++)
		if (f->all[i].d.cookie == cookie)
			return true;
	return false;
}

START_TEST(more_network_namespaces_than_descriptors_are_all_looked_at)
{
	struct find_query q;
	struct child c[APART];
	uint64_t cookie[APART];
	struct find f;
	int r;

	OWN_STEERING();
	for (unsigned i = 0; i < APART; i++) {
		child_start(&c[i], listen_apart, NULL);
		child_recv(c[i].sock, &cookie[i], sizeof cookie[i]);
	}
	ck_assert_int_eq(find_parse(&q, "7480"), 0);
	q.everywhere = true;
	limit_fds(FEW);
	r = find_run(&f, &q);
	ck_assert_msg(r == 0, "%d %s", r, f.why);
	for (unsigned i = 0; i < APART; i++)
		ck_assert_msg(was_found(&f, cookie[i]), "server %u is not found", i);
	find_fini(&f);
	for (unsigned i = 0; i < APART; i++) {
		child_say(c[i].sock, '.');
		child_join(&c[i]);
	}
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "listeners");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, each_listener_is_shown_with_the_task_that_accepts_from_it, 0, 3);
	tcase_add_loop_test(t, of_more_workers_than_64_each_is_shown_too, 0, 3);
	tcase_add_test(t, a_listener_for_ipv6_alone_is_no_sibling_of_one_for_both);
	tcase_add_loop_test(t, what_cannot_be_steered_is_said_in_words, 0, REFUSED);
	tcase_add_test(t, listeners_are_picked_by_address_and_process);
	tcase_add_test(t, listeners_are_picked_by_cgroup);
	tcase_add_test(t, without_rights_the_list_says_which_are_missing);
	tcase_add_loop_test(t, without_bpf_links_tell_the_same_but_for_the_program, 0, 3);
	tcase_add_test(t, from_a_pid_namespace_inside_of_that_of_proc_nobody_outside_is_seen);
	tcase_add_test(t, a_server_in_there_is_seen_under_the_numbers_of_proc);
	tcase_add_test(t, more_network_namespaces_than_descriptors_are_all_looked_at);
}

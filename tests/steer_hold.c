/* SPDX-License-Identifier: BSD-2-Clause */
/* steer_hold: servers that are watched, and whose listeners are held while they are away */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "netpoll/steer_admin.h"
#include "steer/steer.h"
#include "support/adopted.h"
#include "support/foreign.h"
#include "support/privilege.h"
#include "support/steer.h"
#include "support/test.h"

/* A server of two workers, which the keeper has adopted. */
static struct np_steer *given_watched(struct foreign *f, struct child *c, int hold_ms,
				      const char *policy)
{
	struct np_steer *s = given_service("web", policy);

	ck_assert_int_eq(foreign_start(f, FOREIGN_PROCESSES, 2, FOREIGN_PORT), 0);
	given_keeper(c, &(struct keeping){ .hold_ms = hold_ms });
	await_workers(s, 2);
	return s;
}

static unsigned held(struct np_steer *s)
{
	unsigned n = 0;

	for (unsigned w = 0; w < 32; w++)
		n += worker(s, w).held;
	return n;
}

START_TEST(a_server_that_comes_later_and_again_is_adopted_each_time)
{
	unsigned got[FOREIGN_MAX];
	struct np_steer *s;
	struct foreign f;
	struct child c;

	OWN_STEERING();
	s = given_service("web", "rr");
	given_keeper(&c, &(struct keeping){ .hold_ms = 0 });
	for (unsigned n = 2; n < 5; n++) {
		ck_assert_int_eq(foreign_start(&f, FOREIGN_PROCESSES, n, FOREIGN_PORT), 0);
		await_workers(s, n);
		foreign_count(FOREIGN_AT, 4 * n, got);
		ck_assert_uint_eq(got[0], 4);
		foreign_end(&f);
		await_workers(s, 0);
	}
	end_keeper(&c);
	end_service(s, "web");
}
END_TEST

START_TEST(while_its_server_is_away_clients_wait_and_its_successor_answers_them)
{
	int fds[40];
	struct np_steer *s;
	struct foreign f, g;
	struct child c;

	OWN_STEERING();
	s = given_service("web", "rr");
	ck_assert_int_eq(foreign_start(&f, steerable[_i], 3, FOREIGN_PORT), 0);
	given_keeper(&c, &(struct keeping){ .hold_ms = 20000 });
	await_workers(s, 3);
	foreign_end(&f);
	AWAIT(held(s) == 3);
	ck_assert_int_eq(queue_up(FOREIGN_AT, fds, 40), 0);
	ck_assert_int_eq(foreign_start(&g, steerable[_i], 2, FOREIGN_PORT), 0);
	expect_letters(fds, 40);
	AWAIT(workers(s) == 2 && held(s) == 0);
	ck_assert_uint_eq(stats(s).migrated_child, 40);
	ck_assert_uint_eq(stats(s).migrated_none, 0);
	end_keeper(&c);
	must_release(s, 2);
	expect_nothing_left(s, FOREIGN_AT, 2);
	foreign_end(&g);
	end_service(s, "web");
}
END_TEST

START_TEST(a_server_that_does_not_come_back_is_held_no_longer_than_asked)
{
	int fds[8];
	struct np_steer *s;
	struct foreign f;
	struct child c;
	char letter;

	OWN_STEERING();
	s = given_watched(&f, &c, 1000, NULL);
	foreign_end(&f);
	ck_assert_int_eq(queue_up(FOREIGN_AT, fds, 8), 0);
	for (int i = 0; i < 8; i++) {
		await_fd(fds[i], POLLIN);
		ck_assert_int_eq(recv(fds[i], &letter, 1, 0), -1);
		ck_assert_int_eq(errno, ECONNRESET);
		close(fds[i]);
	}
	AWAIT(client_connect(FOREIGN_AT) == -ECONNREFUSED);
	ck_assert_uint_eq(workers(s), 0);
	end_keeper(&c);
	end_service(s, "web");
}
END_TEST

/* The hold is what keeps the socket of a listener that its server has closed. */
START_TEST(what_waits_at_a_listener_that_is_closed_alone_goes_to_its_siblings)
{
	int fds[30];
	struct np_steer *s;
	struct foreign f, g;
	struct child c;

	OWN_STEERING();
	s = given_service("web", "rr");
	ck_assert_int_eq(foreign_start(&f, FOREIGN_THREADS, 2, FOREIGN_PORT), 0);
	ck_assert_int_eq(foreign_start(&g, FOREIGN_THREADS, 2, FOREIGN_PORT), 0);
	given_keeper(&c, &(struct keeping){ .hold_ms = 20000 });
	await_workers(s, 4);
	stop_process(f.pid[0]);
	ck_assert_int_eq(queue_up(FOREIGN_AT, fds, 30), 0);
	kill(f.pid[0], SIGKILL);
	expect_letters(fds, 30);
	await_workers(s, 2);
	ck_assert_uint_eq(held(s), 0);
	close(f.child.sock);
	ck_assert_int_eq(waitpid(f.child.pid, NULL, 0), f.child.pid);
	end_keeper(&c);
	must_release(s, 2);
	foreign_end(&g);
	end_service(s, "web");
}
END_TEST

/* The folder whose lock says who watches, from this network namespace. */
static const char *keeper_folder(const struct np_steer *s)
{
	static char path[sizeof s->dir + 64];
	struct stat st;

	ck_assert_int_eq(stat("/proc/self/ns/net", &st), 0);
	snprintf(path, sizeof path, "%s/keeper-7480-%llu", s->dir, (unsigned long long)st.st_ino);
	return path;
}

static int watch_briefly(struct np_steer *s)
{
	return np_steer_keep(s, NP_OPTS(np_steer_adopt_opts, .address = "7480"), 30);
}

START_TEST(a_keeper_that_is_killed_leaves_the_server_steered_and_nothing_open)
{
	unsigned got[FOREIGN_MAX];
	struct np_steer *s;
	struct foreign f;
	struct child c;

	OWN_STEERING();
	s = given_watched(&f, &c, 20000, "rr");
	child_kill(&c);
	foreign_count(FOREIGN_AT, 20, got);
	ck_assert_uint_eq(got[0], 10);
	foreign_end(&f);
	ck_assert_int_eq(client_connect(FOREIGN_AT), -ECONNREFUSED);
	ck_assert_uint_eq(workers(s), 0);
	ck_assert_int_eq(access(keeper_folder(s), F_OK), 0);
	ck_assert_int_eq(watch_briefly(s), 0);
	ck_assert_int_eq(access(keeper_folder(s), F_OK), -1);
	end_service(s, "web");
}
END_TEST

/* Each would take what the other keeps for the server's. */
START_TEST(one_port_of_a_service_has_one_keeper)
{
	struct np_steer *s;
	struct foreign f;
	struct child c;

	OWN_STEERING();
	s = given_watched(&f, &c, 1000, NULL);
	fails(np_steer_keep(s, NP_OPTS(np_steer_adopt_opts, .address = "7480"), -1), -EBUSY,
	      "another process watches", s);
	snprintf(why, sizeof why, "process %d (", c.pid);
	ck_assert_msg(strstr(np_steer_error(s), why) != NULL, "%s", np_steer_error(s));
	end_keeper(&c);
	ck_assert_int_eq(watch_briefly(s), 0);
	must_release(s, 2);
	foreign_end(&f);
	end_service(s, "web");
}
END_TEST

/* In a child that becomes somebody else. 0, or the error that says it cannot. */
static void get_in_the_way(int sock, void *arg)
{
	int fd = -1, r;

	become(1234, 0);
	r = mkdir(arg, 0700) < 0 ? errno : 0;
	child_send(sock, &r, sizeof r);
	fd = open(arg, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = fd < 0 ? errno : 0;
	child_send(sock, &r, sizeof r);
}

START_TEST(another_user_cannot_get_in_the_way_of_a_watch)
{
	struct np_steer *s;
	struct child c;
	int made, opened;

	OWN_STEERING();
	s = given_service("web", NULL);
	child_start(&c, get_in_the_way, (void *)keeper_folder(s));
	child_recv(c.sock, &made, sizeof made);
	child_recv(c.sock, &opened, sizeof opened);
	child_join(&c);
	ck_assert_int_eq(made, EACCES);
	ck_assert_int_eq(opened, EACCES);
	ck_assert_int_eq(watch_briefly(s), 0);
	end_service(s, "web");
}
END_TEST

static void put_a_strangers(const char *path)
{
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_int_eq(chown(path, 1234, (gid_t)-1), 0);
}

static void put_an_open_one(const char *path)
{
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_int_eq(chmod(path, 0777), 0);
}

static void put_a_link(const char *path)
{
	ck_assert_int_eq(symlink("/tmp", path), 0);
}

static const struct {
	void (*put)(const char *path);
	const char *why;
} in_its_place[] = {
	{ put_a_strangers, "belongs to uid 1234" },
	{ put_an_open_one, "may be written by others (mode 0777)" },
	{ put_a_link, "is no folder, or a symbolic link" },
};
#define IN_ITS_PLACE (int)(sizeof in_its_place / sizeof in_its_place[0])

START_TEST(what_lies_in_the_place_of_a_keepers_folder_is_refused_by_name)
{
	struct np_steer *s;

	OWN_STEERING();
	s = given_service("web", NULL);
	in_its_place[_i].put(keeper_folder(s));
	fails(watch_briefly(s), -EACCES, in_its_place[_i].why, s);
	ck_assert_msg(strstr(np_steer_error(s), keeper_folder(s)) != NULL, "%s", np_steer_error(s));
	end_service(s, "web"); /* with whatever lies in it */
}
END_TEST

/* Another one that watches that port, from inside the server's network namespace. */
static void keep_inside(int sock, void *arg)
{
	const pid_t *server = arg;
	char path[48];
	int fd;

	snprintf(path, sizeof path, "/proc/%d/ns/net", *server);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		child_fail("not the server's network namespace: %s", strerror(errno));
	keep(sock, &(struct keeping){ .hold_ms = 1000 });
}

static void given_apart(struct child *c, pid_t *ret_pid)
{
	static const bool rootless = false;
	int r;

	child_start(c, run_apart, (void *)&rootless);
	child_recv(c->sock, &r, sizeof r);
	child_recv(c->sock, ret_pid, sizeof *ret_pid);
	ck_assert_int_eq(r, 0);
}

static void end_apart(struct child *c)
{
	unsigned got[FOREIGN_MAX];

	child_say(c->sock, 'g');
	child_recv(c->sock, got, sizeof got);
	child_say(c->sock, 'q');
	child_join(c);
}

START_TEST(two_keepers_are_refused_from_whichever_namespace_they_watch)
{
	struct child server, keeper;
	struct np_steer *s;
	pid_t pid;

	OWN_STEERING();
	s = given_service("web", NULL);
	given_apart(&server, &pid);
	child_start(&keeper, keep_inside, &pid);
	await_workers(s, 2);
	fails(np_steer_keep(s, NP_OPTS(np_steer_adopt_opts, .address = "7480", .pid = pid), 1000),
	      -EBUSY, "another process watches", s);
	end_keeper(&keeper);
	must_release(s, 2);
	end_apart(&server);
	end_service(s, "web");
}
END_TEST

START_TEST(a_server_of_a_cgroup_is_watched_in_its_own_network_namespace)
{
	struct child server;
	struct np_steer *s;
	char cgroup[64];
	bool grouped;
	pid_t pid;
	int r;

	OWN_STEERING();
	s = given_service("web", NULL);
	given_apart(&server, &pid);
	grouped = given_cgroup(pid, cgroup, sizeof cgroup);
	r = grouped ?
		    np_steer_keep(s,
				  NP_OPTS(np_steer_adopt_opts, .address = "7480", .cgroup = cgroup),
				  500) :
		    0;
	if (grouped) {
		ck_assert_msg(r == 0, "%d %s", r, np_steer_error(s));
		ck_assert_uint_eq(workers(s), 2);
		must_release(s, 2);
	}
	end_apart(&server);
	if (grouped)
		AWAIT(rmdir(cgroup) == 0);
	end_service(s, "web");
	if (!grouped)
		SKIP("no cgroup can be made");
}
END_TEST

START_TEST(a_watch_ends_with_its_service_and_leaves_no_program)
{
	struct np_steer *s;
	struct foreign f;
	struct child c;
	int r;

	OWN_STEERING();
	s = given_watched(&f, &c, 1000, NULL);
	ck_assert_int_eq(np_steer_close(&s), 0);
	ck_assert_int_eq(np_steer_unload("web", NP_OPTS(np_steer_load_opts, .force = true)), 0);
	child_recv(c.sock, &r, sizeof r);
	child_join(&c);
	ck_assert_int_eq(r, -ENOENT);
	ck_assert_int_eq(look(FOREIGN_AT).program, 0);
	foreign_ask(FOREIGN_AT);
	foreign_end(&f);
}
END_TEST

START_TEST(what_cannot_be_steered_ends_the_watch_with_a_sentence)
{
	struct np_steer *s;
	struct foreign f;

	OWN_STEERING();
	s = given_service("web", NULL);
	ck_assert_int_eq(foreign_start(&f, FOREIGN_ALONE, 2, FOREIGN_PORT), 0);
	fails(np_steer_keep(s, NP_OPTS(np_steer_adopt_opts, .address = FOREIGN_AT), -1),
	      -NP_EUNSUPPORTED, "without SO_REUSEPORT", s);
	fails(np_steer_keep(s, NP_OPTS(np_steer_adopt_opts), -1), -EINVAL, "which port", s);
	ck_assert_int_eq(np_steer_keep(s, NP_OPTS(np_steer_adopt_opts, .address = "7999"), 30), 0);
	foreign_end(&f);
	end_service(s, "web");
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "kept");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_server_that_comes_later_and_again_is_adopted_each_time);
	tcase_add_loop_test(t, while_its_server_is_away_clients_wait_and_its_successor_answers_them,
			    0, 3);
	tcase_add_test(t, a_server_that_does_not_come_back_is_held_no_longer_than_asked);
	tcase_add_test(t, what_waits_at_a_listener_that_is_closed_alone_goes_to_its_siblings);
	tcase_add_test(t, a_keeper_that_is_killed_leaves_the_server_steered_and_nothing_open);
	tcase_add_test(t, one_port_of_a_service_has_one_keeper);
	tcase_add_test(t, another_user_cannot_get_in_the_way_of_a_watch);
	tcase_add_loop_test(t, what_lies_in_the_place_of_a_keepers_folder_is_refused_by_name, 0,
			    IN_ITS_PLACE);
	tcase_add_test(t, two_keepers_are_refused_from_whichever_namespace_they_watch);
	tcase_add_test(t, a_server_of_a_cgroup_is_watched_in_its_own_network_namespace);
	tcase_add_test(t, a_watch_ends_with_its_service_and_leaves_no_program);
	tcase_add_test(t, what_cannot_be_steered_ends_the_watch_with_a_sentence);
}

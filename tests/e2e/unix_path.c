/* SPDX-License-Identifier: BSD-2-Clause */
/* unix_path: what np_server_listen("unix", PATH) does to what is there already. Public headers
 * only. */
#include <errno.h>
#include <fcntl.h>
#include <netpoll/server.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "support/peer.h"
#include "support/pollers.h"
#include "support/run.h"
#include "support/serve.h"
#include "support/test.h"

static const struct np_handlers none = { .sz = sizeof none };
static char *dir;
static char path[100], other[100], lock_path[120];
static struct np_server *a, *b;

static void setup(void)
{
	dir = temp_dir();
	snprintf(path, sizeof path, "%s/s", dir);
	snprintf(other, sizeof other, "%s/other", dir);
	snprintf(lock_path, sizeof lock_path, "%s.lock", path);
	given_pollers(NP_OPTS(np_pollers_opts, .count = 1, .pin = NP_OFF));
}

static void teardown(void)
{
	serve_over(&a);
	serve_over(&b);
	end_pollers();
	remove_tree(&dir);
}

static int listens(struct np_server **s)
{
	if (!*s)
		ck_assert_int_eq(np_server_new(pollers, &none, NULL, NULL, s), 0);
	return np_server_listen(*s, "unix", path);
}

static void runs(struct np_server **s)
{
	int r = listens(s);

	ck_assert_msg(r == 0, "%s", np_server_error(*s));
	ck_assert_int_eq(np_server_start(*s), 0);
}

static struct stat stat_of(const char *p)
{
	struct stat st;

	ck_assert_msg(lstat(p, &st) == 0, "%s: %s", p, strerror(errno));
	return st;
}

static socklen_t name_of(const char *p, struct sockaddr_storage *ret)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	memset(ret, 0, sizeof *ret);
	memcpy(un.sun_path, p, strlen(p));
	memcpy(ret, &un, sizeof un);
	return sizeof un;
}

static int given_socket(const char *p, int type, bool listening)
{
	struct sockaddr_storage ss;
	socklen_t len = name_of(p, &ss);
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&ss, len), 0);
	if (listening)
		ck_assert_int_eq(listen(fd, 5), 0);
	return fd;
}

static int connects(void)
{
	struct sockaddr_storage ss;
	socklen_t len = name_of(path, &ss);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int r = connect(fd, (struct sockaddr *)&ss, len) == 0 ? 0 : -errno;

	close(fd);
	return r;
}

/* ------------------------------------------------------------------ what is there */

static void given_file(const char *p)
{
	int fd = open(p, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	ck_assert_int_eq(write(fd, "precious", 8), 8);
	close(fd);
}

static int a_file(void)
{
	given_file(path);
	return -1;
}

static int a_symlink_to_a_file(void)
{
	given_file(other);
	ck_assert_int_eq(symlink(other, path), 0);
	return -1;
}

static int a_symlink_to_nothing(void)
{
	ck_assert_int_eq(symlink(other, path), 0);
	return -1;
}

static int a_symlink_to_a_dead_socket(void)
{
	close(given_socket(other, SOCK_STREAM, true));
	ck_assert_int_eq(symlink(other, path), 0);
	return -1;
}

static int a_folder(void)
{
	ck_assert_int_eq(mkdir(path, 0700), 0);
	return -1;
}

static int a_fifo(void)
{
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	return -1;
}

static int a_live_socket(void)
{
	return given_socket(path, SOCK_STREAM, true);
}

static int a_live_datagram_socket(void)
{
	return given_socket(path, SOCK_DGRAM, false);
}

static int (*const things[])(void) = {
	a_file, a_symlink_to_a_file, a_symlink_to_nothing,  a_symlink_to_a_dead_socket, a_folder,
	a_fifo, a_live_socket,       a_live_datagram_socket
};
#define THINGS ((int)(sizeof things / sizeof things[0]))

START_TEST(what_is_no_dead_socket_is_left_alone)
{
	int fd = things[_i]();
	struct stat before = stat_of(path), after;
	char text[9] = "";

	ck_assert_int_eq(listens(&a), -EADDRINUSE);
	ck_assert_msg(strstr(np_server_error(a), path) != NULL, "%s", np_server_error(a));
	serve_over(&a);

	after = stat_of(path);
	ck_assert_uint_eq(before.st_ino, after.st_ino);
	ck_assert_uint_eq(before.st_mode, after.st_mode);
	if (things[_i] == a_file || things[_i] == a_symlink_to_a_file) {
		int in = open(path, O_RDONLY | O_CLOEXEC);

		ck_assert_int_eq(read(in, text, 8), 8);
		ck_assert_str_eq(text, "precious");
		close(in);
	}
	if (fd >= 0)
		close(fd);
}
END_TEST

START_TEST(a_dead_socket_is_replaced_and_the_new_one_is_removed_at_the_end)
{
	close(given_socket(path, SOCK_STREAM, true));
	runs(&a);
	ck_assert_int_eq(connects(), 0);
	serve_over(&a);
	ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

/* ------------------------------------------------------------------ whose it is */

START_TEST(a_socket_that_took_the_path_over_stays_when_the_first_server_stops)
{
	struct stat st;

	runs(&a);
	ck_assert_int_eq(unlink(path), 0);
	runs(&b);
	st = stat_of(path);

	serve_over(&a);
	ck_assert_uint_eq(stat_of(path).st_ino, st.st_ino);
	ck_assert_int_eq(connects(), 0);
	serve_over(&b);
	ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

START_TEST(a_file_that_took_the_path_over_stays_too)
{
	runs(&a);
	ck_assert_int_eq(unlink(path), 0);
	given_file(path);
	serve_over(&a);
	ck_assert_int_eq(access(path, F_OK), 0);
}
END_TEST

START_TEST(a_server_that_was_not_started_takes_its_file_away)
{
	ck_assert_int_eq(listens(&a), 0);
	ck_assert_int_eq(np_server_free(&a), 0);
	ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

START_TEST(a_server_that_has_changed_its_folder_takes_its_file_away)
{
	struct np_pollers *observed;
	int before = open(".", O_PATH | O_CLOEXEC | O_DIRECTORY);

	ck_assert_int_eq(chdir(dir), 0);
	ck_assert_int_eq(np_pollers_start(NP_OPTS(np_pollers_opts, .count = 1, .observe = "other"),
					  &observed),
			 0);
	ck_assert_int_eq(np_server_new(pollers, &none, NULL, NULL, &a), 0);
	ck_assert_int_eq(np_server_listen(a, "unix", "s"), 0);
	ck_assert_int_eq(np_server_start(a), 0);
	ck_assert_int_eq(fchdir(before), 0);
	close(before);
	ck_assert_int_eq(access(path, F_OK), 0);
	ck_assert_int_eq(access(other, F_OK), 0);
	serve_over(&a);
	ck_assert_int_eq(access(path, F_OK), -1);
	ck_assert_int_eq(np_pollers_stop(observed, AWAIT_MS), 0);
	ck_assert_int_eq(np_pollers_free(&observed), 0);
	ck_assert_int_eq(access(other, F_OK), -1);
}
END_TEST

/* ------------------------------------------------------------------ two at once */

struct starter {
	pthread_t thread;
	pthread_barrier_t *barrier;
	struct np_server *server;
	int result;
};

static void *start(void *arg)
{
	struct starter *s = arg;

	pthread_barrier_wait(s->barrier);
	s->result = np_server_listen(s->server, "unix", path);
	return NULL;
}

/*
 * Looking, unlinking and binding are one step: else the second unlinks the first one's live socket.
 */
START_TEST(of_two_that_find_a_dead_socket_one_listens)
{
	pthread_barrier_t barrier;

	pthread_barrier_init(&barrier, NULL, 2);
	for (int round = 0; round < 200; round++) {
		struct starter s[2] = { { .barrier = &barrier }, { .barrier = &barrier } };

		unlink(path);
		close(given_socket(path, SOCK_STREAM, true));
		for (int i = 0; i < 2; i++) {
			ck_assert_int_eq(np_server_new(pollers, &none, NULL, NULL, &s[i].server),
					 0);
			ck_assert_int_eq(pthread_create(&s[i].thread, NULL, start, &s[i]), 0);
		}
		for (int i = 0; i < 2; i++)
			pthread_join(s[i].thread, NULL);
		ck_assert_msg((s[0].result == 0) != (s[1].result == 0), "round %d: %d and %d",
			      round, s[0].result, s[1].result);
		ck_assert_int_eq(s[0].result + s[1].result, -EADDRINUSE);
		ck_assert_int_eq(connects(), 0);
		for (int i = 0; i < 2; i++)
			ck_assert_int_eq(np_server_free(&s[i].server), 0);
	}
	pthread_barrier_destroy(&barrier);
}
END_TEST

/* ------------------------------------------------------------------ the lock */

START_TEST(a_lock_that_is_a_symlink_is_not_followed)
{
	ck_assert_int_eq(symlink(other, lock_path), 0);
	ck_assert_int_eq(listens(&a), -ELOOP);
	ck_assert_msg(strstr(np_server_error(a), lock_path) != NULL, "%s", np_server_error(a));
	ck_assert_int_eq(access(other, F_OK), -1);
	ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

START_TEST(a_lock_that_another_holds_is_not_waited_for_without_end)
{
	int fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	ck_assert_int_eq(flock(fd, LOCK_EX), 0);
	ck_assert_int_eq(listens(&a), -EADDRINUSE);
	ck_assert_msg(strstr(np_server_error(a), lock_path) != NULL, "%s", np_server_error(a));
	ck_assert_int_eq(access(path, F_OK), -1);
	close(fd);
	ck_assert_int_eq(listens(&a), 0);
}
END_TEST

/* np_server_hand_over() waits at a path by the same rules. */
START_TEST(a_hand_over_at_a_path_that_is_taken_leaves_nothing_behind)
{
	int before;

	runs(&a);
	given_file(other);
	before = open_fds();
	ck_assert_int_eq(np_server_hand_over(a, other, NULL, NULL), -EADDRINUSE);
	ck_assert_int_eq(np_server_hand_over(a, path, NULL, NULL), -EADDRINUSE);
	/* whether that path is served is asked by a connection: its poller closes it */
	AWAIT(open_fds() == before);
	ck_assert_int_eq(connects(), 0);
}
END_TEST

START_TEST(the_lock_is_free_while_the_server_runs)
{
	int fd;

	runs(&a);
	fd = open(lock_path, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(flock(fd, LOCK_EX | LOCK_NB), 0);
	close(fd);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *tc = add_case(s, "unix_path");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, what_is_no_dead_socket_is_left_alone, 0, THINGS);
	tcase_add_test(tc, a_dead_socket_is_replaced_and_the_new_one_is_removed_at_the_end);
	tcase_add_test(tc, a_socket_that_took_the_path_over_stays_when_the_first_server_stops);
	tcase_add_test(tc, a_file_that_took_the_path_over_stays_too);
	tcase_add_test(tc, a_server_that_was_not_started_takes_its_file_away);
	tcase_add_test(tc, a_server_that_has_changed_its_folder_takes_its_file_away);
	tcase_add_test(tc, of_two_that_find_a_dead_socket_one_listens);
	tcase_add_test(tc, a_lock_that_is_a_symlink_is_not_followed);
	tcase_add_test(tc, a_lock_that_another_holds_is_not_waited_for_without_end);
	tcase_add_test(tc, a_hand_over_at_a_path_that_is_taken_leaves_nothing_behind);
	tcase_add_test(tc, the_lock_is_free_while_the_server_runs);
}

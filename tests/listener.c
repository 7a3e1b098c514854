/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * listener: what it does about each error of accept4(2)
 *
 * The listener under test runs on a poller's thread. Shortages are real ones, by RLIMIT_NOFILE, or
 * injected where a test could not make them (ENFILE, ENOMEM).
 */
#include "conn/listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "given_poller.h"
#include "support/peer.h"
#include "sys/addr.h"
#include "sys/fault.h"
#include "sys/io.h"
#include "sys/sock.h"

#define MANY 64

static struct {
	struct poller *poller;
	struct listener listener;
	struct sockaddr_storage ss;
	socklen_t len;
	int fd;
	_Atomic(int) accepted, error;
	int fds[MANY];
} ut;

static void keep(struct listener *l, int *fd)
{
	ut.fds[ut.accepted] = *fd;
	*fd = -1;
	ut.accepted++;
}

static void broken(struct listener *l, int err)
{
	ut.error = err;
}

static void given_listener(void)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	ck_assert_int_eq(sys_socket(AF_INET, SOCK_STREAM, &ut.fd), 0);
	ck_assert_int_eq(sys_bind(ut.fd, (struct sockaddr *)&sin, sizeof sin), 0);
	ck_assert_int_eq(sys_listen(ut.fd, MANY), 0);
	ck_assert_int_eq(sys_getsockname(ut.fd, &ut.ss, &ut.len), 0);
	ut.poller = given_poller();
	ut.listener.on_accept = keep;
	ut.listener.on_error = broken;
	ut.listener.reserve = -1;
	ck_assert_int_eq(listener_open(&ut.listener, ut.poller, ut.fd), 0);
}

static void runs(void)
{
	ck_assert_int_eq(poller_start(ut.poller), 0);
}

static void end_listener(void)
{
	poller_stop(ut.poller);
	ck_assert_int_eq(poller_join(ut.poller, 0), 0);
	listener_close(&ut.listener);
	ck_assert_int_eq(ut.listener.reserve, -1);
	free_poller(ut.poller);
	sys_close(&ut.fd);
	for (int i = 0; i < ut.accepted; i++)
		sys_close(&ut.fds[i]);
}

static int connected(void)
{
	return peer_connect(&ut.ss, ut.len);
}

#ifdef NP_FAULT
static const int one_connection[] = { ECONNABORTED, EPROTO,      EPERM,    ENETDOWN,
				      ENOPROTOOPT,  EHOSTDOWN,   ENONET,   EHOSTUNREACH,
				      EOPNOTSUPP,   ENETUNREACH, ETIMEDOUT };

/* The connection that met the error is gone for the kernel; an injected one was not taken, and is
 * next. */
START_TEST(an_error_of_one_connection_does_not_end_the_listener)
{
	int fd;

	given_listener();
	fd = connected();
	sys_fault_arm(SYS_accept4, 1, one_connection[_i]);
	runs();
	AWAIT(ut.accepted == 1);
	ck_assert(sys_fault_hit(SYS_accept4));
	ck_assert_uint_eq(logged.n, 0);
	ck_assert_int_eq(ut.error, 0);
	peer_close(&fd);
	end_listener();
}
END_TEST

static const int shortages[] = { EMFILE, ENFILE, ENOBUFS, ENOMEM,
				 EACCES /* as a security module says */ };

START_TEST(after_a_shortage_it_accepts_again_and_says_so_once)
{
	int fd;

	given_listener();
	fd = connected();
	sys_fault_arm(SYS_accept4, 1, shortages[_i]);
	runs();
	AWAIT(ut.accepted == 1);
	ck_assert(sys_fault_hit(SYS_accept4));
	ck_assert_uint_eq(logged.n, 1);
	ck_assert_msg(strstr(logged.last, strerror(shortages[_i])) != NULL, "%s", logged.last);
	peer_close(&fd);
	end_listener();
}
END_TEST

static const int bugs[] = { EBADF, EINVAL, ENOTSOCK, EFAULT };

START_TEST(an_error_of_the_socket_itself_ends_the_listener_and_is_told)
{
	int fd;

	given_listener();
	fd = connected();
	sys_fault_arm(SYS_accept4, 1, bugs[_i]);
	runs();
	AWAIT(ut.error != 0);
	ck_assert_int_eq(ut.error, -bugs[_i]);
	ck_assert_int_eq(ut.accepted, 0);
	peer_close(&fd);
	end_listener();
}
END_TEST

/* A rest ends with a registration anew, and that may fail as well. */
START_TEST(a_refused_registration_after_a_rest_is_tried_again)
{
	int fd;

	given_listener();
	fd = connected();
	sys_fault_arm(SYS_accept4, 1, EMFILE);
	sys_fault_arm(SYS_epoll_ctl, 2, ENOSPC); /* the first is the DEL of the rest */
	runs();
	AWAIT(ut.accepted == 1);
	ck_assert(sys_fault_hit(SYS_epoll_ctl));
	peer_close(&fd);
	end_listener();
}
END_TEST

START_TEST(without_a_reserve_it_works_as_well)
{
	int fd;

	sys_fault_arm(SYS_eventfd, 2, EMFILE); /* the first is the poller's */
	given_listener();
	ck_assert(sys_fault_hit(SYS_eventfd));
	ck_assert_int_eq(ut.listener.reserve, -1);
	fd = connected();
	runs();
	AWAIT(ut.accepted == 1);
	AWAIT(sys_fault_calls(SYS_eventfd) == 3); /* and gets one when it can */
	peer_close(&fd);
	end_listener();
}
END_TEST
#endif

/* ------------------------------------------------------------------ real ones */

static int lowest_free_fd(void)
{
	int fd = dup(STDERR_FILENO);

	close(fd);
	return fd;
}

static void limit_fds(rlim_t n)
{
	struct rlimit l = { n, 4096 };

	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &l), 0);
}

static void given_waiting_peers(int fds[], int n)
{
	for (int i = 0; i < n; i++)
		fds[i] = connected();
}

/* netpoll's second episode logged 68 800 lines and started 20 232 goroutines in 200 ms. */
START_TEST(two_episodes_without_descriptors_neither_spin_nor_flood_the_log)
{
	struct poller_stats st;
	int peers[16];
	rlim_t used;

	given_listener();
	given_waiting_peers(peers, 16);
	used = (rlim_t)lowest_free_fd();
	limit_fds(used + 4);
	runs();
	AWAIT(ut.accepted == 4 && logged.n == 1);
	limit_fds(used + 8);
	AWAIT(ut.accepted == 8);
	test_pause();
	limit_fds(1024);
	AWAIT(ut.accepted == 16);
	poller_stop(ut.poller);
	ck_assert_int_eq(poller_join(ut.poller, 0), 0);
	poller_get_stats(ut.poller, &st);
	ck_assert_uint_lt(st.turns, 200); /* a spin has as many in a millisecond */
	ck_assert_uint_le(logged.n, 3);
	for (int i = 0; i < 16; i++)
		peer_close(&peers[i]);
	end_listener();
}
END_TEST

static void nudge(struct mail *m)
{
	listener_nudge(&ut.listener);
}

START_TEST(a_descriptor_that_comes_free_ends_the_rest)
{
	struct mail m = { .fn = nudge };
	int fd;

	given_listener();
	fd = connected();
	limit_fds((rlim_t)lowest_free_fd());
	ut.listener.backoff_ms = 250; /* so the next backoff is longer than what follows takes */
	runs();
	AWAIT(logged.n == 1);
	limit_fds(1024);
	poller_post(ut.poller, &m);
	AWAIT(ut.accepted == 1);
	peer_close(&fd);
	end_listener();
}
END_TEST

START_TEST(who_waits_in_a_long_shortage_is_reset_and_not_left_hanging)
{
	uint64_t sheds = 0;
	int peers[8], reserve;
	char c;

	given_listener();
	ut.listener.sheds = &sheds;
	given_waiting_peers(peers, 8);
	reserve = ut.listener.reserve;
	limit_fds((rlim_t)lowest_free_fd());
	runs();
	for (int i = 0; i < 8; i++) {
		ck_assert_int_eq(recv(peers[i], &c, 1, 0), -1);
		ck_assert_int_eq(errno, ECONNRESET);
		peer_close(&peers[i]);
	}
	ck_assert_int_eq(ut.accepted, 0);
	/* Counted when the last is over: who came before that would be reset like them. */
	AWAIT(__atomic_load_n(&sheds, __ATOMIC_RELAXED) == 8);
	/* The reserve is kept again, and those who come after the shortage are served. */
	limit_fds(1024);
	peers[0] = connected();
	AWAIT(ut.accepted == 1);
	AWAIT(strstr(logged.last, "8 waiting connections were reset"));
	peer_close(&peers[0]);
	ck_assert_int_ge(reserve, 0);
	end_listener();
}
END_TEST

START_TEST(nothing_stays_open)
{
	int before = open_fds(), fd;

	given_listener();
	fd = connected();
	runs();
	AWAIT(ut.accepted == 1);
	peer_close(&fd);
	end_listener();
	ck_assert_int_eq(open_fds(), before);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "errors");

#ifdef NP_FAULT
	tcase_add_loop_test(t, an_error_of_one_connection_does_not_end_the_listener, 0,
			    sizeof one_connection / sizeof one_connection[0]);
	tcase_add_loop_test(t, after_a_shortage_it_accepts_again_and_says_so_once, 0,
			    sizeof shortages / sizeof shortages[0]);
	tcase_add_loop_test(t, an_error_of_the_socket_itself_ends_the_listener_and_is_told, 0,
			    sizeof bugs / sizeof bugs[0]);
	tcase_add_test(t, a_refused_registration_after_a_rest_is_tried_again);
	tcase_add_test(t, without_a_reserve_it_works_as_well);
#endif
	tcase_add_test(t, two_episodes_without_descriptors_neither_spin_nor_flood_the_log);
	tcase_add_test(t, a_descriptor_that_comes_free_ends_the_rest);
	tcase_add_test(t, who_waits_in_a_long_shortage_is_reset_and_not_left_hanging);
	tcase_add_test(t, nothing_stays_open);
}

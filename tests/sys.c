/* SPDX-License-Identifier: BSD-2-Clause */
/* sys: what the wrappers add to the system calls: -errno, EINTR, one close, counting. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "support/test.h"
#include "sys/clock.h"
#include "sys/cpu.h"
#include "sys/epoll.h"
#include "sys/fault.h"
#include "sys/fd_table.h"
#include "sys/io.h"
#include "sys/sock.h"
#include "sys/thread.h"
#include "sys/wake.h"

/* ------------------------------------------------------------------ bytes */

static int ends[2];

static void given_pair(void)
{
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
}

static void close_pair(void)
{
	sys_close(&ends[0]);
	sys_close(&ends[1]);
}

static char words[] = "first line second line third line";

/* 0, 10, 11 and 10 bytes: an empty chunk in front, as netpoll's own tests have it. */
static const struct iovec chunks[] = {
	{ words, 0 },
	{ words, 10 },
	{ words + 10, 11 },
	{ words + 21, 10 },
};

static ssize_t by_writev(int fd)
{
	return sys_writev(fd, chunks, 4);
}

static ssize_t by_sendmsg(int fd)
{
	return sys_sendmsg(fd, chunks, 4, 0);
}

static ssize_t (*const gathers[])(int) = { by_writev, by_sendmsg };

START_TEST(chunks_are_gathered_and_an_empty_one_is_nothing)
{
	char got[64];

	given_pair();
	ck_assert_int_eq(gathers[_i](ends[0]), 31);
	ck_assert_int_eq(sys_read(ends[1], got, sizeof got), 31);
	ck_assert_mem_eq(got, words, 31);
	close_pair();
}
END_TEST

START_TEST(bytes_are_scattered_over_chunks_and_an_empty_one_gets_none)
{
	char a[10], b[11], c[10];
	struct iovec iov[] = { { a, 0 }, { a, 10 }, { b, 11 }, { c, 10 } };

	given_pair();
	ck_assert_int_eq(sys_write(ends[0], words, 31), 31);
	ck_assert_int_eq(sys_readv(ends[1], iov, 4), 31);
	ck_assert_mem_eq(a, words, 10);
	ck_assert_mem_eq(b, words + 10, 11);
	ck_assert_mem_eq(c, words + 21, 10);
	close_pair();
}
END_TEST

START_TEST(errors_are_negative_errno)
{
	char c;

	given_pair();
	ck_assert_int_eq(sys_read(ends[0], &c, 1), -EAGAIN);
	ck_assert_int_eq(sys_recv(ends[0], &c, 1, 0), -EAGAIN);
	sys_close(&ends[1]);
	ck_assert_int_eq(sys_read(ends[0], &c, 1), 0);
	ck_assert_int_eq(sys_read(-1, &c, 1), -EBADF);
	close_pair();
}
END_TEST

/* As the kernel tells: how many descriptors its table has room for. */
static unsigned table_size(void)
{
	char line[128];
	unsigned n = 0;
	FILE *f = fopen("/proc/self/status", "re");

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof line, f) && sscanf(line, "FDSize: %u", &n) != 1)
		;
	fclose(f);
	return n;
}

START_TEST(the_table_of_descriptors_grows_once_and_holds_none_more)
{
	int open_before = open_fds();
	struct rlimit r;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &r), 0);
	r.rlim_cur = 5000;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &r), 0);
	ck_assert_int_eq(sys_fd_table_grow(2000), 0);
	ck_assert_uint_ge(table_size(), 2000);
	ck_assert_int_eq(sys_fd_table_grow(1u << 20), 0); /* as far as the limit */
	ck_assert_uint_ge(table_size(), 5000);
	ck_assert_int_eq(sys_fd_table_grow(1u << 20), 0);
	ck_assert_int_eq(sys_fd_table_grow(0), 0);
	ck_assert_int_eq(open_fds(), open_before);
	ck_assert_int_eq(dup2(0, 4999), 4999);
	ck_assert_int_eq(sys_fd_table_grow(5000), -EMFILE); /* its last number is taken */
	ck_assert_int_eq(open_fds(), open_before + 1);
}
END_TEST

/* With SIGPIPE at its default, which would end this process. */
START_TEST(sending_to_a_peer_that_has_gone_is_epipe_and_no_signal)
{
	struct iovec iov = { words, 1 };

	signal(SIGPIPE, SIG_DFL);
	given_pair();
	sys_close(&ends[1]);
	ck_assert_int_eq(sys_send(ends[0], "x", 1, 0), -EPIPE);
	ck_assert_int_eq(sys_sendmsg(ends[0], &iov, 1, 0), -EPIPE);
	close_pair();
}
END_TEST

START_TEST(a_descriptor_is_closed_once_and_forgotten)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), number = fd, other;

	ck_assert_int_eq(sys_close(&fd), 0);
	ck_assert_int_eq(fd, -1);
	other = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(other, number);
	ck_assert_int_eq(sys_close(&fd), 0);
	ck_assert_int_ge(fcntl(other, F_GETFD), 0);
	sys_close(&other);
}
END_TEST

#ifdef NP_FAULT
/* close(2): the descriptor is free even then; a second close could hit somebody else's. */
START_TEST(a_close_that_failed_has_closed)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), number = fd;

	sys_fault_arm(SYS_close, 1, EIO);
	ck_assert_int_eq(sys_close(&fd), -EIO);
	ck_assert_int_eq(fd, -1);
	ck_assert_int_eq(fcntl(number, F_GETFD), -1);
}
END_TEST

START_TEST(a_fault_strikes_the_nth_call_and_once)
{
	char c;

	given_pair();
	sys_fault_arm(SYS_read, 2, EIO);
	ck_assert_int_eq(sys_read(ends[0], &c, 1), -EAGAIN);
	ck_assert_int_eq(sys_fault_hit(SYS_read), 0);
	ck_assert_int_eq(sys_read(ends[0], &c, 1), -EIO);
	ck_assert_int_eq(sys_fault_hit(SYS_read), 1);
	ck_assert_int_eq(sys_read(ends[0], &c, 1), -EAGAIN);
	ck_assert_uint_eq(sys_fault_calls(SYS_read), 3);
	close_pair();
}
END_TEST
#endif

static _Atomic(int) interrupted;

static void interrupt(int sig)
{
	interrupted++;
}

struct interrupter {
	pthread_t target;
	_Atomic(bool) stop;
};

/* Signals until a few have come through, then gives the reader its byte. */
static void *interrupt_and_write(void *arg)
{
	struct interrupter *i = arg;

	AWAIT((pthread_kill(i->target, SIGUSR1), interrupted >= 3));
	ck_assert_int_eq(sys_write(ends[1], "x", 1), 1);
	return NULL;
}

START_TEST(a_signal_does_not_fail_a_read)
{
	struct interrupter i = { .target = pthread_self() };
	struct sigaction sa = { .sa_handler = interrupt }; /* no SA_RESTART */
	pthread_t t;
	char c;

	sigaction(SIGUSR1, &sa, NULL);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0); /* blocking */
	ck_assert_int_eq(pthread_create(&t, NULL, interrupt_and_write, &i), 0);
	ck_assert_int_eq(sys_read(ends[0], &c, 1), 1);
	pthread_join(t, NULL);
	ck_assert_int_ge(interrupted, 3);
	close_pair();
}
END_TEST

static void *interrupt_only(void *arg)
{
	struct interrupter *i = arg;

	while (!i->stop) {
		pthread_kill(i->target, SIGUSR1);
		test_pause();
	}
	return NULL;
}

START_TEST(a_signal_ends_an_epoll_wait_with_no_events)
{
	struct interrupter i = { .target = pthread_self() };
	struct sigaction sa = { .sa_handler = interrupt };
	struct epoll_event ev;
	pthread_t t;
	int ep;

	sigaction(SIGUSR1, &sa, NULL);
	ck_assert_int_eq(sys_epoll_create(&ep), 0);
	ck_assert_int_eq(pthread_create(&t, NULL, interrupt_only, &i), 0);
	ck_assert_int_eq(sys_epoll_wait(ep, &ev, 1, AWAIT_MS), 0);
	i.stop = true;
	pthread_join(t, NULL);
	sys_close(&ep);
}
END_TEST

/* ------------------------------------------------------------------ sockets */

START_TEST(sockets_do_not_block_and_do_not_survive_exec)
{
	int fd, c, pair[2];
	struct sockaddr_storage ss;
	socklen_t len;

	ck_assert_int_eq(sys_socket(AF_INET, SOCK_STREAM, &fd), 0);
	ck_assert_int_eq(sys_listen(fd, 1), 0);
	ck_assert_int_eq(sys_getsockname(fd, &ss, &len), 0);
	ck_assert_int_eq(sys_socket(AF_INET, SOCK_STREAM, &pair[0]), 0);
	sys_connect(pair[0], (struct sockaddr *)&ss, len);
	await_fd(fd, 1);
	ck_assert_int_eq(sys_accept4(fd, NULL, NULL, &c), 0);
	ck_assert_int_eq(sys_accept4(fd, NULL, NULL, &pair[1]), -EAGAIN);
	int all[] = { fd, c, pair[0] };
	for (int i = 0; i < 3; i++) {
		ck_assert(fcntl(all[i], F_GETFL) & O_NONBLOCK);
		ck_assert(fcntl(all[i], F_GETFD) & FD_CLOEXEC);
		sys_close(&all[i]);
	}
}
END_TEST

START_TEST(an_option_of_another_size_is_refused_and_outputs_stay)
{
	int v = 7, fd = -7;
	long wide = 7;

	given_pair();
	ck_assert_int_eq(sys_getsockopt(ends[0], SOL_SOCKET, SO_TYPE, &wide, sizeof wide), -EPROTO);
	ck_assert_int_eq(sys_getsockopt_int(ends[0], SOL_SOCKET, 9999, &v), -ENOPROTOOPT);
	ck_assert_int_eq(v, 7);
	ck_assert_int_eq(sys_socket(9999, SOCK_STREAM, &fd), -EAFNOSUPPORT);
	ck_assert_int_eq(fd, -7);
	close_pair();
}
END_TEST

START_TEST(a_wake_up_lasts_until_it_is_read)
{
	uint64_t n;
	int fd;

	ck_assert_int_eq(sys_wake_open(&fd), 0);
	ck_assert_int_eq(sys_wake_signal(fd), 0);
	ck_assert_int_eq(sys_wake_signal(fd), 0);
	await_fd(fd, 1);
	ck_assert_int_eq(sys_read(fd, &n, sizeof n), sizeof n);
	ck_assert_uint_eq(n, 2);
	ck_assert_int_eq(sys_read(fd, &n, sizeof n), -EAGAIN);
	sys_close(&fd);
}
END_TEST

/* -------------------------------------------------------------- epoll, as lib/poll relies on it */

static struct epoll_event seen;

static int report(int ep)
{
	return sys_epoll_wait(ep, &seen, 1, 0);
}

START_TEST(epoll_reports_the_data_and_mask_that_came_last)
{
	int ep;

	given_pair();
	ck_assert_int_eq(sys_epoll_create(&ep), 0);
	ck_assert_int_eq(sys_epoll_add(ep, ends[0], EPOLLOUT, 1), 0);
	ck_assert_int_eq(sys_epoll_del(ep, ends[0]), 0);
	ck_assert_int_eq(sys_epoll_add(ep, ends[0], EPOLLOUT, 2), 0);
	ck_assert_int_eq(report(ep), 1);
	ck_assert_uint_eq(seen.data.u64, 2);

	ck_assert_int_eq(sys_epoll_mod(ep, ends[0], EPOLLIN, 3), 0);
	ck_assert_int_eq(report(ep), 0);
	ck_assert_int_eq(sys_epoll_mod(ep, ends[0], EPOLLOUT | EPOLLET, 4), 0);
	ck_assert_int_eq(report(ep), 1);
	ck_assert_uint_eq(seen.data.u64, 4);
	ck_assert_uint_eq(seen.events, EPOLLOUT);
	ck_assert_int_eq(report(ep), 0);
	close_pair();
	sys_close(&ep);
}
END_TEST

START_TEST(epoll_says_nothing_of_what_this_side_closed_or_deleted)
{
	int ep;

	given_pair();
	ck_assert_int_eq(sys_epoll_create(&ep), 0);
	ck_assert_int_eq(sys_epoll_add(ep, ends[0], EPOLLIN | EPOLLRDHUP | EPOLLET, 1), 0);
	ck_assert_int_eq(sys_epoll_add(ep, ends[1], EPOLLIN | EPOLLET, 2), 0);
	ck_assert_int_eq(sys_epoll_del(ep, ends[1]), 0);
	ck_assert_int_eq(sys_epoll_del(ep, ends[1]), -ENOENT);
	sys_close(&ends[1]);
	ck_assert_int_eq(report(ep), 1);
	ck_assert_uint_eq(seen.data.u64, 1);
	ck_assert_uint_eq(seen.events, EPOLLIN | EPOLLRDHUP | EPOLLHUP);
	sys_close(&ends[0]);
	ck_assert_int_eq(report(ep), 0);
	sys_close(&ep);
}
END_TEST

/* ------------------------------------------------------------------ CPUs, clocks, threads */

START_TEST(the_number_of_cpus_is_that_of_the_affinity_mask)
{
	int cpus[1024], one[2], n = sys_cpu_list(cpus, 1024);
	cpu_set_t set;

	ck_assert_int_ge(n, 1);
	for (int i = 1; i < n; i++)
		ck_assert_int_gt(cpus[i], cpus[i - 1]);
	ck_assert_int_le(sys_cpu_count(), n);
	ck_assert_int_ge(sys_cpu_count(), 1);

	CPU_ZERO(&set);
	CPU_SET((unsigned)cpus[n - 1], &set);
	ck_assert_int_eq(sched_setaffinity(0, sizeof set, &set), 0);
	ck_assert_int_eq(sys_cpu_count(), 1);
	ck_assert_int_eq(sys_cpu_list(one, 2), 1);
	ck_assert_int_eq(one[0], cpus[n - 1]);
}
END_TEST

START_TEST(a_cpu_that_is_not_there_is_refused)
{
	ck_assert_int_eq(sys_cpu_pin(-1), -EINVAL);
	ck_assert_int_eq(sys_cpu_pin(8191), -EINVAL);
	ck_assert_int_eq(sys_cpu_pin(1 << 20), -EINVAL);
}
END_TEST

START_TEST(the_coarse_clock_is_at_most_a_tick_behind)
{
	uint64_t coarse = sys_clock_coarse_ns(), fine = sys_clock_ns();

	ck_assert_uint_le(coarse, fine);
	ck_assert_uint_ge(sys_clock_tick_ns(), 1000000);
	ck_assert_int_eq(sys_clock_timens_offset_ns(), 0);
}
END_TEST

static int release[2];

static void read_one(void *arg)
{
	char c;

	ck_assert_int_eq(read(release[0], &c, 1), 1);
}

START_TEST(a_join_that_took_too_long_can_be_taken_up_again)
{
	struct sys_thread t;

	ck_assert_int_eq(pipe(release), 0);
	ck_assert_int_eq(sys_thread_start(&t, "a-name-that-is-too-long", read_one, NULL), 0);
	ck_assert_int_eq(sys_thread_join(&t, sys_clock_ns()), -ETIMEDOUT);
	ck_assert_int_eq(sys_thread_join(&t, sys_clock_ns() + 1000000), -ETIMEDOUT);
	ck_assert_int_eq(sys_write(release[1], "x", 1), 1);
	ck_assert_int_eq(sys_thread_join(&t, 0), 0);
	close(release[0]);
	close(release[1]);
}
END_TEST

static void io_tests(Suite *s)
{
	TCase *c = add_case(s, "io");

	tcase_add_loop_test(c, chunks_are_gathered_and_an_empty_one_is_nothing, 0, 2);
	tcase_add_test(c, bytes_are_scattered_over_chunks_and_an_empty_one_gets_none);
	tcase_add_test(c, errors_are_negative_errno);
	tcase_add_test(c, sending_to_a_peer_that_has_gone_is_epipe_and_no_signal);
	tcase_add_test(c, a_descriptor_is_closed_once_and_forgotten);
#ifdef NP_FAULT
	tcase_add_test(c, a_close_that_failed_has_closed);
	tcase_add_test(c, a_fault_strikes_the_nth_call_and_once);
#endif
	tcase_add_test(c, a_signal_does_not_fail_a_read);
	tcase_add_test(c, a_signal_ends_an_epoll_wait_with_no_events);
	tcase_add_test(c, sockets_do_not_block_and_do_not_survive_exec);
	tcase_add_test(c, an_option_of_another_size_is_refused_and_outputs_stay);
	tcase_add_test(c, a_wake_up_lasts_until_it_is_read);
	tcase_add_test(c, epoll_reports_the_data_and_mask_that_came_last);
	tcase_add_test(c, epoll_says_nothing_of_what_this_side_closed_or_deleted);
}

static void machine_tests(Suite *s)
{
	TCase *c = add_case(s, "machine");

	tcase_add_test(c, the_number_of_cpus_is_that_of_the_affinity_mask);
	tcase_add_test(c, a_cpu_that_is_not_there_is_refused);
	tcase_add_test(c, the_coarse_clock_is_at_most_a_tick_behind);
	tcase_add_test(c, a_join_that_took_too_long_can_be_taken_up_again);
	tcase_add_test(c, the_table_of_descriptors_grows_once_and_holds_none_more);
}

void add_cases(Suite *s)
{
	io_tests(s);
	machine_tests(s);
}

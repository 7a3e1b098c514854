/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test: what every test program shares: the runner, skips with a reason, waits with a deadline
 *
 * Check runs each test in a process of its own, so a test may unshare, set limits and crash.
 */
#ifndef SUPPORT_TEST_H
#define SUPPORT_TEST_H

#include <check.h>
#include <stdbool.h>
#include <stdint.h>

/* What each test program defines; main() is in support/main.c, and runs them. */
void add_cases(Suite *s);
TCase *add_case(Suite *s, const char *name);

/* Leaves the test, counted as skipped, never as passed. In a START_TEST body only. */
#define SKIP(...)                                 \
	do {                                      \
		test_skip(__func__, __VA_ARGS__); \
		return;                           \
	} while (0)
void test_skip(const char *test, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* What this machine lets us do. */
bool can_root(void); /* euid 0 with CAP_NET_ADMIN and CAP_SYS_ADMIN */
bool can_bpf(void);  /* may load sk_reuseport programs */
bool under_tsan(void);
bool under_asan(void);
bool under_valgrind(void);
/* make check-handoff: a handler that keeps its thread does not keep its poller. */
bool under_handoff(void);

/*
 * A network namespace of this test's own with lo up; it ends with the test's process. 0 or -errno.
 */
int own_netns(void);
int write_file(const char *path, const char *text);
/* One number out of /proc/net/netstat or /proc/net/snmp, such as "TcpExt" "ListenDrops"; -1 if
 * absent. */
long long netstat(const char *group, const char *name);

uint64_t now_ns(void); /* CLOCK_MONOTONIC */
uint64_t now_ms(void);
/* This thread, on that CPU alone; -1: the first one that it may have. */
void run_on(int cpu);
/*
 * "@name", of this process alone: abstract names are those of a network namespace, in which the
 * same program may run at the same time.
 */
const char *own_unix_name(void);
/* Open descriptors of this process. */
int open_fds(void);
/*
 * Threads that the library has made. A joined one may be listed for a moment more: AWAIT the end,
 * do not assert it. Threads of a sanitizer are not ours to count.
 */
int np_threads(void);

#define AWAIT_MS 20000
/*
 * Waits until @cond holds; fails the test at the deadline. For conditions no descriptor tells of.
 */
#define AWAIT(cond)                                                                  \
	do {                                                                         \
		uint64_t end_ = now_ms() + AWAIT_MS;                                 \
		while (!(cond)) {                                                    \
			ck_assert_msg(now_ms() < end_, "waited in vain for " #cond); \
			test_pause();                                                \
		}                                                                    \
	} while (0)
/* Lets other threads run for a moment: poll(2) with no descriptors for 1 ms. */
void test_pause(void);
/* poll(2) for @events on fd with the usual deadline; fails the test at the deadline. */
void await_fd(int fd, short events);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rescue: a handler that hangs its poller keeps no client of others waiting; and an idle server
 * sleeps
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netpoll/server.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "support/child.h"
#include "support/hanging.h"
#include "support/log.h"
#include "support/peer.h"
#include "support/pollers.h"
#include "support/serve.h"
#include "support/switches.h"
#include "support/test.h"

#define QUOTA_HANG_MS 40
/* Clients are queued at a poller that hangs and is not known to: a busy machine needs its time. */
#define HANG_MS       500

static struct np_server *server;

static void given_server(int n, int hang_ms)
{
	given_pollers(NP_OPTS(np_pollers_opts, .count = n, .log = keep_log));
	serve_at(&server, &hanging_handlers, NULL,
		 NP_OPTS(np_server_opts, .steer = NP_STEER_REQUIRED, .hang_ms = hang_ms), "tcp",
		 "127.0.0.1:0");
}

static void teardown(void)
{
	serve_over(&server);
	end_pollers();
}

static unsigned rescues(void)
{
	return in_log("went to its siblings");
}

/* ------------------------------------------------------------------ hanging */

START_TEST(what_is_queued_at_a_hanging_poller_is_served_by_another)
{
	enum { CLIENTS = 64 };
	int hung, fds[CLIENTS];

	if (!can_root() || !can_bpf())
		SKIP("needs root and BPF");
	NEEDS_A_HANG();
	ck_assert_int_eq(own_netns(), 0);
	given_server(2, HANG_MS);
	hung = hang_begin(server);
	given_rescued_clients(server, fds, CLIENTS);
	ck_assert(hang_goes_on()); /* while they are served */
	hang_end(hung);
	peer_close(&hung);
	for (int i = 0; i < CLIENTS; i++)
		peer_close(&fds[i]);
	expect_both_to_accept(server);
	teardown();
}
END_TEST

START_TEST(a_server_stops_while_a_listener_of_it_is_shut)
{
	int hung, fds[32];

	if (!can_root() || !can_bpf())
		SKIP("needs root and BPF");
	NEEDS_A_HANG();
	ck_assert_int_eq(own_netns(), 0);
	given_server(2, HANG_MS);
	hung = hang_begin(server);
	given_rescued_clients(server, fds, 32);
	for (int i = 0; i < 32; i++)
		peer_close(&fds[i]);
	ck_assert_int_eq(np_server_stop(server, 50, NULL), -ETIMEDOUT); /* it hangs, after all */
	hang_end(hung);
	peer_close(&hung);
	teardown();
}
END_TEST

/* ------------------------------------------------------------------ a CPU quota */

static char cgroup[128];

static int write_in(const char *dir, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static int write_in(const char *dir, const char *name, const char *fmt, ...)
{
	char path[256], text[64];
	va_list ap;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	return write_file(path, text);
}

/* A tenth of one CPU, in either kind of cgroup. Return: whether it could be had. */
static bool make_quota(void)
{
	snprintf(cgroup, sizeof cgroup, "/sys/fs/cgroup/cpu/np-test-%d", (int)getpid());
	if (mkdir(cgroup, 0755) == 0)
		return write_in(cgroup, "cpu.cfs_period_us", "100000") == 0 &&
		       write_in(cgroup, "cpu.cfs_quota_us", "10000") == 0;
	snprintf(cgroup, sizeof cgroup, "/sys/fs/cgroup/np-test-%d", (int)getpid());
	return mkdir(cgroup, 0755) == 0 && write_in(cgroup, "cpu.max", "10000 100000") == 0;
}

static void remove_quota(void)
{
	rmdir(cgroup);
}

static void serve_under_quota(int sock, void *arg)
{
	struct sockaddr_storage ss;
	socklen_t len;
	int n;

	given_server(4, QUOTA_HANG_MS);
	if (np_server_addr(server, 0, &ss, &len) < 0)
		child_fail("no address");
	child_send(sock, &ss, sizeof ss);
	child_hear(sock);
	n = (int)rescues();
	child_send(sock, &n, sizeof n);
	teardown();
}

/*
 * Ten milliseconds in each hundred the whole process runs: every stamp grows older than hang_ms,
 * again and again. Rescues are not forbidden, since a CPU may throttle one thread and run another;
 * a storm of them is.
 */
START_TEST(under_a_cpu_quota_nothing_is_reset_and_there_is_no_storm)
{
	struct sockaddr_storage ss;
	unsigned served = 0;
	struct child c;
	uint64_t end;
	int n;

	if (!can_root() || !can_bpf())
		SKIP("needs root and BPF");
	if (!make_quota()) {
		remove_quota();
		SKIP("needs a cgroup with a CPU controller that can be written");
	}
	ck_assert_int_eq(own_netns(), 0);
	child_start(&c, serve_under_quota, NULL);
	child_recv(c.sock, &ss, sizeof ss);
	ck_assert_int_eq(write_in(cgroup, "cgroup.procs", "%d", (int)c.pid), 0);
	for (end = now_ms() + 3000; now_ms() < end;) {
		int fds[16];

		for (int i = 0; i < 16; i++)
			fds[i] = peer_connect(&ss, sizeof(struct sockaddr_in));
		for (int i = 0; i < 16; i++) {
			peer_echo(fds[i], 'q');
			served++;
			peer_close(&fds[i]);
		}
	}
	write_in("/sys/fs/cgroup/cpu", "cgroup.procs", "%d", (int)c.pid);
	write_in("/sys/fs/cgroup", "cgroup.procs", "%d", (int)c.pid);
	child_say(c.sock, 'e');
	child_recv(c.sock, &n, sizeof n);
	child_join(&c);
	remove_quota();
	fprintf(stderr,
		"under a quota of 10 ms in 100: %u served, %d rescues of 4 pollers in 3 s\n",
		served, n);
	/* back-off doubling from 40 ms: seven in three seconds for each */
	ck_assert_int_le(n, 4 * 7);
}
END_TEST

/* ------------------------------------------------------------------ idle */

static double cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* NP_IDLE_MS: for how long; the watchdog is asleep a second after the last SYN. */
START_TEST(an_idle_server_is_never_woken)
{
	const char *ms = getenv("NP_IDLE_MS");
	int fds[64], window = ms ? atoi(ms) : 3000;
	double cpu;

	if (!can_root() || !can_bpf())
		SKIP("needs root and BPF");
	ck_assert_int_eq(own_netns(), 0);
	given_server(8, 100);
	for (int i = 0; i < 64; i++) {
		fds[i] = peer_of(server, 0);
		peer_echo(fds[i], 'i');
	}
	AWAIT(np_switches_within(1200) == 0);
	cpu = cpu_ms();
	ck_assert_uint_eq(np_switches_within(window), 0); /* with 64 open connections */
	fprintf(stderr,
		"8 pollers, 64 connections, idle for %d ms: 0 context switches, %.2f ms of CPU, this count included\n",
		window, cpu_ms() - cpu);
	for (int i = 0; i < 64; i++)
		peer_close(&fds[i]);
	teardown();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "hanging");

	tcase_add_test(t, what_is_queued_at_a_hanging_poller_is_served_by_another);
	tcase_add_test(t, a_server_stops_while_a_listener_of_it_is_shut);
	t = add_case(s, "quota");
	tcase_add_test(t, under_a_cpu_quota_nothing_is_reset_and_there_is_no_storm);
	t = add_case(s, "idle");
	tcase_add_test(t, an_idle_server_is_never_woken);
}

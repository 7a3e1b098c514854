/* SPDX-License-Identifier: BSD-2-Clause */
/* steered: a server whose connections the kernel's program spreads; public headers only */
#include <errno.h>
#include <linux/capability.h>
#include <netpoll/server.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "support/peer.h"
#include "support/pollers.h"
#include "support/serve.h"
#include "support/test.h"

static struct np_server *server;

static const struct np_handlers echo = { .sz = sizeof echo, .on_request = serve_echo };

/*
 * No poller counts as hanging: on a busy machine its thread waits for a CPU for longer than the
 * usual hang_ms while it has connections to accept, and rightly gets fewer of those that come
 * meanwhile.
 */
static void given_server(int n, int steer, const char *policy, const char *address)
{
	given_pollers(NP_OPTS(np_pollers_opts, .count = n));
	serve_at(&server, &echo, NULL,
		 NP_OPTS(np_server_opts, .steer = steer, .policy = policy, .hang_ms = -1), "tcp",
		 address);
}

static void teardown(void)
{
	serve_over(&server);
	end_pollers();
}

static int connected(void)
{
	return peer_of(server, 0);
}

static void one_echo(void)
{
	int fd = connected();

	peer_echo(fd, 'e');
	peer_close(&fd);
}

static uint64_t open_conns(void)
{
	return serve_stats(server).conns;
}

/* ------------------------------------------------------------------ twenty thousand */

/*
 * In waves of WAVE open at a time, so that a process's descriptors suffice. The client closes
 * first, and its ports stay in TIME_WAIT: the callers widen the range they come from.
 */
static void waves(const char *policy, uint64_t *ret_accepted, int n_pollers)
{
	enum { TOTAL = 20000, WAVE = 5000 };
	static int fds[WAVE];
	int total = under_tsan() || under_asan() ? TOTAL / 5 : TOTAL;
	struct np_server_stats st = { .sz = sizeof st };

	given_server(n_pollers, NP_STEER_REQUIRED, policy, "127.0.0.1:0");
	for (int done = 0; done < total;) {
		int n = total - done < WAVE ? total - done : WAVE;

		for (int i = 0; i < n; i++)
			fds[i] = connected();
		for (int i = 0; i < n; i++)
			peer_send(fds[i], "x", 1);
		for (int i = 0; i < n; i++) {
			char c;

			peer_recv(fds[i], &c, 1);
			peer_close(&fds[i]);
		}
		done += n;
		AWAIT(open_conns() == 0);
	}
	ck_assert_int_eq(np_server_stats(server, &st), 0);
	ck_assert_uint_eq(st.accepted, (uint64_t)total); /* none lost */
	for (int i = 0; i < n_pollers; i++) {
		uint64_t conns;

		ck_assert_int_eq(np_server_poller_stats(server, i, &ret_accepted[i], &conns), 0);
		printf("%s%s%lu", i ? "" : policy, i ? " " : ": ", (unsigned long)ret_accepted[i]);
	}
	printf(" of %d connections\n", total);
	teardown();
}

START_TEST(thousands_of_connections_go_round_exactly_under_rr)
{
	uint64_t accepted[4], sum = 0;

	if (!can_root() || !can_bpf())
		SKIP("needs root and BPF");
	ck_assert_int_eq(own_netns(), 0);
	write_file("/proc/sys/net/ipv4/ip_local_port_range", "1024 65535");
	waves("rr", accepted, 4);
	for (int i = 0; i < 4; i++)
		sum += accepted[i];
	/* Every SYN takes a turn; a retransmit would take one more. */
	for (int i = 0; i < 4; i++)
		ck_assert_msg(accepted[i] >= sum / 4 - 2 && accepted[i] <= sum / 4 + 2,
			      "poller %d: %lu of %lu", i, (unsigned long)accepted[i],
			      (unsigned long)sum);
}
END_TEST

START_TEST(thousands_of_connections_spread_evenly_under_hash)
{
	uint64_t accepted[4], sum = 0;

	if (!can_root() || !can_bpf())
		SKIP("needs root and BPF");
	ck_assert_int_eq(own_netns(), 0);
	write_file("/proc/sys/net/ipv4/ip_local_port_range", "1024 65535");
	waves("hash", accepted, 4);
	for (int i = 0; i < 4; i++)
		sum += accepted[i];
	/*
	 * Six standard deviations. Were the kernel's hash of ports in a row a draw, one of
	 * n = 20000 and p = 1/4 would be 61; measured, it is 85.
	 */
	for (int i = 0; i < 4; i++) {
		uint64_t mean = sum / 4, slack = sum >= 20000 ? 510 : 230;

		ck_assert_msg(accepted[i] + slack >= mean && accepted[i] <= mean + slack,
			      "poller %d: %lu of %lu", i, (unsigned long)accepted[i],
			      (unsigned long)sum);
	}
}
END_TEST

/* ------------------------------------------------------------------ levels */

static void drop_capabilities(void)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2] = { 0 };

	ck_assert_int_eq((int)syscall(SYS_capset, &h, d), 0);
}

START_TEST(without_capabilities_a_server_falls_to_level_0_and_serves)
{
	struct np_steer_info info = { .sz = sizeof info };

	drop_capabilities();
	given_server(2, NP_STEER_AUTO, NULL, "127.0.0.1:0");
	ck_assert_int_eq(np_server_steering(server, &info), 0);
	ck_assert_int_eq(info.level, NP_STEER_L0);
	ck_assert_uint_gt(strlen(info.reason), 10);
	for (int i = 0; i < 20; i++)
		one_echo();
	teardown();
}
END_TEST

START_TEST(without_capabilities_required_steering_is_refused_with_a_reason)
{
	drop_capabilities();
	given_pollers(NP_OPTS(np_pollers_opts, .count = 1));
	ck_assert_int_eq(np_server_new(pollers, &echo, NULL,
				       NP_OPTS(np_server_opts, .steer = NP_STEER_REQUIRED),
				       &server),
			 0);
	ck_assert_int_lt(np_server_listen(server, "tcp", "127.0.0.1:0"), 0);
	ck_assert_uint_gt(strlen(np_server_error(server)), 10);
	teardown();
}
END_TEST

START_TEST(a_second_private_server_on_a_taken_port_is_refused)
{
	struct np_server *second;

	given_server(1, NP_STEER_AUTO, NULL, "127.0.0.1:0");
	ck_assert_int_eq(np_server_new(pollers, &echo, NULL, NULL, &second), 0);
	ck_assert_int_eq(np_server_listen(second, "tcp", serve_address(server)), -EADDRINUSE);
	ck_assert_ptr_nonnull(strstr(np_server_error(second), "npsteer load"));
	ck_assert_int_eq(np_server_free(&second), 0);
	one_echo(); /* the first is unharmed */
	teardown();
}
END_TEST

START_TEST(an_unknown_policy_is_refused_by_name)
{
	if (!can_root() || !can_bpf())
		SKIP("needs root and BPF");
	given_pollers(NP_OPTS(np_pollers_opts, .count = 1));
	ck_assert_int_eq(np_server_new(pollers, &echo, NULL,
				       NP_OPTS(np_server_opts, .policy = "nonesuch"), &server),
			 0);
	ck_assert_int_eq(np_server_listen(server, "tcp", "127.0.0.1:0"), -EINVAL);
	ck_assert_ptr_nonnull(strstr(np_server_error(server), "nonesuch"));
	teardown();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "waves");

	tcase_set_timeout(t, 240);
	tcase_add_test(t, thousands_of_connections_go_round_exactly_under_rr);
	tcase_add_test(t, thousands_of_connections_spread_evenly_under_hash);
	t = add_case(s, "levels");
	tcase_add_test(t, without_capabilities_a_server_falls_to_level_0_and_serves);
	tcase_add_test(t, without_capabilities_required_steering_is_refused_with_a_reason);
	tcase_add_test(t, a_second_private_server_on_a_taken_port_is_refused);
	tcase_add_test(t, an_unknown_policy_is_refused_by_name);
}

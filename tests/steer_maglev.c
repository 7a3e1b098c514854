/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_maglev: clients that stay at their workers, by their addresses, as far as the bound lets
 * them
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "spread.h"
#include "support/run.h"
#include "support/steer.h"
#include "support/test.h"

/* A client at 127.0.@i: all of 127/8 is ours. */
static int connect_as(struct rig *r, unsigned i)
{
	struct sockaddr_in from = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(0x7f000002 + i) };
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	to.sin_port = htons((uint16_t)atoi(strrchr(r->address, ':') + 1));
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&from, sizeof from), 0);
	ck_assert_msg(connect(fd, (struct sockaddr *)&to, sizeof to) == 0, "connect: %s",
		      strerror(errno));
	return fd;
}

/* Which worker client @i gets, from some port. */
static unsigned worker_of(struct rig *r, unsigned i)
{
	unsigned before[RIG_MAX], w;
	int fd;

	memcpy(before, r->accepted, sizeof before);
	fd = connect_as(r, i);
	ck_assert_uint_eq(rig_accept(r), 1);
	client_close(&fd);
	for (w = 0; w < r->n && r->accepted[w] == before[w]; w++)
		;
	ck_assert_uint_lt(w, r->n);
	return w;
}

#define CLIENTS 400

START_TEST(maglev_keeps_a_client_at_its_worker)
{
	unsigned home[CLIENTS];
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 8, NP_OPTS(np_steer_opts, .policy = "maglev", .max_level = _i));
	for (unsigned i = 0; i < CLIENTS; i++)
		home[i] = worker_of(&r, i);
	expect_counted(&r, CLIENTS);
	expect_even(&r);
	for (unsigned i = 0; i < CLIENTS; i++)
		ck_assert_uint_eq(worker_of(&r, i), home[i]);
	rig_stop(&r);
}
END_TEST

/* Those of the worker that has gone go elsewhere, and few others with them. */
START_TEST(maglev_moves_few_when_a_worker_leaves)
{
	unsigned home[CLIENTS], moved = 0, w;
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 8, NP_OPTS(np_steer_opts, .policy = "maglev"));
	for (unsigned i = 0; i < CLIENTS; i++)
		home[i] = worker_of(&r, i);
	ck_assert_int_eq(np_steer_leave(r.w[3]), 0);
	for (unsigned i = 0; i < CLIENTS; i++) {
		w = worker_of(&r, i);
		ck_assert_uint_ne(w, 3);
		moved += home[i] != 3 && w != home[i];
	}
	ck_assert_msg(moved < CLIENTS / 8, "%u of %u clients lost their worker", moved, CLIENTS);
	rig_stop(&r);
}
END_TEST

/* One client has as many connections as a hundred others together. */
START_TEST(maglev_bounds_what_one_client_does_to_its_worker)
{
	static int fds[400];
	struct rig r;
	double mean;

	OWN_STEERING();
	rig_start(&r, 8, NP_OPTS(np_steer_opts, .policy = "maglev"));
	rig_param(&r, "bound", "125");
	for (unsigned i = 0; i < 400; i++) {
		fds[i] = connect_as(&r, i % 2 ? 0 : i);
		ck_assert_uint_eq(rig_accept(&r), 1);
		for (unsigned w = 0; w < r.n; w++)
			rig_publish(&r, w, r.accepted[w]);
	}
	expect_counted(&r, 400);
	mean = 400.0 / r.n;
	/* The mean is as old as eight runs, and each worker may have eight connections over it. */
	ck_assert_msg(rig_most(&r) <= 1.25 * (mean + 1) + 9, "%u at one worker, %.0f on average",
		      rig_most(&r), mean);
	ck_assert_uint_gt(rig_stats(&r).spilled, 50);
	rig_empty(&r, fds, 400);
	rig_stop(&r);
}
END_TEST

START_TEST(maglev_without_a_bound_leaves_all_of_one_client_together)
{
	static int fds[100];
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 8, NP_OPTS(np_steer_opts, .policy = "maglev"));
	rig_param(&r, "bound", "0");
	rig_fill(&r, fds, 100);
	ck_assert_uint_eq(rig_most(&r), 100);
	ck_assert_uint_eq(rig_stats(&r).spilled, 0);
	rig_empty(&r, fds, 100);
	rig_stop(&r);
}
END_TEST

/* A client at fd00::@i + 1. */
static int connect_as_ipv6(struct rig *r, unsigned i)
{
	struct sockaddr_in6 from = { .sin6_family = AF_INET6 },
			    to = { .sin6_family = AF_INET6, .sin6_addr = in6addr_loopback };
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char text[32];

	snprintf(text, sizeof text, "fd00::%x", i + 1);
	ck_assert_int_eq(inet_pton(AF_INET6, text, &from.sin6_addr), 1);
	to.sin6_port = htons((uint16_t)atoi(strrchr(r->address, ':') + 1));
	ck_assert_msg(bind(fd, (struct sockaddr *)&from, sizeof from) == 0, "%s: %s", text,
		      strerror(errno));
	ck_assert_msg(connect(fd, (struct sockaddr *)&to, sizeof to) == 0, "connect: %s",
		      strerror(errno));
	return fd;
}

/* The client's address is elsewhere in the packet, and longer. */
START_TEST(maglev_tells_ipv6_clients_apart)
{
	unsigned seen = 0;
	struct rig r;
	int fd;

	OWN_STEERING();
	rig_open(&r, NULL, NP_OPTS(np_steer_opts, .policy = "maglev"));
	for (unsigned i = 0; i < 8; i++)
		rig_worker(&r, "[::]:0");
	/* Through the address of IPv4 too: a dual listener sees both. */
	for (unsigned i = 0; i < 100; i++)
		worker_of(&r, i);
	for (unsigned i = 0; i < r.n; i++)
		seen += r.accepted[i] > 0;
	ck_assert_uint_eq(seen, 8);
	rig_param(&r, "bound", "0");
	memset(r.accepted, 0, sizeof r.accepted);
	rig_drive(&r, 100); /* all from ::1 */
	ck_assert_uint_eq(rig_most(&r), 100);

	/* They differ in the last two bytes alone. */
	memset(r.accepted, 0, sizeof r.accepted);
	must_sh("for i in $(seq 1 40); do ip -6 addr add fd00::$(printf %%x $i)/128 dev lo nodad; done");
	for (unsigned i = 0; i < 40; i++) {
		fd = connect_as_ipv6(&r, i);
		ck_assert_uint_eq(rig_accept(&r), 1);
		client_close(&fd);
	}
	seen = 0;
	for (unsigned i = 0; i < r.n; i++)
		seen += r.accepted[i] > 0;
	ck_assert_uint_ge(seen, 4);
	rig_stop(&r);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "policy");

	rig_no_rescue = true;
	tcase_add_loop_test(t, maglev_keeps_a_client_at_its_worker, NP_STEER_L2, NP_STEER_L4 + 1);
	tcase_add_test(t, maglev_moves_few_when_a_worker_leaves);
	tcase_add_test(t, maglev_bounds_what_one_client_does_to_its_worker);
	tcase_add_test(t, maglev_without_a_bound_leaves_all_of_one_client_together);
	tcase_add_test(t, maglev_tells_ipv6_clients_apart);
}

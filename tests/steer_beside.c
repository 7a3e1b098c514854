/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_beside: addresses of one service that overlap, in either order
 *
 * The more special one gets what it has a name for, as the kernel has it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/steer.h"
#include "support/test.h"

static const struct pair {
	const char *first, *second;
	/* a client of each, which the first or the second gets */
	const char *client[2];
	unsigned of[2];
} pairs[] = {
	{ "[::]:7610", "0.0.0.0:7610", { "127.0.0.1:7610", "[::1]:7610" }, { 1, 0 } },
	{ "0.0.0.0:7610", "[::]:7610", { "127.0.0.1:7610", "[::1]:7610" }, { 0, 1 } },
	{ "[::]:7610", "127.0.0.1:7610", { "127.0.0.1:7610", "127.0.0.2:7610" }, { 1, 0 } },
	{ "127.0.0.1:7610", "[::]:7610", { "127.0.0.1:7610", "127.0.0.2:7610" }, { 0, 1 } },
	{ "0.0.0.0:7610", "127.0.0.1:7610", { "127.0.0.1:7610", "127.0.0.2:7610" }, { 1, 0 } },
	{ "127.0.0.1:7610", "0.0.0.0:7610", { "127.0.0.1:7610", "127.0.0.2:7610" }, { 0, 1 } },
	{ "[::]:7610", "[::1]:7610", { "[::1]:7610", "127.0.0.1:7610" }, { 1, 0 } },
	{ "[::1]:7610", "[::]:7610", { "[::1]:7610", "127.0.0.1:7610" }, { 0, 1 } },
};
#define PAIRS (int)(sizeof pairs / sizeof pairs[0])

static void must_listen(struct np_steer *s, struct np_steer_worker *w, const char *address, int *fd)
{
	ck_assert_msg(np_steer_listen(w, "tcp", address, 0, fd) == 0, "%s: %s", address,
		      np_steer_error(s));
}

/* One client of @address, which @fd and nobody else gets. */
static void must_reach(const char *address, int fd)
{
	int c = client_connect(address), got;

	ck_assert_msg(c >= 0, "%s: %s", address, strerror(-c));
	got = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_msg(got >= 0, "%s went elsewhere", address);
	close(got);
	client_close(&c);
}

static void two_addresses(enum np_steer_mode mode, const struct pair *p)
{
	int fd[2], again[2];
	struct rig r;

	rig_open(&r, NULL, NP_OPTS(np_steer_opts, .mode = mode));
	ck_assert_int_eq(np_steer_worker(r.s, "one", &r.w[0]), 0);
	ck_assert_int_eq(np_steer_worker(r.s, "two", &r.w[1]), 0);
	must_listen(r.s, r.w[0], p->first, &fd[0]);
	must_listen(r.s, r.w[0], p->second, &fd[1]);
	for (unsigned i = 0; i < 2; i++)
		for (unsigned n = 0; n < 5; n++)
			must_reach(p->client[i], fd[p->of[i]]);
	if (mode != NP_STEER_OFF)
		ck_assert_uint_eq(rig_stats(&r).steered, 10);
	/* A sibling has the same two, in the order in which everybody starts. */
	must_listen(r.s, r.w[1], p->first, &again[0]);
	must_listen(r.s, r.w[1], p->second, &again[1]);
	close(fd[0]);
	close(fd[1]);
	for (unsigned i = 0; i < 2; i++)
		must_reach(p->client[i], again[p->of[i]]);
	close(again[0]);
	close(again[1]);
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(np_steer_worker_close(&r.w[i]), 0);
	ck_assert_int_eq(np_steer_close(&r.s), 0);
}

START_TEST(either_order_works)
{
	OWN_STEERING();
	two_addresses(NP_STEER_REQUIRED, &pairs[_i]);
}
END_TEST

START_TEST(either_order_works_at_level_0)
{
	OWN_STEERING();
	two_addresses(NP_STEER_OFF, &pairs[_i]);
}
END_TEST

static int stranger(const char *address, int port)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	ck_assert_int_eq(inet_pton(AF_INET, address, &in.sin_addr), 1);
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one), 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
	ck_assert_int_eq(listen(fd, 16), 0);
	return fd;
}

/*
 * It shares its port, as our own listeners do: a program attached there would take its connections.
 */
START_TEST(beside_an_address_of_ours_a_stranger_is_still_seen)
{
	struct rig r;
	int fd, other = -1, x;

	OWN_STEERING();
	rig_open(&r, NULL, NULL);
	ck_assert_int_eq(np_steer_worker(r.s, NULL, &r.w[0]), 0);
	must_listen(r.s, r.w[0], "[::]:7611", &fd);
	x = stranger("0.0.0.0", 7611);
	ck_assert_int_eq(np_steer_listen(r.w[0], "tcp", "0.0.0.0:7611", 0, &other), -EADDRINUSE);
	ck_assert_ptr_nonnull(strstr(np_steer_error(r.s), "0.0.0.0:7611 is taken"));
	ck_assert_int_eq(other, -1);
	must_reach("127.0.0.1:7611", x);
	close(x);
	must_listen(r.s, r.w[0], "0.0.0.0:7611", &other);
	close(fd);
	close(other);
	ck_assert_int_eq(np_steer_worker_close(&r.w[0]), 0);
	ck_assert_int_eq(np_steer_close(&r.s), 0);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "beside");

	tcase_add_loop_test(t, either_order_works, 0, PAIRS);
	tcase_add_loop_test(t, either_order_works_at_level_0, 0, PAIRS);
	tcase_add_test(t, beside_an_address_of_ours_a_stranger_is_still_seen);
}

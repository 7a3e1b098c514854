/* SPDX-License-Identifier: BSD-2-Clause */
/* rpc: examples/rpc as a server, as a gateway before several, and as a client. */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/example.h"
#include "support/peer.h"
#include "support/run.h"
#include "support/test.h"

#define PROGRAM "rpc/rpc"

struct server {
	struct example example;
	char address[32];
};

/* @arguments, by spaces. */
static void given_rpc(struct server *s, const char *arguments)
{
	example_start(&s->example, PROGRAM, -1, "%s --pollers 2", arguments);
	snprintf(s->address, sizeof s->address, "127.0.0.1:%d", s->example.port);
}

static void over(struct server *s)
{
	example_end(&s->example);
}

static int client(struct server *s)
{
	return example_connect(&s->example);
}

/* Return: its length. */
static size_t make_frame(char *dst, uint64_t id, const char *body)
{
	size_t n = strlen(body);

	memcpy(dst, &(uint32_t){ htonl((uint32_t)(8 + n)) }, 4);
	memset(dst + 4, 0, 7);
	dst[11] = (char)id;
	memcpy(dst + 12, body, n);
	return 12 + n;
}

static void send_frame(int fd, uint64_t id, const char *body)
{
	char frame[256];

	peer_send(fd, frame, make_frame(frame, id, body));
}

static void expect_frame(int fd, uint64_t id, const char *body)
{
	char frame[256], got[256];
	size_t n = make_frame(frame, id, body);

	peer_recv(fd, got, n);
	ck_assert_mem_eq(got, frame, n);
}

START_TEST(a_frame_may_be_cut_at_every_byte)
{
	struct server s;
	char frame[64];
	size_t n = make_frame(frame, 7, "hello");
	int fd;

	given_rpc(&s, "serve --listen 127.0.0.1:0");
	fd = client(&s);
	for (size_t cut = 1; cut < n; cut++) {
		peer_send(fd, frame, cut);
		peer_send(fd, frame + cut, n - cut);
		expect_frame(fd, 7, "hello");
	}
	for (int i = 0; i < 100; i++)
		send_frame(fd, (uint64_t)i, "many");
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	for (int i = 0; i < 100; i++)
		expect_frame(fd, (uint64_t)i, "many");
	peer_expect_eof(fd);
	peer_close(&fd);
	over(&s);
}
END_TEST

/* One without a number too: it is the benchmark's, whose payload is text. */
START_TEST(an_empty_frame_is_answered_and_one_that_is_too_long_ends_the_connection)
{
	struct server s;
	char got[8];
	int fd;

	given_rpc(&s, "serve --listen 127.0.0.1:0");
	fd = client(&s);
	peer_send(fd, "\0\0\0\0\0\0\0\3abc", 11);
	peer_recv(fd, got, 4);
	ck_assert_mem_eq(got, "\0\0\0\0", 4);
	peer_recv(fd, got, 7);
	ck_assert_mem_eq(got, "\0\0\0\3abc", 7);
	peer_send(fd, "\1\0\0\1", 4); /* one more than the most */
	ck_assert_uint_eq(peer_drain(fd), 0);
	peer_close(&fd);
	over(&s);
}
END_TEST

START_TEST(a_slow_answer_does_not_hold_up_those_behind_it)
{
	struct server s;
	int fd;

	given_rpc(&s, "serve --listen 127.0.0.1:0 --slow-ms 300");
	fd = client(&s);
	send_frame(fd, 1, "slow");
	send_frame(fd, 2, "quick");
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	expect_frame(fd, 2, "quick");
	expect_frame(fd, 1, "slow"); /* though the peer has said FIN */
	peer_expect_eof(fd);
	peer_close(&fd);

	/* And one whose peer does not wait for it harms nobody. */
	fd = client(&s);
	send_frame(fd, 1, "slow");
	peer_reset(&fd);
	fd = client(&s);
	send_frame(fd, 3, "slow");
	expect_frame(fd, 3, "slow");
	peer_close(&fd);
	over(&s);
}
END_TEST

START_TEST(many_callers_share_a_channel_and_each_gets_its_own_answer)
{
	struct server s;
	struct ran r;

	given_rpc(&s, "serve --listen 127.0.0.1:0");
	sh(&r, "%s call --to %s --count 100 --callers 50 --size 1000 --deadline-ms 20000",
	   example_path(PROGRAM), s.address);
	ck_assert_msg(r.code == 0, "%s%s", r.out, r.err);
	ck_assert_ptr_nonnull(strstr(r.out, "5000 calls answered, 0 failed"));
	ran_free(&r);
	over(&s);

	/* Nobody is there any more. */
	sh(&r, "%s call --to %s --count 1 --callers 2", example_path(PROGRAM), s.address);
	ck_assert_int_eq(r.code, 1);
	ck_assert_ptr_nonnull(strstr(r.out, "0 calls answered, 2 failed"));
	ran_free(&r);
}
END_TEST

/* Of four: one answers, one is slow, one accepts and says nothing, one is dead. */
START_TEST(a_fanout_gives_what_has_come_by_its_deadline)
{
	static char arguments[256];
	char hole[32], dead[32], got[64];
	struct server backend, slow, gate;
	int hole_fd = peer_listen(hole, sizeof hole), dead_fd = peer_listen(dead, sizeof dead), fd;

	close(dead_fd);
	given_rpc(&backend, "serve --listen 127.0.0.1:0");
	given_rpc(&slow, "serve --listen 127.0.0.1:0 --slow-ms 600000");
	snprintf(arguments, sizeof arguments,
		 "fanout --listen 127.0.0.1:0 --to %s --to %s --to %s --to %s --deadline-ms 500",
		 backend.address, slow.address, hole, dead);
	given_rpc(&gate, arguments);
	fd = client(&gate);
	for (int i = 0; i < 2; i++) {
		/* the backend's slow is a second, which is too late, too */
		send_frame(fd, 9, i ? "slow" : "fast");
		peer_recv(fd, got, i ? 28 : 36);
		if (i)
			ck_assert_mem_eq(
				got, "\0\0\0\x18\0\0\0\0\0\0\0\x9\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
				28);
		else
			ck_assert_mem_eq(
				got,
				"\0\0\0\x20\0\0\0\0\0\0\0\x9\0\0\0\4fast\0\0\0\4fast\0\0\0\0\0\0\0\0",
				36);
	}
	/* A backend that has ended is dialed anew: it is dead, and the others answer. */
	child_kill(&backend.example.child);
	send_frame(fd, 9, "fast");
	peer_recv(fd, got, 32);
	ck_assert_mem_eq(got, "\0\0\0\x1c\0\0\0\0\0\0\0\x9\0\0\0\0\0\0\0\4fast\0\0\0\0\0\0\0\0",
			 32);
	peer_close(&fd);
	over(&gate);
	child_kill(&slow.example.child); /* it waits for ten minutes yet */
	close(hole_fd);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "rpc");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_frame_may_be_cut_at_every_byte);
	tcase_add_test(t, an_empty_frame_is_answered_and_one_that_is_too_long_ends_the_connection);
	tcase_add_test(t, a_slow_answer_does_not_hold_up_those_behind_it);
	tcase_add_test(t, many_callers_share_a_channel_and_each_gets_its_own_answer);
	tcase_add_test(t, a_fanout_gives_what_has_come_by_its_deadline);
}

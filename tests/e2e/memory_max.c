/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * memory_max: a siege by peers that hold memory, against a server that has a bound for all of it
 *
 * The server is a process of its own, so that its resident memory is its own; both sides are small
 * enough for the usual limit of descriptors. NP_SIEGE=1 is the whole siege (make check-siege): 10
 * 000 half frames, 5000 claims of 16 MiB, 1000 that never read, under 64 MiB; without, a tenth of
 * each under 8 MiB.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netpoll/server.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "support/child.h"
#include "support/peer.h"
#include "support/test.h"

#define FRAME (16u << 10)
#define CLAIM (16u << 20)
#define REPLY (256u << 10) /* of a frame of one byte */
#define PING  64u
#define PINGS 50u /* between two looks */

static unsigned scale; /* 1: whole; 10: a tenth */
static size_t bound;
static struct child server;
static struct sockaddr_in at = { .sin_family = AF_INET };
static int fds[16000];
static unsigned n_fds;

/* ------------------------------------------------------------------ server */

/* So that what is not read stays with the server, and not in the kernel. */
static int on_prepare(struct np_conn *c, void *arg)
{
	int small = 16 << 10;

	setsockopt(np_conn_fd(c), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
	return 0;
}

/* Length and body; echoed, but for one byte, which is a question with a long answer. */
static int on_request(struct np_conn *c, void *arg)
{
	static const char reply[REPLY];
	const void *p;
	uint32_t len;
	int r = np_conn_next(c, 4, &p);

	if (r < 0)
		return r;
	memcpy(&len, p, 4);
	len = ntohl(len);
	r = np_conn_next(c, len, &p);
	if (r == 0)
		r = len == 1 ? np_conn_write(c, reply, sizeof reply) : np_conn_write(c, p, len);
	return r < 0 ? r : np_conn_flush(c);
}

static void serve_besieged(int sock, void *arg)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_prepare = on_prepare,
					      .on_request = on_request };
	struct np_server_stats st = { .sz = sizeof st };
	struct np_pollers *pollers;
	struct np_server *s;
	struct sockaddr_storage ss;
	socklen_t len;
	int r;

	r = np_pollers_start(NP_OPTS(np_pollers_opts, .count = 2, .pin = NP_OFF), &pollers);
	if (r == 0)
		r = np_server_new(
			pollers, &h, NULL,
			NP_OPTS(np_server_opts, .steer = NP_STEER_OFF, .memory_max = bound), &s);
	if (r == 0)
		r = np_server_listen(s, "tcp4", "127.0.0.1:0");
	if (r == 0)
		r = np_server_start(s);
	if (r == 0)
		r = np_server_addr(s, 0, &ss, &len);
	if (r < 0)
		child_fail("server: %s", np_strerror(r));
	child_send(sock, &((struct sockaddr_in *)&ss)->sin_port, sizeof at.sin_port);
	while (child_hear(sock) == 's') {
		np_server_stats(s, &st);
		child_send(sock, &st, sizeof st);
	}
	if (np_server_stop(s, 5000, NULL) < 0 || np_server_free(&s) < 0 ||
	    np_pollers_stop(pollers, 5000) < 0 || np_pollers_free(&pollers) < 0)
		child_fail("the server did not end well");
}

static struct np_server_stats stats(void)
{
	struct np_server_stats st;

	child_say(server.sock, 's');
	child_recv(server.sock, &st, sizeof st);
	return st;
}

/* Bytes of its own, not those of the files it is made of. */
static size_t resident(void)
{
	char path[64], line[256];
	size_t kb = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)server.pid);
	f = fopen(path, "re");
	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof line, f))
		if (sscanf(line, "Anonymous: %zu", &kb) == 1)
			break;
	fclose(f);
	return kb << 10;
}

/* ------------------------------------------------------------------ peers */

static int dial(void)
{
	return peer_connect((const struct sockaddr_storage *)(const void *)&at, sizeof at);
}

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static int good = -1; /* one that asks and takes its answers, all the while */
static uint32_t took_us[200000];
static unsigned n_took;

static void ping(void)
{
	char frame[4 + PING] = { 0, 0, 0, PING }, answer[PING];

	for (unsigned i = 0; i < PINGS; i++) {
		uint64_t began = now_us();

		peer_send(good, frame, sizeof frame);
		peer_recv(good, answer, sizeof answer);
		if (n_took < sizeof took_us / sizeof took_us[0])
			took_us[n_took++] = (uint32_t)(now_us() - began);
	}
}

static int by_time(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* The 99th of a hundred, of all pings since the last call. */
static unsigned p99(void)
{
	unsigned us;

	qsort(took_us, n_took, sizeof took_us[0], by_time);
	us = took_us[n_took - 1 - n_took / 100];
	n_took = 0;
	return us;
}

static unsigned n_reset; /* peers that have learned it when they sent on */

static void say(int fd, const void *p, size_t n)
{
	if (send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno == ECONNRESET)
		n_reset++;
}

static void send_half_frame(int fd)
{
	static char half[4 + FRAME / 2] = { 0, 0, FRAME >> 8, 0 };

	say(fd, half, sizeof half);
}

static void send_claim(int fd)
{
	static char claim[4 + 100] = { CLAIM >> 24, (char)(CLAIM >> 16 & 0xff), 0, 0 };

	say(fd, claim, sizeof claim);
}

static void ask_and_never_read(int fd)
{
	static char question[5] = { 0, 0, 0, 1 };

	say(fd, question, sizeof question);
}

static size_t highest;

static void look(void)
{
	size_t now = resident();

	highest = now > highest ? now : highest;
}

static void besiege(unsigned n, void (*attack)(int fd))
{
	for (unsigned i = 0; i < n; i++) {
		fds[n_fds] = dial();
		attack(fds[n_fds++]);
		if (i % 100 == 99) {
			ping();
			look();
		}
	}
	ping();
	look();
}

/* ------------------------------------------------------------------ tests */

static void setup(void)
{
	struct rlimit l;
	const char *siege = getenv("NP_SIEGE");

	scale = siege && *siege == '1' ? 1 : 10;
	bound = (scale == 1 ? 64u : 8u) << 20;
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &l), 0);
	l.rlim_cur = l.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &l), 0);
	child_start(&server, serve_besieged, NULL);
	child_recv(server.sock, &at.sin_port, sizeof at.sin_port);
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	good = dial();
	ping();
}

static void teardown(void)
{
	for (unsigned i = 0; i < n_fds; i++)
		peer_close(&fds[i]);
	peer_close(&good);
	child_say(server.sock, 'q');
	child_join(&server);
}

START_TEST(resident_memory_stays_within_the_bound_and_others_are_served)
{
	size_t before = resident();
	unsigned alone;

	for (unsigned i = 0; i < 160; i++)
		ping();
	alone = p99();

	besiege(10000 / scale, send_half_frame);
	besiege(5000 / scale, send_claim);
	besiege(1000 / scale, ask_and_never_read);
	ping();
	printf("siege: %zu KiB above the baseline of %zu at most, bound %zu; p99 of another's requests %u us, alone %u; "
	       "%llu reset\n",
	       (highest - before) >> 10, before >> 10, bound >> 10, p99(), alone,
	       (unsigned long long)stats().memory_closed);

	if (!under_asan() && !under_tsan() && !under_valgrind())
		ck_assert_uint_le(highest - before, bound + bound / 10);
	ck_assert_uint_gt(stats().memory_closed, 0);
}
END_TEST

#define LARGE 32u

/* 32 peers send all of a 16 MiB frame but a piece. */
START_TEST(large_unfinished_frames_are_bounded_as_a_whole)
{
	static char piece[64 << 10];
	char head[4] = { CLAIM >> 24, (char)(CLAIM >> 16 & 0xff), 0, 0 };
	size_t before = resident();

	for (unsigned i = 0; i < LARGE; i++) {
		fds[n_fds] = dial();
		say(fds[n_fds++], head, sizeof head);
	}
	for (unsigned k = 0; k < (CLAIM / sizeof piece - 1) / (scale == 1 ? 1 : 4); k++) {
		for (unsigned i = 0; i < LARGE; i++)
			say(fds[i], piece, sizeof piece);
		if (k % 16 == 15) {
			ping();
			look();
		}
	}
	if (!under_asan() && !under_tsan() && !under_valgrind())
		ck_assert_uint_le(highest - before, bound + bound / 10);
	ck_assert_uint_gt(stats().memory_closed, 0);
	ck_assert_uint_gt(n_reset, 0);
}
END_TEST

/* What is within the bound is nobody's business. */
START_TEST(within_the_bound_nobody_is_reset)
{
	static char frame[4 + FRAME] = { 0, 0, FRAME >> 8, 0 }, answer[FRAME];

	for (unsigned i = 0; i < 100; i++) {
		fds[n_fds] = dial();
		peer_send(fds[n_fds++], frame, sizeof frame / 2);
	}
	ping();
	for (unsigned i = 0; i < 100; i++) {
		peer_send(fds[i], frame + sizeof frame / 2, sizeof frame - sizeof frame / 2);
		peer_recv(fds[i], answer, sizeof answer);
	}
	ck_assert_uint_eq(stats().memory_closed, 0);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "siege");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, resident_memory_stays_within_the_bound_and_others_are_served);
	tcase_add_test(t, large_unfinished_frames_are_bounded_as_a_whole);
	tcase_add_test(t, within_the_bound_nobody_is_reset);
}

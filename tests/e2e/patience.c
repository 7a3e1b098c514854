/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * patience: a peer that takes its bytes slowly gets them all, and one that takes none is let go
 *
 * Three clocks mean "the peer does nothing": linger, write timeout and idle timeout. Each is far
 * shorter than the transfer. NP_STEADY=1 (make check-steady) runs clients of 10 and 100 KiB/s,
 * whose kernels acknowledge nothing for seconds.
 */
#include <errno.h>
#include <linux/filter.h>
#include <netpoll/conn.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/peer.h"
#include "support/serve.h"
#include "support/test.h"

#define KIB      1024u
#define MIB      (1024u * 1024u)
#define LONGEST  (16 * MIB)
#define SHORT_MS 200 /* each clock */

enum clock { LINGER, WRITE, IDLE, CLOCKS };
enum peer { STEADY, NEVER, STOPS };

static const char *const clock_names[] = { "linger", "write timeout", "idle timeout" };
static const char *const peer_names[] = { "steady", "never acknowledges", "stops" };

struct client {
	enum clock clock;
	enum peer peer;
	bool small; /* buffers of the kernel, on both sides */
	unsigned rate;
	size_t size;
	int fd;
	_Atomic(bool) closed;
	_Atomic(int) why;
	uint64_t next_ms;
	size_t got;
	int last; /* 0 FIN, or an errno */
	bool over;
};

static struct client clients[64];
static int n_clients;
static char *bytes;

/* ------------------------------------------------------------------ this side */

static int on_request(struct np_conn *c, void *arg)
{
	const unsigned char *index;
	int r = np_conn_next(c, 1, (const void **)&index), small = 32768;
	struct client *k;

	if (r < 0)
		return r;
	k = &clients[*index];
	np_conn_set_data(c, k);
	if (k->small)
		setsockopt(np_conn_fd(c), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
	if (k->peer == STOPS)
		np_conn_set_min_rate(c, 1 << 20);
	if (k->clock == WRITE)
		np_conn_set_write_timeout(c, SHORT_MS);
	if (k->clock == IDLE)
		np_conn_set_idle_timeout(c, SHORT_MS);
	r = np_conn_write_ref(c, bytes, k->size, NULL, NULL);
	if (r == 0)
		r = k->clock == WRITE ? np_conn_sync(c) : np_conn_flush(c);
	if (r == 0 && k->clock != IDLE)
		np_conn_close(c);
	return r;
}

static void on_close(struct np_conn *c, void *arg)
{
	struct client *k = np_conn_data(c);

	k->why = np_conn_error(c);
	k->closed = true;
}

/* ------------------------------------------------------------------ the other side */

/* What comes from now on is dropped before TCP sees it. */
static void be_deaf(int fd)
{
	struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog prog = { .len = 1, .filter = &drop };

	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof prog), 0);
}

static void given_client(struct client k)
{
	unsigned char index = (unsigned char)n_clients;
	struct client *at = &clients[n_clients++];
	int small = 16384;

	*at = k;
	at->fd = serve_connect(0);
	if (k.small)
		setsockopt(at->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
	if (k.peer == NEVER)
		be_deaf(at->fd);
	at->next_ms = now_ms();
	peer_send(at->fd, &index, 1);
}

/*
 * A twentieth of what it reads in a second, twenty times a second, without a pause and without
 * catching up.
 */
static void read_steadily(struct client *k)
{
	static char got[MIB];
	size_t left = k->rate / 20;
	ssize_t n = 1;

	if (k->over || k->peer != STEADY || now_ms() < k->next_ms)
		return;
	k->next_ms += 50;
	while (left &&
	       (n = recv(k->fd, got, left < sizeof got ? left : sizeof got, MSG_DONTWAIT)) > 0) {
		k->got += (size_t)n;
		left -= (size_t)n;
	}
	if (n > 0 || (n < 0 && errno == EAGAIN))
		return;
	k->last = n < 0 ? errno : 0;
	k->over = true;
	peer_close(&k->fd);
}

static bool all_over(void)
{
	bool over = true;

	for (int i = 0; i < n_clients; i++) {
		read_steadily(&clients[i]);
		over &= clients[i].closed && (clients[i].over || clients[i].peer != STEADY);
	}
	return over;
}

static int wrong(const struct client *k)
{
	int why = k->clock == IDLE  ? -ETIMEDOUT :
		  k->peer != STEADY ? -NP_EWRITETIMEOUT :
				      -NP_ECLOSED;

	if (k->why == why && (k->peer != STEADY || (k->got == k->size && k->last == 0)))
		return 0;
	fprintf(stderr,
		"%s, %s, %s buffers, %u KiB/s: %zu of %zu, then %s; np_conn_error() %d, not %d\n",
		clock_names[k->clock], peer_names[k->peer], k->small ? "small" : "default",
		k->rate / KIB, k->got, k->size, k->last ? strerror(k->last) : "FIN", k->why, why);
	return 1;
}

static void given_server(void)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_request = on_request,
					      .on_close = on_close };

	bytes = calloc(1, LONGEST);
	serve(2, &h, NULL,
	      NP_OPTS(np_server_opts, .linger_ms = SHORT_MS, .limits.out_high = LONGEST));
}

static void end(void)
{
	int bad = 0;

	for (int i = 0; i < n_clients; i++) {
		bad += wrong(&clients[i]);
		if (clients[i].fd >= 0)
			peer_close(&clients[i].fd);
	}
	ck_assert_int_eq(bad, 0);
	serve_end();
	free(bytes);
}

static void given_steady(unsigned rate, size_t size, bool small)
{
	for (enum clock k = 0; k < CLOCKS; k++)
		given_client((struct client){
			.clock = k, .peer = STEADY, .small = small, .rate = rate, .size = size });
}

/* ------------------------------------------------------------------ tests */

START_TEST(a_steady_client_gets_all_of_it_however_short_the_clock)
{
	given_server();
	given_steady(640 * KIB, 3 * MIB, true);
	given_steady(640 * KIB, 5 * MIB, false);
	AWAIT(all_over());
	end();
}
END_TEST

START_TEST(and_at_the_pace_of_slow_clients_with_buffers_of_any_size)
{
	static const unsigned rates[] = { 10 * KIB, 100 * KIB, 640 * KIB };
	uint64_t until = now_ms() + 400 * 1000;

	given_server();
	for (int i = 0; i < 3; i++) {
		given_steady(rates[i], rates[i] * 100 < LONGEST ? rates[i] * 100 : LONGEST, true);
		given_steady(rates[i], i ? LONGEST : 2 * MIB, false);
	}
	while (!all_over() && now_ms() < until)
		test_pause();
	end();
}
END_TEST

START_TEST(one_that_never_acknowledges_or_stops_is_let_go)
{
	given_server();
	for (enum clock k = 0; k < CLOCKS; k++) {
		given_client((struct client){ .clock = k, .peer = NEVER, .size = 8 * MIB });
		given_client((struct client){ .clock = k, .peer = STOPS, .size = LONGEST });
		given_client((struct client){
			.clock = k, .peer = STOPS, .size = 4 * MIB, .small = true });
	}
	AWAIT(all_over());
	end();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "peers");

	tcase_set_timeout(t, 500);
	tcase_add_test(t, a_steady_client_gets_all_of_it_however_short_the_clock);
	if (getenv("NP_STEADY"))
		tcase_add_test(t, and_at_the_pace_of_slow_clients_with_buffers_of_any_size);
	tcase_add_test(t, one_that_never_acknowledges_or_stops_is_let_go);
}

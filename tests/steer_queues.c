/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_queues: level 4, where the program sees what waits at each listener
 *
 * Nothing is accepted before the last client has connected: what balances is what the program has
 * read in the kernel, and not what a worker could have published.
 */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "spread.h"
#include "steer/steer.h"
#include "support/segment.h"
#include "support/steer.h"
#include "support/test.h"
#include "sys/addr.h"

#define WORKERS 8
#define BACKLOG 16
#define BURST   130 /* of the WORKERS * (BACKLOG + 1) that have room */

static const char *const exact[] = { "least-exact", "p2c-exact" };
static const char *const several[] = { "least-exact", "p2c-exact", "hash", "rr",
				       "random",      "p2c",       "auto" };

#define N(a) ((int)(sizeof(a) / sizeof *(a)))

/* A test without level 4 is not worth running, and one with it must not end below. */
#define GIVEN(r, max_, policy_, backlog_, address_)                                              \
	do {                                                                                     \
		rig_open(r, NULL, NP_OPTS(np_steer_opts, .policy = policy_, .max_level = max_)); \
		if (!max_ && rig_level(r) < NP_STEER_L4)                                         \
			SKIP("no level 4: %s", (r)->s->reason);                                  \
		(r)->backlog = backlog_;                                                         \
		for (unsigned i_ = 0; i_ < WORKERS; i_++)                                        \
			rig_worker(r, address_);                                                 \
	} while (0)

static void verdicts_add_up(const struct np_steer_stats *st)
{
	ck_assert_uint_eq(st->steered + st->fallback_hash + st->rejected_rst + st->shed_full,
			  st->syn_total);
}

static unsigned spread_after_a_burst(struct rig *r, int *fds, unsigned n)
{
	unsigned least = ~0u, most = 0, has;

	for (unsigned i = 0; i < WORKERS; i++)
		rig_publish(r, i, 10 + i);
	clients_connect(r->address, fds, n);
	ck_assert_uint_eq(rig_accept(r), n);
	for (unsigned i = 0; i < WORKERS; i++) {
		has = 10 + i + r->accepted[i];
		least = has < least ? has : least;
		most = has > most ? has : most;
		rig_publish(r, i, 0);
	}
	return most - least;
}

START_TEST(a_burst_that_nobody_has_accepted_counts)
{
	struct np_steer_stats st;
	static int fds[400];
	unsigned spread;
	struct rig r;

	OWN_STEERING();
	GIVEN(&r, 0, exact[_i], 0, "127.0.0.1:0");
	r.s->maps.config->hang_ms = 0; /* by how many wait, and not for how long */
	spread = spread_after_a_burst(&r, fds, 400);
	ck_assert_msg(spread <= (_i ? 10 : 1), "%s: connections and queue differ by %u", exact[_i],
		      spread);
	st = rig_stats(&r);
	ck_assert_uint_eq(st.steered, 400);
	verdicts_add_up(&st);
	clients_close(fds, 400);
	rig_stop(&r);
}
END_TEST

/* What makes the difference: who goes by what is published alone gives the whole burst to the
 * first. */
START_TEST(below_level_4_such_a_burst_is_not_seen)
{
	static int fds[400];
	struct rig r;

	OWN_STEERING();
	GIVEN(&r, NP_STEER_L3, "least-exact", 0, "127.0.0.1:0");
	ck_assert_uint_eq(spread_after_a_burst(&r, fds, 400), 400 + 10 - 11);
	clients_close(fds, 400);
	rig_stop(&r);
}
END_TEST

/* One after another connects without a retransmit, though each worker has room for 17. */
START_TEST(no_client_waits_while_some_queue_has_room)
{
	struct np_steer_stats st;
	static int fds[BURST];
	struct rig r;

	OWN_STEERING();
	GIVEN(&r, 0, several[_i], BACKLOG, "127.0.0.1:0");
	clients_connect(r.address, fds, BURST);
	st = rig_stats(&r);
	ck_assert_uint_eq(st.syn_total, BURST);
	ck_assert_uint_eq(st.steered, BURST);
	ck_assert_int_eq(netstat("TcpExt", "ListenOverflows"), 0);
	ck_assert_uint_eq(rig_accept(&r), BURST);
	verdicts_add_up(&st);
	clients_close(fds, BURST);
	rig_stop(&r);
}
END_TEST

static int check_half_open(void *arg, const struct np_steer_queue *q)
{
	struct rig *r = arg;
	uint64_t given = rig_worker_info(r, q->worker).steered;

	if (given) {
		ck_assert_uint_eq(q->half_open, given - 1); /* those before the last one */
		ck_assert_uint_ne(q->half_open_at, 0);
	}
	return 0;
}

/* Each is half open until all have come, and only then in the queue: both have to count. */
START_TEST(half_open_connections_take_their_room)
{
	uint32_t seqs[BURST];
	uint16_t port, from;
	struct rig r;
	int tun;

	OWN_STEERING();
	tun = far_open();
	if (tun < 0)
		SKIP("no TUN device: %s", strerror(-tun));
	/* The program notes the time in ticks, for each CPU: of two the last one is not known. */
	run_on(-1);
	GIVEN(&r, 0, several[_i], BACKLOG, FAR_SERVER ":0");
	from = (uint16_t)atoi(strchr(r.address, ':') + 1);
	for (unsigned i = 0; i < BURST; i++)
		far_send(tun, (uint16_t)(20000 + i), from, TH_SYN, 1000, 0);
	for (unsigned i = 0; i < BURST; i++) {
		uint32_t seq;

		ck_assert_uint_eq(far_receive(tun, from, &port, &seq), TH_SYN | TH_ACK);
		ck_assert_uint_lt(port - 20000u, BURST);
		seqs[port - 20000] = seq;
	}
	ck_assert_uint_eq(rig_stats(&r).syn_total, BURST);
	ck_assert_uint_eq(rig_stats(&r).steered, BURST);
	ck_assert_uint_eq(rig_accept(&r), 0);
	ck_assert_int_eq(np_steer_queues(r.s, check_half_open, &r), 0);
	for (unsigned i = 0; i < BURST; i++)
		far_send(tun, (uint16_t)(20000 + i), from, TH_ACK, 1001, seqs[i] + 1);
	AWAIT((rig_accept(&r), rig_accepted(&r) == BURST));
	ck_assert_int_eq(netstat("TcpExt", "ListenOverflows"), 0);
	close(tun);
	rig_stop(&r);
}
END_TEST

/* Non-blocking: where no queue has room the SYN is dropped, and comes again in a second. */
static int try_connect(const char *address)
{
	struct addr a;
	int fd;

	ck_assert_int_eq(addr_parse("tcp", address, &a), 0);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&a.ss, a.len), -1);
	ck_assert_int_eq(errno, EINPROGRESS);
	return fd;
}

static void given_all_full(struct rig *r, int *fds, const char *on_exhausted)
{
	GIVEN(r, 0, "least-exact", BACKLOG, "127.0.0.1:0");
	ck_assert_int_eq(np_steer_set_param(r->s, "on_exhausted", on_exhausted), 0);
	clients_connect(r->address, fds, WORKERS * (BACKLOG + 1));
	ck_assert_uint_eq(rig_stats(r).steered, WORKERS * (BACKLOG + 1));
}

START_TEST(where_every_queue_is_full_a_syn_is_dropped_and_counted)
{
	static int fds[WORKERS * (BACKLOG + 1) + 1];
	const unsigned full = WORKERS * (BACKLOG + 1);
	struct np_steer_stats st;
	struct rig r;

	OWN_STEERING();
	given_all_full(&r, fds, _i ? "full_queue" : "serve");
	fds[full] = try_connect(r.address);

	st = rig_stats(&r);
	ck_assert_uint_eq(st.steered, full);
	ck_assert_uint_ge(_i ? st.shed_full : st.fallback_hash, 1); /* it may have come again */
	ck_assert_uint_eq(_i ? st.fallback_hash : st.shed_full, 0);
	ck_assert_uint_ge(st.skipped_full, WORKERS);
	verdicts_add_up(&st);
	ck_assert_int_ge(netstat("TcpExt", "ListenOverflows"), 1);

	ck_assert_uint_eq(rig_accept(&r), full);
	await_fd(fds[full], POLLOUT); /* and is served when there is room */
	AWAIT((rig_accept(&r), rig_accepted(&r) == full + 1));
	st = rig_stats(&r);
	verdicts_add_up(&st);
	ck_assert_uint_eq(st.steered, full + 1);
	clients_close(fds, full + 1);
	rig_stop(&r);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "queues");

	rig_no_rescue = true;
	tcase_add_loop_test(t, a_burst_that_nobody_has_accepted_counts, 0, N(exact));
	tcase_add_test(t, below_level_4_such_a_burst_is_not_seen);
	tcase_add_loop_test(t, no_client_waits_while_some_queue_has_room, 0, N(several));
	tcase_add_loop_test(t, half_open_connections_take_their_room, 0, N(several));
	tcase_add_loop_test(t, where_every_queue_is_full_a_syn_is_dropped_and_counted, 0, 2);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_migrate: a listener that closes loses nothing of what it has queued
 *
 * Counted three times: by the clients (no reset), by the kernel (TCPMigrateReqSuccess) and by the
 * program (migrated_*, in and out of each worker).
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "steer/steer.h"
#include "support/child.h"
#include "support/steer.h"
#include "support/test.h"

#define CLIENTS 500

static int clients[CLIENTS];

static void connect_all(const struct rig *r, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		clients[i] = client_connect(r->address);
		ck_assert_msg(clients[i] >= 0, "connect: %s", strerror(-clients[i]));
	}
}

/* Clients that were reset: their socket has an error or ended without a byte being sent to them. */
static unsigned count_resets(unsigned n)
{
	unsigned resets = 0;
	char c;

	for (unsigned i = 0; i < n; i++)
		resets += recv(clients[i], &c, 1, MSG_DONTWAIT) >= 0 || errno != EAGAIN;
	return resets;
}

static void close_all(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		client_close(&clients[i]);
}

/* accepted = steered + fallback + migrated in - migrated out, for each that still listens. */
static void check_balance(const struct rig *r)
{
	for (unsigned i = 0; i < r->n; i++) {
		struct np_steer_worker_info w = rig_worker_info(r, i);

		ck_assert_uint_eq(w.steered + w.fallback + w.migrated_in - w.migrated_out,
				  r->accepted[i]);
	}
}

/* All CLIENTS are queued at worker 0, which then closes. */
static void queue_at_first(struct rig *r)
{
	for (unsigned i = 1; i < r->n; i++)
		np_steer_kick(r->s, (unsigned)np_steer_worker_index(r->w[i]));
	connect_all(r, CLIENTS);
	ck_assert_uint_eq(rig_worker_info(r, 0).steered, CLIENTS);
	for (unsigned i = 1; i < r->n; i++)
		np_steer_undrain(r->s, (unsigned)np_steer_worker_index(r->w[i]));
}

START_TEST(a_closed_listener_hands_its_queue_to_its_siblings)
{
	const char *policy = np_steer_policies((unsigned)_i);
	long long before;
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 4, NP_OPTS(np_steer_opts, .policy = policy));
	queue_at_first(&r);
	before = netstat("TcpExt", "TCPMigrateReqSuccess");

	rig_close_listener(&r, 0);

	ck_assert_int_eq(netstat("TcpExt", "TCPMigrateReqSuccess") - before, CLIENTS);
	ck_assert_uint_eq(count_resets(CLIENTS), 0);
	ck_assert_uint_eq(rig_accept(&r), CLIENTS);
	ck_assert_uint_eq(rig_stats(&r).migrated_child, CLIENTS);
	ck_assert_uint_eq(rig_stats(&r).migrated_none, 0);
	ck_assert_uint_eq(rig_worker_info(&r, 0).migrated_out, CLIENTS);
	check_balance(&r);
	for (unsigned i = 1; i < 4; i++) /* by hash, whatever the policy */
		ck_assert_uint_gt(r.accepted[i], CLIENTS / 6);
	close_all(CLIENTS);
	rig_stop(&r);
}
END_TEST

/* Half open: the handshake is complete, but the listener wants to see a byte first. */
START_TEST(half_open_connections_migrate_too)
{
	int defer = 60;
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 4, NULL);
	for (unsigned i = 0; i < r.n; i++)
		ck_assert_int_eq(setsockopt(r.fd[i], IPPROTO_TCP, TCP_DEFER_ACCEPT, &defer,
					    sizeof defer),
				 0);
	connect_all(&r, 200);
	ck_assert_uint_eq(rig_accept(&r), 0);
	rig_close_listener(&r, 1);

	for (unsigned i = 0; i < 200; i++)
		ck_assert_int_eq(send(clients[i], "x", 1, MSG_NOSIGNAL), 1);
	ck_assert_uint_eq(rig_accept(&r), 200);
	ck_assert_uint_eq(rig_stats(&r).migrated_request, rig_worker_info(&r, 1).steered);
	ck_assert_uint_gt(rig_stats(&r).migrated_request, 0);
	check_balance(&r);
	close_all(200);
	rig_stop(&r);
}
END_TEST

static void serve_and_wait(int sock, void *arg)
{
	struct rig *r = arg;

	rig_open(r, "web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN));
	rig_worker(r, "127.0.0.1:7400");
	child_say(sock, 'r');
	child_hear(sock);
}

START_TEST(a_killed_process_loses_no_queued_connection)
{
	struct rig r, theirs;
	struct child c;

	OWN_STEERING();
	ck_assert_int_eq(np_steer_load("web", NP_OPTS(np_steer_load_opts, .hang_ms = RIG_HANG_MS)),
			 0);
	child_start(&c, serve_and_wait, &theirs);
	child_hear(c.sock);
	rig_open(&r, "web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN));
	rig_worker(&r, "127.0.0.1:7400");
	connect_all(&r, CLIENTS);

	child_kill(&c);

	ck_assert_uint_eq(count_resets(CLIENTS), 0);
	ck_assert_uint_eq(rig_accept(&r), CLIENTS);
	ck_assert_uint_gt(rig_stats(&r).migrated_child, 0);
	check_balance(&r);
	close_all(CLIENTS);
	rig_stop(&r);
	ck_assert_int_eq(np_steer_unload("web", NULL), 0);
}
END_TEST

/* SK_DROP there would reset connections that exist. */
START_TEST(migration_never_refuses_whatever_on_exhausted_says)
{
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 3, NULL);
	queue_at_first(&r);
	r.s->maps.config->on_exhausted = NP_EXHAUSTED_RST;
	r.s->maps.config->rst_confirm = NP_RST_CONFIRM;
	np_steer_drain(r.s, (unsigned)np_steer_worker_index(r.w[1]));
	np_steer_kick(r.s, (unsigned)np_steer_worker_index(r.w[2]));
	rig_close_listener(&r, 0);

	ck_assert_uint_eq(count_resets(CLIENTS), 0);
	ck_assert_uint_eq(rig_accept(&r), CLIENTS);
	ck_assert_uint_eq(r.accepted[1], CLIENTS);
	check_balance(&r);
	close_all(CLIENTS);
	rig_stop(&r);
}
END_TEST

/* What a rescue does to a hung worker, and what that worker does when it is back. */
START_TEST(a_shut_listener_can_listen_and_be_added_again)
{
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 2, NULL);
	queue_at_first(&r);
	ck_assert_int_eq(shutdown(r.fd[0], SHUT_RD), 0);
	ck_assert_uint_eq(count_resets(CLIENTS), 0);
	ck_assert_uint_eq(rig_accept(&r), CLIENTS);
	ck_assert_uint_eq(r.accepted[1], CLIENTS);
	close_all(CLIENTS);

	ck_assert_int_eq(listen(r.fd[0], 4096), 0);
	ck_assert_int_eq(np_steer_add(r.w[0], r.fd[0]), 0);
	ck_assert_int_eq(np_steer_add(r.w[0], r.fd[0]), 0); /* harmless */
	rig_drive(&r, 200);
	ck_assert_uint_gt(r.accepted[0], 0);
	ck_assert_uint_eq(rig_stats(&r).fallback_hash, 0);
	check_balance(&r);
	rig_stop(&r);
}
END_TEST

/* Drain without loss: leave, accept what is there, close. */
START_TEST(a_worker_that_leaves_keeps_its_queue_until_it_closes)
{
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 2, NULL);
	queue_at_first(&r);
	ck_assert_int_eq(np_steer_leave(r.w[0]), 0);
	ck_assert_uint_eq(rig_accept(&r), CLIENTS);
	ck_assert_uint_eq(r.accepted[0], CLIENTS);
	close_all(CLIENTS);

	rig_drive(&r, 100);
	ck_assert_uint_eq(r.accepted[1], 100);
	ck_assert_uint_eq(rig_stats(&r).fallback_hash, 0);
	rig_stop(&r);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "migrate");

	tcase_add_loop_test(t, a_closed_listener_hands_its_queue_to_its_siblings, 0, 3);
	tcase_add_test(t, half_open_connections_migrate_too);
	tcase_add_test(t, a_killed_process_loses_no_queued_connection);
	tcase_add_test(t, migration_never_refuses_whatever_on_exhausted_says);
	tcase_add_test(t, a_shut_listener_can_listen_and_be_added_again);
	tcase_add_test(t, a_worker_that_leaves_keeps_its_queue_until_it_closes);
}

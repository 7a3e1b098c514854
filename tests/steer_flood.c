/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_flood: SYNs that nobody completes: they refuse no client, and cost no more where workers
 * are many
 *
 * The flood comes segment by segment from an address that no kernel has, so that its connections
 * stay half open.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "steer/steer.h"
#include "support/segment.h"
#include "support/steer.h"
#include "support/test.h"

#define FEW   4
#define MANY  40 /* more than are walked for every SYN */
#define MOST  250
#define FLOOD 400

static const char *const policies[] = { "auto", "hash", "rr", "least-exact", "maglev" };
#define POLICIES (int)(sizeof policies / sizeof *policies)

struct flood {
	struct rig r;
	int tun;
	uint16_t to;   /* the service's port */
	uint16_t next; /* port that the next SYN comes from */
};

#define GIVEN(f, n, policy_, backlog_)                                              \
	do {                                                                        \
		(f)->tun = far_open();                                              \
		if ((f)->tun < 0)                                                   \
			SKIP("no TUN device: %s", strerror(-(f)->tun));             \
		rig_open(&(f)->r, NULL, NP_OPTS(np_steer_opts, .policy = policy_)); \
		if (rig_level(&(f)->r) < NP_STEER_L4)                               \
			SKIP("no level 4: %s", (f)->r.s->reason);                   \
		(f)->r.backlog = backlog_;                                          \
		for (unsigned i_ = 0; i_ < (n); i_++)                               \
			rig_worker(&(f)->r, FAR_SERVER ":0");                       \
		(f)->to = (uint16_t)atoi(strchr((f)->r.address, ':') + 1);          \
		(f)->next = 20000;                                                  \
	} while (0)

static void flood_end(struct flood *f)
{
	close(f->tun);
	rig_stop(&f->r);
}

/* What came back is left unread: the device drops what it has no room for. */
static void send_syns(struct flood *f, unsigned n)
{
	while (n--)
		far_send(f->tun, f->next++, f->to, TH_SYN, 1000, 0);
}

/* A SYN whose answer is waited for. */
static uint8_t try_syn(struct flood *f, uint32_t *ret_seq)
{
	uint16_t from = f->next, port;
	uint8_t flags;

	send_syns(f, 1);
	do
		flags = far_receive(f->tun, f->to, &port, ret_seq);
	while (port != from);
	return flags;
}

static void set(struct flood *f, const char *name, const char *value)
{
	ck_assert_msg(np_steer_set_param(f->r.s, name, value) == 0, "%s", np_steer_error(f->r.s));
}

START_TEST(a_flood_refuses_no_client_where_rst_is_asked_for)
{
	struct np_steer_stats st;
	struct flood f = { 0 };
	uint32_t seq = 0;

	OWN_STEERING();
	GIVEN(&f, FEW, policies[_i], 16);
	set(&f, "on_exhausted", "rst");
	for (unsigned i = 0; i < 200; i++) /* of 68 that have room */
		ck_assert_uint_eq(try_syn(&f, &seq), TH_SYN | TH_ACK);

	/* And who completes it is served: the last one's was a SYN cookie. */
	far_send(f.tun, (uint16_t)(f.next - 1), f.to, TH_ACK, 1001, seq + 1);
	AWAIT(rig_accept(&f.r) == 1);
	st = rig_stats(&f.r);
	ck_assert_uint_eq(st.rejected_rst, 0);
	ck_assert_uint_eq(st.steered + st.fallback_hash, st.syn_total);
	flood_end(&f);
}
END_TEST

START_TEST(where_every_accept_queue_is_full_rst_refuses)
{
	static int fds[FEW * 17];
	struct flood f = { 0 };

	OWN_STEERING();
	GIVEN(&f, FEW, policies[_i], 16);
	set(&f, "on_exhausted", "rst");
	clients_connect(f.r.address, fds, FEW * 17);
	ck_assert_int_eq(client_connect(f.r.address), -ECONNREFUSED);
	ck_assert_uint_eq(rig_stats(&f.r).rejected_rst, 1);
	ck_assert_uint_eq(rig_accept(&f.r), FEW * 17);
	clients_close(fds, FEW * 17);
	fds[0] = client_connect(f.r.address);
	ck_assert_int_ge(fds[0], 0);
	clients_close(fds, 1);
	flood_end(&f);
}
END_TEST

/* Each finds the place that is left, however many workers there are. */
START_TEST(no_client_waits_while_one_of_many_has_room)
{
	static int fds[MANY * 2];
	struct flood f = { 0 };

	OWN_STEERING();
	GIVEN(&f, MANY, policies[_i], 1);
	clients_connect(f.r.address, fds, MANY * 2);
	ck_assert_uint_eq(rig_stats(&f.r).steered, MANY * 2);
	ck_assert_int_eq(netstat("TcpExt", "ListenOverflows"), 0);
	ck_assert_uint_eq(rig_accept(&f.r), MANY * 2);
	clients_close(fds, MANY * 2);
	flood_end(&f);
}
END_TEST

/*
 * Once a walk has met nobody with room, the next SYNs look at a few workers each. A process that is
 * stopped for a while between two SYNs walks again: half of them may.
 */
START_TEST(where_all_are_full_a_syn_does_not_look_at_every_worker)
{
	struct np_steer_stats before, after;
	struct flood f = { 0 };

	OWN_STEERING();
	/* A SYN that is sent again, or an RST that the device brings later, would count too. */
	run_on(-1);
	GIVEN(&f, MANY, policies[_i], 1);
	send_syns(&f, 4 * MANY);
	before = rig_stats(&f.r);
	send_syns(&f, FLOOD);
	after = rig_stats(&f.r);
	ck_assert_uint_ge(after.syn_total - before.syn_total, FLOOD);
	ck_assert_uint_eq(after.steered, before.steered);
	ck_assert_uint_lt(after.skipped_full - before.skipped_full, FLOOD * MANY / 2);
	flood_end(&f);
}
END_TEST

/* ------------------------------------------------------------------ looks, counted */

#define SPENT_NS 4000000u /* bpf/steer_input.h */

struct looks {
	struct np_steer *s;
	_Atomic(unsigned) n;
	unsigned most, tried; /* of one SYN that did not walk */
	unsigned walks;
	uint64_t walked_at_ns;
	unsigned too_soon; /* walks less than SPENT_NS after another */
};

/* Four draws, and the one that the walk fell back on. */
#define FEW_LOOKS 5

static int count_looks(void *arg, const struct np_steer_decision *d)
{
	struct looks *l = arg;

	if (d->candidates > FEW_LOOKS) {
		l->too_soon += l->walks++ && d->at_ns - l->walked_at_ns < SPENT_NS;
		l->walked_at_ns = d->at_ns;
	} else {
		l->most = d->candidates > l->most ? d->candidates : l->most;
		l->tried = d->tried > l->tried ? d->tried : l->tried;
	}
	return ++l->n == FLOOD;
}

static void *look_on(void *arg)
{
	struct looks *l = arg;

	return (void *)(intptr_t)np_steer_trace(l->s, 65536, -1, count_looks, l);
}

/*
 * Of 250, with every queue full: a SYN looks at four workers, tries each and goes back to the one
 * before, at the utmost. One in 4 ms walks.
 */
START_TEST(of_the_most_workers_a_syn_looks_at_a_few)
{
	struct flood f = { 0 };
	struct looks l = { 0 };
	pthread_t thread;

	OWN_STEERING();
	run_on(-1);
	GIVEN(&f, MOST, policies[_i], 1);
	send_syns(&f, 4 * MOST);
	l.s = f.r.s;
	ck_assert_int_eq(pthread_create(&thread, NULL, look_on, &l), 0);
	AWAIT(__atomic_load_n(&f.r.s->maps.config->trace, __ATOMIC_RELAXED) == 65536);
	for (unsigned i = 1; i <= 4; i++) { /* the ring holds so many */
		send_syns(&f, FLOOD / 4);
		AWAIT(l.n >= i * FLOOD / 4);
	}
	pthread_join(thread, NULL);
	fprintf(stderr, "%-12s %u of %u SYNs walked; the others looked at %u, tried %u\n",
		policies[_i], l.walks, FLOOD, l.most, l.tried);
	ck_assert_uint_eq(l.too_soon, 0);
	ck_assert_uint_lt(l.walks, FLOOD);
	ck_assert_uint_le(l.tried, 2 * FEW_LOOKS);
	ck_assert_uint_le(rig_stats(&f.r).steered, 2 * MOST);
	flood_end(&f);
}
END_TEST

/* Room is found again, though a moment ago there was none. */
START_TEST(after_a_flood_clients_are_steered)
{
	static int fds[MANY * 2];
	struct flood f = { 0 };
	uint64_t steered;
	int fd;

	OWN_STEERING();
	GIVEN(&f, MANY, policies[_i], 1);
	clients_connect(f.r.address, fds, MANY * 2);
	send_syns(&f, FLOOD);
	steered = rig_stats(&f.r).steered;
	ck_assert_uint_eq(rig_accept(&f.r), MANY * 2);
	clients_close(fds, MANY * 2);
	fd = client_connect(f.r.address); /* if it was dropped it comes again */
	ck_assert_int_ge(fd, 0);
	ck_assert_uint_gt(rig_stats(&f.r).steered, steered);
	client_close(&fd);
	flood_end(&f);
}
END_TEST

/* All have full accept queues but one, which is crowded by half-open ones: it is remembered, and
 * nobody is refused. */
START_TEST(the_one_that_answers_with_cookies_is_found_among_many_that_are_full)
{
	static int fds[MANY * 2];
	struct flood f = { 0 };
	uint32_t seq;
	int got;

	OWN_STEERING();
	run_on(-1);
	GIVEN(&f, MANY, policies[_i], 1);
	set(&f, "on_exhausted", "rst");
	clients_connect(f.r.address, fds, MANY * 2);
	for (unsigned i = 0; i < 2; i++) {
		got = accept4(f.r.fd[7], NULL, NULL, SOCK_CLOEXEC);
		ck_assert_int_ge(got, 0);
		close(got);
	}
	for (unsigned i = 0; i < 200; i++)
		ck_assert_uint_eq(try_syn(&f, &seq), TH_SYN | TH_ACK);
	ck_assert_uint_eq(rig_stats(&f.r).rejected_rst, 0);
	clients_close(fds, MANY * 2);
	flood_end(&f);
}
END_TEST

/* ------------------------------------------------------------------ draining, with room */

/* What a full listener drops, the client sends again after a second. */
START_TEST(who_drains_and_has_room_is_taken_before_who_is_full)
{
	static const unsigned sizes[] = { FEW, MANY };
	unsigned n = sizes[_i % 2], full = 2 * (n - 1);
	static int fds[2 * MANY + 64];
	struct np_steer_stats st;
	struct flood f = { 0 };

	OWN_STEERING();
	GIVEN(&f, n - 1, policies[_i / 2], 1);
	clients_connect(f.r.address, fds, full);
	f.r.backlog = 1000;
	rig_worker(&f.r, f.r.address);
	ck_assert_int_eq(np_steer_drain(f.r.s, n - 1), 0);
	clients_connect(f.r.address, fds + full, 64);
	ck_assert_int_eq(netstat("TcpExt", "ListenOverflows"), 0);
	st = rig_stats(&f.r);
	ck_assert_uint_eq(st.steered, full);
	ck_assert_uint_eq(st.fallback_hash, 64);
	ck_assert_uint_eq(rig_worker_info(&f.r, n - 1).fallback, 64);
	ck_assert_uint_eq(rig_accept(&f.r), full + 64);
	clients_close(fds, full + 64);
	flood_end(&f);
}
END_TEST

/* ------------------------------------------------------------------ told */

struct told {
	struct np_steer *s;
	_Atomic(unsigned) n;
	unsigned agreed, incomplete, wrong;
};

static int hear(void *arg, const struct np_steer_decision *d)
{
	struct told *t = arg;

	t->agreed += d->replay == 0;
	t->incomplete += d->replay == -ENODATA;
	t->wrong += d->replay != 0 && d->replay != -ENODATA;
	return ++t->n == FLOOD;
}

static void *listen_to(void *arg)
{
	struct told *t = arg;

	return (void *)(intptr_t)np_steer_trace(t->s, 65536, -1, hear, t);
}

START_TEST(the_replay_agrees_with_decisions_under_a_flood)
{
	struct told t = { 0 };
	struct flood f = { 0 };
	pthread_t thread;

	OWN_STEERING();
	GIVEN(&f, MANY, policies[_i], 1);
	send_syns(&f, MANY); /* the others have room still */
	t.s = f.r.s;
	ck_assert_int_eq(pthread_create(&thread, NULL, listen_to, &t), 0);
	AWAIT(__atomic_load_n(&f.r.s->maps.config->trace, __ATOMIC_RELAXED) == 65536);
	for (unsigned i = 1; i <= 4; i++) { /* the ring holds so many */
		send_syns(&f, FLOOD / 4);
		AWAIT(t.n >= i * FLOOD / 4);
	}
	pthread_join(thread, NULL);
	ck_assert_uint_eq(t.wrong, 0);
	ck_assert_uint_gt(t.agreed, FLOOD / 8); /* a walk has more inputs than are noted */
	flood_end(&f);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "flood");

	rig_no_rescue = true;
	tcase_add_loop_test(t, a_flood_refuses_no_client_where_rst_is_asked_for, 0, POLICIES);
	tcase_add_loop_test(t, where_every_accept_queue_is_full_rst_refuses, 0, POLICIES);
	tcase_add_loop_test(t, no_client_waits_while_one_of_many_has_room, 0, POLICIES);
	tcase_add_loop_test(t, where_all_are_full_a_syn_does_not_look_at_every_worker, 0, POLICIES);
	tcase_add_loop_test(t, of_the_most_workers_a_syn_looks_at_a_few, 0, POLICIES);
	tcase_add_loop_test(t, who_drains_and_has_room_is_taken_before_who_is_full, 0,
			    2 * POLICIES);
	tcase_add_loop_test(t, after_a_flood_clients_are_steered, 0, POLICIES);
	tcase_add_loop_test(t, the_one_that_answers_with_cookies_is_found_among_many_that_are_full,
			    0, POLICIES);
	tcase_add_loop_test(t, the_replay_agrees_with_decisions_under_a_flood, 0, POLICIES);
}

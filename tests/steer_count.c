/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_count: connections counted by the kernel for servers that publish nothing
 *
 * Each is told of twice: the server knows what it has accepted and what it has, and the lines say
 * it. NP_LIVES: how many random lives there are (default 4000).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "count_abi.h"

#include "steer/count.h"
#include "steer/steer.h"
#include "steer/tracer.h"
#include "support/keeper.h"
#include "support/steer.h"
#include "support/test.h"
#include "sys/fault.h"
#include "sys/process.h"

#define MOST 4

/* Keepers, each of which is a worker of a private service, or of a pinned one. */
struct shop {
	struct np_steer *s;
	struct np_steer_worker *w[MOST];
	struct keeper k[MOST];
	unsigned n;
};

static char why[NP_STEER_TEXT_MAX];

static int shop_on(struct shop *p)
{
	int r = steer_lock(p->s);

	if (r == 0) {
		r = count_on(p->s);
		steer_unlock(p->s);
	}
	return r;
}

/* A duplicate of keeper @i's listener. */
static int shop_listener(struct shop *p, unsigned i)
{
	int fd = -1;

	ck_assert_int_eq(sys_process_take(p->k[i].child.pid, p->k[i].listener, &fd), 0);
	return fd;
}

static void shop_tag(struct shop *p, unsigned i)
{
	int fd = shop_listener(p, i);

	ck_assert_int_eq(count_tag(p->s, np_steer_worker_index(p->w[i]), fd), 0);
	close(fd);
}

static unsigned shop_seed(struct shop *p, unsigned i, bool retag)
{
	int fd = shop_listener(p, i), r;
	unsigned n = 0;

	ck_assert_int_eq(steer_lock(p->s), 0);
	count_seed_begin(p->s, KEEPER_PORT);
	r = count_seed(p->s, np_steer_worker_index(p->w[i]), fd,
		       &(struct count_task){ .pid = p->k[i].child.pid }, retag, &n);
	count_seed_end(p->s);
	steer_unlock(p->s);
	ck_assert_msg(r == 0, "%d %s", r, np_steer_error(p->s));
	close(fd);
	return n;
}

static void shop_close(struct shop *p)
{
	for (unsigned i = 0; i < p->n; i++) {
		keeper_end(&p->k[i]);
		ck_assert_int_eq(np_steer_worker_close(&p->w[i]), 0);
	}
	ck_assert_int_eq(np_steer_close(&p->s), 0);
}

static void shop_open(struct shop *p, unsigned n, const char *service, const char *address)
{
	int r;

	memset(p, 0, sizeof *p);
	p->n = n;
	r = np_steer_open(service,
			  NP_OPTS(np_steer_opts, .rescue = NP_OFF, .error = why,
				  .error_cap = sizeof why),
			  &p->s);
	ck_assert_msg(r == 0, "%d %s", r, why);
	for (unsigned i = 0; i < n; i++) {
		keeper_start(&p->k[i], address);
		ck_assert_int_eq(np_steer_worker(p->s, "keeper", &p->w[i]), 0);
	}
}

/* First lines of a test. */
#define SHOP(shop, n, service, address)                                             \
	do {                                                                        \
		int r_;                                                             \
		OWN_STEERING();                                                     \
		shop_open(shop, n, service, address);                               \
		r_ = shop_on(shop);                                                 \
		if (r_ == -EPERM) {                                                 \
			snprintf(why, sizeof why, "%s", np_steer_error((shop)->s)); \
			shop_close(shop);                                           \
			SKIP("%s", why);                                            \
		}                                                                   \
		ck_assert_msg(r_ == 0, "%d %s", r_, np_steer_error((shop)->s));     \
	} while (0)

static struct np_steer_worker_info shop_line(struct shop *p, unsigned i)
{
	struct np_steer_worker_info line;

	np_steer_worker_info_init(&line);
	ck_assert_int_eq(np_steer_worker_info(p->s, np_steer_worker_index(p->w[i]), &line), 0);
	return line;
}

static uint64_t shop_conns(struct shop *p, unsigned i)
{
	return shop_line(p, i).conns;
}

/* ------------------------------------------------------------------ one after another */

START_TEST(a_connection_counts_from_its_handshake_to_its_first_end)
{
	struct shop p;
	int c[6];

	SHOP(&p, 1, NULL, "127.0.0.1");
	shop_tag(&p, 0);
	keeper_pause(&p.k[0]);
	for (unsigned i = 0; i < 6; i++)
		c[i] = client_connect(KEEPER_AT);
	AWAIT(shop_conns(&p, 0) == 6); /* nobody has accepted them */
	client_close(&c[0]);           /* reset in the queue */
	AWAIT(shop_conns(&p, 0) == 5);
	keeper_go_on(&p.k[0]);
	AWAIT(keeper_ask(&p.k[0]).accepted == 6);
	ck_assert_int_eq(send(c[1], "c", 1, 0), 1);
	keeper_await_end(c[1]);
	AWAIT(shop_conns(&p, 0) == 4);
	ck_assert_int_eq(send(c[2], "s", 1, 0), 1); /* its side alone */
	keeper_await_end(c[2]);
	AWAIT(shop_conns(&p, 0) == 3);
	ck_assert_int_eq(send(c[3], "r", 1, 0), 1);
	keeper_await_end(c[3]);
	AWAIT(shop_conns(&p, 0) == 2);
	close(c[4]);
	AWAIT(shop_conns(&p, 0) == 1);
	client_close(&c[5]);
	AWAIT(shop_conns(&p, 0) == 0);
	close(c[2]);
	AWAIT(keeper_ask(&p.k[0]).live == 0);
	ck_assert_uint_eq(shop_line(&p, 0).accepted_total, 6);
	ck_assert_uint_eq(shop_line(&p, 0).closed_total, 6);
	shop_close(&p);
}
END_TEST

#ifdef NP_FAULT

/* There are kernels that refuse the iterator which sweeps. */
START_TEST(where_nothing_can_be_swept_connections_are_counted_all_the_same)
{
	struct shop p;
	int r, c;

	OWN_STEERING();
	shop_open(&p, 1, NULL, "127.0.0.1");
	sys_fault_arm(SYS_bpf, 1, EPERM); /* all programs at once */
	r = shop_on(&p);
	if (r == -EPERM)
		SKIP("%s", np_steer_error(p.s));
	ck_assert_int_eq(r, 0);
	ck_assert(sys_fault_hit(SYS_bpf));
	ck_assert_int_eq(count_tracer(p.s)->fd[TRACER_SWEEP], -1);
	shop_tag(&p, 0);
	c = keeper_client(KEEPER_AT, 'k');
	AWAIT(shop_conns(&p, 0) == 1);
	close(c);
	AWAIT(shop_conns(&p, 0) == 0);
	shop_close(&p);
}
END_TEST

#endif

/* The other's sockets, and those of our clients, have no tag. */
START_TEST(what_has_no_tag_is_not_counted)
{
	struct shop p;
	unsigned other;
	int c[64];

	SHOP(&p, 2, NULL, "127.0.0.1");
	shop_tag(&p, 0);
	for (unsigned i = 0; i < 64; i++)
		c[i] = keeper_client(KEEPER_AT, 'k');
	AWAIT(keeper_ask(&p.k[0]).live + keeper_ask(&p.k[1]).live == 64);
	other = keeper_ask(&p.k[1]).live;
	ck_assert_uint_gt(other, 0);
	ck_assert_uint_eq(shop_conns(&p, 0), 64 - other);
	ck_assert_uint_eq(shop_conns(&p, 1), 0);
	for (unsigned i = 0; i < 64; i++)
		close(c[i]);
	AWAIT(shop_conns(&p, 0) == 0);
	ck_assert_uint_eq(shop_line(&p, 1).closed_total, 0);
	shop_close(&p);
}
END_TEST

START_TEST(a_service_that_counts_is_of_level_five)
{
	struct np_steer_info i;
	struct shop p;

	SHOP(&p, 1, NULL, "127.0.0.1");
	np_steer_info_init(&i);
	ck_assert_int_eq(np_steer_info(p.s, &i), 0);
	ck_assert_int_eq(i.level, NP_STEER_L5);
	ck_assert(count_is_on(p.s));
	ck_assert_int_eq(steer_lock(p.s), 0);
	count_off_unused(p.s);
	steer_unlock(p.s);
	ck_assert(!count_is_on(p.s));
	ck_assert_int_eq(np_steer_info(p.s, &i), 0);
	ck_assert_int_eq(i.level, NP_STEER_L4);
	shop_close(&p);
}
END_TEST

/* ------------------------------------------------------------------ seed */

static const char *const places[] = { "127.0.0.1", "0.0.0.0", "[::1]", "[::]" };
static const char *const clients[] = { KEEPER_AT, KEEPER_AT, "[::1]:7490", KEEPER_AT };

START_TEST(connections_that_were_there_before_are_found)
{
	struct shop p;
	int c[40];

	SHOP(&p, 2, NULL, places[_i]);
	for (unsigned i = 0; i < 40; i++)
		c[i] = keeper_client(clients[_i], 'k');
	AWAIT(keeper_ask(&p.k[0]).live + keeper_ask(&p.k[1]).live == 40);
	for (unsigned w = 0; w < 2; w++) {
		shop_tag(&p, w);
		ck_assert_uint_eq(shop_conns(&p, w), 0);
		ck_assert_uint_eq(shop_seed(&p, w, false), keeper_ask(&p.k[w]).live);
		ck_assert_uint_eq(shop_seed(&p, w, false), 0); /* once */
		ck_assert_uint_eq(shop_conns(&p, w), keeper_ask(&p.k[w]).live);
	}
	for (unsigned i = 0; i < 40; i++)
		close(c[i]);
	AWAIT(shop_conns(&p, 0) == 0 && shop_conns(&p, 1) == 0);
	ck_assert_uint_eq(shop_line(&p, 0).closed_total + shop_line(&p, 1).closed_total, 40);
	shop_close(&p);
}
END_TEST

START_TEST(a_seed_finds_none_of_another_port_or_address_or_that_has_ended)
{
	struct shop p;
	int c, d;

	SHOP(&p, 1, NULL, "127.0.0.1");
	c = keeper_client(KEEPER_AT, 's');
	keeper_await_end(c);
	d = keeper_client(KEEPER_AT, 'k');
	client_close(&d);
	AWAIT(keeper_ask(&p.k[0]).live == 0);
	shop_tag(&p, 0);
	ck_assert_uint_eq(shop_seed(&p, 0, true), 0);
	ck_assert_uint_eq(shop_conns(&p, 0), 0);
	close(c);
	AWAIT(keeper_ask(&p.k[0]).accepted == 2);
	ck_assert_uint_eq(shop_line(&p, 0).closed_total, 0);
	shop_close(&p);
}
END_TEST

/* The queue of a listener that closes goes to the others, and its connections keep their tags. */
START_TEST(what_migrated_counts_for_its_new_worker_after_a_retag)
{
	struct shop p;
	int c[40];

	SHOP(&p, 2, NULL, "127.0.0.1");
	ck_assert_int_eq(write_file("/proc/sys/net/ipv4/tcp_migrate_req", "1"), 0);
	for (unsigned w = 0; w < 2; w++)
		shop_tag(&p, w);
	keeper_pause(&p.k[0]);
	for (unsigned i = 0; i < 40; i++)
		c[i] = keeper_client(KEEPER_AT, 'k');
	AWAIT(shop_conns(&p, 0) + shop_conns(&p, 1) == 40);
	ck_assert_uint_gt(shop_conns(&p, 0), 0);
	keeper_listen_anew(&p.k[0]);
	shop_tag(&p, 0);
	AWAIT(keeper_ask(&p.k[0]).live + keeper_ask(&p.k[1]).live == 40);
	shop_seed(&p, 0, true);
	shop_seed(&p, 1, true);
	for (unsigned w = 0; w < 2; w++) {
		struct np_steer_worker_info line = shop_line(&p, w);

		ck_assert_uint_eq(line.conns, keeper_ask(&p.k[w]).live);
		ck_assert_uint_eq(line.conns, line.accepted_total - line.closed_total);
	}
	for (unsigned i = 0; i < 40; i++)
		close(c[i]);
	AWAIT(shop_conns(&p, 0) == 0 && shop_conns(&p, 1) == 0);
	shop_close(&p);
}
END_TEST

/* ------------------------------------------------------------------ an end, and another owner */

/* Connections of a server that is no worker any more end later. */
START_TEST(a_number_that_has_another_owner_is_not_disturbed_by_the_former_ones_connections)
{
	unsigned w, n = 0;
	struct shop p;
	int c[20];

	SHOP(&p, 1, NULL, "127.0.0.1");
	shop_tag(&p, 0);
	for (unsigned i = 0; i < 20; i++)
		c[i] = keeper_client(KEEPER_AT, 'k');
	AWAIT(keeper_ask(&p.k[0]).live == 20);
	w = (unsigned)np_steer_worker_index(p.w[0]);
	ck_assert_uint_eq(shop_conns(&p, 0), 20);
	ck_assert_int_eq(np_steer_worker_close(&p.w[0]), 0); /* no EBUSY: they are not its own */
	ck_assert_int_eq(np_steer_worker(p.s, "native", &p.w[0]), 0);
	ck_assert_int_eq(np_steer_worker_index(p.w[0]), (int)w);
	np_steer_conn_inc(p.w[0]);
	for (; n < 10; n++)
		close(c[n]);
	AWAIT(keeper_ask(&p.k[0]).live == 10);
	ck_assert_uint_eq(shop_conns(&p, 0), 1);
	np_steer_conn_dec(p.w[0]);
	shop_tag(&p, 0); /* and counted again: the ten are found, under a new generation */
	ck_assert_uint_eq(shop_seed(&p, 0, false), 10);
	for (; n < 20; n++)
		close(c[n]);
	AWAIT(shop_conns(&p, 0) == 0);
	ck_assert_uint_eq(shop_line(&p, 0).closed_total, 11);
	shop_close(&p);
}
END_TEST

/* ------------------------------------------------------------------ what steers by it */

#define BURST 400

static const char *const exact[] = { "least-exact", "p2c-exact" };

/* Nothing is accepted: what waits is among the connections of those that are counted, and is read
 * in the queues of the others. */
START_TEST(what_waits_weighs_the_same_whether_it_is_counted_or_not)
{
	unsigned least = BURST, most = 0, n = _i / 2 ? 8 : 4;
	static int c[BURST];
	struct rig r;

	OWN_STEERING();
	rig_open(&r, NULL, NP_OPTS(np_steer_opts, .policy = exact[_i % 2], .rescue = NP_OFF));
	if (rig_level(&r) < NP_STEER_L4)
		SKIP("no level 4: %s", r.s->reason);
	for (unsigned i = 0; i < 8; i++)
		rig_worker(&r, i ? r.address : "127.0.0.1:0");
	ck_assert_int_eq(steer_lock(r.s), 0);
	ck_assert_int_eq(count_on(r.s), 0);
	steer_unlock(r.s);
	for (unsigned i = 0; i < n; i++)
		ck_assert_int_eq(count_tag(r.s, i, r.fd[i]), 0);
	for (unsigned i = 0; i < BURST; i++)
		c[i] = client_connect(r.address);
	AWAIT(rig_accept(&r) == 0 && rig_accepted(&r) == BURST);
	for (unsigned i = 0; i < 8; i++) {
		least = r.accepted[i] < least ? r.accepted[i] : least;
		most = r.accepted[i] > most ? r.accepted[i] : most;
	}
	ck_assert_msg(most - least <= (_i % 2 ? 12 : 1), "%u to %u", least, most);
	for (unsigned i = 0; i < BURST; i++)
		client_close(&c[i]);
	rig_stop(&r);
}
END_TEST

/* ------------------------------------------------------------------ garbage */

static void fill_at_random(void *p, size_t n, unsigned *seed)
{
	for (unsigned char *c = p; n--; c++)
		*c = (unsigned char)rand_r(seed);
}

/* Numbers are wrong then, and nothing else is: neither a connection nor another worker's line. */
START_TEST(garbage_in_tags_and_lines_harms_no_connection)
{
	unsigned seed = (unsigned)_i, gen = 0;
	struct np_tag tag;
	struct shop p;
	int fd;

	SHOP(&p, 2, NULL, "127.0.0.1");
	shop_tag(&p, 1);
	for (unsigned i = 0; i < 400; i++) {
		uint32_t w = (uint32_t)np_steer_worker_index(p.w[0]);

		if (i % 20 == 0) {
			fd = shop_listener(&p, 0);
			fill_at_random(&tag, sizeof tag, &seed);
			if (i % 40 == 0) /* nearly right */
				tag.word = NP_TAG(w + 1, rand_r(&seed) % 4, rand_r(&seed) % 3);
			fill_at_random(&p.s->maps.workers[w], sizeof p.s->maps.workers[w], &seed);
			p.s->maps.workers[w].counted %= 3;
			gen = (unsigned)rand_r(&seed);
			map_update(&p.s->maps, MAP_np_gens, &w, &gen, 0);
			p.s->maps.service->seeding = i % 3 ? KEEPER_PORT : gen;
			map_update(&p.s->maps, MAP_np_tags, &fd, &tag, 0);
			close(fd);
			shop_seed(&p, 0, i % 3 == 0);
		}
		fd = keeper_client(KEEPER_AT, "ck"[i % 2]);
		if (i % 2 == 0)
			keeper_await_end(fd);
		close(fd);
	}
	AWAIT(keeper_ask(&p.k[0]).live == 0 && keeper_ask(&p.k[1]).live == 0);
	AWAIT(shop_conns(&p, 1) == 0);
	ck_assert_uint_eq(shop_line(&p, 1).accepted_total, keeper_ask(&p.k[1]).accepted);
	memset(&p.s->maps.workers[np_steer_worker_index(p.w[0])], 0, sizeof p.s->maps.workers[0]);
	shop_close(&p);
}
END_TEST

/* ------------------------------------------------------------------ lives at random */

#define OPEN 200

struct lives {
	struct shop p;
	int open[OPEN]; /* -1: none */
	unsigned seed;
};

static unsigned draw(struct lives *l, unsigned n)
{
	return (unsigned)rand_r(&l->seed) % n;
}

static void live_to_its_end(struct lives *l)
{
	static const char ends[] = "ccsrkkkk";
	char what = ends[draw(l, 8)];
	unsigned how = draw(l, 4);
	int fd = how ? keeper_client(KEEPER_AT, what) : client_connect(KEEPER_AT);

	ck_assert_int_ge(fd, 0);
	if (how && what != 'k' && draw(l, 2))
		keeper_await_end(fd);
	if (how == 1) {
		client_close(&fd);
		return;
	}
	if (how == 2)
		shutdown(fd, SHUT_WR);
	close(fd);
}

static void live_on(struct lives *l)
{
	int *fd = &l->open[draw(l, OPEN)];

	if (*fd >= 0 && draw(l, 2))
		client_close(fd);
	else if (*fd >= 0)
		close(*fd);
	*fd = keeper_client(KEEPER_AT, 'k');
}

static void live_through(struct lives *l)
{
	unsigned w = draw(l, l->p.n);

	if (draw(l, 400) == 0) {
		shop_seed(&l->p, w, draw(l, 2));
	} else if (draw(l, 400) == 0) {
		keeper_pause(&l->p.k[w]);
		for (unsigned i = 0; i < 20; i++)
			live_on(l);
		keeper_listen_anew(&l->p.k[w]);
		shop_tag(&l->p, w);
	}
	if (draw(l, 4))
		live_to_its_end(l);
	else
		live_on(l);
}

/* Whether the lines of all workers say what their keepers say. */
static bool lives_agree(struct lives *l)
{
	for (unsigned w = 0; w < l->p.n; w++)
		shop_seed(&l->p, w, true);
	for (unsigned w = 0; w < l->p.n; w++)
		if (shop_conns(&l->p, w) != keeper_ask(&l->p.k[w]).live)
			return false;
	return true;
}

static void lives_must_add_up(struct lives *l)
{
	AWAIT(lives_agree(l));
	for (unsigned w = 0; w < l->p.n; w++) {
		struct np_steer_worker_info i = shop_line(&l->p, w);

		ck_assert_uint_eq(i.accepted_total, i.closed_total + i.conns);
	}
}

START_TEST(of_each_worker_established_is_closed_and_live)
{
	const char *text = getenv("NP_LIVES");
	unsigned n = text ? (unsigned)atoi(text) : 4000;
	static struct lives l;

	SHOP(&l.p, MOST, NULL, "127.0.0.1");
	l.seed = (unsigned)now_ms();
	ck_assert_int_eq(write_file("/proc/sys/net/ipv4/tcp_migrate_req", "1"), 0);
	for (unsigned i = 0; i < OPEN; i++) /* before anything is counted */
		l.open[i] = keeper_client(KEEPER_AT, 'k');
	for (unsigned w = 0; w < l.p.n; w++)
		shop_tag(&l.p, w);
	for (unsigned i = 0; i < n; i++) {
		live_through(&l);
		if (i % 5000 == 4999)
			lives_must_add_up(&l);
	}
	lives_must_add_up(&l);
	for (unsigned i = 0; i < OPEN; i++)
		close(l.open[i]);
	lives_must_add_up(&l);
	for (unsigned w = 0; w < l.p.n; w++)
		ck_assert_uint_eq(shop_conns(&l.p, w), 0);
	shop_close(&l.p);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "count");

#ifdef NP_FAULT
	tcase_add_test(t, where_nothing_can_be_swept_connections_are_counted_all_the_same);
#endif
	tcase_add_test(t, a_connection_counts_from_its_handshake_to_its_first_end);
	tcase_add_test(t, what_has_no_tag_is_not_counted);
	tcase_add_test(t, a_service_that_counts_is_of_level_five);
	tcase_add_loop_test(t, connections_that_were_there_before_are_found, 0, 4);
	tcase_add_test(t, a_seed_finds_none_of_another_port_or_address_or_that_has_ended);
	tcase_add_test(t, what_migrated_counts_for_its_new_worker_after_a_retag);
	tcase_add_test(
		t, a_number_that_has_another_owner_is_not_disturbed_by_the_former_ones_connections);
	tcase_add_loop_test(t, what_waits_weighs_the_same_whether_it_is_counted_or_not, 0, 4);
	tcase_add_loop_test(t, garbage_in_tags_and_lines_harms_no_connection, 0, 4);
	tcase_add_test(t, of_each_worker_established_is_closed_and_live);
	tcase_set_timeout(t, 600);
}

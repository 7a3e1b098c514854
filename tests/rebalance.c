/* SPDX-License-Identifier: BSD-2-Clause */
/* rebalance: what is moved, and that nothing is where nothing is to be gained */
#include "netpoll/rebalance.h"

#include "support/test.h"

#define PERCENT (REBALANCE_CPU / 100)
#define CONNS   64

static struct {
	struct rebalance_conn conn[4][CONNS]; /* loads of those that are on each poller */
	unsigned n[4], pollers, moves;
	struct rebalance state[4];
	uint32_t others[4]; /* how long it waits for its CPU */
	uint64_t seed;
} ut;

static void given_pollers(unsigned n)
{
	ut = (typeof(ut)){ .pollers = n, .seed = 1 };
}

static void given_conns(unsigned poller, unsigned n, uint32_t load)
{
	while (n--)
		ut.conn[poller][ut.n[poller]++].load = load;
}

/* Up to @percent more or less. */
static uint32_t about(uint32_t load, unsigned percent)
{
	uint32_t range = load / 100 * percent;

	ut.seed = ut.seed * 6364136223846793005u + 1442695040888963407u;
	return range ? load - range + (uint32_t)(ut.seed >> 33) % (2 * range + 1) : load;
}

/* One tick: each poller measures, and does what it decides. */
static void tick(unsigned noise)
{
	struct rebalance_poller p[4] = { 0 };
	struct rebalance_conn seen[4][CONNS];
	struct rebalance_choice c;

	for (unsigned i = 0; i < ut.pollers; i++) {
		for (unsigned k = 0; k < ut.n[i]; k++) {
			seen[i][k] = ut.conn[i][k];
			seen[i][k].load = about(seen[i][k].load, noise);
			p[i].load += seen[i][k].load;
		}
		p[i].demand = p[i].load + ut.others[i];
	}
	for (unsigned i = 0; i < ut.pollers; i++) {
		if (!rebalance_choose(&ut.state[i], p, ut.pollers, i, seen[i], ut.n[i], &c))
			continue;
		ut.moves++;
		ut.conn[c.poller][ut.n[c.poller]++] = ut.conn[i][c.conn];
		ut.conn[i][c.conn] = ut.conn[i][--ut.n[i]];
	}
}

static uint32_t load_of(unsigned poller)
{
	uint32_t sum = 0;

	for (unsigned k = 0; k < ut.n[poller]; k++)
		sum += ut.conn[poller][k].load;
	return sum;
}

START_TEST(hot_connections_on_one_poller_are_spread)
{
	given_pollers(2);
	given_conns(0, 8, 12 * PERCENT);
	for (int i = 0; i < 100; i++)
		tick(0);
	ck_assert_uint_eq(ut.moves, 4);
	ck_assert_uint_eq(load_of(0), load_of(1));
}
END_TEST

START_TEST(of_many_the_hot_ones_go_and_no_more_than_it_takes)
{
	given_pollers(4);
	given_conns(0, 60, PERCENT / 10);
	given_conns(0, 4, 23 * PERCENT);
	for (int i = 0; i < 100; i++)
		tick(5);
	ck_assert_uint_eq(ut.moves, 3);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_uint_le(load_of(i), 30 * PERCENT);
}
END_TEST

/* An hour of ticks. */
START_TEST(an_even_load_moves_nothing)
{
	given_pollers(4);
	for (unsigned i = 0; i < 4; i++)
		given_conns(i, 16, 5 * PERCENT);
	for (int i = 0; i < 36000; i++)
		tick(30);
	ck_assert_uint_eq(ut.moves, 0);
}
END_TEST

START_TEST(one_hot_connection_alone_gains_nothing_by_a_move)
{
	given_pollers(2);
	given_conns(0, 1, 90 * PERCENT);
	for (int i = 0; i < 1000; i++)
		tick(10);
	ck_assert_uint_eq(ut.moves, 0);
}
END_TEST

START_TEST(a_poller_that_does_little_because_its_cpu_is_taken_away_gets_nothing)
{
	given_pollers(2);
	given_conns(0, 8, 11 * PERCENT);
	given_conns(1, 8, 6 * PERCENT);
	ut.others[1] = 45 * PERCENT;
	for (int i = 0; i < 1000; i++)
		tick(5);
	ck_assert_uint_eq(ut.moves, 0);
}
END_TEST

START_TEST(a_burst_is_waited_for)
{
	given_pollers(2);
	given_conns(0, 4, 20 * PERCENT);
	for (unsigned i = 1; i < REBALANCE_STREAK; i++)
		tick(0);
	ut.n[0] = 0;
	tick(0);
	given_conns(0, 4, 20 * PERCENT);
	for (unsigned i = 1; i < REBALANCE_STREAK; i++)
		tick(0);
	ck_assert_uint_eq(ut.moves, 0);
	tick(0);
	ck_assert_uint_eq(ut.moves, 1);
}
END_TEST

START_TEST(what_stays_is_not_chosen)
{
	given_pollers(2);
	given_conns(0, 4, 20 * PERCENT);
	for (int i = 0; i < 4; i++)
		ut.conn[0][i].stays = i != 2;
	for (int i = 0; i < 100; i++)
		tick(0);
	ck_assert_uint_eq(ut.moves, 1);
	ck_assert(!ut.conn[1][0].stays);
}
END_TEST

/* Each gap below is what begins no move, and what ends none that go on. */
START_TEST(it_begins_later_than_it_ends)
{
	given_pollers(2);
	given_conns(0, 19, PERCENT);
	for (int i = 0; i < 100; i++)
		tick(0);
	ck_assert_uint_eq(ut.moves, 0);
	given_conns(0, 1, PERCENT);
	for (int i = 0; i < 100; i++)
		tick(0);
	ck_assert_uint_eq(ut.moves, 6); /* 20:0 to 14:6, and 8 are less than half of 20 */
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "rebalance");

	tcase_add_test(t, hot_connections_on_one_poller_are_spread);
	tcase_add_test(t, of_many_the_hot_ones_go_and_no_more_than_it_takes);
	tcase_add_test(t, an_even_load_moves_nothing);
	tcase_add_test(t, one_hot_connection_alone_gains_nothing_by_a_move);
	tcase_add_test(t, a_poller_that_does_little_because_its_cpu_is_taken_away_gets_nothing);
	tcase_add_test(t, a_burst_is_waited_for);
	tcase_add_test(t, what_stays_is_not_chosen);
	tcase_add_test(t, it_begins_later_than_it_ends);
}

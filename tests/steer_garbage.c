/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_garbage: a word that a member has spoilt costs its own row, and no rescue, no table and no
 * watchdog
 *
 * Members write the maps, so anything may lie in them: each word of them is given each of some
 * values in turn.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "given_hung.h"
#include "steer/rescue.h"
#include "support/steer.h"
#include "support/test.h"

#define HANG_MS 2000 /* longer than a machine may be away between two steps of this test */
#define LONG_NS 3600000000000ull

static const uint32_t values[] = { 0xffffffffu, 99, 1, 0x80000000u, 0 };
#define VALUES (sizeof values / sizeof values[0])

static struct rig rig;
static struct rescuer *rescuer;

/* Two workers at one address, whose first hangs; nobody but the test rescues. */
static void given_service(void)
{
	rig_start(&rig, 2, NP_OPTS(np_steer_opts, .hang_ms = HANG_MS, .rescue = NP_OFF));
	ck_assert_int_eq(rescuer_new(rig.s, &(struct rescue_scope){ .native = true }, &rescuer), 0);
}

static void end_service(void)
{
	rescuer_free(rescuer);
	rig_stop(&rig);
}

/*
 * One connection is queued at worker 0, which hangs, and is taken from it while @word has @value.
 */
static void rescue_with(uint32_t *word, uint32_t value)
{
	uint32_t was = *word;
	unsigned before = rig.accepted[1];
	int client, r[2];

	np_steer_kick(rig.s, 1);
	client = client_connect(rig.address);
	ck_assert_int_ge(client, 0);
	np_steer_undrain(rig.s, 1);
	memset(&rig.s->maps.health[0], 0, sizeof rig.s->maps.health[0]);
	judge_forget(&rescuer->judge);
	given_hung(&rig, 0);

	__atomic_store_n(word, value, __ATOMIC_RELAXED);
	for (int i = 0; i < 2; i++)
		r[i] = rescuer_tick(rescuer, LONG_NS);
	__atomic_store_n(word, was, __ATOMIC_RELAXED);

	ck_assert_int_eq(r[0], 0);
	ck_assert_int_eq(r[1], 1);
	np_steer_idle(rig.w[0]);
	ck_assert_int_eq(accept4(rig.fd[0], NULL, NULL, 0), -1);
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_int_eq(np_steer_relisten(rig.w[0], rig.fd[0]), 0);
	rig_accept(&rig);
	ck_assert_uint_eq(rig.accepted[1], before + 1);
	client_close(&client);
}

static void each_word(void *p, size_t bytes, void (*with)(uint32_t *word, uint32_t value))
{
	uint32_t *words = p;

	for (size_t i = 0; i < bytes / sizeof *words; i++)
		for (size_t k = 0; k < VALUES; k++)
			with(&words[i], values[k]);
}

START_TEST(a_spoilt_row_of_another_address_ends_no_rescue)
{
	OWN_STEERING();
	given_service();
	each_word(&rig.s->maps.groups[1], sizeof rig.s->maps.groups[1], rescue_with);
	end_service();
}
END_TEST

START_TEST(a_spoilt_word_of_the_service_ends_no_rescue)
{
	OWN_STEERING();
	given_service();
	each_word(rig.s->maps.service, sizeof *rig.s->maps.service, rescue_with);
	end_service();
}
END_TEST

START_TEST(spoilt_words_of_another_worker_end_no_rescue)
{
	OWN_STEERING();
	given_service();
	each_word(&rig.s->maps.workers[2], sizeof rig.s->maps.workers[2], rescue_with);
	each_word(&rig.s->maps.ctl[2], sizeof rig.s->maps.ctl[2], rescue_with);
	each_word(&rig.s->maps.health[2], sizeof rig.s->maps.health[2], rescue_with);
	end_service();
}
END_TEST

/* Its own back-off, too: never for longer than the longest there is. */
START_TEST(a_back_off_without_end_keeps_nobody)
{
	OWN_STEERING();
	given_service();
	rescue_with((uint32_t *)&rig.s->maps.health[0].again_after_ns + 1, 0x7fffffffu);
	end_service();
}
END_TEST

/* ------------------------------------------------------------------ what people read */

static int count_row(void *arg, const struct np_steer_queue *q)
{
	++*(unsigned *)arg;
	return 0;
}

static void expect_facts(uint32_t *word, uint32_t value)
{
	struct np_steer_info info = { .sz = sizeof info };
	uint32_t was = *word;
	unsigned rows = 0;

	__atomic_store_n(word, value, __ATOMIC_RELAXED);
	ck_assert_int_eq(np_steer_queues(rig.s, count_row, &rows), 0);
	ck_assert_uint_eq(rows, 2);
	ck_assert_int_eq(np_steer_info(rig.s, &info), 0);
	ck_assert_uint_ge(info.workers, 2);
	ck_assert_uint_le(info.workers, NP_WORKERS);
	for (unsigned g = 0; g < info.groups; g++) {
		struct np_steer_group_info i = { .sz = sizeof i };
		int r = np_steer_group_info(rig.s, g, &i);

		ck_assert(r == 0 || r == -ENOENT);
		ck_assert_uint_le(i.workers, NP_WORKERS);
		if (g == 0)
			ck_assert_str_eq(i.address, rig.address);
	}
	for (unsigned w = 0; w < info.workers; w++) {
		struct np_steer_worker_info i = { .sz = sizeof i };

		ck_assert_int_eq(np_steer_worker_info(rig.s, w, &i), 0);
		ck_assert(i.claimed == (w < 2));
	}
	__atomic_store_n(word, was, __ATOMIC_RELAXED);
}

START_TEST(spoilt_words_spoil_no_other_row_of_a_table)
{
	OWN_STEERING();
	given_service();
	each_word(&rig.s->maps.groups[1], sizeof rig.s->maps.groups[1], expect_facts);
	each_word(rig.s->maps.service, sizeof *rig.s->maps.service, expect_facts);
	each_word(&rig.s->maps.ctl[1], sizeof rig.s->maps.ctl[1], expect_facts);
	each_word(&rig.s->maps.health[1], sizeof rig.s->maps.health[1], expect_facts);
	end_service();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "rescue");

	tcase_add_test(t, a_spoilt_row_of_another_address_ends_no_rescue);
	tcase_add_test(t, a_spoilt_word_of_the_service_ends_no_rescue);
	tcase_add_test(t, spoilt_words_of_another_worker_end_no_rescue);
	tcase_add_test(t, a_back_off_without_end_keeps_nobody);
	t = add_case(s, "tables");
	tcase_add_test(t, spoilt_words_spoil_no_other_row_of_a_table);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* mailbox: nothing is lost, order holds for each sender, and a sleeper is woken. */
#include "poll/mailbox.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "given_poller.h"
#include "sys/fault.h"

struct letter {
	struct mail mail;
	unsigned sender, number;
};

static void unread(struct mail *m)
{
}

START_TEST(mail_is_taken_in_the_order_it_was_put)
{
	struct mailbox b = { NULL };
	struct mail m[3] = { { .fn = unread }, { .fn = unread }, { .fn = unread } };

	for (int i = 0; i < 3; i++)
		mailbox_put(&b, &m[i]);

	ck_assert_ptr_eq(mailbox_take(&b), &m[0]);
	ck_assert_ptr_eq(m[0].next, &m[1]);
	ck_assert_ptr_eq(m[1].next, &m[2]);
	ck_assert_ptr_null(m[2].next);
	ck_assert_ptr_null(mailbox_take(&b));
}
END_TEST

START_TEST(only_who_finds_the_box_empty_has_to_wake)
{
	struct mailbox b = { NULL };
	struct mail m[3];

	ck_assert(mailbox_put(&b, &m[0]));
	ck_assert(!mailbox_put(&b, &m[1]));
	mailbox_take(&b);
	ck_assert(mailbox_put(&b, &m[2]));
}
END_TEST

/* ------------------------------------------------------------------ with a poller behind it */

#define SENDERS 4

static struct {
	struct poller *poller;
	unsigned rounds;
	_Atomic(unsigned) read[SENDERS]; /* number of the last letter read, from each sender */
	_Atomic(unsigned) disorder;
} post;

static void read_letter(struct mail *m)
{
	struct letter *l = container_of(m, struct letter, mail);

	if (atomic_load(&post.read[l->sender]) + 1 != l->number)
		post.disorder++;
	atomic_store(&post.read[l->sender], l->number);
}

/* A letter at a time, the next when it was read: the box is empty, and its owner asleep, again and
 * again. */
static void *send_and_wait(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg;
	struct letter l = { .mail.fn = read_letter, .sender = me };

	for (unsigned i = 1; i <= post.rounds; i++) {
		l.number = i;
		poller_post(post.poller, &l.mail);
		AWAIT(atomic_load(&post.read[me]) == i ||
		      (sched_yield(), atomic_load(&post.read[me]) == i));
	}
	return NULL;
}

/* All at once, so that the senders meet in the box. */
static void *send_many(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg;
	struct letter *l = calloc(post.rounds, sizeof *l);

	for (unsigned i = 0; i < post.rounds; i++) {
		l[i] = (struct letter){ .mail.fn = read_letter, .sender = me, .number = i + 1 };
		poller_post(post.poller, &l[i].mail);
	}
	AWAIT(atomic_load(&post.read[me]) == post.rounds);
	free(l);
	return NULL;
}

static void post_from_many_threads(void *(*sender)(void *), unsigned rounds)
{
	pthread_t t[SENDERS];

	post.poller = given_poller();
	post.rounds = rounds;
	ck_assert_int_eq(poller_start(post.poller), 0);
	for (uintptr_t i = 0; i < SENDERS; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, sender, (void *)i), 0);
	for (int i = 0; i < SENDERS; i++)
		pthread_join(t[i], NULL);
	poller_stop(post.poller);
	ck_assert_int_eq(poller_join(post.poller, 0), 0);
	free_poller(post.poller);
	ck_assert_uint_eq(post.disorder, 0);
}

START_TEST(a_sleeping_owner_is_woken_every_time)
{
	post_from_many_threads(send_and_wait, under_valgrind() ? 50 : 2000);
}
END_TEST

START_TEST(order_holds_for_each_of_many_senders)
{
	post_from_many_threads(send_many, under_valgrind() ? 500 : 20000);
}
END_TEST

static struct {
	unsigned turns[3], n;
	struct poller *poller;
} again;

static void post_again(struct mail *m)
{
	again.turns[again.n++] = (unsigned)poller_turn(again.poller);
	if (again.n < 3)
		poller_post(again.poller, m);
	else
		poller_stop(again.poller);
}

START_TEST(a_mail_posted_by_a_mail_waits_for_the_next_turn)
{
	struct mail m = { .fn = post_again };

	again.poller = given_poller();
	poller_post(again.poller, &m);
	run_loop(again.poller);

	ck_assert_uint_eq(again.turns[1], again.turns[0] + 1);
	ck_assert_uint_eq(again.turns[2], again.turns[0] + 2);
	free_poller(again.poller);
}
END_TEST

static _Atomic(unsigned) reads;

static void count(struct mail *m)
{
	reads++;
}

START_TEST(mail_after_the_end_is_run_before_the_poller_goes)
{
	struct poller *p = given_poller();
	struct mail m = { .fn = count };

	poller_stop(p);
	run_loop(p);
	poller_post(p, &m);
	ck_assert_uint_eq(reads, 0);

	free_poller(p);
	ck_assert_uint_eq(reads, 1);
}
END_TEST

static void stop_its_poller(struct mail *m)
{
	poller_stop(poller_self());
}

static void *post_one(void *arg)
{
	static struct mail m;

	m = (struct mail){ .fn = stop_its_poller };
	poller_post(arg, &m);
	return NULL;
}

/* The mail may end the poller while its sender still holds the wake descriptor. */
START_TEST(a_poller_does_not_go_under_a_sender)
{
	pthread_t t;

	for (int i = 0; i < 200; i++) {
		struct poller *p = given_poller();

		ck_assert_int_eq(poller_start(p), 0);
		ck_assert_int_eq(pthread_create(&t, NULL, post_one, p), 0);
		ck_assert_int_eq(poller_join(p, 0), 0);
		free_poller(p);
		pthread_join(t, NULL);
	}
}
END_TEST

#ifdef NP_FAULT
static struct mail burst[100];

static void *post_burst(void *arg)
{
	for (unsigned i = 0; i < 100; i++)
		poller_post(arg, &burst[i]);
	return NULL;
}

/* Runs on the poller, whose box is empty meanwhile and which does not look into it. */
static void let_post(struct mail *m)
{
	struct poller *p = poller_self();
	pthread_t t;

	for (unsigned i = 0; i < 100; i++)
		burst[i].fn = count;
	sys_fault_arm(SYS_write, 0, 0);
	ck_assert_int_eq(pthread_create(&t, NULL, post_burst, p), 0);
	pthread_join(t, NULL);
	ck_assert_uint_eq(sys_fault_calls(SYS_write), 1);

	poller_post(p, m);
	m->fn = stop_its_poller;
	ck_assert_uint_eq(sys_fault_calls(SYS_write), 1);
}

START_TEST(a_hundred_mails_cost_one_wake_up_and_own_mail_none)
{
	struct mail m = { .fn = let_post };
	struct poller *p = given_poller();

	poller_post(p, &m);
	run_loop(p);
	ck_assert_uint_eq(reads, 100);
	free_poller(p);
}
END_TEST
#endif

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "mailbox");

	tcase_add_test(t, mail_is_taken_in_the_order_it_was_put);
	tcase_add_test(t, only_who_finds_the_box_empty_has_to_wake);
	tcase_add_test(t, a_sleeping_owner_is_woken_every_time);
	tcase_add_test(t, order_holds_for_each_of_many_senders);
	tcase_add_test(t, a_mail_posted_by_a_mail_waits_for_the_next_turn);
	tcase_add_test(t, mail_after_the_end_is_run_before_the_poller_goes);
	tcase_add_test(t, a_poller_does_not_go_under_a_sender);
#ifdef NP_FAULT
	tcase_add_test(t, a_hundred_mails_cost_one_wake_up_and_own_mail_none);
#endif
}

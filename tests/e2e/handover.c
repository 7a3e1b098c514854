/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * handover: a server's listeners and connections go to the next process, and no client notices
 *
 * What becomes of them where a process ends stands in handover_ends.c, and what one that misbehaves
 * is told in tests/handover_frames.c.
 */
#include <errno.h>
#include <netpoll/status.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "given_handover.h"
#include "support/peer.h"
#include "support/run.h"
#include "support/test.h"

/* ------------------------------------------------------------------ the promise */

static void kept_alive_go_on(enum np_steer_mode steer, int rebalance)
{
	const struct hand_opts o = { .steer = steer, .rebalance = rebalance };
	struct hand_facts f;
	int fresh;

	given(&o, &o);
	given_clients(16);
	hand_all_over(&f);

	ck_assert_uint_eq(f.handed.addresses, 1);
	ck_assert_uint_eq(f.handed.handed, 16);
	ck_assert_uint_eq(f.handed.refused + f.handed.busy + f.handed.stays, 0);
	hand_facts(&old, &f);
	ck_assert_uint_eq(f.handed_over, 16);
	ck_assert_uint_eq(f.taken_over, 0);
	expect_all_at_next(16, 2);
	hand_facts(&next, &f);
	ck_assert_uint_eq(f.handed_over, 0);
	ck_assert_uint_eq(f.taken_over, 16);
	fresh = connect_one();
	ck_assert_uint_eq(hand_echo(fresh).pid, (uint32_t)next.pid);
	hand_stop(&old, &f);
	ck_assert_int_eq(f.emoved, 16);
	ck_assert_int_eq(f.closes, 16);
	ck_assert_int_eq(f.disconnects, 0);
	expect_all_at_next(16, 3);
	ck_assert_uint_eq(hand_echo(fresh).count, 2);
	peer_close(&fresh);
	fresh = connect_one();
	ck_assert_uint_eq(hand_echo(fresh).pid, (uint32_t)next.pid);
	peer_close(&fresh);
	close_clients(16);
	hand_stop(&next, &f);
	ck_assert_int_eq(f.closes, 18);
}

START_TEST(kept_alive_connections_go_on_in_the_next_process)
{
	kept_alive_go_on(NP_STEER_OFF, 0);
}
END_TEST

/* One whose header has not come is not quiet, and stays. */
START_TEST(behind_a_load_balancer_the_next_process_knows_the_client)
{
	static const char header[] = "PROXY TCP4 192.0.2.1 192.0.2.2 1234 80\r\n";
	const struct hand_opts o = { .proxy = NP_PROXY_REQUIRED, .work_ms = 1 };
	struct hand_facts f;
	int fd, late;

	given(&o, &o);
	fd = connect_one();
	peer_send(fd, header, sizeof header - 1);
	ck_assert_uint_eq(hand_echo(fd).pid, (uint32_t)old.pid);
	late = connect_one();
	peer_send(late, header, 20);
	hand_all_over(&f);
	ck_assert_uint_eq(f.handed.handed, 1);
	ck_assert_uint_eq(f.handed.because[NP_STAYS_BEGINS], 1);
	ck_assert_uint_eq(hand_echo(fd).pid, (uint32_t)next.pid);
	peer_send(late, header + 20, sizeof header - 1 - 20);
	ck_assert_uint_eq(hand_echo(late).pid, (uint32_t)old.pid);
	peer_close(&late);
	peer_close(&fd);
	hand_stop(&old, &f);
	hand_stop(&next, &f);
	ck_assert_int_eq(f.closes, 1);
	ck_assert_int_eq(f.last_port, 1234);
}
END_TEST

START_TEST(and_so_do_those_that_the_rebalancer_looks_at)
{
	kept_alive_go_on(NP_STEER_OFF, 10);
}
END_TEST

START_TEST(and_so_where_listeners_are_steered)
{
	if (!can_bpf())
		SKIP("needs the right to load programs");
	kept_alive_go_on(NP_STEER_REQUIRED, 0);
}
END_TEST

START_TEST(a_request_that_is_half_read_is_answered_whole)
{
	static char body[100000];
	struct hand_facts f;
	struct hand_answer a;
	uint32_t len = 1 + sizeof body;

	for (unsigned i = 0; i < sizeof body; i++)
		body[i] = (char)(i * 31 + (i >> 8));
	given(NULL, NULL);
	given_clients(1);
	peer_send(client[0], &len, 3);
	hand_all_over(&f);
	ck_assert_uint_eq(f.handed.handed, 1);
	peer_send(client[0], (char *)&len + 3, 1);
	peer_send(client[0], "e", 1);
	peer_send(client[0], body, sizeof body);
	a = hand_receive(client[0], 'e', body, sizeof body);

	ck_assert_uint_eq(a.pid, (uint32_t)next.pid);
	ck_assert_uint_eq(a.count, 2);
	close_clients(1);
	end_both();
}
END_TEST

START_TEST(a_request_whose_greater_part_is_here_is_answered_whole)
{
	static char body[200000];
	struct hand_facts f;
	uint32_t len = 1 + sizeof body;

	for (unsigned i = 0; i < sizeof body; i++)
		body[i] = (char)(i * 13 + (i >> 8));
	given(NULL, NULL);
	given_clients(1);
	peer_send(client[0], &len, sizeof len);
	peer_send(client[0], "e", 1);
	peer_send(client[0], body, 150000);
	hand_all_over(&f);
	peer_send(client[0], body + 150000, sizeof body - 150000);

	ck_assert_uint_eq(hand_receive(client[0], 'e', body, sizeof body).pid, (uint32_t)next.pid);
	close_clients(1);
	end_both();
}
END_TEST

START_TEST(an_answer_that_was_not_sent_is_sent_by_the_next_process)
{
	struct hand_facts f;

	given(NULL, NULL);
	given_clients(1);
	hand_request(client[0], 'b', "", 0);
	AWAIT(({
		hand_facts(&old, &f);
		f.conns == 1;
	}));
	hand_all_over(&f);
	ck_assert_uint_eq(f.handed.handed, 1);
	hand_stop(&old, &f);

	ck_assert_uint_eq(hand_receive(client[0], 'b', "", 0).count, 2);
	ck_assert_uint_eq(hand_echo(client[0]).pid, (uint32_t)next.pid);
	close_clients(1);
	hand_stop(&next, &f);
}
END_TEST

static void allow_descriptors(void)
{
	struct rlimit l;

	getrlimit(RLIMIT_NOFILE, &l);
	l.rlim_cur = l.rlim_max;
	setrlimit(RLIMIT_NOFILE, &l);
}

START_TEST(a_thousand_connections_go_in_batches)
{
	struct hand_facts f;

	allow_descriptors();
	given(NULL, NULL);
	given_clients(MANY);
	hand_all_over(&f);

	ck_assert_uint_eq(f.handed.handed, MANY);
	hand_stop(&old, &f);
	expect_all_at_next(MANY, 2);
	close_clients(MANY);
	hand_stop(&next, &f);
	ck_assert_int_eq(f.closes, MANY);
}
END_TEST

/* It waits, or it keeps its thread and is left alone with it. */
START_TEST(one_whose_handler_is_at_work_goes_when_it_is_done)
{
	const struct hand_opts o = { .keeps = _i };
	struct hand_facts f;

	given(&o, &o);
	given_clients(2);
	hand_request(client[0], 's', "", 0);
	ask_both(AWAIT_MS, AWAIT_MS);
	hand_hear(&next, &f);
	AWAIT(hand_echo(client[1]).pid == (uint32_t)next.pid);
	hand_wake(&old);
	ck_assert_uint_eq(hand_receive(client[0], 's', "", 0).pid, (uint32_t)old.pid);
	hand_hear(&old, &f);

	ck_assert_uint_eq(f.handed.handed, 2);
	ck_assert_uint_eq(hand_echo(client[0]).pid, (uint32_t)next.pid);
	close_clients(2);
	end_both();
}
END_TEST

START_TEST(one_that_is_at_work_to_the_end_stays_and_is_served)
{
	const struct hand_opts o = { .work_ms = 100, .keeps = _i };
	struct hand_facts f;

	given(&o, NULL);
	given_clients(2);
	hand_request(client[0], 's', "", 0);
	ask_both(AWAIT_MS, AWAIT_MS);
	hand_hear(&next, &f);
	hand_hear(&old, &f);
	ck_assert_int_eq(f.r, 0);
	ck_assert_uint_eq(f.handed.handed, 1);
	ck_assert_uint_eq(f.handed.busy, 1);
	ck_assert_uint_eq(f.handed.because[NP_STAYS_AT_WORK], 1);
	hand_wake(&old);

	ck_assert_uint_eq(hand_receive(client[0], 's', "", 0).pid, (uint32_t)old.pid);
	ck_assert_uint_eq(hand_echo(client[0]).pid, (uint32_t)old.pid);
	close_clients(2);
	end_both();
}
END_TEST

START_TEST(without_on_export_connections_stay_and_listeners_go)
{
	const struct hand_opts o = { .no_export = 1 };
	struct hand_facts f;
	int fresh;

	given(&o, NULL);
	given_clients(4);
	hand_all_over(&f);
	ck_assert_uint_eq(f.handed.handed, 0);
	ck_assert_uint_eq(f.handed.stays, 4);
	ck_assert_uint_eq(f.handed.because[NP_STAYS_HANDLERS], 4);
	ck_assert_uint_eq(f.handed.addresses, 1);
	for (int i = 0; i < 4; i++)
		ck_assert_uint_eq(hand_echo(client[i]).pid, (uint32_t)old.pid);
	fresh = connect_one();
	ck_assert_uint_eq(hand_echo(fresh).pid, (uint32_t)next.pid);
	peer_close(&fresh);
	close_clients(4);
	end_both();
}
END_TEST

/* Two of the server's are a set there, too: one that is busy keeps both. */
START_TEST(a_set_of_two_clients_goes_whole)
{
	const struct hand_opts o = { .pollers = 1, .binds = 1 }, n = { .pollers = 1 };
	struct hand_facts f;

	given(&o, &n);
	given_clients(4);
	hand_request(client[1], 's', "", 0);
	ask_both(AWAIT_MS, AWAIT_MS);
	hand_hear(&next, &f);
	AWAIT(hand_echo(client[2]).pid == (uint32_t)next.pid);
	AWAIT(hand_echo(client[3]).pid == (uint32_t)next.pid);
	ck_assert_uint_eq(hand_echo(client[0]).pid, (uint32_t)old.pid);
	hand_wake(&old);
	ck_assert_uint_eq(hand_receive(client[1], 's', "", 0).pid, (uint32_t)old.pid);
	hand_hear(&old, &f);
	ck_assert_uint_eq(f.handed.handed, 4);
	ck_assert_uint_eq(f.handed.refused + f.handed.busy + f.handed.stays, 0);
	for (int i = 0; i < 4; i++)
		ck_assert_uint_eq(hand_echo(client[i]).pid, (uint32_t)next.pid);
	peer_close(&client[0]);
	ck_assert_uint_eq(hand_echo(client[1]).pid, (uint32_t)next.pid);
	for (int i = 1; i < 4; i++)
		peer_close(&client[i]);
	end_both();
}
END_TEST

START_TEST(a_set_of_which_one_is_refused_stays_whole)
{
	const struct hand_opts o = { .pollers = 1, .binds = 1 };
	const struct hand_opts n = { .pollers = 1, .import_refuses = 2 };
	struct hand_facts f;

	given(&o, &n);
	given_clients(2);
	hand_all_over(&f);
	ck_assert_uint_eq(f.handed.handed, 0);
	ck_assert_uint_eq(f.handed.refused, 2);
	for (int i = 0; i < 2; i++)
		ck_assert_uint_eq(hand_echo(client[i]).pid, (uint32_t)old.pid);
	hand_facts(&next, &f);
	ck_assert_int_eq(f.closes, 1); /* the first, whose on_import had said yes */
	ck_assert_int_eq(f.emoved, 1);
	close_clients(2);
	end_both();
}
END_TEST

/* A handler that never returns between two requests is sent home, and is called anew there. */
START_TEST(one_that_waits_where_it_may_go_goes)
{
	const struct hand_opts o = { .loops = 1, .returns_0 = _i };
	struct hand_facts f;

	given(&o, &o);
	given_clients(16);
	peer_send(client[3], (uint32_t[]){ 6 }, 2); /* a length in part */
	hand_all_over(&f);
	ck_assert_uint_eq(f.handed.handed, 16);
	peer_send(client[3], (char[]){ 0, 0, 'e', 'h', 'e', 'l', 'l', 'o' }, 8);
	ck_assert_uint_eq(hand_receive(client[3], 'e', "hello", 5).pid, (uint32_t)next.pid);
	for (int i = 0; i < 16; i++)
		ck_assert_uint_eq(hand_echo(client[i]).pid, (uint32_t)next.pid);
	close_clients(16);
	end_both();
}
END_TEST

/* It returns when nobody waits for it any more, and that is no failure of its own. */
START_TEST(one_that_takes_its_time_to_go_stays_and_is_served)
{
	const struct hand_opts o = { .loops = 1, .lingers = 1, .returns_0 = _i, .work_ms = 100 };
	struct hand_facts f;

	given(&o, &o);
	given_clients(2);
	hand_all_over(&f);
	ck_assert_uint_eq(f.handed.busy, 2);
	hand_wake(&old);
	for (int k = 0; k < 3; k++)
		for (int i = 0; i < 2; i++)
			ck_assert_uint_eq(hand_echo(client[i]).pid, (uint32_t)old.pid);
	hand_facts(&old, &f);
	ck_assert_int_eq(f.closes, 0);
	close_clients(2);
	end_both();
}
END_TEST

/* It has been sent home for nothing, and goes on. */
START_TEST(and_goes_on_here_where_it_is_refused)
{
	const struct hand_opts o = { .loops = 1 }, n = { .loops = 1, .import_refuses = 1 };
	struct hand_facts f;

	given(&o, &n);
	given_clients(4);
	hand_all_over(&f);
	ck_assert_uint_eq(f.handed.refused, 4);
	for (int i = 0; i < 4; i++)
		ck_assert_uint_eq(hand_echo(client[i]).pid, (uint32_t)old.pid);
	close_clients(4);
	end_both();
}
END_TEST

START_TEST(what_on_import_refuses_goes_on_in_the_old_process)
{
	const struct hand_opts n = { .import_refuses = 2 };
	struct hand_facts f;
	unsigned at_old = 0;

	given(NULL, &n);
	given_clients(20);
	hand_all_over(&f);
	ck_assert_uint_eq(f.handed.handed, 10);
	ck_assert_uint_eq(f.handed.refused, 10);
	ck_assert_uint_eq(f.handed.stays, 10);
	ck_assert_uint_eq(f.handed.because[NP_STAYS_REFUSED], 10);
	for (int i = 0; i < 20; i++) {
		struct hand_answer a = hand_echo(client[i]);

		at_old += a.pid == (uint32_t)old.pid;
		ck_assert_uint_eq(a.count, 2);
	}
	ck_assert_uint_eq(at_old, 10);
	close_clients(20);
	end_both();
}
END_TEST

START_TEST(a_descriptor_serves_in_the_place_of_a_path)
{
	struct hand_opts o = { 0 }, n = { 0 };
	char here[16], there[16];
	struct hand_facts f;
	int sp[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sp), 0);
	o.closes = sp[1];
	n.closes = sp[0];
	given(&o, &n);
	close(sp[0]);
	close(sp[1]);
	snprintf(here, sizeof here, "fd:%d", sp[0]);
	snprintf(there, sizeof there, "fd:%d", sp[1]);
	given_clients(3);
	hand_ask_over(&old, here, AWAIT_MS, AWAIT_MS);
	hand_ask_take(&next, there, AWAIT_MS);
	hand_hear(&next, &f);
	ck_assert_msg(f.r == 0, "%s", f.error);
	hand_hear(&old, &f);
	ck_assert_msg(f.r == 0, "%s", f.error);

	expect_all_at_next(3, 2);
	close_clients(3);
	end_both();
}
END_TEST

START_TEST(each_reason_to_stay_has_its_words)
{
	for (int i = 0; i < NP_STAYS_N; i++)
		for (int k = 0; k <= i; k++)
			ck_assert((strcmp(np_stays_words(i), np_stays_words(k)) == 0) == (i == k));
	ck_assert_ptr_nonnull(strstr(np_stays_words(NP_STAYS_N), "later version"));
}
END_TEST

/* ------------------------------------------------------------------ times */

/* Of single ones, and of a set. */
START_TEST(idle_timeouts_go_along)
{
	const struct hand_opts o = { .own_idle_ms = 300, .pollers = 1, .binds = _i };
	const struct hand_opts n = { .pollers = 1 };
	struct hand_facts f;
	uint64_t began;

	given(&o, &n);
	given_clients(2);
	began = now_ms();
	hand_all_over(&f);
	peer_expect_eof(client[0]);
	peer_expect_eof(client[1]);

	ck_assert_uint_ge(now_ms() - began + 20, 300);
	close_clients(2);
	hand_stop(&old, &f);
	ck_assert_int_eq(f.emoved, 2);
	AWAIT(({
		hand_facts(&next, &f);
		f.closes == 2;
	}));
	ck_assert_int_eq(f.last_error, -ETIMEDOUT);
	hand_stop(&next, &f);
}
END_TEST

/* Half of it was read by the one process, and its time runs out in the other. */
START_TEST(what_is_left_of_a_request_timeout_goes_along)
{
	const struct hand_opts o = { .own_request_ms = 300 };
	struct hand_facts f;
	uint64_t began;

	given(&o, NULL);
	given_clients(1);
	began = now_ms();
	peer_send(client[0], "abc", 3);
	hand_all_over(&f);
	ck_assert_uint_eq(f.handed.handed, 1);
	peer_expect_eof(client[0]);

	ck_assert_uint_ge(now_ms() - began + 20, 300);
	close_clients(1);
	AWAIT(({
		hand_facts(&next, &f);
		f.closes == 1;
	}));
	ck_assert_int_eq(f.last_error, -ETIMEDOUT);
	end_both();
}
END_TEST

/* ------------------------------------------------------------------ unix listeners */

START_TEST(a_unix_listener_keeps_its_file_until_the_last_owner_stops)
{
	struct hand_opts o = { .network = "unix" };
	char *dir = temp_dir(), path[100];
	struct hand_facts f;
	struct stat before, after;

	snprintf(path, sizeof path, "%s/s", dir);
	o.address = path;
	given(&o, &o);
	ck_assert_int_eq(lstat(path, &before), 0);
	given_clients(4);
	hand_all_over(&f);
	ck_assert_uint_eq(f.handed.handed, 4);
	hand_stop(&old, &f);

	ck_assert_int_eq(lstat(path, &after), 0);
	ck_assert_uint_eq(before.st_ino, after.st_ino);
	expect_all_at_next(4, 2);
	close_clients(4);
	client[0] = connect_one();
	ck_assert_uint_eq(hand_echo(client[0]).pid, (uint32_t)next.pid);
	close_clients(1);
	hand_stop(&next, &f);
	ck_assert_int_eq(lstat(path, &after), -1);
	remove_tree(&dir);
}
END_TEST

START_TEST(it_may_go_from_process_to_process_again_and_again)
{
	struct hand_facts f;
	struct child gone;

	given(NULL, NULL);
	given_clients(8);
	for (uint32_t i = 0; i < 5; i++) {
		hand_all_over(&f);
		ck_assert_uint_eq(f.handed.handed, 8);
		expect_all_at_next(8, i + 2);
		gone = old;
		old = next;
		hand_stop(&gone, &f);
		hand_new(&next, NULL);
	}
	close_clients(8);
	end_both();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "handover");

	tcase_add_test(t, kept_alive_connections_go_on_in_the_next_process);
	tcase_add_test(t, and_so_do_those_that_the_rebalancer_looks_at);
	tcase_add_test(t, behind_a_load_balancer_the_next_process_knows_the_client);
	tcase_add_test(t, and_so_where_listeners_are_steered);
	tcase_add_test(t, a_request_that_is_half_read_is_answered_whole);
	tcase_add_test(t, a_request_whose_greater_part_is_here_is_answered_whole);
	tcase_add_test(t, an_answer_that_was_not_sent_is_sent_by_the_next_process);
	tcase_add_test(t, a_thousand_connections_go_in_batches);
	tcase_add_loop_test(t, one_whose_handler_is_at_work_goes_when_it_is_done, 0, 2);
	tcase_add_loop_test(t, one_that_is_at_work_to_the_end_stays_and_is_served, 0, 2);
	tcase_add_test(t, without_on_export_connections_stay_and_listeners_go);
	tcase_add_test(t, a_set_of_two_clients_goes_whole);
	tcase_add_test(t, a_set_of_which_one_is_refused_stays_whole);
	tcase_add_loop_test(t, one_that_waits_where_it_may_go_goes, 0, 2);
	tcase_add_loop_test(t, one_that_takes_its_time_to_go_stays_and_is_served, 0, 2);
	tcase_add_test(t, and_goes_on_here_where_it_is_refused);
	tcase_add_test(t, what_on_import_refuses_goes_on_in_the_old_process);
	tcase_add_test(t, a_descriptor_serves_in_the_place_of_a_path);
	tcase_add_test(t, each_reason_to_stay_has_its_words);
	tcase_add_loop_test(t, idle_timeouts_go_along, 0, 2);
	tcase_add_test(t, what_is_left_of_a_request_timeout_goes_along);
	tcase_add_test(t, a_unix_listener_keeps_its_file_until_the_last_owner_stops);
	tcase_add_test(t, it_may_go_from_process_to_process_again_and_again);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* steer_adopt: servers that know nothing of this library, as workers of a service */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "given_hung.h"
#include "netpoll/steer_admin.h"
#include "steer/find.h"
#include "steer/steer.h"
#include "support/adopted.h"
#include "support/child.h"
#include "support/foreign.h"
#include "support/killed.h"
#include "support/privilege.h"
#include "support/steer.h"
#include "support/test.h"

/* ------------------------------------------------------------------ adopted */

START_TEST(adopted_listeners_get_what_the_policy_says_and_are_left_as_they_were)
{
	unsigned got[FOREIGN_MAX];
	struct np_steer *s;
	struct foreign f;

	OWN_STEERING();
	s = given_service("web", "rr");
	ck_assert_int_eq(foreign_start(&f, steerable[_i], 3, FOREIGN_PORT), 0);
	must_adopt(s, "7480", 3);
	foreign_count(FOREIGN_AT, 60, got);
	for (unsigned i = 0; i < 3; i++) {
		struct np_steer_worker_info w = worker(s, i);

		ck_assert_uint_eq(got[i], 20);
		ck_assert_uint_eq(w.steered, 20);
		ck_assert(w.adopted && !w.held);
		ck_assert(!w.counted || w.accepted_total == 20);
		ck_assert_int_gt(w.pid, 0);
		ck_assert_int_gt(w.tid, 0);
	}
	ck_assert_uint_eq(stats(s).steered, 60);
	must_adopt(s, FOREIGN_AT, 3); /* they are already */
	ck_assert_uint_eq(workers(s), 3);
	must_release(s, 3);
	expect_nothing_left(s, FOREIGN_AT, 3);
	foreign_count(FOREIGN_AT, 20, got);
	ck_assert_uint_eq(stats(s).syn_total, 60);
	must_release(s, 0);
	end_adopted(s, &f);
}
END_TEST

/* Nobody watches: they are adopted when that is asked for again. */
START_TEST(listeners_that_come_later_get_nothing_until_they_are_adopted_too)
{
	unsigned got[FOREIGN_MAX];
	struct foreign f, later;
	struct np_steer *s;

	OWN_STEERING();
	s = given_adopted(&f, "rr", FOREIGN_PROCESSES, 2);
	ck_assert_int_eq(foreign_start(&later, FOREIGN_PROCESSES, 2, FOREIGN_PORT), 0);
	foreign_count(FOREIGN_AT, 40, got);
	ck_assert_uint_eq(worker(s, 0).steered + worker(s, 1).steered, 40);

	must_adopt(s, FOREIGN_AT, 4);

	foreign_count(FOREIGN_AT, 40, got);
	ck_assert_uint_eq(worker(s, 2).steered + worker(s, 3).steered, 20);
	must_release(s, 4);
	foreign_end(&later);
	end_adopted(s, &f);
}
END_TEST

START_TEST(the_worker_is_named_after_the_task_that_accepts)
{
	struct np_steer *s;
	struct foreign f;
	char name[40];
	bool seen;

	OWN_STEERING();
	s = given_adopted(&f, NULL, steerable[_i], 3);
	for (unsigned i = 0; i < 3; i++) {
		pid_t task = steerable[_i] == FOREIGN_PROCESSES ? f.pid[i] : f.tid[i];

		snprintf(name, sizeof name, "-%d", task);
		seen = false;
		for (unsigned w = 0; w < 3; w++)
			seen = seen || (worker(s, w).tid == task && worker(s, w).pid == f.pid[i] &&
					strstr(worker(s, w).name, name));
		ck_assert_msg(seen, "no worker is %d", task);
	}
	must_release(s, 3);
	end_adopted(s, &f);
}
END_TEST

/* Out of accept(2) a thread is like any other: whose the listener is shows when it is back. */
START_TEST(a_worker_that_served_while_it_was_adopted_is_named_by_the_next_adoption)
{
	struct np_steer *s;
	struct foreign f;

	OWN_STEERING();
	s = given_service("web", "rr");
	ck_assert_int_eq(foreign_start(&f, FOREIGN_BLOCKING, 2, FOREIGN_PORT), 0);
	for (unsigned i = 0; i < 2; i++)
		foreign_signal(&f, i, SIGUSR1);
	AWAIT(!foreign_waits(&f, 0) && !foreign_waits(&f, 1));
	must_adopt(s, FOREIGN_AT, 2);
	ck_assert_int_eq(worker(s, 0).pid, 0);
	for (unsigned i = 0; i < 2; i++)
		foreign_signal(&f, i, SIGUSR2);
	AWAIT(foreign_waits(&f, 0) && foreign_waits(&f, 1));

	must_adopt(s, FOREIGN_AT, 2);

	ck_assert_int_eq(worker(s, 0).pid, f.pid[0]);
	ck_assert_int_eq(worker(s, 0).tid + worker(s, 1).tid, f.tid[0] + f.tid[1]);
	must_release(s, 2);
	end_adopted(s, &f);
}
END_TEST

START_TEST(several_addresses_of_one_worker_share_its_number)
{
	unsigned got[FOREIGN_MAX];
	struct np_steer *s;
	struct foreign f;

	OWN_STEERING();
	s = given_service("web", "rr");
	ck_assert_int_eq(foreign_start(&f, FOREIGN_TWO_PORTS, 3, FOREIGN_PORT), 0);
	must_adopt(s, "7480", 3);
	must_adopt(s, "7481", 3);
	ck_assert_uint_eq(workers(s), 3);
	ck_assert_int_eq(np_steer_drain(s, 1), 0); /* of both addresses */
	foreign_count("127.0.0.1:7480", 20, got);
	ck_assert_uint_eq(worker(s, 1).steered, 0);
	foreign_count("127.0.0.1:7481", 20, got);
	ck_assert_uint_eq(worker(s, 1).steered, 0);
	ck_assert_int_eq(np_steer_undrain(s, 1), 0);
	ck_assert_int_eq(np_steer_release(s, NP_OPTS(np_steer_adopt_opts, .address = "7480")), 3);
	ck_assert_uint_eq(workers(s), 3);
	ck_assert_int_eq(look("7480").program, 0);
	ck_assert_int_eq(look("7481").program, 1);
	must_release(s, 3);
	expect_nothing_left(s, "7481", 3);
	end_adopted(s, &f);
}
END_TEST

static void count_foreseen(void *arg, const struct np_steer_adoption *a)
{
	unsigned *n = arg;

	ck_assert_int_eq(a->result, 1);
	ck_assert_int_eq(a->worker, -1);
	ck_assert_str_ne(a->name, "");
	++*n;
}

START_TEST(a_dry_run_says_what_would_be_and_changes_nothing)
{
	struct np_steer *s;
	struct foreign f;
	unsigned n = 0;

	OWN_STEERING();
	s = given_service("web", NULL);
	ck_assert_int_eq(foreign_start(&f, FOREIGN_PROCESSES, 3, FOREIGN_PORT), 0);
	ck_assert_int_eq(
		np_steer_adopt(s,
			       NP_OPTS(np_steer_adopt_opts, .address = FOREIGN_AT, .dry_run = true),
			       count_foreseen, &n),
		3);
	ck_assert_uint_eq(n, 3);
	expect_nothing_left(s, FOREIGN_AT, 3);
	end_adopted(s, &f);
}
END_TEST

START_TEST(what_cannot_be_steered_is_not_adopted)
{
	const struct refused *x = &refused[_i];
	struct np_steer *s;
	struct foreign f;

	OWN_STEERING();
	s = given_service("web", NULL);
	if (foreign_start(&f, x->shape, x->n, FOREIGN_PORT) < 0)
		SKIP("this kernel has no MPTCP");
	fails(adopt(s, FOREIGN_AT), -NP_EUNSUPPORTED, x->why, s);
	expect_nothing_left(s, FOREIGN_AT, look(FOREIGN_AT).n);
	foreign_end(&f);
	fails(adopt(s, FOREIGN_AT), -ENOENT, "nobody listens", s);
	fails(adopt(s, "x"), -EINVAL, "not an address", s);
	fails(adopt(s, NULL), -EINVAL, "which port", s);
	end_service(s, "web");
}
END_TEST

/* The third of its listeners finds no number. */
START_TEST(an_adoption_that_fails_leaves_no_program_behind)
{
	struct np_steer_worker *own[NP_WORKERS - 2];
	struct foreign f;
	struct np_steer *s;

	OWN_STEERING();
	ck_assert_int_eq(foreign_start(&f, FOREIGN_PROCESSES, 3, FOREIGN_PORT), 0);
	s = given_service("web", "rr");
	for (unsigned i = 0; i < NP_WORKERS - 2; i++)
		ck_assert_int_eq(np_steer_worker(s, "own", &own[i]), 0);
	fails(adopt(s, "7480"), -ENOSPC, "all 256 workers", s);
	ck_assert_int_eq(look("7480").program, 0);
	foreign_ask(FOREIGN_AT);
	for (unsigned i = 0; i < NP_WORKERS - 2; i++)
		ck_assert_int_eq(np_steer_worker_close(&own[i]), 0);
	expect_nothing_left(s, "7480", 3);
	end_service(s, "web");
	foreign_end(&f);
}
END_TEST

#define TOOLS 6

/* In a child, when it hears of it. */
static void adopt_when_told(int sock, void *arg)
{
	struct np_steer *s = given_service("web", NULL);
	char text[NP_STEER_TEXT_MAX];
	int r;

	child_say(sock, 'r');
	child_hear(sock);
	r = adopt(s, FOREIGN_AT);
	snprintf(text, sizeof text, "%s", np_steer_error(s));
	child_send(sock, &r, sizeof r);
	child_send(sock, text, sizeof text);
	np_steer_close(&s);
}

/* None undoes what another one has done, and each is told that all are workers. */
START_TEST(several_adoptions_at_once_are_one)
{
	struct child c[TOOLS];
	struct np_steer *s;
	struct foreign f;
	int r;

	OWN_STEERING();
	s = given_service("web", "rr");
	ck_assert_int_eq(foreign_start(&f, FOREIGN_PROCESSES, 4, FOREIGN_PORT), 0);
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < TOOLS; i++) {
			child_start(&c[i], adopt_when_told, NULL);
			child_hear(c[i].sock);
		}
		for (int i = 0; i < TOOLS; i++)
			child_say(c[i].sock, 'g');
		for (int i = 0; i < TOOLS; i++) {
			child_recv(c[i].sock, &r, sizeof r);
			child_recv(c[i].sock, why, sizeof why);
			child_join(&c[i]);
			ck_assert_msg(r == 4, "round %d: %d %s", round, r, why);
		}
		ck_assert_uint_eq(workers(s), 4);
		must_release(s, 4);
	}
	end_adopted(s, &f);
}
END_TEST

START_TEST(the_list_says_which_service_steers_a_listener)
{
	struct np_steer *s;
	struct foreign f;
	struct seen now;

	OWN_STEERING();
	s = given_adopted(&f, "rr", FOREIGN_PROCESSES, 2);
	now = look(FOREIGN_AT);
	ck_assert_str_eq(now.verdict, "yes: the service web steers it");
	ck_assert_uint_eq(now.steerable, 2);
	must_release(s, 2);
	ck_assert_str_eq(look(FOREIGN_AT).verdict, "yes");
	end_adopted(s, &f);
}
END_TEST

START_TEST(a_second_service_is_refused_and_the_first_goes_on)
{
	struct np_steer *first, *second;
	unsigned got[FOREIGN_MAX];
	struct foreign f;

	OWN_STEERING();
	first = given_service("web", "rr");
	second = given_service("other", "rr");
	ck_assert_int_eq(foreign_start(&f, FOREIGN_PROCESSES, 2, FOREIGN_PORT), 0);
	must_adopt(first, FOREIGN_AT, 2);
	fails(adopt(second, FOREIGN_AT), -EBUSY, "another service, web: `npsteer release web`",
	      second);
	fails(np_steer_adopt(second,
			     NP_OPTS(np_steer_adopt_opts, .address = FOREIGN_AT, .force = true),
			     NULL, NULL),
	      -EBUSY, "another service", second);
	foreign_count(FOREIGN_AT, 40, got);
	ck_assert_uint_eq(stats(first).steered, 40);
	ck_assert_uint_eq(got[0], 20);
	ck_assert_uint_eq(workers(second), 0);
	must_release(second, 0);
	must_release(first, 2);
	must_adopt(second, FOREIGN_AT, 2);
	must_release(second, 2);
	foreign_end(&f);
	end_service(second, "other");
	end_service(first, "web");
}
END_TEST

START_TEST(a_program_of_the_servers_own_is_replaced_by_force_only)
{
	unsigned got[FOREIGN_MAX];
	struct np_steer *s;
	struct foreign f;

	OWN_STEERING();
	s = given_service("web", "rr");
	ck_assert_int_eq(foreign_start(&f, FOREIGN_PROGRAM, 2, FOREIGN_PORT), 0);
	fails(adopt(s, FOREIGN_AT), -EBUSY, "--force", s);
	ck_assert_msg(strstr(look(FOREIGN_AT).verdict, "--force") != NULL, "no --force");
	foreign_count(FOREIGN_AT, 10, got);
	ck_assert_uint_eq(got[0], 10); /* its program says so */
	ck_assert_int_eq(
		np_steer_adopt(s,
			       NP_OPTS(np_steer_adopt_opts, .address = FOREIGN_AT, .force = true),
			       NULL, NULL),
		2);
	foreign_count(FOREIGN_AT, 10, got);
	ck_assert_uint_eq(got[0], 5);
	must_release(s, 2);
	end_adopted(s, &f);
}
END_TEST

/* ------------------------------------------------------------------ beside native workers */

START_TEST(a_claim_passes_the_numbers_of_adopted_workers_over)
{
	struct np_steer_worker *w, *again;
	struct np_steer *s;
	struct foreign f;

	OWN_STEERING();
	s = given_adopted(&f, NULL, FOREIGN_PROCESSES, 3);
	ck_assert_int_eq(np_steer_worker(s, "native", &w), 0);
	ck_assert_int_eq(np_steer_worker_index(w), 3);
	ck_assert_str_eq(worker(s, 3).name, "native");
	foreign_end(&f);
	ck_assert_uint_eq(workers(s), 1); /* they went with their server */
	ck_assert_int_eq(np_steer_worker(s, "again", &again), 0);
	ck_assert_int_eq(np_steer_worker_index(again), 0);
	ck_assert(!worker(s, 0).adopted);
	ck_assert_int_eq(np_steer_worker_close(&w), 0);
	ck_assert_int_eq(np_steer_worker_close(&again), 0);
	end_service(s, "web");
}
END_TEST

/* Two workers of this library in a process with a watchdog, the first of which hangs. */
struct member {
	struct np_steer *s;
	struct np_steer_worker *w[2];
	int fd[2];
};

#define MEMBER_AT "127.0.0.1:7490"

static void given_member(struct member *m)
{
	ck_assert_int_eq(np_steer_open("web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN), &m->s),
			 0);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq(np_steer_worker(m->s, "native", &m->w[i]), 0);
		ck_assert_int_eq(np_steer_listen(m->w[i], "tcp", MEMBER_AT, 0, &m->fd[i]), 0);
	}
}

/* Its watchdog has seen all that waits in the service, and done what it does. */
static void await_rescue(struct member *m, unsigned times)
{
	unsigned hung = (unsigned)np_steer_worker_index(m->w[0]);
	int fd, all;

	np_steer_idle(m->w[0]);
	np_steer_idle(m->w[1]);
	np_steer_kick(m->s, hung + 1);
	fd = client_connect(MEMBER_AT); /* to the first: the other is out */
	np_steer_undrain(m->s, hung + 1);
	given_hung_worker(m->w[0]);
	AWAIT(worker(m->s, hung).rescued == times);
	ck_assert_int_eq(np_steer_relisten(m->w[0], m->fd[0]), 0);
	await_fd(m->fd[1], POLLIN);
	all = accept4(m->fd[1], NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_ge(all, 0);
	np_steer_conn_inc(m->w[1]);
	np_steer_conn_dec(m->w[1]);
	client_close(&all);
	client_close(&fd);
}

static void end_member(struct member *m)
{
	for (unsigned i = 0; i < 2; i++) {
		close(m->fd[i]);
		ck_assert_int_eq(np_steer_worker_close(&m->w[i]), 0);
	}
	ck_assert_int_eq(np_steer_close(&m->s), 0);
}

/* A listener that is shut is listened on again by a server of this library, and by no other. */
START_TEST(no_watchdog_shuts_the_listener_of_an_adopted_worker)
{
	struct member m;
	struct np_steer *s;
	struct foreign f;
	int fds[16];

	OWN_STEERING();
	s = given_service("web", "hash");
	ck_assert_int_eq(np_steer_set_hang_ms(s, 60), 0);
	ck_assert_int_eq(foreign_start(&f, FOREIGN_TOUCHY, 2, FOREIGN_PORT), 0);
	must_adopt(s, FOREIGN_AT, 2);
	given_member(&m);
	stop_process(f.pid[0]);
	ck_assert_int_eq(queue_up(FOREIGN_AT, fds, 16), 0);
	for (unsigned i = 1; i < 4; i++)
		await_rescue(&m, i);
	ck_assert_uint_eq(worker(s, 0).rescued + worker(s, 1).rescued, 0);
	ck_assert_uint_eq(worker(s, 0).rescue_failed + worker(s, 1).rescue_failed, 0);
	kill(f.pid[0], SIGCONT);
	expect_letters(fds, 16);
	ck_assert_uint_eq(workers(s), 4);
	end_member(&m);
	must_release(s, 2);
	end_adopted(s, &f);
}
END_TEST

/* ------------------------------------------------------------------ what may go wrong */

START_TEST(a_descriptor_that_is_another_socket_by_now_is_not_adopted)
{
	struct find_query q;
	struct foreign f;
	struct find found;
	int fd = -1;

	OWN_STEERING();
	ck_assert_int_eq(foreign_start(&f, FOREIGN_PROCESSES, 2, FOREIGN_PORT), 0);
	ck_assert_int_eq(find_parse(&q, FOREIGN_AT), 0);
	ck_assert_int_eq(find_run(&found, &q), 0);
	ck_assert_uint_eq(found.n, 2);
	ck_assert_int_eq(find_take(&found.all[0], &fd), 0);
	close(fd);
	for (unsigned i = 0; i < found.all[0].holders; i++)
		found.all[0].holder[i].number = found.all[1].holder[0].number; /* used again */
	ck_assert_int_eq(find_take(&found.all[0], &fd), -ESTALE);
	for (unsigned i = 0; i < found.all[0].holders; i++)
		found.all[0].holder[i].pid = getpid(); /* likewise */
	ck_assert_int_eq(find_take(&found.all[0], &fd), -ESTALE);
	foreign_end(&f);
	find_fini(&found);
}
END_TEST

static int adopt_usual(struct np_steer *s)
{
	return adopt(s, FOREIGN_AT);
}

START_TEST(without_ptrace_nothing_is_adopted_and_the_sentence_says_so)
{
	struct np_steer *s;
	struct foreign f;

	OWN_STEERING();
	s = given_service("web", NULL);
	ck_assert_int_eq(foreign_start(&f, FOREIGN_PROCESSES, 2, FOREIGN_PORT), 0);
	fails_without_ptrace(adopt_usual);
	expect_nothing_left(s, FOREIGN_AT, 2);
	end_adopted(s, &f);
}
END_TEST

START_TEST(a_listener_bound_to_port_0_is_adopted_at_the_port_it_got)
{
	unsigned got[FOREIGN_MAX];
	struct np_steer *s;
	struct foreign f;

	OWN_STEERING();
	s = given_service("web", "rr");
	ck_assert_int_eq(foreign_start(&f, FOREIGN_PROCESSES, 2, 0), 0);
	must_adopt(s, f.address, 2);
	foreign_count(f.address, 20, got);
	ck_assert_uint_eq(got[0], 10);
	must_release(s, 2);
	foreign_count(f.address, 20, got);
	end_adopted(s, &f);
}
END_TEST

/* ------------------------------------------------------------------ in other namespaces */

static int count_queue(void *arg, const struct np_steer_queue *q)
{
	ck_assert_uint_eq(q->queued, 0);
	ck_assert_uint_gt(q->backlog, 0);
	++*(unsigned *)arg;
	return 0;
}

START_TEST(a_server_in_namespaces_of_its_own_is_adopted_from_outside)
{
	bool rootless = _i;
	unsigned got[FOREIGN_MAX], seen = 0;
	struct np_steer *s;
	struct child c;
	pid_t pid;
	int r;

	OWN_STEERING();
	s = given_service("web", "rr");
	child_start(&c, run_apart, &rootless);
	child_recv(c.sock, &r, sizeof r);
	child_recv(c.sock, &pid, sizeof pid);
	ck_assert_int_eq(r, 0);
	fails(adopt(s, FOREIGN_AT), -ENOENT, "nobody listens", s); /* not in this one */
	r = np_steer_adopt(s, NP_OPTS(np_steer_adopt_opts, .address = FOREIGN_AT, .pid = pid), NULL,
			   NULL);
	ck_assert_msg(r == 2, "%d %s", r, np_steer_error(s));
	child_say(c.sock, 'g');
	child_recv(c.sock, got, sizeof got);
	ck_assert_uint_eq(got[0], 20);
	ck_assert_uint_eq(stats(s).steered, 40);
	ck_assert_int_eq(np_steer_queues(s, count_queue, &seen), 0);
	ck_assert_uint_eq(seen, 2);
	must_release(s, 2);
	ck_assert_uint_eq(workers(s), 0);
	child_say(c.sock, 'q');
	child_join(&c);
	end_service(s, "web");
}
END_TEST

/* ------------------------------------------------------------------ killed */

#ifdef NP_FAULT

static int adopt_it(struct np_steer *s, void *arg)
{
	int r = adopt(s, FOREIGN_AT);

	return r < 0 ? r : 0;
}

static int release_it(struct np_steer *s, void *arg)
{
	int r = release(s);

	return r < 0 ? r : 0;
}

/* A release asks for each slot that there may be, four thousand of them. */
static const struct killing {
	int (*deed)(struct np_steer *s, void *arg);
	enum sys_call call;
	bool many; /* and most are looks: not each of them */
} killings[] = {
	{ adopt_it, SYS_bpf, false },  { adopt_it, SYS_setsockopt, false },
	{ release_it, SYS_bpf, true }, { release_it, SYS_map_write, false },
	{ release_it, SYS_fs, false }, { release_it, SYS_setsockopt, false },
};
#define KILLINGS (int)(sizeof killings / sizeof killings[0])

START_TEST(killed_at_any_step_the_server_serves_and_the_next_one_goes_on)
{
	const struct killing *k = &killings[_i];
	struct strike x = { .call = k->call, .whom = SYS_FAULT_KILL };
	unsigned got[FOREIGN_MAX];
	struct np_steer *s;
	struct foreign f;

	OWN_STEERING();
	s = given_service("web", "rr");
	ck_assert_int_eq(foreign_start(&f, FOREIGN_PROCESSES, 2, FOREIGN_PORT), 0);
	for (bool killed = true; killed;) {
		/* check-steer-long */
		x.nth += getenv("NP_EACH_STEP") && !k->many ? 1 : x.nth / 2 + 1;
		if (k->deed == release_it)
			must_adopt(s, FOREIGN_AT, 2);
		killed = killed_by(&x, "web", k->deed, NULL);
		foreign_count(FOREIGN_AT, 6, got);
		must_adopt(s, FOREIGN_AT, 2);
		foreign_count(FOREIGN_AT, 6, got);
		ck_assert_uint_eq(got[0], 3);
		ck_assert_uint_eq(workers(s), 2);
		ck_assert_int_ge(release(s), 2);
		expect_nothing_left(s, FOREIGN_AT, 2);
	}
	ck_assert_uint_gt(x.nth, 1);
	end_adopted(s, &f);
}
END_TEST

#endif

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "adopted");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, adopted_listeners_get_what_the_policy_says_and_are_left_as_they_were,
			    0, 3);
	tcase_add_test(t, listeners_that_come_later_get_nothing_until_they_are_adopted_too);
	tcase_add_loop_test(t, the_worker_is_named_after_the_task_that_accepts, 0, 3);
	tcase_add_test(t, a_worker_that_served_while_it_was_adopted_is_named_by_the_next_adoption);
	tcase_add_test(t, several_addresses_of_one_worker_share_its_number);
	tcase_add_test(t, a_dry_run_says_what_would_be_and_changes_nothing);
	tcase_add_loop_test(t, what_cannot_be_steered_is_not_adopted, 0, REFUSED);
	tcase_add_test(t, an_adoption_that_fails_leaves_no_program_behind);
	tcase_add_test(t, the_list_says_which_service_steers_a_listener);
	tcase_add_test(t, a_second_service_is_refused_and_the_first_goes_on);
	tcase_add_test(t, a_program_of_the_servers_own_is_replaced_by_force_only);
	t = add_case(s, "at once");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, several_adoptions_at_once_are_one);
	t = add_case(s, "beside");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_claim_passes_the_numbers_of_adopted_workers_over);
	tcase_add_test(t, no_watchdog_shuts_the_listener_of_an_adopted_worker);
	t = add_case(s, "wrong");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_descriptor_that_is_another_socket_by_now_is_not_adopted);
	tcase_add_test(t, without_ptrace_nothing_is_adopted_and_the_sentence_says_so);
	tcase_add_test(t, a_listener_bound_to_port_0_is_adopted_at_the_port_it_got);
	tcase_add_loop_test(t, a_server_in_namespaces_of_its_own_is_adopted_from_outside, 0, 2);
	t = add_case(s, "killed");
	tcase_set_timeout(t, getenv("NP_EACH_STEP") ? 1800 : 240);
#ifdef NP_FAULT
	tcase_add_loop_test(t, killed_at_any_step_the_server_serves_and_the_next_one_goes_on, 0,
			    KILLINGS);
#endif
}

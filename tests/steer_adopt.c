/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_adopt: servers that know nothing of this library: how their listeners lie, and what becomes
 * of them as workers
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netpoll/steer_admin.h"
#include "support/foreign.h"
#include "support/privilege.h"
#include "support/steer.h"
#include "support/test.h"

/* ------------------------------------------------------------------ listeners */

struct seen {
	unsigned n, steerable, alone; /* listeners; those with one acceptor */
	struct np_steer_task acceptor[FOREIGN_MAX];
	unsigned acceptors, holders; /* of the last one */
	int reuseport, program;
	char address[80], verdict[NP_STEER_TEXT_MAX];
};

static int see(void *arg, const struct np_steer_listener *l)
{
	struct seen *s = arg;

	if (l->n_acceptors == 1 && s->alone < FOREIGN_MAX)
		s->acceptor[s->alone++] = l->acceptors[0];
	s->n++;
	s->steerable += l->can_be_steered;
	s->acceptors = l->n_acceptors;
	s->holders = l->n_holders;
	s->reuseport = l->reuseport;
	s->program = l->program;
	snprintf(s->address, sizeof s->address, "%s", l->address);
	snprintf(s->verdict, sizeof s->verdict, "%s", l->verdict);
	return 0;
}

static struct seen look(const char *address)
{
	struct seen s = { 0 };
	char why[NP_STEER_TEXT_MAX] = "";
	int r = np_steer_listeners(NP_OPTS(np_steer_find_opts, .address = address, .error = why,
					   .error_cap = sizeof why),
				   see, &s);

	ck_assert_msg(r == 0, "%d %s", r, why);
	return s;
}

/* Each worker is the acceptor of one listener. */
static void expect_each_has_one(const struct foreign *f, const struct seen *s, bool threads)
{
	ck_assert_uint_eq(s->alone, f->n);
	for (unsigned i = 0; i < f->n; i++) {
		unsigned times = 0;

		for (unsigned k = 0; k < s->alone; k++)
			times += s->acceptor[k].pid == f->pid[i] &&
				 s->acceptor[k].tid == (threads ? f->tid[i] : f->pid[i]);
		ck_assert_msg(times == 1, "worker %u accepts from %u listeners", i, times);
	}
}

static const enum foreign_shape steerable[] = { FOREIGN_PROCESSES, FOREIGN_THREADS,
						FOREIGN_BLOCKING };

START_TEST(each_listener_is_shown_with_the_task_that_accepts_from_it)
{
	struct foreign f;
	struct seen s;

	OWN_STEERING();
	ck_assert_int_eq(foreign_start(&f, steerable[_i], 3, FOREIGN_PORT), 0);
	s = look("7480");
	ck_assert_uint_eq(s.n, 3);
	ck_assert_uint_eq(s.steerable, 3);
	ck_assert_str_eq(s.verdict, "yes");
	ck_assert_str_eq(s.address, FOREIGN_AT);
	ck_assert_int_eq(s.reuseport, 1);
	ck_assert_int_eq(s.program, 0);
	ck_assert_uint_eq(s.holders, steerable[_i] == FOREIGN_PROCESSES ? 4 : 1);
	expect_each_has_one(&f, &s, steerable[_i] != FOREIGN_PROCESSES);
	foreign_end(&f);
}
END_TEST

static const struct refused {
	enum foreign_shape shape;
	unsigned n, acceptors;
	const char *why;
} refused[] = {
	{ FOREIGN_SHARED, 3, 3, "3 tasks share" },
	{ FOREIGN_ALONE, 3, 3, "without SO_REUSEPORT" },
	{ FOREIGN_PROCESSES, 1, 1, "the only listener of its address" },
	{ FOREIGN_MPTCP, 2, 1, "MPTCP" },
};
#define REFUSED (int)(sizeof refused / sizeof refused[0])

START_TEST(what_cannot_be_steered_is_said_in_words)
{
	const struct refused *x = &refused[_i];
	struct foreign f;
	struct seen s;

	OWN_STEERING();
	if (foreign_start(&f, x->shape, x->n, FOREIGN_PORT) < 0)
		SKIP("this kernel has no MPTCP");
	s = look(FOREIGN_AT);
	ck_assert_uint_eq(s.steerable, 0);
	ck_assert_uint_eq(s.acceptors, x->acceptors);
	ck_assert_msg(strstr(s.verdict, x->why) != NULL, "%s", s.verdict);
	foreign_end(&f);
}
END_TEST

START_TEST(listeners_are_picked_by_address_and_process)
{
	struct foreign f, g;
	struct seen s;

	OWN_STEERING();
	ck_assert_int_eq(foreign_start(&f, FOREIGN_PROCESSES, 2, FOREIGN_PORT), 0);
	ck_assert_int_eq(foreign_start(&g, FOREIGN_PROCESSES, 3, FOREIGN_PORT), 0);
	ck_assert_uint_eq(look(NULL).n, 5);
	ck_assert_uint_eq(look(":7480").n, 5);
	ck_assert_uint_eq(look("127.0.0.2:7480").n, 0);
	ck_assert_uint_eq(look("7481").n, 0);
	s = (struct seen){ 0 };
	ck_assert_int_eq(
		np_steer_listeners(NP_OPTS(np_steer_find_opts, .pid = g.child.pid), see, &s), 0);
	ck_assert_uint_eq(s.n, 3);
	ck_assert_int_eq(np_steer_listeners(NP_OPTS(np_steer_find_opts, .address = "no"), see, &s),
			 -EINVAL);
	ck_assert_int_eq(np_steer_listeners(NP_OPTS(np_steer_find_opts, .address = "0"), see, &s),
			 -EINVAL);
	foreign_end(&f);
	foreign_end(&g);
}
END_TEST

/* In a child that becomes somebody else. */
static void look_as_somebody(int sock, void *arg)
{
	struct seen s = { 0 };

	become(1234, 0);
	if (np_steer_listeners(NP_OPTS(np_steer_find_opts, .address = FOREIGN_AT), see, &s) != 0)
		child_fail("no list");
	child_send(sock, &s, sizeof s);
}

START_TEST(without_rights_the_list_says_which_are_missing)
{
	struct foreign f;
	struct child c;
	struct seen s;

	OWN_STEERING();
	ck_assert_int_eq(foreign_start(&f, FOREIGN_PROCESSES, 2, FOREIGN_PORT), 0);
	child_start(&c, look_as_somebody, NULL);
	child_recv(c.sock, &s, sizeof s);
	ck_assert_uint_eq(s.n, 2);
	ck_assert_uint_eq(s.steerable, 0);
	ck_assert_int_eq(s.reuseport, -1);
	ck_assert_int_eq(s.program, -1);
	ck_assert_msg(strstr(s.verdict, "CAP_SYS_PTRACE") != NULL, "%s", s.verdict);
	child_join(&c);
	foreign_end(&f);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("steer_adopt");
	TCase *t = tcase_create("listeners");

	tcase_add_loop_test(t, each_listener_is_shown_with_the_task_that_accepts_from_it, 0, 3);
	tcase_add_loop_test(t, what_cannot_be_steered_is_said_in_words, 0, REFUSED);
	tcase_add_test(t, listeners_are_picked_by_address_and_process);
	tcase_add_test(t, without_rights_the_list_says_which_are_missing);
	suite_add_tcase(s, t);
	return run_suite(s);
}

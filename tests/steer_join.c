/* SPDX-License-Identifier: BSD-2-Clause */
/* steer_join: a pinned service has those who name it, and a worker's name means the one that is
 * meant */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "netpoll/steer_admin.h"
#include "support/child.h"
#include "support/privilege.h"
#include "support/steer.h"
#include "support/test.h"

#define NOBODY 1234

static void must_load(const char *service)
{
	ck_assert_int_eq(np_steer_load(service, NP_OPTS(np_steer_load_opts, .for_group = true,
							.gid = NOBODY)),
			 0);
}

static struct np_steer_info info_of(struct np_steer *s)
{
	struct np_steer_info i = { .sz = sizeof i };

	ck_assert_int_eq(np_steer_info(s, &i), 0);
	return i;
}

static const struct asks {
	const char *service;
	enum np_steer_mode mode;
	bool joins;
} asks[] = {
	{ NULL, NP_STEER_AUTO, false },     { NULL, NP_STEER_REQUIRED, false },
	{ NULL, NP_STEER_JOIN, true }, /* it asks to join something */
	{ "default", NP_STEER_AUTO, true }, { "default", NP_STEER_REQUIRED, true },
	{ "default", NP_STEER_JOIN, true }, { "other", NP_STEER_AUTO, false },
};

/* Even where the same user has loaded it, who is root for every program of most machines. */
START_TEST(the_service_default_has_those_who_ask_for_it)
{
	const struct asks *a = &asks[_i];
	struct rig r;

	OWN_STEERING();
	must_load("default");
	rig_open(&r, a->service, NP_OPTS(np_steer_opts, .mode = a->mode));
	ck_assert_int_eq(info_of(r.s).pinned, a->joins);
	rig_worker(&r, "127.0.0.1:0");
	rig_drive(&r, 20);
	ck_assert_uint_eq(rig_stats(&r).steered, 20);
	rig_stop(&r);
	ck_assert_int_eq(np_steer_unload("default", NULL), 0); /* nobody has it */
}
END_TEST

static void serve_unnamed(int sock, void *arg)
{
	struct np_steer_info i = { .sz = sizeof i };
	struct rig r;

	become(NOBODY, 0);
	rig_open(&r, NULL, NULL);
	if (np_steer_info(r.s, &i) < 0 || i.level != NP_STEER_L0 || !strstr(i.reason, "by name"))
		child_fail("level %d: %s", i.level, i.reason);
	rig_stop(&r);
	rig_open(&r, "default", NULL);
	if (np_steer_info(r.s, &i) < 0 || !i.pinned)
		child_fail("level %d: %s", i.level, i.reason);
	rig_stop(&r);
	child_say(sock, 'k');
}

START_TEST(who_names_none_is_told_that_a_name_helps)
{
	struct child c;

	OWN_STEERING();
	must_load("default");
	child_start(&c, serve_unnamed, NULL);
	child_hear(c.sock);
	child_join(&c);
	ck_assert_int_eq(np_steer_unload("default", NULL), 0);
}
END_TEST

/* Pins that nobody has asked for are nobody's error either. */
START_TEST(what_is_wrong_with_default_is_no_error_of_those_who_name_none)
{
	struct rig r;
	char path[128];

	OWN_STEERING();
	must_load("default");
	snprintf(path, sizeof path, "%s/netpoll/default/np_config", own_bpffs());
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(np_steer_open("default", NULL, &r.s), -EPROTO);
	rig_open(&r, NULL, NULL);
	ck_assert(!info_of(r.s).pinned);
	rig_stop(&r);
	ck_assert_int_eq(np_steer_unload("default", NP_OPTS(np_steer_load_opts, .force = true)), 0);
}
END_TEST

/* ------------------------------------------------------------------ names */

static void given_workers(struct rig *r, unsigned n, const char *const *names)
{
	rig_open(r, NULL, NULL);
	for (unsigned i = 0; i < n; i++)
		ck_assert_int_eq(np_steer_worker(r->s, names[i], &r->w[i]), 0);
}

static void workers_end(struct rig *r, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		ck_assert_int_eq(np_steer_worker_close(&r->w[i]), 0);
	ck_assert_int_eq(np_steer_close(&r->s), 0);
}

static void must_mean(struct rig *r, const char *text, unsigned w)
{
	unsigned got = 99;

	ck_assert_msg(np_steer_find_worker(r->s, text, &got) == 0, "%s: %s", text,
		      np_steer_error(r->s));
	ck_assert_msg(got == w, "%s is %u, not %u", text, got, w);
}

static void must_mean_none(struct rig *r, const char *text, int code, const char *says)
{
	unsigned got = 99;

	ck_assert_int_eq(np_steer_find_worker(r->s, text, &got), code);
	ck_assert_uint_eq(got, 99);
	ck_assert_msg(strstr(np_steer_error(r->s), says) != NULL, "%s: %s", text,
		      np_steer_error(r->s));
}

/* While a server is replaced the old one's workers drain, and the new one's have the same names. */
START_TEST(of_workers_with_one_name_the_one_that_is_ready_is_meant)
{
	static const char *const names[] = { "poller-0", "poller-1", "poller-0", "poller-1" };
	struct rig r;

	OWN_STEERING();
	given_workers(&r, 4, names);
	must_mean_none(&r, "poller-0", -ENOTUNIQ,
		       "2 workers of default have the name poller-0: say NAME@PID");
	ck_assert_int_eq(np_steer_drain(r.s, 0), 0);
	must_mean(&r, "poller-0", 2);
	ck_assert_int_eq(np_steer_kick(r.s, 0), 0);
	must_mean(&r, "poller-0", 2);
	ck_assert_int_eq(np_steer_drain(r.s, 2), 0);
	must_mean_none(&r, "poller-0", -ENOTUNIQ, "0 (pid ");
	must_mean_none(&r, "poller-2", -ENOENT, "no worker poller-2");
	must_mean(&r, "3", 3);
	workers_end(&r, 4);
}
END_TEST

static void serve_as_poller_0(int sock, void *arg)
{
	static const char *const names[] = { "poller-0" };
	struct rig r;

	rig_open(&r, "web", NULL);
	if (np_steer_worker(r.s, names[0], &r.w[0]) < 0)
		child_fail("%s", np_steer_error(r.s));
	child_say(sock, 'k');
	child_hear(sock);
	workers_end(&r, 1);
}

START_TEST(a_process_number_tells_workers_with_one_name_apart)
{
	char text[64];
	struct child c;
	struct rig r;

	OWN_STEERING();
	must_load("web");
	rig_open(&r, "web", NULL);
	ck_assert_int_eq(np_steer_worker(r.s, "poller-0", &r.w[0]), 0);
	child_start(&c, serve_as_poller_0, NULL);
	child_hear(c.sock);
	must_mean_none(&r, "poller-0", -ENOTUNIQ, "2 workers");
	snprintf(text, sizeof text, "poller-0@%d", (int)c.pid);
	must_mean(&r, text, 1);
	snprintf(text, sizeof text, "poller-0@%d", (int)getpid());
	must_mean(&r, text, 0);
	must_mean_none(&r, "poller-0@1", -ENOENT, "no worker poller-0@1");
	must_mean_none(&r, "poller-0@", -ENOENT, "no worker");
	child_say(c.sock, 'e');
	child_join(&c);
	workers_end(&r, 1);
	ck_assert_int_eq(np_steer_unload("web", NULL), 0);
}
END_TEST

/* Workers may be called anything: the whole text is a name before a part of it is. */
START_TEST(a_name_with_an_at_sign_is_a_name_first)
{
	static const char *const names[] = { "a@1", "a", "@" };
	struct rig r;

	OWN_STEERING();
	given_workers(&r, 3, names);
	must_mean(&r, "a@1", 0);
	must_mean(&r, "a", 1);
	must_mean(&r, "@", 2);
	workers_end(&r, 3);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "join");

	tcase_add_loop_test(t, the_service_default_has_those_who_ask_for_it, 0,
			    (int)(sizeof asks / sizeof asks[0]));
	tcase_add_test(t, who_names_none_is_told_that_a_name_helps);
	tcase_add_test(t, what_is_wrong_with_default_is_no_error_of_those_who_name_none);
	tcase_add_test(t, of_workers_with_one_name_the_one_that_is_ready_is_meant);
	tcase_add_test(t, a_process_number_tells_workers_with_one_name_apart);
	tcase_add_test(t, a_name_with_an_at_sign_is_a_name_first);
}

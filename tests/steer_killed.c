/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_killed: load and unload, killed before each call that changes a folder, leave the old, the
 * new, or nothing
 *
 * Whatever is left has no service's name, and goes with the next load, unload or gc.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "steer/steer.h"
#include "support/killed.h"
#include "support/steer.h"
#include "support/test.h"

#ifdef NP_FAULT

enum act { LOAD, LOAD_FORCE, UNLOAD, ACTS };

static const char *const acts[ACTS] = { "load", "load --force", "unload" };

static char why[NP_STEER_TEXT_MAX];
#define WHY .error = why, .error_cap = sizeof why

static int do_act(struct np_steer *none, void *arg)
{
	const enum act *act = arg;
	const struct np_steer_load_opts *o =
		NP_OPTS(np_steer_load_opts, .force = *act == LOAD_FORCE, .policy = "rr", WHY);

	return *act == UNLOAD ? np_steer_unload("web", NP_OPTS(np_steer_load_opts, WHY)) :
				np_steer_load("web", o);
}

/* Before its @nth change. True: it was killed. False: it makes fewer, and was done. */
static bool kill_at(enum act act, unsigned nth)
{
	return killed_by(&(struct strike){ SYS_folder_write, nth, SYS_FAULT_KILL }, NULL, do_act,
			 &act);
}

/* Names in netpoll/ but the lock's. */
static unsigned names_left(void)
{
	char path[128];
	struct dirent *e;
	unsigned n = 0;
	DIR *d;

	snprintf(path, sizeof path, "%s/netpoll", own_bpffs());
	d = opendir(path);
	ck_assert_ptr_nonnull(d);
	while ((e = readdir(d)))
		n += e->d_name[0] != '.' && strcmp(e->d_name, "+lock");
	closedir(d);
	return n;
}

/* The policy of the service that can be joined, "" where there is none. Nothing between the two. */
static const char *state(void)
{
	static struct np_steer_info i;
	struct np_steer *s;
	int r;

	r = np_steer_open("web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN, WHY), &s);
	if (r == -ENOENT)
		return "";
	ck_assert_msg(r == 0, "%d %s", r, why);
	np_steer_info_init(&i);
	ck_assert_int_eq(np_steer_info(s, &i), 0);
	ck_assert_int_eq(np_steer_close(&s), 0);
	return i.policy;
}

static void given_before(enum act act)
{
	int r;

	if (act != LOAD && !strcmp(state(), "hash"))
		return;
	r = np_steer_unload("web", NULL);
	ck_assert(r == 0 || r == -ENOENT);
	if (act != LOAD)
		ck_assert_int_eq(
			np_steer_load("web", NP_OPTS(np_steer_load_opts, .policy = "hash")), 0);
}

static void must_be_old_or_new(enum act act)
{
	const char *now = state(), *old = act == LOAD ? "" : "hash",
		   *new = act == UNLOAD ? "" : "rr";

	ck_assert_msg(!strcmp(now, old) || !strcmp(now, new), "neither \"%s\" nor \"%s\": \"%s\"",
		      old, new, now);
}

/* @by: unload, force, load in turn: each takes away what is left. */
static void must_be_mended(unsigned by)
{
	int r;

	if (by % 3 == 0) {
		r = np_steer_unload("web", NP_OPTS(np_steer_load_opts, WHY));
		ck_assert_msg(r == 0 || r == -ENOENT, "%d %s", r, why);
		ck_assert_uint_eq(names_left(), 0);
		return;
	}
	r = np_steer_load("web",
			  NP_OPTS(np_steer_load_opts, .force = by % 3 == 1, .policy = "hash", WHY));
	ck_assert_msg(r == 0 || r == NP_STEER_ALREADY, "%d %s", r, why);
	ck_assert_uint_eq(names_left(), 1);
}

/*
 * The first ones, and then further and further apart; NP_EACH_STEP=1: each (make check-steer-long).
 */
static unsigned step_on(unsigned nth)
{
	return getenv("NP_EACH_STEP") ? nth + 1 : 2 * nth + 1;
}

/* Each step of all is minutes: what is done is seen. */
static void tell_step(enum act act, unsigned nth, bool killed)
{
	if (getenv("NP_EACH_STEP") && (!killed || nth % 10 == 0))
		fprintf(stderr, "%s: %s %u changes\n", acts[act],
			killed ? "killed before each of" : "has fewer than", nth);
}

START_TEST(killed_at_any_step_it_leaves_the_old_or_the_new)
{
	enum act act = (enum act)_i;
	unsigned nth = 1, by = 0;
	bool killed = true;

	OWN_STEERING();
	ck_assert_int_eq(np_steer_load("web", NULL), 0); /* netpoll/ and its lock */
	for (; killed; nth = step_on(nth)) {
		given_before(act);
		killed = kill_at(act, nth);
		must_be_old_or_new(act);
		must_be_mended(by++);
		tell_step(act, nth, killed);
	}
	ck_assert_uint_gt(nth, 3);
}
END_TEST

/*
 * A server that holds the service while its unload was killed goes on, and gc takes the rest away.
 */
START_TEST(gc_takes_away_what_a_killed_load_left)
{
	struct np_steer_garbage g;
	struct rig r;

	OWN_STEERING();
	ck_assert_int_eq(np_steer_load("web", NULL), 0);
	ck_assert(kill_at(LOAD_FORCE, 20)); /* it has begun to pin */
	ck_assert_uint_eq(names_left(), 2);
	rig_open(&r, "web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN));
	np_steer_garbage_init(&g);
	ck_assert_int_eq(np_steer_gc_look(r.s, &g), 0);
	ck_assert_uint_eq(g.pins, 1);
	ck_assert_uint_eq(names_left(), 2);
	ck_assert_int_eq(np_steer_gc(r.s, &g), 0);
	ck_assert_uint_eq(g.pins, 1);
	ck_assert_uint_eq(names_left(), 1);
	rig_stop(&r);
}
END_TEST

#endif

void add_cases(Suite *s)
{
#ifdef NP_FAULT
	TCase *t = add_case(s, "killed");

	tcase_add_loop_test(t, killed_at_any_step_it_leaves_the_old_or_the_new, 0, ACTS);
	tcase_add_test(t, gc_takes_away_what_a_killed_load_left);
#endif
}

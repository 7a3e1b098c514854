/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_killed: load and unload, killed before their system calls, leave the old, the new, or
 * nothing
 *
 * Whatever is left has no service's name, and goes with the next load, unload or gc.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "steer/steer.h"
#include "support/child.h"
#include "support/steer.h"
#include "support/test.h"
#include "sys/fault.h"

#ifdef NP_FAULT

enum act { LOAD, LOAD_FORCE, UNLOAD, ACTS };

struct step {
	enum act act;
	enum sys_call call;
	unsigned nth;
};

static char why[NP_STEER_TEXT_MAX];
#define WHY .error = why, .error_cap = sizeof why

static int do_act(enum act act)
{
	const struct np_steer_load_opts *o =
		NP_OPTS(np_steer_load_opts, .force = act == LOAD_FORCE, .policy = "rr", WHY);

	return act == UNLOAD ? np_steer_unload("web", NP_OPTS(np_steer_load_opts, WHY)) :
			       np_steer_load("web", o);
}

/* True: it was killed. False: it has no such step, and was done. */
static bool kill_at(const struct step *step)
{
	int status;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		sys_fault_arm(step->call, step->nth, SYS_FAULT_KILL);
		_exit(do_act(step->act) == 0 ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return true;
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s %u: status %#x",
		      sys_fault_name(step->call), step->nth, status);
	return false;
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

static void prepare(enum act act)
{
	int r = np_steer_unload("web", NULL);

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
	r = np_steer_load("web", NP_OPTS(np_steer_load_opts, .force = by % 3 == 1, WHY));
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

static const enum sys_call calls[] = { SYS_bpf, SYS_fs };
#define CALLS (sizeof calls / sizeof calls[0])

START_TEST(killed_at_any_step_it_leaves_the_old_or_the_new)
{
	struct step step = { (enum act)(_i / (int)CALLS), calls[_i % (int)CALLS], 1 };
	bool killed = true;
	unsigned by = 0;

	OWN_STEERING();
	ck_assert_int_eq(np_steer_load("web", NULL), 0); /* netpoll/ and its lock */
	for (; killed; step.nth = step_on(step.nth)) {
		prepare(step.act);
		killed = kill_at(&step);
		must_be_old_or_new(step.act);
		must_be_mended(by++);
	}
	ck_assert_uint_gt(step.nth, 1);
}
END_TEST

/*
 * A server that holds the service while its unload was killed goes on, and gc takes the rest away.
 */
START_TEST(gc_takes_away_what_a_killed_load_left)
{
	struct np_steer_garbage g;
	struct step step = { LOAD_FORCE, SYS_bpf, 20 };
	struct rig r;

	OWN_STEERING();
	prepare(UNLOAD);
	/* It looks at what is there first: on to a step at which it has begun to pin. */
	for (; names_left() < 2; step.nth += 10)
		ck_assert(kill_at(&step));
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

	tcase_add_loop_test(t, killed_at_any_step_it_leaves_the_old_or_the_new, 0,
			    ACTS * (int)CALLS);
	tcase_add_test(t, gc_takes_away_what_a_killed_load_left);
#endif
}

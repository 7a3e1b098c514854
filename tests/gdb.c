/* SPDX-License-Identifier: BSD-2-Clause */
/* gdb: tools/gdb/netpoll-gdb.py: fibers and their stacks, in a live process and in a core. */
#include <netpoll/pollers.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/child.h"
#include "support/run.h"
#include "support/test.h"

static _Atomic(int) begun, may_go;
static char *dir;

/* ------------------------------------------------------------------ what is looked at */

static __attribute__((noinline)) int deep_in_a_handler(int ms)
{
	int r = np_sleep(ms);

	return r + 1; /* no tail call: this frame stays */
}

static int a_parked_handler(void *arg)
{
	begun++;
	return deep_in_a_handler(600000) + 1;
}

static int a_running_handler(void *arg)
{
	begun++;
	while (!may_go)
		test_pause();
	return 0;
}

/* A poller with a fiber that is parked, and one with a fiber that runs. */
static void two_pollers(int sock, void *arg)
{
	const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	struct np_pollers *p;

	if (np_pollers_start(NP_OPTS(np_pollers_opts, .count = 2, .pin = NP_OFF), &p) < 0 ||
	    np_go(p, 0, a_parked_handler, NULL, NULL) < 0 ||
	    np_go(p, 1, a_running_handler, NULL, NULL) < 0)
		child_fail("no pollers");
	AWAIT(begun == 2);
	np_sleep(0);
	child_say(sock, 'y');
	if (child_hear(sock) == 'g')
		_exit(0);
	if (chdir(dir) < 0 || setrlimit(RLIMIT_CORE, &all) < 0)
		child_fail("no core");
	abort();
}

static struct child looked_at;

static void setup(void)
{
	dir = temp_dir();
	child_start(&looked_at, two_pollers, NULL);
	child_hear(looked_at.sock);
}

static void teardown(void)
{
	child_kill(&looked_at);
	remove_tree(&dir);
}

#define NEEDS_GDB()                                                               \
	do {                                                                      \
		struct ran has_;                                                  \
		sh(&has_, "gdb -nx -batch -ex 'python import gdb.unwinder'");     \
		if (has_.code != 0 || *has_.err)                                  \
			SKIP("needs gdb with Python: scripts/deps --all");        \
		ran_free(&has_);                                                  \
		if (under_asan() || under_tsan())                                 \
			SKIP("its process is too large to be looked at in time"); \
	} while (0)

/* gdb with the script, and @more. */
static void gdb(struct ran *r, const char *target, const char *more)
{
	sh(r,
	   "gdb -nx -batch -iex 'set debuginfod enabled off' -iex 'set auto-load safe-path /' %s"
	   " -x tools/gdb/netpoll-gdb.py %s 2>&1",
	   target, more);
	ck_assert_msg(r->code == 0, "%s", r->out);
}

static void must_show(const struct ran *r, const char *what)
{
	ck_assert_msg(strstr(r->out, what) != NULL, "no \"%s\" in %s", what, r->out);
}

#define ASK "-ex np-fibers -ex 'np-bt 1' -ex 'np-bt 2'"

/* The stack of the parked one is whole, and so is that of the one that runs. */
static void must_show_both(const struct ran *r)
{
	must_show(r, "sleep");
	must_show(r, "a_parked_handler");
	must_show(r, "in deep_in_a_handler () at tests/gdb.c:");
	must_show(r, "in fiber_main ()");
	must_show(r, "runs");
	must_show(r, "in a_running_handler () at tests/gdb.c:");
}

START_TEST(a_live_process_shows_its_fibers)
{
	char target[32];
	struct ran r;

	NEEDS_GDB();
	snprintf(target, sizeof target, "-p %d", (int)looked_at.pid);
	gdb(&r, target,
	    ASK " -ex 'np-fiber 1' -ex 'frame function deep_in_a_handler'"
		" -ex 'print ms' -ex 'np-fiber off' -ex bt");
	must_show_both(&r);
	must_show(&r, "= 600000"); /* with its variables */
	ran_free(&r);
}
END_TEST

/* The kernel writes it where this process is, and the process is gone. */
static bool cores_come_here(void)
{
	char pattern[128] = "";
	FILE *f = fopen("/proc/sys/kernel/core_pattern", "r");

	if (f && !fgets(pattern, sizeof pattern, f))
		pattern[0] = '\0';
	if (f)
		fclose(f);
	return !strncmp(pattern, "core", 4) && !strchr(pattern, '/');
}

static bool core_is_there(void)
{
	siginfo_t i = { 0 };

	return waitid(P_PID, (id_t)looked_at.pid, &i, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       i.si_pid == looked_at.pid;
}

/* Of the kernel's making: gdb's own stops where a stack's guard begins. */
START_TEST(a_core_shows_the_same)
{
	char target[256];
	struct ran r;

	NEEDS_GDB();
	if (!cores_come_here())
		SKIP("needs kernel.core_pattern=core");
	child_say(looked_at.sock, 'a');
	AWAIT(core_is_there());
	snprintf(target, sizeof target, "/proc/%d/exe %s/core*", (int)getpid(), dir);
	gdb(&r, target, ASK);
	must_show_both(&r);
	ran_free(&r);
}
END_TEST

START_TEST(what_is_no_fiber_is_said_to_be_none)
{
	char target[32];
	struct ran r;

	NEEDS_GDB();
	snprintf(target, sizeof target, "-p %d", (int)looked_at.pid);
	sh(&r, "gdb -nx -batch %s -x tools/gdb/netpoll-gdb.py -ex 'np-bt 99' 2>&1", target);
	must_show(&r, "there is no fiber \"99\"");
	ran_free(&r);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "fibers");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_live_process_shows_its_fibers);
	tcase_add_test(t, a_core_shows_the_same);
	tcase_add_test(t, what_is_no_fiber_is_said_to_be_none);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_fault: whatever call fails, the error comes back and nothing stays open or pinned
 *
 * Each system call of each scenario fails once, one after another. A scenario may succeed all the
 * same (AUTO falls to the kernel's hash); what it opened must be closed either way.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "steer/steer.h"
#include "support/steer.h"
#include "support/test.h"
#include "sys/fault.h"

#ifdef NP_FAULT

/* Gives up what it has, whatever fails meanwhile. */
static void give_up(struct np_steer **s, struct np_steer_worker **w, int *fd)
{
	if (*fd >= 0)
		close(*fd);
	for (unsigned tries = 0; *w && tries < 3; tries++)
		np_steer_worker_close(w); /* fails once at most, and can be repeated */
	for (unsigned tries = 0; *s && tries < 3; tries++)
		np_steer_close(s);
	ck_assert_ptr_null(*w);
	ck_assert_ptr_null(*s);
}

static int serve(const struct np_steer_opts *o, const char *address)
{
	struct np_steer_worker *w = NULL;
	struct np_steer *s = NULL;
	int fd = -1, r;

	r = np_steer_open("web", o, &s);
	if (r == 0)
		r = np_steer_worker(s, "one", &w);
	if (r == 0)
		r = np_steer_listen(w, "tcp", address, 0, &fd);
	if (r < 0 && s)
		ck_assert_int_gt(strlen(np_steer_error(s)), 0);
	give_up(&s, &w, &fd);
	return r;
}

static int serve_privately(void)
{
	return serve(NP_OPTS(np_steer_opts, .bpffs = "/nowhere"), "127.0.0.1:0");
}

static int serve_without_a_program(void)
{
	return serve(NP_OPTS(np_steer_opts, .mode = NP_STEER_OFF), "[::1]:0");
}

static int join_and_serve(void)
{
	return serve(NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN), "127.0.0.1:7810");
}

static int load_and_unload(void)
{
	int r = np_steer_load("mail", NULL);

	if (r == 0)
		r = np_steer_unload("mail", NULL);
	np_steer_unload("mail", NULL);
	return r;
}

static const struct scenario {
	const char *name;
	int (*run)(void);
} scenarios[] = {
	{ "serve privately", serve_privately },
	{ "serve without a program", serve_without_a_program },
	{ "join and serve", join_and_serve },
	{ "load and unload", load_and_unload },
};

static int no_service_but_web(void *arg, const char *name, const char *path)
{
	return strcmp(name, "web");
}

static void fail_each(const struct scenario *sc, enum sys_call call)
{
	int fds = open_fds();

	/* The first few one by one, then in growing steps: a load has many alike. */
	for (unsigned nth = 1; nth < 2000; nth += 1 + nth / 8) {
		sys_fault_arm(call, nth, EIO);
		sc->run();
		int hit = sys_fault_hit(call);
		sys_fault_arm(call, 0, 0);
		ck_assert_msg(open_fds() == fds, "%s: %s no. %u leaks a descriptor", sc->name,
			      sys_fault_name(call), nth);
		ck_assert_msg(np_steer_list(NULL, no_service_but_web, NULL) == 0,
			      "%s: %s no. %u leaves pins", sc->name, sys_fault_name(call), nth);
		if (!hit)
			break;
	}
	ck_assert_msg(sc->run() == 0, "%s does not work after %s failed", sc->name,
		      sys_fault_name(call));
}

START_TEST(a_failing_call_leaves_nothing_open)
{
	static const enum sys_call calls[] = { SYS_socket,     SYS_bind,       SYS_listen,
					       SYS_setsockopt, SYS_getsockopt, SYS_getsockname,
					       SYS_mmap,       SYS_open,       SYS_fs,
					       SYS_bpf };

	OWN_STEERING();
	ck_assert_int_eq(np_steer_load("web", NULL), 0);
	for (unsigned i = 0; i < sizeof calls / sizeof calls[0]; i++) {
		fail_each(&scenarios[_i], calls[i]);
	}
}
END_TEST

#else

START_TEST(a_failing_call_leaves_nothing_open)
{
	SKIP("needs a build with NP_FAULT");
}
END_TEST

#endif

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "fault");

	tcase_add_loop_test(t, a_failing_call_leaves_nothing_open, 0, 4);
}

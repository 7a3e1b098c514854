/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_stand: what waits at adopted workers that stand still is served by others, and their
 * servers see nothing of it
 *
 * NP_ROUNDS sets how often a worker goes on at the moment of the rescue.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "netpoll/steer_admin.h"
#include "steer/rescue.h"
#include "steer/steer.h"
#include "steer/watchdog.h"
#include "support/adopted.h"
#include "support/foreign.h"
#include "support/killed.h"
#include "support/privilege.h"
#include "support/steer.h"
#include "support/test.h"
#include "support/traced.h"
#include "sys/clock.h"
#include "sys/fault.h"
#include "sys/halt.h"

#define HANG_MS 30
#define CLIENTS 48 /* by a hash: some at each of four workers */

static const struct keeping rescuing = { .rescue = NP_STEER_RESCUE_STOPPED };

static struct np_steer *given_hanging(const char *policy)
{
	struct np_steer *s = given_service("web", policy);

	ck_assert_int_eq(np_steer_set_hang_ms(s, HANG_MS), 0);
	return s;
}

/* The worker that process @pid is, -1. */
static int worker_of(struct np_steer *s, pid_t pid)
{
	for (unsigned w = 0; w < 32; w++)
		if (worker(s, w).claimed && worker(s, w).pid == pid)
			return (int)w;
	return -1;
}

/* Where a process has several workers: of all of them. */
static unsigned rescued(struct np_steer *s)
{
	unsigned n = 0;

	for (unsigned w = 0; w < 32; w++)
		n += (unsigned)worker(s, w).rescued;
	return n;
}

static unsigned draining(struct np_steer *s)
{
	unsigned n = 0;

	for (unsigned w = 0; w < 32; w++)
		n += worker(s, w).claimed && worker(s, w).state == NP_STEER_DRAINING;
	return n;
}

/* @n clients that come at once are answered. */
static void must_serve(const char *address, int n)
{
	int fds[64];

	ck_assert_int_eq(queue_up(address, fds, n), 0);
	expect_letters(fds, n);
}

/* By each of its workers. */
static void must_all_serve(struct np_steer *s, const struct foreign *f)
{
	unsigned got[FOREIGN_MAX];

	AWAIT(draining(s) == 0);
	foreign_count(f->address, 8 * f->n, got);
	for (unsigned i = 0; i < f->n; i++)
		ck_assert_msg(got[i] > 0, "worker %u has accepted nothing", i);
}

static struct np_steer *given_two_adopted(struct foreign *f, enum foreign_shape shape)
{
	struct np_steer *s = given_hanging("hash");

	ck_assert_int_eq(foreign_start(f, shape, 2, FOREIGN_PORT), 0);
	must_adopt(s, FOREIGN_AT, 2);
	return s;
}

/* Both of them serve, and then it ends. */
static void end_two_adopted(struct np_steer *s, struct foreign *f)
{
	np_steer_set_policy(s, "rr");
	must_all_serve(s, f);
	must_release(s, 2);
	foreign_end(f);
	end_service(s, "web");
}

/* A server of two workers, watched. */
static struct np_steer *given_kept(struct foreign *f, enum foreign_shape shape, struct child *c,
				   const struct keeping *k)
{
	struct np_steer *s = given_hanging("hash");

	ck_assert_int_eq(foreign_start(f, shape, 2, FOREIGN_PORT), 0);
	given_keeper(c, k);
	await_workers(s, 2);
	return s;
}

static struct np_steer *given_watched(struct foreign *f, enum foreign_shape shape, struct child *c)
{
	return given_kept(f, shape, c, &rescuing);
}

/* Two servers of two workers each, watched. */
static struct np_steer *given_two_servers(struct foreign *f, struct foreign *g,
					  enum foreign_shape shape, struct child *c,
					  const struct keeping *k)
{
	struct np_steer *s = given_hanging("hash");

	ck_assert_int_eq(foreign_start(f, shape, 2, FOREIGN_PORT), 0);
	ck_assert_int_eq(foreign_start(g, shape, 2, FOREIGN_PORT), 0);
	given_keeper(c, k);
	await_workers(s, 4);
	return s;
}

static void end_watched(struct np_steer *s, struct foreign *f, struct child *c)
{
	end_keeper(c);
	end_two_adopted(s, f);
}

static void cont(pid_t pid)
{
	kill(pid, SIGCONT);
}

/* ------------------------------------------------------------------ it is done */

START_TEST(what_waits_at_a_stopped_worker_is_served_by_others_and_it_serves_again)
{
	struct foreign f, g;
	struct np_steer *s;
	struct child c;

	OWN_STEERING();
	s = given_two_servers(&f, &g, steerable[_i], &c, &rescuing);
	for (unsigned round = 0; round < 3; round++) {
		stop_process(f.pid[0]);
		must_serve(FOREIGN_AT, CLIENTS);
		AWAIT(rescued(s) > round);
		ck_assert_uint_gt(draining(s), 0);
		ck_assert_uint_eq(workers(s), 4);
		cont(f.pid[0]);
		AWAIT(draining(s) == 0);
		np_steer_set_policy(s, "rr");
		must_all_serve(s, &f);
		np_steer_set_policy(s, "hash");
	}
	end_keeper(&c);
	must_release(s, 4);
	expect_nothing_left(s, FOREIGN_AT, 4);
	foreign_end(&f);
	foreign_end(&g);
	end_service(s, "web");
}
END_TEST

/* Such a server would end, or never accept again, had it seen its listener shut. */
static const enum foreign_shape easily_lost[] = { FOREIGN_TOUCHY, FOREIGN_SULKY };
#define EASILY_LOST 2

START_TEST(a_server_that_would_end_or_never_accept_again_lives_through_two_hundred_rescues)
{
	struct np_steer *s;
	struct foreign f;
	struct child c;

	OWN_STEERING();
	s = given_watched(&f, easily_lost[_i], &c);
	ck_assert_int_eq(np_steer_set_hang_ms(s, 15), 0);
	for (unsigned round = 0; round < 200; round++) {
		stop_process(f.pid[round % 2]);
		must_serve(FOREIGN_AT, 12);
		cont(f.pid[round % 2]);
		AWAIT(draining(s) == 0);
		ck_assert_uint_eq(workers(s), 2);
	}
	ck_assert_uint_gt(rescued(s), 100);
	end_watched(s, &f, &c);
}
END_TEST

START_TEST(port_0_keeps_the_port_that_it_got)
{
	struct keeping k = rescuing;
	struct np_steer *s;
	struct foreign f;
	struct child c;

	OWN_STEERING();
	s = given_hanging("hash");
	ck_assert_int_eq(foreign_start(&f, FOREIGN_TOUCHY, 2, 0), 0);
	k.address = f.address;
	given_keeper(&c, &k);
	await_workers(s, 2);
	for (unsigned i = 0; i < 2; i++) {
		stop_process(f.pid[i]);
		must_serve(f.address, CLIENTS);
		AWAIT(rescued(s) == i + 1);
		cont(f.pid[i]);
		AWAIT(draining(s) == 0);
	}
	np_steer_set_policy(s, "rr");
	must_all_serve(s, &f);
	end_keeper(&c);
	must_release(s, 2);
	expect_nothing_left(s, f.address, 2);
	foreign_end(&f);
	end_service(s, "web");
}
END_TEST

static bool write_to(const char *folder, const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	f = fopen(path, "we");
	if (!f)
		return false;
	fputs(text, f);
	return fclose(f) == 0;
}

START_TEST(what_waits_at_a_frozen_worker_is_served_by_others)
{
	struct np_steer *s;
	struct foreign f;
	struct child c;
	char cgroup[64];
	bool freezes;

	OWN_STEERING();
	s = given_hanging("hash");
	ck_assert_int_eq(foreign_start(&f, FOREIGN_TOUCHY, 2, FOREIGN_PORT), 0);
	freezes = given_cgroup(f.pid[0], cgroup, sizeof cgroup) &&
		  write_to(cgroup, "cgroup.freeze", "0");
	if (freezes) {
		given_keeper(&c, &rescuing);
		await_workers(s, 2);
		for (unsigned round = 0; round < 3; round++) {
			ck_assert(write_to(cgroup, "cgroup.freeze", "1"));
			must_serve(FOREIGN_AT, CLIENTS);
			AWAIT(rescued(s) > round && draining(s) == 1);
			ck_assert(write_to(cgroup, "cgroup.freeze", "0"));
			AWAIT(draining(s) == 0);
		}
		np_steer_set_policy(s, "rr");
		must_all_serve(s, &f);
		end_keeper(&c);
		must_release(s, 2);
	}
	foreign_end(&f);
	AWAIT(!freezes || rmdir(cgroup) == 0);
	end_service(s, "web");
	if (!freezes)
		SKIP("no cgroup2 that can be frozen");
}
END_TEST

START_TEST(npsteer_rescue_does_it_once_and_leaves_no_mark)
{
	int fds[CLIENTS], done;
	struct np_steer *s;
	struct foreign f;

	OWN_STEERING();
	s = given_two_adopted(&f, FOREIGN_TOUCHY);
	stop_process(f.pid[0]);
	ck_assert_int_eq(queue_up(FOREIGN_AT, fds, CLIENTS), 0);
	do
		done = np_steer_rescue(s, 4 * HANG_MS);
	while (done == -ETIMEDOUT); /* a busy machine */
	ck_assert_msg(done == 1, "%d %s", done, np_steer_error(s));
	expect_letters(fds, CLIENTS);
	ck_assert_uint_eq(draining(s), 0);
	cont(f.pid[0]);
	end_two_adopted(s, &f);
}
END_TEST

/* ------------------------------------------------------------------ at the same time */

static uint64_t at_random(uint64_t below)
{
	return (uint64_t)rand() % below;
}

static void spin(uint64_t us)
{
	uint64_t until_ns = sys_clock_ns() + 1000 * us;

	while (sys_clock_ns() < until_ns)
		;
}

static unsigned rounds(void)
{
	const char *text = getenv("NP_ROUNDS");

	return text ? (unsigned)atoi(text) : 60;
}

static bool any_is_marked(const struct np_steer *s)
{
	return control_worker_is_standing(s, 0) || control_worker_is_standing(s, 1);
}

/* At any moment, or just when the rescue begins: the mark comes first. */
START_TEST(a_worker_that_goes_on_at_the_moment_of_the_rescue_sees_nothing_of_it)
{
	int fds[12];
	struct np_steer *s;
	struct foreign f;
	struct child c;

	OWN_STEERING();
	s = given_watched(&f, easily_lost[_i], &c);
	ck_assert_int_eq(np_steer_set_hang_ms(s, 15), 0);
	for (unsigned round = 0; round < rounds(); round++) {
		uint64_t ms = round % 4 ? 5000 : at_random(60); /* none may be queued there */
		uint64_t until_ns = sys_clock_ns() + ms * 1000000u;

		stop_process(f.pid[0]);
		ck_assert_int_eq(queue_up(FOREIGN_AT, fds, 12), 0);
		while (!any_is_marked(s) && sys_clock_ns() < until_ns)
			;
		spin(at_random(1000));
		cont(f.pid[0]);
		expect_letters(fds, 12);
		AWAIT(draining(s) == 0);
		AWAIT(workers(s) == 2);
	}
	ck_assert_uint_gt(rescued(s), 0);
	end_watched(s, &f, &c);
}
END_TEST

START_TEST(a_stopped_worker_that_is_killed_after_its_rescue_is_gone_and_the_others_serve)
{
	struct np_steer *s;
	struct foreign f, g;
	struct child c;

	OWN_STEERING();
	s = given_two_servers(&f, &g, FOREIGN_THREADS, &c, &rescuing);
	stop_process(f.pid[0]);
	must_serve(FOREIGN_AT, CLIENTS);
	AWAIT(rescued(s) > 0);
	kill(f.pid[0], SIGKILL);
	await_workers(s, 2);
	AWAIT(draining(s) == 0);
	must_serve(FOREIGN_AT, CLIENTS);
	close(f.child.sock);
	ck_assert_int_eq(waitpid(f.child.pid, NULL, 0), f.child.pid);
	end_keeper(&c);
	must_release(s, 2);
	foreign_end(&g);
	end_service(s, "web");
}
END_TEST

START_TEST(a_worker_that_is_released_while_it_stands_serves_when_it_goes_on)
{
	unsigned got[FOREIGN_MAX];
	struct np_steer *s;
	struct foreign f;
	struct child c;

	OWN_STEERING();
	s = given_watched(&f, FOREIGN_TOUCHY, &c);
	stop_process(f.pid[0]);
	must_serve(FOREIGN_AT, CLIENTS);
	AWAIT(rescued(s) == 1 && draining(s) == 1);
	end_keeper(&c);
	ck_assert_uint_eq(draining(s), 0);
	must_release(s, 2);
	cont(f.pid[0]);
	expect_nothing_left(s, FOREIGN_AT, 2);
	foreign_count(FOREIGN_AT, 60, got); /* by the kernel's hash */
	ck_assert_uint_gt(got[0], 0);
	ck_assert_uint_gt(got[1], 0);
	foreign_end(&f);
	end_service(s, "web");
}
END_TEST

START_TEST(a_server_that_is_held_is_rescued_too_and_loses_nothing_when_it_ends)
{
	struct keeping k = { .hold_ms = 20000, .rescue = NP_STEER_RESCUE_STOPPED };
	int fds[CLIENTS];
	struct np_steer *s;
	struct foreign f, g;
	struct child c;

	OWN_STEERING();
	s = given_kept(&f, FOREIGN_TOUCHY, &c, &k);
	stop_process(f.pid[1]);
	must_serve(FOREIGN_AT, CLIENTS);
	AWAIT(rescued(s) == 1);
	stop_process(f.pid[0]);
	ck_assert_int_eq(queue_up(FOREIGN_AT, fds, CLIENTS), 0); /* nobody is left to take it */
	foreign_end(&f);
	ck_assert_int_eq(foreign_start(&g, FOREIGN_TOUCHY, 2, FOREIGN_PORT), 0);
	expect_letters(fds, CLIENTS);
	AWAIT(workers(s) == 2);
	np_steer_set_policy(s, "rr");
	must_all_serve(s, &g);
	end_keeper(&c);
	must_release(s, 2);
	foreign_end(&g);
	end_service(s, "web");
}
END_TEST

START_TEST(two_watches_rescue_a_worker_at_both_of_its_addresses)
{
	struct keeping k = { .address = "127.0.0.1:7481", .rescue = NP_STEER_RESCUE_STOPPED };
	struct np_steer *s;
	struct child c, d;
	struct foreign f;

	OWN_STEERING();
	s = given_watched(&f, FOREIGN_TWO_PORTS, &c);
	given_keeper(&d, &k);
	await_workers(s, 2);
	AWAIT(look("7481").program == 1);
	for (unsigned round = 0; round < 5; round++) {
		stop_process(f.pid[0]);
		must_serve(FOREIGN_AT, CLIENTS);
		must_serve("127.0.0.1:7481", CLIENTS);
		cont(f.pid[0]);
		AWAIT(draining(s) == 0);
	}
	ck_assert_uint_gt(rescued(s), 0);
	np_steer_set_policy(s, "rr");
	must_all_serve(s, &f);
	end_keeper(&c);
	end_keeper(&d);
	must_release(s, 4);
	foreign_end(&f);
	end_service(s, "web");
}
END_TEST

/* ------------------------------------------------------------------ it is not done */

static void trace(int sock, void *arg)
{
	const pid_t *pid = arg;
	char ok = 'k';

	if (ptrace(PTRACE_SEIZE, *pid, NULL, NULL) < 0 ||
	    ptrace(PTRACE_INTERRUPT, *pid, NULL, NULL) < 0 || waitpid(*pid, NULL, __WALL) != *pid)
		child_fail("not traced: %s", strerror(errno));
	child_say(sock, ok);
	child_hear(sock);
}

START_TEST(a_worker_that_a_debugger_holds_is_left_to_it)
{
	int fds[CLIENTS];
	struct child c, tracer;
	struct np_steer *s;
	struct foreign f;
	int w;

	OWN_STEERING();
	s = given_watched(&f, FOREIGN_TOUCHY, &c);
	w = worker_of(s, f.pid[0]);
	ck_assert_int_ge(w, 0);
	child_start(&tracer, trace, &f.pid[0]);
	child_hear(tracer.sock);
	ck_assert_int_eq(queue_up(FOREIGN_AT, fds, CLIENTS), 0);
	AWAIT(worker(s, (unsigned)w).rescue_failed > 1);
	ck_assert_uint_eq(rescued(s), 0);
	child_say(tracer.sock, 'q');
	child_join(&tracer);
	expect_letters(fds, CLIENTS);
	end_keeper(&c);
	must_release(s, 2);
	foreign_end(&f);
	end_service(s, "web");
}
END_TEST

/* ------------------------------------------------------------------ one that runs */

static const struct keeping freezing = { .rescue = NP_STEER_RESCUE_FREEZE };

/* In a system call, or in a loop. */
enum hang { BLOCKED, BURNING, HANGS };

static void hang_process(pid_t pid, enum hang how)
{
	ck_assert_int_eq(sigqueue(pid, SIGUSR1, (union sigval){ .sival_int = how }), 0);
}

static bool runs(pid_t pid)
{
	return sys_halt_of(pid) == SYS_HALT_NONE;
}

START_TEST(what_waits_at_a_worker_that_hangs_is_served_by_others_where_it_may_be_frozen)
{
	struct np_steer *s = NULL;
	struct foreign f;
	struct child c;

	OWN_STEERING();
	s = given_kept(&f, FOREIGN_TOUCHY, &c, &freezing);
	for (unsigned round = 0; round < 3; round++) {
		hang_process(f.pid[0], (enum hang)_i);
		must_serve(FOREIGN_AT, CLIENTS);
		AWAIT(rescued(s) > round && draining(s) == 1);
		AWAIT(runs(f.pid[0]));
		kill(f.pid[0], SIGUSR2);
		AWAIT(draining(s) == 0);
	}
	end_watched(s, &f, &c);
}
END_TEST

START_TEST(a_worker_that_runs_is_not_touched_where_it_may_not_be_frozen)
{
	int fds[CLIENTS], done;
	struct np_steer *s;
	struct foreign f;

	OWN_STEERING();
	s = given_two_adopted(&f, FOREIGN_TOUCHY);
	hang_process(f.pid[0], BLOCKED);
	ck_assert_int_eq(queue_up(FOREIGN_AT, fds, CLIENTS), 0);
	done = np_steer_rescue(s, 10 * HANG_MS);
	ck_assert_msg(done == 0 || done == -ETIMEDOUT, "%d", done);
	ck_assert_uint_eq(rescued(s), 0);
	kill(f.pid[0], SIGUSR2);
	expect_letters(fds, CLIENTS);
	end_two_adopted(s, &f);
}
END_TEST

START_TEST(a_process_with_several_workers_is_not_frozen_for_one_of_them)
{
	int fds[CLIENTS], w;
	struct np_steer *s;
	struct foreign f, g;
	struct child c;

	OWN_STEERING();
	s = given_two_servers(&f, &g, FOREIGN_THREADS, &c, &freezing);
	for (w = 0; worker(s, (unsigned)w).tid != f.tid[0];)
		ck_assert_int_lt(++w, 4);
	foreign_signal(&f, 0, SIGUSR1);
	ck_assert_int_eq(queue_up(FOREIGN_AT, fds, CLIENTS), 0);
	AWAIT(worker(s, (unsigned)w).rescue_failed > 0);
	ck_assert_uint_eq(rescued(s), 0);
	foreign_signal(&f, 0, SIGUSR2);
	expect_letters(fds, CLIENTS);
	end_keeper(&c);
	must_release(s, 4);
	foreign_end(&f);
	foreign_end(&g);
	end_service(s, "web");
}
END_TEST

/* ------------------------------------------------------------------ killed */

START_TEST(gc_takes_the_mark_that_a_killed_tool_has_left_from_a_worker_that_runs)
{
	struct np_steer_garbage g;
	struct np_steer *s;
	struct foreign f;

	OWN_STEERING();
	np_steer_garbage_init(&g);
	s = given_two_adopted(&f, FOREIGN_TOUCHY);
	stop_process(f.pid[0]);
	control_worker_stands(s, (unsigned)worker_of(s, f.pid[0]), true);
	ck_assert_int_eq(np_steer_gc(s, &g), 0);
	ck_assert_uint_eq(draining(s), 1);

	cont(f.pid[0]);
	AWAIT(runs(f.pid[0]));
	ck_assert_int_eq(np_steer_gc_look(s, &g), 0);
	ck_assert_uint_eq(draining(s), 1);
	ck_assert_int_eq(np_steer_gc(s, &g), 0);

	ck_assert_uint_eq(draining(s), 0);
	end_two_adopted(s, &f);
}
END_TEST

#ifdef NP_FAULT

static int rescue_for(struct np_steer *s, enum np_steer_rescue_of mode, int ms)
{
	struct rescue_scope scope = { .adopted = mode };
	struct watchdog *d;
	int r = watchdog_new(s, &scope, &d);

	if (r == 0) {
		r = watchdog_run(d, ms);
		watchdog_free(d);
	}
	return r == -ETIMEDOUT ? 0 : r;
}

static int rescue_long(struct np_steer *s, void *arg)
{
	int done = rescue_for(s, *(enum np_steer_rescue_of *)arg, 4 * HANG_MS);

	return done < 0 ? done : 0;
}

/*
 * A tool that rescues is killed, or the process that it forks. Nobody else helps; then the next one
 * looks, once.
 */
static bool round_killed(struct np_steer *s, const struct foreign *f, const struct strike *x,
			 enum np_steer_rescue_of mode)
{
	bool freezes = mode == NP_STEER_RESCUE_FREEZE, killed;
	int fds[12];

	if (freezes)
		hang_process(f->pid[0], BLOCKED);
	else
		stop_process(f->pid[0]);
	ck_assert_int_eq(queue_up(FOREIGN_AT, fds, 12), 0);
	killed = killed_by(x, "web", rescue_long, &mode);
	if (freezes)
		AWAIT(runs(f->pid[0])); /* nobody has to thaw it */
	kill(f->pid[0], freezes ? SIGUSR2 : SIGCONT);
	expect_letters(fds, 12);
	ck_assert_uint_eq(workers(s), 2);
	ck_assert_int_eq(rescue_for(s, mode, 1), 0);
	ck_assert_uint_eq(draining(s), 0);
	must_serve(FOREIGN_AT, 4);
	return killed;
}

/* Before each step that leaves something, in the tool, */
static const enum sys_call tools_calls[] = { SYS_fork,       SYS_pipe,  SYS_read,     SYS_socket,
					     SYS_setsockopt, SYS_close, SYS_map_write };
/* and in the process that does it. */
static const enum sys_call deputys_calls[] = { SYS_ptrace,     SYS_shutdown,  SYS_bind,
					       SYS_listen,     SYS_map_write, SYS_bpf,
					       SYS_getsockopt, SYS_write };
static const enum np_steer_rescue_of modes[] = { NP_STEER_RESCUE_STOPPED, NP_STEER_RESCUE_FREEZE };
#define MODES         2
#define TOOLS_CALLS   (int)(sizeof tools_calls / sizeof tools_calls[0])
#define DEPUTYS_CALLS (int)(sizeof deputys_calls / sizeof deputys_calls[0])
#define DEPUTYS_STEPS 5u /* it makes none of them more often */

START_TEST(killed_at_any_step_a_rescue_leaves_the_server_whole_and_the_next_one_goes_on)
{
	struct strike x = { tools_calls[_i % TOOLS_CALLS], 0, SYS_FAULT_KILL };
	bool killed = true;
	struct np_steer *s;
	struct foreign f;

	OWN_STEERING();
	s = given_two_adopted(&f, FOREIGN_TOUCHY);
	while (killed) {
		x.nth += getenv("NP_EACH_STEP") ? 1 : x.nth + 1; /* check-steer-long */
		killed = round_killed(s, &f, &x, modes[_i / TOOLS_CALLS]);
	}
	ck_assert_uint_gt(x.nth, 1);
	end_two_adopted(s, &f);
}
END_TEST

START_TEST(a_deputy_that_is_killed_at_any_step_leaves_the_rest_to_its_tool)
{
	struct strike x = { deputys_calls[_i % DEPUTYS_CALLS], 1, SYS_FAULT_KILL_FORKED };
	struct np_steer *s;
	struct foreign f;

	OWN_STEERING();
	s = given_two_adopted(&f, FOREIGN_PROCESSES);
	for (; x.nth <= DEPUTYS_STEPS; x.nth++)
		ck_assert(!round_killed(s, &f, &x, modes[_i / DEPUTYS_CALLS]));
	end_two_adopted(s, &f);
}
END_TEST

#endif

/* ------------------------------------------------------------------ spoilt by a member */

#define MANY 10

static void spoil_info(struct np_steer *s, void (*how)(struct np_worker_info *info))
{
	struct np_worker_info info;

	for (uint32_t w = 0; w < MANY; w++) {
		ck_assert_int_eq(map_lookup(&s->maps, MAP_np_info, &w, &info), 0);
		how(&info);
		ck_assert_int_eq(map_update(&s->maps, MAP_np_info, &w, &info, 0), 0);
	}
}

static void spoil_pidns(struct np_worker_info *info)
{
	info->pidns++;
}

/* All but the first hang, with one connection queued at each of @n of them. */
static struct np_steer *given_many_hang(struct foreign *f, int n, int fds[])
{
	struct np_steer *s = given_hanging("rr");

	ck_assert_int_eq(foreign_start(f, FOREIGN_PROCESSES, MANY, FOREIGN_PORT), 0);
	must_adopt(s, FOREIGN_AT, MANY);
	for (unsigned i = 0; i < MANY; i++) {
		int w = worker_of(s, f->pid[i]);

		ck_assert_int_ge(w, 0);
		if (i == 0 || i > (unsigned)n)
			ck_assert_int_eq(np_steer_kick(s, (unsigned)w), 0);
		else
			foreign_signal(f, i, SIGUSR1);
		AWAIT(i == 0 || i > (unsigned)n || !foreign_waits(f, i));
	}
	ck_assert_int_eq(queue_up(FOREIGN_AT, fds, n), 0);
	for (unsigned i = 0; i < MANY; i++)
		np_steer_undrain(s, (unsigned)worker_of(s, f->pid[i]));
	return s;
}

static void end_many_hang(struct np_steer *s, struct foreign *f, int n, int fds[])
{
	for (unsigned i = 1; i <= (unsigned)n; i++)
		foreign_signal(f, i, SIGUSR2);
	expect_letters(fds, n);
	must_release(s, MANY);
	foreign_end(f);
	end_service(s, "web");
}

/* Two ticks, of which the second one finds them stuck. The clock is read without a system call. */
static void rescue_twice(void *arg)
{
	static const struct rescue_scope all = { .native = true,
						 .adopted = NP_STEER_RESCUE_STOPPED };
	struct rescuer *r;
	uint64_t begun_ns;

	if (rescuer_new(arg, &all, &r) < 0 || rescuer_tick(r, 3600000000000ull) != 0)
		_exit(1);
	begun_ns = sys_clock_ns();
	while (sys_clock_ns() - begun_ns < 2 * HANG_MS * 1000000ull)
		;
	if (rescuer_tick(r, 3600000000000ull) != 0)
		_exit(2);
	rescuer_free(r);
}

static unsigned calls_of_a_rescue(int n)
{
	int fds[MANY];
	struct foreign f;
	struct np_steer *s = given_many_hang(&f, n, fds);
	unsigned calls;

	spoil_info(s, spoil_pidns);
	calls = traced_calls(rescue_twice, s);
	end_many_hang(s, &f, n, fds);
	return calls;
}

/* Whether a worker stands is looked up in /proc where its row does not tell. */
START_TEST(one_search_of_a_tick_tells_of_all_workers_whose_rows_are_spoilt)
{
	unsigned one, many;

	OWN_STEERING();
	one = calls_of_a_rescue(1);
	many = calls_of_a_rescue(MANY - 1);
	ck_assert_msg(many < 2 * one, "%u system calls for one, %u for %d", one, many, MANY - 1);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "done");

	tcase_set_timeout(t, 240);
	tcase_add_loop_test(t,
			    what_waits_at_a_stopped_worker_is_served_by_others_and_it_serves_again,
			    0, STEERABLE);
	tcase_add_loop_test(
		t, a_server_that_would_end_or_never_accept_again_lives_through_two_hundred_rescues,
		0, EASILY_LOST);
	tcase_add_test(t, port_0_keeps_the_port_that_it_got);
	tcase_add_test(t, what_waits_at_a_frozen_worker_is_served_by_others);
	tcase_add_test(t, npsteer_rescue_does_it_once_and_leaves_no_mark);
	t = add_case(s, "meanwhile");
	tcase_set_timeout(t, 120 + rounds());
	tcase_add_loop_test(t, a_worker_that_goes_on_at_the_moment_of_the_rescue_sees_nothing_of_it,
			    0, EASILY_LOST);
	tcase_add_test(
		t, a_stopped_worker_that_is_killed_after_its_rescue_is_gone_and_the_others_serve);
	tcase_add_test(t, a_worker_that_is_released_while_it_stands_serves_when_it_goes_on);
	tcase_add_test(t, a_server_that_is_held_is_rescued_too_and_loses_nothing_when_it_ends);
	tcase_add_test(t, two_watches_rescue_a_worker_at_both_of_its_addresses);
	t = add_case(s, "left");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, a_worker_that_a_debugger_holds_is_left_to_it);
	t = add_case(s, "runs");
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(
		t, what_waits_at_a_worker_that_hangs_is_served_by_others_where_it_may_be_frozen, 0,
		HANGS);
	tcase_add_test(t, a_worker_that_runs_is_not_touched_where_it_may_not_be_frozen);
	tcase_add_test(t, a_process_with_several_workers_is_not_frozen_for_one_of_them);
	t = add_case(s, "mark");
	tcase_add_test(t, gc_takes_the_mark_that_a_killed_tool_has_left_from_a_worker_that_runs);
	t = add_case(s, "spoilt");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, one_search_of_a_tick_tells_of_all_workers_whose_rows_are_spoilt);
	t = add_case(s, "killed");
	tcase_set_timeout(t, getenv("NP_EACH_STEP") ? 1800 : 240);
#ifdef NP_FAULT
	tcase_add_loop_test(
		t, killed_at_any_step_a_rescue_leaves_the_server_whole_and_the_next_one_goes_on, 0,
		MODES * TOOLS_CALLS);
	tcase_add_loop_test(t, a_deputy_that_is_killed_at_any_step_leaves_the_rest_to_its_tool, 0,
			    MODES * DEPUTYS_CALLS);
#endif
}

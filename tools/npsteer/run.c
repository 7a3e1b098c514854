/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * run: copies of any program, each with a listener of its own on one port, as workers of a service
 *
 * A thread keeps their listeners as `npsteer adopt --watch` does (np_steer_keep()); this one starts
 * them, starts anew what ends, and replaces them one by one at SIGHUP:
 *
 *   the new one listens beside the others, and is a worker -> the old one drains -> it has no
 *   connections, or DRAIN_S are over -> it is ended -> what it had queued goes to the others
 *
 * Killed, it leaves the copies running, and nothing else.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "copies.h"
#include "join.h"
#include "npsteer.h"

#define COPIES_MAX  64
#define START_S     30.0 /* until a copy listens */
#define WORKER_S    10.0 /* until its listener is a worker */
#define DRAIN_S     10.0 /* for the connections of one that is replaced */
#define END_S       10.0 /* for a copy to end by itself */
#define BACK_OFF_S  0.1  /* doubles up to 64 times that while a copy ends at once */
#define RUN_WORKERS 16u  /* of one copy */

struct run {
	struct npsteer *n;
	struct copies cs;
	struct copy all[COPIES_MAX + 1]; /* the last one of n_copies + 1: a successor */
	unsigned n_copies;
	int hold_ms;
	struct np_steer *s;
	int signals;
	bool serves;       /* all copies have been workers */
	bool end, replace; /* were asked for */

	pthread_t keeper;
	_Atomic(bool) end_keeper;
	struct np_steer *kept;
};

/* ------------------------------------------------------------------ told */

static void run_say(struct run *r, int level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static void run_say(struct run *r, int level, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	say_event(r->n, level, text);
}

/* Programs whose copies are no use to anybody. */
static void run_warn(struct run *r)
{
	static const char *const stores[] = { "redis-server", "valkey-server", "memcached",
					      "mysqld",       "mongod",        "etcd" };
	const char *name = strrchr(r->cs.argv[0], '/');

	name = name ? name + 1 : r->cs.argv[0];
	for (size_t i = 0; i < sizeof stores / sizeof stores[0]; i++)
		if (!strcmp(name, stores[i]))
			run_say(r, 2,
				"each copy of %s keeps data of its own: behind port %u there are "
				"%u data sets, and a client meets any of them",
				name, r->cs.port, r->n_copies);
}

/* ------------------------------------------------------------------ signals, and what has ended */

static void run_gone(struct run *r, struct copy *c, const siginfo_t *i)
{
	double lived = seconds_now() - c->since;

	if (r->serves && !c->meant_to_end && !r->end)
		run_say(r, 1, "a copy (process %d) has ended, %s %d, after %.1f s", (int)c->pid,
			i->si_code == CLD_EXITED ? "with exit status" : "by signal", i->si_status,
			lived);
	c->back_off = lived > 1 ? 0 : c->back_off ? 2 * c->back_off : BACK_OFF_S;
	if (c->back_off > 64 * BACK_OFF_S)
		c->back_off = 64 * BACK_OFF_S;
	c->again_at = seconds_now() + c->back_off;
	kill(-c->pid, SIGKILL); /* its children; the number is still its own */
	waitpid(c->pid, NULL, 0);
	c->pid = 0;
}

static void run_reap(struct run *r)
{
	for (unsigned k = 0; k <= r->n_copies; k++) {
		siginfo_t i = { .si_pid = 0 };

		if (r->all[k].pid &&
		    waitid(P_PID, (id_t)r->all[k].pid, &i, WEXITED | WNOHANG | WNOWAIT) == 0 &&
		    i.si_pid)
			run_gone(r, &r->all[k], &i);
	}
}

static void run_wait(struct run *r, double seconds)
{
	struct pollfd p = { .fd = r->signals, .events = POLLIN };
	struct signalfd_siginfo i;

	if (poll(&p, 1, (int)(seconds * 1000)) > 0 && read(r->signals, &i, sizeof i) > 0) {
		if (i.ssi_signo == SIGHUP)
			r->replace = true;
		else if (i.ssi_signo != SIGCHLD)
			r->end = true;
	}
	run_reap(r);
}

static int run_catch_signals(struct run *r)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	r->signals = signalfd(-1, &set, SFD_CLOEXEC);
	return r->signals < 0 ? fail(r->n, FAILED, "signalfd: %s", strerror(errno)) : DONE;
}

/* ------------------------------------------------------------------ the keeper of the listeners */

static void run_interrupt(int sig)
{
}

static void *run_keep(void *arg)
{
	struct run *r = arg;
	char address[16];
	sigset_t usr1;
	int e;

	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
	snprintf(address, sizeof address, "%u", r->cs.port);
	while (!r->end_keeper) {
		e = np_steer_keep(r->kept,
				  NP_OPTS(np_steer_adopt_opts, .address = address,
					  .hold_ms = r->hold_ms, .rescue = NP_STEER_RESCUE_STOPPED),
				  -1);
		if (e == -EINTR || r->end_keeper)
			continue;
		say_event(r->n, 2, np_steer_error(r->kept));
		pause_for(1);
	}
	return NULL;
}

static int run_start_keeper(struct run *r)
{
	struct sigaction sa = { .sa_handler = run_interrupt };
	char why[NP_STEER_TEXT_MAX] = "";
	sigset_t usr1;
	int e;

	e = np_steer_open(service_of(r->n),
			  NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN, .bpffs = r->n->bpffs,
				  .error = why, .error_cap = sizeof why, .log = say_event,
				  .log_arg = r->n),
			  &r->kept);
	if (e < 0)
		return fail_status(r->n, e, why);
	sigaction(SIGUSR1, &sa, NULL);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	if (pthread_create(&r->keeper, NULL, run_keep, r) == 0)
		return DONE;
	np_steer_close(&r->kept);
	return fail(r->n, FAILED, "no thread: %s", strerror(errno));
}

/* A signal may come a moment before the wait that it is to end. */
static void run_end_keeper(struct run *r)
{
	if (!r->kept)
		return;
	r->end_keeper = true;
	do {
		pthread_kill(r->keeper, SIGUSR1);
		pause_for(0.005);
	} while (pthread_tryjoin_np(r->keeper, NULL) != 0);
	np_steer_close(&r->kept);
}

/* ------------------------------------------------------------------ a copy, from start to end */

static bool run_listens(struct run *r, const struct copy *c)
{
	return copy_look(c, r->cs.port).listeners > 0;
}

static bool run_is_worker(struct run *r, const struct copy *c)
{
	unsigned w[1];

	return copy_workers(r->s, c, r->cs.port, w, 1) > 0;
}

/* False: it has ended, the time is over, or the end was asked for. */
static bool run_await(struct run *r, const struct copy *c,
		      bool (*is)(struct run *r, const struct copy *c), double seconds)
{
	double until = seconds_now() + seconds;

	while (c->pid && !r->end && !is(r, c)) {
		if (seconds_now() > until)
			return false;
		run_wait(r, 0.01);
	}
	return c->pid && !r->end;
}

static void run_end_copy(struct run *r, struct copy *c)
{
	double until = seconds_now() + END_S;

	while (c->pid && seconds_now() < until)
		run_wait(r, 0.01);
	if (c->pid)
		run_say(r, 2, "a copy (process %d) does not end within %.0f s: it is killed",
			(int)c->pid, END_S);
	copy_signal_all(c, SIGKILL);
	while (c->pid)
		run_wait(r, 0.01);
}

static void run_drain(struct run *r, const struct copy *c)
{
	unsigned w[RUN_WORKERS], n = copy_workers(r->s, c, r->cs.port, w, RUN_WORKERS);

	for (unsigned i = 0; i < n; i++)
		np_steer_drain(r->s, w[i]);
}

/* Below level 3 what is queued is lost with the listener. */
static bool run_has_work(struct run *r, const struct copy *c)
{
	struct np_steer_info info = { .sz = sizeof info };
	struct copy_holds h = copy_look(c, r->cs.port);

	np_steer_info(r->s, &info);
	return h.conns || (info.level < NP_STEER_L3 && h.queued);
}

static void run_retire(struct run *r, struct copy *c)
{
	double until = seconds_now() + DRAIN_S;
	bool ending = false;

	c->meant_to_end = true;
	run_drain(r, c);
	while (c->pid && !ending && seconds_now() < until && !r->end) {
		run_wait(r, 0.005);
		ending = c->pid && !run_has_work(r, c) && copy_end_idle(c, r->cs.port);
	}
	if (!ending)
		copy_signal(c, SIGTERM);
	run_end_copy(r, c);
}

/* ------------------------------------------------------------------ all of them */

static void run_replace_one(struct run *r, unsigned i)
{
	struct copy *old = &r->all[i], *fresh = &r->all[r->n_copies];
	int e = copy_start(&r->cs, fresh);

	if (e == 0 && run_await(r, fresh, run_listens, START_S) &&
	    run_await(r, fresh, run_is_worker, WORKER_S)) {
		if (old->pid)
			run_retire(r, old);
		*old = *fresh;
		*fresh = (struct copy){ .pid = 0 };
		return;
	}
	if (!r->end)
		run_say(r, 2, "a new copy does not serve (%s): the old ones stay",
			e < 0      ? strerror(-e) :
			fresh->pid ? "it does not listen" :
				     "it has ended");
	r->replace = false;
	fresh->meant_to_end = true;
	copy_signal(fresh, SIGTERM);
	run_end_copy(r, fresh);
}

static void run_replace_all(struct run *r)
{
	run_say(r, 0, "the copies are replaced");
	for (unsigned i = 0; i < r->n_copies && r->replace && !r->end; i++)
		run_replace_one(r, i);
	if (r->replace && !r->end)
		run_say(r, 0, "the copies have been replaced");
	r->replace = false;
}

static void run_revive(struct run *r)
{
	for (unsigned i = 0; i < r->n_copies; i++) {
		struct copy *c = &r->all[i];
		int e;

		if (c->pid || seconds_now() < c->again_at)
			continue;
		e = copy_start(&r->cs, c);
		c->again_at = seconds_now() + 1;
		if (e < 0)
			run_say(r, 2, "%s cannot be run: %s", r->cs.argv[0], strerror(-e));
	}
}

static int run_start_all(struct run *r)
{
	for (unsigned i = 0; i < r->n_copies; i++) {
		int e = copy_start(&r->cs, &r->all[i]);

		if (e < 0)
			return fail(r->n, e == -ENOENT ? ABSENT : FAILED, "%s cannot be run: %s",
				    r->cs.argv[0], strerror(-e));
	}
	for (unsigned i = 0; i < r->n_copies; i++)
		if (!run_await(r, &r->all[i], run_listens, START_S) && !r->end)
			return fail(r->n, FAILED,
				    "copy %u of %s %s on port %u: its own words are above%s", i,
				    r->cs.argv[0],
				    r->all[i].pid ? "does not listen" : "ended before it listened",
				    r->cs.port,
				    r->cs.preload ?
					    "; a static program is not reached by --preload" :
					    "");
	return DONE;
}

static int run_adopt_all(struct run *r)
{
	int code = run_start_keeper(r);

	for (unsigned i = 0; i < r->n_copies && code == DONE; i++)
		if (!run_await(r, &r->all[i], run_is_worker, WORKER_S) && !r->end)
			return fail(r->n, FAILED,
				    "the listener of copy %u (process %d) on port %u has not "
				    "become a worker: `npsteer listeners --port %u` says why",
				    i, (int)r->all[i].pid, r->cs.port, r->cs.port);
	r->serves = code == DONE;
	if (r->serves && !r->end)
		run_say(r, 0, "%u copies of %s serve port %u", r->n_copies, r->cs.argv[0],
			r->cs.port);
	return code;
}

static void run_end_all(struct run *r)
{
	char address[16];

	r->end = true;
	run_end_keeper(r);
	for (unsigned i = 0; i <= r->n_copies; i++)
		copy_signal(&r->all[i], SIGTERM);
	for (unsigned i = 0; i <= r->n_copies; i++)
		run_end_copy(r, &r->all[i]);
	snprintf(address, sizeof address, "%u", r->cs.port);
	np_steer_release(r->s, NP_OPTS(np_steer_adopt_opts, .address = address));
}

static int run_serve(struct run *r)
{
	int code = run_start_all(r);

	if (code == DONE)
		code = run_adopt_all(r);
	while (code == DONE && !r->end) {
		run_wait(r, 0.1);
		run_revive(r);
		if (r->replace && !r->end)
			run_replace_all(r);
	}
	run_end_all(r);
	return code;
}

/* ------------------------------------------------------------------ the verb */

static int run_found(void *arg, const struct np_steer_listener *l)
{
	*(int *)arg = l->n_holders ? l->holders[0].pid : 0;
	return 1;
}

/* SO_REUSEPORT takes the kernel's own word for it away. */
static int run_check_port(struct run *r)
{
	char address[16], why[NP_STEER_TEXT_MAX] = "";
	int pid = -1, e;

	snprintf(address, sizeof address, "%u", r->cs.port);
	e = np_steer_listeners(NP_OPTS(np_steer_find_opts, .address = address, .error = why,
				       .error_cap = sizeof why),
			       run_found, &pid);
	if (e < 0)
		return fail_status(r->n, e, why);
	return pid < 0 ? DONE :
			 fail(r->n, BUSY, "process %d listens on port %u already: end it first",
			      pid, r->cs.port);
}

/* Beside npsteer, or where it is installed. */
static const char *run_find_preload(char *dst, size_t cap)
{
	static const char *const places[] = { "npsteer-preload.so",
					      "../libexec/npsteer/npsteer-preload.so" };
	char self[3900];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	char *slash;

	self[n > 0 ? n : 0] = '\0';
	slash = strrchr(self, '/');
	if (!slash)
		return NULL;
	*slash = '\0';
	for (unsigned i = 0; i < 2; i++) {
		snprintf(dst, cap, "%s/%s", self, places[i]);
		if (access(dst, R_OK) == 0)
			return dst;
	}
	return NULL;
}

static int run_parse(struct run *r)
{
	struct npsteer *n = r->n;
	long port = 0, copies = sysconf(_SC_NPROCESSORS_ONLN);

	if (!n->port)
		return fail(n, MISUSED, "which port? npsteer run %s --port PORT -- PROG ARGS...",
			    service_of(n));
	if (!parse_number(n->port, 65535, &port) || !port)
		return fail(n, MISUSED, "--port takes the number of a port, not \"%s\"", n->port);
	if (!n->program || !n->program[0])
		return fail(n, MISUSED, "which program? npsteer run %s --port %ld -- PROG ARGS...",
			    service_of(n), port);
	if (n->copies && (!parse_number(n->copies, COPIES_MAX, &copies) || copies < 2))
		return fail(n, MISUSED,
			    "--copies takes a number from 2 to %d, not \"%s\": between fewer there "
			    "is nothing to steer",
			    COPIES_MAX, n->copies);
	copies = copies < 2 ? 2 : copies > COPIES_MAX ? COPIES_MAX : copies;
	r->n_copies = (unsigned)copies;
	r->cs.port = (unsigned)port;
	r->cs.argv = n->program;
	return parse_hold(n, &r->hold_ms);
}

static int run_with(struct run *r)
{
	char preload[4096];
	struct join *join = NULL;
	int code = DONE;

	if (r->n->preload) {
		r->cs.preload = run_find_preload(preload, sizeof preload);
		if (!r->cs.preload)
			return fail(r->n, ABSENT,
				    "npsteer-preload.so is neither beside npsteer nor in "
				    "../libexec/npsteer");
	} else {
		code = join_open(r->n, r->cs.port, &join);
	}
	r->cs.join = join;
	if (code == DONE)
		code = run_catch_signals(r);
	if (code == DONE) {
		run_warn(r);
		code = run_serve(r);
	}
	join_close(&join);
	return code;
}

int verb_run(struct npsteer *n)
{
	struct run r = { .n = n, .signals = -1 };
	int code = run_parse(&r);

	if (code == DONE)
		code = run_check_port(&r);
	if (code == DONE)
		code = join_service(n, service_of(n), &r.s);
	if (code != DONE)
		return code;
	code = run_with(&r);
	np_steer_close(&r.s);
	return code;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * restart: each process that serves is asked, by a signal, to start the next one and to leave
 *
 * What the signal does is the server's business: SIGUSR2 hands over, SIGHUP overlaps
 * (doc/operations.md). Here is seen to it that nobody is asked who would be harmed, and said what
 * becomes of it.
 *
 *   a process   leaves it by
 *   serves      its signal; the next one has a listener -> leaves
 *   leaves      its last worker is gone -> gone
 *
 * Killed, npsteer leaves the two to themselves: they go on.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "generations.h"
#include "owner.h"
#include "table.h"

#define TIMEOUT_S 60.0
#define LOOK_S    0.05
#define TELL_S    1.0

static const struct {
	const char *name;
	int signal;
} signals[] = { { "USR2", SIGUSR2 }, { "HUP", SIGHUP } };

struct restart {
	struct npsteer *n;
	struct lookout lookout;
	const char *name; /* of the signal */
	int signal;
	double timeout;
	struct generations now;
	/* those that were there, and the next ones that have come */
	struct owner owners[2 * GENERATIONS];
	unsigned n_owners;
};

/* One that is replaced. */
struct going {
	const struct owner *owner;
	int next; /* 0: has not come yet */
	double since, told;
	uint64_t left_before; /* when its next one came */
	double next_at;
};

/* ------------------------------------------------------------------ told */

struct pace {
	double per_second; /* connections that leave */
	double seconds;    /* until all have; below 0: nobody knows */
};

static struct pace restart_pace(const struct going *g, const struct generation *old, double at)
{
	double seconds = at - g->next_at;
	struct pace p = { .seconds = -1 };

	if (g->next && seconds > 0)
		p.per_second = (double)(old->left - g->left_before) / seconds;
	if (!old->conns)
		p.seconds = 0;
	else if (p.per_second > 0)
		p.seconds = (double)old->conns / p.per_second;
	return p;
}

static void restart_json(struct restart *r, const struct going *g, const char *event,
			 const struct generation *old)
{
	struct json *j = &r->n->say;
	struct pace p = old ? restart_pace(g, old, r->now.at) : (struct pace){ 0 };

	answer(r->n);
	json_string(j, "service", service_of(r->n));
	json_string(j, "event", event);
	json_real(j, "seconds", seconds_now() - g->since);
	json_int(j, "old", g->owner->pid);
	if (g->next)
		json_int(j, "new", g->next);
	else
		json_string(j, "new", NULL);
	json_uint(j, "left", old ? old->conns : 0);
	json_real(j, "per_second", p.per_second);
	if (p.seconds >= 0)
		json_real(j, "seconds_left", p.seconds);
	else
		json_string(j, "seconds_left", NULL);
	end_answer(r->n);
}

static void restart_text_left(const struct restart *r, const struct going *g,
			      const struct generation *old)
{
	struct pace p = restart_pace(g, old, r->now.at);

	printf("%s: process %d (old) has %llu connection%s left", service_of(r->n), g->owner->pid,
	       (unsigned long long)old->conns, old->conns == 1 ? "" : "s");
	if (p.per_second > 0)
		printf(": %.1f leave a second, some %.0f s to go", p.per_second, p.seconds);
	putchar('\n');
}

static void restart_tell(struct restart *r, struct going *g, const char *event)
{
	const struct generation *old = generations_find(&r->now, g->owner->pid);
	const char *service = service_of(r->n);

	g->told = seconds_now();
	if (r->n->json)
		restart_json(r, g, event, old);
	else if (!strcmp(event, "asked"))
		printf("%s: process %d (old) was asked: SIG%s\n", service, g->owner->pid, r->name);
	else if (!strcmp(event, "serves"))
		printf("%s: process %d (new) serves\n", service, g->next);
	else if (!strcmp(event, "leaves") && old)
		restart_text_left(r, g, old);
	else if (!strcmp(event, "left"))
		printf("%s: process %d (old) has left, after %.1f s\n", service, g->owner->pid,
		       seconds_now() - g->since);
	fflush(stdout);
}

/* ------------------------------------------------------------------ looked at */

static int restart_look(struct restart *r)
{
	struct facts f;
	int e = lookout_look(&r->lookout, &f);

	if (e == 0)
		generations_of(&f, &r->now);
	facts_free(&f);
	return e < 0 ? fail_status(r->n, e, r->lookout.why) : DONE;
}

static bool restart_knows(const struct restart *r, int pid)
{
	for (unsigned i = 0; i < r->n_owners; i++)
		if (r->owners[i].pid == pid)
			return true;
	return false;
}

/* One that serves and was not there before; 0: none has come. */
static int restart_next(const struct restart *r)
{
	for (unsigned i = 0; i < r->now.n; i++) {
		const struct generation *g = &r->now.all[i];

		if (g->serves && !g->pid_ns && !restart_knows(r, g->pid))
			return g->pid;
	}
	return 0;
}

/* Why its process cannot be asked at all; NULL: it may be. */
static const char *restart_barrier(const struct generation *g)
{
	if (g->pid_ns)
		return "is of another PID namespace: run npsteer there";
	if (!g->knows)
		return "knows nothing of the service, its listeners are adopted: restart it as its own supervisor does; "
		       "`npsteer adopt --hold` and `npsteer run` lose nothing by it";
	return NULL;
}

/* ------------------------------------------------------------------ shown */

static int restart_can(struct restart *r, const struct generation *g, char *why, size_t cap)
{
	const char *barrier = restart_barrier(g);
	struct owner o;
	int code;

	if (barrier) {
		snprintf(why, cap, "process %d %s", g->pid, barrier);
		return FAILED;
	}
	owner_init(&o, g->pid);
	code = owner_check(r->n, r->lookout.s, &o, r->signal, why, cap);
	owner_release(&o);
	return code;
}

static void restart_show_text(struct restart *r)
{
	static const char *const heads[] = { "PID",       "AGE_S", "STATE",  "WORKERS",
					     "LISTENERS", "CONNS", "RESTART" };
	struct table t;

	printf("%s: %u process%s\n", service_of(r->n), r->now.n, r->now.n == 1 ? "" : "es");
	table_init(&t, sizeof heads / sizeof heads[0]);
	for (size_t i = 0; i < t.columns; i++)
		table_text(&t, "%s", heads[i]);
	for (unsigned i = 0; i < r->now.n; i++) {
		const struct generation *g = &r->now.all[i];
		char why[400] = "";

		table_text(&t, "%d", g->pid);
		table_text(&t, "%.0f", g->age);
		table_text(&t, g->serves ? "serves" : "leaves");
		table_uint(&t, g->workers);
		table_uint(&t, g->listeners);
		table_uint(&t, g->conns);
		if (!g->serves)
			table_text(&t, "-");
		else
			table_text(&t, "%s",
				   restart_can(r, g, why, sizeof why) == DONE ? "yes" : why);
	}
	table_print(&t, stdout, "  ");
	table_fini(&t);
}

static void restart_show_json(struct restart *r)
{
	struct json *j = &r->n->say;

	answer(r->n);
	json_string(j, "service", service_of(r->n));
	json_array(j, "processes");
	for (unsigned i = 0; i < r->now.n; i++) {
		const struct generation *g = &r->now.all[i];
		char why[400] = "";
		bool can = g->serves && restart_can(r, g, why, sizeof why) == DONE;

		json_object(j, NULL);
		json_int(j, "pid", g->pid);
		json_uint(j, "pid_ns", g->pid_ns);
		json_real(j, "age", g->age);
		json_string(j, "state", g->serves ? "serves" : "leaves");
		json_uint(j, "workers", g->workers);
		json_uint(j, "listeners", g->listeners);
		json_uint(j, "conns", g->conns);
		json_bool(j, "can_be_restarted", can);
		json_string(j, "why", *why ? why : NULL);
		json_end_object(j);
	}
	json_end_array(j);
	end_answer(r->n);
}

/* ------------------------------------------------------------------ before it */

static struct owner *restart_add(struct restart *r, int pid)
{
	struct owner *o = &r->owners[r->n_owners++];

	owner_init(o, pid);
	return o;
}

static int restart_busy(struct restart *r, int pid)
{
	return fail(r->n, BUSY,
		    "another npsteer restarts the service %s: process %d is in its hands",
		    service_of(r->n), pid);
}

static int restart_take(struct restart *r, const struct generation *g, int only)
{
	const char *barrier = restart_barrier(g);
	struct owner *o;
	int code = DONE;

	if (barrier)
		return g->serves && (!only || only == g->pid) ?
			       fail(r->n, FAILED, "process %d %s", g->pid, barrier) :
			       DONE;
	o = restart_add(r, g->pid);
	if (g->serves && (!only || only == g->pid))
		code = owner_take(r->n, r->lookout.s, o, r->signal);
	if (code == DONE && !owner_lock(o))
		code = restart_busy(r, g->pid);
	return code;
}

/* Of all of them, before the first one is asked. */
static int restart_take_all(struct restart *r, int only)
{
	unsigned serve = 0;
	int code = DONE;

	for (unsigned i = 0; code == DONE && i < r->now.n; i++) {
		serve += r->now.all[i].serves && (!only || only == r->now.all[i].pid);
		code = restart_take(r, &r->now.all[i], only);
	}
	if (code != DONE || serve)
		return code;
	return only ? fail(r->n, ABSENT, "process %d does not serve the service %s", only,
			   service_of(r->n)) :
		      fail(r->n, ABSENT,
			   "nobody serves the service %s in this network namespace: start a server",
			   service_of(r->n));
}

/* ------------------------------------------------------------------ one of them */

static int restart_await_next(struct restart *r, struct going *g)
{
	int code;

	for (;;) {
		bool gone = owner_is_gone(g->owner), late = seconds_now() - g->since > r->timeout;

		code = restart_look(r); /* after those, so that nobody is overlooked */
		if (code != DONE)
			return code;
		g->next = restart_next(r);
		if (g->next)
			return DONE;
		if (gone)
			return fail(r->n, FAILED,
				    "process %d has ended, and no next one serves: start it anew",
				    g->owner->pid);
		if (late)
			return fail(
				r->n, FAILED,
				"process %d has started no next one in %.0f s, and goes on: its log says why",
				g->owner->pid, r->timeout);
		pause_for(LOOK_S);
	}
}

static int restart_await_end(struct restart *r, struct going *g)
{
	const struct generation *old;
	int code;

	while ((old = generations_find(&r->now, g->owner->pid)) && !owner_is_gone(g->owner)) {
		if (seconds_now() - g->next_at > r->timeout)
			return fail(
				r->n, FAILED,
				"process %d serves, and %llu of process %d's connections are left, %.0f s later: "
				"it ends them when its own time for that is over",
				g->next, (unsigned long long)old->conns, g->owner->pid, r->timeout);
		if (seconds_now() - g->told >= TELL_S)
			restart_tell(r, g, "leaves");
		pause_for(LOOK_S);
		code = restart_look(r);
		if (code != DONE)
			return code;
	}
	restart_tell(r, g, "left");
	return DONE;
}

static int restart_one(struct restart *r, const struct owner *o)
{
	struct going g = { .owner = o, .since = seconds_now() };
	const struct generation *old;
	int code, e = owner_signal(o, r->signal);

	if (e < 0)
		return fail_status(r->n, e, "");
	restart_tell(r, &g, "asked");
	code = restart_await_next(r, &g);
	if (code != DONE)
		return code;
	if (!owner_lock(restart_add(r, g.next)))
		return restart_busy(r, g.next);
	old = generations_find(&r->now, o->pid);
	g.left_before = old ? old->left : 0;
	g.next_at = r->now.at;
	restart_tell(r, &g, "serves");
	return restart_await_end(r, &g);
}

static int restart_all(struct restart *r)
{
	unsigned n = r->n_owners;
	int code = DONE;

	for (unsigned i = 0; code == DONE && i < n; i++)
		if (r->owners[i].pidfd >= 0)
			code = restart_one(r, &r->owners[i]);
	return code;
}

/* ------------------------------------------------------------------ the verb */

static int restart_parse(struct restart *r, int *ret_pid)
{
	const char *name = r->n->signal ? r->n->signal : signals[0].name;
	long v;

	name += strncmp(name, "SIG", 3) ? 0 : 3;
	for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
		if (!strcmp(name, signals[i].name)) {
			r->name = signals[i].name;
			r->signal = signals[i].signal;
		}
	if (!r->signal)
		return fail(r->n, MISUSED, "--signal is USR2, to hand over, or HUP, not \"%s\"",
			    r->n->signal);
	if (r->n->timeout) {
		if (!parse_number(r->n->timeout, 86400, &v) || v == 0)
			return fail(r->n, MISUSED,
				    "--timeout takes seconds, from 1 to 86400, not \"%s\"",
				    r->n->timeout);
		r->timeout = (double)v;
	}
	return parse_listeners(r->n, ret_pid);
}

static int restart_run(struct restart *r, int only)
{
	int code = restart_look(r);

	if (code != DONE)
		return code;
	if (!r->n->dry_run) {
		code = restart_take_all(r, only);
		return code == DONE ? restart_all(r) : code;
	}
	if (r->n->json)
		restart_show_json(r);
	else
		restart_show_text(r);
	return DONE;
}

int verb_restart(struct npsteer *n)
{
	static struct restart r;
	int only = 0, code;

	r = (struct restart){ .n = n, .timeout = TIMEOUT_S };
	code = restart_parse(&r, &only);
	if (code == DONE)
		code = lookout_open(n, &r.lookout);
	if (code != DONE)
		return code;
	code = restart_run(&r, only);
	for (unsigned i = 0; i < r.n_owners; i++)
		owner_release(&r.owners[i]);
	lookout_close(&r.lookout);
	return code;
}

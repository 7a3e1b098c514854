/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * adopt: listeners of servers that know nothing of the service become its workers, or cease to be.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "npsteer.h"
#include "table.h"

struct adopting {
	struct npsteer *n;
	struct table table;
};

static const char *adopt_outcome(const struct npsteer *n, const struct np_steer_adoption *a)
{
	if (a->result < 0)
		return "left";
	if (a->result == 0)
		return "worker already";
	return n->dry_run ? "would be adopted" : "adopted";
}

static void adopt_text(struct adopting *x, const struct np_steer_adoption *a)
{
	struct table *t = &x->table;

	table_text(t, "%s", a->listener->address);
	table_text(t, "%llu", (unsigned long long)a->listener->inode);
	table_text(t, a->worker < 0 ? "-" : "%d", a->worker);
	table_text(t, "%s", a->name[0] ? a->name : "-");
	table_text(t, "%s", a->counted ? "yes" : "no");
	table_text(t, a->text[0] ? "%s: %s" : "%s", adopt_outcome(x->n, a), a->text);
}

static void adopt_json(struct adopting *x, const struct np_steer_adoption *a)
{
	struct json *j = &x->n->say;

	json_object(j, NULL);
	json_string(j, "address", a->listener->address);
	json_uint(j, "inode", a->listener->inode);
	json_string(j, "outcome", adopt_outcome(x->n, a));
	json_int(j, "worker", a->worker);
	json_string(j, "name", a->name);
	json_bool(j, "counted", a->counted);
	json_string(j, "why", a->text[0] ? a->text : NULL);
	json_end_object(j);
}

/* The answer is begun by the first one: nothing was told of yet where the call fails at once. */
static void adopt_tell(void *arg, const struct np_steer_adoption *a)
{
	struct adopting *x = arg;

	if (x->n->json)
		adopt_json(x, a);
	else
		adopt_text(x, a);
}

static const struct np_steer_adopt_opts *adopt_opts(struct npsteer *n, int pid,
						    struct np_steer_adopt_opts *o)
{
	np_steer_adopt_opts_init(o);
	o->address = n->port;
	o->pid = pid;
	o->cgroup = n->cgroup;
	o->force = n->force;
	o->dry_run = n->dry_run;
	o->no_count = n->no_count;
	return o;
}

/* Once without a deed: an error must not come after half an answer. */
static int adopt_foresee(struct npsteer *n, struct np_steer *s, const struct np_steer_adopt_opts *o)
{
	struct np_steer_adopt_opts dry = *o;
	int r;

	dry.dry_run = true;
	r = np_steer_adopt(s, &dry, NULL, NULL);
	return r < 0 ? fail_status(n, r, np_steer_error(s)) : DONE;
}

static int adopt_run(struct adopting *x, struct np_steer *s, const struct np_steer_adopt_opts *o)
{
	static const char *const heads[] = { "ADDRESS", "INODE",   "WORKER",
					     "NAME",    "COUNTED", "OUTCOME" };
	struct npsteer *n = x->n;
	int r;

	if (n->json) {
		answer(n);
		json_string(&n->say, "service", service_of(n));
		json_array(&n->say, "listeners");
	}
	table_init(&x->table, sizeof heads / sizeof heads[0]);
	for (size_t i = 0; i < x->table.columns; i++)
		table_text(&x->table, "%s", heads[i]);
	r = np_steer_adopt(s, o, adopt_tell, x);
	if (n->json) {
		json_end_array(&n->say);
		json_int(&n->say, "adopted", r < 0 ? 0 : r);
	}
	if (n->json && r >= 0)
		end_answer(n);
	else if (r >= 0)
		table_print(&x->table, stdout, "");
	table_fini(&x->table);
	return r < 0 ? fail_status(n, r, np_steer_error(s)) : DONE;
}

/* Such as that its connections cannot be counted, and why. */
static void adopt_warn(void *arg, int level, const char *msg)
{
	fprintf(stderr, "npsteer: %s\n", msg);
}

/* ------------------------------------------------------------------ watched */

static volatile sig_atomic_t asked_to_end;

static void adopt_end(int sig)
{
	asked_to_end = 1;
	alarm(1); /* should this one have come a moment before the wait */
}

static void adopt_catch_signals(void)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP, SIGALRM };
	struct sigaction end = { .sa_handler = adopt_end };

	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
		sigaction(ends[i], &end, NULL);
}

#define HOLD_MAX_S 3600

int parse_hold(struct npsteer *n, int *ret_ms)
{
	long seconds = 0;

	if (n->hold && (!parse_number(n->hold, HOLD_MAX_S, &seconds) || !seconds))
		return fail(n, MISUSED, "--hold takes seconds from 1 to %d, not \"%s\"", HOLD_MAX_S,
			    n->hold);
	if ((n->hold || n->watch) && n->dry_run)
		return fail(n, MISUSED, "--dry-run changes nothing, and so watches nothing");
	*ret_ms = (int)seconds * 1000;
	return DONE;
}

/* --rescue: of a watch, which rescues those that stand still where nothing is said. */
static int parse_rescue(struct npsteer *n, enum np_steer_rescue_of *ret)
{
	static const struct {
		const char *word;
		enum np_steer_rescue_of is;
	} words[] = {
		{ "never", NP_STEER_RESCUE_NEVER },
		{ "stopped", NP_STEER_RESCUE_STOPPED },
		{ "freeze", NP_STEER_RESCUE_FREEZE },
	};

	*ret = n->watch || n->hold ? NP_STEER_RESCUE_STOPPED : NP_STEER_RESCUE_NEVER;
	if (!n->rescue)
		return DONE;
	if (!n->watch && !n->hold)
		return fail(n, MISUSED, "only who watches can rescue: --watch, or --hold SEC");
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (!strcmp(n->rescue, words[i].word)) {
			*ret = words[i].is;
			return DONE;
		}
	return fail(n, MISUSED, "--rescue takes stopped, freeze or never, not \"%s\"", n->rescue);
}

static int adopt_watch(struct npsteer *n, const struct np_steer_adopt_opts *o)
{
	char why[NP_STEER_TEXT_MAX] = "";
	struct np_steer *s;
	int code = DONE, r;

	adopt_catch_signals();
	r = np_steer_open(service_of(n),
			  NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN, .bpffs = n->bpffs,
				  .error = why, .error_cap = sizeof why, .log = say_event,
				  .log_arg = n),
			  &s);
	if (r < 0)
		return fail_status(n, r, why);
	do
		r = np_steer_keep(s, o, -1);
	while (r == -EINTR && !asked_to_end);
	if (r < 0 && r != -EINTR)
		code = fail_status(n, r, np_steer_error(s));
	np_steer_close(&s);
	return code;
}

/* ------------------------------------------------------------------ the verbs */

int verb_adopt(struct npsteer *n)
{
	struct adopting x = { .n = n };
	struct np_steer_adopt_opts o;
	struct np_steer *s;
	int code, pid = 0, hold_ms = 0;

	code = parse_listeners(n, &pid);
	if (code == DONE)
		code = parse_hold(n, &hold_ms);
	adopt_opts(n, pid, &o);
	if (code == DONE)
		code = parse_rescue(n, &o.rescue);
	if (code == DONE && !n->port)
		return fail(n, MISUSED, "which port? npsteer adopt %s --port [ADDR:]PORT",
			    service_of(n));
	if (!n->json)
		n->log = adopt_warn;
	o.hold_ms = hold_ms;
	if (code == DONE && (n->watch || n->hold))
		return adopt_watch(n, &o);
	if (code == DONE)
		code = join_service(n, service_of(n), &s);
	if (code != DONE)
		return code;
	code = n->json ? adopt_foresee(n, s, &o) : DONE;
	if (code == DONE)
		code = adopt_run(&x, s, &o);
	np_steer_close(&s);
	return code;
}

int verb_release(struct npsteer *n)
{
	struct np_steer_adopt_opts o;
	struct np_steer *s;
	int code, r;

	code = join_service(n, service_of(n), &s);
	if (code != DONE)
		return code;
	r = np_steer_release(s, adopt_opts(n, 0, &o));
	if (r < 0)
		code = fail_status(n, r, np_steer_error(s));
	np_steer_close(&s);
	if (code != DONE)
		return code;
	if (n->json) {
		answer(n);
		json_string(&n->say, "service", service_of(n));
		json_int(&n->say, "released", r);
		end_answer(n);
	} else {
		printf("%d listener%s released\n", r, r == 1 ? "" : "s");
	}
	return DONE;
}

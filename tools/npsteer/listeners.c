/* SPDX-License-Identifier: BSD-2-Clause */
/* listeners: who listens, who accepts, and whether connections could be steered between them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "npsteer.h"
#include "table.h"

struct listing {
	struct npsteer *n;
	struct table table;
	unsigned rows;
	char why[NP_STEER_TEXT_MAX];
};

/* "1200 1201 ... (12)" */
static void listeners_pids(struct table *t, const struct np_steer_listener *l)
{
	char text[96] = "-";
	size_t used = 0;

	for (unsigned i = 0; i < l->n_holders && i < 4; i++)
		used += (size_t)snprintf(text + used, sizeof text - used, "%s%d", i ? " " : "",
					 l->holders[i].pid);
	if (l->n_holders > 4)
		snprintf(text + used, sizeof text - used, " ... (%u)", l->n_holders);
	table_text(t, "%s", text);
}

/* "1201", of a process with threads "1201/1205" */
static void listeners_tasks(struct table *t, const struct np_steer_listener *l)
{
	char text[128] = "-";
	size_t used = 0;

	for (unsigned i = 0; i < l->n_acceptors && i < 4; i++) {
		const struct np_steer_task *a = &l->acceptors[i];

		used += (size_t)snprintf(text + used, sizeof text - used, "%s%d", i ? " " : "",
					 a->pid);
		if (a->tid && a->tid != a->pid)
			used += (size_t)snprintf(text + used, sizeof text - used, "/%d", a->tid);
	}
	if (l->n_acceptors > 4)
		snprintf(text + used, sizeof text - used, " ... (%u)", l->n_acceptors);
	table_text(t, "%s", text);
}

static int listeners_text(void *arg, const struct np_steer_listener *l)
{
	struct listing *x = arg;
	struct table *t = &x->table;

	x->rows++;
	table_text(t, "%s", l->address);
	table_text(t, "%llu", (unsigned long long)l->inode);
	table_text(t, "%s", l->reuseport < 0 ? "?" : l->reuseport ? "yes" : "no");
	listeners_pids(t, l);
	listeners_tasks(t, l);
	table_uint(t, l->queued);
	table_uint(t, l->backlog);
	if (l->program > 0 && l->program_id)
		table_uint(t, l->program_id);
	else
		table_text(t, "%s", l->program < 0 ? "?" : l->program ? "classic" : "-");
	table_text(t, "%s", l->verdict);
	return 0;
}

static void listeners_json_tasks(struct json *j, const char *key, const struct np_steer_task *t,
				 unsigned n)
{
	json_array(j, key);
	for (unsigned i = 0; i < n; i++) {
		json_object(j, NULL);
		json_int(j, "pid", t[i].pid);
		json_int(j, "tid", t[i].tid);
		json_end_object(j);
	}
	json_end_array(j);
}

/* What is not known is null. */
static void listeners_json_known(struct json *j, const char *key, int known)
{
	if (known < 0)
		json_string(j, key, NULL);
	else
		json_bool(j, key, known);
}

static int listeners_json(void *arg, const struct np_steer_listener *l)
{
	struct listing *x = arg;
	struct json *j = &x->n->say;

	x->rows++;
	json_object(j, NULL);
	json_string(j, "address", l->address);
	json_uint(j, "inode", l->inode);
	json_uint(j, "cookie", l->cookie);
	listeners_json_known(j, "reuseport", l->reuseport);
	listeners_json_tasks(j, "holders", l->holders, l->n_holders);
	listeners_json_tasks(j, "acceptors", l->acceptors, l->n_acceptors);
	json_uint(j, "queued", l->queued);
	json_uint(j, "backlog", l->backlog);
	listeners_json_known(j, "program", l->program);
	json_uint(j, "program_id", l->program_id);
	json_bool(j, "can_be_steered", l->can_be_steered);
	json_string(j, "verdict", l->verdict);
	json_end_object(j);
	return 0;
}

int parse_listeners(struct npsteer *n, int *ret_pid)
{
	long pid = 0;

	if (n->pid && (!parse_number(n->pid, 4194304, &pid) || !pid))
		return fail(n, MISUSED, "--pid takes a process number, not \"%s\"", n->pid);
	if (n->pid && n->cgroup)
		return fail(n, MISUSED, "--pid or --cgroup, not both");
	*ret_pid = (int)pid;
	return DONE;
}

static int listeners_ask(struct listing *x, int pid,
			 int (*fn)(void *arg, const struct np_steer_listener *l))
{
	const struct npsteer *n = x->n;

	x->why[0] = '\0';
	return np_steer_listeners(NP_OPTS(np_steer_find_opts, .address = n->port, .pid = pid,
					  .cgroup = n->cgroup, .error = x->why,
					  .error_cap = sizeof x->why),
				  fn, x);
}

static int listeners_none(void *arg, const struct np_steer_listener *l)
{
	return 1;
}

/* Once to see that it can be had: an error should not come behind half an answer. */
static int listeners_answer(struct listing *x, int pid)
{
	struct npsteer *n = x->n;
	int r = listeners_ask(x, pid, listeners_none);

	if (r < 0)
		return fail_status(n, r, x->why);
	answer(n);
	json_array(&n->say, "listeners");
	r = listeners_ask(x, pid, listeners_json);
	json_end_array(&n->say);
	if (r < 0)
		return fail_status(n, r, x->why);
	end_answer(n);
	return DONE;
}

int verb_listeners(struct npsteer *n)
{
	static const char *const heads[] = { "ADDRESS", "INODE",   "REUSEPORT",
					     "HOLDERS", "ACCEPTS", "QUEUED",
					     "BACKLOG", "PROGRAM", "STEERED" };
	struct listing x = { .n = n };
	int code, pid, r;

	code = parse_listeners(n, &pid);
	if (code != DONE)
		return code;
	if (n->json)
		return listeners_answer(&x, pid);
	table_init(&x.table, sizeof heads / sizeof heads[0]);
	for (size_t i = 0; i < x.table.columns; i++)
		table_text(&x.table, "%s", heads[i]);
	r = listeners_ask(&x, pid, listeners_text);
	if (r == 0 && x.rows)
		table_print(&x.table, stdout, "");
	else if (r == 0)
		puts(n->port || pid || n->cgroup ? "nobody listens there" : "nobody listens");
	table_fini(&x.table);
	return r < 0 ? fail_status(n, r, x.why) : DONE;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* status: the pinned services, their addresses and workers, and how they are now. */
#include <errno.h>
#include <stdio.h>

#include "bpffs.h"
#include "npsteer.h"
#include "table.h"

/* ------------------------------------------------------------------ text */

/* Of an adopted worker the task that accepts, where one alone does. */
static void status_text_pid(struct table *t, const struct np_steer_worker_info *i)
{
	if (i->adopted && !i->pid)
		table_text(t, "-");
	else if (i->tid && i->tid != i->pid)
		table_text(t, "%d/%d", i->pid, i->tid);
	else if (i->pid_ns)
		table_text(t, "%d@%llu", i->pid, (unsigned long long)i->pid_ns);
	else
		table_text(t, "%d", i->pid);
}

/* A server that knows nothing of it publishes nothing. */
static void status_text_count(struct table *t, const struct np_steer_worker_info *i, uint64_t n)
{
	if (i->adopted && !i->counted)
		table_text(t, "-");
	else
		table_uint(t, n);
}

/* Nor does the kernel know of it. */
static void status_text_own(struct table *t, const struct np_steer_worker_info *i, uint64_t n)
{
	if (i->adopted)
		table_text(t, "-");
	else
		table_uint(t, n);
}

static void status_text_workers(struct np_steer *s, const struct np_steer_info *info)
{
	static const char *const heads[] = { "WORKER",   "NAME",   "STATE",    "KIND",
					     "PID",      "CPU",    "BUSY_MS",  "CONNS",
					     "ACCEPTED", "CLOSED", "MOVED_IN", "MOVED_OUT",
					     "HANDOFFS" };
	struct table t;

	table_init(&t, sizeof heads / sizeof heads[0]);
	for (size_t i = 0; i < t.columns; i++)
		table_text(&t, "%s", heads[i]);
	for (unsigned w = 0; w < info->workers; w++) {
		struct np_steer_worker_info i;

		if (!read_worker(s, w, &i))
			continue;
		table_uint(&t, w);
		table_text(&t, "%s", i.name);
		table_text(&t, "%s", state_name(i.state));
		table_text(&t, "%s", kind_name(&i));
		status_text_pid(&t, &i);
		table_text(&t, i.cpu < 0 ? "-" : "%d", i.cpu);
		table_uint(&t, i.busy_ms);
		status_text_count(&t, &i, i.conns);
		status_text_count(&t, &i, i.accepted_total);
		status_text_count(&t, &i, i.closed_total);
		status_text_own(&t, &i, i.moved_in);
		status_text_own(&t, &i, i.moved_out);
		status_text_own(&t, &i, i.handoffs);
	}
	if (t.n > t.columns)
		table_print(&t, stdout, "  ");
	else
		puts("  no workers");
	table_fini(&t);
}

static void status_text_service(struct np_steer *s, const struct np_steer_info *info)
{
	printf("%s: level %d, policy %s, hang_ms %d, ABI %u, %s\n", info->service, info->level,
	       info->policy, info->hang_ms, info->abi, info->path);
	for (unsigned g = 0; g < info->groups; g++) {
		struct np_steer_group_info i;

		if (read_group(s, g, &i))
			printf("  address %u: %s, %u listener%s\n", g, i.address, i.workers,
			       i.workers == 1 ? "" : "s");
	}
	status_text_workers(s, info);
}

/* ------------------------------------------------------------------ JSON */

static void status_json_workers(struct json *j, struct np_steer *s,
				const struct np_steer_info *info)
{
	json_array(j, "workers");
	for (unsigned w = 0; w < info->workers; w++) {
		struct np_steer_worker_info i;

		if (!read_worker(s, w, &i))
			continue;
		json_object(j, NULL);
		json_uint(j, "worker", w);
		json_string(j, "name", i.name);
		json_string(j, "state", state_name(i.state));
		json_int(j, "pid", i.pid);
		json_uint(j, "pid_ns", i.pid_ns);
		json_int(j, "tid", i.tid);
		json_bool(j, "adopted", i.adopted);
		json_bool(j, "held", i.held);
		json_bool(j, "counted", i.counted);
		json_int(j, "cpu", i.cpu);
		json_uint(j, "busy_ms", i.busy_ms);
		json_uint(j, "conns", i.conns);
		json_uint(j, "accepted_total", i.accepted_total);
		json_uint(j, "closed_total", i.closed_total);
		json_uint(j, "handoffs", i.handoffs);
		json_uint(j, "moved_in", i.moved_in);
		json_uint(j, "moved_out", i.moved_out);
		json_end_object(j);
	}
	json_end_array(j);
}

static void status_json_groups(struct json *j, struct np_steer *s, const struct np_steer_info *info)
{
	json_array(j, "groups");
	for (unsigned g = 0; g < info->groups; g++) {
		struct np_steer_group_info i;

		if (!read_group(s, g, &i))
			continue;
		json_object(j, NULL);
		json_uint(j, "group", g);
		json_string(j, "address", i.address);
		json_uint(j, "listeners", i.workers);
		json_uint(j, "netns", i.netns);
		json_end_object(j);
	}
	json_end_array(j);
}

static void status_json_service(struct json *j, struct np_steer *s,
				const struct np_steer_info *info)
{
	json_object(j, NULL);
	json_string(j, "service", info->service);
	json_string(j, "path", info->path);
	json_uint(j, "abi", info->abi);
	json_int(j, "level", info->level);
	json_string(j, "policy", info->policy);
	json_int(j, "hang_ms", info->hang_ms);
	status_json_groups(j, s, info);
	status_json_workers(j, s, info);
	json_end_object(j);
}

/* ------------------------------------------------------------------ one service, or each */

static void status_begin(struct npsteer *n)
{
	if (!n->json)
		return;
	answer(n);
	json_array(&n->say, "services");
}

static void status_end(struct npsteer *n)
{
	if (!n->json)
		return;
	json_end_array(&n->say);
	end_answer(n);
}

static int status_count(void *arg, const char *name, const char *path)
{
	++*(unsigned *)arg;
	return 0;
}

static void status_show(struct npsteer *n, struct np_steer *s)
{
	struct np_steer_info info = { .sz = sizeof info };

	np_steer_info(s, &info);
	if (n->json)
		status_json_service(&n->say, s, &info);
	else
		status_text_service(s, &info);
}

/* One that cannot be opened is listed with the reason, and does not hide the others. */
static int status_show_listed(void *arg, const char *name, const char *path)
{
	char why[NP_STEER_TEXT_MAX];
	struct npsteer *n = arg;
	struct np_steer *s;
	int r = open_service(n, name, why, &s);

	if (r == 0) {
		status_show(n, s);
		np_steer_close(&s);
	} else if (n->json) {
		json_object(&n->say, NULL);
		json_string(&n->say, "service", name);
		json_string(&n->say, "path", path);
		json_string(&n->say, "error", why);
		json_end_object(&n->say);
	} else {
		printf("%s: ", name);
		say(why);
	}
	return 0;
}

static int status_show_all(struct npsteer *n)
{
	char why[NP_STEER_TEXT_MAX] = "";
	struct np_steer_opts o;
	unsigned services = 0;
	int r;

	np_steer_opts_init(&o);
	o.bpffs = n->bpffs;
	o.error = why;
	o.error_cap = sizeof why;
	/* Once to count: an error must not come after half an answer. */
	r = np_steer_list(&o, status_count, &services);
	if (r == -ENODEV)
		return fail(
			n, ABSENT,
			"there is no BPF file system at %s, so there are no services: `npsteer load SERVICE`, as root, mounts it",
			bpffs_place(n->bpffs, 0));
	if (r < 0)
		return fail_status(n, r, why);
	if (!services && !n->json)
		puts("no services: `npsteer load SERVICE` makes one");
	status_begin(n);
	np_steer_list(&o, status_show_listed, n);
	status_end(n);
	return DONE;
}

int verb_status(struct npsteer *n)
{
	struct np_steer *s;
	int code;

	if (!n->service)
		return status_show_all(n);
	code = join_service(n, n->service, &s);
	if (code != DONE)
		return code;
	status_begin(n);
	status_show(n, s);
	status_end(n);
	np_steer_close(&s);
	return DONE;
}

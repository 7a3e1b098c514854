/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stats: what the program has counted: as a whole, for each worker, for each address and worker
 *
 * The counters are read one after another while the program counts on: sums may be off by what
 * came in between. Under -w a line is what was added since the line before, per second.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "npsteer.h"
#include "table.h"

/* In the order of struct np_steer_stats, by the names of the map. */
/* clang-format off */
#define TOTALS(X)           \
	X(syn_total)        \
	X(nonsyn_total)     \
	X(migrated_child)   \
	X(migrated_request) \
	X(steered)          \
	X(fallback_hash)    \
	X(rejected_rst)     \
	X(shed_full)        \
	X(fallback_none)    \
	X(migrated_none)    \
	X(retried)          \
	X(skipped_empty)    \
	X(skipped_away)     \
	X(skipped_hung)     \
	X(skipped_full)     \
	X(spilled)
/* clang-format on */

/* clang-format off */
#define SLOT(X)        \
	X(steered)     \
	X(fallback)    \
	X(nonsyn)      \
	X(migrated_in) \
	X(migrated_out)
/* clang-format on */

/* ------------------------------------------------------------------ text */

static void stats_text_totals(const struct np_steer_stats *t)
{
	struct table table;

	table_init(&table, 2);
	table_text(&table, "COUNTER");
	table_text(&table, "TOTAL");
#define NP_ROW(field)                     \
	table_text(&table, "%s", #field); \
	table_uint(&table, t->field);
	TOTALS(NP_ROW)
#undef NP_ROW
	table_print(&table, stdout, "  ");
	table_fini(&table);
}

static void stats_text_cells(struct table *t, const struct np_steer_worker_info *i)
{
#define NP_ROW(field) table_uint(t, i->field);
	SLOT(NP_ROW)
#undef NP_ROW
}

static void stats_text_heads(struct table *t)
{
	static const char *const heads[] = { "STEERED", "FALLBACK", "NONSYN", "MIGRATED_IN",
					     "MIGRATED_OUT" };

	for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++)
		table_text(t, "%s", heads[i]);
}

static void stats_text_workers(struct np_steer *s, const struct np_steer_info *info)
{
	struct table t;

	table_init(&t, 8);
	table_text(&t, "WORKER");
	table_text(&t, "NAME");
	table_text(&t, "ACCEPTED");
	stats_text_heads(&t);
	for (unsigned w = 0; w < info->workers; w++) {
		struct np_steer_worker_info i;

		if (!read_worker(s, w, &i))
			continue;
		table_uint(&t, w);
		table_text(&t, "%s", i.name);
		table_uint(&t, i.accepted_total);
		stats_text_cells(&t, &i);
	}
	if (t.n > t.columns)
		table_print(&t, stdout, "  ");
	table_fini(&t);
}

static bool stats_slot_is_used(const struct np_steer_worker_info *i)
{
#define NP_ROW(field) i->field ||
	return SLOT(NP_ROW) false;
#undef NP_ROW
}

static void stats_text_groups(struct np_steer *s, const struct np_steer_info *info)
{
	struct table t;

	table_init(&t, 7);
	table_text(&t, "ADDRESS");
	table_text(&t, "WORKER");
	stats_text_heads(&t);
	for (unsigned g = 0; g < info->groups; g++) {
		struct np_steer_group_info gi;

		if (!read_group(s, g, &gi))
			continue;
		for (unsigned w = 0; w < info->workers; w++) {
			struct np_steer_worker_info i = { .sz = sizeof i };

			if (np_steer_slot_stats(s, g, w, &i) < 0 || !stats_slot_is_used(&i))
				continue;
			table_text(&t, "%s", gi.address);
			table_uint(&t, w);
			stats_text_cells(&t, &i);
		}
	}
	if (t.n > t.columns)
		table_print(&t, stdout, "  ");
	table_fini(&t);
}

/* ------------------------------------------------------------------ JSON */

static void stats_json_totals(struct json *j, const char *key, const struct np_steer_stats *t)
{
	json_object(j, key);
#define NP_ROW(field) json_uint(j, #field, t->field);
	TOTALS(NP_ROW)
#undef NP_ROW
	json_end_object(j);
}

static void stats_json_slot(struct json *j, const struct np_steer_worker_info *i)
{
#define NP_ROW(field) json_uint(j, #field, i->field);
	SLOT(NP_ROW)
#undef NP_ROW
}

static void stats_json_workers(struct json *j, struct np_steer *s, const struct np_steer_info *info)
{
	json_array(j, "workers");
	for (unsigned w = 0; w < info->workers; w++) {
		struct np_steer_worker_info i;

		if (!read_worker(s, w, &i))
			continue;
		json_object(j, NULL);
		json_uint(j, "worker", w);
		json_string(j, "name", i.name);
		json_uint(j, "accepted_total", i.accepted_total);
		stats_json_slot(j, &i);
		json_end_object(j);
	}
	json_end_array(j);
}

static void stats_json_group_workers(struct json *j, struct np_steer *s, unsigned g,
				     unsigned workers)
{
	json_array(j, "workers");
	for (unsigned w = 0; w < workers; w++) {
		struct np_steer_worker_info i = { .sz = sizeof i };

		if (np_steer_slot_stats(s, g, w, &i) < 0 || !stats_slot_is_used(&i))
			continue;
		json_object(j, NULL);
		json_uint(j, "worker", w);
		stats_json_slot(j, &i);
		json_end_object(j);
	}
	json_end_array(j);
}

static void stats_json_groups(struct json *j, struct np_steer *s, const struct np_steer_info *info)
{
	json_array(j, "groups");
	for (unsigned g = 0; g < info->groups; g++) {
		struct np_steer_group_info i;

		if (!read_group(s, g, &i))
			continue;
		json_object(j, NULL);
		json_uint(j, "group", g);
		json_string(j, "address", i.address);
		stats_json_group_workers(j, s, g, info->workers);
		json_end_object(j);
	}
	json_end_array(j);
}

/* ------------------------------------------------------------------ once */

static void stats_show(struct npsteer *n, struct np_steer *s, const struct np_steer_stats *t)
{
	struct np_steer_info info = { .sz = sizeof info };

	np_steer_info(s, &info);
	if (n->json) {
		answer(n);
		json_string(&n->say, "service", info.service);
		json_string(&n->say, "policy", info.policy);
		stats_json_totals(&n->say, "total", t);
		stats_json_workers(&n->say, s, &info);
		stats_json_groups(&n->say, s, &info);
		end_answer(n);
		return;
	}
	printf("%s: policy %s\n", info.service, info.policy);
	stats_text_totals(t);
	stats_text_workers(s, &info);
	stats_text_groups(s, &info);
}

/* ------------------------------------------------------------------ watching */

/* The columns of a line of -w: the four kinds of run and what became of the SYNs. */
/* clang-format off */
#define WATCHED(X)          \
	X(syn_total)        \
	X(steered)          \
	X(fallback_hash)    \
	X(rejected_rst)     \
	X(nonsyn_total)     \
	X(migrated_child)   \
	X(migrated_request) \
	X(skipped_hung)     \
	X(skipped_full)     \
	X(spilled)
/* clang-format on */

static void stats_show_change(struct npsteer *n, const char *service,
			      const struct np_steer_stats *a, const struct np_steer_stats *b,
			      double dt)
{
	if (!n->json) {
#define NP_ROW(field) printf("%*.0f", (int)sizeof #field + 1, (double)(b->field - a->field) / dt);
		WATCHED(NP_ROW)
#undef NP_ROW
		putchar('\n');
		fflush(stdout);
		return;
	}
	answer(n);
	json_string(&n->say, "service", service);
	json_real(&n->say, "seconds", dt);
	stats_json_totals(&n->say, "total", b);
	json_object(&n->say, "per_second");
#define NP_ROW(field) json_real(&n->say, #field, (double)(b->field - a->field) / dt);
	TOTALS(NP_ROW)
#undef NP_ROW
	json_end_object(&n->say);
	end_answer(n);
}

static void stats_watch_heading(const struct npsteer *n)
{
	if (n->json)
		return;
#define NP_ROW(field) printf("%*s", (int)sizeof #field + 1, #field);
	WATCHED(NP_ROW)
#undef NP_ROW
	putchar('\n');
}

/* Ends with the count, with a closed stdout, or with ^C. */
static int stats_watch(struct npsteer *n, struct np_steer *s, double every, long count)
{
	struct np_steer_stats now = { .sz = sizeof now }, last = { .sz = sizeof last };
	double then = seconds_now(), at;
	int r;

	r = np_steer_stats(s, &last);
	stats_watch_heading(n);
	for (long i = 0; r == 0 && (count == 0 || i < count) && !ferror(stdout); i++) {
		pause_for(every);
		r = np_steer_stats(s, &now);
		at = seconds_now();
		if (r == 0)
			stats_show_change(n, service_of(n), &last, &now, at - then);
		then = at;
		last = now;
	}
	return r < 0 ? fail_status(n, r, np_steer_error(s)) : DONE;
}

int verb_stats(struct npsteer *n)
{
	struct np_steer_stats t = { .sz = sizeof t };
	struct np_steer *s;
	double every;
	long count;
	int code, r;

	code = parse_interval(n, &every, &count);
	if (code == DONE && count && every <= 0)
		code = fail(n, MISUSED, "-n counts the lines of -w: npsteer stats -w 1 -n %s",
			    n->count);
	if (code == DONE)
		code = join_service(n, service_of(n), &s);
	if (code != DONE)
		return code;
	if (every > 0) {
		code = stats_watch(n, s, every, count);
	} else {
		r = np_steer_stats(s, &t);
		if (r < 0)
			code = fail_status(n, r, np_steer_error(s));
		else
			stats_show(n, s, &t);
	}
	np_steer_close(&s);
	return code;
}

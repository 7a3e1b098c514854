/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * top: each worker's listeners, live: queues, busy workers, and how many connections come
 *
 * On a terminal the table is drawn over the last one; elsewhere each is printed below it, and under
 * --json each is one object.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "npsteer.h"
#include "process.h"
#include "table.h"

/* A listener in a slot. */
struct row {
	struct np_steer_queue q;
	/* and given by fallback, and by a SYN cookie's ACK, since its worker claimed */
	uint64_t steered;
	double per_second;
	uint64_t taken;      /* out of its queue */
	double since;        /* when that changed last, or nothing waited */
	bool half_open_seen; /* since the last look: what no SYN has seen is not known */
};

struct frame {
	struct row *rows;
	size_t n;
	double at;
	int hang_ms;
};

/* ------------------------------------------------------------------ one look */

static int top_add(void *arg, const struct np_steer_queue *q)
{
	struct frame *f = arg;
	struct row *grown = realloc(f->rows, (f->n + 1) * sizeof *grown);

	if (!grown)
		fail_without_memory();
	f->rows = grown;
	f->rows[f->n++] = (struct row){ .q = *q };
	return 0;
}

static int top_by_slot(const void *a, const void *b)
{
	const struct np_steer_queue *x = &((const struct row *)a)->q,
				    *y = &((const struct row *)b)->q;

	if (x->group != y->group)
		return x->group < y->group ? -1 : 1;
	return x->worker < y->worker ? -1 : x->worker > y->worker;
}

static const struct row *top_find(const struct frame *f, const struct np_steer_queue *q)
{
	for (size_t i = 0; i < f->n; i++)
		if (f->rows[i].q.group == q->group && f->rows[i].q.worker == q->worker)
			return &f->rows[i];
	return NULL;
}

/*
 * What has changed since @last. A worker that was claimed anew in between counts from zero again.
 */
static void top_compare(struct frame *f, const struct frame *last)
{
	for (size_t i = 0; i < f->n; i++) {
		const struct row *was = top_find(last, &f->rows[i].q);
		uint64_t before = was && was->steered <= f->rows[i].steered ? was->steered : 0;

		if (was && f->at > last->at)
			f->rows[i].per_second =
				(double)(f->rows[i].steered - before) / (f->at - last->at);
		if (was && was->taken == f->rows[i].taken && f->rows[i].q.queued)
			f->rows[i].since = was->since;
		f->rows[i].half_open_seen = was && was->q.half_open_at != f->rows[i].q.half_open_at;
	}
}

static int top_look(struct np_steer *s, struct frame *f)
{
	struct np_steer_info info = { .sz = sizeof info };
	int r;

	np_steer_info(s, &info);
	*f = (struct frame){ .at = seconds_now(), .hang_ms = info.hang_ms };
	r = np_steer_queues(s, top_add, f);
	qsort(f->rows, f->n, sizeof *f->rows, top_by_slot);
	for (size_t i = 0; i < f->n; i++) {
		struct np_steer_worker_info w = { .sz = sizeof w };

		f->rows[i].since = f->at;
		if (np_steer_slot_stats(s, f->rows[i].q.group, f->rows[i].q.worker, &w) == 0) {
			f->rows[i].steered = w.steered + w.fallback;
			f->rows[i].taken = w.steered + w.fallback + w.migrated_in - w.migrated_out -
					   f->rows[i].q.queued;
		}
	}
	return r;
}

/* ------------------------------------------------------------------ shown */

/*
 * Busy for too long, or something waits, of which nothing was taken for as long: a process that was
 * stopped while it was idle has published that it is.
 */
static bool top_hangs(const struct frame *f, const struct row *row,
		      const struct np_steer_worker_info *w)
{
	return f->hang_ms &&
	       (w->busy_ms >= (uint64_t)f->hang_ms || (f->at - row->since) * 1000 >= f->hang_ms);
}

static void top_text_row(struct table *t, struct np_steer *s, const struct frame *f,
			 const struct row *row)
{
	struct np_steer_group_info g = { .sz = sizeof g };
	struct np_steer_worker_info w = { .sz = sizeof w };

	np_steer_group_info(s, row->q.group, &g);
	np_steer_worker_info(s, row->q.worker, &w);
	table_text(t, "%s", g.address);
	table_uint(t, row->q.worker);
	table_text(t, "%s", w.name);
	table_text(t, "%s", state_name(w.state));
	table_text(t, "%s", kind_name(&w));
	if (w.adopted && !w.counted)
		table_text(t, "-"); /* nobody says */
	else
		table_uint(t, w.conns);
	table_uint(t, row->q.queued);
	if (row->half_open_seen)
		table_uint(t, row->q.half_open);
	else
		table_text(t, "-");
	table_uint(t, row->q.backlog);
	table_uint(t, w.busy_ms);
	table_text(t, top_hangs(f, row, &w) ? "yes" : "-");
	table_text(t, "%.1f", row->per_second);
	table_uint(t, w.rescued);
	table_uint(t, w.rescue_failed);
	table_uint(t, w.moved_in);
	table_uint(t, w.moved_out);
	table_uint(t, w.handoffs);
}

static void top_show_text(struct npsteer *n, struct np_steer *s, const struct frame *f)
{
	static const char *const heads[] = { "ADDRESS", "WORKER",        "NAME",     "STATE",
					     "KIND",    "CONNS",         "QUEUED",   "HALF_OPEN",
					     "BACKLOG", "BUSY_MS",       "HANGS",    "STEERED/S",
					     "RESCUED", "RESCUE_FAILED", "MOVED_IN", "MOVED_OUT",
					     "HANDOFFS" };
	struct np_steer_info info = { .sz = sizeof info };
	struct table t;

	np_steer_info(s, &info);
	if (isatty(STDOUT_FILENO))
		fputs("\033[H\033[J", stdout);
	printf("%s: level %d, policy %s, hang_ms %d, %zu listener%s\n", info.service, info.level,
	       info.policy, info.hang_ms, f->n, f->n == 1 ? "" : "s");
	table_init(&t, sizeof heads / sizeof heads[0]);
	for (size_t i = 0; i < t.columns; i++)
		table_text(&t, "%s", heads[i]);
	for (size_t i = 0; i < f->n; i++)
		top_text_row(&t, s, f, &f->rows[i]);
	table_print(&t, stdout, "  ");
	table_fini(&t);
	fflush(stdout);
}

static void top_json_row(struct json *j, struct np_steer *s, const struct frame *f,
			 const struct row *row)
{
	struct np_steer_group_info g = { .sz = sizeof g };
	struct np_steer_worker_info w = { .sz = sizeof w };

	np_steer_group_info(s, row->q.group, &g);
	np_steer_worker_info(s, row->q.worker, &w);
	json_object(j, NULL);
	json_string(j, "address", g.address);
	json_uint(j, "group", row->q.group);
	json_uint(j, "worker", row->q.worker);
	json_string(j, "name", w.name);
	json_string(j, "state", state_name(w.state));
	json_uint(j, "conns", w.conns);
	json_uint(j, "queued", row->q.queued);
	if (row->half_open_seen)
		json_uint(j, "half_open", row->q.half_open);
	else
		json_string(j, "half_open", NULL);
	json_uint(j, "backlog", row->q.backlog);
	json_uint(j, "busy_ms", w.busy_ms);
	json_bool(j, "hangs", top_hangs(f, row, &w));
	json_real(j, "steered_per_second", row->per_second);
	json_uint(j, "rescued", w.rescued);
	json_uint(j, "rescue_failed", w.rescue_failed);
	json_uint(j, "moved_in", w.moved_in);
	json_uint(j, "moved_out", w.moved_out);
	json_uint(j, "handoffs", w.handoffs);
	json_bool(j, "adopted", w.adopted);
	json_bool(j, "held", w.held);
	json_end_object(j);
}

static void top_show_json(struct npsteer *n, struct np_steer *s, const struct frame *f,
			  double seconds)
{
	answer(n);
	json_string(&n->say, "service", service_of(n));
	json_real(&n->say, "seconds", seconds);
	json_array(&n->say, "slots");
	for (size_t i = 0; i < f->n; i++)
		top_json_row(&n->say, s, f, &f->rows[i]);
	json_end_array(&n->say);
	end_answer(n);
	fflush(stdout);
}

/* ------------------------------------------------------------------ the verb */

static int top_watch(struct npsteer *n, struct np_steer *s, double every, long count)
{
	struct frame last, now;
	int r;

	r = top_look(s, &last);
	for (long i = 0; r == 0 && (count == 0 || i < count) && !ferror(stdout); i++) {
		pause_for(every);
		r = top_look(s, &now);
		if (r == 0) {
			top_compare(&now, &last);
			if (n->json)
				top_show_json(n, s, &now, now.at - last.at);
			else
				top_show_text(n, s, &now);
		}
		free(last.rows);
		last = now;
	}
	free(last.rows);
	return r < 0 ? fail_status(n, r, "") : DONE;
}

int verb_top(struct npsteer *n)
{
	struct np_steer *s;
	double every;
	long count;
	int code;

	code = parse_interval(n, &every, &count);
	if (code == DONE && names_process(n->service))
		return process_top(n, every > 0 ? every : 1, count);
	if (code == DONE)
		code = join_service(n, service_of(n), &s);
	if (code != DONE)
		return code;
	code = top_watch(n, s, every > 0 ? every : 1, count);
	np_steer_close(&s);
	return code;
}

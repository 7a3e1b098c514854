/* SPDX-License-Identifier: BSD-2-Clause */
/* snapshot: written once for each look. Names are other processes' words: JSON escapes them. */
#include "snapshot.h"

#include <stdio.h>
#include <stdlib.h>

static void snapshot_worker(struct json *j, const struct facts *f, const struct fact_worker *w)
{
	const struct np_steer_worker_info *i = &w->info;
	bool late = f->info.hang_ms && i->busy_ms >= (uint64_t)f->info.hang_ms;

	json_object(j, NULL);
	json_uint(j, "worker", w->number);
	json_string(j, "name", i->name);
	json_string(j, "state", state_name(i->state));
	json_string(j, "kind", kind_name(i));
	json_int(j, "pid", i->pid);
	json_int(j, "cpu", i->cpu);
	json_uint(j, "weight", i->weight);
	json_bool(j, "says", !i->adopted || i->counted); /* else nobody knows its connections */
	json_uint(j, "conns", i->conns);
	json_uint(j, "closed", i->closed_total);
	json_uint(j, "given", i->steered + i->fallback);
	json_uint(j, "listeners", w->listeners);
	json_uint(j, "queued", w->queued);
	json_uint(j, "backlog", w->backlog);
	json_uint(j, "busy_ms", i->busy_ms);
	json_bool(j, "hangs", late || w->stuck);
	json_uint(j, "rescued", i->rescued);
	json_uint(j, "rescue_failed", i->rescue_failed);
	json_end_object(j);
}

static void snapshot_verdicts(struct json *j, const struct np_steer_stats *s)
{
	json_object(j, "verdicts");
	json_uint(j, "steered", s->steered);
	json_uint(j, "fallback", s->fallback_hash);
	json_uint(j, "refused", s->rejected_rst);
	json_uint(j, "shed", s->shed_full);
	json_uint(j, "migrated", s->migrated_child + s->migrated_request);
	json_uint(j, "skipped_hung", s->skipped_hung);
	json_uint(j, "skipped_away", s->skipped_away);
	json_uint(j, "skipped_full", s->skipped_full);
	json_end_object(j);
}

static void snapshot_addresses(struct json *j, struct np_steer *s, unsigned groups)
{
	struct np_steer_group_info g;

	json_array(j, "addresses");
	for (unsigned i = 0; i < groups; i++)
		if (read_group(s, i, &g))
			json_string(j, NULL, g.address);
	json_end_array(j);
}

static void snapshot_facts(struct json *j, struct lookout *l, const struct facts *f)
{
	json_int(j, "level", f->info.level);
	json_string(j, "policy", f->info.policy);
	json_int(j, "hang_ms", f->info.hang_ms);
	snapshot_addresses(j, l->s, f->info.groups);
	json_array(j, "workers");
	for (unsigned i = 0; i < f->n; i++)
		snapshot_worker(j, f, &f->workers[i]);
	json_end_array(j);
	snapshot_verdicts(j, &f->stats);
}

static void snapshot_write(FILE *to, struct lookout *l, uint64_t number)
{
	struct facts f;
	struct json j;
	int r = lookout_look(l, &f);

	fprintf(to, "id: %llu\ndata: ", (unsigned long long)number);
	json_init(&j, to, false);
	json_object(&j, NULL);
	json_uint(&j, "schema", JSON_SCHEMA);
	json_string(&j, "service", service_of(l->n));
	json_real(&j, "at", f.at);
	if (r == 0)
		snapshot_facts(&j, l, &f);
	else
		json_string(&j, "error", l->why);
	json_end_object(&j); /* and its newline */
	fputc('\n', to);
	facts_free(&f);
}

struct snapshot *snapshot_new(struct lookout *l, uint64_t number)
{
	struct snapshot *s = calloc(1, sizeof *s);
	FILE *to = s ? open_memstream(&s->text, &s->n) : NULL;

	if (!to) {
		free(s);
		return NULL;
	}
	atomic_init(&s->refs, 1);
	s->number = number;
	snapshot_write(to, l, number);
	if (fclose(to) == 0 && s->text) /* glibc may have none, and say 0 */
		return s;
	snapshot_unref(s);
	return NULL;
}

struct snapshot *snapshot_ref(struct snapshot *s)
{
	atomic_fetch_add(&s->refs, 1);
	return s;
}

void snapshot_unref(struct snapshot *s)
{
	if (!s || atomic_fetch_sub(&s->refs, 1) > 1)
		return;
	free(s->text);
	free(s);
}

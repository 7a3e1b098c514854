/* SPDX-License-Identifier: BSD-2-Clause */
/* explain: which worker a connection would get now, and why. */
#include <stdio.h>

#include "npsteer.h"

static void explain_text_look(const struct np_steer_look *l)
{
	char line[400];

	snprintf(line, sizeof line, "  worker %u (%s)%s: %s", l->worker, l->name,
		 l->chosen ? ", chosen" : "", l->text);
	say(line);
}

static void explain_text(const struct np_steer_explanation *e)
{
	say(e->text);
	printf("  flow %08x, CPU %u, address %s, verdict %s\n", e->hash, e->cpu, e->address,
	       e->verdict);
	for (unsigned i = 0; i < e->n_looks; i++)
		explain_text_look(&e->looks[i]);
}

static void explain_json_look(struct json *j, const struct np_steer_look *l)
{
	json_object(j, NULL);
	json_uint(j, "worker", l->worker);
	json_string(j, "name", l->name);
	json_bool(j, "chosen", l->chosen);
	json_string(j, "why", l->text);
	json_string(j, "state", l->read_state ? state_name(l->state) : NULL);
	if (l->read_state)
		json_uint(j, "busy_ms", l->busy_ms);
	if (l->read_load) {
		json_uint(j, "conns", l->conns);
		json_uint(j, "weight", l->weight);
	}
	if (l->read_queue) {
		json_uint(j, "queued", l->queued);
		json_uint(j, "half_open", l->half_open);
		json_uint(j, "backlog", l->backlog);
		json_uint(j, "waited_ms", l->waited_ms);
	}
	json_end_object(j);
}

static void explain_json(struct npsteer *n, const struct np_steer_explanation *e)
{
	struct json *j = &n->say;

	answer(n);
	json_string(j, "service", service_of(n));
	json_string(j, "flow", e->flow);
	json_string(j, "address", e->address);
	json_uint(j, "group", e->group);
	json_uint(j, "cpu", e->cpu);
	json_uint(j, "hash", e->hash);
	json_bool(j, "hash_drawn", e->hash_drawn);
	json_string(j, "policy", e->policy);
	json_string(j, "verdict", e->verdict);
	json_int(j, "worker", e->worker);
	json_string(j, "name", e->name);
	json_string(j, "why", e->text);
	json_array(j, "looked_at");
	for (unsigned i = 0; i < e->n_looks; i++)
		explain_json_look(j, &e->looks[i]);
	json_end_array(j);
	end_answer(n);
}

static int explain_tell(void *arg, const struct np_steer_explanation *e)
{
	struct npsteer *n = arg;

	if (n->json)
		explain_json(n, e);
	else
		explain_text(e);
	return 0;
}

int verb_explain(struct npsteer *n)
{
	long cpu = 0;
	struct np_steer *s;
	int code, r;

	if (!n->n_args)
		return fail(n, MISUSED,
			    "which flow? npsteer explain SERVICE 10.0.0.7:41234>10.0.0.1:80, or "
			    "next");
	if (n->cpu && !parse_number(n->cpu, 8191, &cpu))
		return fail(n, MISUSED, "--cpu takes a CPU's number, not \"%s\"", n->cpu);
	code = join_service(n, service_of(n), &s);
	if (code != DONE)
		return code;
	r = np_steer_explain(s,
			     NP_OPTS(np_steer_explain_opts, .flow = n->args[0],
				     .on_cpu = n->cpu != NULL, .cpu = (unsigned)cpu),
			     explain_tell, n);
	if (r < 0)
		code = fail_status(n, r, np_steer_error(s));
	np_steer_close(&s);
	return code;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* worker: the verbs that change what one worker gets: drain, undrain, kick, weight. */
#include <stdio.h>

#include "npsteer.h"

static void worker_show(struct npsteer *n, struct np_steer *s, unsigned w)
{
	struct np_steer_worker_info i = { .sz = sizeof i };

	np_steer_worker_info(s, w, &i);
	if (!n->json) {
		printf("worker %u: %s, weight %u, %llu connections\n", w, state_name(i.state),
		       i.weight, (unsigned long long)i.conns);
		return;
	}
	answer(n);
	json_string(&n->say, "service", service_of(n));
	json_uint(&n->say, "worker", w);
	json_string(&n->say, "name", i.name);
	json_string(&n->say, "state", state_name(i.state));
	json_uint(&n->say, "weight", i.weight);
	json_uint(&n->say, "conns", i.conns);
	end_answer(n);
}

/* Runs @change on the worker that is named. */
static int worker_change(struct npsteer *n, const char *verb,
			 int (*change)(struct np_steer *s, unsigned w, long value), long value)
{
	struct np_steer *s;
	unsigned w = 0;
	int code, r;

	if (!n->n_args)
		return fail(n, MISUSED, "which worker? npsteer %s SERVICE WORKER", verb);
	code = join_service(n, service_of(n), &s);
	if (code != DONE)
		return code;
	r = np_steer_find_worker(s, n->args[0], &w);
	if (r == 0)
		r = change(s, w, value);
	code = r < 0 ? fail_status(n, r, np_steer_error(s)) : DONE;
	if (code == DONE)
		worker_show(n, s, w);
	np_steer_close(&s);
	return code;
}

static int worker_drain(struct np_steer *s, unsigned w, long value)
{
	return np_steer_drain(s, w);
}

static int worker_undrain(struct np_steer *s, unsigned w, long value)
{
	return np_steer_undrain(s, w);
}

static int worker_kick(struct np_steer *s, unsigned w, long value)
{
	return np_steer_kick(s, w);
}

static int worker_weigh(struct np_steer *s, unsigned w, long value)
{
	return np_steer_set_weight(s, w, (unsigned)value);
}

int verb_drain(struct npsteer *n)
{
	return worker_change(n, "drain", worker_drain, 0);
}

int verb_undrain(struct npsteer *n)
{
	return worker_change(n, "undrain", worker_undrain, 0);
}

int verb_kick(struct npsteer *n)
{
	return worker_change(n, "kick", worker_kick, 0);
}

int verb_weight(struct npsteer *n)
{
	long weight;

	if (n->n_args < 2)
		return fail(n, MISUSED, "which weight? npsteer weight SERVICE WORKER WEIGHT");
	if (!parse_number(n->args[1], NP_STEER_WEIGHT_MAX, &weight))
		return fail(n, MISUSED, "a weight is a number from 1 to %d, not \"%s\"",
			    NP_STEER_WEIGHT_MAX, n->args[1]);
	return worker_change(n, "weight", worker_weigh, weight);
}

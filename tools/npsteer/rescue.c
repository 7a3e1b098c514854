/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rescue: what each server does for itself, done for all of them from outside
 *
 * For workers that no sibling may help: a whole process that is stopped, of another user than its
 * siblings. Once: for as long as it takes to see a worker hang.
 */
#include <stdio.h>
#include <string.h>

#include "npsteer.h"

struct rescue {
	struct npsteer *n;
	int failed; /* found hanging, and left as they were */
};

/* A level above a warning tells of a rescue that failed. */
static void rescue_tell(void *arg, int level, const char *msg)
{
	struct rescue *k = arg;
	struct npsteer *n = k->n;

	k->failed += level > 1;
	if (!n->json) {
		say(msg);
	} else {
		answer(n);
		json_string(&n->say, "service", service_of(n));
		json_string(&n->say, "event", msg);
		end_answer(n);
	}
	fflush(stdout); /* it may be an hour until the next */
}

static int rescue_join(struct rescue *k, struct np_steer **ret)
{
	struct npsteer *n = k->n;
	char why[NP_STEER_TEXT_MAX] = "";
	int r;

	r = np_steer_open(service_of(n),
			  NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN, .bpffs = n->bpffs,
				  .error = why, .error_cap = sizeof why, .log = rescue_tell,
				  .log_arg = k),
			  ret);
	return r < 0 ? fail_status(n, r, why) : DONE;
}

static void rescue_tell_sum(const struct rescue *k, int shut)
{
	struct npsteer *n = k->n;

	if (n->json) {
		answer(n);
		json_string(&n->say, "service", service_of(n));
		json_int(&n->say, "failed", k->failed);
		json_int(&n->say, "rescued", shut);
		end_answer(n);
		return;
	}
	if (!shut && !k->failed)
		puts("nobody hangs with connections queued");
}

int verb_rescue(struct npsteer *n)
{
	struct np_steer_info info = { .sz = sizeof info };
	struct rescue k = { .n = n };
	struct np_steer *s;
	int code, r;

	code = rescue_join(&k, &s);
	if (code != DONE)
		return code;
	np_steer_info(s, &info);
	if (!info.hang_ms) {
		np_steer_close(&s);
		return fail(n, MISUSED,
			    "in %s nobody is ever called hung: npsteer policy %s hang_ms=100",
			    info.service, info.service);
	}
	/* Idle workers are given twice hang_ms, and the first look only begins to count. */
	r = np_steer_rescue(s, n->watch ? -1 : 3 * info.hang_ms);
	if (r < 0)
		code = fail_status(n, r, np_steer_error(s));
	else
		rescue_tell_sum(&k, r);
	np_steer_close(&s);
	return code == DONE && k.failed ? FAILED : code;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* gc: the remains of dead processes are taken away. They do no harm if it is never run. */
#include <stdio.h>

#include "npsteer.h"

/* clang-format off */
#define KINDS(X)                                             \
	X(pins, "folders of a load or unload that was killed")  \
	X(groups, "addresses without a listener")            \
	X(roster, "listeners that are gone, on a roster")    \
	X(owners, "cookies of listeners that are gone")      \
	X(cpus, "CPUs of workers that are gone")             \
	X(workers, "lines that nobody has claimed")
/* clang-format on */

static void gc_show(struct npsteer *n, const struct np_steer_garbage *g)
{
	unsigned total = 0;

	if (n->json) {
		answer(n);
		json_string(&n->say, "service", service_of(n));
#define NP_ROW(field, text) json_uint(&n->say, #field, g->field);
		KINDS(NP_ROW)
#undef NP_ROW
		end_answer(n);
		return;
	}
#define NP_ROW(field, text)                        \
	if (g->field)                              \
		printf("%u %s\n", g->field, text); \
	total += g->field;
	KINDS(NP_ROW)
#undef NP_ROW
	if (!total)
		puts("nothing was left behind");
}

int verb_gc(struct npsteer *n)
{
	struct np_steer_garbage g = { .sz = sizeof g };
	struct np_steer *s;
	int code, r;

	code = join_service(n, service_of(n), &s);
	if (code != DONE)
		return code;
	r = np_steer_gc(s, &g);
	if (r < 0)
		code = fail_status(n, r, np_steer_error(s));
	else
		gc_show(n, &g);
	np_steer_close(&s);
	return code;
}

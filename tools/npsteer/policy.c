/* SPDX-License-Identifier: BSD-2-Clause */
/* policy: show it, or switch it under load. One word in a map: no connection is lost by it. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "npsteer.h"

/* What the words after SERVICE ask for. */
struct wish {
	const char *policy; /* NULL: as it is */
	long hang_ms;       /* -1: as it is */
};

static int no_policy(struct npsteer *n, const char *name)
{
	char names[256] = "";
	size_t len = 0;

	for (unsigned i = 0; np_steer_policies(i); i++)
		len += (size_t)snprintf(names + len, sizeof names - len, "%s%s", i ? ", " : "",
					np_steer_policies(i));
	return fail(n, MISUSED, "there is no policy \"%s\": choose one of %s", name, names);
}

static bool is_policy(const char *name)
{
	for (unsigned i = 0; np_steer_policies(i); i++)
		if (!strcmp(np_steer_policies(i), name))
			return true;
	return false;
}

static int parse(struct npsteer *n, struct wish *w)
{
	static const char hang[] = "hang_ms=";

	for (int i = 0; i < n->n_args; i++) {
		const char *arg = n->args[i];

		if (!strncmp(arg, hang, sizeof hang - 1)) {
			if (!parse_number(arg + sizeof hang - 1, INT_MAX, &w->hang_ms))
				return fail(n, MISUSED,
					    "hang_ms takes milliseconds, 0 for never, not \"%s\"",
					    arg + sizeof hang - 1);
		} else if (!is_policy(arg)) {
			return no_policy(n, arg);
		} else {
			w->policy = arg;
		}
	}
	return DONE;
}

static int set(struct npsteer *n, struct np_steer *s, const struct wish *w)
{
	int r = 0;

	if (w->policy)
		r = np_steer_set_policy(s, w->policy);
	if (r == 0 && w->hang_ms >= 0)
		r = np_steer_set_hang_ms(s, (int)w->hang_ms);
	return r < 0 ? fail_status(n, r, np_steer_error(s)) : DONE;
}

static void show(struct npsteer *n, struct np_steer *s)
{
	struct np_steer_info i = { .sz = sizeof i };

	np_steer_info(s, &i);
	if (!n->json) {
		printf("%s hang_ms=%d\n", i.policy, i.hang_ms);
		return;
	}
	answer(n);
	json_string(&n->say, "service", i.service);
	json_string(&n->say, "policy", i.policy);
	json_int(&n->say, "hang_ms", i.hang_ms);
	json_array(&n->say, "policies");
	for (unsigned p = 0; np_steer_policies(p); p++)
		json_string(&n->say, NULL, np_steer_policies(p));
	json_end_array(&n->say);
	end_answer(n);
}

int verb_policy(struct npsteer *n)
{
	struct wish w = { .hang_ms = -1 };
	struct np_steer *s;
	int code;

	code = parse(n, &w);
	if (code == DONE)
		code = join_service(n, service_of(n), &s);
	if (code != DONE)
		return code;
	code = set(n, s, &w);
	if (code == DONE)
		show(n, s);
	np_steer_close(&s);
	return code;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* policy: show it, or switch it under load. One word in a map: no connection is lost by it. */
#include <stdio.h>
#include <string.h>

#include "npsteer.h"

static int policy_unknown(struct npsteer *n, const char *name)
{
	char names[256] = "";
	size_t len = 0;

	for (unsigned i = 0; np_steer_policies(i); i++)
		len += (size_t)snprintf(names + len, sizeof names - len, "%s%s", i ? ", " : "",
					np_steer_policies(i));
	return fail(n, MISUSED, "there is no policy \"%s\": choose one of %s", name, names);
}

static bool policy_exists(const char *name)
{
	for (unsigned i = 0; np_steer_policies(i); i++)
		if (!strcmp(np_steer_policies(i), name))
			return true;
	return false;
}

/* The policy among the words after SERVICE, the last one if there are several; NULL: none. */
static int policy_parse(struct npsteer *n, const char **ret_policy)
{
	*ret_policy = NULL;
	for (int i = 0; i < n->n_args; i++) {
		if (strchr(n->args[i], '='))
			continue;
		if (!policy_exists(n->args[i]))
			return policy_unknown(n, n->args[i]);
		*ret_policy = n->args[i];
	}
	return DONE;
}

/* @word is "name=value". */
static int policy_set_param(struct np_steer *s, const char *word)
{
	const char *value = strchr(word, '=') + 1;
	char name[64];

	snprintf(name, sizeof name, "%.*s", (int)(value - word - 1), word);
	return np_steer_set_param(s, name, value);
}

/* The parameters first: a policy that starts with the wrong ones would be seen at work. */
static int policy_set(struct npsteer *n, struct np_steer *s, const char *policy)
{
	int r = 0;

	for (int i = 0; i < n->n_args && r == 0; i++)
		if (strchr(n->args[i], '='))
			r = policy_set_param(s, n->args[i]);
	if (policy && r == 0)
		r = np_steer_set_policy(s, policy);
	return r < 0 ? fail_status(n, r, np_steer_error(s)) : DONE;
}

static void policy_show_text(struct np_steer *s, const struct np_steer_info *i)
{
	char value[64];

	printf("%s", i->policy);
	for (unsigned p = 0; np_steer_params(p); p++)
		if (np_steer_param(s, np_steer_params(p), value, sizeof value) == 0)
			printf(" %s=%s", np_steer_params(p), value);
	putchar('\n');
}

static void policy_show(struct npsteer *n, struct np_steer *s)
{
	struct np_steer_info i = { .sz = sizeof i };
	char value[64];

	np_steer_info(s, &i);
	if (!n->json) {
		policy_show_text(s, &i);
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
	json_object(&n->say, "parameters");
	for (unsigned p = 0; np_steer_params(p); p++)
		if (np_steer_param(s, np_steer_params(p), value, sizeof value) == 0)
			json_string(&n->say, np_steer_params(p), value);
	json_end_object(&n->say);
	end_answer(n);
}

int verb_policy(struct npsteer *n)
{
	const char *policy;
	struct np_steer *s;
	int code;

	code = policy_parse(n, &policy);
	if (code == DONE)
		code = join_service(n, service_of(n), &s);
	if (code != DONE)
		return code;
	code = policy_set(n, s, policy);
	if (code == DONE)
		policy_show(n, s);
	np_steer_close(&s);
	return code;
}

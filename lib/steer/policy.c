/* SPDX-License-Identifier: BSD-2-Clause */
/* policy: the names of bpf/steer_abi.h, in its order; a switch is one store, and loses nothing. */
#include <errno.h>
#include <string.h>

#include "steer/steer.h"

static const char *const policies[] = {
#define NP_ROW(name, value, text) [value] = text,
	NP_STEER_POLICIES(NP_ROW)
#undef NP_ROW
};
#define POLICIES (sizeof policies / sizeof policies[0])

int policy_find(const char *name)
{
	for (size_t i = 0; i < POLICIES; i++)
		if (!strcmp(policies[i], name))
			return (int)i;
	return -1;
}

const char *policy_name(uint32_t policy)
{
	return policy < POLICIES ? policies[policy] : "unknown";
}

const char *np_steer_policies(unsigned i)
{
	return i < POLICIES ? policies[i] : NULL;
}

int np_steer_set_policy(struct np_steer *s, const char *policy)
{
	int p, r;

	r = control_may_configure(s);
	if (r < 0)
		return r;
	p = policy ? policy_find(policy) : -1;
	if (p < 0)
		return steer_fail(s, -EINVAL,
				  "there is no policy \"%.40s\"; there are:" POLICY_NAMES,
				  policy ? policy : "");
	control_set_word(s, (uint32_t *)&s->maps.config->policy, (uint32_t)p);
	return 0;
}

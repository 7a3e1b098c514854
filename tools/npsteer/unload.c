/* SPDX-License-Identifier: BSD-2-Clause */
/* unload: remove a service's pins. The program lives on as long as a listener has it attached. */
#include <stdio.h>

#include "npsteer.h"

int verb_unload(struct npsteer *n)
{
	char why[NP_STEER_TEXT_MAX] = "";
	int r;

	r = np_steer_unload(service_of(n),
			    NP_OPTS(np_steer_load_opts, .bpffs = n->bpffs, .force = n->force,
				    .error = why, .error_cap = sizeof why));
	if (r < 0)
		return fail_status(n, r, why);
	if (!n->json) {
		printf("%s unloaded\n", service_of(n));
		return DONE;
	}
	answer(n);
	json_string(&n->say, "service", service_of(n));
	json_bool(&n->say, "unloaded", true);
	end_answer(n);
	return DONE;
}

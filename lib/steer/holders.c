/* SPDX-License-Identifier: BSD-2-Clause */
/* holders: the iterator of bpf/holders.h, read to its end. */
#include "steer/holders.h"

#include <stddef.h>

#include "count.skel.h"
#include "steer/iterate.h"
#include "steer/tracer.h"
#include "sys/process.h"

static int holders_iterate(struct tracer *t, struct np_holding **ret)
{
	char *bytes = NULL;
	size_t n = 0;
	int r;

	t->vars->np_holders_up = sys_process_depth() - 1;
	r = iterate(t->fd[TRACER_HOLDERS], NULL, &bytes, &n);
	if (r < 0)
		return r;
	*ret = (struct np_holding *)bytes;
	return (int)(n / sizeof **ret);
}

int holders_read(struct tracer *t, struct np_holding **ret)
{
	struct tracer own;
	int r;

	tracer_init(&own, NULL);
	if (!t)
		t = &own;
	r = tracer_load(t);
	if (r == 0)
		r = holders_iterate(t, ret);
	tracer_fini(&own);
	return r;
}

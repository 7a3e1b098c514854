/* SPDX-License-Identifier: BSD-2-Clause */
/* holders: the iterator of bpf/holders.h, read to its end. */
#include "steer/holders.h"

#include <stddef.h>

#include "count.skel.h"
#include "steer/iterate.h"
#include "steer/tracer.h"
#include "steer/words.h"
#include "sys/process.h"

static int holders_iterate(struct count_bpf *o, struct np_holding **ret)
{
	struct words words;
	char *bytes = NULL;
	size_t n = 0;
	int r;

	o->bss->np_holders_up = sys_process_depth() - 1;
	words_take(&words, NULL, 0);
	r = iterate(o->progs.np_holders, &bytes, &n);
	words_give_back(&words);
	if (r < 0)
		return r;
	*ret = (struct np_holding *)bytes;
	return (int)(n / sizeof **ret);
}

int holders_read(struct tracer *t, struct np_holding **ret)
{
	struct tracer own = { .s = NULL };
	struct count_bpf *o;
	int r = tracer_load(t ? t : &own, &o);

	if (r == 0)
		r = holders_iterate(o, ret);
	tracer_free(&own);
	return r;
}

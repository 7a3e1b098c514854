/* SPDX-License-Identifier: BSD-2-Clause */
/* expire: overflow is refused as Redis does. */
#include "expire.h"

bool expire_option(struct exec *x, int i, struct expire_option *o)
{
	bool ex = exec_is(x, i, "ex"), px = exec_is(x, i, "px");
	bool exat = exec_is(x, i, "exat"), pxat = exec_is(x, i, "pxat");

	if ((!ex && !px && !exat && !pxat) || o->at || i + 1 >= x->argc)
		return false;
	o->at = i + 1;
	o->unit_ms = ex || exat ? 1000 : 1;
	o->absolute = exat || pxat;
	return true;
}

bool expire_option_when(struct exec *x, struct expire_option *o)
{
	int64_t v, base = o->absolute ? 0 : keyspace_now(&x->shard->keys);

	if (!exec_int(x, o->at, &v))
		return false;
	if (v <= 0 || v > INT64_MAX / o->unit_ms || v * o->unit_ms > INT64_MAX - base) {
		writer_error(x->w, "ERR invalid expire time in '%s' command", x->command->name);
		return false;
	}
	o->when_ms = v * o->unit_ms + base;
	return true;
}

void expire_entry(struct exec *x, struct entry *e, int64_t when_ms)
{
	if (when_ms <= keyspace_now(&x->shard->keys))
		keyspace_remove(&x->shard->keys, e);
	else
		keyspace_expire(&x->shard->keys, e, when_ms);
}

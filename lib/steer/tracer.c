/* SPDX-License-Identifier: BSD-2-Clause */
/* tracer: of a service its maps are reused; where there is none, what needs them is left away. */
#include "steer/tracer.h"

#include <errno.h>

#include <bpf/libbpf.h>

#include "count_abi.h"

#include "count.skel.h"
#include "steer/steer.h"
#include "steer/words.h"
#include "sys/fault.h"

static int tracer_reuse_maps(const struct np_steer *s, struct count_bpf *o)
{
	int r = bpf_map__reuse_fd(o->maps.np_workers, s->maps.fd[MAP_np_workers]);

	if (r == 0)
		r = bpf_map__reuse_fd(o->maps.np_tags, s->maps.fd[MAP_np_tags]);
	if (r == 0)
		r = bpf_map__reuse_fd(o->maps.np_service, s->maps.fd[MAP_np_service]);
	return r;
}

static int tracer_leave_maps_away(struct count_bpf *o)
{
	int r = bpf_map__set_autocreate(o->maps.np_workers, false);

	if (r == 0)
		r = bpf_map__set_autocreate(o->maps.np_tags, false);
	if (r == 0)
		r = bpf_map__set_autocreate(o->maps.np_service, false);
	return r;
}

static int tracer_prepare(const struct np_steer *s, struct count_bpf *o)
{
	bpf_program__set_autoload(o->progs.np_holders, true);
	if (!s)
		return tracer_leave_maps_away(o);
	bpf_program__set_autoload(o->progs.np_count_state, true);
	bpf_program__set_autoload(o->progs.np_count_again, true);
	bpf_program__set_autoload(o->progs.np_count_seed, true);
	bpf_program__set_autoload(o->progs.np_count_sweep, true);
	return tracer_reuse_maps(s, o);
}

static int tracer_open(struct tracer *t)
{
	struct count_bpf *o;
	int r;

	SYS_FAULT(bpf);
	o = count_bpf__open();
	r = o ? tracer_prepare(t->s, o) : -errno;
	if (r == 0)
		r = count_bpf__load(o);
	if (r < 0) {
		count_bpf__destroy(o);
		return r;
	}
	t->o = o;
	return 0;
}

int tracer_load(struct tracer *t, struct count_bpf **ret)
{
	struct words words;
	int r = t->err;

	if (r == 0 && !t->o) {
		words_take(&words, t->why, sizeof t->why);
		r = tracer_open(t);
		words_give_back(&words);
	}
	t->err = r == -EPERM ? r : 0;
	*ret = t->o;
	return r;
}

void tracer_free(struct tracer *t)
{
	count_bpf__destroy(t->o);
	t->o = NULL;
}

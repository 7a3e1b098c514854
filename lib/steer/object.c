/* SPDX-License-Identifier: BSD-2-Clause */
/* object: the only file that sees the skeletons, and of them no more than the bytes: there are
 * three of a kind. */
#include "steer/object.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/libbpf.h>

#include "steer.skel.h"
#include "steer/map.h"
#include "steer/words.h"
#include "steer_l2.skel.h"
#include "steer_l4.skel.h"
#include "sys/fault.h"
#include "sys/fs.h"
#include "sys/io.h"

struct object {
	struct bpf_object *obj;
	struct words words;
};

static struct bpf_object *object_parse(int level)
{
	size_t n;
	const void *elf = level >= 4 ? steer_l4_bpf__elf_bytes(&n) :
			  level == 3 ? steer_bpf__elf_bytes(&n) :
				       steer_l2_bpf__elf_bytes(&n);

	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "steer");

	return bpf_object__open_mem(elf, n, &opts);
}

int object_open(struct object **ret, int level, char *why, size_t cap)
{
	struct object *o = calloc(1, sizeof *o);
	int r;

	if (!o)
		return -ENOMEM;
	words_take(&o->words, why, cap);
	o->obj = object_parse(level);
	if (!o->obj) {
		r = -errno;
		object_close(&o);
		return r;
	}
	*ret = o;
	return 0;
}

void object_close(struct object **p)
{
	struct object *o = *p;

	*p = NULL;
	bpf_object__close(o->obj);
	words_give_back(&o->words);
	free(o);
}

static struct bpf_map *object_map(const struct object *o, const char *name)
{
	return bpf_object__find_map_by_name(o->obj, name);
}

int object_load_maps(struct object *o)
{
	SYS_FAULT(bpf);
	return bpf_object__load(o->obj); /* no program is loaded unless it is asked for */
}

int object_map_fd(const struct object *o, const char *name)
{
	return bpf_map__fd(object_map(o, name));
}

void object_map_shape(const struct object *o, const char *name, struct bpf_map_info *ret)
{
	struct bpf_map *m = object_map(o, name);

	memset(ret, 0, sizeof *ret);
	ret->type = bpf_map__type(m);
	ret->key_size = bpf_map__key_size(m);
	ret->value_size = bpf_map__value_size(m);
	ret->max_entries = bpf_map__max_entries(m);
	ret->map_flags = bpf_map__map_flags(m);
}

static struct bpf_program *object_program(const struct object *o, unsigned g)
{
	char name[32];

	snprintf(name, sizeof name, NP_STEER_PROG "%u", g);
	return bpf_object__find_program_by_name(o->obj, name);
}

int object_load_programs(struct object *o, const struct maps *m, unsigned first, unsigned n,
			 int *ret_fds)
{
	unsigned done = 0;
	int r;

	SYS_FAULT(bpf);
	for (int i = 0; i < MAP_MAX; i++) {
		r = bpf_map__reuse_fd(object_map(o, map_name(i)), m->fd[i]);
		if (r < 0)
			return r;
	}
	for (unsigned i = 0; i < n; i++)
		bpf_program__set_autoload(object_program(o, first + i), true);
	r = bpf_object__load(o->obj);
	for (; done < n && r == 0; done += r == 0)
		r = sys_dup(bpf_program__fd(object_program(o, first + done)), &ret_fds[done]);
	while (r < 0 && done > 0)
		sys_close(&ret_fds[--done]);
	return r;
}

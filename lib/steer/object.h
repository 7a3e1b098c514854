/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object: the embedded BPF object, opened by libbpf
 *
 * It is opened and closed on one thread, and libbpf's words are taken for as long (words.h).
 */
#ifndef STEER_OBJECT_H
#define STEER_OBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bpf_map_info;
struct maps;
struct object;

/*
 * object_open() - the object for @level, 2 to 4
 *
 * The maps are the same in all of them. @why (may be NULL): gets libbpf's first warning, in one
 * line, while the object is open.
 */
int object_open(struct object **ret, int level, char *why, size_t cap);
void object_close(struct object **o);

int object_load_maps(struct object *o);
int object_map_fd(const struct object *o, const char *name);
/* type, key_size, value_size, max_entries, map_flags. */
void object_map_shape(const struct object *o, const char *name, struct bpf_map_info *ret);

/*
 * object_load_programs() - the programs of the groups from @first on, @n of them, over the maps of
 * @m, in one go: libbpf reads the kernel's BTF once
 *
 * Return: 0, or -errno as the kernel said.
 */
int object_load_programs(struct object *o, const struct maps *m, unsigned first, unsigned n,
			 int *ret_fds);

#endif

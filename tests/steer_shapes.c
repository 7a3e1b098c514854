/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_shapes: a pin that is a map of another shape is refused before anything of it is read
 *
 * What a lookup writes is as long as the map says, and of a per-CPU map as long for each CPU: a
 * value of 16 KiB into a word on the stack is a return address of the map's own choosing. Every map
 * of a service is replaced by each of many shapes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "steer/steer.h"
#include "support/steer.h"
#include "support/test.h"

struct shape {
	enum bpf_map_type type;
	uint32_t key, value, entries, flags;
};

static const struct shape shapes[] = {
	{ BPF_MAP_TYPE_ARRAY, 4, 4, 1, 0 },
	{ BPF_MAP_TYPE_ARRAY, 4, 16384, NP_WORKERS, 0 },
	{ BPF_MAP_TYPE_ARRAY, 4, 16384, 1, BPF_F_MMAPABLE },
	{ BPF_MAP_TYPE_ARRAY, 4, 1 << 20, 1, 0 },
	{ BPF_MAP_TYPE_PERCPU_ARRAY, 4, 128, 1, 0 },
	{ BPF_MAP_TYPE_PERCPU_ARRAY, 4, 16384, 2, 0 },
	{ BPF_MAP_TYPE_HASH, 4, 8, NP_WORKERS, 0 },
	{ BPF_MAP_TYPE_HASH, 64, 4096, 16, 0 },
	{ BPF_MAP_TYPE_PERCPU_HASH, 4, 1024, 16, 0 },
	{ BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, 4, 4, NP_WORKERS, 0 },
	{ BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, 4, 8, 7, 0 },
	{ BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0 },
	{ BPF_MAP_TYPE_QUEUE, 0, 64, 16, 0 },
};
#define SHAPES (sizeof shapes / sizeof shapes[0])

static char why[NP_STEER_TEXT_MAX];
#define WHY .error = why, .error_cap = sizeof why

static const char *pin(const char *name)
{
	static char path[256];

	snprintf(path, sizeof path, "%s/netpoll/web/%s", own_bpffs(), name);
	return path;
}

/* Each entry says something: a lookup that is made all the same writes it where it should not. */
static int make(const struct shape *s)
{
	LIBBPF_OPTS(bpf_map_create_opts, o, .map_flags = s->flags);
	size_t n = (size_t)(s->value + 8) * (size_t)libbpf_num_possible_cpus();
	uint32_t key[16] = { 0 };
	char *value;
	int fd;

	fd = bpf_map_create(s->type, NULL, s->key, s->value, s->entries, &o);
	ck_assert_msg(fd >= 0, "map type %d: %s", (int)s->type, strerror(errno));
	value = malloc(n);
	memset(value, 0x41, n);
	/* The first word is the ABI number, so that the check gets past it. */
	for (size_t i = 0; i + 4 <= n; i += s->value ? s->value : n)
		memcpy(value + i, &(uint32_t){ NP_STEER_ABI }, 4);
	if (s->type != BPF_MAP_TYPE_RINGBUF && s->type != BPF_MAP_TYPE_REUSEPORT_SOCKARRAY)
		bpf_map_update_elem(fd, s->key ? key : NULL, value, 0);
	free(value);
	return fd;
}

static struct shape shape_of(int fd)
{
	struct bpf_map_info i;
	unsigned len = sizeof i;

	memset(&i, 0, sizeof i);
	ck_assert_int_eq(bpf_obj_get_info_by_fd(fd, &i, &len), 0);
	return (struct shape){ i.type, i.key_size, i.value_size, i.max_entries, i.map_flags };
}

static void put(const char *name, int fd)
{
	unlink(pin(name));
	ck_assert_int_eq(bpf_obj_pin(fd, pin(name)), 0);
}

static void must_be_refused(const char *name, const struct shape *s)
{
	struct np_steer *st = NULL;
	int fd = make(s), r;

	put(name, fd);
	close(fd);
	r = np_steer_open("web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN, WHY), &st);
	ck_assert_msg(r == -EPROTO, "%s as type %d, %u/%u/%u: %d %s", name, (int)s->type, s->key,
		      s->value, s->entries, r, why);
	ck_assert_int_eq(np_steer_load("web", NP_OPTS(np_steer_load_opts, WHY)), -EEXIST);
	ck_assert_ptr_nonnull(strstr(why, "--force"));
}

/* One property off by one: what only a sloppy comparison lets through. */
static void must_refuse_neighbours(const char *name, const struct shape *right)
{
	struct shape s[4] = { *right, *right, *right, *right };

	if (right->type == BPF_MAP_TYPE_SK_STORAGE)
		return; /* none can be made without types, nor with entries */
	if (right->type == BPF_MAP_TYPE_RINGBUF) {
		s[0].entries *= 2;
		must_be_refused(name, &s[0]);
		return;
	}
	s[0].entries++;
	must_be_refused(name, &s[0]);
	if (right->type == BPF_MAP_TYPE_REUSEPORT_SOCKARRAY)
		return;
	s[1].value += 8;
	must_be_refused(name, &s[1]);
	s[2].type = BPF_MAP_TYPE_HASH;
	s[2].flags = 0;
	s[2].value += right->type == BPF_MAP_TYPE_HASH ? 4 : 0;
	must_be_refused(name, &s[2]);
	s[3].flags ^= right->type == BPF_MAP_TYPE_ARRAY ? BPF_F_MMAPABLE : BPF_F_RDONLY_PROG;
	must_be_refused(name, &s[3]);
}

static void must_refuse_every_shape(const char *name)
{
	struct shape right;
	struct np_steer *s;
	int fd = bpf_obj_get(pin(name));

	ck_assert_int_ge(fd, 0);
	right = shape_of(fd);
	for (size_t i = 0; i < SHAPES; i++)
		if (memcmp(&shapes[i], &right, sizeof right))
			must_be_refused(name, &shapes[i]);
	must_refuse_neighbours(name, &right);
	put(name, fd);
	close(fd);
	ck_assert_int_eq(np_steer_open("web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN), &s),
			 0);
	ck_assert_int_eq(np_steer_close(&s), 0);
}

#define PARTS 4 /* of the maps, each in a process of its own */

START_TEST(no_map_of_another_shape_is_read)
{
	OWN_STEERING();
	ck_assert_int_eq(np_steer_load("web", NULL), 0);
	for (int m = _i; m < MAP_MAX; m += PARTS)
		must_refuse_every_shape(map_name((enum map)m));
}
END_TEST

/* The two maps that are read though they may be of another ABI. */
START_TEST(what_counts_claims_takes_any_map)
{
	const struct shape *s = &shapes[_i];
	int fd;

	OWN_STEERING();
	ck_assert_int_eq(np_steer_load("web", NULL), 0);
	fd = make(s);
	put("np_claims", fd);
	put("np_config", fd);
	ck_assert_msg(np_steer_load("web", NP_OPTS(np_steer_load_opts, .force = true, WHY)) == 0,
		      "%s", why);
	put("np_claims", fd);
	put("np_config", fd);
	close(fd);
	ck_assert_msg(np_steer_unload("web", NP_OPTS(np_steer_load_opts, WHY)) == 0, "%s", why);
}
END_TEST

/* A program where a map should be; and no program. */
START_TEST(a_pin_of_another_kind_is_refused)
{
	struct np_steer *s = NULL;
	int prog;

	OWN_STEERING();
	ck_assert_int_eq(np_steer_load("web", NULL), 0);
	prog = bpf_obj_get(pin("np_steer_0"));
	put("np_config", prog);
	ck_assert_int_eq(np_steer_open("web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN), &s),
			 -EPROTO);
	put("np_claims", prog);
	ck_assert_int_eq(np_steer_open("web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN), &s),
			 -EPROTO);
	ck_assert_msg(np_steer_load("web", NP_OPTS(np_steer_load_opts, .force = true, WHY)) == 0,
		      "%s", why);
	ck_assert_int_eq(unlink(pin("np_steer_7")), 0);
	ck_assert_int_eq(np_steer_load("web", NULL), -EEXIST);
	ck_assert_int_eq(np_steer_unload("web", NULL), 0);
	close(prog);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "shapes");

	tcase_add_loop_test(t, no_map_of_another_shape_is_read, 0, PARTS);
	tcase_add_loop_test(t, what_counts_claims_takes_any_map, 0, (int)SHAPES);
	tcase_add_test(t, a_pin_of_another_kind_is_refused);
}

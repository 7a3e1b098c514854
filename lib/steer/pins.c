/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pins: services that lie in a bpffs, as <bpffs>/netpoll/<service>/: found, joined, listed
 *
 * A reader would get wrong: to attach a program, reading its pin is enough; a map that is to be
 * mmapped must be opened for writing too.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "steer/steer.h"
#include "sys/fs.h"
#include "sys/io.h"
#include "sys/lock.h"
#include "sys/opts.h"

#define BPF_FS_MAGIC 0xcafe4a11u

static const char *const default_roots[] = { "/sys/fs/bpf", "/run/netpoll/bpf", NULL };

const char *pins_root(const char *bpffs, unsigned i)
{
	const char *one = bpffs ? bpffs : getenv("NP_BPFFS");

	if (one && *one)
		return i == 0 ? one : NULL;
	return default_roots[i];
}

bool pins_is_bpffs(const char *path)
{
	long magic;

	return sys_fs_magic(path, &magic) == 0 && (unsigned)magic == BPF_FS_MAGIC;
}

int pins_path(char *dst, size_t cap, const char *a, const char *b)
{
	return snprintf(dst, cap, "%s/%s", a, b) < (int)cap ? 0 : -ENAMETOOLONG;
}

/*
 * Finds the folder of a service. A path that may not be searched is remembered: the service may
 * well be there.
 */
static int find_dir(const char *service, const char *bpffs, char *dst, size_t cap)
{
	int r, barred = -ENOENT;

	for (unsigned i = 0; pins_root(bpffs, i); i++) {
		if (snprintf(dst, cap, "%s/" NP_STEER_DIR "/%s", pins_root(bpffs, i), service) >=
		    (int)cap)
			return -ENAMETOOLONG;
		r = sys_exists(dst);
		if (r == 0)
			return 0;
		if (r == -EACCES && barred == -ENOENT)
			barred = r;
	}
	return barred;
}

static int say_barred(struct np_steer *s, int r, const char *what)
{
	return steer_fail(
		s, r,
		"uid %d may not use the service %s (%s: %s): run `npsteer load %s --group` with one of its groups",
		(int)geteuid(), s->name, what, strerror(-r), s->name);
}

static int say_foreign(struct np_steer *s, unsigned abi, const char *what)
{
	if (abi)
		return steer_fail(
			s, -EPROTO,
			"the service %s is of ABI %u and this program of ABI %u: use versions that match, or stop its servers and `npsteer load %s --force`",
			s->name, abi, NP_STEER_ABI, s->name);
	return steer_fail(
		s, -EPROTO,
		"%s is missing or not of this ABI (%u): stop the servers of %s and `npsteer load %s --force`",
		what, NP_STEER_ABI, s->name, s->name);
}

/* @s->dir is the folder of the service. */
static int open_service(struct np_steer *s)
{
	struct np_config c;
	char what[300] = "";
	unsigned abi = 0;
	int fd, r;

	snprintf(what, sizeof what, "%s", s->dir);
	r = sys_open_dir(s->dir, &s->lock_fd);
	if (r == 0)
		r = maps_open(&s->maps, s->dir, &abi, what, sizeof what);
	if (r == 0)
		r = maps_config(&s->maps, &c);
	if (r == 0) {
		s->level = c.level >= NP_STEER_L4 ? NP_STEER_L4 : c.level == NP_STEER_L3 ? NP_STEER_L3 : NP_STEER_L2;
		r = level_program(s, 0, &fd); /* may we attach at all? */
		snprintf(what, sizeof what, "%s/" NP_STEER_PROG "0", s->dir);
	}
	if (r == -EACCES || r == -EPERM)
		return say_barred(s, r, what);
	if (r == -EPROTO || r == -ENOENT)
		return say_foreign(s, abi, what);
	if (r < 0)
		return steer_fail(s, r, "the service %s cannot be opened (%s): %s", s->name, what,
				  strerror(-r));
	return 0;
}

static void back_out(struct np_steer *s)
{
	maps_close(&s->maps);
	sys_close(&s->progs[0]);
	sys_close(&s->lock_fd);
	s->dir[0] = '\0';
	s->level = NP_STEER_L0;
}

int pins_join(struct np_steer *s, const char *bpffs)
{
	int r;

	r = find_dir(s->name, bpffs, s->dir, sizeof s->dir);
	if (r == -EACCES)
		r = say_barred(s, r, s->dir);
	else if (r < 0)
		r = steer_fail(s, r, "there is no service %s in %s: `npsteer load %s`", s->name,
			       pins_root(bpffs, 0), s->name);
	if (r == 0)
		r = open_service(s);
	if (r < 0) {
		back_out(s);
		return r;
	}
	snprintf(s->reason, sizeof s->reason, "joined the service at %s", s->dir);
	return 0;
}

int pins_program(struct np_steer *s, unsigned g, int *ret_fd)
{
	LIBBPF_OPTS(bpf_obj_get_opts, rdonly, .file_flags = BPF_F_RDONLY); /* enough to attach */
	char path[sizeof s->dir + 32];
	int fd;

	snprintf(path, sizeof path, "%s/" NP_STEER_PROG "%u", s->dir, g);
	fd = bpf_obj_get_opts(path, &rdonly);
	if (fd < 0)
		return fd;
	*ret_fd = fd;
	return 0;
}

int pins_lock(int folder_fd, uint64_t until_ns, struct sys_holder *ret_holder)
{
	int r = sys_lock(folder_fd, until_ns, ret_holder);

	return r == -EAGAIN ? -EBUSY : r;
}

struct listing {
	int (*fn)(void *arg, const char *name, const char *path);
	void *arg;
	const char *home;
};

static int list_one(void *arg, const char *name)
{
	struct listing *l = arg;
	char path[512];

	if (!steer_name_ok(name) || pins_path(path, sizeof path, l->home, name) < 0)
		return 0; /* an unfinished load, or nothing of ours */
	return l->fn(l->arg, name, path);
}

int np_steer_list(const struct np_steer_opts *opts,
		  int (*fn)(void *arg, const char *name, const char *path), void *arg)
{
	struct np_steer_opts o;
	bool found = false;
	char home[300];
	int r;

	r = sys_opts_take(&o, sizeof o, opts);
	for (unsigned i = 0; r == 0 && pins_root(o.bpffs, i); i++) {
		struct listing l = { fn, arg, home };

		if (!pins_is_bpffs(pins_root(o.bpffs, i)))
			continue;
		found = true;
		r = pins_path(home, sizeof home, pins_root(o.bpffs, i), NP_STEER_DIR);
		if (r == 0)
			r = sys_dir_each(home, list_one, &l);
		if (r == -ENOENT)
			r = 0; /* no service was ever loaded there */
	}
	return r == 0 && !found ? -ENODEV : r;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * load: pinned services come and go
 *
 * A service appears whole or not at all: it is pinned under another name and renamed. While services
 * come and go, <bpffs>/netpoll is locked; the kernel drops such a lock however its holder ends.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "steer/steer.h"
#include "sys/clock.h"
#include "sys/fs.h"
#include "sys/io.h"
#include "sys/lock.h"
#include "sys/opts.h"

/* What is being loaded; no service can have that name. */
#define UNFINISHED "+new"

/* Where the service lies already, else the first bpffs there is. */
static int find_root(struct np_steer *s, const char *bpffs, const char **ret)
{
	char path[400];

	for (unsigned i = 0; pins_root(bpffs, i); i++) {
		const char *root = pins_root(bpffs, i);

		snprintf(path, sizeof path, "%s/" NP_STEER_DIR "/%s", root, s->name);
		if (pins_is_bpffs(root) && sys_exists(path) == 0) {
			*ret = root;
			return 0;
		}
	}
	for (unsigned i = 0; pins_root(bpffs, i); i++)
		if (pins_is_bpffs(pins_root(bpffs, i))) {
			*ret = pins_root(bpffs, i);
			return 0;
		}
	return steer_fail(s, -ENODEV, "no BPF file system at %s: `mount -t bpf bpf %s`",
			  pins_root(bpffs, 0), pins_root(bpffs, 0));
}

/* <root>/netpoll, open and locked. It is for everybody to pass through: each service has its mode. */
static int lock_home(struct np_steer *s, const char *root, bool make, char *dir, size_t cap,
		     int *ret_fd)
{
	struct sys_holder h = { 0 };
	char holder[80];
	int fd, r;

	r = pins_path(dir, cap, root, NP_STEER_DIR);
	if (r == 0 && make) {
		r = sys_mkdir(dir, 0755);
		r = r == -EEXIST ? 0 : r ? r : sys_set_access(dir, 0755, (gid_t)-1);
	}
	if (r == 0)
		r = sys_open_dir(dir, &fd);
	if (r < 0)
		return steer_fail(s, r, "%s cannot be used: %s", dir, strerror(-r));
	r = pins_lock(fd, sys_clock_ns() + STEER_LOCK_MS * 1000000ull, &h);
	if (r < 0) {
		sys_close(&fd);
		sys_holder_format(&h, holder, sizeof holder);
		return r == -EBUSY ? steer_fail(s, r, "%s is locked by %s: let it go on, or end it", dir, holder) :
				     steer_fail(s, r, "%s cannot be locked: %s", dir, strerror(-r));
	}
	*ret_fd = fd;
	return 0;
}

static int unlink_in(void *arg, const char *name)
{
	char path[512];
	int r;

	r = pins_path(path, sizeof path, arg, name);
	return r == 0 ? sys_unlink(path) : r;
}

static int remove_dir(const char *dir)
{
	int r = sys_dir_each(dir, unlink_in, (void *)dir);

	return r == 0 ? sys_rmdir(dir) : r;
}

/* Claims of a service, read from np_claims alone: its other maps may be of another ABI. */
static int count_claims(const char *dir, unsigned *ret)
{
	LIBBPF_OPTS(bpf_obj_get_opts, rdonly, .file_flags = BPF_F_RDONLY);
	struct bpf_map_info info;
	unsigned len = sizeof info;
	char path[512];
	uint64_t cookie;
	int fd, r;

	*ret = 0;
	r = pins_path(path, sizeof path, dir, map_name(MAP_np_claims));
	if (r < 0)
		return r;
	fd = bpf_obj_get_opts(path, &rdonly);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	memset(&info, 0, sizeof info);
	r = bpf_obj_get_info_by_fd(fd, &info, &len);
	for (uint32_t w = 0; r == 0 && w < info.max_entries; w++)
		*ret += bpf_map_lookup_elem(fd, &w, &cookie) == 0;
	sys_close(&fd);
	return r;
}

static int pin_program(const char *dir, unsigned g, int fd)
{
	char path[512];

	snprintf(path, sizeof path, "%s/" NP_STEER_PROG "%u", dir, g);
	return bpf_obj_pin(fd, path);
}

static int set_modes(const char *dir, const struct np_steer_opts *o)
{
	gid_t gid = o->gid1 ? (gid_t)(o->gid1 - 1) : (gid_t)-1;
	char path[512];
	int r = 0;

	for (int i = 0; i < MAP_MAX && r == 0; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, map_name(i));
		r = sys_set_access(path, map_mode(i), gid);
	}
	for (unsigned g = 0; g < NP_GROUPS && r == 0; g++) {
		snprintf(path, sizeof path, "%s/" NP_STEER_PROG "%u", dir, g);
		r = sys_set_access(path, 0640, gid);
	}
	return r == 0 ? sys_set_access(dir, 0750, gid) : r;
}

static int load_all(struct np_steer *s, const struct np_steer_opts *o, char *why, size_t cap)
{
	int r;

	r = level_make(&s->maps, o, &s->level, &s->progs[0], why, cap);
	for (unsigned g = 1; g < NP_GROUPS && r == 0; g++)
		r = level_load_program(&s->maps, g, s->level, &s->progs[g], why, cap);
	return r;
}

/* Loads and pins a whole service in the new folder @dir. */
static int fill(struct np_steer *s, const char *dir, const struct np_steer_opts *o)
{
	char why[256] = "";
	int r;

	r = load_all(s, o, why, sizeof why);
	if (r < 0) {
		level_explain(s->error, sizeof s->error, r, s->name, why);
		return r == -EPERM ? r : -NP_EUNSUPPORTED;
	}
	r = maps_pin(&s->maps, dir);
	for (unsigned g = 0; g < NP_GROUPS && r == 0; g++)
		r = pin_program(dir, g, s->progs[g]);
	if (r < 0)
		return steer_fail(s, r, "%s cannot be pinned: %s", dir, strerror(-r));
	r = set_modes(dir, o);
	if (r < 0)
		return steer_fail(s, r, "%s cannot be given to its group: %s", dir, strerror(-r));
	return 0;
}

static int refuse_while_claimed(struct np_steer *s, const char *dir, const char *verb)
{
	unsigned claims;
	int r;

	r = count_claims(dir, &claims);
	if (r < 0)
		return steer_fail(s, r, "the claims of %s cannot be read: %s", dir, strerror(-r));
	if (claims)
		return steer_fail(
			s, -EBUSY,
			"%u workers hold the service %s: stop its servers, then `npsteer %s %s` again",
			claims, s->name, verb, s->name);
	return 0;
}

/*
 * What is there already. Return: 0: nothing (any more); NP_STEER_ALREADY; -EEXIST, -EBUSY.
 */
static int make_room(struct np_steer *s, const char *dir, const struct np_steer_opts *o)
{
	struct maps m;
	char what[300] = "";
	unsigned abi = 0;
	int r;

	if (sys_exists(dir) == -ENOENT)
		return 0;
	maps_init(&m);
	r = maps_open(&m, dir, &abi, what, sizeof what);
	maps_close(&m);
	if (!o->force && r == 0)
		return NP_STEER_ALREADY;
	if (r == -EACCES || r == -EPERM)
		return steer_fail(s, r, "%s is there, and uid %d may not look into it: run npsteer as root", dir,
				  (int)geteuid());
	if (!o->force)
		return steer_fail(
			s, -EEXIST,
			"%s is of ABI %u and this npsteer of ABI %u: stop its servers and "
			"`npsteer load %s --force`",
			dir, abi, NP_STEER_ABI, s->name);
	r = refuse_while_claimed(s, dir, "load --force");
	if (r < 0)
		return r;
	r = remove_dir(dir);
	return r < 0 ? steer_fail(s, r, "%s cannot be removed: %s", dir, strerror(-r)) : 0;
}

static int load_in(struct np_steer *s, const char *home, const struct np_steer_opts *o)
{
	char dir[400], unfinished[420];
	int r;

	r = pins_path(dir, sizeof dir, home, s->name);
	if (r < 0)
		return r;
	snprintf(unfinished, sizeof unfinished, "%s" UNFINISHED, dir);
	r = make_room(s, dir, o);
	if (r != 0)
		return r;
	remove_dir(unfinished); /* of a load that was killed: we hold the lock */
	r = sys_mkdir(unfinished, 0700);
	if (r < 0)
		return steer_fail(s, r, "%s cannot be made: %s", unfinished, strerror(-r));
	r = fill(s, unfinished, o);
	if (r == 0)
		r = sys_rename_new(unfinished, dir);
	if (r < 0)
		remove_dir(unfinished);
	return r;
}

static int unload_in(struct np_steer *s, const char *home, const struct np_steer_opts *o)
{
	char dir[400];
	int r;

	r = pins_path(dir, sizeof dir, home, s->name);
	if (r == 0)
		r = sys_exists(dir);
	if (r == -ENOENT)
		return steer_fail(s, r, "there is no service %s in %s", s->name, home);
	if (r == 0 && !o->force)
		r = refuse_while_claimed(s, dir, "unload");
	if (r < 0)
		return r;
	r = remove_dir(dir);
	return r < 0 ? steer_fail(s, r, "%s cannot be removed: %s", dir, strerror(-r)) : 0;
}

/* Runs @act on <root>/netpoll under its lock, for a service that is not joined. */
static int at_home(const char *service, const struct np_steer_opts *opts, bool make,
		   int (*act)(struct np_steer *, const char *, const struct np_steer_opts *))
{
	const char *root = NULL;
	struct np_steer_opts o;
	struct np_steer s;
	char home[300];
	int fd, r;

	r = sys_opts_take(&o, sizeof o, opts);
	if (r < 0)
		return r;
	steer_init(&s);
	r = steer_check(&s, service, &o);
	if (r == 0)
		r = find_root(&s, o.bpffs, &root);
	if (r == 0)
		r = lock_home(&s, root, make, home, sizeof home, &fd);
	if (r == 0) {
		r = act(&s, home, &o);
		sys_close(&fd);
	}
	if (r < 0)
		steer_tell(&s, r, &o);
	steer_fini(&s);
	return r;
}

int np_steer_load(const char *service, const struct np_steer_opts *opts)
{
	return at_home(service, opts, true, load_in);
}

int np_steer_unload(const char *service, const struct np_steer_opts *opts)
{
	return at_home(service, opts, false, unload_in);
}

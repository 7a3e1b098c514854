/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * load: pinned services come and go
 *
 * A service appears whole or not at all, and goes likewise: it is pinned as NAME+new and renamed,
 * and renamed to NAME+old before it is taken apart. Killed at any moment, it leaves under the
 * service's name the old one, the new one, or nothing; the next load, unload and gc of that name
 * take the rest away.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/bpf.h>

#include "steer/bpffs.h"
#include "steer/cause.h"
#include "steer/count.h"
#include "steer/steer.h"
#include "steer/tracer.h"
#include "sys/fs.h"
#include "sys/io.h"
#include "sys/opts.h"

/* No service can have such names. */
#define UNFINISHED "+new"
#define DISCARDED  "+old"

#define NAME_CAP (NP_NAME + 8)

/* Under the lock. 0 also where there is nothing. */
static int load_remove_leftover(int netpoll, const char *service, const char *suffix,
				unsigned *ret_n)
{
	char name[NAME_CAP], why[FOLDER_WHY];
	int r;

	snprintf(name, sizeof name, "%s%s", service, suffix);
	r = folder_remove(netpoll, name, why);
	if (r == 0)
		++*ret_n;
	return r == -ENOENT ? 0 : r;
}

static int load_remove_leftovers(int netpoll, const char *service, unsigned *ret_n)
{
	int r = load_remove_leftover(netpoll, service, UNFINISHED, ret_n);

	return r == 0 ? load_remove_leftover(netpoll, service, DISCARDED, ret_n) : r;
}

/*
 * Sockets in one sockarray of a service, read from that alone: its other maps may be of another
 * ABI.
 */
static int load_count_sockets(int folder, enum map which, unsigned *ret)
{
	int fd = -1, r;

	*ret = 0;
	r = folder_get(folder, map_name(which), BPF_F_RDONLY, &fd);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	r = maps_count_claims(fd, ret);
	sys_close(&fd);
	return r;
}

static int load_pin_program(int folder, unsigned g, int fd)
{
	char name[32];

	snprintf(name, sizeof name, NP_STEER_PROG "%u", g);
	return folder_pin(folder, name, fd);
}

/* The folder last: until then it is root's alone, so that its names are ours to step through. */
static int load_set_modes(int folder, const struct np_steer_load_opts *o)
{
	gid_t gid = o->for_group ? o->gid : (gid_t)-1;
	char name[32];
	int fd = -1, r = 0;

	for (int i = 0; i < MAP_MAX && r == 0; i++)
		r = sys_set_access_at(folder, map_name(i), map_mode(i), gid);
	for (unsigned g = 0; g < NP_GROUPS && r == 0; g++) {
		snprintf(name, sizeof name, NP_STEER_PROG "%u", g);
		r = sys_set_access_at(folder, name, 0640, gid);
	}
	if (r == 0)
		r = folder_reopen(folder, &fd);
	if (r == 0)
		r = sys_set_access(fd, 0750, gid);
	sys_close(&fd);
	return r;
}

#define ENOUGH (16u << 20) /* level 4 takes less */

static bool load_memory_is_short(void)
{
	void *p = malloc(ENOUGH);

	free(p);
	return !p;
}

/*
 * A lower level than there could be: a private program can do with that, a pinned one would stay so
 * for every server to come. libbpf says "no BTF" where memory ran out.
 */
static int load_judge_level(struct np_steer *s, const struct np_steer_load_opts *o, char *why)
{
	char cause[200];

	if (s->level >= NP_STEER_L4 || o->max_level)
		return 0;
	if (load_memory_is_short()) {
		snprintf(why, FOLDER_WHY, "no memory for more than level %d (`ulimit -v`)",
			 (int)s->level);
		return -ENOMEM;
	}
	cause_not_exact(cause, sizeof cause, why);
	steer_log(s, 1, "level %d is the highest there is: %s", (int)s->level, cause);
	return 0;
}

/* A load's options that an open has too. */
static struct np_steer_opts load_steer_opts(const struct np_steer_load_opts *o)
{
	return (struct np_steer_opts){ .sz = sizeof(struct np_steer_opts),
				       .bpffs = o->bpffs,
				       .policy = o->policy,
				       .hang_ms = o->hang_ms,
				       .max_level = o->max_level,
				       .error = o->error,
				       .error_cap = o->error_cap };
}

static int load_all(struct np_steer *s, const struct np_steer_load_opts *o, char *why, size_t cap)
{
	struct np_steer_opts common = load_steer_opts(o);
	int r;

	r = level_make(&s->maps, &common, &s->level, NP_GROUPS, s->progs, why, cap);
	return r == 0 ? load_judge_level(s, o, why) : r;
}

/* Where they cannot be had, an adoption tries it itself, and says why not. */
static int load_pin_tracer(struct np_steer *s, int folder)
{
	struct tracer *t = count_tracer(s);

	return t && tracer_load(t) == 0 ? tracer_pin(t, folder) : 0;
}

/* Loads and pins a whole service in the new folder @folder. */
static int load_fill(struct np_steer *s, const char *at, int folder,
		     const struct np_steer_load_opts *o)
{
	char why[256] = "";
	int r;

	r = load_all(s, o, why, sizeof why);
	if (r < 0 && r != -EPERM && load_memory_is_short())
		r = -ENOMEM; /* whatever libbpf makes of it */
	if (r < 0) {
		level_explain(s->error, sizeof s->error, r, s->name, why);
		return r == -EPERM || cause_is_lack(r) ? r : -NP_EUNSUPPORTED;
	}
	r = maps_pin(&s->maps, folder);
	for (unsigned g = 0; g < NP_GROUPS && r == 0; g++)
		r = load_pin_program(folder, g, s->progs[g]);
	if (r == 0)
		r = load_pin_tracer(s, folder);
	if (r < 0)
		return steer_fail(s, r, "%s/%s cannot be pinned: %s", at, s->name, strerror(-r));
	r = load_set_modes(folder, o);
	if (r < 0)
		return steer_fail(s, r, "%s/%s cannot be given to its group: %s", at, s->name,
				  strerror(-r));
	return 0;
}

static int load_refuse_claimed(struct np_steer *s, int folder, const char *verb)
{
	unsigned claims, listeners = 0;
	int r;

	r = load_count_sockets(folder, MAP_np_claims, &claims);
	if (r == 0 && !claims)
		r = load_count_sockets(folder, MAP_np_socks, &listeners);
	if (r < 0)
		return pins_say_closed(s, r, map_name(MAP_np_claims));
	if (listeners)
		return steer_fail(
			s, -EBUSY,
			"%u listeners of adopted servers are steered by the service %s: `npsteer release %s`, then `npsteer %s %s` again",
			listeners, s->name, s->name, verb, s->name);
	if (claims)
		return steer_fail(
			s, -EBUSY,
			"%u workers hold the service %s: stop its servers, then `npsteer %s %s` again",
			claims, s->name, verb, s->name);
	return 0;
}

/*
 * Whether the service that is there already stays. Return: 0: it may be replaced; NP_STEER_ALREADY;
 * -EEXIST, -EBUSY.
 */
static int load_judge_present(struct np_steer *s, const char *at, int folder,
			      const struct np_steer_load_opts *o)
{
	struct maps m;
	char what[300] = "";
	unsigned abi = 0;
	int r;

	maps_init(&m);
	r = maps_open(&m, folder, &abi, what, sizeof what);
	if (r == 0)
		r = pins_complete(folder);
	maps_close(&m);
	if (!o->force && r == 0)
		return NP_STEER_ALREADY;
	if (r == -EACCES)
		return steer_fail(
			s, r,
			"%s/%s is there, and uid %d may not look into it: run npsteer as root", at,
			s->name, (int)geteuid());
	if (!o->force && r != -EPROTO && r != -ENOENT)
		return pins_say_closed(s, r, what); /* nothing is known to be wrong with it */
	if (!o->force && abi)
		return steer_fail(
			s, -EEXIST,
			"%s/%s is of ABI %u and this npsteer of ABI %u: stop its servers and `npsteer load %s --force`",
			at, s->name, abi, NP_STEER_ABI, s->name);
	if (!o->force)
		return steer_fail(
			s, -EEXIST,
			"%s/%s is incomplete, or no service of this ABI (%u): stop its servers and `npsteer load %s --force`",
			at, s->name, NP_STEER_ABI, s->name);
	return load_refuse_claimed(s, folder, "load --force");
}

/* The folder of the service's name, open; -ENOENT. */
static int load_open_present(struct np_steer *s, const struct bpffs *b, int *ret_fd)
{
	char why[FOLDER_WHY];
	int r;

	r = folder_open(b->netpoll, s->name, ret_fd, why);
	if (r == 0 || r == -ENOENT)
		return r;
	return why[0] ? steer_fail(s, r, "%s/%s %s: remove it", b->at, s->name, why) :
			steer_fail(s, r, "%s/%s cannot be used: %s", b->at, s->name, strerror(-r));
}

/* NAME+new becomes NAME. In one step, also where there is one, but for kernels before 5.17, where
 * it is two. */
static int load_put_in_place(const struct bpffs *b, const char *name, bool present)
{
	char unfinished[NAME_CAP], discarded[NAME_CAP];
	int r;

	snprintf(unfinished, sizeof unfinished, "%s" UNFINISHED, name);
	snprintf(discarded, sizeof discarded, "%s" DISCARDED, name);
	if (!present)
		return sys_rename_new_at(b->netpoll, unfinished, name);
	r = sys_rename_swap_at(b->netpoll, unfinished, name);
	if (r != -EINVAL)
		return r;
	r = sys_rename_new_at(b->netpoll, name, discarded);
	return r == 0 ? sys_rename_new_at(b->netpoll, unfinished, name) : r;
}

static int load_new(struct np_steer *s, const struct bpffs *b, const struct np_steer_load_opts *o,
		    bool present)
{
	char unfinished[NAME_CAP], why[FOLDER_WHY];
	unsigned n = 0;
	int fd = -1, r, e;

	r = load_remove_leftovers(b->netpoll, s->name, &n);
	if (r < 0)
		return steer_fail(s, r, "%s/%s" UNFINISHED " cannot be removed: %s", b->at, s->name,
				  strerror(-r));
	snprintf(unfinished, sizeof unfinished, "%s" UNFINISHED, s->name);
	r = folder_make(b->netpoll, unfinished, &fd, why);
	if (r < 0)
		return steer_fail(s, r, "%s/%s cannot be made: %s", b->at, unfinished,
				  strerror(-r));
	r = load_fill(s, b->at, fd, o);
	sys_close(&fd);
	if (r == 0) {
		r = load_put_in_place(b, s->name, present);
		if (r < 0)
			steer_fail(s, r, "%s/%s cannot be put in its place: %s", b->at, unfinished,
				   strerror(-r));
	}
	e = load_remove_leftovers(b->netpoll, s->name, &n);
	if (r == 0 && e < 0)
		steer_log(s, 1, "%s/%s" DISCARDED " is left over: %s", b->at, s->name,
			  strerror(-e));
	return r;
}

static int load_in(struct np_steer *s, const struct bpffs *b, const struct np_steer_load_opts *o)
{
	unsigned n = 0;
	bool present;
	int fd = -1, r;

	r = load_open_present(s, b, &fd);
	if (r < 0 && r != -ENOENT)
		return r;
	present = r == 0;
	r = present ? load_judge_present(s, b->at, fd, o) : 0;
	sys_close(&fd);
	if (r == NP_STEER_ALREADY && load_remove_leftovers(b->netpoll, s->name, &n) < 0)
		steer_log(s, 1, "%s/%s: something of a load that was killed is left over", b->at,
			  s->name);
	return r == 0 ? load_new(s, b, o, present) : r;
}

/* Renamed, then taken apart. An unload that was killed is brought to its end by this one. */
static int load_remove_in(struct np_steer *s, const struct bpffs *b,
			  const struct np_steer_load_opts *o)
{
	char discarded[NAME_CAP];
	unsigned left = 0;
	int fd = -1, r, e;

	r = load_open_present(s, b, &fd);
	if (r == 0 && !o->force)
		r = load_refuse_claimed(s, fd, "unload");
	sys_close(&fd);
	if (r < 0 && r != -ENOENT)
		return r;
	e = load_remove_leftovers(b->netpoll, s->name, &left);
	snprintf(discarded, sizeof discarded, "%s" DISCARDED, s->name);
	if (r == 0 && e == 0) {
		r = sys_rename_new_at(b->netpoll, s->name, discarded);
		if (r == 0)
			e = load_remove_leftovers(b->netpoll, s->name, &left);
	}
	if (r == 0 || left)
		r = e;
	if (r == -ENOENT)
		return steer_fail(s, r, "there is no service %s in %s", s->name, b->at);
	return r < 0 ? steer_fail(s, r, "%s/%s cannot be removed: %s", b->at, s->name,
				  strerror(-r)) :
		       0;
}

static unsigned load_count_leftovers(int netpoll, const char *service)
{
	static const char *const suffixes[] = { UNFINISHED, DISCARDED };
	char name[NAME_CAP], why[FOLDER_WHY];
	unsigned n = 0;

	for (unsigned i = 0; i < 2; i++) {
		int fd = -1;

		snprintf(name, sizeof name, "%s%s", service, suffixes[i]);
		n += folder_open(netpoll, name, &fd, why) == 0;
		sys_close(&fd);
	}
	return n;
}

/* Where no process loads at the moment: then no leftover is in use. */
unsigned load_sweep(struct np_steer *s, bool look)
{
	char root[sizeof s->dir], *end;
	struct bpffs b;
	unsigned n = 0;
	int fd = -1;

	snprintf(root, sizeof root, "%s", s->dir);
	end = strstr(root, "/" NP_STEER_DIR "/"); /* a root may have that in its own path */
	for (char *more = end; more; more = strstr(more + 1, "/" NP_STEER_DIR "/"))
		end = more;
	if (!end)
		return 0;
	*end = '\0';
	if (bpffs_open(root, &b) == 0 && bpffs_try_lock(&b, &fd) == 0) {
		if (look)
			n = load_count_leftovers(b.netpoll, s->name);
		else
			load_remove_leftovers(b.netpoll, s->name, &n);
	}
	sys_close(&fd);
	bpffs_close(&b);
	return n;
}

/* Runs @act in <root>/netpoll under its lock, for a service that is not joined. */
static int load_locked(const char *service, const struct np_steer_load_opts *opts, bool make,
		       int (*act)(struct np_steer *, const struct bpffs *,
				  const struct np_steer_load_opts *))
{
	const char *root = NULL;
	struct np_steer_load_opts o;
	struct np_steer_opts common;
	struct bpffs b = { .root = -1, .netpoll = -1 };
	struct np_steer s;
	int fd = -1, r;

	r = sys_opts_take(&o, sizeof o, opts);
	if (r < 0)
		return r;
	common = load_steer_opts(&o);
	steer_init(&s);
	s.log = o.log;
	s.log_arg = o.log_arg;
	r = steer_check(&s, service, &common);
	if (r == 0)
		r = bpffs_find_root(&s, o.bpffs, &root);
	if (r == 0)
		r = bpffs_open_or_make(&s, root, make, &b);
	if (r == 0)
		r = bpffs_lock(&s, &b, &fd);
	if (r == 0)
		r = act(&s, &b, &o);
	sys_close(&fd);
	bpffs_close(&b);
	if (r < 0)
		steer_tell(&s, r, &common);
	steer_fini(&s);
	return r;
}

int np_steer_load(const char *service, const struct np_steer_load_opts *opts)
{
	return load_locked(service, opts, true, load_in);
}

/*
 * The servers of its own workers end some day, and join no more. An adopted one goes on, and no
 * other service could have it: its listeners lie in the maps that its program holds. So who lacks
 * what a release takes unloads nothing.
 */
static int load_release(const char *service, const struct np_steer_load_opts *o)
{
	char why[NP_STEER_TEXT_MAX] = "";
	struct np_steer *s;
	int r;

	r = np_steer_open(service,
			  NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN, .bpffs = o->bpffs,
				  .rescue = NP_OFF, .error = why, .error_cap = sizeof why),
			  &s);
	if (r == 0) {
		r = np_steer_release(s, NULL);
		snprintf(why, sizeof why, "%s", np_steer_error(s));
		np_steer_close(&s);
		if (r < 0 && o->log)
			o->log(o->log_arg, 1, why);
	}
	if (!cause_is_lack(r))
		return 0;
	if (o->error && o->error_cap)
		snprintf(o->error, o->error_cap, "%s", why);
	return r;
}

int np_steer_unload(const char *service, const struct np_steer_load_opts *opts)
{
	struct np_steer_load_opts o;
	int r = sys_opts_take(&o, sizeof o, opts);

	if (r == 0 && o.force)
		r = load_release(service, &o);
	return r < 0 ? r : load_locked(service, opts, false, load_remove_in);
}

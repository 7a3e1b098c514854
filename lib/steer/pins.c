/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pins: services that lie in a bpffs, as <bpffs>/netpoll/<service>/: found, joined, listed
 *
 * To attach a program, reading its pin is enough; a map that is to be mmapped must be opened for
 * writing too.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <linux/bpf.h>

#include "steer/bpffs.h"
#include "steer/cause.h"
#include "steer/folder.h"
#include "steer/steer.h"
#include "sys/io.h"
#include "sys/opts.h"

/* The sentence for a folder that is not trusted: -EACCES. */
static int pins_distrust(struct np_steer *s, const char *at, const char *why)
{
	return steer_fail(
		s, -EACCES,
		"%.160s %.60s, and is not trusted: it has to be root's or this user's, and writable by nobody else",
		at, why);
}

/* The barrier in the way, if there is one: the service may well be behind it. */
struct barrier {
	char at[300];
	char why[FOLDER_WHY];
};

/* The service below one root. */
static int pins_find_below(struct np_steer *s, const char *root, int *ret_fd, struct barrier *b)
{
	struct bpffs h;
	int r;

	r = bpffs_open(root, &h);
	if (r == 0)
		r = folder_open(h.netpoll, s->name, ret_fd, h.why);
	if (r == 0 || h.netpoll >= 0)
		snprintf(h.at + strlen(h.at), sizeof h.at - strlen(h.at), "/%s", s->name);
	bpffs_close(&h);
	if (r == -EACCES && !b->at[0]) {
		memcpy(b->at, h.at, sizeof b->at);
		memcpy(b->why, h.why, sizeof b->why);
	}
	if (r == 0 && snprintf(s->dir, sizeof s->dir, "%s", h.at) >= (int)sizeof s->dir) {
		sys_close(ret_fd);
		r = -ENAMETOOLONG;
	}
	return r;
}

/*
 * In the order of the roots. One that is barred, or that another user has prepared, does not hide
 * the next.
 */
static int pins_find_folder(struct np_steer *s, const char *bpffs, int *ret_fd, struct barrier *b)
{
	int r;

	for (unsigned i = 0; bpffs_root(bpffs, i); i++) {
		r = pins_find_below(s, bpffs_root(bpffs, i), ret_fd, b);
		if (r != -ENOENT && r != -ENODEV && r != -EACCES)
			return r;
	}
	return b->at[0] ? -EACCES : -ENOENT;
}

static int pins_say_barred(struct np_steer *s, int r, const char *what)
{
	return steer_fail(
		s, r,
		"uid %d may not use the service %s (%s: %s): run `npsteer load %s --group` with one of its groups",
		(int)geteuid(), s->name, what, strerror(-r), s->name);
}

int pins_say_closed(struct np_steer *s, int r, const char *what)
{
	char tried[200];

	snprintf(tried, sizeof tried, "the service %s cannot be opened (%.120s)", s->name, what);
	cause_open(s->error, sizeof s->error, r, tried);
	return r;
}

static int pins_say_foreign(struct np_steer *s, unsigned abi, const char *what)
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

/* @folder and @s->dir are the folder of the service. */
static int pins_open(struct np_steer *s, int folder)
{
	struct np_config c;
	char name[64] = "", what[sizeof s->dir + 80];
	unsigned abi = 0;
	int fd, r;

	r = folder_reopen(folder, &s->lock_fd);
	if (r == 0)
		r = maps_open(&s->maps, folder, &abi, name, sizeof name);
	if (r == 0)
		r = maps_config(&s->maps, &c);
	if (r == 0) {
		s->level = c.level >= NP_STEER_L4 ? NP_STEER_L4 :
			   c.level == NP_STEER_L3 ? NP_STEER_L3 :
						    NP_STEER_L2;
		r = level_program(s, 0, &fd); /* may we attach at all? */
		snprintf(name, sizeof name, NP_STEER_PROG "0");
	}
	snprintf(what, sizeof what, "%s%s%s", s->dir, name[0] ? "/" : "", name);
	if (r == -EACCES)
		return pins_say_barred(s, r, what);
	if (r == -EPROTO || r == -ENOENT)
		return pins_say_foreign(s, abi, what);
	return r < 0 ? pins_say_closed(s, r, what) : 0;
}

static void pins_back_out(struct np_steer *s)
{
	maps_close(&s->maps);
	sys_close(&s->progs[0]);
	sys_close(&s->lock_fd);
	s->dir[0] = '\0';
	s->level = NP_STEER_L0;
}

static int pins_find(struct np_steer *s, const char *bpffs, int *ret_fd)
{
	struct barrier b = { 0 };
	int r;

	r = pins_find_folder(s, bpffs, ret_fd, &b);
	if (r == -EACCES)
		r = b.why[0] ? pins_distrust(s, b.at, b.why) : pins_say_barred(s, r, b.at);
	else if (r == -ENOENT)
		r = steer_fail(s, r, "there is no service %s in %s: `npsteer load %s`", s->name,
			       bpffs_root(bpffs, 0), s->name);
	else if (r < 0)
		r = steer_fail(s, r, "the service %s cannot be looked for in %s: %s", s->name,
			       bpffs_root(bpffs, 0), strerror(-r));
	return r;
}

#define JOIN_TRIES 20

/*
 * A folder that an unload, or a load --force, takes apart while it is opened looks like one of
 * another ABI. Then it has the service's name no longer, and what has it now is what counts.
 */
int pins_join(struct np_steer *s, const char *bpffs)
{
	int fd = -1, next = -1, r, e;

	r = pins_find(s, bpffs, &fd);
	for (int i = 0; r == 0; i++) {
		r = pins_open(s, fd);
		if (r == 0 || r != -EPROTO || i == JOIN_TRIES)
			break;
		e = pins_find(s, bpffs, &next);
		if (e == 0 && folder_is_same(fd, next))
			break;
		pins_back_out(s);
		sys_close(&fd);
		fd = next;
		next = -1;
		r = e;
	}
	sys_close(&next);
	sys_close(&fd);
	if (r < 0) {
		pins_back_out(s);
		return r;
	}
	snprintf(s->reason, sizeof s->reason, "joined the service at %s", s->dir);
	return 0;
}

int pins_program(const struct np_steer *s, unsigned g, int *ret_fd)
{
	char name[32];

	snprintf(name, sizeof name, NP_STEER_PROG "%u", g);
	return folder_get(s->lock_fd, name, BPF_F_RDONLY, ret_fd); /* enough to attach */
}

int pins_complete(int folder)
{
	char name[32];
	int fd = -1, r = 0;

	for (unsigned g = 0; g < NP_GROUPS && r == 0; g++) {
		snprintf(name, sizeof name, NP_STEER_PROG "%u", g);
		r = folder_get(folder, name, BPF_F_RDONLY, &fd);
		sys_close(&fd);
	}
	return r;
}

static int pins_tell_barred(const struct bpffs *h, const struct np_steer_opts *o)
{
	if (o->error && o->error_cap)
		snprintf(o->error, o->error_cap, "%s %s", h->at,
			 h->why[0] ? h->why : strerror(EACCES));
	return -EACCES;
}

struct listing {
	int (*fn)(void *arg, const char *name, const char *path);
	void *arg;
	const char *at;
};

static int pins_list_one(void *arg, const char *name)
{
	struct listing *l = arg;
	char path[512];

	if (!steer_name_ok(name) ||
	    snprintf(path, sizeof path, "%s/%s", l->at, name) >= (int)sizeof path)
		return 0; /* an unfinished load, or nothing of ours */
	return l->fn(l->arg, name, path);
}

int np_steer_list(const struct np_steer_opts *opts,
		  int (*fn)(void *arg, const char *name, const char *path), void *arg)
{
	struct np_steer_opts o;
	int r, found = -ENODEV;

	r = sys_opts_take(&o, sizeof o, opts);
	for (unsigned i = 0; r == 0 && bpffs_root(o.bpffs, i); i++) {
		struct bpffs h;
		struct listing l = { fn, arg, h.at };

		r = bpffs_open(bpffs_root(o.bpffs, i), &h);
		if (r == 0 || (r == -ENOENT && h.root >= 0))
			found = 0; /* perhaps no service was ever loaded there */
		if (r == 0)
			r = folder_each(h.netpoll, pins_list_one, &l);
		else if (r == -EACCES && found == -ENODEV)
			found = pins_tell_barred(&h, &o);
		if (r == -ENOENT || r == -ENODEV || r == -EACCES)
			r = 0;
		bpffs_close(&h);
	}
	return r ? r : found;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * load: load the program and pin the service
 *
 * The library loads and pins, all of it or nothing. The place is chosen here: a BPF file system
 * that is there, that the group can get to, or one that npsteer mounts.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bpffs.h"
#include "npsteer.h"

static int load_mount(struct npsteer *n, const char *root, const char *why)
{
	int r = bpffs_mount(root);

	if (r == 0)
		return DONE;
	if (r == -EPERM || r == -EACCES)
		return fail(
			n, DENIED,
			"%s, and uid %d may not mount one%s: as root, `mount -t bpf -o mode=0755 bpf %s`",
			why, (int)geteuid(),
			geteuid() == 0 ? ", or not in a folder that others may write or own" : "",
			root);
	if (r == -ENODEV)
		return fail(
			n, UNSUPPORTED,
			"this kernel has no BPF file system: it is built without CONFIG_BPF_SYSCALL");
	return fail(n, r == -ENOENT ? ABSENT : FAILED, "%s, and mounting one at %s failed: %s", why,
		    root, strerror(-r));
}

/* A place that is a BPF file system; without any, the first place becomes one. */
static int load_choose_root(struct npsteer *n, const char **ret, bool *ret_mounted)
{
	char why[600];

	for (unsigned i = 0; bpffs_place(n->bpffs, i); i++)
		if (bpffs_is(bpffs_place(n->bpffs, i))) {
			*ret = bpffs_place(n->bpffs, i);
			return DONE;
		}
	*ret = bpffs_place(n->bpffs, 0);
	*ret_mounted = true;
	snprintf(why, sizeof why, "there is no BPF file system at %s", *ret);
	return load_mount(n, *ret, why);
}

static int load_explain_barrier(struct npsteer *n, int r, const char *root, const char *at,
				mode_t mode)
{
	if (r < 0)
		return fail(n, ABSENT, "%s cannot be followed at %s: %s", root, at, strerror(-r));
	return fail(
		n, DENIED,
		"group %s cannot get to %s, because %s has mode %04o: `chmod o+x %s`, or name another place with --bpffs",
		n->group, root, at, (unsigned)mode, at);
}

/* As load_choose_root(), past places that the group cannot get to. */
static int load_choose_root_for(struct npsteer *n, gid_t gid, const char **ret, bool *ret_mounted)
{
	const char *root;
	char at[512] = "";
	char why[600];
	mode_t mode = 0;
	int code, r;

	code = load_choose_root(n, &root, ret_mounted);
	if (code != DONE)
		return code;
	for (unsigned i = 0; bpffs_place(n->bpffs, i); i++) {
		*ret = bpffs_place(n->bpffs, i);
		if (bpffs_is(*ret) && bpffs_barrier(*ret, gid, at, sizeof at, &mode) == 0)
			return DONE;
	}
	r = bpffs_barrier(root, gid, at, sizeof at, &mode);
	*ret = BPFFS_OWN;
	if (bpffs_place(n->bpffs, 1) == NULL || bpffs_is(*ret))
		return load_explain_barrier(n, r, root, at, mode);
	*ret_mounted = true;
	snprintf(why, sizeof why, "group %s cannot get to the BPF file system at %s", n->group,
		 root);
	code = load_mount(n, *ret, why);
	if (code != DONE)
		return code;
	r = bpffs_barrier(*ret, gid, at, sizeof at, &mode);
	return r == 0 ? DONE : load_explain_barrier(n, r, *ret, at, mode);
}

static int load_choose_place(struct npsteer *n, struct np_steer_load_opts *o, bool *ret_mounted)
{
	int code;

	/* Where it is already, it stays: two services of one name are one too many. */
	for (unsigned i = 0; bpffs_place(n->bpffs, i); i++)
		if (bpffs_has(bpffs_place(n->bpffs, i), service_of(n)))
			o->bpffs = bpffs_place(n->bpffs, i);
	if (!n->group)
		return o->bpffs ? DONE : load_choose_root(n, &o->bpffs, ret_mounted);
	code = group_of(n, &o->gid);
	if (code != DONE)
		return code;
	o->for_group = true;
	return o->bpffs ? DONE : load_choose_root_for(n, o->gid, &o->bpffs, ret_mounted);
}

static int load_report(struct npsteer *n, const char *root, bool already, bool mounted)
{
	struct np_steer_info info = { .sz = sizeof info };
	struct np_steer *s;
	int code;

	n->bpffs = root;
	code = join_service(n, service_of(n), &s);
	if (code != DONE)
		return code;
	np_steer_info(s, &info);
	np_steer_close(&s);
	if (n->json) {
		answer(n);
		json_string(&n->say, "service", info.service);
		json_string(&n->say, "path", info.path);
		json_bool(&n->say, "already", already);
		json_string(&n->say, "mounted", mounted ? root : NULL);
		json_int(&n->say, "level", info.level);
		json_string(&n->say, "policy", info.policy);
		json_int(&n->say, "hang_ms", info.hang_ms);
		end_answer(n);
		return DONE;
	}
	if (mounted)
		printf("mounted a BPF file system at %s\n", root);
	printf("%s %s: level %d, policy %s, in %s\n", info.service,
	       already ? "was loaded already" : "loaded", info.level, info.policy, info.path);
	return DONE;
}

static int load_parse_options(struct npsteer *n, struct np_steer_load_opts *o)
{
	long ms, level;

	o->policy = n->policy;
	o->force = n->force;
	if (n->level && !parse_number(n->level, INT_MAX, &level))
		return fail(n, MISUSED, "--level takes 2, 3 or 4, not \"%s\"", n->level);
	if (n->level)
		o->max_level = (int)level;
	if (!n->hang_ms)
		return DONE;
	if (!parse_number(n->hang_ms, INT_MAX, &ms))
		return fail(n, MISUSED, "--hang-ms takes milliseconds, 0 for never, not \"%s\"",
			    n->hang_ms);
	o->hang_ms = ms ? (int)ms : -1;
	return DONE;
}

/* Why the level is no higher. */
static void load_tell(void *arg, int level, const char *msg)
{
	fprintf(stderr, "npsteer: %s\n", msg);
}

int verb_load(struct npsteer *n)
{
	char why[NP_STEER_TEXT_MAX] = "";
	struct np_steer_load_opts o;
	bool mounted = false;
	int code, r;

	np_steer_load_opts_init(&o);
	o.error = why;
	o.error_cap = sizeof why;
	if (!n->json)
		o.log = load_tell;
	code = load_parse_options(n, &o);
	if (code == DONE)
		code = load_choose_place(n, &o, &mounted);
	if (code != DONE)
		return code;
	r = np_steer_load(service_of(n), &o);
	if (r < 0) {
		if (mounted)
			bpffs_unmount(o.bpffs);
		return fail_status(n, r, why);
	}
	return load_report(n, o.bpffs, r == NP_STEER_ALREADY, mounted);
}

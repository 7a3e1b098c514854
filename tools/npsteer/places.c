/* SPDX-License-Identifier: BSD-2-Clause */
/* places: of each BPF file system the way there, up to the first component that bars it. */
#include "places.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "bpffs.h"

static void places_found(struct report *r, enum found found, const char *path, const char *text,
			 const char *mend)
{
	char value[700];

	snprintf(value, sizeof value, "%s %s", path, text);
	check_found(r, "bpffs", found, value, mend);
}

/* One folder on the way to a bpffs: whether other users may pass. */
static void places_component(struct report *r, const char *path, const struct stat *st)
{
	struct group *g = getgrgid(st->st_gid);
	char text[128], mend[600];

	if (st->st_mode & S_IXOTH)
		return; /* all is well: not worth a line */
	snprintf(text, sizeof text, "has mode %04o, group %s", (unsigned)st->st_mode & 07777,
		 g ? g->gr_name : "?");
	snprintf(mend, sizeof mend,
		 "to let others join: `chmod o+x %s`, or `npsteer load --group` mounts " BPFFS_OWN,
		 path);
	places_found(r, FOUND_NOTE, path, text, mend);
}

/* Each component of @root in turn, until one is missing or cannot be passed by us. */
static void places_components(struct report *r, const char *root)
{
	char part[512];
	struct stat st;
	size_t n = 1;

	if (strlen(root) >= sizeof part)
		return;
	for (;;) {
		memcpy(part, root, n);
		part[n] = '\0';
		if (stat(part, &st) < 0)
			return;
		places_component(r, part, &st);
		if (!root[n])
			return;
		n += strspn(root + n, "/");
		n += strcspn(root + n, "/");
	}
}

/* Whether the members of --group get to @root. */
static void places_group(struct report *r, const char *root)
{
	char at[512] = "", text[640], mend[600];
	mode_t mode = 0;

	if (bpffs_barrier(root, r->gid, at, sizeof at, &mode) == 0) {
		snprintf(text, sizeof text, "can be reached by group %s", r->n->group);
		places_found(r, FOUND_OK, root, text, NULL);
		return;
	}
	snprintf(text, sizeof text, "cannot be reached by group %s, because %s has mode %04o",
		 r->n->group, at, (unsigned)mode);
	snprintf(mend, sizeof mend,
		 "`chmod o+x %s`, or `npsteer load --group %s` mounts " BPFFS_OWN, at, r->n->group);
	places_found(r, FOUND_NOTE, root, text, mend);
}

static int places_ignore(void *arg, const char *name, const char *path)
{
	return 0;
}

/* The owner of its netpoll/. */
static void places_owner(struct report *r, const char *root)
{
	char why[NP_STEER_TEXT_MAX] = "", mend[600];

	if (np_steer_list(NP_OPTS(np_steer_opts, .bpffs = root, .error = why,
				  .error_cap = sizeof why),
			  places_ignore, NULL) != -EACCES ||
	    !why[0])
		return;
	snprintf(
		mend, sizeof mend,
		"services have to be in folders of root's, or of this user's, that nobody else may write: remove it, and mount with `mount -t bpf -o mode=0755 bpf %s`",
		root);
	check_found(r, "bpffs", FOUND_NOTE, why, mend);
}

void places_check(struct report *r)
{
	bool any = false;

	for (unsigned i = 0; bpffs_place(r->n->bpffs, i); i++) {
		const char *root = bpffs_place(r->n->bpffs, i);

		if (!bpffs_is(root))
			continue;
		any = true;
		places_found(r, FOUND_OK, root, "is mounted", NULL);
		places_owner(r, root);
		if (r->n->group)
			places_group(r, root);
		else
			places_components(r, root);
	}
	if (!any)
		places_found(r, FOUND_NOTE, bpffs_place(r->n->bpffs, 0), "is not mounted",
			     "`npsteer load` mounts it, as root");
}

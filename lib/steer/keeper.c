/* SPDX-License-Identifier: BSD-2-Clause */
/* keeper: a folder is made or found, opened, locked, and looked at again: it may be gone then. */
#include "steer/keeper.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "steer/folder.h"
#include "steer/steer.h"
#include "sys/fs.h"
#include "sys/io.h"
#include "sys/lock.h"
#include "sys/netns.h"

#define KEEPER_TRIES 20 /* each time, one that resigned has just removed the folder */

static int keeper_open(struct keeper *k, int service, char why[FOLDER_WHY])
{
	int folder = -1, r;

	r = folder_make(service, k->name, &folder, why);
	if (r == -EEXIST)
		r = folder_open(service, k->name, &folder, why);
	if (r == 0)
		r = folder_reopen(folder, &k->fd);
	sys_close(&folder);
	return r;
}

/* -ENOENT: its owner has removed it since it was opened. */
static int keeper_lock(struct keeper *k, int service, struct sys_holder *h, char why[FOLDER_WHY])
{
	int r = keeper_open(k, service, why);

	if (r == 0)
		r = folder_lock(k->fd, 0, h);
	if (r == 0 && folder_is_removed(k->fd))
		r = -ENOENT;
	if (r < 0)
		sys_close(&k->fd);
	return r;
}

static int keeper_refuse(const struct keeper *k, struct np_steer *s, int r, unsigned port,
			 const struct sys_holder *h, const char *why)
{
	char holder[80], at[sizeof s->dir + sizeof k->name];

	sys_holder_format(h, holder, sizeof holder);
	snprintf(at, sizeof at, "%s/%s", s->dir, k->name);
	if (r == -EBUSY)
		return steer_fail(s, r, "another process watches port %u for the service %s: %s",
				  port, s->name, holder);
	if (r == -EACCES && why[0])
		return steer_fail(
			s, r,
			"port %u cannot be watched: %.160s %.60s: it has to be root's or this user's, and writable by nobody else: remove it",
			port, at, why);
	return steer_fail(s, r, "port %u cannot be watched: %.160s cannot be locked: %s", port, at,
			  strerror(-r));
}

int keeper_become(struct keeper *k, struct np_steer *s, unsigned port, int netns_fd)
{
	struct sys_holder h = { 0 };
	char why[FOLDER_WHY] = "";
	int r = -ENOENT;

	k->fd = -1;
	if (s->lock_fd < 0)
		return 0;
	snprintf(k->name, sizeof k->name, "keeper-%u-%llu", port,
		 (unsigned long long)sys_netns_id(netns_fd));
	for (int i = 0; r == -ENOENT && i < KEEPER_TRIES; i++)
		r = keeper_lock(k, s->lock_fd, &h, why);
	return r < 0 ? keeper_refuse(k, s, r, port, &h, why) : 0;
}

/* Under the lock: nobody else's can be of that name. */
void keeper_resign(struct keeper *k, struct np_steer *s)
{
	if (k->fd >= 0)
		sys_unlink_at(s->lock_fd, k->name, true);
	sys_close(&k->fd);
}

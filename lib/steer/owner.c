/* SPDX-License-Identifier: BSD-2-Clause */
/* owner: the pinned programs of each service are opened and asked for their numbers. */
#include "steer/owner.h"

#include <stdio.h>

#include <linux/bpf.h>

#include "steer/bpffs.h"
#include "steer/folder.h"
#include "steer/steer.h"
#include "sys/bpf.h"
#include "sys/io.h"

struct owner_search {
	int netpoll;
	uint32_t id;
	char *name;
};

static uint32_t owner_program_id(int folder, unsigned g)
{
	char name[32];
	uint32_t id = 0;
	int fd = -1;

	snprintf(name, sizeof name, NP_STEER_PROG "%u", g);
	if (folder_get(folder, name, BPF_F_RDONLY, &fd) == 0)
		id = sys_bpf_program_id(fd);
	sys_close(&fd);
	return id;
}

/* 1: it is that one's; anything else does not end the search. */
static int owner_look(void *arg, const char *name)
{
	struct owner_search *x = arg;
	char why[FOLDER_WHY];
	int fd = -1, found = 0;

	if (!steer_name_ok(name) || folder_open(x->netpoll, name, &fd, why) < 0)
		return 0;
	for (unsigned g = 0; g < NP_GROUPS && !found; g++)
		found = owner_program_id(fd, g) == x->id;
	if (found)
		snprintf(x->name, OWNER_NAME, "%s", name);
	sys_close(&fd);
	return found;
}

bool owner_find(uint32_t id, char ret_name[OWNER_NAME])
{
	bool found = false;

	for (unsigned i = 0; id && !found && bpffs_root(NULL, i); i++) {
		struct owner_search x = { .id = id, .name = ret_name };
		struct bpffs h;

		if (bpffs_open(bpffs_root(NULL, i), &h) == 0) {
			x.netpoll = h.netpoll;
			found = folder_each(h.netpoll, owner_look, &x) == 1;
		}
		bpffs_close(&h);
	}
	return found;
}

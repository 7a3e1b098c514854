/* SPDX-License-Identifier: BSD-2-Clause */
/* rights: /proc/thread-self/status, since capabilities and filters are a thread's, and uid_map. */
#include "sys/rights.h"

#include <stdio.h>
#include <string.h>

#define SECCOMP_FILTERED 2
/* how many the machine's own user namespace maps, from 0 to 0 */
#define EVERY_UID        4294967295u

static bool rights_of_thread(struct sys_rights *ret)
{
	FILE *f = fopen("/proc/thread-self/status", "re");
	unsigned long long caps;
	bool found = false;
	char line[256];
	int mode;

	if (!f)
		return false;
	while (fgets(line, sizeof line, f)) {
		if (sscanf(line, "CapEff: %llx", &caps) == 1) {
			ret->caps = caps;
			found = true;
		}
		if (sscanf(line, "Seccomp: %d", &mode) == 1)
			ret->filtered = mode == SECCOMP_FILTERED;
	}
	fclose(f);
	return found;
}

/* An empty map, of a namespace that nobody has given one yet, is not the machine's own either. */
static bool rights_in_user_ns(void)
{
	FILE *f = fopen("/proc/self/uid_map", "re");
	unsigned inside, outside, n;
	bool own;

	if (!f)
		return false; /* built without user namespaces */
	own = fscanf(f, "%u %u %u", &inside, &outside, &n) == 3 && inside == 0 && outside == 0 &&
	      n == EVERY_UID;
	fclose(f);
	return !own;
}

void sys_rights_read(struct sys_rights *ret)
{
	memset(ret, 0, sizeof *ret);
	ret->known = rights_of_thread(ret);
	if (ret->known)
		ret->user_ns = rights_in_user_ns();
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* netstat: /proc/net/netstat has two lines for each kind: names, and below them numbers. */
#include "netstat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The place of @name among the words of @line; 0: it is not there. */
static unsigned netstat_place(char *line, const char *name)
{
	unsigned i = 0;

	for (char *rest, *w = strtok_r(line, " \n", &rest); w;
	     w = strtok_r(NULL, " \n", &rest), i++)
		if (!strcmp(w, name))
			return i;
	return 0;
}

static bool netstat_word(char *line, unsigned place, uint64_t *ret)
{
	unsigned i = 0;

	for (char *rest, *w = strtok_r(line, " \n", &rest); w; w = strtok_r(NULL, " \n", &rest))
		if (i++ == place) {
			*ret = strtoull(w, NULL, 10);
			return true;
		}
	return false;
}

bool netstat_read(const char *name, uint64_t *ret)
{
	FILE *f = fopen("/proc/net/netstat", "re");
	char *line = NULL;
	unsigned place = 0;
	bool found = false;
	size_t cap = 0;

	if (!f)
		return false;
	while (!found && getline(&line, &cap, f) > 0) {
		if (place)
			found = netstat_word(line, place, ret);
		else if (!strncmp(line, "TcpExt:", 7))
			place = netstat_place(line, name);
	}
	free(line);
	fclose(f);
	return found;
}

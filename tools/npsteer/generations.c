/* SPDX-License-Identifier: BSD-2-Clause */
/* generations: workers are put together by the process that they name. */
#include "generations.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct generation *generations_place(struct generations *g, int pid, uint64_t pid_ns)
{
	for (unsigned i = 0; i < g->n; i++)
		if (g->all[i].pid == pid && g->all[i].pid_ns == pid_ns)
			return &g->all[i];
	if (g->n == GENERATIONS)
		return NULL;
	g->all[g->n] = (struct generation){ .pid = pid, .pid_ns = pid_ns };
	return &g->all[g->n++];
}

static void generations_add(struct generations *g, const struct fact_worker *w)
{
	const struct np_steer_worker_info *i = &w->info;
	struct generation *of = generations_place(g, i->pid, i->pid_ns);

	if (!of)
		return;
	of->workers++;
	of->listeners += w->listeners;
	of->conns += i->conns;
	of->left += i->closed_total + i->moved_out;
	of->knows |= !i->adopted && !i->held;
	of->serves |= w->listeners && i->state == NP_STEER_READY;
}

/*
 * Of /proc/PID/stat the 22nd word: when it began, in ticks. Its name, the second, may be anything
 * in brackets.
 */
static double generation_age(int pid)
{
	char path[32], line[1024], *at;
	unsigned long long began;
	double up = 0;
	FILE *f;
	size_t n;

	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	n = fread(line, 1, sizeof line - 1, f);
	fclose(f);
	line[n] = '\0';
	at = strrchr(line, ')');
	f = fopen("/proc/uptime", "re");
	if (!f || fscanf(f, "%lf", &up) != 1)
		at = NULL;
	if (f)
		fclose(f);
	for (int i = 2; at && i < 22; i++)
		at = strchr(at + 1, ' ');
	if (!at || sscanf(at, "%llu", &began) != 1)
		return 0;
	return up - (double)began / (double)sysconf(_SC_CLK_TCK);
}

static int generations_by_age(const void *a, const void *b)
{
	const struct generation *x = a, *y = b;

	if (x->age != y->age)
		return x->age > y->age ? -1 : 1;
	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

void generations_of(const struct facts *f, struct generations *ret)
{
	*ret = (struct generations){ .at = f->at };
	for (unsigned i = 0; i < f->n; i++)
		generations_add(ret, &f->workers[i]);
	for (unsigned i = 0; i < ret->n; i++)
		if (!ret->all[i].pid_ns)
			ret->all[i].age = generation_age(ret->all[i].pid);
	qsort(ret->all, ret->n, sizeof ret->all[0], generations_by_age);
}

const struct generation *generations_find(const struct generations *g, int pid)
{
	for (unsigned i = 0; i < g->n; i++)
		if (g->all[i].pid == pid && !g->all[i].pid_ns)
			return &g->all[i];
	return NULL;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* merge: one answer out of those of several shards */
#ifndef KV_MERGE_H
#define KV_MERGE_H

#include "batch.h"
#include "info.h"
#include "writer.h"

struct merged {
	struct writer *w;
	int64_t sum;
	size_t n;                /* elements of .list */
	struct np_linkbuf *list; /* NULL: there is none */
	char line[512];          /* the first error, or the one that is not nil */
	size_t n_line;
	bool long_line; /* that one has been written */
	struct info_counts counts;
};

void merge_open(struct merged *m, struct writer *w);
/* The next @n bytes of @from: one answer. Return: 0; -ENOMEM. */
int merge_take(struct merged *m, enum merge how, struct np_linkbuf *from, size_t n);
/* What has been merged is written. Return: 0; -ENOMEM. */
int merge_close(struct merged *m, enum merge how);
void merge_fini(struct merged *m);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* exposed: written to a file first: what reads it may be slower than a pipe is long. */
#include "support/exposed.h"

#include <stdio.h>
#include <stdlib.h>

#include "netpoll/linkbuf.h"

char *exposed(int format, void (*more)(struct np_metrics *m))
{
	struct np_linkbuf *b;
	struct np_metrics *m;
	char *text;

	ck_assert_int_eq(np_linkbuf_new(0, &b), 0);
	ck_assert_int_eq(np_metrics_begin(b, format, &m), 0);
	np_metrics_process(m);
	if (more)
		more(m);
	ck_assert_int_eq(np_metrics_end(&m), 0);
	ck_assert_ptr_null(m);
	ck_assert_int_eq(np_linkbuf_flush(b), 0);
	ck_assert_int_eq(np_linkbuf_dup(b, np_linkbuf_len(b), &text), 0);
	np_linkbuf_free(&b);
	return text;
}

void exposed_to(struct ran *r, const char *text, const char *command)
{
	char *dir = temp_dir(), path[128];
	FILE *f;

	snprintf(path, sizeof path, "%s/metrics", dir);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
	sh(r, "%s < %s", command, path);
	remove_tree(&dir);
}

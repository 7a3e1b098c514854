/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kv: the example's reader of commands, as bytes
 *
 * Whatever comes: the commands that are found do not depend on the pieces in which the bytes came,
 * nor on where those lie; arguments lie within them.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(int ok)
{
	if (!ok)
		abort();
}

/* What was found, folded into a number. */
struct found {
	uint64_t sum;
	unsigned commands;
	int last;
};

static void fold(struct found *f, const void *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		f->sum = (f->sum ^ ((const unsigned char *)p)[i]) * 1099511628211u;
	f->sum = (f->sum ^ n) * 1099511628211u;
}

static void take(struct reader *r, const char *p, struct found *f)
{
	struct arg *argv = calloc((size_t)r->n_parts + 1, sizeof *argv);

	reader_args(r, p, argv);
	for (int i = 0; i < r->n_parts; i++) {
		must(r->is_line || (size_t)(argv[i].p - p) + argv[i].n <= r->at);
		fold(f, argv[i].p, argv[i].n);
	}
	f->commands++;
	free(argv);
}

/* @step bytes come at a time, each time in memory of its own size: a byte behind it is seen. */
static struct found read_all(const uint8_t *data, size_t n, size_t step)
{
	struct found f = { 0 };
	struct reader r;
	size_t used = 0, have = 0, room;
	char *p;

	reader_init(&r);
	for (f.last = READER_MORE; have < n && f.last == READER_MORE;) {
		have = n - have < step ? n : have + step;
		room = have - used;
		p = malloc(room ? room : 1);
		memcpy(p, data + used, room);
		for (size_t at = 0;;) {
			f.last = reader_parse(&r, p + at, room - at);
			if (f.last != READER_COMMAND)
				break;
			must(r.at > 0 && r.at <= room - at);
			take(&r, p + at, &f);
			at += r.at;
			used += r.at;
			reader_next(&r);
		}
		must(f.last != READER_MORE || r.need > have - used);
		free(p);
	}
	if (f.last == READER_BAD)
		fold(&f, r.error, strlen(r.error));
	reader_fini(&r);
	return f;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct found whole = read_all(data, n, n ? n : 1), part;

	for (size_t step = 1; step <= 7 && n < 600; step += 3) {
		part = read_all(data, n, step);
		must(part.sum == whole.sum && part.commands == whole.commands &&
		     part.last == whole.last);
	}
	return 0;
}

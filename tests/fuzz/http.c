/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * http: the example HTTP server's requests, as bytes
 *
 * Whatever comes: where a head ends does not depend on the pieces it came in; what is read of it
 * lies within it; a path that is taken names something beneath the folder; ranges are parts of the
 * file, and no byte is in two of them.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "condition.h"
#include "head.h"
#include "path.h"
#include "range.h"
#include "request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(int ok)
{
	if (!ok)
		abort();
}

/* ------------------------------------------------------------------ what is read */

static void check_path(const struct request *rq)
{
	char *name = malloc(PATH_NAME_MAX);
	int status = path_name(rq->path, name);

	must(status == 0 || status == 400 || status == 404);
	if (status == 0) {
		must(name[0] != '/' && name[0] != '.');
		must(!strstr(name, "/.") && !strstr(name, "//"));
	}
	free(name);
}

static void check_ranges(struct text header, uint64_t size)
{
	struct range r[RANGES_MAX];
	int n = range_parse(header, size, r);

	must(n == -416 || (n >= 0 && n <= RANGES_MAX));
	for (int i = 0; i < n; i++) {
		must(r[i].n && r[i].from < size && r[i].n <= size - r[i].from);
		for (int k = 0; k < i; k++)
			must(r[k].from + r[k].n < r[i].from || r[i].from + r[i].n < r[k].from);
	}
}

static void check_conditions(const struct request *rq)
{
	struct stat st = { .st_ino = 1, .st_size = 10, .st_mtim = { .tv_sec = 1000000000 } };
	struct version v;
	int status;

	version_init(&v, &st);
	status = condition_status(rq, &v);
	must(status == 0 || status == 304 || status == 412);
	condition_range(rq, &v);
}

static void check_within(struct text t, const char *head, size_t n)
{
	must(!t.n || (t.p >= head && t.p + t.n <= head + n));
}

static void check_request(const char *head, size_t n)
{
	struct request rq;

	request_parse(&rq, head, n);
	check_within(rq.line, head, n);
	check_within(rq.host, head, n);
	check_within(rq.user_agent, head, n);
	if (rq.status) {
		must(rq.status >= 400 && rq.status <= 505);
		return;
	}
	must(!rq.chunked || !rq.has_length);
	must(rq.is_1_0 || rq.host.p);
	if (*rq.path.p == '/')
		check_path(&rq);
	for (uint64_t size = 0; rq.range.p && size < 3; size++) {
		check_ranges(rq.range, size);
		check_ranges(rq.range, 1000 * size);
		check_ranges(rq.range, UINT64_MAX - size);
	}
	check_conditions(&rq);
}

/* ------------------------------------------------------------------ its end */

static long find_piecewise(const char *p, size_t n)
{
	struct head h = { 0 };
	long r = 0;

	for (size_t k = 1; k <= n && !r; k++)
		r = head_find(&h, p, k);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	/* in memory of its own size, so that a byte behind it is seen */
	char *copy = malloc(n ? n : 1);
	struct head h = { 0 };
	long r;

	memcpy(copy, data, n);
	r = head_find(&h, copy, n);
	must(r <= (long)n);
	if (n < 2000)
		must(find_piecewise(copy, n) == r);
	if (r > 0) {
		copy = realloc(copy, (size_t)r);
		check_request(copy + h.begin, (size_t)r - h.begin);
	}
	free(copy);
	return 0;
}

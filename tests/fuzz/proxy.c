/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * proxy: the example proxy's PROXY headers, as bytes
 *
 * Whatever comes: what a header says does not depend on how many bytes had come when it was read,
 * and what is passed on says the same.
 */
#include "header.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(int ok)
{
	if (!ok)
		abort();
}

/* In memory of its own size, so that a byte behind it is seen. */
static long parse(const uint8_t *data, size_t n, struct ends *ends)
{
	void *copy = malloc(n ? n : 1);
	long r;

	memset(ends, 0, sizeof *ends);
	memcpy(copy, data, n);
	r = header_parse(copy, n, ends);
	free(copy);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct ends ends, again;
	char made[HEADER_MAX];
	long len = parse(data, n, &ends), r;

	for (size_t k = 0; k < n && k < 256; k++) {
		r = parse(data, k, &again);
		if (r > 0)
			must(r == len && !memcmp(&again, &ends, sizeof ends));
		else
			must(r == 0 || len < 0);
	}
	if (len <= 0 || !ends.from.ss_family)
		return 0;
	for (int version = 1; version <= 2; version++) {
		size_t size = header_make(made, version, &ends);

		must(size <= sizeof made);
		must(parse((const uint8_t *)made, size, &again) == (long)size);
		must(!memcmp(&again, &ends, sizeof ends));
	}
	return 0;
}

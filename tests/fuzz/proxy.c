/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * proxy: PROXY headers as the library reads them and the example proxy makes them
 *
 * Whatever comes: what a header says does not depend on how many bytes had come when it was read,
 * and what is passed on says the same.
 */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "conn/proxy_header.h"
#include "header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(int ok)
{
	if (!ok)
		abort();
}

/* In memory of its own size, so that a byte behind it is seen. */
static long parse(const uint8_t *data, size_t n, struct proxy_ends *ends)
{
	void *copy = malloc(n ? n : 1);
	long r;

	memset(ends, 0, sizeof *ends);
	memcpy(copy, data, n);
	r = proxy_header_parse(copy, n, ends);
	free(copy);
	return r;
}

static struct sockaddr_storage address(const struct proxy_end *e)
{
	struct sockaddr_storage ss = { .ss_family = e->family };

	if (e->family == AF_INET) {
		((struct sockaddr_in *)&ss)->sin_port = e->port;
		memcpy(&((struct sockaddr_in *)&ss)->sin_addr, e->addr, 4);
	} else {
		((struct sockaddr_in6 *)&ss)->sin6_port = e->port;
		memcpy(&((struct sockaddr_in6 *)&ss)->sin6_addr, e->addr, 16);
	}
	return ss;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct proxy_ends ends, again;
	struct ends given;
	char made[HEADER_MAX];
	long len = parse(data, n, &ends), r;

	must(n < PROXY_LOOK_MAX || len != 0);
	for (size_t k = 0; k < n && k < 256; k++) {
		r = parse(data, k, &again);
		if (r > 0)
			must(r == len && !memcmp(&again, &ends, sizeof ends));
		else
			must(r == 0 || len < 0);
	}
	if (len <= 0 || !ends.from.family)
		return 0;
	given = (struct ends){ address(&ends.from), address(&ends.to) };
	for (int version = 1; version <= 2; version++) {
		size_t size = header_make(made, version, &given);

		must(size <= sizeof made);
		must(parse((const uint8_t *)made, size, &again) == (long)size);
		must(!memcmp(&again, &ends, sizeof ends));
	}
	return 0;
}

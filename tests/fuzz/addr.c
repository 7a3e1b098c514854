/* SPDX-License-Identifier: BSD-2-Clause */
/* addr: literal addresses. What is taken is printed, and what is printed is taken for the same
 * address. */
#include "sys/addr.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(int ok)
{
	if (!ok)
		abort();
}

static void print_and_read_back(const struct addr *a)
{
	int is_unix = a->ss.ss_family == AF_UNIX;
	char text[160], little[8];
	struct addr b;

	addr_format(&a->ss, a->len, text, sizeof text);
	must(addr_parse(is_unix ? "unix" : "tcp", text + (is_unix ? 5 : 0), &b) == 0);
	must(a->len == b.len && !memcmp(&a->ss, &b.ss, sizeof a->ss));

	memset(little, 'x', sizeof little);
	addr_format(&a->ss, a->len, little, sizeof little);
	must(memchr(little, '\0', sizeof little) && !memcmp(little, text, strlen(little)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char *const networks[] = { "tcp", "tcp4", "tcp6", "unix" };
	struct addr a = { .len = 12345 };
	char *text;
	int r;

	if (n < 1)
		return -1;
	text = malloc(n);
	memcpy(text, data + 1, n - 1);
	text[n - 1] = '\0';
	r = addr_parse(networks[data[0] % 4], text, &a);
	free(text);
	if (r == 0)
		print_and_read_back(&a);
	else
		must(r < 0 && a.len == 12345);
	return 0;
}

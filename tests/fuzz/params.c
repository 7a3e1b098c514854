/* SPDX-License-Identifier: BSD-2-Clause */
/* params: any text as a parameter's value is refused, or taken and read back as itself. */
#include <stdlib.h>
#include <string.h>

#include "steer/steer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A service on plain memory: the same words, and no program. */
static struct np_steer *params_service(void)
{
	static struct np_steer s;

	if (!s.maps.config) {
		steer_init(&s);
		if (maps_fake(&s.maps) < 0)
			abort();
		s.level = NP_STEER_L4;
	}
	return &s;
}

static void params_read_back(struct np_steer *s, const char *name)
{
	char first[256], second[256];

	if (np_steer_param(s, name, first, sizeof first) != 0 ||
	    np_steer_set_param(s, name, first) != 0 ||
	    np_steer_param(s, name, second, sizeof second) != 0 || strcmp(first, second) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct np_steer *s = params_service();
	char value[257];
	const char *name;
	unsigned i = 0;

	if (n < 1 || n > sizeof value - 1)
		return -1;
	while (np_steer_params(i))
		i++;
	name = np_steer_params(data[0] % i);
	memcpy(value, data + 1, n - 1);
	value[n - 1] = '\0';
	if (np_steer_set_param(s, name, value) == 0)
		params_read_back(s, name);
	return 0;
}

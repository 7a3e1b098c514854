/* SPDX-License-Identifier: BSD-2-Clause */
/* decision: any bytes are told in words or refused as a record; the replay comes to an end. */
#include <stdlib.h>
#include <string.h>

#include "steer/decision.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A short input is made long with zeroes if its first byte says so: small ones reach the replay. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct np_steer_decision out = { .sz = 0 };
	struct np_decision d;
	size_t size;
	int r;

	if (n < 1)
		return -1;
	size = data[0] & 1 ? n - 1 : sizeof d;
	memset(&d, 0, sizeof d);
	memcpy(&d, data + 1, n - 1 < sizeof d ? n - 1 : sizeof d);
	r = decision_read(&d, size, &out);
	if ((r == 0) != (size >= sizeof d) || (r < 0 && out.sz))
		abort();
	if (r == 0 &&
	    (!out.policy || !out.verdict || out.worker < -1 || out.worker >= (int)NP_WORKERS))
		abort();
	return 0;
}

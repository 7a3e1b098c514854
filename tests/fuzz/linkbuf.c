/* SPDX-License-Identifier: BSD-2-Clause */
/* linkbuf: libFuzzer's side of the buffer's model. What it found is run by tests/linkbuf_model.c
 * too. */
#include "support/linkbuf_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	if (n < 2)
		return -1; /* not worth keeping */
	model_run_input(data, n);
	return 0;
}

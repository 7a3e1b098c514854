/* SPDX-License-Identifier: BSD-2-Clause */
/* conn_message: any bytes are refused, or are a message that is written back as it was. */
#include "conn/conn_message.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct conn_message m, again;
	char *p;

	if (conn_message_read(data, n, &m) < 0)
		return 0;
	if (conn_message_size(&m) != n)
		abort();
	p = malloc(n);
	conn_message_write(&m, p);
	if (conn_message_read(p, n, &again) != 0 || again.flags != m.flags ||
	    again.transport != m.transport || again.call_at != m.call_at)
		abort();
	for (unsigned i = 0; i < CONN_MESSAGE_PARTS; i++)
		if (again.part[i].n != m.part[i].n ||
		    memcmp(again.part[i].p, m.part[i].p, m.part[i].n) != 0)
			abort();
	free(p);
	return 0;
}

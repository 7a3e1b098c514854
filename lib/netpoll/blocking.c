/* SPDX-License-Identifier: BSD-2-Clause */
/* blocking: a call that keeps its thread, and not the poller. */
#include <errno.h>

#include "netpoll/pollers.h"
#include "netpoll/pollers_private.h"
#include "poll/park.h"

int np_blocking(void (*fn)(void *), void *arg)
{
	struct park k;
	int r;

	if (!fn)
		return -EINVAL;
	r = park_init(&k, NULL, "thread");
	if (r == 0 && np_deadline_left() == 0)
		r = -ETIMEDOUT;
	if (r < 0)
		return r;
	fn(arg);
	return 0;
}

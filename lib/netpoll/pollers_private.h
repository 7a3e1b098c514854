/* SPDX-License-Identifier: BSD-2-Clause */
/* pollers: the inside of struct np_pollers, for the files of the facade. */
#ifndef NETPOLL_POLLERS_PRIVATE_H
#define NETPOLL_POLLERS_PRIVATE_H

#include <stdbool.h>

#include "poll/poller.h"

struct np_pollers {
	unsigned n;
	bool running;
	void (*log)(void *arg, int level, const char *msg);
	void *log_arg;
	struct poller *poller[];
};

#endif

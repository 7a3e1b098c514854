/* SPDX-License-Identifier: BSD-2-Clause */
/* beside: listeners of one process side by side at FOREIGN_PORT, each with SO_REUSEPORT */
#ifndef SUPPORT_BESIDE_H
#define SUPPORT_BESIDE_H

#include "support/child.h"

struct beside {
	const char *address; /* NULL: there are no more */
	int v6only;
};

/* The process accepts nothing. */
void given_beside(struct child *c, struct beside *b);
void end_beside(struct child *c);

#endif

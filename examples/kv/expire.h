/* SPDX-License-Identifier: BSD-2-Clause */
/* expire: when a key is to end, as commands say it */
#ifndef KV_EXPIRE_H
#define KV_EXPIRE_H

#include "command.h"

struct expire_option {
	int at;          /* the argument with the number; 0: none was given */
	int unit_ms;     /* 1 or 1000 */
	bool absolute;   /* else from now on */
	int64_t when_ms; /* expire_option_when() */
};

/* Whether argv[i] is EX, PX, EXAT or PXAT, the first of them, and another one follows. */
bool expire_option(struct exec *x, int i, struct expire_option *o);
/* The moment; where it is none, the answer has been written. It has to be above 0. */
bool expire_option_when(struct exec *x, struct expire_option *o);
/* From then on it ends, or it is removed at once. */
void expire_entry(struct exec *x, struct entry *e, int64_t when_ms);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* check: findings, as lines of a table or of JSON. */
#ifndef NPSTEER_CHECK_H
#define NPSTEER_CHECK_H

#include "npsteer.h"
#include "table.h"

enum found {
	FOUND_OK,
	FOUND_NOTE,   /* costs something, or only some policies */
	FOUND_LACKING /* lowers the level */
};

struct report {
	struct npsteer *n;
	gid_t gid; /* of --group */
	struct table table;
};

/* One finding. @mend is NULL where there is nothing to do. */
void check_found(struct report *r, const char *what, enum found found, const char *value,
		 const char *mend);

#endif

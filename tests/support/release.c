/* SPDX-License-Identifier: BSD-2-Clause */
/* release: the folder's name without the flavour, and a lock in it around each make. */
#include "support/release.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/run.h"
#include "support/test.h"

const char *release_dir(void)
{
	static const char *const flavours[] = { "/debug", "/asan", "/tsan", "/cov" };
	static char dir[4096];
	const char *build = getenv("NP_BUILD");

	snprintf(dir, sizeof dir, "%s", build ? build : "build");
	for (size_t i = 0; i < sizeof flavours / sizeof *flavours; i++) {
		char *at = strrchr(dir, '/');

		if (at && !strcmp(at, flavours[i]))
			*at = '\0';
	}
	return dir;
}

void release_make(const char *fmt, ...)
{
	char *words;
	va_list ap;

	va_start(ap, fmt);
	ck_assert_int_ge(vasprintf(&words, fmt, ap), 0);
	va_end(ap);
	must_sh("mkdir -p '%1$s' && flock '%1$s/.made' " PLAIN_MAKE " O='%1$s' %2$s", release_dir(),
		words);
	free(words);
}

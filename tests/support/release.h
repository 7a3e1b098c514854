/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * release: the release build beside the one under test, made and installed as its user does it
 *
 * It is one folder for all test programs, and several of them run at once: two makes in it would
 * take each other's half-written files, so they come one after another.
 */
#ifndef SUPPORT_RELEASE_H
#define SUPPORT_RELEASE_H

/* A user's make: none of the variables, nor the job slots, of the make that runs this test. */
#define PLAIN_MAKE \
	"env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u FLAVOUR -u O make --no-print-directory"

/* The folder, from the top of the tree. It lives as long as the program. */
const char *release_dir(void);
/* make with these words, for the shell, in that folder; fails the test unless it succeeds. */
void release_make(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif

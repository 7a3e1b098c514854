/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * run: other programs as a test sees them: exit code, stdout and stderr
 *
 * A command that does not end by the deadline is killed and reported as code -1, so that a hanging
 * tool fails its test and nothing else. A daemon that it has started outlives it, and ends with the
 * test (reaper.h).
 */
#ifndef SUPPORT_RUN_H
#define SUPPORT_RUN_H

#include <stdbool.h>
#include <stddef.h>

struct ran {
	int code;        /* exit status; 128 + signal; -1 at the deadline */
	char *out, *err; /* NUL-terminated, never NULL */
};

/*
 * Runs argv[0], found through PATH, stdin from /dev/null. Fails the test if it cannot be started.
 */
void run(struct ran *r, const char *const argv[]);
void ran_free(struct ran *r);

/* `sh -c` of the formatted text. sh() gives the outcome, must_sh() fails the test unless it exits
 * 0. */
void sh(struct ran *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void must_sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Whether the shell finds @tool. */
bool have(const char *tool);

/* A new empty folder, made by mkdtemp; the caller removes it with remove_tree(). malloc'ed. */
char *temp_dir(void);
void remove_tree(char **dir);

/* main()'s, around the tests: what those have left that failed or timed out is removed. */
void temp_dirs_begin(void);
void temp_dirs_end(void);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * process: what a process that runs on the library says of itself, over its socket
 *
 * np_pollers_opts.observe is what makes one. A question is a line, the answer "ok" and what was
 * asked for.
 */
#ifndef NPSTEER_PROCESS_H
#define NPSTEER_PROCESS_H

#include <stdbool.h>

#include "npsteer.h"

/* Whether @word is the number of a process that can be asked, or the path of a socket. */
bool names_process(const char *word);
/*
 * process_ask() - the answer to @question: "conns json"
 *
 * Lifetime: *ret is for free(3). DONE, or what fail() returned.
 */
int process_ask(struct npsteer *n, const char *question, char **ret);
#define PROCESS_WHY_MAX 256
/* The same, of the process that @word names, which may be silent for @limit_s. Thread: any. Return:
 * an exit code; *why says what it means. */
int process_question(const char *word, const char *question, int limit_s, char **ret,
		     char why[PROCESS_WHY_MAX]);
/* Its pollers and servers, every @every seconds, @count times; 0: for ever. */
int process_top(struct npsteer *n, double every, long count);

#endif

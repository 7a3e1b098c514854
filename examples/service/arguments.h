/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * arguments: options and their values; what is wrong with one is said on stderr, as "PROGRAM: ..."
 */
#ifndef SERVICE_ARGUMENTS_H
#define SERVICE_ARGUMENTS_H

#include <getopt.h>
#include <netpoll/server.h>
#include <stdio.h>

struct arguments {
	const struct option *longs; /* for getopt_long(3); --help is 'h' */
	int (*take)(void *arg, int ch);
	void (*usage)(FILE *f);
};

/*
 * arguments_take() - take(@arg, ...) of each option in turn, with its value in optarg
 *
 * --help ends the program with its usage. Return: 0; -1: take()'s, or no option, and that was said.
 */
int arguments_take(const struct arguments *a, int argc, char **argv, void *arg);

/* Says "@what '@value'; see PROGRAM --help". Return: -1. */
int argument_bad(const char *what, const char *value);
/* Whole numbers from @least to @most, or to INT_MAX. Return: 0; -1: said, and *ret is untouched. */
int argument_number(const char *option, const char *text, long long least, long long most,
		    long long *ret);
int argument_int(const char *option, const char *text, int least, int *ret);
/* Which of the @n names it is. @what: "--x is a or b, not". Return: as argument_number(). */
int argument_choice(const char *what, const char *text, const char *const *names, int n, int *ret);
int argument_steer(const char *text, enum np_steer_mode *ret);

#endif

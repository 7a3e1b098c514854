/* SPDX-License-Identifier: BSD-2-Clause */
/* arguments: none is guessed, and none is cut to what fits. */
#include "arguments.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int arguments_take(const struct arguments *a, int argc, char **argv, void *arg)
{
	int ch;

	while ((ch = getopt_long(argc, argv, "", a->longs, NULL)) != -1) {
		if (ch == 'h') {
			a->usage(stdout);
			exit(EXIT_SUCCESS);
		}
		if (ch == '?') {
			a->usage(stderr);
			return -1;
		}
		if (a->take(arg, ch) < 0)
			return -1;
	}
	return 0;
}

int argument_bad(const char *what, const char *value)
{
	const char *program = program_invocation_short_name;

	fprintf(stderr, "%s: %s '%s'; see %s --help\n", program, what, value, program);
	return -1;
}

int argument_number(const char *option, const char *text, long long least, long long most,
		    long long *ret)
{
	char what[96], *end;
	long long n;

	errno = 0;
	n = strtoll(text, &end, 10);
	if (errno || end == text || *end || n < least || n > most) {
		snprintf(what, sizeof what, "%s takes a number from %lld on, not", option, least);
		return argument_bad(what, text);
	}
	*ret = n;
	return 0;
}

int argument_int(const char *option, const char *text, int least, int *ret)
{
	long long n;
	int r = argument_number(option, text, least, INT_MAX, &n);

	if (r == 0)
		*ret = (int)n;
	return r;
}

int argument_choice(const char *what, const char *text, const char *const *names, int n, int *ret)
{
	for (int i = 0; i < n; i++)
		if (!strcmp(text, names[i])) {
			*ret = i;
			return 0;
		}
	return argument_bad(what, text);
}

int argument_steer(const char *text, enum np_steer_mode *ret)
{
	static const char *const names[] = { "auto", "required", "off" };
	const char *what = "--steer is auto, required or off, not";
	int mode, r = argument_choice(what, text, names, 3, &mode);

	if (r == 0)
		*ret = (enum np_steer_mode)mode;
	return r;
}

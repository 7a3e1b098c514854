/* SPDX-License-Identifier: BSD-2-Clause */
/* options: the command line */
#ifndef HTTP_OPTIONS_H
#define HTTP_OPTIONS_H

#include <netpoll/server.h>

#include "examples/certs/certs.h"
#include "examples/service/addresses.h"
#include "site.h"

struct options {
	struct addresses listen;
	const char *folder, *log; /* NULL: none */
	bool may_block;
	struct certs certs; /* none: plain HTTP */
	struct np_pollers_opts pollers;
	struct np_server_opts server;
	struct site site; /* its limits */
};

/* options_parse() - Return: 0; -1: said on stderr. --help is printed, and the process ends. */
int options_parse(int argc, char **argv, struct options *o);

#endif

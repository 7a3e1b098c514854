/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * names_conf: whether the machine's words about host names are few enough for a lookup over
 * sockets, and the two that c-ares does not read
 *
 * Words that are not understood here are for getaddrinfo(3), which honours all of them.
 */
#ifndef SYS_NAMES_CONF_H
#define SYS_NAMES_CONF_H

#include <stdbool.h>
#include <stdio.h>

struct names_conf {
	char lookups[3]; /* "fb": /etc/hosts, then name servers; "bf": the other way round */
	int timeout_ms;  /* of one question to one server */
	int attempts;
};

/* nsswitch.conf: whether its `hosts` line is `files dns` or `dns files`; sets lookups. NULL: no. */
bool names_conf_nsswitch(FILE *f, struct names_conf *c);
/* gai.conf: whether it has no line but comments. NULL: there is none. */
bool names_conf_gai(FILE *f);
/* resolv.conf: whether c-ares heeds all of it; sets timeout_ms, attempts. NULL: there is none. */
bool names_conf_resolv(FILE *f, struct names_conf *c);
/* The words behind `options`, and those of the variable RES_OPTIONS. NULL: none. */
bool names_conf_options(const char *words, struct names_conf *c);
/*
 * names_conf_read() - the three files, and RES_OPTIONS; small, and read while the caller waits
 *
 * Return: 1: *ret is all there is to know; 0: getaddrinfo(3) is to be asked; -EMFILE, -ENFILE,
 *         -ENOMEM.
 */
int names_conf_read(struct names_conf *ret);

#endif

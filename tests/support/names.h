/* SPDX-License-Identifier: BSD-2-Clause */
/* names: an /etc of the test's own, and a name server for it. Both end with the test's process. */
#ifndef SUPPORT_NAMES_H
#define SUPPORT_NAMES_H

#include <stdbool.h>

/*
 * own_etc() - from now on this process sees the files of @dir in place of those of the same name in
 * /etc
 *
 * In a mount namespace of its own. What is not in /etc is left out. Return: false: no such
 * namespace is to be had.
 */
bool own_etc(const char *dir);
void drop_etc(const char *dir);

/*
 * names_begin() - a network namespace with a name server on 127.0.0.1, and an /etc that says to ask
 * it
 *
 * @hosts is the line of nsswitch.conf, "files dns"; @options that of resolv.conf, may be "". The
 * server knows:
 *
 *   good.test     A 127.0.0.1, no AAAA
 *   many.test     A 127.0.1.1 to 127.0.1.24
 *   six.test      AAAA ::1, no A
 *   wide.test     A 127.0.0.1, by TCP only: the answer by UDP is cut
 *   broken.test   SERVFAIL
 *   half.test     SERVFAIL for A, no AAAA
 *   silent*       no answer until names_speak(), then SERVFAIL
 *   all others    NXDOMAIN
 *
 * and hosts has 127.0.0.1 for "filed". Return: false: needs root.
 */
bool names_begin(const char *hosts, const char *options);
void names_speak(void);
/* How many questions have been met with silence. */
unsigned names_silences(void);
void names_end(void);

#endif

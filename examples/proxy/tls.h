/* SPDX-License-Identifier: BSD-2-Clause */
/* tls: the contexts of the two sides; a proxy that was built without TLS says so. */
#ifndef EXAMPLES_PROXY_TLS_H
#define EXAMPLES_PROXY_TLS_H

struct np_tls;

/* Of @files, "CERT,KEY". Return: 0; -1: it was said on stderr why. */
int tls_of_clients(char *files, struct np_tls **ret);
/* @ca: a file of those who are trusted; "system": the system's. */
int tls_of_upstream(const char *ca, struct np_tls **ret);
void tls_end(struct np_tls **t);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* certs: the certificates of --tls, what a server has of them, and whom a client trusts */
#ifndef CERTS_CERTS_H
#define CERTS_CERTS_H

#include <netpoll/tls.h>

#define CERTS_MAX 8

struct certs {
	struct np_tls_cert each[CERTS_MAX];
	int n;
	int offload_us; /* as np_tls_opts.offload_us */
};

/*
 * certs_add() - @text: "CERT,KEY"
 *
 * Lifetime: it is copied, for the next program is started with the same arguments; until
 * certs_free(). Return: 0; -1: it is no such text, or there is no room, which is said on stderr.
 */
int certs_add(struct certs *c, const char *text);
/*
 * certs_load() - reads them; @alpn: as np_tls_opts.alpn
 *
 * Return: 0; *ret is NULL where --tls was not given; -1: said on stderr, also by a program that was
 * built without libnetpoll-bpf-tls.
 */
int certs_load(const struct certs *c, const char *const *alpn, struct np_tls **ret);
/* certs_trust() - a client's; @ca: a PEM file, or "system". Return: as certs_load(). */
int certs_trust(const char *ca, struct np_tls **ret);
/* certs_free() - these, and what certs_load() gave, behind the last connection */
/* What it has counted; @t NULL: nothing. */
void certs_metrics(struct np_metrics *m, struct np_tls *t);
void certs_free(struct certs *c, struct np_tls **t);

#endif

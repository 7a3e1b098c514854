/* SPDX-License-Identifier: BSD-2-Clause */
/* tls: one sentence where a file is wrong, before anything listens. */
#include "tls.h"

#include <stdio.h>
#include <string.h>

#ifdef NP_HAVE_TLS
#include <netpoll/tls.h>

static int tls_said(int r, const char *why)
{
	if (r < 0)
		fprintf(stderr, "proxy: %s\n", *why ? why : np_strerror(r));
	return r < 0 ? -1 : 0;
}

int tls_of_clients(char *files, struct np_tls **ret)
{
	struct np_tls_cert cert = { .cert = strtok(files, ","), .key = strtok(NULL, ",") };
	char why[256] = "";

	return tls_said(np_tls_server_new(NP_OPTS(np_tls_opts, .certs = &cert, .n_certs = 1,
						  .error = why, .error_size = sizeof why),
					  ret),
			why);
}

int tls_of_upstream(const char *ca, struct np_tls **ret)
{
	char why[256] = "";

	return tls_said(np_tls_client_new(NP_OPTS(np_tls_opts,
						  .ca_file = strcmp(ca, "system") ? ca : NULL,
						  .error = why, .error_size = sizeof why),
					  ret),
			why);
}

void tls_end(struct np_tls **t)
{
	np_tls_free(t);
}
#else
static int tls_is_missing(void)
{
	fprintf(stderr, "proxy: built without libnetpoll-bpf-tls\n");
	return -1;
}

int tls_of_clients(char *files, struct np_tls **ret)
{
	return tls_is_missing();
}

int tls_of_upstream(const char *ca, struct np_tls **ret)
{
	return tls_is_missing();
}

void tls_end(struct np_tls **t)
{
}
#endif

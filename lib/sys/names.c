/* SPDX-License-Identifier: BSD-2-Clause */
/* names: getaddrinfo(3), and the order in which addresses are tried. */
#include "sys/names.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "netpoll/status.h"

/* EAI_FAIL too says nothing about the name: a server refused to answer. */
static int names_error(int err)
{
	switch (err) {
	case EAI_NONAME:
	case EAI_NODATA:
	case EAI_ADDRFAMILY:
		return -NP_ERESOLVE;
	case EAI_MEMORY:
		return -ENOMEM;
	case EAI_SYSTEM:
		return errno == EMFILE || errno == ENFILE ? -errno : -NP_ERESOLVEAGAIN;
	default:
		return -NP_ERESOLVEAGAIN;
	}
}

void names_in_turn(struct addr *list, unsigned n)
{
	for (unsigned i = 1; i < n; i++) {
		bool same = i % 2 == 0;
		unsigned k = i;
		struct addr a;

		while (k < n && (list[k].ss.ss_family == list[0].ss.ss_family) != same)
			k++;
		if (k == n)
			return; /* of one of them there is none left */
		a = list[k];
		memmove(&list[i + 1], &list[i], (k - i) * sizeof a);
		list[i] = a;
	}
}

static int names_copy(const struct addrinfo *list, struct addr **ret)
{
	struct addr *v;
	unsigned n = 0;

	for (const struct addrinfo *ai = list; ai; ai = ai->ai_next)
		n++;
	v = calloc(n, sizeof *v);
	if (!v)
		return -ENOMEM;
	n = 0;
	for (const struct addrinfo *ai = list; ai; ai = ai->ai_next) {
		v[n].len = ai->ai_addrlen;
		memcpy(&v[n++].ss, ai->ai_addr, ai->ai_addrlen);
	}
	names_in_turn(v, n);
	*ret = v;
	return (int)n;
}

int names_lookup(const char *network, const char *address, struct addr **ret)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV }, *list;
	char host[NAMES_HOST_MAX], port[8];
	int n, r;

	r = addr_split(address, host, sizeof host, &n);
	if (r < 0)
		return r;
	hints.ai_family = !strcmp(network, "tcp4") ? AF_INET :
			  !strcmp(network, "tcp6") ? AF_INET6 :
						     AF_UNSPEC;
	snprintf(port, sizeof port, "%d", n);
	r = getaddrinfo(host, port, &hints, &list);
	if (r)
		return names_error(r);
	n = names_copy(list, ret);
	freeaddrinfo(list);
	return n;
}

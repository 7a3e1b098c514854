/* SPDX-License-Identifier: BSD-2-Clause */
/* places: a namespace is known by the cookie that a socket made in it tells. */
#include "steer/places.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "steer/find.h"
#include "steer/steer.h"
#include "sys/diag.h"
#include "sys/io.h"
#include "sys/sock.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

static uint64_t places_cookie(int fd)
{
	uint64_t cookie = 0;

	return sys_getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, sizeof cookie) < 0 ? 0 :
											     cookie;
}

int places_open(struct places *p)
{
	int r;

	memset(p, 0, sizeof *p);
	p->all[0].diag_fd = -1;
	r = sys_diag_open(&p->all[0].diag_fd);
	if (r < 0)
		return r;
	p->all[0].cookie = places_cookie(p->all[0].diag_fd);
	p->n = 1;
	return 0;
}

void places_rest(struct places *p)
{
	while (p->n > 1)
		sys_close(&p->all[--p->n].diag_fd);
}

void places_close(struct places *p)
{
	while (p->n)
		sys_close(&p->all[--p->n].diag_fd);
}

static struct place *places_find(struct places *p, uint64_t cookie)
{
	for (unsigned i = 0; i < p->n; i++)
		if (p->all[i].cookie == cookie)
			return &p->all[i];
	return NULL;
}

/* Takes *fd. */
static void places_add(struct places *p, uint64_t cookie, int *fd)
{
	p->all[p->n++] = (struct place){ .cookie = cookie, .diag_fd = *fd, .wanted = true };
	*fd = -1;
}

/* What group_assign() writes under listeners.lock. */
static uint64_t places_of_group(struct np_steer *s, unsigned g)
{
	uint64_t cookie;

	pthread_mutex_lock(&s->listeners.lock);
	cookie = s->maps.groups[g].family ? s->maps.groups[g].netns : 0;
	pthread_mutex_unlock(&s->listeners.lock);
	return cookie;
}

/* Cookies that are wanted and not open yet, one for each group at most; how many. */
static unsigned places_want(struct places *p, struct np_steer *s, uint64_t *missing)
{
	struct place *place;
	unsigned n = 0;

	for (unsigned i = 1; i < p->n; i++)
		p->all[i].wanted = false;
	for (unsigned g = 0; g < NP_GROUPS; g++) {
		uint64_t cookie = places_of_group(s, g);

		missing[g] = 0;
		if (!cookie || !p->all[0].cookie || cookie == p->all[0].cookie || !group_live(s, g))
			continue;
		place = places_find(p, cookie);
		if (place)
			place->wanted = true;
		else
			missing[g] = cookie;
		n += !place;
	}
	return n;
}

static void places_drop(struct places *p)
{
	for (unsigned i = p->n; i-- > 1;)
		if (!p->all[i].wanted) {
			sys_close(&p->all[i].diag_fd);
			p->all[i] = p->all[--p->n];
		}
}

static unsigned places_first(const uint64_t *missing)
{
	unsigned g = 0;

	while (g < NP_GROUPS && !missing[g])
		g++;
	return g;
}

struct places_search {
	struct places *p;
	uint64_t missing[NP_GROUPS];
};

#define PLACES_FOUND (-ECANCELED) /* all of them: what is left need not be visited */

static int places_try(void *arg, const struct find_netns *netns)
{
	struct places_search *x = arg;
	uint64_t cookie;
	int fd = -1, r;

	r = netns->own ? 0 : sys_diag_open_in(netns->fd, &fd);
	if (r == -EPERM || r == -EACCES)
		x->p->err = -EPERM; /* it may be the one */
	if (r < 0 || netns->own)
		return 0;
	cookie = places_cookie(fd);
	for (unsigned g = 0; g < NP_GROUPS; g++) {
		if (!cookie || x->missing[g] != cookie)
			continue;
		x->missing[g] = 0;
		if (fd >= 0)
			places_add(x->p, cookie, &fd);
	}
	sys_close(&fd);
	return places_first(x->missing) < NP_GROUPS ? 0 : PLACES_FOUND;
}

void places_search(struct places *p, struct np_steer *s)
{
	struct find_query q = { .everywhere = true };
	struct places_search x = { .p = p };
	unsigned n = places_want(p, s, x.missing);

	places_drop(p);
	p->err = 0;
	if (!n)
		return;
	find_namespaces(&q, places_try, &x);
	p->missing = places_first(x.missing);
	if (p->missing == NP_GROUPS)
		p->err = 0;
	else if (!p->err)
		p->err = -ENOENT;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * overlap: addresses of one service that some connections could come to either of
 *
 * "[::]:80", "0.0.0.0:80", "127.0.0.1:80": the more special one gets what it has a name for.
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "steer/steer.h"
#include "sys/diag.h"
#include "sys/io.h"

static bool overlap_is_wildcard(const struct np_group *k)
{
	static const uint8_t zero[16];

	return !memcmp(k->addr, zero, sizeof zero);
}

/* Whether some connections could come to either, were the other not there. */
static bool overlap(const struct np_group *a, const struct np_group *b)
{
	const struct np_group *v6 = a->family == AF_INET6 ? a : b;

	if (a->port != b->port || a->netns != b->netns ||
	    (a->ifindex && b->ifindex && a->ifindex != b->ifindex))
		return false;
	if (a->family != b->family) /* the kernel has no mapped addresses here but the wildcard's */
		return overlap_is_wildcard(v6) && !v6->v6only;
	return overlap_is_wildcard(a) || overlap_is_wildcard(b) ||
	       !memcmp(a->addr, b->addr, sizeof a->addr);
}

bool overlap_has_beside(const struct np_steer *s, const struct np_group *k)
{
	for (unsigned g = 0; g < NP_GROUPS; g++)
		if (s->maps.groups[g].family && overlap(&s->maps.groups[g], k) && group_live(s, g))
			return true;
	return false;
}

struct strangers {
	struct np_steer *s;
	unsigned n;
};

static void overlap_count_stranger(void *arg, const struct sys_listener *l)
{
	struct strangers *x = arg;
	struct listeners_entry own;
	uint64_t cookie = l->cookie;
	uint32_t slot;

	if (listeners_find(&x->s->listeners, cookie, &own) == 0)
		return;
	if (steer_has_program(x->s) && map_lookup(&x->s->maps, MAP_np_owners, &cookie, &slot) == 0)
		return;
	x->n++;
}

/*
 * Beside an overlapping address of our own no port can be reserved: that socket is in the way, too.
 * What shares neither our user nor SO_REUSEPORT fails the bind; the kernel's list tells of the
 * others.
 */
int overlap_only_ours(struct np_steer *s, unsigned port)
{
	struct strangers x = { .s = s };
	int fd = -1, r;

	r = sys_diag_open(&fd);
	if (r == 0)
		r = sys_diag_listeners(fd, AF_INET, port, overlap_count_stranger, &x);
	if (r == 0)
		r = sys_diag_listeners(fd, AF_INET6, port, overlap_count_stranger, &x);
	sys_close(&fd);
	if (r < 0)
		return steer_fail(
			s, r,
			"whether others listen on port %u beside this service cannot be asked of the kernel (sock_diag): %s",
			port, strerror(-r));
	return x.n ? -EADDRINUSE : 0;
}

/*
 * "[::]:80" beside our own "0.0.0.0:80" leaves IPv4 to that. Unless a "[::]:80" of ours is older
 * than that: its siblings are of the same kind as it is, and IPv4 goes to the other one all the
 * same.
 */
bool overlap_yields_to_v4(const struct np_steer *s, const struct np_group *k)
{
	int same = group_find(s, k);

	if (k->family != AF_INET6 || !overlap_is_wildcard(k) ||
	    (same >= 0 && group_live(s, (unsigned)same)))
		return false;
	for (unsigned g = 0; g < NP_GROUPS; g++) {
		const struct np_group *o = &s->maps.groups[g];

		if (o->family == AF_INET && o->port == k->port && o->netns == k->netns &&
		    overlap_is_wildcard(o) && group_live(s, g))
			return true;
	}
	return false;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * group: one address, which is one reuseport group of the kernel, and its roster of workers
 *
 * Everything here that changes something runs under the service's lock. The truth lies in np_socks,
 * which the kernel keeps: rosters are rebuilt from it, and a group without a live slot may be given
 * to another address.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "steer/steer.h"
#include "sys/addr.h"
#include "sys/sock.h"

#ifndef SO_BINDTOIFINDEX
#define SO_BINDTOIFINDEX 62
#endif
#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

void group_key(struct np_group *ret, const struct sockaddr_storage *given, int fd)
{
	struct sockaddr_storage plain = *given, *ss = &plain;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)ss;
	const struct sockaddr_in *in = (const struct sockaddr_in *)ss;
	socklen_t len;
	int v;

	addr_unmap(ss, &len);
	memset(ret, 0, sizeof *ret);
	ret->family = ss->ss_family;
	ret->port = (uint16_t)addr_port(ss);
	if (ss->ss_family == AF_INET6) {
		memcpy(ret->addr, &in6->sin6_addr, sizeof in6->sin6_addr);
		ret->v6only = sys_getsockopt_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v) == 0 && v;
		/* A link-local address is another one on each link. */
		ret->ifindex = in6->sin6_scope_id;
	} else {
		memcpy(ret->addr, &in->sin_addr, sizeof in->sin_addr);
	}
	if (sys_getsockopt_int(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &v) == 0 && v)
		ret->ifindex = (uint32_t)v;
	if (sys_getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &ret->netns, sizeof ret->netns) < 0)
		ret->netns = 0; /* before 5.14 */
}

bool group_same(const struct np_group *a, const struct np_group *b)
{
	return a->family == b->family && a->port == b->port && a->ifindex == b->ifindex &&
	       a->v6only == b->v6only && a->netns == b->netns &&
	       !memcmp(a->addr, b->addr, sizeof a->addr);
}

void group_format(const struct np_group *key, char *dst, size_t cap)
{
	struct sockaddr_storage ss = { .ss_family = key->family };
	char *end;

	if (key->family == AF_INET)
		memcpy(&((struct sockaddr_in *)&ss)->sin_addr, key->addr, sizeof(struct in_addr));
	else
		memcpy(&((struct sockaddr_in6 *)&ss)->sin6_addr, key->addr,
		       sizeof(struct in6_addr));
	addr_set_port(&ss, key->port);
	addr_format(&ss, sizeof ss, dst, cap);
	/* By its number: the name may be another one's in the namespace of the reader. */
	end = strrchr(dst, ']');
	if (end && key->ifindex && IN6_IS_ADDR_LINKLOCAL((const struct in6_addr *)key->addr))
		snprintf(end, cap - (size_t)(end - dst), "%%%u]:%u", key->ifindex, key->port);
}

int group_find(const struct np_steer *s, const struct np_group *key)
{
	for (unsigned g = 0; g < NP_GROUPS; g++)
		if (s->maps.groups[g].family && group_same(&s->maps.groups[g], key))
			return (int)g;
	return -ENOENT;
}

/* At level 0 the close of a listener is not told: a member counts until it leaves. */
static bool group_has_members(const struct np_steer *s, unsigned g)
{
	for (const struct np_steer_worker *w = s->first; w; w = w->next)
		if (w->members & (1u << g))
			return true;
	return false;
}

bool group_live(const struct np_steer *s, unsigned g)
{
	if (!steer_has_program(s))
		return group_has_members(s, g);
	for (unsigned w = 0; w < steer_high_water(s); w++)
		if (map_listener(&s->maps, NP_SLOT(g, w)))
			return true;
	return false;
}

/*
 * The program reads the roster at any moment: while it is rebuilt a worker may be on it twice, and
 * an entry may name a worker that has just gone, which costs a retry.
 */
void group_roster(struct np_steer *s, unsigned g)
{
	struct roster_entry *e = &s->maps.roster[NP_SLOT(g, 0)];
	unsigned n = 0, w;

	if (!steer_has_program(s))
		return;
	for (w = 0; w < steer_high_water(s); w++)
		if (map_listener(&s->maps, NP_SLOT(g, w)))
			__atomic_store_n(&e[n++].w1, w + 1, __ATOMIC_RELEASE);
	__atomic_store_n(&s->maps.groups[g].workers, n, __ATOMIC_RELEASE);
	table_build(s, g, e, n);
	for (; n < NP_WORKERS && e[n].w1; n++)
		__atomic_store_n(&e[n].w1, 0, __ATOMIC_RELAXED);
}

static void group_write_key(struct np_steer *s, unsigned g, const struct np_group *key)
{
	pthread_mutex_lock(&s->listeners.lock);
	s->maps.groups[g] = *key;
	pthread_mutex_unlock(&s->listeners.lock);
	s->port0[g / 32] &= ~(1u << g % 32);
}

void group_free(struct np_steer *s, unsigned g)
{
	group_write_key(s, g, &(struct np_group){ 0 });
}

static void group_assign(struct np_steer *s, unsigned g, const struct np_group *key)
{
	struct np_group fresh = *key;

	group_roster(s, g); /* empty: no worker listens there */
	for (unsigned w = 0; w < steer_high_water(s); w++)
		worker_clear_slot_stats(s, g, w);
	fresh.workers = 0;
	group_write_key(s, g, &fresh);
}

int group_take(struct np_steer *s, const struct np_group *key)
{
	char text[80];
	int g = group_find(s, key);

	if (g >= 0)
		return g;
	for (unsigned i = 0; i < NP_GROUPS && g < 0; i++)
		if (!s->maps.groups[i].family)
			g = (int)i;
	for (unsigned i = 0; i < NP_GROUPS && g < 0; i++)
		if (!group_live(s, i))
			g = (int)i;
	if (g < 0) {
		group_format(key, text, sizeof text);
		return steer_fail(
			s, -ENOSPC,
			"no room for %s: the service %s serves %u addresses already; start another service",
			text, s->name, NP_GROUPS);
	}
	group_assign(s, (unsigned)g, key);
	return g;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * server_facts: what any thread may ask of a server, at any moment of its life
 *
 * The counters of a part are published on a line of its worker, in memory that is unmapped when the
 * stop leaves the service. So the pointers to it change under one lock, s->facts_lock, and are
 * followed under it. The pollers do not take it: the lines they write to change before the start
 * and after the last connection only.
 */
#include <errno.h>
#include <stdlib.h>

#include "netpoll/server_private.h"
#include "steer/steer.h"
#include "sys/opts.h"
#include "sys/sock.h"

static uint64_t server_facts_read(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

uint64_t server_facts_moved(const struct np_server *s)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < s->n_parts; i++)
		n += server_facts_read(&s->parts[i]->group.moved);
	return n;
}

int np_server_poller_stats(struct np_server *s, int poller, uint64_t *ret_accepted,
			   uint64_t *ret_conns)
{
	const struct poller_load *l;

	if (poller < 0 || (unsigned)poller >= s->n_parts)
		return -EINVAL;
	pthread_mutex_lock(&s->facts_lock);
	l = s->parts[poller]->group.load;
	*ret_accepted = server_facts_read(&l->accepted_total);
	*ret_conns = server_facts_read(&l->conns);
	pthread_mutex_unlock(&s->facts_lock);
	return 0;
}

int np_server_stats(struct np_server *s, struct np_server_stats *ret)
{
	struct np_server_stats v = { .pollers = s->n_parts, .moved = server_facts_moved(s) };

	pthread_mutex_lock(&s->facts_lock);
	for (unsigned i = 0; i < s->n_parts; i++) {
		const struct poller_load *l = s->parts[i]->group.load;

		v.accepted += server_facts_read(&l->accepted_total);
		v.closed += server_facts_read(&l->closed_total);
		v.conns += server_facts_read(&l->conns);
		v.at_limit += server_facts_read(&s->parts[i]->at_limit);
		v.shed += server_facts_read(&s->parts[i]->shed);
		v.memory_closed += server_facts_read(&s->parts[i]->group.memory.closed);
		v.handler_errors += server_facts_read(&s->parts[i]->group.handler_errors);
		v.cut += server_facts_read(&s->parts[i]->group.cut);
		v.handed_over += server_facts_read(&s->parts[i]->group.handed_over);
		v.taken_over += server_facts_read(&s->parts[i]->group.taken_over);
		v.proxied += server_facts_read(&s->parts[i]->group.proxy.taken);
		v.proxy_refused += server_facts_read(&s->parts[i]->group.proxy.refused);
		if (s->parts[i]->balancer)
			v.rebalanced += server_facts_read(&s->parts[i]->balancer->moved);
		v.drained += server_facts_read(&s->parts[i]->group.drained);
		v.fresh += server_facts_read(&s->parts[i]->group.fresh);
		v.raced += server_facts_read(&s->parts[i]->group.raced);
	}
	pthread_mutex_unlock(&s->facts_lock);
	return sys_opts_give(ret, &v, sizeof v);
}

/* Under the lock. */
static int server_facts_steering(struct np_server *s, struct np_steer_info *ret)
{
	if (s->steer)
		return np_steer_info(s->steer, ret);
	return s->steered.sz ? sys_opts_give(ret, &s->steered, sizeof s->steered) :
			       -NP_EUNSUPPORTED;
}

int np_server_steering(struct np_server *s, struct np_steer_info *ret)
{
	int r;

	pthread_mutex_lock(&s->facts_lock);
	r = server_facts_steering(s, ret);
	pthread_mutex_unlock(&s->facts_lock);
	return r;
}

const char *np_server_listener_kind(struct np_server *s, int i)
{
	struct np_steer_info info = { .sz = sizeof info };
	const char *kind = "";

	pthread_mutex_lock(&s->facts_lock);
	if (i >= 0 && (unsigned)i < s->n_addresses) {
		if (s->addresses[i].shared)
			kind = "shared";
		else
			kind = server_facts_steering(s, &info) == 0 && info.level > NP_STEER_L0 ?
				       "steered" :
				       "hash";
	}
	pthread_mutex_unlock(&s->facts_lock);
	return kind;
}

/* ------------------------------------------------------------------ changes */

void server_facts_enter_service(struct np_server *s, struct np_steer *steer)
{
	pthread_mutex_lock(&s->facts_lock);
	s->steer = steer;
	pthread_mutex_unlock(&s->facts_lock);
}

struct server_address *server_facts_grow(struct np_server *s)
{
	struct server_address *grown;

	pthread_mutex_lock(&s->facts_lock);
	grown = realloc(s->addresses, (s->n_addresses + 1) * sizeof *grown);
	if (grown)
		s->addresses = grown;
	pthread_mutex_unlock(&s->facts_lock);
	return grown ? &grown[s->n_addresses] : NULL;
}

void server_facts_add_address(struct np_server *s)
{
	pthread_mutex_lock(&s->facts_lock);
	s->n_addresses++;
	pthread_mutex_unlock(&s->facts_lock);
}

/*
 * Under the lock. A wait at a socket that is shut ends; what follows from that is what a dead peer
 * would cause.
 */
static void server_facts_wake_hand_over(struct np_server *s)
{
	if (s->hand_ends && s->handing >= 0)
		sys_shutdown(s->handing, SHUT_RDWR);
	if (s->hand_ends && s->hand_latch)
		latch_disturb(s->hand_latch);
}

static void server_facts_hand_over_at(struct np_server *s, struct latch *l)
{
	pthread_mutex_lock(&s->facts_lock);
	s->hand_latch = l;
	server_facts_wake_hand_over(s);
	pthread_mutex_unlock(&s->facts_lock);
}

int server_facts_await_hand_over(struct np_server *s, struct latch *l, uint64_t until_ns)
{
	int r;

	server_facts_hand_over_at(s, l);
	r = latch_wait(l, until_ns);
	server_facts_hand_over_at(s, NULL);
	return r == -EINTR ? -ECANCELED : r;
}

void server_facts_hand_over(struct np_server *s, int fd)
{
	pthread_mutex_lock(&s->facts_lock);
	s->handing = fd;
	server_facts_wake_hand_over(s);
	pthread_mutex_unlock(&s->facts_lock);
}

void server_facts_end_hand_over(struct np_server *s)
{
	pthread_mutex_lock(&s->facts_lock);
	s->hand_ends = true;
	server_facts_wake_hand_over(s);
	pthread_mutex_unlock(&s->facts_lock);
}

bool server_facts_hand_over_ends(struct np_server *s)
{
	bool ends;

	pthread_mutex_lock(&s->facts_lock);
	ends = s->hand_ends;
	pthread_mutex_unlock(&s->facts_lock);
	return ends;
}

void server_facts_hand_over_is_over(struct np_server *s)
{
	pthread_mutex_lock(&s->facts_lock);
	s->handing = -1;
	s->hand_ends = false;
	pthread_mutex_unlock(&s->facts_lock);
}

void server_facts_drop_addresses(struct np_server *s)
{
	pthread_mutex_lock(&s->facts_lock);
	s->n_addresses = 0;
	pthread_mutex_unlock(&s->facts_lock);
}

void server_facts_publish_to(struct np_server *s, unsigned index, struct poller_load *line)
{
	pthread_mutex_lock(&s->facts_lock);
	s->parts[index]->group.load = line;
	pthread_mutex_unlock(&s->facts_lock);
}

void server_facts_keep(struct np_server *s, unsigned index)
{
	struct server_part *part = s->parts[index];

	pthread_mutex_lock(&s->facts_lock);
	if (part->group.load != &part->own_load)
		part->own_load = *part->group.load;
	part->group.load = &part->own_load;
	pthread_mutex_unlock(&s->facts_lock);
}

struct np_steer *server_facts_leave_service(struct np_server *s)
{
	struct np_steer *steer;

	pthread_mutex_lock(&s->facts_lock);
	steer = s->steer;
	s->steered.sz = sizeof s->steered;
	if (steer && np_steer_info(steer, &s->steered) < 0)
		s->steered.sz = 0;
	s->steer = NULL;
	pthread_mutex_unlock(&s->facts_lock);
	return steer;
}

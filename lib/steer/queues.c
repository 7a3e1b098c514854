/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * queues: one question for each family and port in each place; np_owners knows whose listener it
 * is.
 */
#include "steer/queues.h"

#include <errno.h>
#include <sys/socket.h>

struct walk {
	const struct np_steer *s;
	unsigned least;
	void (*fn)(void *arg, const struct queue *q);
	void *arg;
};

/* np_owners is not told when a listener goes, and this cookie may be in another slot by now: asked
 * again there. */
static void queues_visit(void *arg, const struct sys_listener *l)
{
	struct walk *k = arg;
	struct queue q = { .listener = *l };
	uint32_t slot;

	if (l->queued < k->least || map_lookup(&k->s->maps, MAP_np_owners, &l->cookie, &slot) < 0)
		return;
	if (slot >= NP_SLOTS || map_listener(&k->s->maps, slot) != l->cookie)
		return;
	q.group = slot / NP_WORKERS;
	q.worker = slot % NP_WORKERS;
	k->fn(k->arg, &q);
}

/* What group_assign() writes under listeners.lock. The rest of a group changes without it. */
struct endpoint {
	uint16_t family, port;
};

static void queues_copy_endpoints(struct np_steer *s, struct endpoint *ret)
{
	pthread_mutex_lock(&s->listeners.lock);
	for (unsigned g = 0; g < NP_GROUPS; g++)
		ret[g] = (struct endpoint){ s->maps.groups[g].family, s->maps.groups[g].port };
	pthread_mutex_unlock(&s->listeners.lock);
}

/* Whether an earlier group has the same family and port: its question had this one's answer too. */
static bool queues_asked(const struct endpoint *k, unsigned g)
{
	for (unsigned i = 0; i < g; i++)
		if (k[i].family == k[g].family && k[i].port == k[g].port)
			return true;
	return false;
}

/* A member may have written anything there: what is no address has no listeners. */
static bool queues_is_endpoint(const struct endpoint *k)
{
	return k->family == AF_INET || k->family == AF_INET6;
}

/*
 * A question that is not answered costs its own address, such as one of IPv6 where the kernel has
 * none. Where none is, the reason is not the address.
 */
static int queues_each(struct np_steer *s, int diag_fd, unsigned least,
		       void (*fn)(void *arg, const struct queue *q), void *arg)
{
	struct walk k = { s, least, fn, arg };
	struct endpoint groups[NP_GROUPS];
	int r, err = 0, answers = 0;

	queues_copy_endpoints(s, groups);
	for (unsigned g = 0; g < NP_GROUPS; g++) {
		if (!queues_is_endpoint(&groups[g]) || queues_asked(groups, g))
			continue;
		r = sys_diag_listeners(diag_fd, groups[g].family, groups[g].port, queues_visit, &k);
		answers += r == 0;
		err = err ? err : r;
	}
	return answers ? 0 : err;
}

struct told {
	struct np_steer *s;
	int (*fn)(void *arg, const struct np_steer_queue *q);
	void *arg;
	int r;
};

static void queues_tell(void *arg, const struct queue *q)
{
	struct np_steer_queue out = {
		.sz = sizeof out,
		.group = q->group,
		.worker = q->worker,
		.queued = q->listener.queued,
		.backlog = q->listener.backlog,
	};
	struct told *t = arg;

	stats_half_open(t->s, q->group, q->worker, &out);
	if (t->r == 0)
		t->r = t->fn(t->arg, &out);
}

int queues_each_place(struct np_steer *s, const struct places *p, unsigned least,
		      void (*fn)(void *arg, const struct queue *q), void *arg)
{
	int r = 0, err = 0, answers = 0;

	for (unsigned i = 0; i < p->n; i++) {
		r = queues_each(s, p->all[i].diag_fd, least, fn, arg);
		answers += r == 0;
		err = err ? err : r;
	}
	return answers ? 0 : err;
}

int np_steer_queues(struct np_steer *s, int (*fn)(void *arg, const struct np_steer_queue *q),
		    void *arg)
{
	struct told t = { s, fn, arg, 0 };
	struct places p;
	int r;

	if (!steer_has_program(s))
		return -NP_EUNSUPPORTED;
	r = places_open(&p);
	if (r == 0) {
		places_search(&p, s);
		r = queues_each_place(s, &p, 0, queues_tell, &t);
	}
	places_close(&p);
	return r < 0 ? r : t.r;
}

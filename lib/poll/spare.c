/* SPDX-License-Identifier: BSD-2-Clause */
/* spare: taken from the crew, sleeping, lent the baton, given back. */
#include "poll/spare.h"

#include "poll/baton_private.h"
#include "poll/crew.h"
#include "poll/poller_private.h"
#include "poll/spent.h"

/* One that sleeps here already has fibers that then need no lending. */
struct rider *spare_take(struct poller *p, bool *ret_any)
{
	struct baton *b = &p->baton;

	for (struct list *l = b->spares.next; l != &b->spares; l = l->next) {
		struct rider *r = container_of(l, struct rider, link);

		if (r->hosting && !r->waiting && baton_holder(b) != r)
			return r;
	}
	struct rider *r = crew_take(b->crew, p, ret_any);

	if (r) {
		list_append(&b->spares, &r->link);
		atomic_fetch_add_explicit(&b->n_spares, 1, memory_order_relaxed);
	}
	return r;
}

void spare_give_back(struct baton *b, struct rider *r)
{
	list_remove(&r->link);
	if (b->from == r)
		b->from = NULL;
	atomic_fetch_sub_explicit(&b->n_spares, 1, memory_order_relaxed);
	crew_give(r->crew, r);
	/* An end waits for this, and may be on its way to sleep. */
	poller_wake(b->home.poller);
}

static bool spare_is_lendable(const struct baton *b, const struct rider *r, uint64_t turn)
{
	return r->hosting && !r->waiting && baton_holder(b) != r && r->run_first && r->lent != turn;
}

struct rider *spare_lendable(struct baton *b, struct rider *me, uint64_t turn)
{
	struct rider *found = NULL;

	pthread_mutex_lock(&b->gate);
	for (struct list *l = b->spares.next; l != &b->spares && !found; l = l->next) {
		struct rider *r = container_of(l, struct rider, link);

		if (r != me && spare_is_lendable(b, r, turn))
			found = r;
	}
	pthread_mutex_unlock(&b->gate);
	return found;
}

bool spare_lend(struct rider *me, struct rider *to)
{
	struct baton *b = baton_of(me);

	pthread_mutex_lock(&b->gate);
	to->lent = me->poller->stats.turns;
	if (to->hosting && !to->waiting) {
		baton_set_flag(me, BATON_ROBBED);
		baton_enqueue(b, me, true, true);
		baton_set_holder(b, to);
		baton_set_flag(to, baton_flag_of(b, to, true));
		pthread_cond_signal(&to->cond);
		while (baton_holder(b) != me)
			pthread_cond_wait(&me->cond, &b->gate);
		baton_set_flag(me, baton_flag_of(b, me, false));
	}
	pthread_mutex_unlock(&b->gate);
	return baton_looper(b) == me;
}

static bool spare_has_fibers(const struct rider *r)
{
	return r->now_run || atomic_load_explicit(&r->has_run, memory_order_relaxed);
}

/* Under the gate. Its fibers may have come while it could not be lent the baton: it asks itself. */
static void spare_host_wait(struct baton *b, struct rider *r)
{
	r->hosting = true;
	if (baton_looper(b) != r)
		crew_hosts(r->crew, r->poller);
	if (baton_holder(b) != r && spare_has_fibers(r) && !r->waiting)
		baton_wait(b, r);
	while (baton_holder(b) != r)
		pthread_cond_wait(&r->cond, &b->gate);
	r->hosting = false;
	spent_begin(b, r);
}

bool spare_host(struct rider *r)
{
	struct baton *b = baton_of(r);
	bool stays;

	pthread_mutex_lock(&b->gate);
	if (baton_looper(b) != r)
		spent_end(b, r);
	if (baton_holder(b) == r && baton_looper(b) != r)
		baton_drop(b, r);
	stays = baton_looper(b) == r || fiber_host_parked() || spare_has_fibers(r);
	if (stays)
		spare_host_wait(b, r);
	else
		spare_give_back(b, r);
	pthread_mutex_unlock(&b->gate);
	return stays;
}

bool spare_arrive(struct rider *r, struct poller *p)
{
	struct baton *b = &p->baton;
	bool here;

	pthread_mutex_lock(&b->gate);
	here = __atomic_load_n(&r->poller, __ATOMIC_RELAXED) == p;
	if (here) {
		baton_mount_held(b, r);
		spare_host_wait(b, r);
	}
	pthread_mutex_unlock(&b->gate);
	return here;
}

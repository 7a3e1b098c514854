/* SPDX-License-Identifier: BSD-2-Clause */
/* spent: read by whoever passes the loop on, of the threads that it goes from and to. */
#include "poll/spent.h"

#include "poll/baton_private.h"
#include "sys/clock.h"

/* Of one that has not begun: nothing. */
static struct spent spent_now(struct rider *r)
{
	if (!r->here)
		return (struct spent){ 0 };
	return (struct spent){ sys_sched_ran_ns(&r->sched), sys_sched_waited_ns(&r->sched) };
}

static void spent_add(struct spent *sum, struct rider *r)
{
	struct spent now;

	if (!r->spends)
		return;
	now = spent_now(r);
	sum->cpu_ns += now.cpu_ns - r->from.cpu_ns;
	sum->waited_ns += now.waited_ns - r->from.waited_ns;
}

void spent_begin(struct baton *b, struct rider *r)
{
	if (!b->measured || r->spends)
		return;
	r->from = spent_now(r);
	r->spends = true;
}

void spent_end(struct baton *b, struct rider *r)
{
	spent_add(&b->spent, r);
	r->spends = false;
}

void spent_left(struct baton *b, struct rider *r)
{
	if (baton_looper(b) != r) /* that goes on to be the looper, until it is passed on */
		spent_end(b, r);
	if (!b->measured || r->left_ns)
		return;
	r->left_ns = sys_clock_ns();
	r->left_cpu_ns = sys_sched_ran_ns(&r->sched);
}

void spent_measure(struct baton *b, bool on)
{
	pthread_mutex_lock(&b->gate);
	b->measured = on;
	if (on)
		spent_begin(b, baton_looper(b));
	else
		spent_end(b, baton_looper(b));
	pthread_mutex_unlock(&b->gate);
}

void spent_get(struct baton *b, struct spent *ret)
{
	pthread_mutex_lock(&b->gate);
	*ret = b->spent;
	spent_add(ret, baton_looper(b));
	pthread_mutex_unlock(&b->gate);
}

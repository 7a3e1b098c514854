/* SPDX-License-Identifier: BSD-2-Clause */
/* conn_ref: references, and the memory that goes with the last one. */
#include "conn/conn.h"

static void ref_free(struct np_conn *c)
{
	struct poller *home = conn_home_poller(c);
	struct conn_group *g = c->group;

	conn_sendq_drop(c);
	conn_extra_free(c);
	conn_home_put(home, c);
	if (g->on_freed)
		g->on_freed(g);
}

static void ref_free_mail(struct mail *m)
{
	ref_free(container_of(m, struct np_conn, post_mail));
}

struct np_conn *np_conn_ref(struct np_conn *c)
{
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return c;
}

/*
 * Only its home's thread may touch the slab that the connection lies in. The mail that carries it
 * there is free: a post in flight would hold a reference.
 */
static void ref_last(struct np_conn *c)
{
	if (poller_self() == conn_home_poller(c)) {
		ref_free(c);
		return;
	}
	c->post_mail.fn = ref_free_mail;
	poller_post(conn_home_poller(c), &c->post_mail);
}

void conn_put(struct np_conn *c)
{
	uint32_t refs = atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel);

	if ((refs & ~CONN_KEPT) == 1)
		ref_last(c);
}

bool conn_put_unkept(struct np_conn *c)
{
	uint32_t refs = atomic_load_explicit(&c->refs, memory_order_relaxed);

	do
		if (unlikely(refs & CONN_KEPT))
			return false;
	while (!atomic_compare_exchange_weak_explicit(&c->refs, &refs, refs - 1,
						      memory_order_acq_rel, memory_order_relaxed));
	if (refs == 1)
		ref_last(c);
	return true;
}

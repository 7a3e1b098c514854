/* SPDX-License-Identifier: BSD-2-Clause */
/* baton: who holds it: robbed, waited for, given up. The protocol is told in baton.h. */
#include "poll/baton.h"

#include <assert.h>

#include "poll/baton_private.h"
#include "poll/crew.h"
#include "poll/poller_private.h"
#include "poll/spent.h"
#include "sys/wake.h"

_Thread_local struct baton_here baton_here;

bool baton_to(enum baton_state state)
{
	__atomic_store_n(&baton_here.word, state, __ATOMIC_RELEASE);
	sys_fence_light();
	return baton_is_called();
}

/* ------------------------------------------------------------------ the queue; under the gate */

void baton_enqueue(struct baton *b, struct rider *r, bool lazy, bool front)
{
	struct rider **at = &b->wait_first;

	assert(!r->waiting);
	while (!front && *at)
		at = &(*at)->next_waiting;
	r->next_waiting = *at;
	*at = r;
	r->waiting = true;
	r->lazy = lazy;
	b->urgent += !lazy;
}

void baton_unqueue(struct baton *b, struct rider *r)
{
	struct rider **at = &b->wait_first;

	if (!r->waiting)
		return;
	while (*at != r)
		at = &(*at)->next_waiting;
	*at = r->next_waiting;
	r->waiting = false;
	b->urgent -= !r->lazy;
}

/* ------------------------------------------------------------------ the flag; under the gate */

void baton_set_flag(struct rider *r, uint32_t f)
{
	r->flag = f;
	if (r->here)
		__atomic_store_n(&r->here->flag, f, __ATOMIC_RELEASE);
}

/* A guest gives it up whenever it leaves the library: the looper may be asleep. */
static bool baton_is_wanted(const struct baton *b, const struct rider *r, bool lent)
{
	return b->urgent || (baton_looper(b) != r && !lent);
}

static bool baton_fence_is_kernels(void)
{
	return atomic_load_explicit(&sys_fence_by_kernel, memory_order_relaxed);
}

uint32_t baton_flag_of(const struct baton *b, const struct rider *r, bool lent)
{
	return (baton_is_wanted(b, r, lent) ? BATON_WANTED : 0) |
	       (b->crew && crew_is_asleep(b->crew) ? BATON_ROUSES : 0) |
	       (baton_fence_is_kernels() ? 0 : BATON_FENCES);
}

/* ------------------------------------------------------------------ the holder; under the gate */

static void baton_grant(struct baton *b, struct rider *r)
{
	baton_set_holder(b, r);
	baton_set_flag(r, baton_flag_of(b, r, false));
	pthread_cond_signal(&r->cond);
}

void baton_grant_next(struct baton *b)
{
	struct rider *w = b->wait_first;

	if (!w)
		return;
	baton_unqueue(b, w);
	baton_grant(b, w);
}

void baton_left(struct rider *r)
{
	r->left = true;
	crew_count_away(r->crew, 1);
	hog_get_note(r->poller, &r->note);
	spent_left(baton_of(r), r);
	baton_here.robs = baton_of(r);
	crew_aside(r->crew, *r->fiber, true);
	baton_here.robs = NULL;
}

bool baton_rob(struct baton *b)
{
	struct rider *h = baton_holder(b);
	enum baton_state s = BATON_LIB;
	uint32_t fences;

	if (!h)
		return true;
	fences = h->flag & BATON_FENCES;
	baton_set_flag(h, BATON_CALLED | fences);
	if (sys_fence_heavy() == 0 && (fences || baton_fence_is_kernels()))
		s = baton_state(h);
	if (s == BATON_LIB) {
		baton_set_flag(h, baton_flag_of(b, h, false));
		return false;
	}
	if (s == BATON_USER)
		baton_left(h);
	/* A guest on its way out: what it began is the looper's, which looks there alone. */
	if (baton_looper(b) != h)
		spawn_leave_tail(h->poller);
	baton_set_holder(b, NULL);
	return true;
}

void baton_wait(struct baton *b, struct rider *r)
{
	baton_enqueue(b, r, false, false);
	if (baton_rob(b))
		baton_grant_next(b);
	while (baton_holder(b) != r)
		pthread_cond_wait(&r->cond, &b->gate);
}

void baton_kick(struct rider *r)
{
	if (baton_state(r) != BATON_IDLE)
		return;
	if (r->home)
		poller_wake(r->poller);
	else
		sys_wake_signal(r->kick_fd);
}

void baton_drop(struct baton *b, struct rider *r)
{
	struct rider *l = baton_looper(b);

	if (l != r)
		spawn_leave_tail(r->poller);
	baton_set_flag(r, BATON_ROBBED);
	baton_set_holder(b, NULL);
	baton_grant_next(b);
	if (!baton_holder(b) && l != r)
		baton_kick(l);
}

/* ------------------------------------------------------------------ in and out of user code */

/* Behind its own notes again: others have run meanwhile. */
static void baton_returns(struct rider *r)
{
	r->left = false;
	crew_count_away(r->crew, -1);
	hog_set_note(r->poller, &r->note);
	r->poller->clock = CLOCK_USER;
	crew_aside(r->crew, *r->fiber, false);
}

void baton_enter_slowly(void)
{
	struct rider *r = baton_here.rider;
	struct baton *b = baton_of(r);

	sys_fence_light();
	if (!baton_is_called())
		return;
	pthread_mutex_lock(&b->gate);
	if (baton_holder(b) != r)
		baton_wait(b, r);
	baton_set_flag(r, baton_flag_of(b, r, false));
	pthread_mutex_unlock(&b->gate);
	if (r->left)
		baton_returns(r);
}

void baton_give_up(struct rider *r)
{
	struct baton *b = baton_of(r);

	pthread_mutex_lock(&b->gate);
	if (baton_holder(b) != r) {
		/* it was robbed first */
	} else if (baton_is_wanted(b, r, false)) {
		if (baton_state(r) == BATON_USER)
			baton_left(r);
		baton_drop(b, r);
	} else {
		baton_set_flag(r, baton_flag_of(b, r, false));
	}
	pthread_mutex_unlock(&b->gate);
}

uintptr_t baton_leave_slowly(uintptr_t result)
{
	struct rider *r = baton_here.rider;
	uint32_t f;

	sys_fence_light();
	f = BATON_LOOK(baton_here.flag);
	if (f & BATON_ROUSES)
		crew_rouse(r->crew);
	if (f & (BATON_ROUSES | BATON_CALLED))
		baton_give_up(r);
	return result;
}

bool baton_has_relief(void)
{
	const struct rider *r = baton_here.rider;

	return r->crew && baton_is_looper(baton_of(r), r) && crew_has_spare(r->crew);
}

bool baton_is_guest(void)
{
	const struct rider *r = baton_here.rider;

	return !baton_is_looper(baton_of(r), r);
}

void baton_user_begin(void)
{
	if (baton_here.rider->crew && baton_leaves())
		baton_leave_slowly(0);
}

void baton_user_end(void)
{
	if (baton_in_user())
		baton_enter();
}

/* One without the baton finds it out at the gate. */
void baton_ask_to_rouse(struct baton *b)
{
	struct rider *h;

	pthread_mutex_lock(&b->gate);
	h = baton_holder(b);
	if (h)
		baton_set_flag(h, h->flag | BATON_ROUSES);
	pthread_mutex_unlock(&b->gate);
}

/* ------------------------------------------------------------------ begin and end */

bool baton_is_held(const struct baton *b, bool rides)
{
	const struct rider *r = baton_here.rider;

	return baton_here.robs == b ||
	       (rides && (!r || (baton_holder(b) == r && !baton_in_user())));
}

void baton_mount_held(struct baton *b, struct rider *r)
{
	if (!r->here)
		sys_sched_open(&r->sched);
	r->here = &baton_here;
	r->fiber = &fiber_current;
	baton_set_flag(r, baton_holder(b) == r ? baton_flag_of(b, r, false) : r->flag);
}

void baton_mount(struct rider *r)
{
	struct baton *b = baton_of(r);

	pthread_mutex_lock(&b->gate);
	baton_mount_held(b, r);
	pthread_mutex_unlock(&b->gate);
}

void baton_dismount(struct rider *r)
{
	struct baton *b = baton_of(r);

	pthread_mutex_lock(&b->gate);
	r->here = NULL;
	sys_sched_close(&r->sched);
	pthread_mutex_unlock(&b->gate);
}

void baton_init(struct poller *p, struct crew *crew)
{
	struct baton *b = &p->baton;

	pthread_mutex_init(&b->gate, NULL);
	pthread_cond_init(&b->home.cond, NULL);
	list_init(&b->spares);
	b->crew = crew;
	b->home.home = true;
	b->home.poller = p;
	b->home.crew = crew;
	baton_set_holder(b, &b->home);
	atomic_store(&b->looper, &b->home);
}

void baton_fini(struct poller *p)
{
	pthread_cond_destroy(&p->baton.home.cond);
	pthread_mutex_destroy(&p->baton.gate);
}

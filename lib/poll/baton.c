/* SPDX-License-Identifier: BSD-2-Clause */
/* baton: the slow paths: robbing, waiting, giving, lending. The protocol is told in baton.h. */
#include "poll/baton.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "poll/crew.h"
#include "poll/poller_private.h"
#include "sys/clock.h"
#include "sys/io.h"
#include "sys/probe.h"
#include "sys/wake.h"

_Thread_local struct baton_here baton_here;

static struct baton *baton_of(const struct rider *r)
{
	return &r->poller->baton;
}

static struct rider *baton_holder(const struct baton *b)
{
	return atomic_load_explicit(&b->holder, memory_order_relaxed);
}

static void baton_set_holder(struct baton *b, struct rider *r)
{
	atomic_store_explicit(&b->holder, r, memory_order_relaxed);
}

static struct rider *baton_looper(const struct baton *b)
{
	return atomic_load_explicit(&b->looper, memory_order_relaxed);
}

/* Under the gate. A thread that has not begun is LIB: it waits for the gate. */
static uint32_t baton_word(const struct rider *r)
{
	return r->here ? __atomic_load_n(&r->here->word, __ATOMIC_ACQUIRE) : BATON_LIB;
}

static enum baton_state baton_state(const struct rider *r)
{
	return baton_word(r) & 3;
}

/* Under the gate; of one in USER, as @was. Return: whether it has not moved since. */
static bool baton_mark(struct rider *r, uint32_t was, enum baton_mark mark)
{
	return __atomic_compare_exchange_n(&r->here->word, &was, was | mark, false,
					   __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* Of the calling thread. Return: whether others have the baton, or want it. */
static bool baton_to(enum baton_state state)
{
	__atomic_store_n(&baton_here.word, state, __ATOMIC_RELEASE);
	sys_fence_light();
	return baton_is_called();
}

/* ------------------------------------------------------------------ the queue; under the gate */

static void baton_enqueue(struct baton *b, struct rider *r, bool lazy, bool front)
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

static void baton_unqueue(struct baton *b, struct rider *r)
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

static void baton_set_flag(struct rider *r, uint32_t f)
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

/* What the flag of one that holds it has to be. */
static uint32_t baton_flag_of(const struct baton *b, const struct rider *r, bool lent)
{
	return (baton_is_wanted(b, r, lent) ? BATON_WANTED : 0) |
	       (b->crew && crew_is_asleep(b->crew) ? BATON_ROUSES : 0) |
	       (baton_fence_is_kernels() ? 0 : BATON_FENCES);
}

static void baton_grant(struct baton *b, struct rider *r)
{
	baton_set_holder(b, r);
	baton_set_flag(r, baton_flag_of(b, r, false));
	pthread_cond_signal(&r->cond);
}

static void baton_grant_next(struct baton *b)
{
	struct rider *w = b->wait_first;

	if (!w)
		return;
	baton_unqueue(b, w);
	baton_grant(b, w);
}

/* It runs code of the user's, and has the baton no more. */
static void baton_left(struct rider *r)
{
	r->left = true;
	crew_count_away(r->crew, 1);
	hog_get_note(r->poller, &r->note);
	baton_here.robs = baton_of(r);
	crew_aside(r->crew, *r->fiber, true);
	baton_here.robs = NULL;
}

/* Return: whether nobody holds it now. One that has not been told to fence is not robbed. */
static bool baton_rob(struct baton *b)
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

static void baton_wait(struct baton *b, struct rider *r)
{
	baton_enqueue(b, r, false, false);
	if (baton_rob(b))
		baton_grant_next(b);
	while (baton_holder(b) != r)
		pthread_cond_wait(&r->cond, &b->gate);
}

/* Out of its sleep: what it sleeps for may have changed. */
static void baton_kick(struct rider *r)
{
	if (baton_state(r) != BATON_IDLE)
		return;
	if (r->home)
		poller_wake(r->poller);
	else
		sys_wake_signal(r->kick_fd);
}

/* The looper, which may be asleep, has what it leaves behind. */
static void baton_drop(struct baton *b, struct rider *r)
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

/* Somebody may wait for it. */
static void baton_give_up(struct rider *r)
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

/* ------------------------------------------------------------------ hand-off */

/* Under the gate. One that sleeps here already has fibers that then need no lending. */
static struct rider *baton_spare(struct poller *p, bool *ret_any)
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

/* Under the gate. It carries the poller no more. */
static void baton_unspare(struct baton *b, struct rider *r)
{
	list_remove(&r->link);
	if (b->from == r)
		b->from = NULL;
	atomic_fetch_sub_explicit(&b->n_spares, 1, memory_order_relaxed);
	crew_give(r->crew, r);
	/* An end waits for this, and may be on its way to sleep. */
	poller_wake(b->home.poller);
}

/* Under the gate. @from was left alone. */
static void baton_assign(struct baton *b, struct rider *from, struct rider *to)
{
	b->from = from;
	PROBE2(handoff, b->home.poller, from->note.handler);
	if (!to->poller->shared)
		to->poller->shared = true;
	crew_count_handoff(b->crew);
	atomic_store_explicit(&b->looper, to, memory_order_relaxed);
	baton_enqueue(b, to, false, true);
	if (!baton_holder(b))
		baton_grant_next(b);
}

static int baton_give_away(struct baton *b, struct rider *r, struct crew_waiter *w)
{
	struct rider *to = NULL;
	bool any = false;

	if (baton_looper(b) == r) {
		to = baton_spare(r->poller, &any);
		if (!to)
			crew_count_refused(b->crew);
		if (!to && any)
			crew_wait(b->crew, w);
		if (!to)
			return any ? -EAGAIN : -ENOTSUP;
	}
	baton_left(r);
	baton_drop(b, r);
	if (to)
		baton_assign(b, r, to);
	return 0;
}

int baton_hand_off(struct crew_waiter *w)
{
	struct rider *r = baton_here.rider;
	struct baton *b;
	int err;

	if (!r || !r->crew)
		return -ENOTSUP;
	b = baton_of(r);
	pthread_mutex_lock(&b->gate);
	err = baton_give_away(b, r, w);
	pthread_mutex_unlock(&b->gate);
	if (err == 0)
		baton_to(BATON_USER);
	return err;
}

/* Under the gate; @r is in USER. A thread first: one that is robbed in vain has to wait. */
static void baton_hand_on(struct baton *b, struct rider *r, uint64_t now_ns)
{
	bool any = false;
	struct rider *to = baton_spare(r->poller, &any);

	if (!to) {
		if (baton_mark(r, BATON_USER | BATON_SEEN, BATON_REFUSED))
			crew_count_refused(b->crew);
		return;
	}
	if (baton_holder(b) == r && (!baton_rob(b) || !r->left)) {
		/* it has come back, and may even be asleep */
		if (!to->hosting)
			baton_unspare(b, to);
		if (!baton_holder(b))
			baton_grant_next(b);
		return;
	}
	b->last_ns = now_ns;
	b->told = r->note;
	b->tells = true;
	baton_assign(b, r, to);
}

static bool baton_is_stuck(struct rider *r, uint64_t now_ns, uint64_t limit_ns)
{
	uint32_t w = baton_word(r);

	if ((w & 3) != BATON_USER)
		return false;
	if (w & BATON_SEEN)
		return now_ns - r->since_ns >= limit_ns;
	baton_mark(r, BATON_USER, BATON_SEEN);
	r->since_ns = now_ns;
	return false;
}

/*
 * A holder that is no looper was lent the baton. And a rider that waits for a holder in USER, which
 * could not be robbed then, is served here.
 */
bool baton_look(struct baton *b, uint64_t now_ns, uint64_t limit_ns)
{
	struct rider *l, *h;
	bool busy;

	pthread_mutex_lock(&b->gate);
	l = baton_looper(b);
	h = baton_holder(b);
	if (baton_is_stuck(l, now_ns, limit_ns))
		baton_hand_on(b, l, now_ns);
	else if (h &&
		 ((h != l && baton_is_stuck(h, now_ns, limit_ns)) ||
		  (b->urgent && baton_state(h) == BATON_USER)) &&
		 baton_rob(b))
		baton_grant_next(b);
	/* A guest that was robbed has not woken the looper for what it leaves behind. */
	if (!baton_holder(b))
		baton_kick(l);
	busy = baton_state(l) == BATON_USER || (h && baton_state(h) == BATON_USER);
	pthread_mutex_unlock(&b->gate);
	return busy;
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

/* ------------------------------------------------------------------ the loop */

void baton_idle_begin(struct rider *r)
{
	if (baton_to(BATON_IDLE))
		baton_give_up(r);
}

/* Under the gate: it waits, unless the loop is another's now, or becomes that meanwhile. */
static bool baton_wait_as_looper(struct baton *b, struct rider *r, bool any)
{
	if (baton_holder(b) == r)
		return true;
	if (baton_looper(b) != r && !any)
		return false;
	baton_wait(b, r);
	return baton_looper(b) == r || any;
}

bool baton_idle_end(struct rider *r, bool any)
{
	struct baton *b = baton_of(r);
	bool mine;

	if (!baton_to(BATON_LIB))
		return true;
	pthread_mutex_lock(&b->gate);
	mine = baton_wait_as_looper(b, r, any) && (any || baton_looper(b) == r);
	if (baton_holder(b) == r)
		baton_set_flag(r, baton_flag_of(b, r, false));
	pthread_mutex_unlock(&b->gate);
	return mine;
}

struct fiber *baton_left_alone(struct baton *b)
{
	struct fiber *f;

	pthread_mutex_lock(&b->gate);
	f = b->from && b->from->left ? *b->from->fiber : NULL;
	pthread_mutex_unlock(&b->gate);
	return f;
}

void baton_nap(struct rider *r, int timeout_ms)
{
	struct pollfd fds[] = {
		{ .fd = r->poller->epoll_fd, .events = POLLIN },
		{ .fd = r->kick_fd, .events = POLLIN },
	};

	sys_poll_wait(fds, 2, timeout_ms);
	if (fds[1].revents)
		sys_wake_drain(r->kick_fd);
}

/* Under the gate. Others have it, in their order; or the loop is another's. */
static void baton_let_others(struct baton *b, struct rider *r)
{
	baton_set_flag(r, BATON_ROBBED);
	baton_enqueue(b, r, false, false);
	baton_set_holder(b, NULL);
	baton_grant_next(b);
	while (baton_holder(b) != r && baton_looper(b) == r)
		pthread_cond_wait(&r->cond, &b->gate);
	baton_unqueue(b, r);
}

/* Under the gate. The thread that had the loop is sent away. */
static void baton_take_loop(struct baton *b, struct rider *r)
{
	struct rider *old = baton_looper(b);

	if (old->left) /* or it has not even begun */
		b->from = old;
	atomic_store_explicit(&b->looper, r, memory_order_relaxed);
	pthread_cond_signal(&old->cond);
	baton_kick(old);
}

bool baton_goes_on(struct rider *r)
{
	struct baton *b = baton_of(r);
	bool mine;

	if (!baton_is_called()) {
		if (r->home)
			r->poller->shared = baton_is_shared(b);
		return true;
	}
	pthread_mutex_lock(&b->gate);
	mine = baton_looper(b) == r;
	if (mine && b->urgent)
		baton_let_others(b, r);
	else if (!mine && r->home)
		baton_take_loop(b, r);
	mine = mine && baton_looper(b) == r;
	if (baton_holder(b) == r)
		baton_set_flag(r, baton_flag_of(b, r, false));
	pthread_mutex_unlock(&b->gate);
	return mine;
}

bool baton_take_told(struct baton *b, struct hog_note *ret)
{
	bool tells;

	pthread_mutex_lock(&b->gate);
	tells = b->tells;
	*ret = b->told;
	b->tells = false;
	pthread_mutex_unlock(&b->gate);
	return tells;
}

/* ------------------------------------------------------------------ hosts */

static bool baton_is_lendable(const struct baton *b, const struct rider *r, uint64_t turn)
{
	return r->hosting && !r->waiting && baton_holder(b) != r && r->run_first && r->lent != turn;
}

struct rider *baton_lendable(struct baton *b, struct rider *me, uint64_t turn)
{
	struct rider *found = NULL;

	pthread_mutex_lock(&b->gate);
	for (struct list *l = b->spares.next; l != &b->spares && !found; l = l->next) {
		struct rider *r = container_of(l, struct rider, link);

		if (r != me && baton_is_lendable(b, r, turn))
			found = r;
	}
	pthread_mutex_unlock(&b->gate);
	return found;
}

bool baton_lend(struct rider *me, struct rider *to)
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

static bool baton_has_fibers(const struct rider *r)
{
	return r->now_run || atomic_load_explicit(&r->has_run, memory_order_relaxed);
}

/* Under the gate. Its fibers may have come while it could not be lent the baton: it asks itself. */
static void baton_host_wait(struct baton *b, struct rider *r)
{
	r->hosting = true;
	if (baton_looper(b) != r)
		crew_hosts(r->crew, r->poller);
	if (baton_holder(b) != r && baton_has_fibers(r) && !r->waiting)
		baton_wait(b, r);
	while (baton_holder(b) != r)
		pthread_cond_wait(&r->cond, &b->gate);
	r->hosting = false;
}

bool baton_host(struct rider *r)
{
	struct baton *b = baton_of(r);
	bool stays;

	pthread_mutex_lock(&b->gate);
	if (baton_holder(b) == r && baton_looper(b) != r)
		baton_drop(b, r);
	stays = baton_looper(b) == r || fiber_host_parked() || baton_has_fibers(r);
	if (stays)
		baton_host_wait(b, r);
	else
		baton_unspare(b, r);
	pthread_mutex_unlock(&b->gate);
	return stays;
}

/* Under the gate. */
static void baton_mount_held(struct baton *b, struct rider *r)
{
	r->here = &baton_here;
	r->fiber = &fiber_current;
	baton_set_flag(r, baton_holder(b) == r ? baton_flag_of(b, r, false) : r->flag);
}

bool baton_arrive(struct rider *r, struct poller *p)
{
	struct baton *b = &p->baton;
	bool here;

	pthread_mutex_lock(&b->gate);
	here = __atomic_load_n(&r->poller, __ATOMIC_RELAXED) == p;
	if (here) {
		baton_mount_held(b, r);
		baton_host_wait(b, r);
	}
	pthread_mutex_unlock(&b->gate);
	return here;
}

/* ------------------------------------------------------------------ begin and end */

bool baton_is_held(const struct baton *b, bool rides)
{
	const struct rider *r = baton_here.rider;

	return baton_here.robs == b ||
	       (rides && (!r || (baton_holder(b) == r && !baton_in_user())));
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

/* SPDX-License-Identifier: BSD-2-Clause */
/* hold: the watch: one look after the other, until it is told to end or nothing can be kept */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "steer/folder.h"
#include "steer/hold_private.h"
#include "steer/rescue.h"
#include "steer/watchdog.h"
#include "sys/clock.h"
#include "sys/diag.h"
#include "sys/io.h"
#include "sys/netns.h"

#define TICK_MS  10   /* so long a new listener gets nothing */
#define START_MS 2000 /* a server that is starting may have one listener so far */

/* New listeners first: they are the heirs. */
static int hold_look(struct hold *h)
{
	int r;

	h->pending = false;
	r = adopt_try(&h->a);
	h->pending = h->pending || r == -ESTALE;
	h->started = h->started || r > 0;
	h->looked_ns = sys_clock_ns();
	if (h->a.f.whole) {
		hold_see_kept(h);
		hold_settle_kept(h);
	}
	find_fini(&h->a.f);
	hold_watch_tasks(h);
	return r;
}

static int hold_start_rescue(struct hold *h, bool own_netns)
{
	struct rescue_scope scope = { .everywhere = !own_netns,
				      .adopted = h->a.o.rescue,
				      .port = h->a.q.port,
				      .where = &h->a.q };
	int r;

	if (h->a.o.rescue == NP_STEER_RESCUE_NEVER)
		return 0;
	if (h->a.s->level < NP_STEER_L3) {
		steer_log(h->a.s, 1,
			  "at level %d what waits at a worker that stands still stays there",
			  (int)h->a.s->level);
		return 0;
	}
	r = watchdog_new(h->a.s, &scope, &h->watchdog);
	if (r == 0)
		r = watchdog_start(h->watchdog);
	return r < 0 ? steer_fail(h->a.s, r, "workers that stand still cannot be watched: %s",
				  strerror(-r)) :
		       0;
}

/* The namespace of a process that is asked for, or the caller's. */
static int hold_open_netns(struct hold *h, bool *ret_own)
{
	int own = -1, r;

	r = sys_netns_open(h->a.q.pid ?: find_process(&h->a.q), &h->a.q.netns_fd);
	if (r == 0)
		r = sys_netns_open(0, &own);
	if (r == 0)
		*ret_own = sys_netns_id(own) == sys_netns_id(h->a.q.netns_fd);
	sys_close(&own);
	return r;
}

/* The namespace outlives the process that is asked for: it is opened once. */
static int hold_open(struct hold *h)
{
	bool own = false;
	int r = hold_open_netns(h, &own);

	h->a.q.in_netns = r == 0;
	if (r == 0)
		r = own ? sys_diag_open(&h->diag_fd) :
			  sys_diag_open_in(h->a.q.netns_fd, &h->diag_fd);
	h->a.q.pid = 0;
	if (r < 0)
		return steer_fail(h->a.s, r, "the network namespace cannot be watched: %s",
				  strerror(-r));
	r = keeper_become(&h->keeper, h->a.s, h->a.q.port, h->a.q.netns_fd);
	return r < 0 ? r : hold_start_rescue(h, own);
}

static void hold_close(struct hold *h)
{
	watchdog_free(h->watchdog);
	for (unsigned i = 0; i < h->n; i++)
		h->all[i].goes = h->all[i].orphan_ns;
	hold_give_up_kept(h);
	for (unsigned i = 0; i < h->n; i++)
		sys_close(&h->all[i].fd);
	free(h->all);
	hold_forget_tasks(h);
	sys_close(&h->diag_fd);
	keeper_resign(&h->keeper, h->a.s);
	sys_close(&h->a.q.netns_fd);
}

/* A server may come later, or be half way through its start; what else is wrong is said. */
static bool hold_goes_on(const struct hold *h, int r, uint64_t start_ns)
{
	return r >= 0 || r == -ENOENT || r == -ESTALE || h->started ||
	       (r == -NP_EUNSUPPORTED && sys_clock_ns() - start_ns < START_MS * 1000000ull);
}

/* What it adopted meanwhile nobody else could take out again. */
static int hold_end_unloaded(struct hold *h)
{
	struct np_steer *s = h->a.s;

	np_steer_release(s, NULL);
	return steer_fail(s, -ENOENT,
			  "the service %s has been unloaded: port %u is watched no longer", s->name,
			  h->a.q.port);
}

static int hold_run(struct hold *h, int ms)
{
	uint64_t start_ns = sys_clock_ns();
	int r, waited = 0;

	h->changed_ns = start_ns;
	h->list = hold_list(h);
	r = hold_look(h);
	while (hold_goes_on(h, r, start_ns)) {
		if (ms >= 0 && sys_clock_ns() - start_ns >= (uint64_t)ms * 1000000u)
			return 0;
		waited = sys_wait_readable(h->tasks, TICK_MS);
		if (waited < 0)
			return waited;
		if (folder_is_removed(h->a.s->lock_fd))
			return hold_end_unloaded(h);
		if (hold_has_changed(h))
			r = hold_look(h);
	}
	return r;
}

int np_steer_keep(struct np_steer *s, const struct np_steer_adopt_opts *opts, int ms)
{
	struct hold h = { .a = { .s = s, .hold = &h, .q = { .netns_fd = -1 } },
			  .diag_fd = -1,
			  .tasks = -1,
			  .keeper = { .fd = -1 } };
	int r = adopt_options(&h.a, opts);

	if (r < 0)
		return r;
	if (!h.a.o.address || h.a.o.dry_run || h.a.o.hold_ms < 0)
		return steer_fail(s, -EINVAL, "which port is to be watched?");
	if (h.a.o.hold_ms && s->level < NP_STEER_L3)
		return steer_fail(s, -NP_EUNSUPPORTED,
				  "at level %d no queue can be handed over: nothing can be held",
				  (int)s->level);
	h.hold_ns = (uint64_t)h.a.o.hold_ms * 1000000u;
	r = hold_open(&h);
	if (r == 0)
		r = hold_run(&h, ms);
	hold_close(&h);
	return r;
}

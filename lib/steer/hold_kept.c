/* SPDX-License-Identifier: BSD-2-Clause */
/* hold_kept: the listeners that a hold keeps: seen again, orphaned, and given up */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "steer/count.h"
#include "steer/hold_private.h"
#include "steer/release.h"
#include "sys/clock.h"
#include "sys/io.h"
#include "sys/sock.h"

#define GRACE_MS     20    /* a listener may be under way from one process to another */
#define NEW_MS       200   /* a worker is named after the task that accepts: that may begin late */
#define HOLD_BACKLOG 65535 /* of a listener that nobody accepts from; cut to net.core.somaxconn */

static struct kept *kept_find(const struct hold *h, uint64_t cookie)
{
	for (unsigned i = 0; i < h->n; i++)
		if (h->all[i].cookie == cookie)
			return &h->all[i];
	return NULL;
}

static void kept_welcome(struct hold *h, const struct find_listener *l, uint32_t slot)
{
	struct np_worker_info info = { .name = "" };
	char address[80];

	find_address(l, address, sizeof address);
	worker_info(h->a.s, slot % NP_WORKERS, &info);
	steer_log(h->a.s, 0, "%s: worker %u is %.31s", address, slot % NP_WORKERS, info.name);
}

void hold_keep(struct hold *h, const struct find_listener *l, uint32_t slot, int *fd)
{
	struct kept *grown, *k = kept_find(h, l->d.cookie);

	if (!k) {
		grown = realloc(h->all, (h->n + 1) * sizeof *grown);
		if (!grown) {
			sys_close(fd);
			return;
		}
		h->all = grown;
		k = &h->all[h->n++];
		*k = (struct kept){ .cookie = l->d.cookie,
				    .inode = l->d.inode,
				    .slot = slot,
				    .fd = -1,
				    .seen = true,
				    .theirs = true };
		kept_welcome(h, l, slot);
	}
	if (h->hold_ns && k->fd < 0) {
		k->fd = *fd;
		*fd = -1;
	}
	sys_close(fd);
}

bool hold_is_orphan(const struct hold *h, const struct find_listener *l)
{
	return !l->holders && kept_find(h, l->d.cookie);
}

bool hold_is_new(struct hold *h, const struct find_listener *l)
{
	bool young = !l->acceptors && !kept_find(h, l->d.cookie) &&
		     sys_clock_ns() - h->changed_ns < NEW_MS * 1000000ull;

	h->pending = h->pending || young;
	return young;
}

static void kept_mark(struct hold *h, const struct kept *k, bool held)
{
	struct np_worker_info info;
	uint32_t w = k->slot % NP_WORKERS;

	if (!worker_info(h->a.s, w, &info) || !(info.flags & NP_INFO_ADOPTED))
		return;
	info.flags = held ? info.flags | NP_INFO_HELD : info.flags & ~NP_INFO_HELD;
	map_update(&h->a.s->maps, MAP_np_info, &w, &info, 0);
}

static void kept_note(struct kept *k, const struct find_listener *l)
{
	const struct find_acceptor *a = find_worker(l);

	k->seen = true;
	k->theirs = l->holders > 0;
	k->acceptor = a ? a->pid : 0;
	k->holders = l->holders < HOLD_HOLDERS ? l->holders : HOLD_HOLDERS;
	/* The last ones: a master holds all, and closes them as its last act. */
	memcpy(k->holder, l->holder + (l->holders - k->holders), k->holders * sizeof k->holder[0]);
}

void hold_see_kept(struct hold *h)
{
	for (unsigned i = 0; i < h->n; i++)
		h->all[i].seen = h->all[i].theirs = false;
	for (unsigned i = 0; i < h->a.f.n; i++) {
		struct kept *k = kept_find(h, h->a.f.all[i].d.cookie);

		if (!k)
			continue;
		kept_note(k, &h->a.f.all[i]);
		adopt_rename(h->a.s, k->slot % NP_WORKERS, &h->a.f.all[i]);
	}
}

/* Whether a listener in the same group is theirs. */
static bool kept_has_heir(const struct hold *h, const struct kept *k)
{
	for (unsigned i = 0; i < h->n; i++)
		if (h->all[i].theirs && h->all[i].slot / NP_WORKERS == k->slot / NP_WORKERS)
			return true;
	return false;
}

static unsigned kept_queued(const struct kept *k)
{
	unsigned n = 0;

	return k->fd >= 0 && sys_accept_queue(k->fd, &n) == 0 ? n : 0;
}

/*
 * All that are to go, under the lock: off the rosters first, since what is in their queues goes to
 * whoever is on those then; their cookies last, since the program counts by them what left. Without
 * the lock the kernel takes them out of their slots, and the next change out of the rosters.
 */
static void kept_off_rosters(struct hold *h)
{
	struct np_steer *s = h->a.s;
	uint32_t groups = 0;

	for (unsigned i = 0; i < h->n; i++) {
		struct kept *k = &h->all[i];

		if (!k->goes)
			continue;
		kept_mark(h, k, false);
		if (map_listener(&s->maps, k->slot) == k->cookie)
			map_delete(&s->maps, MAP_np_socks, &k->slot);
		groups |= 1u << k->slot / NP_WORKERS;
	}
	for (unsigned g = 0; g < NP_GROUPS; g++)
		if (groups & 1u << g)
			group_roster(s, g);
}

/* Their connections go on as other workers' with the next look, which seeds those. */
static void kept_uncount(struct hold *h)
{
	unsigned gone[NP_WORKERS], n = 0;

	for (unsigned i = 0; i < h->n && n < NP_WORKERS; i++) {
		unsigned w = h->all[i].slot % NP_WORKERS, stay = 0;

		for (unsigned k = 0; k < h->n; k++)
			stay += !h->all[k].goes && h->all[k].slot % NP_WORKERS == w;
		if (h->all[i].goes && !stay && worker_is_adopted(h->a.s, w) && count_has(h->a.s, w))
			gone[n++] = w;
	}
	count_stop(h->a.s, gone, n);
}

void hold_give_up_kept(struct hold *h)
{
	bool locked = steer_lock(h->a.s) == 0;

	if (locked) {
		kept_uncount(h);
		kept_off_rosters(h);
	}
	for (unsigned i = 0; i < h->n;) {
		struct kept *k = &h->all[i];

		if (!k->goes) {
			i++;
			continue;
		}
		if (k->fd >= 0)
			sys_shutdown(k->fd, SHUT_RD);
		sys_close(&k->fd);
		if (locked)
			release_slot(h->a.s, k->slot, k->cookie);
		*k = h->all[--h->n];
	}
	if (locked)
		steer_unlock(h->a.s);
}

static void kept_orphaned(struct hold *h, struct kept *k, uint64_t now_ns)
{
	if (k->orphan_ns)
		return;
	k->orphan_ns = now_ns;
	if (kept_has_heir(h, k))
		return;
	sys_listen(k->fd, HOLD_BACKLOG);
	kept_mark(h, k, true);
	steer_log(h->a.s, 1,
		  "the server of worker %u is away: its listener is kept open for %llu ms",
		  k->slot % NP_WORKERS, (unsigned long long)(h->hold_ns / 1000000u));
}

static void kept_tell(struct hold *h, const struct kept *k, bool heir, unsigned queued)
{
	unsigned long long ms = (sys_clock_ns() - k->orphan_ns) / 1000000u;
	unsigned w = k->slot % NP_WORKERS;

	if (heir)
		steer_log(h->a.s, 1,
			  "the listener of worker %u, closed by its server %llu ms ago: the %u "
			  "connections that waited there went to its siblings",
			  w, ms, queued);
	else
		steer_log(h->a.s, 2,
			  "the server of worker %u has been away for %llu ms: the %u connections "
			  "that waited there are reset",
			  w, ms, queued);
}

/*
 * It is not in the kernel's list, and its server has it all the same: shut, and about to listen
 * again, as a rescue has it for a moment (hand.h).
 */
static bool kept_is_shut(struct hold *h, struct kept *k, uint64_t now_ns)
{
	if (k->seen || hold_has_lost_holders(k))
		return false;
	k->shut_ns = k->shut_ns ? k->shut_ns : now_ns;
	if (now_ns - k->shut_ns >= GRACE_MS * 1000000ull)
		return false;
	h->pending = true;
	return true;
}

/* True: it goes. Right after a look. */
static bool kept_settle(struct hold *h, struct kept *k, uint64_t now_ns)
{
	bool heir = kept_has_heir(h, k);
	uint64_t enough_ns = heir ? GRACE_MS * 1000000ull : h->hold_ns;
	unsigned queued;

	if (k->seen)
		k->shut_ns = 0;
	if (k->fd < 0 && (k->seen || kept_is_shut(h, k, now_ns)))
		return false;
	if (k->theirs) {
		if (k->orphan_ns)
			kept_mark(h, k, false);
		k->orphan_ns = 0;
		return false;
	}
	if (k->fd >= 0) {
		kept_orphaned(h, k, now_ns);
		if (now_ns - k->orphan_ns < enough_ns) {
			h->pending = true;
			return false;
		}
		queued = kept_queued(k);
		kept_tell(h, k, heir, queued);
	}
	return true; /* watched only: the kernel has taken it out of its slot */
}

void hold_settle_kept(struct hold *h)
{
	uint64_t now_ns = sys_clock_ns();
	bool any = false;

	for (unsigned i = 0; i < h->n; i++) {
		h->all[i].goes = kept_settle(h, &h->all[i], now_ns);
		any = any || h->all[i].goes;
	}
	if (!any)
		return;
	hold_give_up_kept(h);
	h->pending = true;
}

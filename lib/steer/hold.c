/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hold: a look at the kernel's list each TICK_MS, and a walk over /proc only when that has changed,
 * or a task that accepts has ended, or a listener has lost its holder
 */
#include "steer/hold.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "steer/adopt.h"
#include "steer/count.h"
#include "steer/folder.h"
#include "steer/keeper.h"
#include "steer/release.h"
#include "sys/clock.h"
#include "sys/diag.h"
#include "sys/epoll.h"
#include "sys/io.h"
#include "sys/netns.h"
#include "sys/process.h"
#include "sys/sock.h"

#define TICK_MS  10    /* so long a new listener gets nothing */
#define START_MS 2000  /* a server that is starting may have one listener so far */
#define LOOK_MS  10000 /* a look all the same: the old worker may live on beside the new one */
#define AWAY_MS  50    /* and so often while something is on its way */
#define GRACE_MS 20    /* a listener may be under way from one process to another */
#define NEW_MS   200   /* a worker is named after the task that accepts: it gets so long to begin */

#define HOLD_HOLDERS 4u
#define HOLD_BACKLOG 65535 /* of a listener that nobody accepts from; cut to net.core.somaxconn */

struct kept {
	uint64_t cookie, inode;
	uint32_t slot;
	int fd;                                  /* -1: watched only */
	struct find_holder holder[HOLD_HOLDERS]; /* as of the last look */
	unsigned holders;
	pid_t acceptor;
	bool seen, theirs;  /* by the last look */
	bool goes;          /* with the next hold_give_up() */
	uint64_t orphan_ns; /* since when; 0: it is not */
};

struct hold {
	struct adopt a;
	struct keeper keeper;
	struct kept *all;
	unsigned n;
	uint64_t hold_ns;
	int diag_fd, tasks; /* an epoll instance of pidfds */
	int *pidfds;
	unsigned n_pidfds;
	uint64_t list; /* what the kernel's list was, in one word */
	uint64_t looked_ns, changed_ns;
	bool pending; /* the last look left something for the next one */
	bool started; /* there were workers */
};

/* ------------------------------------------------------------------ what is kept */

static struct kept *hold_find(const struct hold *h, uint64_t cookie)
{
	for (unsigned i = 0; i < h->n; i++)
		if (h->all[i].cookie == cookie)
			return &h->all[i];
	return NULL;
}

static void hold_welcome(struct hold *h, const struct find_listener *l, uint32_t slot)
{
	struct np_worker_info info = { .name = "" };
	char address[80];

	find_address(l, address, sizeof address);
	worker_info(h->a.s, slot % NP_WORKERS, &info);
	steer_log(h->a.s, 0, "%s: worker %u is %.31s", address, slot % NP_WORKERS, info.name);
}

void hold_keep(struct hold *h, const struct find_listener *l, uint32_t slot, int *fd)
{
	struct kept *grown, *k = hold_find(h, l->d.cookie);

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
		hold_welcome(h, l, slot);
	}
	if (h->hold_ns && k->fd < 0) {
		k->fd = *fd;
		*fd = -1;
	}
	sys_close(fd);
}

bool hold_is_orphan(const struct hold *h, const struct find_listener *l)
{
	return !l->holders && hold_find(h, l->d.cookie);
}

bool hold_is_new(struct hold *h, const struct find_listener *l)
{
	bool young = !l->acceptors && !hold_find(h, l->d.cookie) &&
		     sys_clock_ns() - h->changed_ns < NEW_MS * 1000000ull;

	h->pending = h->pending || young;
	return young;
}

static void hold_mark(struct hold *h, const struct kept *k, bool held)
{
	struct np_worker_info info;
	uint32_t w = k->slot % NP_WORKERS;

	if (!worker_info(h->a.s, w, &info) || !(info.flags & NP_INFO_ADOPTED))
		return;
	info.flags = held ? info.flags | NP_INFO_HELD : info.flags & ~NP_INFO_HELD;
	map_update(&h->a.s->maps, MAP_np_info, &w, &info, 0);
}

/* ------------------------------------------------------------------ what has changed */

static void hold_mix(void *arg, const struct sys_listener *l)
{
	uint64_t *sum = arg;

	*sum += (l->cookie + 1) * 0x9e3779b97f4a7c15ull;
}

static uint64_t hold_list(struct hold *h)
{
	uint64_t sum = 0;

	sys_diag_listeners(h->diag_fd, AF_INET, h->a.q.port, hold_mix, &sum);
	sys_diag_listeners(h->diag_fd, AF_INET6, h->a.q.port, hold_mix, &sum);
	return sum;
}

/* One that is kept stays in the list when its server closes it. */
static bool hold_lost_holders(const struct kept *k)
{
	for (unsigned i = 0; i < k->holders; i++)
		if (sys_process_has_socket(k->holder[i].pid, k->holder[i].number, k->inode))
			return false;
	return true;
}

static bool hold_has_changed(struct hold *h)
{
	struct pollfd tasks = { .fd = h->tasks, .events = POLLIN };
	uint64_t list = hold_list(h), now_ns = sys_clock_ns();
	uint64_t rest_ms = h->pending ? AWAY_MS : LOOK_MS;
	bool changed = list != h->list;

	if (changed)
		h->changed_ns = now_ns;
	h->list = list;
	if (changed || now_ns - h->looked_ns > rest_ms * 1000000u || sys_poll_now(&tasks, 1) > 0)
		return true;
	for (unsigned i = 0; i < h->n; i++)
		if (h->all[i].fd >= 0 && h->all[i].theirs && hold_lost_holders(&h->all[i]))
			return true;
	return false;
}

static void hold_forget_tasks(struct hold *h)
{
	for (unsigned i = 0; i < h->n_pidfds; i++)
		sys_close(&h->pidfds[i]);
	free(h->pidfds);
	h->pidfds = NULL;
	h->n_pidfds = 0;
	sys_close(&h->tasks);
}

static bool hold_watches(const struct hold *h, unsigned n, pid_t pid)
{
	for (unsigned i = 0; i < n; i++)
		if (h->all[i].acceptor == pid)
			return true;
	return false;
}

/* The end of a task that accepts; where that cannot be had, LOOK_MS has to do. */
static int hold_watch_tasks(struct hold *h)
{
	int r;

	hold_forget_tasks(h);
	r = sys_epoll_create(&h->tasks);
	h->pidfds = calloc(h->n + 1, sizeof *h->pidfds);
	for (unsigned i = 0; r == 0 && h->pidfds && i < h->n; i++) {
		int fd = -1;

		if (h->all[i].acceptor <= 0 || hold_watches(h, i, h->all[i].acceptor) ||
		    sys_process_open(h->all[i].acceptor, &fd) < 0)
			continue;
		h->pidfds[h->n_pidfds++] = fd;
		sys_epoll_add(h->tasks, fd, EPOLLIN, 0);
	}
	return r;
}

/* ------------------------------------------------------------------ a look */

static void hold_note(struct kept *k, const struct find_listener *l)
{
	const struct find_acceptor *a = find_worker(l);

	k->seen = true;
	k->theirs = l->holders > 0;
	k->acceptor = a ? a->pid : 0;
	k->holders = l->holders < HOLD_HOLDERS ? l->holders : HOLD_HOLDERS;
	/* The last ones: a master holds all, and closes them as its last act. */
	memcpy(k->holder, l->holder + (l->holders - k->holders), k->holders * sizeof k->holder[0]);
}

static void hold_look_at(struct hold *h)
{
	for (unsigned i = 0; i < h->n; i++)
		h->all[i].seen = h->all[i].theirs = false;
	for (unsigned i = 0; i < h->a.f.n; i++) {
		struct kept *k = hold_find(h, h->a.f.all[i].d.cookie);

		if (!k)
			continue;
		hold_note(k, &h->a.f.all[i]);
		adopt_rename(h->a.s, k->slot % NP_WORKERS, &h->a.f.all[i]);
	}
}

/* Whether a listener in the same group is theirs. */
static bool hold_has_heir(const struct hold *h, const struct kept *k)
{
	for (unsigned i = 0; i < h->n; i++)
		if (h->all[i].theirs && h->all[i].slot / NP_WORKERS == k->slot / NP_WORKERS)
			return true;
	return false;
}

static unsigned hold_queued(const struct kept *k)
{
	unsigned n = 0;

	return k->fd >= 0 && sys_accept_queue(k->fd, &n) == 0 ? n : 0;
}

/*
 * All that are to go, under the lock: off the rosters first, since what is in their queues goes to
 * whoever is on those then; their cookies last, since the program counts by them what left. Without
 * the lock the kernel takes them out of their slots, and the next change out of the rosters.
 */
static void hold_off_rosters(struct hold *h)
{
	struct np_steer *s = h->a.s;
	uint32_t groups = 0;

	for (unsigned i = 0; i < h->n; i++) {
		struct kept *k = &h->all[i];

		if (!k->goes)
			continue;
		hold_mark(h, k, false);
		if (map_listener(&s->maps, k->slot) == k->cookie)
			map_delete(&s->maps, MAP_np_socks, &k->slot);
		groups |= 1u << k->slot / NP_WORKERS;
	}
	for (unsigned g = 0; g < NP_GROUPS; g++)
		if (groups & 1u << g)
			group_roster(s, g);
}

/* Their connections go on as other workers' with the next look, which seeds those. */
static void hold_uncount(struct hold *h)
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

static void hold_give_up(struct hold *h)
{
	bool locked = steer_lock(h->a.s) == 0;

	if (locked) {
		hold_uncount(h);
		hold_off_rosters(h);
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

static void hold_orphaned(struct hold *h, struct kept *k, uint64_t now_ns)
{
	if (k->orphan_ns)
		return;
	k->orphan_ns = now_ns;
	if (hold_has_heir(h, k))
		return;
	sys_listen(k->fd, HOLD_BACKLOG);
	hold_mark(h, k, true);
	steer_log(h->a.s, 1,
		  "the server of worker %u is away: its listener is kept open for %llu ms",
		  k->slot % NP_WORKERS, (unsigned long long)(h->hold_ns / 1000000u));
}

static void hold_tell(struct hold *h, const struct kept *k, bool heir, unsigned queued)
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

/* True: it goes. Right after a look. */
static bool hold_settle(struct hold *h, struct kept *k, uint64_t now_ns)
{
	bool heir = hold_has_heir(h, k);
	uint64_t enough_ns = heir ? GRACE_MS * 1000000ull : h->hold_ns;
	unsigned queued;

	if (k->fd < 0 && k->seen)
		return false;
	if (k->theirs) {
		if (k->orphan_ns)
			hold_mark(h, k, false);
		k->orphan_ns = 0;
		return false;
	}
	if (k->fd >= 0) {
		hold_orphaned(h, k, now_ns);
		if (now_ns - k->orphan_ns < enough_ns) {
			h->pending = true;
			return false;
		}
		queued = hold_queued(k);
		hold_tell(h, k, heir, queued);
	}
	return true; /* watched only: the kernel has taken it out of its slot */
}

static void hold_settle_all(struct hold *h)
{
	uint64_t now_ns = sys_clock_ns();
	bool any = false;

	for (unsigned i = 0; i < h->n; i++) {
		h->all[i].goes = hold_settle(h, &h->all[i], now_ns);
		any = any || h->all[i].goes;
	}
	if (!any)
		return;
	hold_give_up(h);
	h->pending = true;
}

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
		hold_look_at(h);
		hold_settle_all(h);
	}
	find_fini(&h->a.f);
	hold_watch_tasks(h);
	return r;
}

/* ------------------------------------------------------------------ the watch */

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
	return keeper_become(&h->keeper, h->a.s, h->a.q.port, h->a.q.netns_fd);
}

static void hold_close(struct hold *h)
{
	for (unsigned i = 0; i < h->n; i++)
		h->all[i].goes = h->all[i].orphan_ns;
	hold_give_up(h);
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

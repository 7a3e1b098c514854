/* SPDX-License-Identifier: BSD-2-Clause */
/* release: workers of other servers taken out of the service, and its program off their groups. */
#include "steer/release.h"

#include <errno.h>
#include <string.h>

#include "steer/adopt.h"
#include "steer/count.h"
#include "steer/find.h"
#include "steer/steer.h"
#include "sys/fs.h"
#include "sys/io.h"
#include "sys/sock.h"

#ifndef SO_DETACH_REUSEPORT_BPF
#define SO_DETACH_REUSEPORT_BPF 68
#endif

/* ------------------------------------------------------------------ taken out again */

/* Where it is not known which program is there, it is ours if listeners of ours were. */
static bool release_has_ours(struct np_steer *s, const struct find_listener *l, bool were_ours)
{
	int r = l->program <= 0 ? l->program : adopt_is_ours(s, l->program_id);

	return r < 0 ? were_ours : r;
}

/* Listens there, as the kernel's list has it, and cannot be looked at by this process. */
static bool release_is_out_of_sight(const struct find_listener *l, const struct np_group *key)
{
	return l->err < 0 && (l->err == -EPERM || l->err == -EACCES || !l->holders) &&
	       l->d.family == key->family && l->d.port == key->port &&
	       !memcmp(l->d.addr, key->addr, sizeof key->addr);
}

static int release_detach_from(const struct find_listener *l)
{
	int fd = -1, r = find_take(l, &fd);

	if (r < 0)
		return r;
	r = sys_setsockopt_int(fd, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, 0);
	sys_close(&fd);
	return r == -ENOENT ? 0 : r;
}

/* Under the lock. Off the group of @key, through whichever listener is given. 0 also where it is
 * not there. */
static int release_detach(struct np_steer *s, const struct find *f, const struct np_group *key,
			  bool were_ours)
{
	int r = 0;

	for (unsigned i = 0; i < f->n; i++) {
		const struct find_listener *l = &f->all[i];

		if (!release_has_ours(s, l, were_ours))
			continue;
		if (release_is_out_of_sight(l, key))
			r = -EPERM;
		if (!find_lies_at(l, key))
			continue;
		r = release_detach_from(l);
		if (r == 0)
			return 0;
	}
	return r;
}

/* A number that nobody is any more is as if nobody had ever been it. */
static void release_clear(struct np_steer *s, unsigned w)
{
	static const struct np_worker_info none;
	uint32_t key = w;
	int claim = -1;

	if (worker_is_claimed(s, w) || worker_claim(s, w, &claim) < 0)
		return;
	worker_clear(s, w);
	map_update(&s->maps, MAP_np_info, &key, &none, 0);
	sys_close(&claim);
}

/* Members may write what tells that a worker was adopted, but not claim for it. */
static bool release_is_theirs(const struct np_steer *s, unsigned w)
{
	return worker_is_adopted(s, w) || !map_claim(&s->maps, w);
}

/* Of those that have no listener but the one in group @g, once for all of them. */
static void release_uncount(struct np_steer *s, unsigned g)
{
	unsigned gone[NP_WORKERS], n = 0, others;

	for (unsigned w = 0; w < NP_WORKERS; w++) {
		if (!count_has(s, w) || !map_listener(&s->maps, NP_SLOT(g, w)))
			continue;
		others = 0;
		for (unsigned i = 0; i < NP_GROUPS; i++)
			others += i != g && map_listener(&s->maps, NP_SLOT(i, w)) != 0;
		if (!others && release_is_theirs(s, w))
			gone[n++] = w;
	}
	count_stop(s, gone, n);
}

void release_slot(struct np_steer *s, uint32_t slot, uint64_t cookie)
{
	uint64_t there = map_listener(&s->maps, slot);

	if (there == cookie)
		map_delete(&s->maps, MAP_np_socks, &slot);
	map_delete(&s->maps, MAP_np_owners, &cookie);
	if (!there || there == cookie)
		release_clear(s, slot % NP_WORKERS);
}

/* Under the lock. */
static unsigned release_empty(struct np_steer *s, unsigned g)
{
	unsigned n = 0;

	release_uncount(s, g);
	for (uint32_t w = 0; w < NP_WORKERS; w++) {
		uint32_t slot = NP_SLOT(g, w);
		uint64_t cookie = map_listener(&s->maps, slot);

		if (!cookie || !release_is_theirs(s, w))
			continue;
		release_slot(s, slot, cookie);
		n++;
	}
	return n;
}

/* Their connections are still their workers', who may have other listeners. */
static void release_untag(struct np_steer *s, const struct find *f, const struct np_group *key)
{
	int fd = -1;

	for (unsigned i = 0; i < f->n && count_is_on(s); i++)
		if (find_lies_at(&f->all[i], key) && find_take(&f->all[i], &fd) == 0) {
			count_untag(s, fd);
			sys_close(&fd);
		}
}

/* The slots go first: an empty roster is the kernel's hash. */
int release_group(struct np_steer *s, const struct find *f, unsigned g, unsigned *ret_n)
{
	struct np_group key = s->maps.groups[g];
	unsigned n = release_empty(s, g);
	int r;

	*ret_n += n;
	if (n) {
		group_roster(s, g);
		release_untag(s, f, &key);
	}
	if (group_live(s, g))
		return 0;
	r = release_detach(s, f, &key, n > 0);
	if (r == 0)
		group_free(s, g);
	return r;
}

/* ------------------------------------------------------------------ all that is meant */

static bool release_is_meant(const struct adopt *a, const struct np_group *key)
{
	struct np_group want;
	struct sockaddr_storage ss = a->q.at.ss;

	if (!a->q.port)
		return true; /* all, and what a member has made of an address */
	if (!key->family || key->port != a->q.port)
		return false;
	if (a->q.any_host)
		return true;
	group_key(&want, &ss, -1);
	return want.family == key->family && !memcmp(want.addr, key->addr, sizeof want.addr);
}

/* Every group that is meant. The first error is told of, and hinders no other one. */
static int release_all(struct adopt *a, unsigned *ret_n)
{
	int err = 0, r;

	for (unsigned g = 0; g < NP_GROUPS; g++) {
		if (!release_is_meant(a, &a->s->maps.groups[g]))
			continue;
		r = release_group(a->s, &a->f, g, ret_n);
		err = err ? err : r;
	}
	return err;
}

/* Whether our program is in its group, and no worker of ours; -errno: that cannot be told. */
static int release_is_stray(const struct adopt *a, const struct find_listener *l)
{
	int g, r = l->err < 0 || l->program <= 0 ? 0 : adopt_is_ours(a->s, l->program_id);

	if (r <= 0)
		return r;
	g = group_find(a->s, &l->key);
	return g < 0 || !group_live(a->s, (unsigned)g);
}

/*
 * Asked of the kernel once more. Two of its groups may have one address (127.0.0.1 and
 * ::ffff:127.0.0.1), and the service may have forgotten one: the program goes off those now.
 * Return: how many listeners had it still.
 */
static int release_sweep(struct adopt *a)
{
	int n = 0, err = 0, r;

	find_fini(&a->f);
	r = find_run(&a->f, &a->q);
	if (r == 0)
		r = steer_lock(a->s);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < a->f.n; i++) {
		r = release_is_stray(a, &a->f.all[i]);
		err = r < 0 ? r : err;
		if (r <= 0)
			continue;
		n++;
		release_detach_from(&a->f.all[i]);
	}
	steer_unlock(a->s);
	return err < 0 ? err : n;
}

/* What the sweep has seen to is looked at by another one. */
static int release_verify(struct adopt *a)
{
	int r = release_sweep(a);

	if (r > 0)
		r = release_sweep(a);
	return r > 0 ? -EAGAIN : r;
}

/*
 * Descriptors that the first search does without, for what comes behind it: the programs that sweep
 * tags, and a network namespace more in the later searches. So who lacks them releases nothing.
 */
#define SPARES 16

static int release_find(struct adopt *a)
{
	int fd[SPARES], r = 0;

	for (unsigned i = 0; i < SPARES; i++)
		fd[i] = -1;
	for (unsigned i = 0; i < SPARES && r == 0; i++)
		r = sys_dup(a->s->maps.fd[0], &fd[i]);
	if (r == 0)
		r = find_run(&a->f, &a->q);
	for (unsigned i = 0; i < SPARES; i++)
		sys_close(&fd[i]);
	return r;
}

int np_steer_release(struct np_steer *s, const struct np_steer_adopt_opts *opts)
{
	struct adopt a = { .s = s };
	unsigned n = 0;
	int r = adopt_options(&a, opts);

	if (r < 0)
		return r;
	if (a.o.dry_run)
		return steer_fail(s, -EINVAL, "a release has no dry run");
	a.q.everywhere = true;
	a.q.pid = 0;
	a.q.cgroup = NULL;
	r = release_find(&a);
	if (r < 0)
		steer_fail(s, r, "%s", a.f.why[0] ? a.f.why : strerror(-r));
	else
		r = steer_lock(s);
	if (r == 0) {
		s->error[0] = '\0';
		r = release_all(&a, &n);
		count_off_unused(s);
		steer_unlock(s);
		r = r < 0 ? r : release_verify(&a);
		if (r < 0)
			steer_fail(s, r,
				   "%u listeners are out of the service %s, and the kernel's hash "
				   "decides there, but its program could not be taken off all of "
				   "them: %s",
				   n, s->name,
				   r == -EPERM ? "that takes CAP_SYS_PTRACE over their processes" :
						 strerror(-r));
	}
	find_fini(&a.f);
	return r < 0 ? r : (int)n;
}

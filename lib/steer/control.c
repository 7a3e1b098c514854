/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * control: the words that the program obeys: policy, hang_ms, a worker's state
 *
 * Each is one aligned store into a mapped page: the next SYN sees it, and none is lost by it.
 */
#include <errno.h>
#include <string.h>

#include "steer/steer.h"
#include "steer/watchdog.h"

static int no_program(struct np_steer *s)
{
	return steer_fail(s, -NP_EUNSUPPORTED,
			  "the service %s is at level 0, the kernel's hash: %s", s->name,
			  s->reason);
}

static int may_configure(struct np_steer *s)
{
	if (!steer_has_program(s))
		return no_program(s);
	if (!s->maps.config)
		return steer_fail(
			s, -EPERM,
			"%s/np_config may only be read by this user: `npsteer policy` as root",
			s->dir);
	return 0;
}

static void set_word(struct np_steer *s, uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
	__atomic_add_fetch(&s->maps.config->epoch, 1, __ATOMIC_RELAXED);
}

int np_steer_set_policy(struct np_steer *s, const char *policy)
{
	int p, r;

	r = may_configure(s);
	if (r < 0)
		return r;
	p = policy ? steer_policy(policy) : -1;
	if (p < 0)
		return steer_fail(s, -EINVAL, "there is no policy \"%.40s\": try hash, rr or cpu",
				  policy ? policy : "");
	set_word(s, (uint32_t *)&s->maps.config->policy, (uint32_t)p);
	return 0;
}

int np_steer_set_hang_ms(struct np_steer *s, int ms)
{
	int r;

	r = may_configure(s);
	if (r < 0)
		return r;
	if (ms < 0)
		return steer_fail(s, -EINVAL, "hang_ms %d: 0 is never", ms);
	set_word(s, &s->maps.config->hang_ms, (uint32_t)ms);
	return 0;
}

static int set_state(struct np_steer *s, unsigned w, enum np_worker_state state)
{
	uint32_t key = w;
	uint64_t cookie;

	if (!steer_has_program(s))
		return no_program(s);
	if (w >= NP_WORKERS || map_lookup(&s->maps, MAP_np_claims, &key, &cookie) < 0)
		return steer_fail(s, -ENOENT, "nobody is worker %u of the service %s", w, s->name);
	__atomic_store_n((uint32_t *)&s->maps.ctl[w].state, (uint32_t)state, __ATOMIC_RELEASE);
	return 0;
}

int np_steer_drain(struct np_steer *s, unsigned w)
{
	return set_state(s, w, NP_WORKER_DRAINING);
}

int np_steer_undrain(struct np_steer *s, unsigned w)
{
	return set_state(s, w, NP_WORKER_READY);
}

int np_steer_kick(struct np_steer *s, unsigned w)
{
	return set_state(s, w, NP_WORKER_OUT);
}

int np_steer_rescue(struct np_steer *s, int ms)
{
	struct watchdog *d;
	int r;

	if (s->level < NP_STEER_L3)
		return steer_fail(s, -NP_EUNSUPPORTED,
				  "the service %s is at level %d: only from level 3 on can a queue be moved", s->name,
				  (int)s->level);
	r = watchdog_new(s, &d);
	if (r < 0)
		return steer_fail(s, r, "the queues of service %s cannot be watched: %s", s->name, strerror(-r));
	r = watchdog_run(d, ms);
	watchdog_free(d);
	return r < 0 ? steer_fail(s, r, "the queues of service %s cannot be watched: %s", s->name, strerror(-r)) : r;
}

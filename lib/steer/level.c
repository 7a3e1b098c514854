/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * level: which level of the ladder can be had here, and the sentence that says why
 *
 * It is found out by trying. Of a pinned service all programs are loaded, one for each group; of a
 * private one the first when it is opened, and the others when they are needed.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "steer/cause.h"
#include "steer/object.h"
#include "steer/steer.h"
#include "sys/clock.h"
#include "sys/fs.h"
#include "sys/io.h"
#include "sys/thread.h"

/* Programs of one bpf_object, which is one thread's. */
struct share {
	const struct maps *m;
	enum np_steer_level level;
	unsigned first, n;
	int *fds;
	char *why;
	size_t cap;
	int r;
};

static void share_load(void *arg)
{
	struct share *x = arg;
	struct object *o;

	x->r = object_open(&o, (int)x->level, x->why, x->cap);
	if (x->r < 0)
		return;
	x->r = object_load_programs(o, x->m, x->first, x->n, x->fds);
	object_close(&o);
}

/* The kernel verifies each for 15 ms: half of them on another CPU, where there is one. */
int level_load_programs(const struct maps *m, enum np_steer_level level, unsigned first, unsigned n,
			int *ret_fds, char *why, size_t cap)
{
	char other_why[256] = "";
	unsigned half = n / 2;
	struct share own = { m, level, first, n, ret_fds, why, cap, 0 }, other = {
		m, level, first + n - half, half, ret_fds + n - half, other_why, sizeof other_why, 0
	};
	struct sys_thread thread;
	bool shared = half && sys_thread_start(&thread, "np-load", share_load, &other) == 0;

	own.n -= shared ? half : 0;
	share_load(&own);
	if (!shared)
		return own.r;
	sys_thread_join(&thread, 0);
	if (own.r == 0 && other.r < 0)
		snprintf(why, cap, "%s", other_why);
	if (own.r == 0 && other.r == 0)
		return 0;
	for (unsigned i = 0; i < n; i++)
		sys_close(&ret_fds[i]);
	return own.r < 0 ? own.r : other.r;
}

/* Whether trying the next lower level could end otherwise than with @err. */
static bool level_lower_may_do(enum np_steer_level level, int err)
{
	if (cause_is_lack(err))
		return false;
	return level >= NP_STEER_L4 || (level == NP_STEER_L3 && err != -EPERM);
}

/*
 * From the top: level 4 needs more rights, BTF and Linux 6.2, and a kernel before 5.14 knows
 * nothing of level 3's kind of program.
 */
static int level_find(const struct maps *m, int max, enum np_steer_level *ret, unsigned n,
		      int *ret_fds, char *why, size_t cap)
{
	int r;

	*ret = max ? (enum np_steer_level)max : NP_STEER_L4;
	for (;; --*ret) {
		r = level_load_programs(m, *ret, 0, n, ret_fds, why, cap);
		if (r == 0 || !level_lower_may_do(*ret, r))
			return r;
	}
}

static void level_configure(struct np_config *c, const struct np_steer_opts *o,
			    enum np_steer_level level)
{
	c->abi = NP_STEER_ABI;
	c->workers = NP_WORKERS;
	c->groups = NP_GROUPS;
	c->level = level;
	c->policy = o->policy ? (enum np_policy)policy_find(o->policy) : NP_POLICY_AUTO;
	c->hang_ms = STEER_DEFAULT_HANG_MS;
	if (o->hang_ms)
		c->hang_ms = o->hang_ms < 0 ? 0 : (uint32_t)o->hang_ms;
	c->tick_ns = (uint32_t)sys_clock_tick_ns();
	c->spill = STEER_DEFAULT_SPILL;
	c->bound = STEER_DEFAULT_BOUND;
	/*
	 * Without it, a peer that knows the NIC's hash could aim at one worker. Zero does no other
	 * harm.
	 */
	sys_random(&c->seed, sizeof c->seed);
}

int level_make(struct maps *m, const struct np_steer_opts *o, enum np_steer_level *ret, unsigned n,
	       int *ret_fds, char *why, size_t cap)
{
	int r;

	r = maps_create(m, why, cap);
	if (r < 0)
		return r;
	r = level_find(m, o->max_level, ret, n, ret_fds, why, cap);
	if (r < 0) {
		maps_close(m);
		*ret = NP_STEER_L0;
		return r;
	}
	level_configure(m->config, o, *ret);
	return 0;
}

void level_explain(char *dst, size_t cap, int err, const char *service, const char *why)
{
	cause_explain(dst, cap, err, "loading the steering program", service, why);
}

static void level_describe(struct np_steer *s, const struct np_steer_opts *o, const char *why)
{
	char cause[200];

	if ((int)s->level == o->max_level)
		snprintf(s->reason, sizeof s->reason, "a private program of level %d, as asked for",
			 o->max_level);
	else if (s->level >= NP_STEER_L4 && !s->named)
		snprintf(
			s->reason, sizeof s->reason,
			"a private program, since no service was named; to share the port between processes: `npsteer load %s`, and name it to each",
			s->name);
	else if (s->level >= NP_STEER_L4)
		snprintf(
			s->reason, sizeof s->reason,
			"a private program; to share the port between processes: `npsteer load %s`",
			s->name);
	else if (s->level == NP_STEER_L3) {
		cause_not_exact(cause, sizeof cause, why);
		snprintf(s->reason, sizeof s->reason,
			 "a private program that cannot read the listeners' queues: %s", cause);
	} else
		snprintf(
			s->reason, sizeof s->reason,
			"this kernel cannot migrate connections (before 5.14): a listener that closes resets what it has queued");
}

int level_load_private(struct np_steer *s, const struct np_steer_opts *o)
{
	char why[256] = "";
	int r;

	r = level_make(&s->maps, o, &s->level, 1, s->progs, why, sizeof why);
	if (r == 0) {
		level_describe(s, o, why);
		return 0;
	}
	level_explain(s->reason, sizeof s->reason, r, s->name, why);
	return r == -EPERM || cause_is_lack(r) ? r : -NP_EUNSUPPORTED;
}

int level_program(struct np_steer *s, unsigned g, int *ret_fd)
{
	char why[256] = "", text[NP_STEER_TEXT_MAX];
	int r = 0;

	if (s->progs[g] < 0 && s->dir[0])
		r = pins_program(s, g, &s->progs[g]);
	else if (s->progs[g] < 0)
		r = level_load_programs(&s->maps, s->level, g, 1, &s->progs[g], why, sizeof why);
	if (r < 0) {
		level_explain(text, sizeof text, r, s->name, why);
		return steer_fail(s, r, "the program of group %u cannot be had: %s", g, text);
	}
	*ret_fd = s->progs[g];
	return 0;
}

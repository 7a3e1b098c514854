/* SPDX-License-Identifier: BSD-2-Clause */
/* steer: a service as this process has it. */
#include "steer/steer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "steer/cause.h"
#include "steer/count.h"
#include "steer/present.h"
#include "steer/watchdog.h"
#include "sys/clock.h"
#include "sys/fs.h"
#include "sys/io.h"
#include "sys/lock.h"
#include "sys/opts.h"

int steer_fail(struct np_steer *s, int err, const char *fmt, ...)
{
	char text[sizeof s->error];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	memcpy(s->error, text, sizeof text); /* the arguments may have been parts of s->error */
	return err;
}

int steer_no_program(struct np_steer *s)
{
	return steer_fail(s, -NP_EUNSUPPORTED,
			  "the service %s is at level 0, the kernel's hash: %s", s->name,
			  s->reason);
}

int steer_needs_l3(struct np_steer *s, const char *what)
{
	if (s->level >= NP_STEER_L3)
		return 0;
	return steer_fail(s, -NP_EUNSUPPORTED, "the service %s is at level %d: %s from level 3 on",
			  s->name, (int)s->level, what);
}

int steer_lock_ms(struct np_steer *s, int ms)
{
	struct sys_holder h;
	char holder[80];
	uint64_t until;
	int r;

	pthread_mutex_lock(&s->lock);
	if (s->lock_fd < 0)
		return 0;
	until = s->lock_late ? 0 : sys_clock_ns() + (uint64_t)ms * 1000000u;
	r = folder_lock(s->lock_fd, until, &h);
	s->lock_late = r == -EBUSY;
	if (r == 0)
		return 0;
	if (r == -EBUSY) {
		sys_holder_format(&h, holder, sizeof holder);
		steer_fail(s, r, "the lock on %s is held by %s: let it go on, or end it", s->dir,
			   holder);
	} else {
		steer_fail(s, r, "%s cannot be locked: %s", s->dir, strerror(-r));
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

int steer_lock(struct np_steer *s)
{
	return steer_lock_ms(s, STEER_LOCK_MS);
}

int steer_try_lock(struct np_steer *s)
{
	int r;

	if (pthread_mutex_trylock(&s->lock) != 0)
		return -EBUSY;
	if (s->lock_fd < 0)
		return 0;
	r = folder_lock(s->lock_fd, 0, NULL);
	if (r < 0)
		pthread_mutex_unlock(&s->lock);
	else
		s->lock_late = false;
	return r;
}

void steer_unlock(struct np_steer *s)
{
	if (s->lock_fd >= 0)
		sys_unlock(s->lock_fd);
	pthread_mutex_unlock(&s->lock);
}

void steer_log(const struct np_steer *s, int level, const char *fmt, ...)
{
	char msg[NP_STEER_TEXT_MAX];
	va_list ap;

	if (!s->log)
		return;
	va_start(ap, fmt);
	vsnprintf(msg, sizeof msg, fmt, ap);
	va_end(ap);
	s->log(s->log_arg, level, msg);
}

int steer_check_hang_ms(struct np_steer *s, int ms)
{
	int least = (int)((3 * sys_clock_tick_ns() + 999999u) / 1000000u);

	if (ms < -1 || (ms > 0 && ms < least))
		return steer_fail(s, -EINVAL,
				  "hang_ms %d: the clock it is told by needs %d or more", ms,
				  least);
	return 0;
}

unsigned steer_hang_ms(const struct np_steer *s)
{
	struct np_config c;

	if (s->maps.config)
		return __atomic_load_n(&s->maps.config->hang_ms, __ATOMIC_RELAXED);
	return maps_config(&s->maps, &c) == 0 ? c.hang_ms : 0;
}

unsigned steer_high_water(const struct np_steer *s)
{
	unsigned n = __atomic_load_n(&s->maps.service->workers, __ATOMIC_ACQUIRE);

	return n < NP_WORKERS ? n : NP_WORKERS;
}

bool steer_name_ok(const char *name)
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
	size_t n = strlen(name);

	/* Dots are not allowed in a bpffs. */
	return n > 0 && n <= NP_STEER_NAME_MAX && strspn(name, letters) == n;
}

int steer_check(struct np_steer *s, const char *service, const struct np_steer_opts *o)
{
	if (!service)
		service = STEER_DEFAULT_SERVICE;
	if (!steer_name_ok(service))
		return steer_fail(s, -EINVAL,
				  "\"%.40s\" is no name for a service: up to %d letters, digits, "
				  "'-' and '_'",
				  service, NP_STEER_NAME_MAX);
	if (o->policy && policy_find(o->policy) < 0)
		return steer_fail(s, -EINVAL,
				  "there is no policy \"%.40s\"; there are:" POLICY_NAMES,
				  o->policy);
	if ((unsigned)o->rescue > NP_OFF)
		return steer_fail(s, -EINVAL, "rescue is NP_ON, NP_OFF or 0");
	if (o->max_level && (o->max_level < NP_STEER_L2 || o->max_level > NP_STEER_L4))
		return steer_fail(
			s, -EINVAL,
			"no program is of level %d: %d to %d, and 0 for the highest there is",
			o->max_level, NP_STEER_L2, NP_STEER_L4);
	if ((unsigned)o->mode > NP_STEER_JOIN)
		return steer_fail(s, -EINVAL, "there is no mode %d", (int)o->mode);
	if (steer_check_hang_ms(s, o->hang_ms) < 0)
		return -EINVAL;
	strcpy(s->name, service);
	return 0;
}

void steer_tell(const struct np_steer *s, int err, const struct np_steer_opts *o)
{
	if (o->error && o->error_cap)
		snprintf(o->error, o->error_cap, "%s", s->error[0] ? s->error : strerror(-err));
}

/* Level 0, or 1 if that was asked for and can be had; for the reason that is in s->reason. */
static int steer_settle_for_kernel(struct np_steer *s, const struct np_steer_opts *o)
{
	bool by_cpu = o->mode != NP_STEER_OFF && o->policy &&
		      policy_find(o->policy) == NP_POLICY_CPU;

	s->level = by_cpu ? NP_STEER_L1 : NP_STEER_L0;
	return maps_fake(&s->maps);
}

/*
 * A program that has named no service joins none: the user who pins "default" would have every
 * program of the machine that uses this library, with one policy, and one claim and one rescue away
 * from each other.
 *
 * Pins that cannot be understood are an error in every mode: an operator has set up that service,
 * and a private program beside it would take its port's connections.
 */
static int steer_choose_level(struct np_steer *s, const struct np_steer_opts *o)
{
	char barred[sizeof s->error] = "";
	int r;

	if (o->mode == NP_STEER_OFF) {
		snprintf(s->reason, sizeof s->reason, "steering is switched off");
		return steer_settle_for_kernel(s, o);
	}
	r = s->named || o->mode == NP_STEER_JOIN ? pins_join(s, o->bpffs) : -ENOENT;
	if (r != -ENOENT && r != -EACCES && r != -EPERM)
		return r;
	if (o->mode == NP_STEER_JOIN)
		return r;
	if (r != -ENOENT)
		memcpy(barred, s->error, sizeof barred);

	r = level_load_private(s, o);
	if (r == 0)
		return 0;
	if (cause_is_lack(r))
		return steer_fail(s, r, "%s", s->reason);
	if (barred[0]) /* that it cannot join matters more than that it cannot load */
		memcpy(s->reason, barred, sizeof barred);
	if (o->mode == NP_STEER_REQUIRED)
		return steer_fail(s, r, "%s", s->reason);
	return steer_settle_for_kernel(s, o);
}

void steer_init(struct np_steer *s)
{
	memset(s, 0, sizeof *s);
	maps_init(&s->maps);
	s->lock_fd = -1;
	for (unsigned g = 0; g < NP_GROUPS; g++)
		s->progs[g] = -1;
	pthread_mutex_init(&s->lock, NULL);
	listeners_init(&s->listeners);
	s->clock_offset_ns = sys_clock_timens_offset_ns();
}

void steer_fini(struct np_steer *s)
{
	watchdog_free(s->watchdog);
	present_close(s);
	count_free(&s->count);
	listeners_fini(&s->listeners);
	pthread_mutex_destroy(&s->lock);
	for (unsigned g = 0; g < NP_GROUPS; g++)
		sys_close(&s->progs[g]);
	maps_close(&s->maps);
	sys_close(&s->lock_fd);
}

int np_steer_open(const char *service, const struct np_steer_opts *opts, struct np_steer **ret)
{
	struct np_steer_opts o;
	struct np_steer *s;
	int r;

	r = sys_opts_take(&o, sizeof o, opts);
	if (r < 0)
		return r;
	s = malloc(sizeof *s);
	if (!s)
		return -ENOMEM;
	steer_init(s);
	s->rescue = o.rescue != NP_OFF;
	s->named = service;
	s->log = o.log;
	s->log_arg = o.log_arg;
	r = steer_check(s, service, &o);
	if (r == 0)
		r = steer_choose_level(s, &o);
	if (r < 0) {
		steer_tell(s, r, &o);
		steer_fini(s);
		free(s);
		return r;
	}
	s->error[0] = '\0';
	*ret = s;
	return 0;
}

int np_steer_close(struct np_steer **p)
{
	struct np_steer *s = *p;

	if (!s)
		return 0;
	if (s->open_workers)
		return steer_fail(
			s, -EBUSY,
			"%u workers of service %s are still open: np_steer_worker_close() them first",
			s->open_workers, s->name);
	*p = NULL;
	steer_fini(s);
	free(s);
	return 0;
}

const char *np_steer_error(const struct np_steer *s)
{
	return s->error;
}

int np_steer_info(struct np_steer *s, struct np_steer_info *ret)
{
	struct np_steer_info i = { 0 };
	struct np_config c = { 0 };
	int r;

	if (steer_has_program(s)) {
		r = maps_config(&s->maps, &c);
		if (r < 0)
			return r;
		snprintf(i.policy, sizeof i.policy, "%s", policy_name(c.policy));
	} else {
		snprintf(i.policy, sizeof i.policy, "%s",
			 s->level == NP_STEER_L1 ? "cpu" : "kernel");
	}
	i.level = s->level == NP_STEER_L4 && count_is_on(s) ? NP_STEER_L5 : s->level;
	i.pinned = s->dir[0];
	i.abi = NP_STEER_ABI;
	i.workers = worker_count(s);
	i.groups = NP_GROUPS;
	i.hang_ms = (int)c.hang_ms;
	memcpy(i.service, s->name, sizeof s->name);
	memcpy(i.path, s->dir, sizeof s->dir);
	memcpy(i.reason, s->reason, sizeof s->reason);
	return sys_opts_give(ret, &i, sizeof i);
}

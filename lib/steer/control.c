/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * control: the words that the program obeys: policy and its parameters, a worker's state and weight
 *
 * Each is one aligned store into a mapped page: the next SYN sees it, and none is lost by it.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
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
		return steer_fail(s, -EINVAL, "there is no policy \"%.40s\"; there are:" STEER_POLICY_NAMES,
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
	r = steer_check_hang_ms(s, ms);
	if (r < 0)
		return r;
	set_word(s, &s->maps.config->hang_ms, (uint32_t)ms);
	return 0;
}

/* ------------------------------------------------------------------ parameters, by name */

struct param {
	const char *name;
	const char *takes;
	int (*set)(struct np_steer *s, const char *value); /* -EDOM: not a value for it */
	void (*show)(struct np_steer *s, const struct np_config *c, char *dst, size_t cap);
};

static int number(const char *text, int max, int *ret)
{
	char *end;
	long v;

	errno = 0;
	v = strtol(text, &end, 10);
	if (errno || end == text || *end || v < 0 || v > max)
		return -EDOM;
	*ret = (int)v;
	return 0;
}

static int set_hang_ms(struct np_steer *s, const char *value)
{
	int ms, r;

	r = number(value, INT_MAX, &ms);
	return r < 0 ? r : np_steer_set_hang_ms(s, ms);
}

static void show_hang_ms(struct np_steer *s, const struct np_config *c, char *dst, size_t cap)
{
	snprintf(dst, cap, "%u", c->hang_ms);
}

/* Two words say rst. In this order none of them says it alone while they are changed. */
static int set_on_exhausted(struct np_steer *s, const char *value)
{
	struct np_config *c = s->maps.config;

	if (!strcmp(value, "rst")) {
		set_word(s, &c->rst_confirm, NP_RST_CONFIRM);
		set_word(s, (uint32_t *)&c->on_exhausted, NP_EXHAUSTED_RST);
	} else if (!strcmp(value, "serve")) {
		set_word(s, (uint32_t *)&c->on_exhausted, NP_EXHAUSTED_SERVE);
		set_word(s, &c->rst_confirm, 0);
	} else if (!strcmp(value, "full_queue")) {
		set_word(s, (uint32_t *)&c->on_exhausted, NP_EXHAUSTED_FULL_QUEUE);
		set_word(s, &c->rst_confirm, 0);
	} else {
		return -EDOM;
	}
	return 0;
}

static void show_on_exhausted(struct np_steer *s, const struct np_config *c, char *dst, size_t cap)
{
	bool rst = c->on_exhausted == NP_EXHAUSTED_RST && c->rst_confirm == NP_RST_CONFIRM;

	snprintf(dst, cap, "%s", rst ? "rst" : c->on_exhausted == NP_EXHAUSTED_FULL_QUEUE ? "full_queue" : "serve");
}

/* Less than 100 % would be a worker that is never the flow's own. */
static int set_percent(struct np_steer *s, uint32_t *word, const char *value)
{
	int v, r;

	r = number(value, 10000, &v);
	if (r < 0 || (v && v < 100))
		return -EDOM;
	set_word(s, word, (uint32_t)v);
	return 0;
}

static int set_spill(struct np_steer *s, const char *value)
{
	return set_percent(s, &s->maps.config->spill, value);
}

static void show_spill(struct np_steer *s, const struct np_config *c, char *dst, size_t cap)
{
	snprintf(dst, cap, "%u", c->spill);
}

static int set_bound(struct np_steer *s, const char *value)
{
	return set_percent(s, &s->maps.config->bound, value);
}

static void show_bound(struct np_steer *s, const struct np_config *c, char *dst, size_t cap)
{
	snprintf(dst, cap, "%u", c->bound);
}

#define SLOW_START_MAX_MS 3600000

static int set_slow_start(struct np_steer *s, const char *value)
{
	int ms, r;

	r = number(value, SLOW_START_MAX_MS, &ms);
	if (r == 0)
		set_word(s, &s->maps.config->slow_start_ms, (uint32_t)ms);
	return r;
}

static void show_slow_start(struct np_steer *s, const struct np_config *c, char *dst, size_t cap)
{
	snprintf(dst, cap, "%u", c->slow_start_ms);
}

/* "7" or "3-7", up to a comma or the end, and *@text behind that. -EDOM. */
static int parse_range(const char **text, unsigned *first, unsigned *last)
{
	unsigned long a, b;
	char *end;

	if (**text < '0' || **text > '9')
		return -EDOM;
	a = b = strtoul(*text, &end, 10);
	if (*end == '-') {
		if (end[1] < '0' || end[1] > '9')
			return -EDOM;
		b = strtoul(end + 1, &end, 10);
	}
	if (a > b || b >= NP_WORKERS || (*end && *end != ',') || (*end == ',' && !end[1]))
		return -EDOM;
	*text = *end ? end + 1 : end;
	*first = (unsigned)a;
	*last = (unsigned)b;
	return 0;
}

static int set_set(struct np_steer *s, const char *value)
{
	uint64_t set[NP_WORKERS / 64] = { 0 };
	unsigned first, last;
	int r = *value ? 0 : -EDOM;

	if (!strcmp(value, "none"))
		value = "";
	while (r == 0 && *value) {
		r = parse_range(&value, &first, &last);
		for (unsigned w = first; r == 0 && w <= last; w++)
			set[w / 64] |= (uint64_t)1 << w % 64;
	}
	return r == 0 ? np_steer_publish(s, set, NP_WORKERS / 64) : r;
}

static bool in_set(const struct np_steer *s, unsigned w)
{
	return w < NP_WORKERS && s->maps.service->set[w / 64] >> w % 64 & 1;
}

static void show_set(struct np_steer *s, const struct np_config *c, char *dst, size_t cap)
{
	size_t n = 0;

	snprintf(dst, cap, "none");
	for (unsigned w = 0, last; w < NP_WORKERS && n < cap; w = last + 1) {
		last = w;
		if (!in_set(s, w))
			continue;
		while (in_set(s, last + 1))
			last++;
		n += (size_t)snprintf(dst + n, cap - n, last > w ? "%s%u-%u" : "%s%u", n ? "," : "", w, last);
	}
}

static const struct param params[] = {
	{ "hang_ms", "milliseconds, 0 for never", set_hang_ms, show_hang_ms },
	{ "on_exhausted", "serve, rst or full_queue", set_on_exhausted, show_on_exhausted },
	{ "spill", "per cent, 100 to 10000, or 0 for never", set_spill, show_spill },
	{ "bound", "per cent, 100 to 10000, or 0 for none", set_bound, show_bound },
	{ "slow_start_ms", "milliseconds, up to an hour", set_slow_start, show_slow_start },
	{ "set", "workers, as 0-3,8, or none", set_set, show_set },
};
#define PARAMS (sizeof params / sizeof params[0])

const char *np_steer_params(unsigned i)
{
	return i < PARAMS ? params[i].name : NULL;
}

static const struct param *find_param(const char *name)
{
	for (size_t i = 0; i < PARAMS; i++)
		if (!strcmp(params[i].name, name))
			return &params[i];
	return NULL;
}

static int no_param(struct np_steer *s, const char *name)
{
	char names[200] = "";
	size_t n = 0;

	for (size_t i = 0; i < PARAMS; i++)
		n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "", params[i].name);
	return steer_fail(s, -EINVAL, "there is no parameter \"%.40s\": try %s", name, names);
}

int np_steer_set_param(struct np_steer *s, const char *name, const char *value)
{
	const struct param *p = find_param(name);
	int r;

	if (!p)
		return no_param(s, name);
	r = may_configure(s);
	if (r == 0)
		r = p->set(s, value);
	return r == -EDOM ? steer_fail(s, -EINVAL, "%s takes %s, not \"%.40s\"", name, p->takes, value) : r;
}

int np_steer_param(struct np_steer *s, const char *name, char *dst, size_t cap)
{
	const struct param *p = find_param(name);
	struct np_config c;
	int r;

	if (!p)
		return no_param(s, name);
	if (!steer_has_program(s))
		return no_program(s);
	r = maps_config(&s->maps, &c);
	if (r == 0)
		p->show(s, &c, dst, cap);
	return r;
}

/* ------------------------------------------------------------------ workers */

static int must_be_claimed(struct np_steer *s, unsigned w)
{
	uint32_t key = w;
	uint64_t cookie;

	if (!steer_has_program(s))
		return no_program(s);
	if (w >= NP_WORKERS || map_lookup(&s->maps, MAP_np_claims, &key, &cookie) < 0)
		return steer_fail(s, -ENOENT, "nobody is worker %u of the service %s", w, s->name);
	return 0;
}

static int set_state(struct np_steer *s, unsigned w, enum np_worker_state state)
{
	int r = must_be_claimed(s, w);

	if (r == 0)
		__atomic_store_n((uint32_t *)&s->maps.ctl[w].state, (uint32_t)state, __ATOMIC_RELEASE);
	return r;
}

int np_steer_drain(struct np_steer *s, unsigned w)
{
	return set_state(s, w, NP_WORKER_DRAINING);
}

int np_steer_undrain(struct np_steer *s, unsigned w)
{
	int r = must_be_claimed(s, w);

	if (r == 0)
		worker_warms_up(s, w);
	return r == 0 ? set_state(s, w, NP_WORKER_READY) : r;
}

int np_steer_kick(struct np_steer *s, unsigned w)
{
	return set_state(s, w, NP_WORKER_OUT);
}

int np_steer_set_weight(struct np_steer *s, unsigned w, unsigned weight)
{
	int r = must_be_claimed(s, w);

	if (r == 0 && (weight < 1 || weight > NP_STEER_WEIGHT_MAX))
		return steer_fail(s, -EINVAL, "weight %u: 1 to %d, where 100 is usual; `npsteer drain` for none",
				  weight, NP_STEER_WEIGHT_MAX);
	if (r == 0)
		__atomic_store_n(&s->maps.ctl[w].weight, weight, __ATOMIC_RELEASE);
	return r;
}

int np_steer_publish(struct np_steer *s, const uint64_t *set, unsigned words)
{
	if (!steer_has_program(s))
		return -NP_EUNSUPPORTED;
	if (words > NP_WORKERS / 64)
		return -EINVAL;
	for (unsigned i = 0; i < NP_WORKERS / 64; i++)
		__atomic_store_n(&s->maps.service->set[i], i < words ? set[i] : 0, __ATOMIC_RELEASE);
	return 0;
}

/* ------------------------------------------------------------------ health */

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

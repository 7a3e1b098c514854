/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * params: what policies go by, by name and as text: how npsteer and configuration files set it
 *
 * A value that is out of range changes nothing. The parameters are the service's, not a policy's;
 * one that the policy in force does not look at waits for a policy that does.
 */
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "steer/steer.h"

struct param {
	const char *name;
	const char *takes;
	/* -EDOM: not a value for it */
	int (*set)(struct np_steer *s, const struct param *p, const char *value);
	void (*show)(struct np_steer *s, const struct param *p, const struct np_config *c,
		     char *dst, size_t cap);

	/* a number in one word: 0, or from least to most */
	size_t word; /* where in np_config */
	int least, most;
};

static int params_number(const char *text, int max, int *ret)
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

static int params_set_number(struct np_steer *s, const struct param *p, const char *value)
{
	int v, r;

	r = params_number(value, p->most, &v);
	if (r < 0 || (v && v < p->least))
		return -EDOM;
	control_set_word(s, (uint32_t *)((char *)s->maps.config + p->word), (uint32_t)v);
	return 0;
}

static void params_show_number(struct np_steer *s, const struct param *p, const struct np_config *c,
			       char *dst, size_t cap)
{
	snprintf(dst, cap, "%u", *(const uint32_t *)((const char *)c + p->word));
}

static int params_set_hang_ms(struct np_steer *s, const struct param *p, const char *value)
{
	int ms, r;

	r = params_number(value, p->most, &ms);
	return r < 0 ? r : np_steer_set_hang_ms(s, ms ? ms : -1);
}

/* Two words say rst. In this order none of them says it alone while they are changed. */
static int params_set_on_exhausted(struct np_steer *s, const struct param *p, const char *value)
{
	struct np_config *c = s->maps.config;

	if (!strcmp(value, "rst")) {
		control_set_word(s, &c->rst_confirm, NP_RST_CONFIRM);
		control_set_word(s, (uint32_t *)&c->on_exhausted, NP_EXHAUSTED_RST);
	} else if (!strcmp(value, "serve")) {
		control_set_word(s, (uint32_t *)&c->on_exhausted, NP_EXHAUSTED_SERVE);
		control_set_word(s, &c->rst_confirm, 0);
	} else if (!strcmp(value, "full_queue")) {
		control_set_word(s, (uint32_t *)&c->on_exhausted, NP_EXHAUSTED_FULL_QUEUE);
		control_set_word(s, &c->rst_confirm, 0);
	} else {
		return -EDOM;
	}
	return 0;
}

static void params_show_on_exhausted(struct np_steer *s, const struct param *p,
				     const struct np_config *c, char *dst, size_t cap)
{
	bool rst = c->on_exhausted == NP_EXHAUSTED_RST && c->rst_confirm == NP_RST_CONFIRM;

	snprintf(dst, cap, "%s",
		 rst                                        ? "rst" :
		 c->on_exhausted == NP_EXHAUSTED_FULL_QUEUE ? "full_queue" :
							      "serve");
}

/* "7" or "3-7", up to a comma or the end, and *@text behind that. -EDOM. */
static int params_range(const char **text, unsigned *first, unsigned *last)
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

static int params_set_set(struct np_steer *s, const struct param *p, const char *value)
{
	uint64_t set[NP_WORKERS / 64] = { 0 };
	unsigned first, last;
	int r = *value ? 0 : -EDOM;

	if (!strcmp(value, "none"))
		value = "";
	while (r == 0 && *value) {
		r = params_range(&value, &first, &last);
		for (unsigned w = first; r == 0 && w <= last; w++)
			set[w / 64] |= (uint64_t)1 << w % 64;
	}
	return r == 0 ? np_steer_publish(s, set, NP_WORKERS / 64) : r;
}

static bool params_in_set(const struct np_steer *s, unsigned w)
{
	return w < NP_WORKERS && s->maps.service->set[w / 64] >> w % 64 & 1;
}

static void params_show_set(struct np_steer *s, const struct param *p, const struct np_config *c,
			    char *dst, size_t cap)
{
	size_t n = 0;

	snprintf(dst, cap, "none");
	for (unsigned w = 0, last; w < NP_WORKERS && n < cap; w = last + 1) {
		last = w;
		if (!params_in_set(s, w))
			continue;
		while (params_in_set(s, last + 1))
			last++;
		n += (size_t)snprintf(dst + n, cap - n, last > w ? "%s%u-%u" : "%s%u", n ? "," : "",
				      w, last);
	}
}

#define HOUR_MS 3600000

/* Less than 100 % would be a worker that is never the flow's own. */
static const struct param params[] = {
	{ "hang_ms", "milliseconds, 0 for never", params_set_hang_ms, params_show_number,
	  offsetof(struct np_config, hang_ms), 0, INT_MAX },
	{ "on_exhausted", "serve, rst or full_queue", params_set_on_exhausted,
	  params_show_on_exhausted },
	{ "spill", "per cent, 100 to 10000, or 0 for never", params_set_number, params_show_number,
	  offsetof(struct np_config, spill), 100, 10000 },
	{ "bound", "per cent, 100 to 10000, or 0 for none", params_set_number, params_show_number,
	  offsetof(struct np_config, bound), 100, 10000 },
	{ "slow_start_ms", "milliseconds, up to an hour", params_set_number, params_show_number,
	  offsetof(struct np_config, slow_start_ms), 0, HOUR_MS },
	{ "set", "workers, as 0-3,8, or none", params_set_set, params_show_set },
};
#define PARAMS (sizeof params / sizeof params[0])

const char *np_steer_params(unsigned i)
{
	return i < PARAMS ? params[i].name : NULL;
}

static const struct param *params_find(const char *name)
{
	for (size_t i = 0; i < PARAMS; i++)
		if (!strcmp(params[i].name, name))
			return &params[i];
	return NULL;
}

static int params_unknown(struct np_steer *s, const char *name)
{
	char names[200] = "";
	size_t n = 0;

	for (size_t i = 0; i < PARAMS; i++)
		n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "",
				      params[i].name);
	return steer_fail(s, -EINVAL, "there is no parameter \"%.40s\": try %s", name, names);
}

int np_steer_set_param(struct np_steer *s, const char *name, const char *value)
{
	const struct param *p = params_find(name);
	int r;

	if (!p)
		return params_unknown(s, name);
	r = control_may_configure(s);
	if (r == 0)
		r = p->set(s, p, value);
	return r == -EDOM ?
		       steer_fail(s, -EINVAL, "%s takes %s, not \"%.40s\"", name, p->takes, value) :
		       r;
}

int np_steer_param(struct np_steer *s, const char *name, char *dst, size_t cap)
{
	const struct param *p = params_find(name);
	struct np_config c;
	int r;

	if (!p)
		return params_unknown(s, name);
	if (!steer_has_program(s))
		return steer_no_program(s);
	r = maps_config(&s->maps, &c);
	if (r == 0)
		p->show(s, p, &c, dst, cap);
	return r;
}

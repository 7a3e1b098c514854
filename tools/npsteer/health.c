/* SPDX-License-Identifier: BSD-2-Clause */
/* health: counted, and said with patience. */
#include "health.h"

#include <stdlib.h>

static bool health_hangs(const struct facts *f, const struct fact_worker *w)
{
	return !w->listeners || w->stuck ||
	       (f->info.hang_ms && w->info.busy_ms >= (uint64_t)f->info.hang_ms);
}

/* Per mille. */
static unsigned health_room(const struct fact_worker *w, unsigned full)
{
	return w->queued < full ? 1000u * (full - w->queued) / full : 0;
}

static enum health_state health_state_of(const struct health *h)
{
	if (h->ready)
		return h->hanging == h->ready ? HEALTH_DOWN : HEALTH_UP;
	return h->draining ? HEALTH_DRAIN : h->out ? HEALTH_MAINT : HEALTH_DOWN;
}

void health_of(const struct facts *f, unsigned full, unsigned workers, struct health *ret)
{
	struct health h = { 0 };
	unsigned sum = 0, of;

	for (unsigned i = 0; i < f->n; i++) {
		const struct fact_worker *w = &f->workers[i];

		h.draining += w->info.state == NP_STEER_DRAINING;
		h.out += w->info.state == NP_STEER_OUT;
		h.queued += w->queued;
		if (w->info.state != NP_STEER_READY)
			continue;
		h.ready++;
		if (health_hangs(f, w))
			h.hanging++;
		else
			sum += health_room(w, full);
	}
	h.state = health_state_of(&h);
	of = workers > h.ready ? workers : h.ready;
	if (h.state == HEALTH_UP)
		h.percent = (int)(sum / 10 / of);
	if (h.state == HEALTH_UP && !h.percent)
		h.percent = 1; /* 0 would be a drain */
	*ret = h;
}

/* ------------------------------------------------------------------ steady */

static bool steady_is_asked(enum health_state s)
{
	return s == HEALTH_DRAIN || s == HEALTH_MAINT;
}

static int steady_way(const struct health *said, const struct health *now)
{
	int d = now->percent - said->percent;

	if (abs(d) >= STEADY_STEP ||
	    (d && (!now->percent || now->percent == 100 || !said->percent)))
		return d < 0 ? -1 : 1;
	return 0;
}

static void steady_say(struct steady *s, const struct health *h)
{
	s->said = *h;
	s->any = true;
	s->way = 0;
}

static void steady_begin(struct steady *s, int way, const struct health *now, double at)
{
	s->way = way;
	s->since = at;
	s->least = *now;
}

void steady_take(struct steady *s, const struct health *now, double at)
{
	int way = steady_way(&s->said, now);

	if (!s->any || (now->state != s->said.state &&
			(steady_is_asked(now->state) || steady_is_asked(s->said.state)))) {
		steady_say(s, now);
		return;
	}
	if (way != s->way)
		steady_begin(s, way, now, at);
	else if (way && (now->percent - s->least.percent) * way < 0)
		s->least = *now;
	if (way && at - s->since >= (way < 0 ? STEADY_FALL_S : STEADY_RISE_S))
		steady_say(s, &s->least);
}

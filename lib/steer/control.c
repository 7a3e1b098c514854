/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * control: the words that the program obeys: hang_ms, a worker's state and weight, the published
 * set
 *
 * Each is one aligned store into a mapped page: the next SYN sees it, and none is lost by it.
 */
#include <errno.h>
#include <string.h>

#include "steer/rescue.h"
#include "steer/steer.h"
#include "steer/watchdog.h"

int control_may_configure(struct np_steer *s)
{
	if (!steer_has_program(s))
		return steer_no_program(s);
	if (!s->maps.config)
		return steer_fail(
			s, -EPERM,
			"%s/np_config may only be read by this user: `npsteer policy` as root",
			s->dir);
	return 0;
}

void control_set_word(struct np_steer *s, uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
	__atomic_add_fetch(&s->maps.config->epoch, 1, __ATOMIC_RELAXED);
}

int np_steer_set_hang_ms(struct np_steer *s, int ms)
{
	int r;

	r = control_may_configure(s);
	if (r < 0)
		return r;
	r = steer_check_hang_ms(s, ms);
	if (r < 0)
		return r;
	ms = ms < 0 ? 0 : ms ? ms : STEER_DEFAULT_HANG_MS; /* in the map 0 is never */
	control_set_word(s, &s->maps.config->hang_ms, (uint32_t)ms);
	return 0;
}

/* ------------------------------------------------------------------ workers */

static int control_must_be_claimed(struct np_steer *s, unsigned w)
{
	if (!steer_has_program(s))
		return steer_no_program(s);
	if (w >= NP_WORKERS || !worker_is_claimed(s, w))
		return steer_fail(s, -ENOENT, "nobody is worker %u of the service %s", w, s->name);
	return 0;
}

static uint32_t control_state(uint32_t reasons)
{
	uint32_t asked = reasons & NP_REASON_ASKED;

	return (reasons & (NP_REASON_FULL | NP_REASON_STANDS)) && asked == NP_WORKER_READY ?
		       NP_WORKER_DRAINING :
		       asked;
}

/*
 * An operator's drain and a worker that is full for a while are two reasons for one state, and come
 * from two processes: neither may end the other. Each process that stores the state looks at the
 * reasons again behind it, so the last store is that of the last reasons.
 */
static void control_reason(struct np_worker_ctl *ctl, uint32_t mask, uint32_t value)
{
	uint32_t was = __atomic_load_n(&ctl->reasons, __ATOMIC_RELAXED), now;

	do
		now = (was & ~mask) | value;
	while (!__atomic_compare_exchange_n(&ctl->reasons, &was, now, false, __ATOMIC_SEQ_CST,
					    __ATOMIC_RELAXED));
	do {
		was = now;
		__atomic_store_n((uint32_t *)&ctl->state, control_state(was), __ATOMIC_SEQ_CST);
		now = __atomic_load_n(&ctl->reasons, __ATOMIC_SEQ_CST);
	} while (now != was);
}

static int control_set_state(struct np_steer *s, unsigned w, enum np_worker_state state)
{
	int r = control_must_be_claimed(s, w);

	if (r == 0)
		control_reason(&s->maps.ctl[w], NP_REASON_ASKED, (uint32_t)state);
	return r;
}

void control_worker_full(struct np_steer_worker *w, bool full)
{
	control_reason(&w->s->maps.ctl[w->index], NP_REASON_FULL, full ? NP_REASON_FULL : 0);
}

void control_worker_stands(struct np_steer *s, unsigned w, bool stands)
{
	control_reason(&s->maps.ctl[w], NP_REASON_STANDS, stands ? NP_REASON_STANDS : 0);
}

bool control_worker_is_standing(const struct np_steer *s, unsigned w)
{
	return __atomic_load_n(&s->maps.ctl[w].reasons, __ATOMIC_RELAXED) & NP_REASON_STANDS;
}

int np_steer_drain(struct np_steer *s, unsigned w)
{
	return control_set_state(s, w, NP_WORKER_DRAINING);
}

int np_steer_undrain(struct np_steer *s, unsigned w)
{
	int r = control_must_be_claimed(s, w);

	if (r == 0) {
		worker_warms_up(s, w);
		control_worker_stands(s, w, false); /* what a tool that was killed has left */
	}
	return r == 0 ? control_set_state(s, w, NP_WORKER_READY) : r;
}

int np_steer_kick(struct np_steer *s, unsigned w)
{
	return control_set_state(s, w, NP_WORKER_OUT);
}

int np_steer_set_weight(struct np_steer *s, unsigned w, unsigned weight)
{
	int r = control_must_be_claimed(s, w);

	if (r == 0 && (weight < 1 || weight > NP_STEER_WEIGHT_MAX))
		return steer_fail(
			s, -EINVAL,
			"weight %u: 1 to %d, where 100 is usual; `npsteer drain` for none", weight,
			NP_STEER_WEIGHT_MAX);
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
		__atomic_store_n(&s->maps.service->set[i], i < words ? set[i] : 0,
				 __ATOMIC_RELEASE);
	return 0;
}

/* ------------------------------------------------------------------ health */

int np_steer_rescue(struct np_steer *s, int ms)
{
	static const struct rescue_scope all = { .everywhere = true,
						 .native = true,
						 .adopted = NP_STEER_RESCUE_STOPPED };
	struct watchdog *d;
	int r;

	if (ms < -1)
		return steer_fail(s, -EINVAL, "%d is no time to watch for", ms);
	r = steer_needs_l3(s, "queues can be moved");
	if (r < 0)
		return r;
	r = watchdog_new(s, &all, &d);
	if (r < 0)
		return steer_fail(s, r, "the queues of service %s cannot be watched: %s", s->name,
				  strerror(-r));
	r = watchdog_run(d, ms > 0 ? ms : -1);
	watchdog_free(d);
	if (r == -ETIMEDOUT)
		return steer_fail(
			s, r,
			"whether a worker of service %s hangs cannot be told: this process was held up itself",
			s->name);
	return r < 0 ? steer_fail(s, r, "the queues of service %s cannot be watched: %s", s->name,
				  strerror(-r)) :
		       r;
}

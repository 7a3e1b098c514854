/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stop: the end of a server, in steps that can be taken up again
 *
 * What a reader would get wrong: a stop that times out has not failed. Nothing that is in use was
 * freed, and the next np_server_stop() goes on where this one stood.
 *
 * It begins with a drain, which needs no answer: connections learn of it, steering passes over.
 *
 *   step     posted to every part               done when
 *   SHUT     listeners are shut                 what was queued at that moment is accepted
 *   RETIRE   connections close, each in its     every connection is gone, by itself or by force
 *            time (conn_drain.c)
 *   LEAVE    published lines are given up       the service may give them to others
 */
#include "netpoll/server_private.h"

#include <errno.h>
#include <stdlib.h>

#include "sys/clock.h"
#include "sys/thread.h"

/* How long handlers get to return once their connections were reset under them. */
#define FORCE_GRACE_MS 1000

static uint64_t stop_deadline_ns(int timeout_ms)
{
	return timeout_ms > 0 ? sys_clock_ns() + (uint64_t)timeout_ms * 1000000u : 0;
}

static uint64_t stop_sooner(uint64_t a_ns, uint64_t b_ns)
{
	return !a_ns || (b_ns && b_ns < a_ns) ? b_ns : a_ns;
}

/* ------------------------------------------------------------------ drain */

/*
 * The parts learn of it before any step of a stop: a poller reads its mails in their order. A
 * hand-over may hold the lock for as long as its successor takes to come; a drain needs nothing of
 * what it does, and runs beside it.
 */
static void stop_drain(struct np_server *s)
{
	pthread_mutex_lock(&s->drain_lock);
	if (s->phase == SERVER_RUNNING) {
		s->phase = SERVER_DRAINING;
		s->drain_since_ms = sys_clock_ns() / 1000000u;
		server_stop_being_chosen(s);
		for (unsigned i = 0; i < s->n_parts; i++)
			server_part_post_drain(s->parts[i]);
	}
	pthread_mutex_unlock(&s->drain_lock);
}

/* A start that is under way is waited for. */
static int stop_nothing_runs(struct np_server *s)
{
	int r = 0;

	pthread_mutex_lock(&s->lock);
	if (s->phase == SERVER_MADE)
		r = server_say(s, -EINVAL, "the server has not started: there is nothing to drain");
	pthread_mutex_unlock(&s->lock);
	return r;
}

int np_server_drain(struct np_server *s)
{
	int r;

	if (poller_self())
		return -EDEADLK;
	r = s->phase == SERVER_MADE ? stop_nothing_runs(s) : 0;
	if (r == 0)
		stop_drain(s);
	return r;
}

/* ------------------------------------------------------------------ another one's hurry */

/* The stop that holds the lock learns that another one has less time. */
static void stop_hurry(struct np_server *s, uint64_t until_ns)
{
	uint64_t old = s->hurry_ns;

	while (!atomic_compare_exchange_weak(&s->hurry_ns, &old, stop_sooner(old, until_ns)))
		;
	latch_disturb(&s->step_latch);
	server_facts_end_hand_over(s);
}

/* Connections that were let be have less time, too. */
static uint64_t stop_until(struct np_server *s)
{
	uint64_t until = s->until_ns, sooner = stop_sooner(until, s->hurry_ns);

	if (sooner == until)
		return until;
	s->until_ns = sooner;
	if (s->step == SERVER_RETIRE && !s->hurried) {
		s->hurried = true;
		for (unsigned i = 0; i < s->n_parts; i++)
			server_part_post_hurry(s->parts[i]);
	}
	return sooner;
}

/* ------------------------------------------------------------------ steps */

/*
 * For a step that needs a turn of each poller and no handler's end: a deadline so short that a
 * poller on a busy machine does not wake in time must not look like a handler that does not return.
 */
static uint64_t stop_turn_until(uint64_t until_ns)
{
	uint64_t grace = stop_deadline_ns(FORCE_GRACE_MS);

	return !until_ns || until_ns > grace ? until_ns : grace;
}

/*
 * One step of the end, on every poller. A stop that ran out of time is taken up where it stood: a
 * mail that a busy poller has not read yet must not be posted again.
 */
static int stop_step(struct np_server *s, enum server_step step, void (*fn)(struct mail *))
{
	uint64_t until;
	int r;

	if (s->step > step)
		return 0;
	if (s->step < step) {
		s->step = step;
		server_post_parts(s, fn);
	}
	do {
		until = stop_until(s);
		r = latch_wait(&s->step_latch,
			       step == SERVER_RETIRE ? until : stop_turn_until(until));
	} while (r == -EINTR);
	return r;
}

/* Of a start that was given up on, a poller may not have come to it. */
static int stop_started(struct np_server *s)
{
	int r = 0;

	while (s->step == SERVER_NOT_STOPPING) {
		r = latch_wait(&s->step_latch, stop_turn_until(stop_until(s)));
		if (r != -EINTR)
			break;
	}
	return r;
}

/*
 * Resets the connections that are left. server_part_on_empty() still owes s->step_latch its
 * arrivals, so these are counted at a latch of their own.
 */
static int stop_force(struct np_server *s, unsigned *ret_forced)
{
	uint64_t until = stop_deadline_ns(FORCE_GRACE_MS);
	int r;

	if (!s->forcing) {
		s->forcing = true;
		latch_set(&s->force_latch, s->n_parts);
		for (unsigned i = 0; i < s->n_parts; i++)
			server_part_post_force(s->parts[i]);
	}
	r = latch_wait(&s->force_latch, until);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < s->n_parts; i++)
		*ret_forced += s->parts[i]->forced;
	do
		r = latch_wait(&s->step_latch, until);
	while (r == -EINTR);
	return r;
}

static int stop_running(struct np_server *s, unsigned *ret_forced)
{
	int r;

	stop_drain(s);
	r = stop_started(s);
	if (r < 0)
		return r;
	r = take_over_end(s, stop_turn_until(stop_until(s)));
	if (r < 0)
		return r;
	if (s->phase == SERVER_DRAINING) {
		s->phase = SERVER_STOPPING;
		server_refuse_connects(s);
	}
	r = stop_step(s, SERVER_SHUT, server_part_shut);
	if (r < 0)
		return r;
	server_close_listeners(s);
	r = stop_step(s, SERVER_RETIRE, server_part_retire);
	if (r < 0)
		r = stop_force(s, ret_forced);
	if (r < 0)
		return r;
	return stop_step(s, SERVER_LEAVE, server_part_leave);
}

/*
 * A poller that does not answer is kept by a handler: of this server or not, it holds up the stop.
 */
static int stop_name_handlers(struct np_server *s)
{
	int handlers = 0;

	for (unsigned i = 0; i < s->n_parts; i++)
		stop_report_ask(&s->parts[i]->report);
	for (unsigned i = 0; i < s->n_parts; i++) {
		struct stop_report *report = &s->parts[i]->report;
		int n = stop_report_wait(report);

		handlers += n < 0 ? stop_report_stuck(report) : n;
	}
	if (!handlers) /* they have returned meanwhile */
		return server_say(s, -ETIMEDOUT,
				  "the end has not been reached in time: stop again");
	return server_say(
		s, -ETIMEDOUT,
		"handlers that do not return: %d; nothing is freed under them: stop again",
		handlers);
}

static int stop_locked(struct np_server *s, uint64_t until_ns, unsigned *ret_forced)
{
	int r = 0;

	if (s->phase == SERVER_MADE || s->phase == SERVER_STOPPED) {
		s->phase = SERVER_STOPPED;
		return 0;
	}
	s->until_ns = until_ns;
	r = stop_running(s, ret_forced);
	if (r < 0)
		return stop_name_handlers(s);
	for (unsigned i = 0; i < s->n_parts; i++)
		stop_report_settle(&s->parts[i]->report);
	server_leave_service(s);
	s->phase = SERVER_STOPPED;
	pollers_unserve(s->pollers);
	return 0;
}

int np_server_stop(struct np_server *s, int timeout_ms, unsigned *ret_forced)
{
	uint64_t until_ns = stop_deadline_ns(timeout_ms);
	unsigned forced = 0;
	int r;

	if (timeout_ms < -1)
		return -EINVAL;
	if (poller_self())
		return -EDEADLK;
	if (pthread_mutex_trylock(&s->lock) != 0) {
		stop_hurry(s, until_ns);
		pthread_mutex_lock(&s->lock);
	}
	r = stop_locked(s, until_ns, &forced);
	s->hurry_ns = 0;
	pthread_mutex_unlock(&s->lock);
	if (ret_forced)
		*ret_forced = forced;
	return r;
}

/* ------------------------------------------------------------------ from anywhere */

struct stop_call {
	struct np_server *server;
	int timeout_ms;
	void (*fn)(void *arg, int result, unsigned forced);
	void *arg;
};

static void stop_and_tell(void *arg)
{
	struct stop_call c = *(struct stop_call *)arg;
	unsigned forced = 0;
	int r;

	free(arg);
	r = np_server_stop(c.server, c.timeout_ms, &forced);
	if (c.fn)
		c.fn(c.arg, r, forced);
}

int np_server_stop_async(struct np_server *s, int timeout_ms,
			 void (*fn)(void *arg, int result, unsigned forced), void *arg)
{
	struct stop_call *c = malloc(sizeof *c);
	int r;

	if (!c)
		return -ENOMEM;
	*c = (struct stop_call){ s, timeout_ms, fn, arg };
	r = sys_thread_lone("np-stop", stop_and_tell, c);
	if (r < 0)
		free(c);
	return r;
}

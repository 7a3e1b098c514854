/* SPDX-License-Identifier: BSD-2-Clause */
/* watchdog: a loop around rescuer_tick(). */
#include "steer/watchdog.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "netpoll/status.h"
#include "steer/bell.h"
#include "steer/rescue.h"
#include "sys/clock.h"
#include "sys/thread.h"

/*
 * A connection may need so long from its SYN to its queue: the first retransmit is after a second.
 */
#define QUIET_NS 1000000000ull
/* Where no worker is ever called hung: how often it looks whether that has changed. */
#define IDLE_MS  1000u

/* So many times hang_ms without a tick that came late, and each worker that hangs has been seen. */
#define SEEN_HANGS  3
/* A watch that is held up itself goes on until then; for so many times its time at most. */
#define WATCH_TIMES 10

struct watchdog {
	struct np_steer *s;
	struct rescuer *rescuer;
	struct bell bell;
	struct sys_thread thread;
	bool started;
	_Atomic(bool) stop;
	bool failed;       /* and it has been logged */
	uint64_t syns;     /* counted when it last looked */
	uint64_t quiet_ns; /* since when there were no new ones, and nothing queued */
	uint64_t watch_ns; /* for so long; 0: for ever */
	uint64_t begun_ns;
	uint64_t since_ns; /* since when no tick came late */
	bool seen;         /* each that hung meanwhile has been seen */
};

int watchdog_new(struct np_steer *s, const struct rescue_scope *scope, struct watchdog **ret)
{
	struct watchdog *d = calloc(1, sizeof *d);
	int r;

	if (!d)
		return -ENOMEM;
	d->s = s;
	r = rescuer_new(s, scope, &d->rescuer);
	if (r == 0) {
		r = bell_open(&d->bell, &s->maps);
		if (r < 0)
			rescuer_free(d->rescuer);
	}
	if (r < 0) {
		free(d);
		return r;
	}
	*ret = d;
	return 0;
}

void watchdog_free(struct watchdog *d)
{
	if (!d)
		return;
	if (d->started) {
		atomic_store(&d->stop, true);
		bell_wake(&d->bell);
		sys_thread_join(&d->thread, 0);
	}
	bell_close(&d->bell);
	rescuer_free(d->rescuer);
	free(d);
}

/* Twice in hang_ms: the second tick of the same stamp comes at most half of it too late. */
static unsigned watchdog_period_ms(const struct watchdog *d)
{
	unsigned hang_ms = steer_hang_ms(d->s);

	return hang_ms ? (hang_ms + 1) / 2 : IDLE_MS;
}

/* SYNs, and ACKs that may have ended a SYN cookie's handshake. */
static uint64_t watchdog_count_syns(const struct watchdog *d)
{
	struct np_steer_stats st = { .sz = sizeof st };

	return np_steer_stats(d->s, &st) == 0 ? st.syn_total + st.nonsyn_total : d->syns;
}

static void watchdog_note_late(struct watchdog *d)
{
	uint64_t now = sys_clock_ns(), enough = SEEN_HANGS * steer_hang_ms(d->s) * 1000000ull;

	if (rescuer_was_late(d->rescuer))
		d->since_ns = now;
	else if (now - d->since_ns >= (enough < d->watch_ns ? enough : d->watch_ns))
		d->seen = true;
}

static int watchdog_tick(struct watchdog *d)
{
	uint64_t syns = watchdog_count_syns(d);
	int r = rescuer_tick(d->rescuer, watchdog_period_ms(d) * 1000000ull);

	if (r < 0 && !d->failed)
		steer_log(d->s, 2, "the queues of service %s cannot be watched: %s", d->s->name,
			  np_strerror(r));
	d->failed = r < 0;
	watchdog_note_late(d);
	if (syns != d->syns || !rescuer_saw_nothing(d->rescuer))
		d->quiet_ns = sys_clock_ns();
	d->syns = syns;
	return r;
}

/* Whether there was a SYN between the last look and the moment the bell was armed. */
static bool watchdog_may_sleep(struct watchdog *d)
{
	if (sys_clock_ns() - d->quiet_ns < QUIET_NS)
		return false;
	bell_arm(&d->bell);
	return watchdog_count_syns(d) == d->syns;
}

static uint64_t watchdog_until(const struct watchdog *d)
{
	return d->watch_ns ? d->begun_ns + (d->seen ? 1 : WATCH_TIMES) * d->watch_ns : UINT64_MAX;
}

/* Until the next tick is due, or the watch is over. */
static void watchdog_pause(struct watchdog *d)
{
	bool sleep = watchdog_may_sleep(d);
	unsigned ms = sleep ? INT_MAX : watchdog_period_ms(d);
	uint64_t now, until_ns, left;

	if (sleep) {
		d->seen = true; /* nothing has been queued for a second */
		rescuer_rest(d->rescuer);
	}
	now = sys_clock_ns();
	until_ns = watchdog_until(d);
	left = until_ns > now ? (until_ns - now + 999999u) / 1000000u : 0;
	if (left < ms)
		bell_wait(&d->bell, (int)left);
	else
		bell_wait(&d->bell, sleep ? -1 : (int)ms);
	if (sleep) {
		d->quiet_ns = sys_clock_ns();
		judge_forget(&d->rescuer->judge);
	}
}

static int watchdog_loop(struct watchdog *d)
{
	int r = 0, done = 0;

	rescuer_search(d->rescuer); /* as long as it takes: the time to watch begins behind it */
	d->quiet_ns = d->begun_ns = d->since_ns = sys_clock_ns();
	while (!atomic_load(&d->stop)) {
		r = watchdog_tick(d);
		if (r > 0)
			done += r;
		if (sys_clock_ns() >= watchdog_until(d))
			break;
		watchdog_pause(d);
	}
	return r < 0 ? r : done;
}

int watchdog_run(struct watchdog *d, int ms)
{
	int r;

	d->watch_ns = ms < 0 ? 0 : (uint64_t)ms * 1000000u;
	r = watchdog_loop(d);
	return r == 0 && !d->seen ? -ETIMEDOUT : r;
}

static void watchdog_main(void *arg)
{
	watchdog_loop(arg);
}

int watchdog_start(struct watchdog *d)
{
	int r = sys_thread_start(&d->thread, "np-watch", watchdog_main, d);

	d->started = r == 0;
	return r;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hog: a handler that keeps the thread for so long that everything else on it waits
 *
 * Handlers are not timed. A turn is, with clock readings that the loop makes anyway (and one of the
 * coarse clock, before a sleep without a timer). A slow turn in which one handler ran has its
 * culprit. If there were several, each is timed for a while, so the next time the culprit is known.
 *
 * Missed: which handler it was, the first time, if it was not alone in its turn, and a few times
 * more if it is rare. One that never returns is not found here, where nothing runs then:
 * netpoll/stall.h names it.
 *
 *   state      leaves it by
 *   per turn   hog_turn_over() of a slow turn with several handlers -> each
 *   each       no slow turn for each_for_ms, which doubles every time -> per turn
 */
#ifndef POLL_HOG_H
#define POLL_HOG_H

#include <stdbool.h>
#include <stdint.h>

struct poller;

#define HOG_KNOWN    16
#define HOG_AGAIN_MS 60000u

/* A handler and what it was doing, by its tag: all routes of a router are one handler. */
struct hog_known {
	const void *handler;
	const char *tag;
	uint64_t said_ms; /* its last log line */
	uint64_t unsaid;  /* how often since */
};

/* What runs, as poller_note_handler() was told. */
struct hog_note {
	const void *handler;
	int fd;
	const char *tag;
};

struct hog {
	/* owner thread */
	int64_t limit_ms;  /* 0: off */
	uint64_t began_ms; /* this turn; 0 between hog_turn_over() and hog_turn_begins() */
	unsigned handlers; /* noted in this turn; these two are read by any thread */
	bool each;         /* each handler is timed */
	uint64_t each_until_ms, each_for_ms;
	uint64_t since_ns; /* each: the dispatch under way */
	/* have been logged; the oldest gives way, not within its minute */
	struct hog_known known[HOG_KNOWN];
	unsigned n_known;
	char left[96];    /* whose the handler was, of a connection that is closed by now, */
	unsigned left_of; /* if it is the handlers-th of this turn; 0: none */

	/* any thread, relaxed */
	const void *handler; /* which was entered last */
	int fd;              /* whose: a connection's, open; -1: none's */
	const char *tag;     /* what it does, by its own word; NULL: nothing was said */
	uint64_t slow_turns; /* over the limit */
	uint64_t hogs;       /* handlers found to be */

	/* poller_alarm(): raised by one other thread, cleared by the owner */
	int alarm;
	void (*on_alarm)(void *arg);
	void *on_alarm_arg;
};

/* Owner. A turn's work begins: poller_now_ms() is fresh. Ends the last one, if no sleep has. */
void hog_turn_begins(struct poller *p);
/* Owner. A turn's work is over: before the poller sleeps. */
void hog_turn_over(struct poller *p, uint64_t now_ms);
/*
 * hog_due() - whether the handler of now is to be named: the first time, and then once in
 * HOG_AGAIN_MS
 *
 * *ret_unsaid: how often it was found and not named since the last time.
 */
bool hog_due(struct hog *h, uint64_t now_ms, uint64_t *ret_unsaid);
/* Owner. A handler was left alone with its thread: its name, now and then. */
void hog_say_left(struct poller *p, const struct hog_note *n);
/* Owner. Another thread goes on with the turn: what had it until now is not judged here. */
void hog_starts_anew(struct poller *p);
void hog_get_note(const struct poller *p, struct hog_note *ret);
void hog_set_note(struct poller *p, const struct hog_note *n);
/* Owner. While each is timed: what ran since the last mark is judged. */
void hog_mark(struct poller *p, uint64_t coarse_ns);

#endif

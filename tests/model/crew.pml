/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * crew: how np_blocking() waits for a thread, in lib/poll/crew.c and lib/netpoll/blocking.c, for Spin
 *
 * One spare thread, which somebody has and gives back, and fibers that want it; the deadline of each
 * but the last may come at any time. What is under the crew's lock is one atomic step. Checked: when
 * nothing can go on any more, no fiber waits while the thread is free.
 *
 *   -DBUG_TOLD   one that gives up after it was told of a free thread tells nobody else
 */
#define FIBERS 3
#define NONE   255

bool idle = false;      /* c->idle */
bool listed[FIBERS];    /* in c->waiters; the lowest is the first */
bool event[FIBERS];
bool waits[FIBERS];     /* in event_wait() */
byte done = 0;

inline crew_tell() {
	if
	:: listed[0] -> listed[0] = false; event[0] = true
	:: !listed[0] && listed[1] -> listed[1] = false; event[1] = true
	:: !listed[0] && !listed[1] && listed[2] -> listed[2] = false; event[2] = true
	:: else
	fi
}

proctype fiber(byte i)
{
Again:	/* baton_hand_off() */
	if
	:: atomic { idle -> idle = false; goto Has }
	:: else
	fi;
	/* crew_wait() */
	atomic {
		if
		:: idle -> goto Again
		:: else -> listed[i] = true
		fi
	};
	waits[i] = true;
	if
	:: atomic { event[i] -> event[i] = false; waits[i] = false }
	:: atomic { i < FIBERS - 1 && !event[i] -> waits[i] = false; goto GivesUp }
	fi;
	goto Again;

GivesUp: /* crew_wait_no_more() */
	atomic {
#ifndef BUG_TOLD
		if
		:: !listed[i] -> crew_tell()
		:: else
		fi;
#endif
		listed[i] = false;
		done++;
		goto Over
	};

Has:	/* crew_give() */
	atomic { idle = true; crew_tell(); done++ };
Over:	skip
}

init
{
	atomic {
		run fiber(0);
		run fiber(1);
		run fiber(2)
	};
	/* It was another poller's until here. */
	atomic { idle = true; crew_tell() };
	timeout ->
	if
	:: done < FIBERS -> printf("broken: no lost wake-up\n"); assert(false)
	:: else
	fi
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * crew: how np_blocking() waits for a thread, in lib/poll/crew.c and lib/netpoll/blocking.c, for Spin
 *
 * One spare thread, and fibers that want it, three of one poller and one of another; the deadline of
 * the first may come at any time. Somebody has it, and gives it back, or it stays at that poller as a host: then
 * it is to be had by fibers of that poller alone, until its last fiber ends, which may be never.
 * What is under the crew's lock is one atomic step; a poller's gate is held over two, and by whom a
 * thread becomes a host. Checked: when nothing can go on any more, no fiber waits while it could
 * have the thread.
 *
 *   -DBUG_TOLD   one that gives up after it was told of a free thread tells nobody else
 *   -DBUG_OTHER  it tells another where the thread is free, and not where it is a host
 *   -DBUG_HOSTS  a thread that becomes a host tells nobody
 *   -DBUG_GATE   it becomes one without the gate: behind the back of one that has found none
 */
#define FIBERS  4
#define POLLERS 2
#define NONE    255
#define POLLER_OF(i) ((i) / 3)
#define MAY_GIVE_UP(i) ((i) == 0)

bool idle = false;      /* c->idle */
byte hosts = NONE;      /* the poller at which the thread is a host */
bool gate[POLLERS];
bool listed[FIBERS];    /* in c->waiters; the lowest is the first */
bool event[FIBERS];
bool waits[FIBERS];     /* in event_wait() */

#define TELL(i) listed[i] = false; event[i] = true

inline crew_tell_any() {
	if
	:: listed[0] -> TELL(0)
	:: !listed[0] && listed[1] -> TELL(1)
	:: !listed[0] && !listed[1] && listed[2] -> TELL(2)
	:: !listed[0] && !listed[1] && !listed[2] && listed[3] -> TELL(3)
	:: else
	fi
}

/* The first that waits at @p. */
inline crew_tell_at(p) {
	if
	:: p == 0 && listed[0] -> TELL(0)
	:: p == 0 && !listed[0] && listed[1] -> TELL(1)
	:: p == 0 && !listed[0] && !listed[1] && listed[2] -> TELL(2)
	:: p == 1 && listed[3] -> TELL(3)
	:: else
	fi
}

proctype fiber(byte i)
{
	byte p = POLLER_OF(i);

Again:	/* looper_hand_off(): a host of this poller comes first */
	atomic { !gate[p] -> gate[p] = true };
	if
	:: atomic { hosts == p -> hosts = NONE; gate[p] = false; goto Has }
	:: atomic { hosts != p && idle -> idle = false; gate[p] = false; goto Has }
	:: atomic { hosts != p && !idle -> skip }
	fi;
	/* crew_wait() */
	atomic {
		if
		:: idle -> event[i] = true
		:: else -> listed[i] = true
		fi;
		gate[p] = false
	};
	waits[i] = true;
	if
	:: atomic { event[i] -> event[i] = false; waits[i] = false }
	:: atomic { MAY_GIVE_UP(i) -> waits[i] = false; goto GivesUp }
	fi;
	goto Again;

GivesUp: /* crew_wait_no_more() */
	atomic {
#ifndef BUG_TOLD
		if
		:: !listed[i] && idle -> crew_tell_any()
#ifndef BUG_OTHER
		:: !listed[i] && !idle -> crew_tell_at(p)
#endif
		:: else
		fi;
#endif
		listed[i] = false;
		goto Over
	};

Has:	/* fn has returned, and the poller is at home again: spare_host() */
	if
	:: atomic { idle = true; crew_tell_any() } /* crew_give() */
#ifdef BUG_GATE
	:: atomic { hosts = p; crew_tell_at(p) }
#else
	:: atomic {
		!gate[p] -> hosts = p
#ifndef BUG_HOSTS
		;
		crew_tell_at(p) /* crew_hosts() */
#endif
	   }
#endif
	fi;
Over:	skip
}

/* The last fiber of a host ends, or never does. */
proctype last_fiber()
{
	do
	:: atomic { hosts != NONE && !gate[hosts] -> hosts = NONE; idle = true; crew_tell_any() }
	:: break
	od
}

#define COULD(i) (waits[i] && !event[i] && (idle || hosts == POLLER_OF(i)))

init
{
	atomic {
		run fiber(0);
		run fiber(1);
		run fiber(2);
		run fiber(3);
		run last_fiber()
	};
	/* It was another poller's until here. */
	atomic { idle = true; crew_tell_any() };
	timeout ->
	if
	:: COULD(0) || COULD(1) || COULD(2) || COULD(3) -> printf("broken: no lost wake-up\n"); assert(false)
	:: else
	fi
}

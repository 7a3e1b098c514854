/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * baton: the protocol of lib/poll/baton.c, for Spin
 *
 * One poller with its home rider and spare ones, the watchdog, events of the kernel, a mail of
 * another thread. An event begins a fiber whose handler is user code: it calls verbs, may post to
 * its own poller, may park until the mail has come, and ends. The watchdog may find any handler
 * stuck, at any time. Checked:
 *
 *   exclusion        TOUCH(): who touches the poller holds the baton
 *   no lost wake-up  when nothing can go on any more, nothing is left to do
 *   home comes back  and the loop is the home rider's again
 *
 * Spin's memory is sequentially consistent, a processor's is not. What the fence is there for is
 * modelled by hand: word_mem[] and flag_mem[] are what the others see of word[] and flag[]; a store
 * becomes visible when a reader happens to see it (SEE), at the next store, at an unlock, a system
 * call, or the fence.
 *
 *   -DBUG_EDGE     a spare rider sleeps in the poller's own epoll set, and takes the mail's edge
 *   -DBUG_HOST     a rider that becomes a host does not look whether a fiber of its can go on
 *   -DBUG_KICK     a guest that drops the baton does not wake the looper
 *   -DBUG_FENCE    the robber has no fence
 *   -DBUG_WAITER   a rider on its way into user code does not look whether another waits
 *   -DONLY_EXCLUSION   looks for no other fault
 */
#ifndef RIDERS
#define RIDERS 3
#endif
#ifndef EVENTS
#define EVENTS 2
#endif
#define HOME 0
#define NONE RIDERS
#define LIB  0
#define USER 1
#define IDLE 3
#define WANTED 1 /* any value but 0 sends the rider to the slow path */

/* ---- the gate, and what it guards */
byte gate = NONE;
byte holder = HOME, looper = HOME;
byte queue[RIDERS];
byte queued = 0, urgent = 0;
bool waiting[RIDERS], lazy[RIDERS], hosting[RIDERS], alive[RIDERS], started[RIDERS];
bool asleep[RIDERS]; /* in pthread_cond_wait() */

/* ---- word and flag: as their writer has them, as the others see them */
byte word[RIDERS], word_mem[RIDERS];
bool flag[RIDERS], flag_mem[RIDERS];

/* ---- the poller: touched by the baton's holder alone */
byte ready = 0;     /* events taken and not dispatched: a bit each */
byte runq[RIDERS];   /* fibers that can go on, by the rider they began on */
bool came = false;  /* the mail has come: nobody parks any more */
byte parked[RIDERS];
byte ended = 0;

/* ---- the kernel's, and other threads' */
byte epoll = 0;     /* edges not taken yet: EVENTS bits, and one for the wake descriptor */
bool kicked[RIDERS];
byte mailbox = 0;   /* 1: the stranger's; 2: the poller's own */
bool thaw = false;  /* handlers that stall go on */
#define WAKE (1 << EVENTS)

#define PROMISE(what, holds) if :: holds :: else -> printf(what); assert(false) fi
#define TOUCH(r) PROMISE("broken: exclusion\n", holder == r)
#ifdef ONLY_EXCLUSION
#define LATER(what, holds) skip
#else
#define LATER(what, holds) PROMISE(what, holds)
#endif

/* ------------------------------------------------------------------ memory */

#define SET_WORD(r, v) word_mem[r] = word[r]; word[r] = v
/* A reader finds the store, or does not yet. */
#define SEE(mem, now) if :: mem != now -> if :: mem = now :: skip fi :: else fi
#define SHOW_WORD(r) word_mem[r] = word[r]

inline show_flags() {
	flag_mem[0] = flag[0];
	flag_mem[1] = flag[1];
#if RIDERS > 2
	flag_mem[2] = flag[2]
#endif
}

inline fence() {
#ifndef BUG_FENCE
	show_flags();
	SHOW_WORD(0);
	SHOW_WORD(1);
#if RIDERS > 2
	SHOW_WORD(2)
#endif
#else
	skip
#endif
}

/* ------------------------------------------------------------------ the gate */

#define LOCK(r) gate == NONE -> gate = r
#define UNLOCK(r) show_flags(); SHOW_WORD(r); gate = NONE

inline enqueue_back(r, is_lazy) {
	assert(!waiting[r]);
	queue[queued] = r;
	queued++;
	waiting[r] = true;
	lazy[r] = is_lazy;
	if :: !is_lazy -> urgent++ :: else fi
}

inline enqueue_front(r, is_lazy) {
	assert(!waiting[r]);
#if RIDERS > 2
	queue[2] = queue[1];
#endif
	queue[1] = queue[0];
	queue[0] = r;
	queued++;
	waiting[r] = true;
	lazy[r] = is_lazy;
	if :: !is_lazy -> urgent++ :: else fi
}

inline pop_front() {
	queue[0] = queue[1];
#if RIDERS > 2
	queue[1] = queue[2];
	queue[2] = 0;
#else
	queue[1] = 0;
#endif
	queued--
}

inline unqueue(r) {
	if
	:: queue[0] == r -> pop_front()
	:: else ->
#if RIDERS > 2
		if
		:: queue[1] == r -> queue[1] = queue[2]
		:: else
		fi;
		queue[2] = 0;
#else
		queue[1] = 0;
#endif
		queued--
	fi;
	waiting[r] = false;
	if :: !lazy[r] -> urgent-- :: else fi
}

/* What the holder's flag has to be: a guest gives the baton up at each leave. */
#define FLAG_OF(r) (urgent > 0 || looper != r)

inline grant_next() {
	if
	:: queued > 0 ->
		holder = queue[0];
		pop_front();
		waiting[holder] = false;
		if :: !lazy[holder] -> urgent-- :: else fi;
		flag[holder] = FLAG_OF(holder);
		asleep[holder] = false
	:: else -> holder = NONE
	fi
}

inline kick(r) {
#ifndef BUG_KICK
	SEE(word_mem[r], word[r]);
	if
	:: word_mem[r] == IDLE ->
		if
		:: r == HOME -> epoll = epoll | WAKE
		:: else -> kicked[r] = true
		fi
	:: else
	fi
#else
	skip
#endif
}

inline drop(r) {
	flag[r] = WANTED;
	grant_next();
	if
	:: holder == NONE && looper != r -> kick(looper)
	:: else
	fi
}

/* The gate is held before, and after; others run meanwhile. @got: the baton is nobody's now. */
inline rob(victim, got) {
	if
	:: atomic { holder == NONE -> got = true }
	:: else ->
		atomic { victim = holder; flag[victim] = WANTED };
		atomic { fence() };
		atomic {
			SEE(word_mem[victim], word[victim]);
			if
			:: word_mem[victim] == LIB ->
				flag[victim] = FLAG_OF(victim);
				got = false
			:: else ->
				holder = NONE;
				got = true
			fi;
			victim = 0
		}
	fi
}

inline cond_wait(r, until) {
	do
	:: atomic { until -> break }
	:: atomic {
		!(until) -> asleep[r] = true;
		UNLOCK(r);
		!asleep[r] && gate == NONE -> gate = r
	}
	od
}

/* Gate held. */
inline wait_for(r) {
	atomic { enqueue_back(r, false) };
	rob(victim, got);
	atomic { if :: got -> grant_next() :: else fi; got = false };
	cond_wait(r, holder == r)
}

/* ------------------------------------------------------------------ a rider in and out of user code */

inline enter(r) {
	SET_WORD(r, LIB);
	atomic {
		SEE(flag_mem[r], flag[r]);
		if
		:: flag_mem[r] -> skip
		:: else -> goto_fast = true
		fi
	};
	if
	:: atomic { goto_fast -> goto_fast = false }
	:: else ->
		atomic { LOCK(r) };
		if
		:: holder != r -> wait_for(r)
		:: else
		fi;
		atomic { flag[r] = FLAG_OF(r); UNLOCK(r) }
	fi
}

/* Gate free. */
inline leave_slow(r) {
	LOCK(r);
	if
	:: holder == r ->
		if
		:: FLAG_OF(r) -> drop(r)
		:: else -> flag[r] = 0
		fi
	:: else
	fi;
	UNLOCK(r)
}

inline leave(r, state) {
	atomic { TOUCH(r); SET_WORD(r, state) };
#ifndef BUG_WAITER
	atomic {
		SEE(flag_mem[r], flag[r]);
		if
		:: flag_mem[r] -> leave_slow(r)
		:: else
		fi
	}
#endif
}

/* ------------------------------------------------------------------ spare riders */

#define IS_SPARE(i) (i != HOME && alive[i] && hosting[i] && !waiting[i] && holder != i)

inline find_spare(s) {
	if
	:: IS_SPARE(1) -> s = 1
#if RIDERS > 2
	:: !IS_SPARE(1) && IS_SPARE(2) -> s = 2
	:: !IS_SPARE(1) && !IS_SPARE(2) && !alive[1] -> s = 1; alive[1] = true; hosting[1] = true
	:: !IS_SPARE(1) && !IS_SPARE(2) && alive[1] && !alive[2] -> s = 2; alive[2] = true; hosting[2] = true
#else
	:: !IS_SPARE(1) && !alive[1] -> s = 1; alive[1] = true; hosting[1] = true
#endif
	fi
}

inline assign(s) {
	looper = s;
	enqueue_front(s, false);
	if :: holder == NONE -> grant_next() :: else fi
}

#if RIDERS > 2
#define ANY_SPARE (IS_SPARE(1) || IS_SPARE(2) || !alive[1] || !alive[2])
#else
#define ANY_SPARE (IS_SPARE(1) || !alive[1])
#endif

#define LENDABLE(i) (i != r && hosting[i] && !waiting[i] && runq[i] != 0)
#if RIDERS > 2
#define ANY_LENDABLE (LENDABLE(0) || LENDABLE(1) || LENDABLE(2))
#else
#define ANY_LENDABLE (LENDABLE(0) || LENDABLE(1))
#endif

/* ------------------------------------------------------------------ the poller */

/* The mail has come: those that wait for it go on, on their own riders. */
inline mail_comes() {
	came = true;
	runq[0] = runq[0] | parked[0]; parked[0] = 0;
	runq[1] = runq[1] | parked[1]; parked[1] = 0;
#if RIDERS > 2
	runq[2] = runq[2] | parked[2]; parked[2] = 0
#endif
}

inline first_of(set, f) {
	if
	:: set & 1 -> f = 0
	:: !(set & 1) && (set & 2) -> f = 1
	:: else -> f = 2
	fi;
	set = set & ~(1 << f)
}

proctype rider(byte r)
{
	byte f = 0, i = 0, victim = 0;
	bool got = false, goto_fast = false, mine = true, events = false;

	if
	:: r == HOME -> goto Loop
	:: alive[r] -> goto Host
	fi;

Ride:
	if
	:: atomic { looper == r && holder == r -> goto Loop }
	:: atomic { !(looper == r && holder == r) && holder == r && runq[r] -> TOUCH(r); first_of(runq[r], f); goto Fiber }
	:: else
	fi;

Host:
	atomic {
		LOCK(r);
		if
		:: holder == r && looper != r && started[r] -> drop(r)
		:: else
		fi;
		started[r] = true;
		hosting[r] = true
	};
#ifndef BUG_HOST
	if
	:: holder != r && !waiting[r] && runq[r] -> wait_for(r)
	:: else
	fi;
#endif
	cond_wait(r, holder == r);
	atomic {
		hosting[r] = false;
		UNLOCK(r);
		goto Ride
	};

Loop:
	/* still mine? */
	atomic {
		TOUCH(r);
		SEE(flag_mem[r], flag[r]);
		mine = !flag_mem[r]
	};
	if
	:: mine
	:: else ->
		atomic {
			LOCK(r);
			if
			:: urgent && looper == r ->
				flag[r] = WANTED;
				enqueue_back(r, false);
				grant_next()
			:: else
			fi
		};
		cond_wait(r, holder == r || looper != r);
		atomic {
			if
			:: holder != r && waiting[r] -> unqueue(r)
			:: else
			fi;
			if
			:: looper != r && holder == r -> drop(r)
			:: else
			fi;
			mine = looper == r;
			if
			:: mine -> flag[r] = FLAG_OF(r)
			:: else
			fi;
			UNLOCK(r);
			if
			:: !mine -> mine = true; goto Ride
			:: else
			fi
		}
	fi;

	/* the next dispatch */
	if
	:: atomic { mailbox -> TOUCH(r); mailbox = 0; mail_comes(); goto Loop }
	:: atomic { !mailbox && ready -> TOUCH(r); first_of(ready, f); goto Fiber }
	:: atomic { !mailbox && !ready && runq[r] -> TOUCH(r); first_of(runq[r], f); goto Fiber }
	:: atomic {
		!mailbox && !ready && !runq[r] && ANY_LENDABLE && gate == NONE ->
		TOUCH(r);
		if
		:: LENDABLE(0) -> i = 0
		:: LENDABLE(1) -> i = 1
#if RIDERS > 2
		:: LENDABLE(2) -> i = 2
#endif
		fi;
		gate = r;
		flag[r] = WANTED;
		enqueue_front(r, true);
		holder = i;
		flag[i] = urgent > 0;
		asleep[i] = false;
		i = 0
	  };
		cond_wait(r, holder == r);
		atomic { flag[r] = FLAG_OF(r); UNLOCK(r); goto Loop }
	:: atomic { !mailbox && !ready && !runq[r] && !ANY_LENDABLE && gate == NONE -> TOUCH(r) }
	fi;

	/* nothing to do: sleep */
	leave(r, IDLE);
	if
	:: r == HOME ->
end_home:	atomic {
			epoll -> SHOW_WORD(r);
			events = (epoll & (WAKE - 1)) != 0;
			i = epoll & (WAKE - 1);
			epoll = 0
		}
	:: else ->
end_spare:	atomic {
			epoll || kicked[r] -> SHOW_WORD(r);
			kicked[r] = false;
#ifdef BUG_EDGE
			i = epoll & (WAKE - 1);
			events = i != 0;
			epoll = 0
#endif
		}
	fi;
	SET_WORD(r, LIB);
	atomic {
		SEE(flag_mem[r], flag[r]);
		goto_fast = !flag_mem[r]
	};
	if
	:: atomic { goto_fast -> goto_fast = false }
	:: else ->
		atomic {
			LOCK(r);
			mine = !(holder != r && looper != r && !events)
		};
		if
		:: holder != r && mine -> wait_for(r)
		:: else
		fi;
		atomic {
			if
			:: mine -> flag[r] = FLAG_OF(r)
			:: else
			fi;
			UNLOCK(r);
			events = false;
			if
			:: !mine -> mine = true; i = 0; goto Ride
			:: else
			fi
		}
	fi;
	atomic {
		TOUCH(r);
		events = false;
		if
		:: r != HOME -> i = i | (epoll & (WAKE - 1)); epoll = 0
		:: else
		fi;
		ready = ready | i;
		i = 0;
		if
		:: looper == r -> goto Loop
		:: else -> goto Ride
		fi
	};

Fiber:
	leave(r, USER);
	/* the user's code; each way through it is a handler. One that stalls may do so until nothing else can go on. */
	do
	:: if :: true :: !thaw -> thaw fi;
		enter(r);
		atomic {
			TOUCH(r);
			if
			:: mailbox = mailbox | 2 /* a verb that leaves work for the loop */
			:: skip
			:: !came -> parked[r] = parked[r] | (1 << f); goto Back
			:: ended = ended | (1 << f); goto Back
			fi
		};
		leave(r, USER)
	od;

Back:
	/* a fiber has parked or ended */
	atomic {
		TOUCH(r);
		f = 0;
		if
		:: looper == r -> goto Loop
		:: looper != r && r != HOME -> goto Ride
		:: looper != r && r == HOME && gate == NONE
		fi;
		i = looper;
		looper = r;
		flag[r] = FLAG_OF(r);
		asleep[i] = false;
		SEE(word_mem[i], word[i]);
		if
		:: word_mem[i] == IDLE -> kicked[i] = true
		:: else
		fi;
		i = 0;
		UNLOCK(r);
		goto Loop
	}
}

/* Any handler may have kept its thread for too long. */
proctype watchdog()
{
	byte s = 0, victim = 0;
	bool got = false;

end:	do
	:: atomic {
		gate == NONE && word[looper] == USER && ANY_SPARE ->
		find_spare(s);
		gate = NONE + 1
	  };
		if
		:: holder != looper -> got = true
		:: else -> rob(victim, got)
		fi;
		atomic {
			if :: got -> assign(s) :: else fi;
			got = false;
			s = 0;
			show_flags();
			gate = NONE
		}
	:: atomic {
		gate == NONE && holder != NONE && holder != looper && word[looper] != USER && word[holder] == USER ->
		gate = NONE + 1
	  };
		rob(victim, got);
		atomic {
			if
			:: got ->
				grant_next();
				if
				:: holder == NONE -> kick(looper)
				:: else
				fi
			:: else
			fi;
			got = false;
			show_flags();
			gate = NONE
		}
	od
}

/* The first mail in the box wakes the poller. */
proctype stranger()
{
	bool was_empty;

	atomic { was_empty = mailbox == 0; mailbox = mailbox | 1 };
	if
	:: was_empty -> epoll = epoll | WAKE
	:: else
	fi
}

proctype kernel()
{
	epoll = epoll | 1;
#if EVENTS > 1
	epoll = epoll | 2
#endif
}

init
{
	atomic {
		alive[HOME] = true;
		flag[1] = WANTED; flag_mem[1] = WANTED;
#if RIDERS > 2
		flag[2] = WANTED; flag_mem[2] = WANTED;
#endif
		run rider(0);
		run rider(1);
#if RIDERS > 2
		run rider(2);
#endif
		run watchdog();
		run stranger();
		run kernel()
	};
	timeout ->
	/*
	 * Nothing can go on but handlers that stall: all else is done, unless the looper's own stalls and there is no
	 * spare rider left.
	 */
	atomic {
		LATER("broken: no lost wake-up\n", word[looper] == USER || (!mailbox && !ready && !epoll));
		LATER("broken: no lost wake-up\n", word[looper] == USER || !(hosting[0] && runq[0]));
		LATER("broken: no lost wake-up\n", word[looper] == USER || !(hosting[1] && runq[1]));
#if RIDERS > 2
		LATER("broken: no lost wake-up\n", word[looper] == USER || !(hosting[2] && runq[2]));
#endif
		thaw = true
	};
	timeout ->
	atomic {
		LATER("broken: no lost wake-up\n", ended == WAKE - 1 && !mailbox && !ready && !epoll && !queued);
		LATER("broken: home comes back\n", looper == HOME && holder == HOME && word[HOME] == IDLE)
	}
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * baton: the protocol of lib/poll/baton.c, looper.c and spare.c, for Spin
 *
 * One poller with its home rider and a crew of spare ones, the watchdog, events of the kernel, a
 * mail of another thread, and the stop of the poller. An event begins a fiber whose handler is user
 * code: it calls verbs, which may leave work to the poller or hand it to another thread, may park
 * until the mail has come, and ends. The watchdog may find any handler stuck, at any time. Checked:
 *
 *   exclusion        TOUCH(): who touches the poller holds the baton
 *   no lost wake-up  when nothing can go on any more but handlers that stall, nothing is left to do
 *   home comes back  when all handlers have ended, the loop is the home rider's again, and ends
 *   output leaves    with -DOUTPUT: what a handler flushed and put off is sent by whom the loop goes
 *                    to, however long the handler stalls
 *
 * The names are those of the code; what is under the gate there is one atomic step here, but for
 * baton_rob(). Left out: lists in flight (work is a bit here), what a robbed handler is noted as,
 * the watchdog's own sleep, np_blocking()'s wait for a thread.
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
 *   -DBUG_LOOK     the watchdog robs a guest on its way out, and does not wake the looper for it
 *   -DBUG_TAIL     a guest that is robbed on its way out leaves fibers where the looper does not look
 *   -DBUG_END      the last spare rider leaves, and home is woken only where it sleeps already
 *   -DBUG_IDLE     a spare rider that waited for the baton goes on as looper though home has the loop
 *   -DBUG_ASIDE    who becomes the looper does not send what the one before has put off
 *   -DBUG_FROM     home takes the loop back from one that was robbed, and does not note from whom
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
#define WATCHDOG (RIDERS + 1)
#define LIB  0
#define USER 1
#define IDLE 3
#define WANTED 1 /* any flag but 0 sends the rider to the slow path */

/* ---- the gate, and what it guards */
byte gate = NONE;
byte holder = HOME, looper = HOME;
byte queue[RIDERS];
byte queued = 0, urgent = 0;
bool waiting[RIDERS], lazy[RIDERS], hosting[RIDERS];
bool spare[RIDERS];  /* it carries the poller: is in its list */
bool asleep[RIDERS]; /* in pthread_cond_wait() */

#ifdef OUTPUT
byte from = NONE;      /* who had the loop before */
bool left[RIDERS];     /* user's code without the baton */
bool put_off[RIDERS];  /* flushed bytes of its handler's: touched by the baton's holder alone */
#define SET_LEFT(r, is) left[r] = is
#define SET_FROM(r)     from = r
#define SENT(r)         put_off[r] = false
#else
#define SET_LEFT(r, is) skip
#define SET_FROM(r)     skip
#define SENT(r)         skip
#endif

/* ---- word and flag: as their writer has them, as the others see them */
byte word[RIDERS], word_mem[RIDERS];
bool flag[RIDERS], flag_mem[RIDERS];

/* ---- the poller: touched by the baton's holder alone */
byte ready = 0;          /* events taken and not dispatched: a bit each */
byte run_first[RIDERS];  /* fibers that can go on, by the rider they began on */
byte now_run[RIDERS];    /* those of this turn */
byte parked[RIDERS];
bool tail = false;       /* fibers begun by this dispatch */
bool work = false;       /* what turn_has_work() looks at: timers, deferred work, fibers to be started */
bool came = false;       /* the mail has come: nobody parks any more */
byte ended = 0;

/* ---- the kernel's, and other threads' */
byte epoll = 0;     /* edges not taken yet: EVENTS bits, and one for the wake descriptor */
bool kicked[RIDERS];
byte mailbox = 0;   /* 1: the stranger's; 2: the poller's own */
bool stop = false, home_ended = false;
bool thaw = false;  /* handlers that stall go on */
#define WAKE (1 << EVENTS)
#define ALL  (WAKE - 1)

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

/* sys_fence_heavy() */
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

/* ------------------------------------------------------------------ the queue; under the gate */

#define LOCK(r) gate == NONE -> gate = r
#define UNLOCK(r) show_flags(); SHOW_WORD(r); gate = NONE

inline enqueue(r, is_lazy, front) {
	assert(!waiting[r]);
	if
	:: front ->
#if RIDERS > 2
		queue[2] = queue[1];
#endif
		queue[1] = queue[0];
		queue[0] = r
	:: else -> queue[queued] = r
	fi;
	queued++;
	waiting[r] = true;
	lazy[r] = is_lazy;
	if :: !is_lazy -> urgent++ :: else fi
}

inline unqueue(r) {
	if
	:: waiting[r] ->
		if
		:: queue[0] == r -> queue[0] = queue[1]; queue[1] = 0
		:: else
		fi;
#if RIDERS > 2
		if
		:: queue[1] == r || queue[1] == 0 -> queue[1] = queue[2]
		:: else
		fi;
		queue[2] = 0;
#endif
		queued--;
		if :: queued == 0 -> queue[0] = 0; queue[1] = 0 :: else fi;
		if :: queued == 1 -> queue[1] = 0 :: else fi;
		waiting[r] = false;
		if :: !lazy[r] -> urgent-- :: else fi;
		lazy[r] = false
	:: else
	fi
}

/* A guest gives it up whenever it leaves the library. */
#define FLAG_OF(r) (urgent > 0 || looper != r)

inline grant_next() {
	if
	:: queued > 0 ->
		holder = queue[0];
		unqueue(holder);
		flag[holder] = FLAG_OF(holder);
		asleep[holder] = false
	:: else -> holder = NONE
	fi
}

inline wake(r) {
	if
	:: r == HOME -> epoll = epoll | WAKE
	:: else -> kicked[r] = true
	fi
}

inline kick(r) {
	SEE(word_mem[r], word[r]);
	if
	:: word_mem[r] == IDLE -> wake(r)
	:: else
	fi
}

inline leave_tail() {
	if :: tail -> tail = false; work = true :: else fi
}

/* turn_send_aside() */
inline send_aside(r) {
#if defined(OUTPUT) && !defined(BUG_ASIDE)
	TOUCH(r);
	if :: from != NONE && left[from] -> SENT(from) :: else fi
#else
	skip
#endif
}

inline drop(r) {
	if :: looper != r -> leave_tail() :: else fi;
	flag[r] = WANTED;
	grant_next();
#ifndef BUG_KICK
	if
	:: holder == NONE && looper != r -> kick(looper)
	:: else
	fi
#endif
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
#ifndef BUG_TAIL
				if :: victim != looper -> leave_tail() :: else fi;
#endif
				if :: word_mem[victim] == USER -> SET_LEFT(victim, true) :: else fi;
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

/* baton_wait() */
inline wait_for(r) {
	atomic { enqueue(r, false, false) };
	rob(victim, got);
	atomic { if :: got -> grant_next() :: else fi; got = false };
	cond_wait(r, holder == r)
}

/* ------------------------------------------------------------------ in and out of user code */

inline enter(r) {
	SET_WORD(r, LIB);
	atomic {
		SEE(flag_mem[r], flag[r]);
		fast = !flag_mem[r]
	};
	if
	:: atomic { fast -> fast = false }
	:: else ->
		atomic { LOCK(r) };
		if
		:: holder != r -> wait_for(r)
		:: else
		fi;
		atomic { flag[r] = FLAG_OF(r); SET_LEFT(r, false); UNLOCK(r) }
	fi
}

inline give_up(r) {
	LOCK(r);
	if
	:: holder == r ->
		if
		:: FLAG_OF(r) ->
			if :: word[r] == USER -> SET_LEFT(r, true) :: else fi;
			drop(r)
		:: else -> flag[r] = 0
		fi
	:: else
	fi;
	UNLOCK(r)
}

/* baton_leave() and looper_idle_begin() */
inline leave(r, state) {
	atomic { TOUCH(r); SET_WORD(r, state) };
#ifndef BUG_WAITER
	atomic {
		SEE(flag_mem[r], flag[r]);
		if
		:: flag_mem[r] -> give_up(r)
		:: else
		fi
	}
#endif
}

/* ------------------------------------------------------------------ the crew */

#define IS_HOST(i) (spare[i] && hosting[i] && !waiting[i] && holder != i)
#if RIDERS > 2
#define ANY_SPARE (IS_HOST(1) || IS_HOST(2) || !spare[1] || !spare[2])
#define SHARED    (spare[1] || spare[2])
#else
#define ANY_SPARE (IS_HOST(1) || !spare[1])
#define SHARED    (spare[1])
#endif

/* spare_take(), where there is one: those that sleep here come first */
inline find_spare(s) {
	if
	:: IS_HOST(1) -> s = 1
#if RIDERS > 2
	:: !IS_HOST(1) && IS_HOST(2) -> s = 2
	:: !IS_HOST(1) && !IS_HOST(2) && !spare[1] -> s = 1
	:: !IS_HOST(1) && !IS_HOST(2) && spare[1] && !spare[2] -> s = 2
#else
	:: !IS_HOST(1) && !spare[1] -> s = 1
#endif
	fi;
	spare[s] = true
}

inline unspare(r) {
	spare[r] = false;
#ifdef OUTPUT
	if :: from == r -> from = NONE :: else fi;
#endif
#ifdef BUG_END
	kick(HOME)
#else
	wake(HOME)
#endif
}

inline assign(s) {
	SET_FROM(looper);
	looper = s;
	enqueue(s, false, true);
	if :: holder == NONE -> grant_next() :: else fi
}

#define HAS_FIBERS(i) (now_run[i] || run_first[i])
#define LENDABLE(i) (i != r && spare[i] && hosting[i] && !waiting[i] && holder != i && run_first[i])
#if RIDERS > 2
#define ANY_LENDABLE (LENDABLE(1) || LENDABLE(2))
#else
#define ANY_LENDABLE LENDABLE(1)
#endif

/* ------------------------------------------------------------------ the poller */

/* Those that wait for the mail go on, on their own riders. */
inline mail_comes() {
	came = true;
	run_first[0] = run_first[0] | parked[0]; parked[0] = 0;
	run_first[1] = run_first[1] | parked[1]; parked[1] = 0;
#if RIDERS > 2
	run_first[2] = run_first[2] | parked[2]; parked[2] = 0
#endif
}

inline first_of(set, f) {
	if
	:: set & 1 -> f = 0
	:: else -> f = 1
	fi;
	set = set & ~(1 << f)
}

#define MAY_END (r == HOME && stop && ended == ALL && !mailbox && !work && !SHARED)
#define HAS_WORK (mailbox || work || ready || now_run[r] || run_first[r])

proctype rider(byte r)
{
	byte f = 0, i = 0, victim = 0;
	bool got = false, fast = false, mine = true;

	if
	:: r == HOME -> goto Loop
	:: else
	fi;

Crew:	/* crew_next(), spare_arrive() */
	spare[r];
	atomic {
		LOCK(r);
		if
		:: !spare[r] -> UNLOCK(r); goto Crew /* taken back before it came */
		:: else
		fi
	};

HostWait:
	hosting[r] = true;
#ifndef BUG_HOST
	if
	:: holder != r && !waiting[r] && HAS_FIBERS(r) -> wait_for(r)
	:: else
	fi;
#endif
	cond_wait(r, holder == r);
	atomic {
		hosting[r] = false;
		UNLOCK(r);
		/* poller_carry() */
		if
		:: looper == r -> send_aside(r); goto Loop
		:: looper != r && !HAS_FIBERS(r) -> goto Host
		:: else -> goto RunOwn
		fi
	};

Host:	/* spare_host() */
	atomic {
		LOCK(r);
		if
		:: holder == r && looper != r -> drop(r)
		:: else
		fi;
		if
		:: looper == r || parked[r] || HAS_FIBERS(r) -> goto HostWait
		:: else -> unspare(r); UNLOCK(r); goto Crew
		fi
	};

RunOwn:	/* turn_run_own() */
	atomic {
		TOUCH(r);
		if
		:: !now_run[r] -> now_run[r] = run_first[r]; run_first[r] = 0
		:: else
		fi;
		first_of(now_run[r], f);
		goto Fiber
	};

Loop:	/* poller_end_dispatch(): the tail, then looper_goes_on() */
	atomic {
		TOUCH(r);
		tail = false;
		SEE(flag_mem[r], flag[r]);
		fast = !flag_mem[r] || !SHARED
	};
	if
	:: atomic { fast -> fast = false }
	:: else ->
		atomic {
			LOCK(r);
			mine = looper == r;
			if
			:: mine && urgent ->
				flag[r] = WANTED;
				enqueue(r, false, false);
				grant_next()
			:: !mine && r == HOME -> /* looper_come_home() */
				i = looper;
#if defined(OUTPUT) && !defined(BUG_FROM)
				if :: left[i] -> SET_FROM(i) :: else fi;
#endif
				looper = r;
				asleep[i] = false;
				kick(i);
				i = 0
			:: else
			fi
		};
		cond_wait(r, holder == r || looper != r);
		atomic {
			unqueue(r);
			mine = mine && looper == r;
			if
			:: holder == r -> flag[r] = FLAG_OF(r)
			:: else
			fi;
			UNLOCK(r);
			if
			:: mine -> skip
			:: !mine && r == HOME -> mine = true; send_aside(r); goto Loop
			:: !mine && r != HOME -> mine = true; goto Host
			fi
		}
	fi;
	if
	:: atomic { looper != r -> assert(r != HOME); goto RunOwnOn } /* lent the baton */
	:: else
	fi;

Next:	/* the next dispatch */
	if
	:: atomic { MAY_END -> TOUCH(r); home_ended = true; goto Ended }
	:: atomic { !MAY_END && mailbox -> TOUCH(r); mailbox = 0; mail_comes(); goto Loop }
	:: atomic { !MAY_END && !mailbox && work -> TOUCH(r); work = false; goto Loop }
	:: atomic { !MAY_END && !mailbox && !work && ready -> TOUCH(r); first_of(ready, f); goto Fiber }
	:: atomic { !MAY_END && !mailbox && !work && !ready && HAS_FIBERS(r) -> goto RunOwn }
	:: atomic { /* turn_lend() */
		!MAY_END && !HAS_WORK && gate == NONE && ANY_LENDABLE ->
		TOUCH(r);
		if
		:: LENDABLE(1) -> i = 1
#if RIDERS > 2
		:: LENDABLE(2) -> i = 2
#endif
		fi;
		gate = r;
		flag[r] = WANTED;
		enqueue(r, true, true);
		holder = i;
		flag[i] = urgent > 0;
		asleep[i] = false;
		i = 0
	  };
		cond_wait(r, holder == r);
		atomic {
			flag[r] = FLAG_OF(r);
			UNLOCK(r);
			if
			:: looper == r || r == HOME -> goto Loop
			:: else -> goto Host
			fi
		}
	:: atomic { /* nothing to do, and nobody who could take it over: plain epoll_wait() */
		!MAY_END && !HAS_WORK && gate == NONE && !ANY_LENDABLE && !SHARED -> TOUCH(r); SHOW_WORD(r)
	  };
		atomic { epoll -> TOUCH(r); ready = ready | (epoll & ALL); epoll = 0; goto Loop }
	:: atomic { !MAY_END && !HAS_WORK && gate == NONE && !ANY_LENDABLE && SHARED -> TOUCH(r) }
	fi;

	/* turn_sleep_shared() */
	leave(r, IDLE);
	if
	:: r == HOME ->
		atomic { epoll -> SHOW_WORD(r); i = epoll & ALL; epoll = 0 }
	:: else ->
		atomic {
			epoll || kicked[r] -> SHOW_WORD(r);
			kicked[r] = false;
#ifdef BUG_EDGE
			i = epoll & ALL;
			epoll = 0
#endif
		}
	fi;
	/* looper_idle_end() */
	SET_WORD(r, LIB);
	atomic {
		SEE(flag_mem[r], flag[r]);
		fast = !flag_mem[r]
	};
	if
	:: atomic { fast -> fast = false }
	:: else ->
		atomic {
			LOCK(r);
			mine = holder == r || looper == r || (r == HOME && i)
		};
		if
		:: holder != r && mine -> wait_for(r)
		:: else
		fi;
		atomic {
#ifndef BUG_IDLE
			mine = mine && looper == r;
#endif
			if
			:: holder == r -> flag[r] = FLAG_OF(r)
			:: else
			fi;
			UNLOCK(r);
			if
			:: mine -> skip
			:: else -> mine = true; i = 0; assert(r != HOME); goto Host
			fi
		}
	fi;
	atomic {
		TOUCH(r);
		if
		:: r != HOME -> i = i | (epoll & ALL); epoll = 0
		:: else
		fi;
		ready = ready | i;
		i = 0;
		goto Next
	};

RunOwnOn:
	if
	:: atomic { now_run[r] -> TOUCH(r); first_of(now_run[r], f); goto Fiber }
	:: else -> goto Host
	fi;

Fiber:
	leave(r, USER);
	/* the user's code; each way through it is a handler. One that stalls may do so until nothing else can go on. */
	do
	:: if :: true :: !thaw -> thaw fi;
		enter(r);
		atomic {
			TOUCH(r);
			if
			/* np_post() to its own poller, whose looper looks round before it sleeps */
			:: if
			   :: looper != r && !mailbox -> epoll = epoll | WAKE
			   :: else
			   fi;
			   mailbox = mailbox | 2
			:: work = true /* arms a timer */
			:: tail = true /* begins a fiber */
			:: skip
#ifdef OUTPUT
			:: looper == r -> put_off[r] = true /* np_conn_flush() in a batch */
#endif
			:: !came -> SENT(r); parked[r] = parked[r] | (1 << f); f = 0; goto Loop
			:: SENT(r); ended = ended | (1 << f); f = 0; goto Loop
			:: gate == NONE && (looper != r || ANY_SPARE) -> goto HandOff /* np_blocking() */
			fi
		};
		leave(r, USER)
	od;

HandOff:
	atomic {
		gate == NONE && (looper != r || ANY_SPARE) ->
		gate = r;
		mine = looper == r;
		SENT(r);
		SET_LEFT(r, true);
		if
		:: mine -> find_spare(i)
		:: else
		fi;
		drop(r);
		if
		:: mine -> assign(i); i = 0
		:: else
		fi;
		mine = true;
		UNLOCK(r);
		SET_WORD(r, USER)
	};
	do
	:: true -> break
	:: !thaw -> thaw; break
	od;
	enter(r);
	leave(r, USER);
	enter(r);
	atomic { TOUCH(r); ended = ended | (1 << f); f = 0; goto Loop };

Ended:	skip
}

/* looper_look(): any handler may have kept its thread for too long */
proctype watchdog()
{
	byte s = 0, victim = 0;
	bool got = false;

	do
	:: atomic {
		gate == NONE && word[looper] == USER && ANY_SPARE ->
		find_spare(s);
		gate = WATCHDOG
	  };
		if
		:: holder != looper -> got = true
		:: else -> rob(victim, got)
		fi;
		atomic {
			if
			:: got -> assign(s)
			:: !got && !hosting[s] -> unspare(s)
			:: else
			fi;
			got = false;
			s = 0;
			show_flags();
			gate = NONE
		}
	:: atomic {
		gate == NONE && holder != NONE && word[holder] == USER &&
		!(word[looper] == USER && ANY_SPARE) && (holder != looper || urgent) ->
		gate = WATCHDOG
	  };
		rob(victim, got);
		atomic {
			if
			:: got ->
				grant_next();
#ifndef BUG_LOOK
				if
				:: holder == NONE -> kick(looper)
				:: else
				fi
#endif
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
	fi;
	stop = true;
	epoll = epoll | WAKE
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
		LATER("broken: no lost wake-up\n", word[looper] == USER || (!mailbox && !ready && !work && !tail && (!epoll || home_ended)));
		LATER("broken: no lost wake-up\n", word[looper] == USER || !(hosting[1] && run_first[1]));
#if RIDERS > 2
		LATER("broken: no lost wake-up\n", word[looper] == USER || !(hosting[2] && run_first[2]));
#endif
#ifdef OUTPUT
		LATER("broken: output leaves\n", !put_off[0] || looper == 0);
		LATER("broken: output leaves\n", !put_off[1] || looper == 1);
#if RIDERS > 2
		LATER("broken: output leaves\n", !put_off[2] || looper == 2);
#endif
#endif
		thaw = true
	};
	timeout ->
	atomic {
		LATER("broken: no lost wake-up\n", ended == ALL && !mailbox && !ready && !work && !tail && !queued);
		LATER("broken: home comes back\n", looper == HOME && holder == HOME && home_ended)
	}
}

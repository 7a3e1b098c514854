/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * baton: which thread may touch a poller, where that changes hands while a handler keeps its thread
 *
 * A thread that carries a poller, now or later, is a rider: the poller's own, which is home, and
 * spare ones of a crew. One of them at most holds the baton, and that one alone touches the poller
 * and all that belongs to it. Inside the library a rider keeps the baton; in code of the user's
 * that may block, and while it sleeps in the kernel, it can be robbed of it. No fiber changes its
 * thread for this.
 *
 *   role     who                                    leaves it by
 *   holder   at most one                            robbed in USER or IDLE; looper_goes_on(), at a
 *                                                   boundary; baton_leaves(), where it is a guest
 *   looper   one: it runs turns, and sleeps in      in USER: crew_look() or looper_hand_off()
 *            epoll_wait()                           names another; the guest at home takes it back
 *   guest    a rider whose fiber runs on while      its fiber parks or ends: home becomes the
 *            another is the looper                  looper, a spare one hosts
 *   host     a spare one that sleeps, and on which  hand-off -> looper; spare_lend() for as long as
 *            fibers have parked                     its fibers run; its last fiber ends -> the crew
 *
 *   word     of a thread, which stores it           leaves it by
 *   LIB   0  it cannot be robbed                    baton_leaves() -> USER; looper_idle_begin()
 *   USER  1  in code of the user's that may block   baton_enter() -> LIB
 *   IDLE  3  sleeps in the kernel                   looper_idle_end() -> LIB
 *
 * Beside the state the watchdog leaves marks in the word of one in USER, which its next store takes
 * away: one that is found again says that nothing has moved since.
 *
 * The flag is written under the gate. 0: its rider holds the baton, nobody waits for it, and nobody
 * is to be told that it runs code of the user's. Word and flag are Dekker's two, with the fence of
 * sys/fence.h between a write and a read:
 *
 *   rider    word = LIB;   light fence;  flag 0: goes on;    else: the gate
 *            word = USER;  light fence;  flag 0: goes on;    else: the gate, gives it up
 *   robber   flag = ROBBED; heavy fence; word LIB: the flag goes back, it waits; else: robbed
 *
 * Where there is no membarrier(2) the flag is never 0, and who finds it so fences, and looks again.
 *
 * A waiter is in the queue before it tries to rob, so a holder that leaves LIB meanwhile sees it.
 * Nobody waits for anything of the user's inside LIB: so no cycle of waits has the baton in it.
 *
 * How the loop goes from thread to thread: looper.h; a poller's spare threads: spare.h.
 */
#ifndef POLL_BATON_H
#define POLL_BATON_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fiber/sanitizer.h"
#include "poll/hog.h"
#include "poll/list.h"
#include "sys/fence.h"
#include "sys/sched.h"
#include "sys/thread.h"

struct crew;
struct crew_waiter;
struct fiber;
struct poller;

enum baton_state { BATON_LIB = 0, BATON_USER = 1, BATON_IDLE = 3 };
/* The watchdog's marks: it was found in USER; and no thread was found for it then. */
enum baton_mark { BATON_SEEN = 4, BATON_REFUSED = 8 };
enum baton_flag {
	BATON_ROBBED = 1,
	BATON_WANTED = 2,
	BATON_ROUSES = 4, /* the crew's watchdog is asleep, and is to be woken */
	BATON_FENCES = 8, /* by itself */
};
/* Of these, what has to do with others that have the baton, or want it. */
#define BATON_CALLED (BATON_ROBBED | BATON_WANTED)

/* Of each thread; no rider's is LIB for ever. */
struct baton_here {
	uint32_t word;            /* others read it and mark it, atomically */
	uint32_t flag;            /* enum baton_flag; the rider's, written by others */
	struct rider *rider;      /* NULL: none */
	const struct baton *robs; /* at this moment: its poller is this thread's to look after */
};
extern _Thread_local struct baton_here baton_here
	__attribute__((tls_model("initial-exec"), visibility("hidden")));
/*
 * The same, for the way out. By another name, so that a compiler does not keep its address over the
 * call of a verb: the register would be saved by all that pass the gate.
 */
extern _Thread_local struct baton_here baton_here_out __asm__("baton_here")
	__attribute__((tls_model("initial-exec"), visibility("hidden")));

struct spent {
	uint64_t cpu_ns, waited_ns; /* for a CPU */
};

struct rider {
	bool home;
	struct poller *poller; /* gate, and the crew's lock; a spare one of the crew: NULL */
	struct crew *crew;     /* NULL: hands nothing on */

	/* its own thread's */
	struct fiber *now_run; /* fibers of this turn that go on */

	/* the baton's holder's */
	struct fiber *run_first, *run_last; /* its fibers that can go on */
	_Atomic(bool) has_run;              /* there are: read under the gate as well */
	uint64_t lent;                      /* the turn in which it was lent the baton last */

	/* gate */
	struct baton_here *here;    /* its thread's; NULL before that begins: as LIB */
	struct fiber *const *fiber; /* what its thread runs, for who robs it in USER */
	uint32_t flag;              /* as here->flag is, or is to be */
	pthread_cond_t cond;
	struct rider *next_waiting; /* in the queue */
	struct list link;           /* a spare one, in the baton's list */
	bool waiting, lazy;         /* in the queue; does not make the holder hurry */
	bool hosting;               /* sleeps, and can be lent the baton */
	bool left;                  /* user's code without the baton: its notes are here */
	struct hog_note note;       /* what it was noted as */
	bool spends;                /* its thread's time is the poller's */
	struct spent from;          /* of its thread, when that began */
	/* of its dispatch: when it was left alone first, 0: not, and what its thread had run */
	uint64_t left_ns, left_cpu_ns;

	/* its own thread writes it; gate */
	struct sys_sched sched;

	/* the crew's watchdog, under the gate */
	uint64_t since_ns;

	/* a spare one */
	int kick_fd; /* ends its sleep, which takes no event off the poller */
	struct sys_thread thread;
	pthread_cond_t idle; /* crew's lock; it is free, and waits for a poller */
	struct rider *next_idle, *next_of_crew;
};

struct baton {
	pthread_mutex_t gate;
	struct rider *_Atomic holder; /* gate; a rider may ask at any time whether it is itself */
	struct rider *_Atomic looper; /* gate */
	struct rider *wait_first;     /* gate; the queue, in its order */
	unsigned urgent;              /* gate; of these not lazy */
	struct list spares;           /* gate; those that carry this poller */
	_Atomic(unsigned) n_spares;   /* 0: home alone, and nothing ever changes hands */
	struct rider home;
	struct crew *crew;
	struct list of_crew; /* the crew's */
	struct rider *from;  /* gate; had the loop before; NULL: it carries the poller no more */
	/* gate; was left alone by the watchdog, and is to be named: it may have ended since */
	struct hog_note told;
	bool tells;
	bool measured; /* gate; and what was, before the looper became that */
	struct spent spent;
	struct hog said;  /* the looper's; which were named, and when */
	uint64_t last_ns; /* the watchdog's: the last hand-off */
};

/* ------------------------------------------------------------------ verbs */

/*
 * BATON_LOOK() - at a word of this thread's that others may write
 *
 * Relaxed: what it means is settled at the gate. A plain load but for TSan: the instruction that
 * tests an atomic one finds it in a register, and this one in memory.
 */
#ifdef FIBER_TSAN
#define BATON_LOOK(word) __atomic_load_n(&(word), __ATOMIC_RELAXED)
#else
#define BATON_LOOK(word) (word)
#endif

/* So that registers are saved on that way alone, and not by all that pass. */
#define BATON_NEVER(x) __builtin_expect_with_probability(x, 0, 1)

/* The calling thread runs code of the user's in which it can be robbed. */
static inline bool baton_in_user(void)
{
	return BATON_LOOK(baton_here.word) & 1;
}

/* Others have the baton of the calling thread's poller, or want it. */
static inline bool baton_is_called(void)
{
	return BATON_LOOK(baton_here.flag) & BATON_CALLED;
}

/* The calling thread carries a poller for a while. */
static inline bool baton_is_spare(void)
{
	return baton_here.rider && !baton_here.rider->home;
}

/* Of a thread that holds the baton: the loop is another's. */
bool baton_is_guest(void);

/* Where the flag is not 0. */
void baton_enter_slowly(void) __attribute__((cold));
/* Return: @result, in whose place the caller need not keep it. */
uintptr_t baton_leave_slowly(uintptr_t result) __attribute__((cold));
#define BATON_LEAVE_SLOWLY(result) baton_leave_slowly((uintptr_t)(result))

static inline __attribute__((always_inline)) void baton_enter(void)
{
	__atomic_store_n(&baton_here.word, BATON_LIB, __ATOMIC_RELAXED);
	atomic_signal_fence(memory_order_seq_cst);
	if (BATON_NEVER(BATON_LOOK(baton_here.flag)))
		baton_enter_slowly();
	atomic_signal_fence(memory_order_seq_cst);
}

/* Return: whether baton_leave_slowly() has to follow. */
static inline __attribute__((always_inline)) bool baton_leaves(void)
{
	__atomic_store_n(&baton_here_out.word, BATON_USER, __ATOMIC_RELEASE);
	atomic_signal_fence(memory_order_seq_cst);
	return BATON_NEVER(BATON_LOOK(baton_here_out.flag));
}

/*
 * NP_GATE() - the first statement of each verb that touches what a poller owns
 *
 * @call is the verb itself with its own arguments: called again behind the gate it passes here. All
 * but the first test is off the way of those that just pass: three instructions, and fifteen more
 * of those that do not (make bench-gate).
 */
#ifdef NP_UNGATED /* make bench-gate: what the gate costs those that have no use for it */
#define NP_GATE(call)      (void)0
#define NP_GATE_VOID(call) (void)0
#else
#define NP_GATE(call)                                                                \
	do {                                                                         \
		if (BATON_NEVER(baton_in_user())) {                                  \
			baton_enter();                                               \
			__auto_type gate_ = (call);                                  \
			if (baton_leaves())                                          \
				return (__typeof__(gate_))BATON_LEAVE_SLOWLY(gate_); \
			return gate_;                                                \
		}                                                                    \
	} while (0)
#define NP_GATE_VOID(call)                             \
	do {                                           \
		if (BATON_NEVER(baton_in_user())) {    \
			baton_enter();                 \
			(call);                        \
			if (baton_leaves())            \
				baton_leave_slowly(0); \
			return;                        \
		}                                      \
	} while (0)
#endif

/* Whether the calling thread has the loop, and another would go on with it were this one kept. */
bool baton_has_relief(void);
/* Around a handler of the user's that may block; on a fiber. */
void baton_user_begin(void);
void baton_user_end(void);

/* ------------------------------------------------------------------ the loop's */

/* The calling thread is @r's from here on, and can be robbed. */
void baton_mount(struct rider *r);
/* And is no more: it has the baton, and no spare thread is left. */
void baton_dismount(struct rider *r);
void baton_init(struct poller *p, struct crew *crew);
void baton_fini(struct poller *p);

static inline bool baton_is_looper(const struct baton *b, const struct rider *r)
{
	return atomic_load_explicit(&b->looper, memory_order_relaxed) == r;
}

/* Whether spare threads carry it. */
static inline bool baton_is_shared(const struct baton *b)
{
	return atomic_load_explicit(&b->n_spares, memory_order_relaxed);
}
/* Whether this thread may touch the poller now; @rides: it carries it. */
bool baton_is_held(const struct baton *b, bool rides);
/* ------------------------------------------------------------------ the crew's */

/* The watchdog is asleep: who is in code of the user's from now on wakes it. */
void baton_ask_to_rouse(struct baton *b);

#endif

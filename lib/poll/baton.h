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
 *   holder   at most one                            robbed in USER or IDLE; baton_goes_on(), at a
 *                                                   boundary; baton_leave(), where it is a guest
 *   looper   one: it runs turns, and sleeps in      in USER: crew_look() or baton_hand_off() names
 *            epoll_wait()                           another; the guest at home takes it back
 *   guest    a rider whose fiber runs on while      its fiber parks or ends: home becomes the
 *            another is the looper                  looper, a spare one hosts
 *   host     a spare one that sleeps, and on which  hand-off -> looper; baton_lend() for as long as
 *            fibers have parked                     its fibers run; its last fiber ends -> the crew
 *
 *   word     of a thread, which alone writes it     leaves it by
 *   LIB   0  it cannot be robbed                    baton_leave() -> USER; baton_idle_begin()
 *   USER  1  in code of the user's that may block   baton_enter() -> LIB
 *   IDLE  3  sleeps in the kernel                   baton_idle_end() -> LIB
 *
 * Above the two bits of the state the word counts, so that two looks tell whether it has moved.
 *
 * The rider's flag is written under the gate. 0: it holds the baton, and nobody waits for it. Word
 * and flag are Dekker's two, with the fence of sys/fence.h between a write and a read:
 *
 *   rider    word = LIB;   light fence;  flag 0: goes on;    else: the gate
 *            word = USER;  light fence;  flag 0: goes on;    else: the gate, gives it up
 *   robber   flag = ROBBED; heavy fence; word LIB: the flag goes back, it waits; else: robbed
 *
 * A waiter is in the queue before it tries to rob, so a holder that leaves LIB meanwhile sees it.
 * Nobody waits for anything of the user's inside LIB: so no cycle of waits has the baton in it.
 */
#ifndef POLL_BATON_H
#define POLL_BATON_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "poll/hog.h"
#include "poll/list.h"
#include "sys/fence.h"
#include "sys/thread.h"

struct crew;
struct crew_waiter;
struct fiber;
struct poller;

enum baton_state { BATON_LIB = 0, BATON_USER = 1, BATON_IDLE = 3 };
enum baton_flag { BATON_ROBBED = 1, BATON_WANTED = 2 };

/* Of each thread; no rider's is LIB for ever. */
struct baton_here {
	uint32_t word;            /* others read it, atomically */
	struct rider *rider;      /* NULL: none */
	const struct baton *robs; /* at this moment: its poller is this thread's to look after */
};
extern _Thread_local struct baton_here baton_here
	__attribute__((tls_model("initial-exec"), visibility("hidden")));

struct rider {
	_Atomic(uint32_t) flag; /* enum baton_flag */
	bool home;
	struct poller *poller;       /* a spare one of the crew: NULL */
	struct crew *crew;           /* NULL: hands nothing on */
	const _Atomic(bool) *asleep; /* the crew's watchdog is */
	/* its thread's, for robbers; NULL before that begins: as LIB */
	struct baton_here *_Atomic here;

	/* its own thread's */
	struct fiber *now_run; /* fibers of this turn that go on */
	struct fiber *fiber;   /* runs code of the user's; kept for the robber */

	/* the baton's holder's */
	struct fiber *run_first, *run_last; /* its fibers that can go on */
	_Atomic(bool) has_run;              /* there are: read under the gate as well */
	uint64_t lent;                      /* the turn in which it was lent the baton last */

	/* gate */
	pthread_cond_t cond;
	struct rider *next_waiting; /* in the queue */
	struct list link;           /* a spare one, in the baton's list */
	bool waiting, lazy;         /* in the queue; does not make the holder hurry */
	bool hosting;               /* sleeps, and can be lent the baton */
	bool left;                  /* user's code without the baton: its notes are here */
	struct hog_note note;       /* what it was noted as */

	/* the crew's watchdog, under the gate */
	uint32_t seen;
	uint64_t since_ns;
	uint32_t refused; /* the word for which no thread was found */

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
	struct rider *told;  /* gate; was left alone by the watchdog, and is to be named */
	struct hog said;     /* the looper's; which were named, and when */
	uint64_t last_ns;    /* the watchdog's: the last hand-off */
};

/* ------------------------------------------------------------------ verbs */

/* The calling thread runs code of the user's in which it can be robbed. */
static inline bool baton_in_user(void)
{
	return baton_here.word & 1;
}

void baton_enter(void) __attribute__((cold));
void baton_leave(void) __attribute__((cold));

/*
 * NP_GATE() - the first statement of each verb that touches what a poller owns
 *
 * @call is the verb itself with its own arguments: called again behind the gate it passes here.
 */
#define NP_GATE(call)                                           \
	do {                                                    \
		if (__builtin_expect(baton_in_user(), false)) { \
			baton_enter();                          \
			__auto_type gate_ = (call);             \
			baton_leave();                          \
			return gate_;                           \
		}                                               \
	} while (0)
#define NP_GATE_VOID(call)                                      \
	do {                                                    \
		if (__builtin_expect(baton_in_user(), false)) { \
			baton_enter();                          \
			(call);                                 \
			baton_leave();                          \
			return;                                 \
		}                                               \
	} while (0)

/* Around a handler of the user's that may block; on a fiber. */
void baton_user_begin(void);
void baton_user_end(void);

/*
 * baton_hand_off() - for np_blocking(): from here on the poller is another thread's
 *
 * Ends with baton_enter(). Return: 0: in USER, without the baton; -EAGAIN: no thread is free,
 * and @w waits for one; -ENOTSUP: the poller has no crew, or not one thread was to be had.
 */
int baton_hand_off(struct crew_waiter *w);

/* ------------------------------------------------------------------ the loop's */

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
/*
 * baton_goes_on() - at a boundary between two dispatches, where there are spare ones
 *
 * Lets those have it that wait. Return: whether this thread is the looper still, and has been all
 * the time: else its frames return, and touch nothing of the poller's any more.
 */
bool baton_goes_on(struct rider *r);
/* Around the looper's sleep. */
void baton_idle_begin(struct rider *r);
/* Return: whether it is the looper still, and holds the baton. @any: it brings events, and has to
 * have it. */
bool baton_idle_end(struct rider *r, bool any);
/* A spare one's sleep. */
void baton_nap(struct rider *r, int timeout_ms);
/* One that hosts, has fibers to go on with, and had no turn in @turn; NULL: none. */
struct rider *baton_lendable(struct baton *b, struct rider *me, uint64_t turn);
/* Until it has run them, or has left one alone. Return: as baton_goes_on(). */
bool baton_lend(struct rider *me, struct rider *to);
/* A spare one that the crew has given away waits for its first turn. Return: false: it is taken
 * back. */
bool baton_arrive(struct rider *r, struct poller *p);
/* A spare one gives up the baton, and waits until it is to have it. Return: false: it carries the
 * poller no more. */
bool baton_host(struct rider *r);

/* ------------------------------------------------------------------ the crew's */

/*
 * baton_look() - the watchdog's: hands on a poller whose looper has been in USER for @limit_ns
 *
 * Return: whether somebody is in USER, and has to be looked at again.
 */
bool baton_look(struct baton *b, uint64_t now_ns, uint64_t limit_ns);

#endif

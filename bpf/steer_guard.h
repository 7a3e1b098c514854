/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * steer_guard: what is read on the way to a choice, and how fit a worker is by it
 *
 * Whoever adds a policy reads through input_*() and try_select() alone: that is what the record of
 * a decision has, and what its twin in userspace replays.
 *
 * Given by the includer of steer_choose.h: struct run's replay, and what is declared next.
 */
#ifndef STEER_GUARD_H
#define STEER_GUARD_H

struct run;
struct sk_reuseport_md;
struct replay;

/* Candidates are workers' numbers plus one; 0 is none. */
static __always_inline __u32 input_roster(struct run *r, __u32 i);
static __always_inline __u32 input_cpu(struct run *r); /* the worker of this CPU */
static __always_inline __u64 input_turn(struct run *r);
static __always_inline __u64 input_now(struct run *r);
static __always_inline __u64 input_state(struct run *r, __u32 w);
static __always_inline __u64 input_busy(struct run *r, __u32 w);
static __always_inline __u32 input_random(struct run *r);
static __always_inline __u64 input_since(struct run *r, __u32 w);
static __always_inline __u64 input_set(struct run *r, __u32 word);
static __always_inline __u32 input_client(struct run *r);
static __always_inline __u32 input_table(struct run *r, __u32 i);
static __always_inline __u64 input_mean(struct run *r);
/*
 * 0, or that the last walk over the whole roster, a moment ago, met nobody who has room: the worker
 * plus two that would answer a SYN all the same, with a SYN cookie; 1: there was none. Level 4
 * alone.
 */
static __always_inline __u32 input_spent(struct run *r);
/* How many connections worker @w says it has (low 40 bits), and its weight (above). */
static __always_inline __u64 input_load(struct run *r, __u32 w);
/* Whether worker @w has a listener in this group, which is selected then. */
static __always_inline bool try_select(struct run *r, __u32 w);
/* Level 4, which has input_queue(); level 2, before Linux 5.14. Constants in the program, whose
 * rest is not even compiled in. */
static __always_inline bool sees_queues(const struct run *r);
static __always_inline bool is_old(const struct run *r);
/* What waits at the listener that try_select() has just selected: NP_QUEUE_*(). Level 4 alone. */
static __always_inline __u64 input_queue(struct run *r, __u32 w);
/* consider(), weigh(), weigh_own(), published(): the program has some of them verified once, not
 * for every call. */
static __always_inline bool consider_one(struct run *r, __u32 w1);
static __always_inline bool consider_first(struct run *r, __u32 w1);
static __always_inline void weigh_one(struct run *r, __u32 w1);
static __always_inline void weigh_own_once(struct run *r);
static __always_inline __u32 published_one(struct run *r, __u32 i);
/* Calls walk_step(), scan_step() until it returns true. */
static __always_inline void walk(struct run *r);
static __always_inline void scan(struct run *r);

/*
 * Draws before the search becomes a walk over the whole roster. Before 5.13 no callback can do the
 * walk, and a loop of that many turns is more than the verifier takes from CAP_BPF alone: there
 * the search ends with the draws.
 */
#define DRAWS     4
#define OLD_DRAWS 16

/* With CAP_BPF alone the verifier loses a loop counter's bound, and takes none as an index. */
#ifdef __bpf__
#define UNROLLED _Pragma("clang loop unroll(full)")
#else
#define UNROLLED
#endif

/* How fit a worker is: smaller is better. */
enum fit {
	FIT_READY = 4 * NP_WORKER_READY,
	FIT_CROWDED, /* by half-open connections, where the kernel answers with a SYN cookie */
	FIT_HUNG,
	FIT_FULL, /* its accept queue has no room: the SYN would be dropped, cookie or not */
	FIT_DRAINING = 4 * NP_WORKER_DRAINING,
	FIT_NONE = 4 * NP_WORKER_OUT, /* and above: not to be selected */
};

/*
 * What a run looks for and what it has found. It lies in a map, not on the stack, because of the
 * verifier: it follows a value on the stack through every turn of every loop, with all the values
 * it may have had (243 000 instructions for this program), and knows nothing of one in a map
 * (5 400). Runs do not nest on one CPU: they are all in softirq context.
 */
struct search {
	__u64 now;    /* 0: the clock has not been read */
	__u64 fit;    /* of the selected worker */
	__u32 worker; /* the selected one, if fit says that there is one */
	__u32 hash;
	__u32 roster; /* candidates: entries of the group's roster */
	__u32 policy;
	__u32 step;  /* of the walk, of the scan */
	__u32 best;  /* of those that were weighed, plus one */
	__u64 least; /* its load */
	__u64 queue; /* of the selected worker's listener: NP_QUEUE_*(); level 4 */
	__u64 queue_of_best;
	__u32 full1;  /* a worker whose listener would drop the SYN, plus one */
	__u32 traced; /* 1: what it reads is noted */

	/* kept from run to run on this CPU */
	__u64 spent_ns; /* when a walk met nobody who has room; 0: not lately */
	__u32 crowded1; /* whom it met with room for a SYN cookie, plus one */
	__u32 brief1;   /* in this run: input_spent()'s */

	/* likewise: the mean load of the group, as the runs come by */
	__u32 turn;  /* of the roster */
	__u64 conns; /* of those whose turn it was since the last mean */
	__u64 weights;
	__u64 mean;
};

struct run {
	const struct np_config *cfg;
	struct np_verdicts *stats;
	volatile struct search *s;
	struct sk_reuseport_md *md; /* NULL in the twin */
	struct replay *replay;      /* NULL in the kernel */
};

/*
 * The empty asm keeps the compiler from merging two counters into one store through a pointer of
 * two origins: with CAP_BPF alone the verifier refuses that.
 */
#define COUNT(field)                         \
	do {                                 \
		__u64 *n_ = &(field);        \
		asm volatile("" : "+r"(n_)); \
		++*n_;                       \
	} while (0)

/* murmur3's finalizer over hash and @i: each @i is another permutation of the flows. */
static __always_inline __u32 rehash(__u32 hash, __u32 i)
{
	hash ^= i * 0x9e3779b9u;
	hash ^= hash >> 16;
	hash *= 0x85ebca6bu;
	hash ^= hash >> 13;
	hash *= 0xc2b2ae35u;
	return hash ^ (hash >> 16);
}

/* Evenly onto 0..n-1, without a division. */
static __always_inline __u32 below(__u32 hash, __u32 n)
{
	return (__u32)(((__u64)hash * n) >> 32);
}

/* ns since then; 0 if that is of a later tick than ours. The clock is read once a run, and seldom
 * at all. */
static __always_inline __u64 passed(struct run *r, __u64 since_ns)
{
	__u64 now;

	if (!r->s->now)
		r->s->now = input_now(r);
	now = r->s->now;
	return now > since_ns ? now - since_ns : 0;
}

/* Whether a worker busy since then hangs. */
static __always_inline bool is_hung(struct run *r, __u64 busy_since_ns)
{
	__u64 limit = (__u64)r->cfg->hang_ms * 1000000;

	return busy_since_ns && limit && passed(r, busy_since_ns) > limit;
}

/* How fit worker @w is, by its words alone. */
static __always_inline __u64 fit_of(struct run *r, __u32 w)
{
	__u64 state = input_state(r, w);

	if (state != NP_WORKER_READY) {
		COUNT(r->stats->skipped_away);
		return 4 * state;
	}
	if (!is_hung(r, input_busy(r, w)))
		return FIT_READY;
	COUNT(r->stats->skipped_hung);
	return FIT_HUNG;
}

/*
 * Whether one SYN more would be dropped. The kernel compares the accept queue and the half-open
 * ones with the backlog one by one; a burst before any ACK is in the second and will be in the
 * first.
 */
static __always_inline bool is_full(__u64 queue)
{
	return NP_QUEUE_ACCEPT(queue) + NP_QUEUE_SYN(queue) > NP_QUEUE_BACKLOG(queue);
}

/* Who is full by half-open connections alone has room for one that comes with a SYN cookie. */
static __always_inline enum fit fit_when_full(__u64 queue)
{
	return NP_QUEUE_ACCEPT(queue) > NP_QUEUE_BACKLOG(queue) ? FIT_FULL : FIT_CROWDED;
}

/* Whether the kernel drops it: of those that are too full for us, some still have room for one in
 * its eyes. */
static __always_inline bool would_drop(__u64 queue)
{
	return NP_QUEUE_ACCEPT(queue) > NP_QUEUE_BACKLOG(queue) ||
	       NP_QUEUE_SYN(queue) >= NP_QUEUE_BACKLOG(queue);
}

/*
 * try_worker() - select worker @w on trial, as fit as @fit by its words
 *
 * Return: whether it is selected now, and is there: s->worker and s->fit are of the selected one
 * afterwards in every case.
 */
static __always_inline bool try_worker(struct run *r, __u32 w, __u64 fit)
{
	__u64 queue, full;

	if (!try_select(r, w)) {
		COUNT(r->stats->skipped_empty);
		return false;
	}
	if (sees_queues(r)) {
		queue = input_queue(r, w);
		if (is_full(queue)) {
			COUNT(r->stats->skipped_full);
			if (would_drop(queue))
				r->s->full1 = w + 1;
			full = fit_when_full(queue);
			if (fit < full)
				fit = full;
			if (r->s->fit < fit && try_select(r, r->s->worker))
				return false;
		}
		r->s->queue = queue;
	}
	r->s->fit = fit;
	r->s->worker = w;
	return true;
}

/* Whether @w1 ends the search: it is fit, and now selected. */
static __always_inline bool consider(struct run *r, __u32 w1)
{
	__u32 w = w1 - 1;
	__u64 fit;

	if (w >= NP_WORKERS)
		return false;
	fit = fit_of(r, w);
	return fit < r->s->fit && try_worker(r, w, fit) && r->s->fit == FIT_READY;
}

#endif

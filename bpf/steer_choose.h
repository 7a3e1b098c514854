/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * steer_choose: which worker a connection gets, given what is read on the way
 *
 *   1. first_choice() and next_choice() name the policy's workers, best first.
 *   2. fit_of() judges each, by its words alone: ready, hung, draining, out.
 *   3. One that is better than what is selected so far is selected on trial: it may have no
 *      listener in this group. At level 4 the listener's own queues are read then, and may be full.
 *   4. The first fit one ends the search. Else the least bad one found stays selected.
 * The exact policies see more than one candidate's queues before they decide: weigh().
 *
 * The kernel's program and its twin in userspace are compiled from this file. They differ in where
 * the inputs come from: the program reads maps, clocks and sockets, the twin what the program has
 * noted (np_trace). So whoever adds a policy here reads through input_*() and try_select() alone.
 *
 * A reader would get wrong: a trial cannot be undone, the last successful select is what SK_PASS
 * means. So a candidate is tried only if it is better than the one that is selected already, and if
 * it turns out to be worse, the former one is selected once more.
 *
 * Given by the includer: struct run with the members used here, and what is declared next.
 */
#ifndef STEER_CHOOSE_H
#define STEER_CHOOSE_H

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
/* How many connections worker @w says it has (low 40 bits), and its weight (above). */
static __always_inline __u64 input_load(struct run *r, __u32 w);
/* Whether worker @w has a listener in this group, which is selected then. */
static __always_inline bool try_select(struct run *r, __u32 w);
/* Level 4, which has input_queue(): a constant in the program, whose other level is not even compiled in. */
static __always_inline bool sees_queues(const struct run *r);
/*
 * What waits at the listener that try_select() has just selected: connections in its accept queue and
 * half-open ones (low 32 bits), and its backlog (above). Level 4 alone.
 */
static __always_inline __u64 input_queue(struct run *r, __u32 w);
/* consider(), weigh() below; the program of level 4 has each verified once, not for every call. */
static __always_inline bool consider_one(struct run *r, __u32 w1);
static __always_inline void weigh_one(struct run *r, __u32 w1);
/* Calls walk_step(), least_step() until it returns true. */
static __always_inline void walk(struct run *r);
static __always_inline void scan(struct run *r);

/*
 * Draws before the search becomes a walk over the whole roster. Before 5.13 no callback can do the
 * walk, and a loop of that many turns is more than the verifier takes from CAP_BPF alone: there
 * the search ends with the draws.
 */
#define DRAWS     4
#define OLD_DRAWS 16

/* How fit a worker is: smaller is better. */
enum fit {
	FIT_READY    = 4 * NP_WORKER_READY,
	FIT_HUNG,
	FIT_FULL, /* its listener would drop the SYN */
	FIT_DRAINING = 4 * NP_WORKER_DRAINING,
	FIT_NONE     = 4 * NP_WORKER_OUT, /* and above: not to be selected */
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
	__u32 step;   /* of the walk, of the scan */
	__u32 best;   /* of the scan, plus one */
	__u64 least;  /* its load */
	__u32 queued; /* at the selected worker's listener; level 4 */
	__u32 full1;  /* a worker whose queue is full, plus one */
	__u32 traced; /* 1: what it reads is noted */
};

struct run {
	const struct np_config *cfg;
	struct np_verdicts *stats;
	volatile struct search *s;
	bool old;   /* for kernels before 5.14: compile-time constant */
	struct sk_reuseport_md *md; /* NULL in the twin */
	struct replay *replay;      /* NULL in the kernel */
};

/*
 * The empty asm keeps the compiler from merging two counters into one store through a pointer of
 * two origins: with CAP_BPF alone the verifier refuses that.
 */
#define COUNT(field)                            \
	do {                                    \
		__u64 *n_ = &(field);           \
		asm volatile("" : "+r"(n_));    \
		++*n_;                          \
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

/* Whether a worker busy since then hangs. The clock is read once a run, and seldom at all. */
static __always_inline bool is_hung(struct run *r, __u64 busy_since_ns)
{
	__u64 limit = (__u64)r->cfg->hang_ms * 1000000;

	if (!busy_since_ns || !limit)
		return false;
	if (!r->s->now)
		r->s->now = input_now(r);
	/* The stamp may be of a later tick than ours. */
	return r->s->now > busy_since_ns && r->s->now - busy_since_ns > limit;
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
 * Whether one SYN more would be dropped. The kernel compares the accept queue and the half-open ones with
 * the backlog one by one; a burst before any ACK is in the second and will be in the first.
 */
static __always_inline bool is_full(__u64 queue)
{
	return (__u32)queue > queue >> 32;
}

/*
 * try_worker() - select worker @w on trial, as fit as @fit by its words
 *
 * Return: whether it is selected now, and is there: s->worker and s->fit are of the selected one
 * afterwards in every case.
 */
static __always_inline bool try_worker(struct run *r, __u32 w, __u64 fit)
{
	__u64 queue;

	if (!try_select(r, w)) {
		COUNT(r->stats->skipped_empty);
		return false;
	}
	if (sees_queues(r)) {
		queue = input_queue(r, w);
		if (is_full(queue)) {
			COUNT(r->stats->skipped_full);
			r->s->full1 = w + 1;
			if (r->s->fit < FIT_FULL && try_select(r, r->s->worker))
				return false;
			if (fit < FIT_FULL)
				fit = FIT_FULL;
		}
		r->s->queued = (__u32)queue;
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

/* ------------------------------------------------------------------ policies */

/* rr advances for each candidate: a worker passed over costs its neighbour nothing extra. */
static __always_inline __u32 in_turn(struct run *r)
{
	return input_roster(r, (__u32)(input_turn(r) % r->s->roster));
}

#define WEIGHT_DEFAULT 100

/*
 * Connections for each unit of weight, @queued ones and one that is about to come included: an empty worker
 * counts its weight too.
 */
static __always_inline __u64 load_with(struct run *r, __u32 w, __u32 queued)
{
	__u64 in = input_load(r, w), weight = in >> 40;

	return ((((in & (((__u64)1 << 40) - 1)) + queued + 1) << 20) / (weight ? weight : WEIGHT_DEFAULT));
}

static __always_inline __u64 load_of(struct run *r, __u32 w1)
{
	return load_with(r, w1 - 1, 0);
}

static __always_inline __u32 drawn(struct run *r, __u32 i)
{
	__u32 w1 = input_roster(r, below(rehash(r->s->hash, i), r->s->roster));

	return w1 <= NP_WORKERS ? w1 : 0;
}

/* The less loaded one of two draws. */
static __always_inline __u32 better_of_two(struct run *r)
{
	__u32 a = drawn(r, 0), b = drawn(r, 1);

	if (!a || !b || a == b)
		return a ? a : b;
	return load_of(r, b) < load_of(r, a) ? b : a;
}

/*
 * weigh() - a candidate of an exact policy: its queues are read too
 *
 * They can be read of the selected listener alone, so each candidate is tried; settle() goes back to the best.
 */
static __always_inline void weigh(struct run *r, __u32 w1)
{
	__u32 w = w1 - 1;
	__u64 load;

	if (w >= NP_WORKERS || fit_of(r, w) != FIT_READY || !try_worker(r, w, FIT_READY) || r->s->fit != FIT_READY)
		return;
	load = load_with(r, w, r->s->queued);
	if (!r->s->best || load < r->s->least) {
		r->s->best = w1;
		r->s->least = load;
	}
}

/* Whether the best of those that were weighed is selected now. */
static __always_inline bool settle(struct run *r)
{
	__u32 w = r->s->best - 1;

	if (r->s->best && w != r->s->worker && try_select(r, w))
		r->s->worker = w;
	return r->s->fit == FIT_READY;
}

/*
 * least_step() - the next worker of the roster, from a place of the flow's own on
 *
 * Of several with the same load the first one met is taken: from different places, different ones.
 * Return: whether the scan is over.
 */
static __always_inline bool least_step(struct run *r)
{
	__u32 n = r->s->roster, i = r->s->step++, w1;
	__u64 load;

	if (i >= n)
		return true;
	i += below(rehash(r->s->hash, 0), n);
	w1 = input_roster(r, (i < n ? i : i - n) & (NP_WORKERS - 1));
	if (sees_queues(r) && r->s->policy == NP_POLICY_LEAST_EXACT) {
		weigh_one(r, w1);
		return false;
	}
	if (!w1 || w1 > NP_WORKERS || fit_of(r, w1 - 1) != FIT_READY)
		return false;
	load = load_of(r, w1);
	if (!r->s->best || load < r->s->least) {
		r->s->best = w1;
		r->s->least = load;
	}
	return false;
}

/* Before 5.13 there is no callback to scan with: two draws have to do. */
static __always_inline __u32 least_loaded(struct run *r)
{
	if (r->old)
		return better_of_two(r);
	scan(r);
	r->s->step = 0;
	return r->s->best;
}

/* Whether an exact policy has found a fit one. */
static __always_inline bool exact_choice(struct run *r)
{
	__u32 a, b;

	if (r->s->policy == NP_POLICY_LEAST_EXACT) {
		least_loaded(r);
	} else {
		a = drawn(r, 0);
		b = drawn(r, 1);
		weigh_one(r, a);
		if (b != a)
			weigh_one(r, b);
	}
	return settle(r);
}

/* What the policy wants. A CPU that no worker serves falls to the hash. */
static __always_inline __u32 first_choice(struct run *r)
{
	__u32 w1 = r->s->policy == NP_POLICY_CPU ? input_cpu(r) : 0;

	if (w1)
		return w1;
	if (r->s->policy == NP_POLICY_RR)
		return in_turn(r);
	if (r->s->policy == NP_POLICY_P2C)
		return better_of_two(r);
	if (r->s->policy == NP_POLICY_LEAST)
		return least_loaded(r);
	return input_roster(r, below(rehash(r->s->hash, 0), r->s->roster));
}

/*
 * The @i-th choice after that is another draw of the same flow: never the neighbour, which would
 * inherit everything.
 */
static __always_inline __u32 next_choice(struct run *r, __u32 i)
{
	if (r->s->policy == NP_POLICY_RR)
		return in_turn(r);
	return input_roster(r, below(rehash(r->s->hash, i), r->s->roster));
}

/* ------------------------------------------------------------------ the search */

/* 2^k - 1 that is not less than @n - 1. */
static __always_inline __u32 mask_over(__u32 n)
{
	n--;
	n |= n >> 1;
	n |= n >> 2;
	n |= n >> 4;
	return n & (NP_WORKERS - 1);
}

/*
 * walk_step() - the next worker of the whole roster, in an order of the flow's own
 *
 * An odd stride through the next power of two meets each once, and some entries past the
 * roster's end, which are 0.
 * Return: whether the walk is over.
 */
static __always_inline bool walk_step(struct run *r)
{
	__u32 mask = mask_over(r->s->roster), i = r->s->step++;

	if (i > mask)
		return true; /* and no branch of its own for i >= roster: see input_roster() */
	i = rehash(r->s->hash, DRAWS) + i * (rehash(r->s->hash, DRAWS + 1) | 1);
	return consider_one(r, input_roster(r, i & mask));
}

/* So many workers are scanned for each SYN under "auto"; more are drawn from. */
#define SCANNED_MAX 16

/* The rule that is in force here for the policy that is wanted. */
static __always_inline __u32 rule_of(const struct run *r, __u32 policy)
{
	if (policy == NP_POLICY_AUTO)
		policy = r->s->roster <= SCANNED_MAX ? NP_POLICY_LEAST_EXACT : NP_POLICY_P2C_EXACT;
	else if (!sees_queues(r) && policy == NP_POLICY_LEAST_EXACT)
		return NP_POLICY_LEAST;
	if (!sees_queues(r) && (policy == NP_POLICY_LEAST_EXACT || policy == NP_POLICY_P2C_EXACT))
		return NP_POLICY_P2C;
	return policy;
}

static __always_inline bool is_exact(const struct run *r)
{
	return sees_queues(r) && (r->s->policy == NP_POLICY_LEAST_EXACT || r->s->policy == NP_POLICY_P2C_EXACT);
}

/* Whether the policy's own choice is fit. */
static __always_inline bool choose_first(struct run *r)
{
	return is_exact(r) ? exact_choice(r) : consider_one(r, first_choice(r));
}

static __always_inline void choose(struct run *r)
{
	__u32 i;

	if (r->s->policy == NP_POLICY_RANDOM)
		r->s->hash = input_random(r);
	if (!r->s->roster || choose_first(r))
		return;
	COUNT(r->stats->retried);
	for (i = 1; i < (r->old ? OLD_DRAWS : DRAWS); i++)
		if (consider_one(r, next_choice(r, i)))
			return;
	if (!r->old)
		walk(r);
}

static __always_inline bool refuses(const struct np_config *c)
{
	return c->on_exhausted == NP_EXHAUSTED_RST && c->rst_confirm == NP_RST_CONFIRM;
}

#endif

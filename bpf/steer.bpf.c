/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * steer: give each new TCP connection of one address to a fit worker
 *
 * One instance of this program serves one group (one address), because a socket of another group
 * cannot be selected; all instances share the maps.
 *
 *   1. What is it? A SYN, a migrating connection, an ACK that may complete a SYN cookie, or a
 *      stray packet, for which nothing is selected.
 *   2. candidate() names the policy's workers, best first.
 *   3. fit_of() judges each, by its words alone: ready, hung, draining, out.
 *   4. One that is better than what is selected so far is selected on trial: it may have no
 *      listener in this group.
 *   5. The first fit one ends the search. Else the least bad one found stays selected.
 *   6. Exactly one verdict is counted.
 *
 * A reader would get wrong: a trial cannot be undone, the last successful select is what SK_PASS
 * means. So a candidate is tried only if it is better than the one that is selected already.
 * Without any, SK_PASS is the kernel's own hash over every socket of the port. Anything but
 * SK_PASS is an RST; a migrating connection is established, and never dropped.
 */
#include <linux/bpf.h>
#include <stdbool.h>

#include <bpf/bpf_helpers.h>

#include "steer_abi.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The group this instance serves. Set before it is loaded, constant to the verifier. */
const volatile __u32 np_group;

/*
 * Draws before the search becomes a walk over the whole roster. Before 5.13 no callback can do the
 * walk, and a loop of that many turns is more than the verifier takes from CAP_BPF alone: there
 * the search ends with the draws.
 */
#define DRAWS     4
#define OLD_DRAWS 16

#define SOCKARRAY(map, entries)                             \
	struct {                                            \
		__uint(type, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY); \
		__type(key, __u32);                         \
		__type(value, __u64);                       \
		__uint(max_entries, entries);               \
	} map SEC(".maps")

#define MAP(map, map_type, key_type, value_type, entries, flags) \
	struct {                                            \
		__uint(type, map_type);                     \
		__type(key, key_type);                      \
		__type(value, value_type);                  \
		__uint(max_entries, entries);               \
		__uint(map_flags, flags);                   \
	} map SEC(".maps")

SOCKARRAY(np_socks, NP_SLOTS);
SOCKARRAY(np_claims, NP_WORKERS);
MAP(np_workers, BPF_MAP_TYPE_ARRAY, __u32, struct np_worker_line, NP_WORKERS, BPF_F_MMAPABLE);
MAP(np_ctl, BPF_MAP_TYPE_ARRAY, __u32, struct np_worker_ctl, NP_WORKERS, BPF_F_MMAPABLE);
MAP(np_service, BPF_MAP_TYPE_ARRAY, __u32, struct np_service_ctl, 1, BPF_F_MMAPABLE);
MAP(np_config, BPF_MAP_TYPE_ARRAY, __u32, struct np_config, 1, BPF_F_MMAPABLE);
MAP(np_info, BPF_MAP_TYPE_ARRAY, __u32, struct np_worker_info, NP_WORKERS, 0);
MAP(np_groups, BPF_MAP_TYPE_ARRAY, __u32, struct np_group, NP_GROUPS, BPF_F_MMAPABLE);
MAP(np_roster, BPF_MAP_TYPE_ARRAY, __u32, __u32, NP_SLOTS, BPF_F_MMAPABLE);
MAP(np_owners, BPF_MAP_TYPE_HASH, __u64, __u32, NP_SLOTS, 0);
MAP(np_cpu2worker, BPF_MAP_TYPE_ARRAY, __u32, __u32, NP_CPUS, 0);
MAP(np_cursor, BPF_MAP_TYPE_ARRAY, __u32, struct np_cursor, NP_GROUPS, 0);
MAP(np_health, BPF_MAP_TYPE_ARRAY, __u32, struct np_health, NP_WORKERS, BPF_F_MMAPABLE);
MAP(np_stats, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct np_verdicts, 1, 0);
MAP(np_worker_stats, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct np_slot_stats, NP_SLOTS, 0);

#include "steer_bell.h"

enum packet {
	PACKET_SYN,
	PACKET_ACK,   /* of a SYN cookie, or a stray */
	PACKET_STRAY, /* neither: RST, FIN, SYN-ACK of nobody's connection */
};

/* How fit a worker is: smaller is better. */
enum fit {
	FIT_READY    = 2 * NP_WORKER_READY,
	FIT_HUNG,
	FIT_DRAINING = 2 * NP_WORKER_DRAINING,
	FIT_NONE     = 2 * NP_WORKER_OUT, /* and above: not to be selected */
};

/*
 * What a run looks for and what it has found. It lies in a map, not on the stack, because of the
 * verifier: it follows a value on the stack through every turn of every loop, with all the values
 * it may have had (243 000 instructions for this program), and knows nothing of one in a map
 * (3 600). Runs do not nest on one CPU: they are all in softirq context.
 */
struct search {
	__u64 now;    /* 0: the clock has not been read */
	__u64 fit;    /* of the selected worker */
	__u32 worker; /* the selected one, if fit says that there is one */
	__u32 hash;
	__u32 roster; /* candidates: entries of the group's roster */
	__u32 policy;
	__u32 step;   /* of the walk */
	__u32 _reserved;
};

MAP(np_search, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct search, 1, 0);

struct run {
	struct sk_reuseport_md *md;
	const struct np_config *cfg;
	struct np_verdicts *stats;
	volatile struct search *s;
	bool old; /* for kernels before 5.14: compile-time constant */
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

#define TCP_FLAGS 13 /* offset of the flag byte in the TCP header */
#define TH_FIN 0x01
#define TH_SYN 0x02
#define TH_RST 0x04
#define TH_ACK 0x10

static __always_inline enum packet packet_of(struct sk_reuseport_md *md)
{
	__u8 *data = md->data, flags = 0;

	if (data + TCP_FLAGS + 1 <= (__u8 *)md->data_end)
		flags = data[TCP_FLAGS];
	else
		bpf_skb_load_bytes(md, TCP_FLAGS, &flags, 1);

	if ((flags & (TH_SYN | TH_ACK | TH_RST)) == TH_SYN)
		return PACKET_SYN;
	if ((flags & (TH_SYN | TH_ACK | TH_RST | TH_FIN)) == TH_ACK)
		return PACKET_ACK;
	return PACKET_STRAY;
}

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

/* rr advances for each candidate: a worker passed over costs its neighbour nothing extra. */
static __always_inline __u32 next_turn(const struct run *r)
{
	__u32 g = np_group;
	struct np_cursor *c = bpf_map_lookup_elem(&np_cursor, &g);
	__u64 n;

	if (!c)
		return 0;
	if (r->old) {
		/* No atomic returns a value before 5.12: two CPUs may read the same turn. */
		n = *(volatile __u64 *)&c->next;
		__sync_fetch_and_add(&c->next, 1);
	} else {
		n = __sync_fetch_and_add(&c->next, 1);
	}
	return n % r->s->roster;
}

/* Candidates are workers' numbers plus one; 0 is none. */
static __always_inline __u32 on_roster(__u32 i)
{
	__u32 slot = NP_SLOT(np_group, i);
	__u32 *w1 = bpf_map_lookup_elem(&np_roster, &slot);

	return w1 ? *(volatile __u32 *)w1 : 0;
}

static __always_inline __u32 of_this_cpu(void)
{
	__u32 cpu = bpf_get_smp_processor_id();
	__u32 *w1 = bpf_map_lookup_elem(&np_cpu2worker, &cpu);

	return w1 ? *(volatile __u32 *)w1 : 0;
}

/* What the policy wants. A CPU that no worker serves falls to the hash. */
static __always_inline __u32 first_choice(const struct run *r)
{
	__u32 w1 = r->s->policy == NP_POLICY_CPU ? of_this_cpu() : 0;

	if (w1)
		return w1;
	if (r->s->policy == NP_POLICY_RR)
		return on_roster(next_turn(r));
	return on_roster(below(rehash(r->s->hash, 0), r->s->roster));
}

/*
 * The @i-th choice after that is another draw of the same flow: never the neighbour, which would
 * inherit everything.
 */
static __always_inline __u32 next_choice(const struct run *r, __u32 i)
{
	if (r->s->policy == NP_POLICY_RR)
		return on_roster(next_turn(r));
	return on_roster(below(rehash(r->s->hash, i), r->s->roster));
}

/* Whether a worker busy since then hangs. The clock is read once a run, and seldom at all. */
static __always_inline bool is_hung(struct run *r, __u64 busy_since_ns)
{
	__u64 limit = (__u64)r->cfg->hang_ms * 1000000;

	if (!busy_since_ns || !limit)
		return false;
	if (!r->s->now)
		r->s->now = r->old ? bpf_ktime_get_ns() : bpf_ktime_get_coarse_ns();
	/* The stamp may be of a later tick than ours. */
	return r->s->now > busy_since_ns && r->s->now - busy_since_ns > limit;
}

/* How fit worker @w is, by its words alone. */
static __always_inline __u64 fit_of(struct run *r, __u32 w)
{
	struct np_worker_ctl *ctl = bpf_map_lookup_elem(&np_ctl, &w);
	struct np_worker_line *line = bpf_map_lookup_elem(&np_workers, &w);
	__u64 state;

	if (!ctl || !line)
		return FIT_NONE;
	state = *(volatile __u32 *)&ctl->state;
	if (state != NP_WORKER_READY) {
		COUNT(r->stats->skipped_away);
		return 2 * state;
	}
	if (!is_hung(r, *(volatile __u64 *)&line->busy_since_ns))
		return FIT_READY;
	COUNT(r->stats->skipped_hung);
	return FIT_HUNG;
}

/* Whether @w1 ends the search: it is fit, and now selected. */
static __always_inline bool consider(struct run *r, __u32 w1)
{
	__u32 w = w1 - 1, slot = NP_SLOT(np_group, w);
	__u64 fit;

	if (w >= NP_WORKERS)
		return false;
	fit = fit_of(r, w);
	if (fit >= r->s->fit)
		return false;
	if (bpf_sk_select_reuseport(r->md, &np_socks, &slot, 0)) {
		COUNT(r->stats->skipped_empty);
		return false;
	}
	r->s->fit = fit;
	r->s->worker = w;
	return fit == FIT_READY;
}

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
		return true; /* and no branch of its own for i >= roster: see on_roster() */
	i = rehash(r->s->hash, DRAWS) + i * (rehash(r->s->hash, DRAWS + 1) | 1);
	return consider(r, on_roster(i & mask));
}

/* A callback of bpf_for_each_map_elem(), which is verified once; the map gives the turns, no more. */
static long walk_turn(void *map, const void *key, void *value, struct run *r)
{
	return walk_step(r);
}

static __always_inline void choose(struct run *r)
{
	__u32 i;

	if (!r->s->roster || consider(r, first_choice(r)))
		return;
	COUNT(r->stats->retried);
	for (i = 1; i < (r->old ? OLD_DRAWS : DRAWS); i++)
		if (consider(r, next_choice(r, i)))
			return;
	if (!r->old)
		bpf_for_each_map_elem(&np_ctl, walk_turn, r, 0);
}

static __always_inline struct np_slot_stats *slot_stats(const struct run *r)
{
	__u32 slot = NP_SLOT(np_group, r->s->worker);

	return r->s->fit < FIT_NONE ? bpf_map_lookup_elem(&np_worker_stats, &slot) : NULL;
}

/* The one place where a SYN gets its verdict. */
static __always_inline int verdict_syn(struct run *r)
{
	struct np_slot_stats *s = slot_stats(r);

	COUNT(r->stats->syn_total);
	if (r->s->fit == FIT_READY) {
		COUNT(r->stats->steered);
		if (s)
			COUNT(s->steered);
		return SK_PASS;
	}
	if (r->cfg->on_exhausted == NP_EXHAUSTED_RST && r->cfg->rst_confirm == NP_RST_CONFIRM) {
		COUNT(r->stats->rejected_rst);
		return SK_DROP;
	}
	COUNT(r->stats->fallback_hash);
	if (s)
		COUNT(s->fallback);
	else
		COUNT(r->stats->fallback_none);
	return SK_PASS;
}

static __always_inline int verdict_nonsyn(struct run *r)
{
	struct np_slot_stats *s = slot_stats(r);

	COUNT(r->stats->nonsyn_total);
	if (s)
		COUNT(s->nonsyn);
	return SK_PASS;
}

/* Who loses the connection is known by the cookie of the listener that closed. */
static __always_inline int verdict_migrated(struct run *r, __u64 from_cookie, bool child)
{
	__u32 *slot = bpf_map_lookup_elem(&np_owners, &from_cookie), from;
	struct np_slot_stats *s = slot_stats(r);

	if (child)
		COUNT(r->stats->migrated_child);
	else
		COUNT(r->stats->migrated_request);
	if (s)
		COUNT(s->migrated_in);
	else
		COUNT(r->stats->migrated_none);
	if (slot) {
		from = *slot;
		s = bpf_map_lookup_elem(&np_worker_stats, &from);
		if (s)
			COUNT(s->migrated_out);
	}
	return SK_PASS;
}

/* False only where a map is missing, which the loader rules out. */
static __always_inline bool run_init(struct run *r)
{
	__u32 zero = 0, g = np_group, n;
	struct np_group *group = bpf_map_lookup_elem(&np_groups, &g);

	r->cfg = bpf_map_lookup_elem(&np_config, &zero);
	r->stats = bpf_map_lookup_elem(&np_stats, &zero);
	r->s = bpf_map_lookup_elem(&np_search, &zero);
	if (!group || !r->cfg || !r->stats || !r->s)
		return false;
	n = *(volatile __u32 *)&group->workers;
	r->s->roster = n < NP_WORKERS ? n : NP_WORKERS;
	r->s->policy = *(volatile __u32 *)&r->cfg->policy;
	r->s->hash = r->md->hash ^ r->cfg->seed;
	r->s->fit = FIT_NONE;
	r->s->step = 0;
	r->s->now = 0;
	return true;
}

static __always_inline int steer_packet(struct run *r)
{
	enum packet p = packet_of(r->md);

	if (p == PACKET_STRAY)
		return verdict_nonsyn(r);
	/*
	 * An ACK takes no turn: a late one of a connection that has gone would cost some worker its
	 * own, and with SYN cookies, where each connection is chosen for twice, every other worker
	 * of an even number would get nothing.
	 */
	if (p == PACKET_ACK && r->s->policy == NP_POLICY_RR)
		r->s->policy = NP_POLICY_HASH;
	choose(r);
	if (!r->old)
		ring_bell();
	return p == PACKET_SYN ? verdict_syn(r) : verdict_nonsyn(r);
}

/* Neither the policy nor on_exhausted: the connection exists, and there may be no packet. */
static __always_inline int steer_migrating(struct run *r, struct bpf_sock *sk)
{
	bool child = sk->state != BPF_TCP_NEW_SYN_RECV;
	__u64 from = bpf_get_socket_cookie(r->md->sk);

	r->s->policy = NP_POLICY_HASH;
	choose(r);
	return verdict_migrated(r, from, child);
}

/* Linux 5.14 and later: also asked when a listener closes with connections in its queues. */
SEC("?sk_reuseport/migrate")
int np_steer(struct sk_reuseport_md *md)
{
	struct run r = { .md = md, .old = false };
	struct bpf_sock *sk = md->migrating_sk;

	if (!run_init(&r))
		return SK_PASS;
	return sk ? steer_migrating(&r, sk) : steer_packet(&r);
}

/* Linux 5.8 and later. The kernel resets what a closing listener has queued. */
SEC("?sk_reuseport")
int np_steer_plain(struct sk_reuseport_md *md)
{
	struct run r = { .md = md, .old = true };

	return run_init(&r) ? steer_packet(&r) : SK_PASS;
}

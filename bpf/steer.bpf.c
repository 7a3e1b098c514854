/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * steer: give each new TCP connection of one address to a fit worker
 *
 * One instance of this program serves one group (one address), because a socket of another group
 * cannot be selected; all instances share the maps.
 *
 *   1. What is it? A SYN, a migrating connection, an ACK that may complete a SYN cookie, or a
 *      stray packet, for which nothing is selected.
 *   2. choose() selects a worker: steer_choose.h.
 *   3. Exactly one verdict is counted.
 *
 * Compiled for each level of the ladder. As it stands it is for level 3, Linux 5.14 and later. steer_exact.bpf.c
 * (level 4) reads the listeners' queues, and needs BTF, two kfuncs and CAP_PERFMON; steer_old.bpf.c (level 2,
 * Linux 5.8) has to do without migration, callbacks and some helpers.
 *
 * A reader would get wrong: where nothing was selected, SK_PASS is the kernel's own hash over every
 * socket of the port. Anything but SK_PASS is an RST; a migrating connection is established, and never
 * dropped.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "steer_abi.h"

#ifndef STEER_LEVEL
#define STEER_LEVEL 3
#endif

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The group this instance serves. Set before it is loaded, constant to the verifier. */
const volatile __u32 np_group;

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
MAP(np_table, BPF_MAP_TYPE_ARRAY, __u32, struct np_table, 2 * NP_GROUPS, 0);
MAP(np_cursor, BPF_MAP_TYPE_ARRAY, __u32, struct np_cursor, NP_GROUPS, 0);
MAP(np_health, BPF_MAP_TYPE_ARRAY, __u32, struct np_health, NP_WORKERS, BPF_F_MMAPABLE);
MAP(np_stats, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct np_verdicts, 1, 0);
MAP(np_worker_stats, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct np_slot_stats, NP_SLOTS, 0);

#include "steer_bell.h"
#include "steer_choose.h"
#include "steer_trace.h"
#include "steer_queue.h"

enum packet {
	PACKET_SYN,
	PACKET_ACK,   /* of a SYN cookie, or a stray */
	PACKET_STRAY, /* neither: RST, FIN, SYN-ACK of nobody's connection */
};

MAP(np_search, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct search, 1, 0);

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

/* False only where a map is missing, which the loader rules out. */
static __always_inline bool run_open(struct run *r)
{
	__u32 zero = 0;

	r->cfg = bpf_map_lookup_elem(&np_config, &zero);
	r->stats = bpf_map_lookup_elem(&np_stats, &zero);
	r->s = bpf_map_lookup_elem(&np_search, &zero);
	return r->cfg && r->stats && r->s;
}

/*
 * Functions that are not static are verified once, whatever their callers know: following each way through
 * each candidate of each policy takes the verifier seconds, and more jumps than it allows. Pointers into maps
 * may be passed to them since Linux 5.12.
 */
#if STEER_LEVEL >= 3
#define RUN_PARAMS struct sk_reuseport_md *md, struct np_config *cfg, struct np_verdicts *stats, struct search *s
#define RUN_ARGS(r) (r)->md, (struct np_config *)(r)->cfg, (r)->stats, (struct search *)(r)->s
#define RUN_TAKE(r)                                                             \
	struct run r = { .md = md, .cfg = cfg, .stats = stats, .s = s };        \
	if (!cfg || !stats || !s)                                               \
	return 0
#else
#define RUN_PARAMS struct sk_reuseport_md *md
#define RUN_ARGS(r) (r)->md
#define RUN_TAKE(r)                                                             \
	struct run r = { .md = md };                                            \
	if (!run_open(&r))                                                      \
	return 0
#endif

/* ------------------------------------------------------------------ inputs */

static __always_inline __u32 input_roster(struct run *r, __u32 i)
{
	__u32 slot = NP_SLOT(np_group, i);
	__u32 *at = bpf_map_lookup_elem(&np_roster, &slot), w1;

	w1 = at ? *(volatile __u32 *)at : 0;
	note(r, NP_INPUT_ROSTER, i, w1);
	return w1;
}

static __always_inline __u32 input_cpu(struct run *r)
{
	__u32 cpu = bpf_get_smp_processor_id();
	__u32 *at = bpf_map_lookup_elem(&np_cpu2worker, &cpu), w1;

	w1 = at ? *(volatile __u32 *)at : 0;
	note(r, NP_INPUT_CPU, cpu, w1);
	return w1;
}

static __always_inline __u64 input_turn(struct run *r)
{
	__u32 g = np_group;
	struct np_cursor *c = bpf_map_lookup_elem(&np_cursor, &g);
	__u64 n;

	if (!c)
		return 0;
	if (is_old(r)) {
		/* No atomic returns a value before 5.12: two CPUs may read the same turn. */
		n = *(volatile __u64 *)&c->next;
		__sync_fetch_and_add(&c->next, 1);
	} else {
		n = __sync_fetch_and_add(&c->next, 1);
	}
	note(r, NP_INPUT_TURN, 0, n);
	return n;
}

static __always_inline __u64 input_now(struct run *r)
{
	__u64 now = is_old(r) ? bpf_ktime_get_ns() : bpf_ktime_get_coarse_ns();

	note(r, NP_INPUT_NOW, 0, now);
	return now;
}

static __always_inline __u64 input_state(struct run *r, __u32 w)
{
	struct np_worker_ctl *ctl = bpf_map_lookup_elem(&np_ctl, &w);
	__u64 state = ctl ? *(volatile __u32 *)&ctl->state : NP_WORKER_OUT;

	note(r, NP_INPUT_STATE, w, state);
	return state;
}

static __always_inline __u64 input_busy(struct run *r, __u32 w)
{
	struct np_worker_line *line = bpf_map_lookup_elem(&np_workers, &w);
	__u64 since = line ? *(volatile __u64 *)&line->busy_since_ns : 0;

	note(r, NP_INPUT_BUSY, w, since);
	return since;
}

static __always_inline __u32 input_random(struct run *r)
{
	__u32 bits = bpf_get_prandom_u32();

	note(r, NP_INPUT_RANDOM, 0, bits);
	return bits;
}

/* Low 40 bits: connections; above: weight. */
static __always_inline __u64 published_load(__u32 w)
{
	struct np_worker_line *line = bpf_map_lookup_elem(&np_workers, &w);
	struct np_worker_ctl *ctl = bpf_map_lookup_elem(&np_ctl, &w);
	__u64 load = line ? *(volatile __u64 *)&line->conns & (((__u64)1 << 40) - 1) : 0;

	if (ctl)
		load |= (__u64)*(volatile __u32 *)&ctl->weight << 40;
	return load;
}

static __always_inline __u64 input_load(struct run *r, __u32 w)
{
	__u64 load = published_load(w);

	note(r, NP_INPUT_LOAD, w, load);
	return load;
}

static __always_inline __u64 input_since(struct run *r, __u32 w)
{
	struct np_worker_ctl *ctl = bpf_map_lookup_elem(&np_ctl, &w);
	__u64 since = ctl ? *(volatile __u64 *)&ctl->ready_since_ns : 0;

	note(r, NP_INPUT_SINCE, w, since);
	return since;
}

__attribute__((noinline)) __u64 steer_input_set(RUN_PARAMS, __u32 word)
{
	__u32 zero = 0;
	struct np_service_ctl *service = bpf_map_lookup_elem(&np_service, &zero);
	__u64 set = service && word < NP_WORKERS / 64 ? *(volatile __u64 *)&service->set[word] : 0;

	RUN_TAKE(r);
	note(&r, NP_INPUT_SET, word, set);
	return set;
}

static __always_inline __u64 input_set(struct run *r, __u32 word)
{
	return steer_input_set(RUN_ARGS(r), word);
}

#define IPV4_SADDR 12 /* offsets of the source in the header */
#define IPV6_SADDR 8

/* What cannot be read leaves zeroes: the same for every client, and so for one worker, until that is full. */
static __always_inline __u32 input_client(struct run *r)
{
	__u32 addr[4] = { 0 }, hash = r->cfg->seed, i;

	if (r->md->eth_protocol == bpf_htons(ETH_P_IPV6))
		bpf_skb_load_bytes_relative(r->md, IPV6_SADDR, addr, sizeof addr, BPF_HDR_START_NET);
	else
		bpf_skb_load_bytes_relative(r->md, IPV4_SADDR, addr, sizeof addr[0], BPF_HDR_START_NET);
	for (i = 0; i < 4; i++)
		hash = rehash(hash ^ addr[i], i + 1);
	note(r, NP_INPUT_CLIENT, 0, hash);
	return hash;
}

__attribute__((noinline)) int steer_input_table(RUN_PARAMS, __u32 i)
{
	__u32 g = np_group, w1 = 0;
	struct np_group *group = bpf_map_lookup_elem(&np_groups, &g);
	struct np_table *table;

	RUN_TAKE(r);
	i &= NP_TABLE - 1;
	if (group) {
		g = 2 * g + *(volatile __u32 *)&group->table - 1;
		table = bpf_map_lookup_elem(&np_table, &g);
		w1 = table ? *(volatile __u16 *)&table->w1[i] : 0;
	}
	note(&r, NP_INPUT_TABLE, i, w1);
	return (int)w1;
}

static __always_inline __u32 input_table(struct run *r, __u32 i)
{
	return (__u32)steer_input_table(RUN_ARGS(r), i);
}

/*
 * Each run adds one worker's words, in turn: the mean is as old as the group's workers are many. A worker that
 * takes nothing has no share in it.
 */
static __always_inline __u64 input_mean(struct run *r)
{
	__u32 slot = NP_SLOT(np_group, r->s->turn++ & (NP_WORKERS - 1)), w;
	__u32 *at = bpf_map_lookup_elem(&np_roster, &slot);
	struct np_worker_ctl *ctl;
	__u64 load;

	w = at ? *(volatile __u32 *)at - 1 : NP_WORKERS;
	ctl = bpf_map_lookup_elem(&np_ctl, &w);
	if (ctl && *(volatile __u32 *)&ctl->state == NP_WORKER_READY) {
		load = published_load(w);
		r->s->conns += (load & (((__u64)1 << 40) - 1)) + 1;
		r->s->weights += load >> 40 ? load >> 40 : WEIGHT_DEFAULT;
	}
	if (r->s->turn >= r->s->roster) {
		r->s->mean = r->s->weights ? (r->s->conns << LOAD_UNIT) / r->s->weights : 0;
		r->s->turn = 0;
		r->s->conns = 0;
		r->s->weights = 0;
	}
	note(r, NP_INPUT_MEAN, 0, r->s->mean);
	return r->s->mean;
}

static __always_inline bool try_select(struct run *r, __u32 w)
{
	__u32 slot = NP_SLOT(np_group, w);
	bool there = !bpf_sk_select_reuseport(r->md, &np_socks, &slot, 0);

	note(r, NP_INPUT_SELECT, w, there);
	return there;
}

static __always_inline bool sees_queues(const struct run *r)
{
	return STEER_LEVEL >= 4;
}

static __always_inline bool is_old(const struct run *r)
{
	return STEER_LEVEL < 3;
}

static __always_inline __u64 input_queue(struct run *r, __u32 w)
{
	__u64 queue = queue_of_selected(r->md);

	note(r, NP_INPUT_QUEUE, w, queue);
	return queue;
}

#if STEER_LEVEL >= 3

/* A callback of bpf_for_each_map_elem(), which is verified once; the map gives the turns, no more. */
static long walk_turn(void *map, const void *key, void *value, struct run *r)
{
	return walk_step(r);
}

static __always_inline void walk(struct run *r)
{
	bpf_for_each_map_elem(&np_ctl, walk_turn, r, 0);
}

static long scan_turn(void *map, const void *key, void *value, struct run *r)
{
	return scan_step(r);
}

static __always_inline void scan(struct run *r)
{
	bpf_for_each_map_elem(&np_ctl, scan_turn, r, 0);
}

#else

static __always_inline void walk(struct run *r)
{
}

static __always_inline void scan(struct run *r)
{
}

#endif

__attribute__((noinline)) int steer_weigh(RUN_PARAMS, __u32 w1)
{
	RUN_TAKE(r);
	weigh(&r, w1);
	return 0;
}

static __always_inline void weigh_one(struct run *r, __u32 w1)
{
	steer_weigh(RUN_ARGS(r), w1);
}

__attribute__((noinline)) int steer_weigh_own(RUN_PARAMS)
{
	RUN_TAKE(r);
	weigh_own(&r);
	return 0;
}

static __always_inline void weigh_own_once(struct run *r)
{
	steer_weigh_own(RUN_ARGS(r));
}

__attribute__((noinline)) int steer_published(RUN_PARAMS, __u32 i)
{
	RUN_TAKE(r);
	return (int)published(&r, i);
}

static __always_inline __u32 published_one(struct run *r, __u32 i)
{
	return (__u32)steer_published(RUN_ARGS(r), i);
}

__attribute__((noinline)) int steer_consider(RUN_PARAMS, __u32 w1)
{
	RUN_TAKE(r);
	return consider(&r, w1);
}

static __always_inline bool consider_one(struct run *r, __u32 w1)
{
	return steer_consider(RUN_ARGS(r), w1);
}

/* The first is the last, nearly always. At level 4 a copy of its own doubles what there is to verify. */
static __always_inline bool consider_first(struct run *r, __u32 w1)
{
	return sees_queues(r) ? consider_one(r, w1) : consider(r, w1);
}

/* Else what comes of a choice would be verified after each of the ways to it. */
__attribute__((noinline)) int steer_choose(RUN_PARAMS)
{
	RUN_TAKE(r);
	choose(&r);
	return 0;
}

/* ------------------------------------------------------------------ verdicts */

static __always_inline struct np_slot_stats *slot_stats(const struct run *r)
{
	__u32 slot = NP_SLOT(np_group, r->s->worker);

	return r->s->fit < FIT_NONE ? bpf_map_lookup_elem(&np_worker_stats, &slot) : NULL;
}

/* For people to look at, who cannot see the half-open ones otherwise. */
static __always_inline void show_queue(struct run *r, struct np_slot_stats *s)
{
	s->accept_queue = NP_QUEUE_ACCEPT(r->s->queue);
	s->syn_queue = NP_QUEUE_SYN(r->s->queue);
	s->seen_jiffies = bpf_jiffies64();
}

/* A full listener drops a SYN without a word, and the client tries again: no verdict of ours can. */
static __always_inline bool sheds(struct run *r)
{
	__u32 slot = NP_SLOT(np_group, r->s->full1 - 1);

	return r->cfg->on_exhausted == NP_EXHAUSTED_FULL_QUEUE && r->s->full1 &&
	       !bpf_sk_select_reuseport(r->md, &np_socks, &slot, 0);
}

/* The one place where a SYN gets its verdict. */
static __always_inline int verdict_syn(struct run *r)
{
	struct np_slot_stats *s = slot_stats(r);

	COUNT(r->stats->syn_total);
	if (s && sees_queues(r))
		show_queue(r, s);
	if (r->s->fit == FIT_READY) {
		trace_end(r, NP_VERDICT_STEERED);
		COUNT(r->stats->steered);
		if (s)
			COUNT(s->steered);
		return SK_PASS;
	}
	if (refuses(r->cfg)) {
		trace_end(r, NP_VERDICT_RST);
		COUNT(r->stats->rejected_rst);
		return SK_DROP;
	}
	if (sees_queues(r) && sheds(r)) {
		trace_end(r, NP_VERDICT_SHED);
		COUNT(r->stats->shed_full);
		return SK_PASS;
	}
	trace_end(r, NP_VERDICT_FALLBACK);
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

static __always_inline bool run_init(struct run *r)
{
	struct np_group *group;
	__u32 g = np_group, n;

	group = bpf_map_lookup_elem(&np_groups, &g);
	if (!group || !run_open(r))
		return false;
	n = *(volatile __u32 *)&group->workers;
	r->s->roster = n < NP_WORKERS ? n : NP_WORKERS;
	r->s->policy = rule_of(r, *(volatile __u32 *)&r->cfg->policy);
	r->s->hash = r->md->hash ^ r->cfg->seed;
	r->s->fit = FIT_NONE;
	r->s->step = 0;
	r->s->best = 0;
	r->s->least = 0;
	r->s->full1 = 0;
	r->s->now = 0;
	trace_begin(r);
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
	steer_choose(RUN_ARGS(r));
	if (!is_old(r))
		ring_bell();
	if (p == PACKET_SYN)
		return verdict_syn(r);
	trace_end(r, NP_VERDICT_NONSYN);
	return verdict_nonsyn(r);
}

#if STEER_LEVEL >= 3

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

/* Neither the policy nor on_exhausted: the connection exists, and there may be no packet. */
static __always_inline int steer_migrating(struct run *r, struct bpf_sock *sk)
{
	bool child = sk->state != BPF_TCP_NEW_SYN_RECV;
	__u64 from = bpf_get_socket_cookie(r->md->sk);

	r->s->policy = rule_of(r, sees_queues(r) ? NP_POLICY_P2C_EXACT : NP_POLICY_HASH);
	steer_choose(RUN_ARGS(r));
	trace_end(r, NP_VERDICT_MIGRATED);
	return verdict_migrated(r, from, child);
}

/* Also asked when a listener closes with connections in its queues. */
SEC("?sk_reuseport/migrate")
int np_steer(struct sk_reuseport_md *md)
{
	struct run r = { .md = md };
	struct bpf_sock *sk = md->migrating_sk;

	if (!run_init(&r))
		return SK_PASS;
	return sk ? steer_migrating(&r, sk) : steer_packet(&r);
}

#else

/* The kernel resets what a closing listener has queued. */
SEC("?sk_reuseport")
int np_steer(struct sk_reuseport_md *md)
{
	struct run r = { .md = md };

	return run_init(&r) ? steer_packet(&r) : SK_PASS;
}

#endif

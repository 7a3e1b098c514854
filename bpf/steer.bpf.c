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
 * Compiled for each level of the ladder. As it stands it is for level 3, Linux 5.14 and later.
 * steer_exact.bpf.c (level 4) reads the listeners' queues, and needs BTF, two kfuncs and
 * CAP_PERFMON; steer_old.bpf.c (level 2, Linux 5.8) has to do without migration, callbacks and some
 * helpers.
 *
 * A reader would get wrong: where nothing was selected, SK_PASS is the kernel's own hash over every
 * socket of the port. Anything but SK_PASS is an RST; a migrating connection is established, and
 * never dropped.
 */
#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_helpers.h>

#include "steer_abi.h"
#include "steer_bell.h"
#include "steer_choose.h"
#include "steer_input.h"
#include "steer_level.h"
#include "steer_maps.h"
#include "steer_policy.h"
#include "steer_run.h"
#include "steer_search.h"
#include "steer_trace.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

enum packet {
	PACKET_SYN,
	PACKET_ACK,   /* of a SYN cookie, or a stray */
	PACKET_STRAY, /* neither: RST, FIN, SYN-ACK of nobody's connection */
};

#define TCP_FLAGS 13 /* offset of the flag byte in the TCP header */
#define TH_FIN    0x01
#define TH_SYN    0x02
#define TH_RST    0x04
#define TH_ACK    0x10

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

/* ------------------------------------------------------------------ verdicts */

static __always_inline struct np_slot_stats *slot_stats(const struct run *r)
{
	__u32 slot = NP_SLOT(np_group, r->s->worker);

	return r->s->fit < FIT_NONE ? bpf_map_lookup_elem(&np_worker_stats, &slot) : NULL;
}

/* For people to look at, who cannot see the half-open ones otherwise. */
static __always_inline void show_queue(struct run *r, struct np_slot_stats *s)
{
	if (!run_sees_queues(r))
		return;
	s->accept_queue = NP_QUEUE_ACCEPT(r->s->queue);
	s->syn_queue = NP_QUEUE_SYN(r->s->queue);
	s->seen_jiffies = bpf_jiffies64();
}

/*
 * A full listener drops a SYN without a word, and the client tries again: no verdict of ours can.
 */
static __always_inline bool sheds(struct run *r)
{
	__u32 slot = NP_SLOT(np_group, r->s->full1 - 1);

	return r->cfg->on_exhausted == NP_EXHAUSTED_FULL_QUEUE && r->s->full1 &&
	       !bpf_sk_select_reuseport(r->md, &np_socks, &slot, 0);
}

static __always_inline bool refuses(const struct np_config *c)
{
	return c->on_exhausted == NP_EXHAUSTED_RST && c->rst_confirm == NP_RST_CONFIRM;
}

/*
 * Whether nobody is there to take a SYN. Half-open connections are no reason to say so: a flood of
 * them would have every client refused, whom SYN cookies serve.
 */
static __always_inline bool is_exhausted(const struct run *r)
{
	return !run_sees_queues(r) || r->s->fit != FIT_CROWDED;
}

/* The one place where a SYN gets its verdict. */
static __always_inline int verdict_syn(struct run *r)
{
	struct np_slot_stats *s = slot_stats(r);

	COUNT(r->stats->syn_total);
	if (r->s->fit == FIT_READY) {
		trace_end(r, NP_VERDICT_STEERED);
		COUNT(r->stats->steered);
		if (run_sees_queues(r) && r->s->spent_ns)
			r->s->spent_ns = 0;
		if (s) {
			COUNT(s->steered);
			show_queue(r, s);
		}
		return SK_PASS;
	}
	if (refuses(r->cfg) && is_exhausted(r)) {
		trace_end(r, NP_VERDICT_RST);
		COUNT(r->stats->rejected_rst);
		return SK_DROP;
	}
	if (run_sees_queues(r) && is_exhausted(r) && sheds(r)) {
		trace_end(r, NP_VERDICT_SHED);
		COUNT(r->stats->shed_full);
		return SK_PASS;
	}
	trace_end(r, NP_VERDICT_FALLBACK);
	COUNT(r->stats->fallback_hash);
	if (s) {
		COUNT(s->fallback);
		show_queue(r, s);
	} else {
		COUNT(r->stats->fallback_none);
	}
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
	n = READ_ONCE(group->workers);
	r->s->roster = n < NP_WORKERS ? n : NP_WORKERS;
	r->s->policy = rule_of(r, READ_ONCE(r->cfg->policy));
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
	if (!run_is_old(r))
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

	r->s->spent_ns = 0; /* no client sends this one again */
	r->s->policy = rule_of(r, run_sees_queues(r) ? NP_POLICY_P2C_EXACT : NP_POLICY_HASH);
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

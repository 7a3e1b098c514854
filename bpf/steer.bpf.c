/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * steer: give each new TCP connection of one address to a fit worker
 *
 * One program serves one group (one address), because a socket of another group cannot be selected:
 * np_steer_0, np_steer_1, ..., which are the same but for that number; all share the maps.
 *
 *   1. What is it? A SYN, a migrating connection, an ACK that may complete a SYN cookie, or a
 *      stray packet, for which nothing is selected.
 *   2. choose() selects a worker: steer_choose.h.
 *   3. Exactly one verdict is counted.
 *
 * Compiled for each level of the ladder. As it stands it is for level 3, Linux 5.14 and later.
 * steer_l4.bpf.c (level 4) reads the listeners' queues, and needs BTF, two kfuncs and
 * CAP_PERFMON; steer_l2.bpf.c (level 2, Linux 5.8) has to do without migration, callbacks and some
 * helpers.
 *
 * Where nothing was selected, SK_PASS is the kernel's own hash over every socket of the port.
 * Anything but SK_PASS is an RST; a migrating connection is established, and never dropped.
 */
#include <linux/bpf.h>
#include <stdbool.h>

#include <bpf/bpf_helpers.h>

#include "steer_abi.h"
#include "steer_bell.h"
#include "steer_choose.h"
#include "steer_level.h"
#include "steer_maps.h"
#include "steer_packet.h"
#include "steer_policy.h"
#include "steer_run.h"
#include "steer_search.h"
#include "steer_trace.h"
#include "steer_verdict.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline bool steer_init(struct run *r)
{
	struct np_group *group;
	__u32 g = r->group, n;

	group = bpf_map_lookup_elem(&np_groups, &g);
	if (!group || !run_open(r))
		return false;
	n = READ_ONCE(group->workers);
	r->s->roster = n < NP_WORKERS ? n : NP_WORKERS;
	r->s->group = g;
	r->s->policy = policy_rule(r, READ_ONCE(r->cfg->policy));
	r->s->hash = r->md->hash ^ r->cfg->seed;
	r->s->fit = FIT_NONE;
	r->s->step = 0;
	r->s->best = 0;
	r->s->least = 0;
	r->s->waited_of_best = 0;
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
		bell_ring();
	if (p == PACKET_SYN)
		return verdict_syn(r);
	trace_end(r, NP_VERDICT_NONSYN);
	return verdict_nonsyn(r);
}

#if STEER_LEVEL >= 3

/* Neither the policy nor on_exhausted: the connection exists, and there may be no packet. */
static __always_inline int steer_migrating(struct run *r, struct bpf_sock *sk)
{
	bool child = sk->state != BPF_TCP_NEW_SYN_RECV;
	__u64 from = bpf_get_socket_cookie(r->md->sk);

	r->s->spent_ns = 0; /* no client sends this one again */
	r->s->policy = policy_rule(r, run_sees_queues(r) ? NP_POLICY_P2C_QUEUED : NP_POLICY_HASH);
	steer_choose(RUN_ARGS(r));
	trace_end(r, NP_VERDICT_MIGRATED);
	return verdict_migrated(r, from, child);
}

RUN_ONCE int steer_run(struct sk_reuseport_md *md, __u32 group)
{
	struct run r = { .md = md, .group = group };
	struct bpf_sock *sk = md->migrating_sk;

	if (!steer_init(&r))
		return SK_PASS;
	return sk ? steer_migrating(&r, sk) : steer_packet(&r);
}

/* Also asked when a listener closes with connections in its queues. */
#define SECTION "?sk_reuseport/migrate"

#else

RUN_ONCE int steer_run(struct sk_reuseport_md *md, __u32 group)
{
	struct run r = { .md = md, .group = group };

	return steer_init(&r) ? steer_packet(&r) : SK_PASS;
}

/* The kernel resets what a closing listener has queued. */
#define SECTION "?sk_reuseport"

#endif

#define PROGRAM(g)                                                \
	SEC(SECTION) int np_steer_##g(struct sk_reuseport_md *md) \
	{                                                         \
		return steer_run(md, g);                          \
	}

PROGRAM(0)
PROGRAM(1)
PROGRAM(2)
PROGRAM(3)
PROGRAM(4)
PROGRAM(5)
PROGRAM(6)
PROGRAM(7)
PROGRAM(8)
PROGRAM(9)
PROGRAM(10)
PROGRAM(11)
PROGRAM(12)
PROGRAM(13)
PROGRAM(14)
PROGRAM(15)
_Static_assert(NP_GROUPS == 16, "a program for each group");

/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * steer_abi: what the steering program, the library and npsteer share: maps, verdicts, limits
 *
 * A map that is not filled yet must do no harm. Every zero below is the harmless value (state 0 is
 * ready, policy 0 is hash, hang_ms 0 is never hung, a CPU entry is the worker's number plus one),
 * and nothing here divides by what a map says.
 *
 * The maps lie pinned in <bpffs>/netpoll/<service>/ under the names of NP_STEER_MAPS, beside the
 * programs np_steer_0, np_steer_1, ... one for each group. A change of any layout below is a new
 * NP_STEER_ABI; pins of another number are refused, never guessed at.
 */
#ifndef STEER_ABI_H
#define STEER_ABI_H

#include <linux/types.h>

#define NP_STEER_ABI 4u

#define NP_WORKERS 256u /* pollers in one service, old and new process together */
#define NP_GROUPS  16u  /* addresses (family, address, port, device, netns) in one service */
#define NP_SLOTS   (NP_GROUPS * NP_WORKERS)
#define NP_CPUS    1024u /* entries of np_cpu2worker */
#define NP_TABLE   8192u /* entries of a group's Maglev table; a power of two */
#define NP_NAME    32u   /* bytes of a service's or worker's name, terminator included */

/* Where worker w's listener of group g is in np_socks, and its counters in np_worker_stats. */
#define NP_SLOT(g, w) (NP_WORKERS * (__u32)(g) + (__u32)(w))

#define NP_TRACE_BYTES (1u << 20) /* of np_trace */

#define NP_STEER_DIR   "netpoll"
#define NP_STEER_PROG  "np_steer_" /* + g */
/* Links that count connections for as long as they are pinned: of the tracepoint; of a cgroup. */
#define NP_COUNT_PINS  "np_count_"
#define NP_COUNT_LINK  NP_COUNT_PINS "link"
/* Programs of bpf/count.bpf.c, and their variables: a change of those is one of the ABI. */
#define NP_TRACER_PINS "np_tracer_"

/*
 * Every map: name, key, value, entries, mode of its pin. What the members of a service write is
 * 0660; 0640 is written by the program or by root alone.
 */
/* clang-format off */
#define NP_STEER_MAPS(X)                                                        \
	X(np_socks,        __u32, __u64,                  NP_SLOTS,   0660)     \
	X(np_claims,       __u32, __u64,                  NP_WORKERS, 0660)     \
	X(np_workers,      __u32, struct np_worker_line,  NP_WORKERS, 0660)     \
	X(np_ctl,          __u32, struct np_worker_ctl,   NP_WORKERS, 0660)     \
	X(np_service,      __u32, struct np_service_ctl,  1u,         0660)     \
	X(np_config,       __u32, struct np_config,       1u,         0640)     \
	X(np_info,         __u32, struct np_worker_info,  NP_WORKERS, 0660)     \
	X(np_groups,       __u32, struct np_group,        NP_GROUPS,  0660)     \
	X(np_roster,       __u32, __u32,                  NP_SLOTS,   0660)     \
	X(np_owners,       __u64, __u32,                  NP_SLOTS,   0660)     \
	X(np_cpu2worker,   __u32, __u32,                  NP_CPUS,    0660)     \
	X(np_table,        __u32, struct np_table,        2 * NP_GROUPS, 0660)  \
	X(np_cursor,       __u32, struct np_cursor,       NP_GROUPS,  0640)     \
	X(np_heads,        __u32, struct np_head,         NP_SLOTS,   0640)     \
	X(np_health,       __u32, struct np_health,       NP_WORKERS, 0660)     \
	X(np_tags,         int,   struct np_tag,          0u,         0660)     \
	X(np_gens,         __u32, __u32,                  NP_WORKERS, 0660)     \
	X(np_trace,        void,  void,                   NP_TRACE_BYTES, 0640)     \
	X(np_bell,         void,  void,                   65536u,     0660)     \
	X(np_stats,        __u32, struct np_verdicts,     1u,         0640)     \
	X(np_worker_stats, __u32, struct np_slot_stats,   NP_SLOTS,   0660)
/* clang-format on */

/*
 * np_socks and np_claims are REUSEPORT_SOCKARRAYs with 8-byte values: a lookup returns the socket's
 * cookie; the kernel empties an entry when its socket goes, however that happens.
 * np_claims[w] holds a token socket of the process that is worker w, until its last
 * connection has ended.
 */

/*
 * np_workers[w], mmapped: plain stores by worker w alone. A line without a claim is empty. Of a
 * worker that is counted, conns and the totals are the kernel's events, added up: atomically, and
 * from the end of the handshake on, so that what waits for accept(2) is in them.
 */
struct np_worker_line {
	__u64 busy_since_ns; /* 0: waiting for events; else the kernel's CLOCK_MONOTONIC */
	__u64 conns;
	__u64 accepted_total;
	__u64 closed_total;
	__u64 counted; /* the generation of the tags that count here; 0: it is not counted */
	/* 1: it says so before it waits, so accepted_total is its word too, also while that is 0 */
	__u64 says_idle;
	__u64 handoffs; /* handlers that kept their thread, and not the poller */
	/*
	 * Connections that came from, and went to, another worker or process; they begin again at 0
	 * after 2^32. conns = accepted_total - closed_total + moved_in - moved_out
	 */
	__u32 moved_in;
	__u32 moved_out;
};

enum np_worker_state {
	NP_WORKER_READY = 0,
	NP_WORKER_DRAINING = 1, /* chosen only when nothing better can be selected */
	NP_WORKER_OUT = 2,      /* never chosen */
};

/* Of a worker's state: what was asked for, enum np_worker_state, whether it has all the
 * connections it may have, and whether it was rescued because it stands still. */
#define NP_REASON_ASKED  0xffu
#define NP_REASON_FULL   0x100u
#define NP_REASON_STANDS 0x200u

/* np_ctl[w], mmapped: one word each, written whole. */
struct np_worker_ctl {
	enum np_worker_state state;
	__u32 weight;     /* 0: the default, 100 */
	__u32 generation; /* 0: belongs to every generation */
	__u32 reasons;    /* what state is made of; the program reads state alone: NP_REASON_* */
	/* slow start counts from here; the kernel's CLOCK_MONOTONIC; 0: long ago */
	__u64 ready_since_ns;
	__u64 _reserved2;
};

/* np_service[0], mmapped: atomics. */
struct np_service_ctl {
	__u32 workers;    /* every worker ever claimed is below this; it only grows */
	__u32 generation; /* 0: every generation may serve */
	__u32 canary;     /* per mille of the flows that go to another generation */
	__u32 rescue;     /* the rescuer's lock: the kernel's CLOCK_MONOTONIC in ms, bit 0 set */
	__u32 bell;       /* 1: the next SYN rings np_bell and clears this */
	/* a port while its connections are looked for: those that leave are noted, tag or not */
	__u32 seeding;
	/* "bitmap": bit w % 64 of word w / 64: worker w may be chosen */
	__u64 set[NP_WORKERS / 64];
	__u64 trace_lost; /* decisions that did not fit into np_trace */
};

/* What was read on the way to a decision, in the order in which it was read. */
enum np_input_kind {
	NP_INPUT_ROSTER = 1, /* who: the entry; value: the worker's number plus one, 0: none */
	NP_INPUT_CPU = 2,    /* who: the CPU; value: likewise */
	NP_INPUT_TURN = 3,   /* value: np_cursor's */
	NP_INPUT_NOW = 4,    /* value: the clock */
	NP_INPUT_STATE = 5,  /* who: the worker; value: enum np_worker_state */
	NP_INPUT_BUSY = 6,   /* who: the worker; value: busy_since_ns */
	NP_INPUT_SELECT = 7, /* who: the worker; value: 1 if it could be selected */
	NP_INPUT_RANDOM = 8, /* value: 32 random bits */
	/* who: the worker; value: LOAD_*(): its connections, its weight, whether it is counted */
	NP_INPUT_LOAD = 9,
	NP_INPUT_QUEUE = 10,  /* who: the worker; value: its listener's queues: NP_QUEUE_*() */
	NP_INPUT_SINCE = 11,  /* who: the worker; value: ready_since_ns */
	NP_INPUT_SET = 12,    /* who: the word; value: np_service.set's */
	NP_INPUT_CLIENT = 13, /* value: a hash of the client's address */
	/* who: the entry of np_table; value: the worker's number plus one, 0: none */
	NP_INPUT_TABLE = 14,
	/* value: the mean load of the group's workers, in the unit of policy_load() */
	NP_INPUT_MEAN = 15,
	/* value: not 0: the last walk met nobody fit, and fell back on this one, plus two;
	 * 1: none */
	NP_INPUT_SPENT = 16,
	/*
	 * who: the worker; value: ns for which the first of its accept queue has waited, as far as
	 * is known that it was the first
	 */
	NP_INPUT_WAITED = 17,
};

/*
 * A listener's queues in one word: connections to accept, half-open ones, and the backlog of both.
 */
#define NP_QUEUE_BITS       21
#define NP_QUEUE_MAX        ((1u << NP_QUEUE_BITS) - 1)
#define NP_QUEUE_ACCEPT(q)  ((__u32)((q)&NP_QUEUE_MAX))
#define NP_QUEUE_SYN(q)     ((__u32)((q) >> NP_QUEUE_BITS) & NP_QUEUE_MAX)
#define NP_QUEUE_BACKLOG(q) ((__u32)((q) >> 2 * NP_QUEUE_BITS))

struct np_input {
	__u32 kind;
	__u32 who;
	__u64 value;
};

enum np_verdict {
	NP_VERDICT_STEERED = 1,
	NP_VERDICT_FALLBACK = 2,
	NP_VERDICT_RST = 3,
	NP_VERDICT_NONSYN = 4,
	NP_VERDICT_MIGRATED = 5,
	NP_VERDICT_SHED = 6,
};

#define NP_TRACE_INPUTS 128u /* a power of two */

/* A record of np_trace, a RINGBUF. */
struct np_decision {
	__u64 at_ns;
	__u64 fit; /* of the worker that was selected: enum fit */
	__u32 group;
	__u32 policy; /* in force for it */
	__u32 hash;   /* of the flow, seed and all; or what its policy drew instead */
	__u32 roster;
	__u32 hang_ms;
	__u32 verdict;
	/* the selected one, plus one; 0: none. Of NP_VERDICT_SHED: that whose listener drops it */
	__u32 worker1;
	__u32 n;      /* inputs; more than NP_TRACE_INPUTS: the rest is missing */
	__u32 queues; /* 1: decided at level 4, by the listeners' queues too */
	__u32 slow_start_ms;
	__u32 spill;
	__u32 bound;
	/*
	 * told because this was less than np_config.trace; a reader with a smaller share skips it
	 */
	__u32 draw;
	__u32 _reserved;
	struct np_input inputs[NP_TRACE_INPUTS];
};

/*
 * np_health[w], mmapped: what became of worker w when it hung. The holder of np_service.rescue
 * writes it.
 */
struct np_health {
	__u64 rescued_total;  /* how often its listener was shut */
	__u64 moved_total;    /* connections that were queued then */
	__u64 again_after_ns; /* not before: kernel's CLOCK_MONOTONIC */
	__u64 back_off_ms;    /* doubles while it goes on hanging */
	/* how often a rescuer found it hanging and could not take its listener */
	__u64 failed_total;
	__u64 _reserved[3];
};

/*
 * np_bell: a RINGBUF without content. Watchdogs sleep on it; a ring is a discarded record of 8
 * bytes, 16 with its header. The last one is never read: a poll(2) of an empty ring buffer reports
 * nothing.
 */
#define NP_BELL_RECORD 8u

/*
 * Below level 4 "p2c-exact" and "least-exact" are p2c and least: by what workers publish alone, and
 * not by what is queued. "auto": policy_rule() in steer_policy.h.
 */
/* clang-format off */
#define NP_STEER_POLICIES(X)               \
	X(HASH,          0, "hash")        \
	X(RR,            1, "rr")          \
	X(CPU,           2, "cpu")         \
	X(RANDOM,        3, "random")      \
	X(P2C,           4, "p2c")         \
	X(LEAST,         5, "least")       \
	X(P2C_QUEUED,    6, "p2c-exact")   \
	X(LEAST_QUEUED,  7, "least-exact") \
	X(AUTO,          8, "auto")        \
	X(MAGLEV,        9, "maglev")      \
	X(WEIGHTED,     10, "weighted")    \
	X(BITMAP,       11, "bitmap")
/* clang-format on */

enum np_policy {
#define NP_ROW(name, value, text) NP_POLICY_##name = value,
	NP_STEER_POLICIES(NP_ROW)
#undef NP_ROW
};

/* What happens to a SYN for which no worker is fit. */
enum np_on_exhausted {
	NP_EXHAUSTED_SERVE = 0, /* the least bad worker of the group gets it */
	NP_EXHAUSTED_RST = 1,   /* refused, if np_config.rst_confirm agrees */
	/* level 4: given to a full listener, if one was met, which drops it without a word */
	NP_EXHAUSTED_FULL_QUEUE = 2,
};

#define NP_RST_CONFIRM 0x52535421u /* "RST!": one flipped word must not refuse connections */

/* np_config[0], mmapped: written by root, one word at a time; members read. */
struct np_config {
	__u32 abi;     /* NP_STEER_ABI */
	__u32 workers; /* NP_WORKERS of the library that loaded it */
	__u32 groups;  /* NP_GROUPS, likewise */
	__u32 level;   /* of the ladder: 2, 3, 4 */
	enum np_policy policy;
	/* a worker busy for longer, or that takes nothing for longer, is passed over; 0: never */
	__u32 hang_ms;
	enum np_on_exhausted on_exhausted;
	__u32 rst_confirm;
	__u32 seed;  /* mixed into the flow hash */
	__u32 epoch; /* +1 with each change of a word above */
	__u32 trace; /* of 65536 flows, so many are told in np_trace, until trace_until_ns */
	/* "cpu": a worker with more than so many % of another's load passes on; 0: never */
	__u32 spill;
	__u32 bound;         /* "maglev": likewise, of the mean load; 0: never */
	__u32 slow_start_ms; /* a worker's weight grows for so long; 0: it has it at once */
	/* readers of np_trace move it on; past it the program sets trace to 0. Kernel's
	 * CLOCK_MONOTONIC */
	__u64 trace_until_ns;
	/* that have not ended, or have been killed: the last one to end sets trace to 0 */
	__u32 trace_readers;
	__u32 tick_ns; /* of the kernel's jiffies; 0: no queue is ever old */
	__u32 _reserved[14];
};

/*
 * np_info[w]: for people to read, and where to look first for a listener: nothing is decided by it.
 */
struct np_worker_info {
	char name[NP_NAME];
	__u64 claim_cookie; /* of the token: another cookie in np_claims makes this line stale */
	__u64 since_ns;     /* kernel's CLOCK_MONOTONIC */
	__u32 pid;          /* as its own PID namespace numbers it, */
	__u32 pidns;        /* which is this one: the inode of /proc/self/ns/pid; 0: unknown */
	__u32 flags;        /* NP_INFO_* */
	/*
	 * An adopted worker's, as the tool that adopted it saw it: pid, pidns and these are of the
	 * task that accepts; 0: none alone was seen to.
	 */
	__u32 tid;
	__u64 starttime; /* of pid: field 22 of /proc/PID/stat */
	__u64 cgroup;    /* of pid: the inode of its folder in the cgroup2 hierarchy; 0: unknown */
};

/*
 * ADOPTED: its listener belongs to a server that knows nothing of this service. Nobody holds a
 * claim for it: it is a worker while one of its slots is live, and claims pass its number over. Its
 * listener is shut by nobody but who listens on it again (lib/steer/hand.h).
 */
#define NP_INFO_ADOPTED 0x1u
#define NP_INFO_HELD    0x2u /* its server is away, and a tool keeps the listener open */

/*
 * np_tags: which worker a socket counts for, in one word that changes at once. A listener's is
 * NEW, and each connection that comes of it is born with a copy (BPF_F_CLONE).
 *
 *   state    leaves it by
 *   NEW      the end of the handshake -> COUNTED
 *   COUNTED  the first of FIN_WAIT1, LAST_ACK, CLOSE: its worker has ended it, or its peer reset it
 *            -> OVER
 *   OVER
 *
 * It counts while its generation is np_workers[w].counted. np_gens[w] is the last generation that
 * worker w was given: what is left of former ones counts nowhere.
 */
struct np_tag {
	__u64 word; /* NP_TAG() */
};

enum np_tag_state {
	NP_TAG_NEW = 0,
	NP_TAG_COUNTED = 1,
	NP_TAG_OVER = 2,
};

/* @w1: the worker's number plus one; a word of 0 is no tag. */
#define NP_TAG(w1, state, gen) ((__u64)(gen) << 32 | (__u64)(state) << 16 | (__u16)(w1))
#define NP_TAG_W1(word)        ((__u32)(word)&0xffff)
#define NP_TAG_STATE(word)     ((__u32)(word) >> 16)
#define NP_TAG_GEN(word)       ((__u32)((word) >> 32))

/*
 * np_groups[g], mmapped: written under the service's lock. family 0: free.
 * The group's workers are np_roster[NP_SLOT(g, 0 .. workers - 1)], each as its number plus one,
 * without holes, and 0 from there on: policies choose an entry of the roster. An entry whose worker
 * has died stays until the next change of the roster; it cannot be selected, and costs a retry.
 */
struct np_group {
	__u16 family;  /* AF_INET, AF_INET6 */
	__u16 port;    /* host order */
	__u32 ifindex; /* SO_BINDTODEVICE */
	__u32 v6only;
	__u32 workers; /* entries of the roster */
	__u32 table;   /* np_table[2 * g + table - 1] is in force; 0: there is none */
	__u32 _reserved;
	__u64 netns;   /* SO_NETNS_COOKIE, 0 where the kernel has none */
	__u8 addr[16]; /* network order; IPv4 in the first four */
};

/*
 * np_table[2 * g], np_table[2 * g + 1]: Maglev's table of group g, and the one before or after it.
 * Each entry is a worker's number plus one; 0 only where the group has no worker.
 */
struct np_table {
	__u16 w1[NP_TABLE];
};

/*
 * np_heads[NP_SLOT(g, w)]: the connection that was first in the accept queue when it was last found
 * to have waited for long. Of one that is still the first, the listener has taken nothing since.
 */
struct np_head {
	__u32 flow;  /* the kernel's hash of it */
	__u32 since; /* when it was found so, in jiffies */
};

/* np_cursor[g]: where rr goes on. A cache line each. */
struct np_cursor {
	__u64 next;
	__u64 _reserved[7];
};

/*
 * np_stats[0], per CPU.
 *   runs of the program = syn_total + nonsyn_total + migrated_child + migrated_request
 *   syn_total           = steered + fallback_hash + rejected_rst + shed_full
 * A SYN that is sent again counts again. With SYN cookies the ACK chooses a second time, in
 * nonsyn_total, which also holds every stray packet.
 */
struct np_verdicts {
	__u64 syn_total;
	__u64 nonsyn_total;
	__u64 migrated_child;   /* established, out of a closed listener's accept queue */
	__u64 migrated_request; /* half open */

	__u64 steered;       /* to a fit worker */
	__u64 fallback_hash; /* no fit one: the least bad of the group, or the kernel's hash */
	__u64 rejected_rst;  /* no fit one, and on_exhausted says refuse */
	__u64 shed_full;     /* no fit one, left to a full queue */

	/* parts of the above, in no sum */
	__u64 fallback_none; /* of fallback_hash: nothing of the group could be selected */
	__u64 migrated_none; /* of migrated_*: the same */
	__u64 retried;       /* runs in which the policy's first choice was not fit */
	__u64 skipped_empty; /* candidates without a listener in this group */
	__u64 skipped_away;  /* candidates draining or out */
	__u64 skipped_hung;  /* candidates busy for longer than hang_ms, or with a queue as old */
	__u64 skipped_full;  /* candidates whose queue had no room; level 4 */
	/* runs in which the flow's own worker was fit, and too loaded: cpu, maglev */
	__u64 spilled;
};

/*
 * np_worker_stats[NP_SLOT(g, w)], per CPU, since worker w was claimed. Without SYN cookies,
 * retransmits and queue overflow:
 *   accepted = steered + fallback + migrated_in - migrated_out
 */
struct np_slot_stats {
	__u64 steered;
	__u64 fallback; /* chosen as the least bad */
	__u64 nonsyn;   /* chosen for an ACK; with SYN cookies that choice holds */
	__u64 migrated_in;
	__u64 migrated_out; /* np_owners names the listener that a connection left */

	/* level 4: the listener's queues as the last SYN that this CPU gave it saw them, itself not
	 * included */
	__u64 accept_queue;
	__u64 syn_queue;
	__u64 seen_jiffies; /* when that was */
};

#endif

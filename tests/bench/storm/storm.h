/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * storm: random requests to handlers that block, compute and wait, each answer checked
 *
 *   handlers  what a request makes a handler do; who may be beside whom is checked there
 *   clients   threads that ask, verify every byte, and dial anew; and the watch over them: an
 *             answer that does not come though nothing runs is a lost wake-up
 *   servers   the pollers and three servers on them, one of which is stopped and started anew
 *   main      options, rounds
 *   processes storms of several processes at a time, and what they have counted
 *
 * A fault aborts the process: what it was is the last line, a core or the sanitizer has the rest.
 */
#ifndef BENCH_STORM_H
#define BENCH_STORM_H

#include <netpoll/handlers.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct np_pollers;

#define STORM_PAYLOAD_MAX   2000u
#define STORM_POLLERS_MAX   16u
#define STORM_CONNS_MAX     256u
#define STORM_DEPTH_MAX     32u
#define STORM_PROCESSES_MAX 64u
#define STORM_BEGUN         "begun..." /* a stream's first bytes */

/* What a request makes its handler do; whether only one that may block does it. */
/* clang-format off */
#define STORM_OPS(X)                                                                               \
	X(ECHO,     "echo",                false)                                                  \
	X(SLEEP,    "sleep",               true)  /* in the kernel */                              \
	X(COMPUTE,  "compute",             true)                                                   \
	X(HOLD,     "hold the mutex",      true)  /* and sleep, and call a verb */                 \
	X(TAKE,     "take the mutex",      true)                                                   \
	X(LOOK,     "look at raw input",   true)  /* while more arrives */                         \
	X(BUILD,    "build raw output",    true)  /* while what was flushed is sent */             \
	X(BLOCKING, "np_blocking",         false) /* and a verb inside */                          \
	X(OFFLOAD,  "np_offload",          false)                                                  \
	X(PARK,     "np_sleep",            false)                                                  \
	X(POST,     "post to its poller",  false) /* block; then wait for what it brings */        \
	X(TIMER,    "timer of its poller", false) /* likewise */                                   \
	X(TASK,     "task on a poller",    false) /* and join it */                                \
	X(MOVE,     "move",                false)                                                  \
	X(STREAM,   "stream",              false) /* rounds of 8 bytes; the last of its batch */   \
	X(CLOSE,    "close",               false) /* the last of its batch */
/* clang-format on */

enum storm_op {
#define STORM_OP(op, name, blocks) STORM_##op,
	STORM_OPS(STORM_OP)
#undef STORM_OP
		STORM_OP_COUNT
};

struct storm_op_info {
	const char *name;
	bool blocks;
};
extern const struct storm_op_info storm_ops[STORM_OP_COUNT];

/* On the wire, in front of len bytes; the answer is the same. */
struct storm_head {
	uint32_t len, op, us, sum;
};

/* FLAGGED has NP_MAY_BLOCK; MORTAL too, and is stopped and started again and again. */
enum storm_server { STORM_PLAIN, STORM_FLAGGED, STORM_MORTAL, STORM_SERVERS };

struct storm_opts {
	unsigned long requests;
	unsigned conns, rounds, depth, seed;
	unsigned pollers;     /* of this round */
	unsigned pollers_max; /* from 1 to so many, each round one more; 0: always as many */
	unsigned processes;   /* that share the requests */
	unsigned progress_s;  /* between two lines that say how far it is; 0: none */
	unsigned stall_ms;    /* the longest */
	unsigned stalls;      /* of a thousand requests, so many of up to stall_ms */
	unsigned pauses;      /* and so many of less than 300 us */
	unsigned gap_us;      /* between two batches of a connection, at most */
	unsigned patience_ms; /* for an answer that is overdue while nothing runs */
	int handoff_ms, threads;
};

extern struct storm_opts storm;
extern _Atomic(bool) storm_over; /* clients finish what they have begun */

/* What has happened; of this process, in memory that the first one reads. */
struct storm_counts {
	_Atomic(unsigned long) answered, dials, stops, moves;
	_Atomic(unsigned long) handled[STORM_OP_COUNT];
	_Atomic(unsigned long) beside; /* handlers, while others of their poller began elsewhere */
	_Atomic(unsigned long) handoffs, refused;
};
extern struct storm_counts *storm_counts;

/* ---- processes.c */
/* @run in each; it returns where all have ended well. */
void storm_processes(void (*run)(void));

/* ---- main.c */
void storm_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
/* @r below 0 is a fault. */
void storm_must(const char *what, int r);
uint64_t storm_now_ns(void);
void storm_sleep_us(unsigned us);
uint32_t storm_sum(const void *p, size_t n);

/* ---- handlers.c */
extern const struct np_handlers storm_handlers[STORM_SERVERS];

/* ---- servers.c */
extern struct np_pollers *storm_pollers;
void storm_servers_start(void);
void storm_servers_stop(void);
/* 0: not at the moment. */
int storm_port(enum storm_server which);
/* Of the rounds that are over, and of this one. */
void storm_count_handoffs(void);

/* ---- clients.c */
void storm_clients_start(void);
void storm_clients_join(void);
/* A thread of the process runs, or waits for a CPU, before the patience is over. */
bool storm_goes_on(void);

#endif

/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * steer_source: where a choice's inputs come from: the machine, or the record of a decision
 *
 * The choice is compiled twice: into the program, and into its replay in userspace. What differs is
 * below: steer_input.h and steer_run.h have it for the program, steer_record.h for the replay.
 *
 *   input_roster(r, i)   entry i of the group's roster: a worker's number plus one, 0: none
 *   input_cpu(r)         the worker of this CPU, likewise
 *   input_turn(r)        where rr goes on
 *   input_now(r)         the clock
 *   input_state(r, w)    enum np_worker_state
 *   input_busy(r, w)     busy_since_ns
 *   input_random(r)      32 random bits
 *   input_load(r, w)     what worker w says it has, and its weight: LOAD_*()
 *   input_since(r, w)    ready_since_ns
 *   input_set(r, k)      word k of the published set
 *   input_client(r)      a hash of the client's address
 *   input_table(r, i)    entry i of Maglev's table
 *   input_mean(r)        the mean load of the group's workers; 0: not known
 *   input_select(r, w)   whether worker w has a listener in this group, which is selected then
 *   input_queue(r, w)    what waits at the listener that was just selected: NP_QUEUE_*(); level 4
 *   input_waited(r, w)   ns for which the first of that queue has waited; level 4
 *   input_spent(r)       0, or that the last walk over the whole roster, a moment ago, met no fit
 *                        worker: the one plus two that would answer a SYN all the same, with a
 *                        SYN cookie, late, or though it drains; 1: there was none; level 4
 *
 *   run_sees_queues(r)   level 4
 *   run_is_old(r)        level 2: before Linux 5.14
 *   run_turns(r, turn)   calls a RUN_TURN(turn) until it returns 1; not at level 2
 *   RUN_ONCE, RUN_...    of functions that the verifier looks at once: steer_run.h
 *
 * A policy reads through input_*() alone: that is what the record of a decision has.
 */
#ifndef STEER_SOURCE_H
#define STEER_SOURCE_H

#ifdef __bpf__
#include "steer_input.h"
#include "steer_run.h"
#else
#include "steer_record.h"
#endif

#endif

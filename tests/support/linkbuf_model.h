/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * linkbuf_model: random verbs on a few buffers, held against flat arrays
 *
 * A program is a string of bytes: each verb takes its number and its arguments from it, so a fuzzer
 * can change one without changing the others. Every array of the model has what its buffer must
 * have, every pointer given is looked at until its release(), every done() is counted. Used by
 * tests/linkbuf_model.c and tests/fuzz/linkbuf.c.
 */
#ifndef SUPPORT_LINKBUF_MODEL_H
#define SUPPORT_LINKBUF_MODEL_H

#include <stddef.h>
#include <stdint.h>

struct model_result {
	unsigned long steps;
	/* calls that found no memory, and had to leave everything as it was */
	unsigned long refused;
};

/* Runs one program; prints what is wrong and aborts. */
struct model_result model_run(const uint8_t *program, size_t n);

/*
 * One input of the fuzzer: its first byte says where blocks come from, the others are the program.
 */
void model_run_input(const uint8_t *input, size_t n);

/*
 * From now on blocks are cached (the default), or each is an allocation of its own: none of which
 * fails, every @one_in-th, or the @nth alone. No block may be held.
 */
void model_cached(void);
void model_apart(void);
void model_apart_failing(unsigned one_in);
void model_apart_failing_once(unsigned long nth);
/* Since the last of these. */
unsigned long model_allocations(void);

#endif

/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * count_tag: what an event of a socket does to its tag, and to the line of the tag's worker
 *
 * Events of one socket come one at a time, but a seed may look at it meanwhile: a tag's word is
 * compared and exchanged. Members of the service may write tags and lines, and garbage may be in
 * both: it makes a wrong number at most.
 */
#ifndef COUNT_TAG_H
#define COUNT_TAG_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_helpers.h>

#include "steer_abi.h"

/* The service's own. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct np_worker_line);
	__uint(max_entries, NP_WORKERS);
	__uint(map_flags, BPF_F_MMAPABLE);
} np_workers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__type(key, int);
	__type(value, struct np_tag);
	__uint(max_entries, 0);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
} np_tags SEC(".maps");

#define TAG_OVER NP_TAG(0, NP_TAG_OVER, 0) /* of a socket that counted for nobody */

static __always_inline __u64 tag_word(const struct np_tag *t)
{
	return *(const volatile __u64 *)&t->word;
}

static __always_inline bool tag_exchange(struct np_tag *t, __u64 was, __u64 is)
{
	return __sync_val_compare_and_swap(&t->word, was, is) == was;
}

static __always_inline __u64 tag_in_state(__u64 word, enum np_tag_state state)
{
	return NP_TAG(NP_TAG_W1(word), state, NP_TAG_GEN(word));
}

/* The line on which it counts; NULL: it does not, or no more. */
static __always_inline struct np_worker_line *tag_line(__u64 word)
{
	__u32 w = NP_TAG_W1(word) - 1;
	struct np_worker_line *line = bpf_map_lookup_elem(&np_workers, &w);

	if (!line || !NP_TAG_GEN(word))
		return NULL;
	return *(volatile __u64 *)&line->counted == NP_TAG_GEN(word) ? line : NULL;
}

static __always_inline void tag_add(struct np_worker_line *line)
{
	__sync_fetch_and_add(&line->conns, 1);
	__sync_fetch_and_add(&line->accepted_total, 1);
}

static __always_inline void tag_undo(struct np_worker_line *line)
{
	__sync_fetch_and_add(&line->conns, -1);
	__sync_fetch_and_add(&line->accepted_total, -1);
}

static __always_inline void tag_take(struct np_worker_line *line)
{
	__sync_fetch_and_add(&line->conns, -1);
	__sync_fetch_and_add(&line->closed_total, 1);
}

/* A connection that is the worker's to serve: it ends where it leaves both. */
static __always_inline bool tag_is_live(__u32 state)
{
	return state == BPF_TCP_ESTABLISHED || state == BPF_TCP_CLOSE_WAIT;
}

/* The handshake has ended. No other program knows of the socket yet. */
static __always_inline void tag_established(struct np_tag *t)
{
	__u64 word = tag_word(t);
	struct np_worker_line *line;

	if (NP_TAG_STATE(word) != NP_TAG_NEW)
		return;
	line = tag_line(word);
	if (!line)
		return;
	*(volatile __u64 *)&t->word = tag_in_state(word, NP_TAG_COUNTED);
	tag_add(line);
}

/* False: another program has changed the word meanwhile. */
static __always_inline bool tag_try_over(struct np_tag *t)
{
	__u64 word = tag_word(t);
	struct np_worker_line *line;

	if (word && NP_TAG_STATE(word) != NP_TAG_COUNTED)
		return true;
	if (!tag_exchange(t, word, word ? tag_in_state(word, NP_TAG_OVER) : TAG_OVER))
		return false;
	line = word ? tag_line(word) : NULL;
	if (line)
		tag_take(line);
	return true;
}

/*
 * The worker has ended it, or its side of it, or the peer has reset it. A seed changes a word once,
 * and a retag once more. No loop: with CAP_BPF alone the verifier loses its bound.
 */
static __always_inline void tag_over(struct np_tag *t)
{
	if (!tag_try_over(t) && !tag_try_over(t))
		tag_try_over(t);
}

#endif

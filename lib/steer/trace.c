/* SPDX-License-Identifier: BSD-2-Clause */
/* trace: decisions of the program, read out of np_trace. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <bpf/libbpf.h>

#include "steer/steer.h"
#include "steer/twin.h"
#include "steer/words.h"
#include "sys/clock.h"

#define ALL_FLOWS 65536u

struct reader {
	int (*fn)(void *arg, const struct np_steer_decision *d);
	void *arg;
	int r; /* what fn returned */
};

static const char *verdict_name(uint32_t verdict)
{
	static const char *const names[] = {
		[NP_VERDICT_STEERED] = "steered", [NP_VERDICT_FALLBACK] = "fallback", [NP_VERDICT_RST] = "rst",
		[NP_VERDICT_NONSYN] = "nonsyn",   [NP_VERDICT_MIGRATED] = "migrated",
		[NP_VERDICT_SHED] = "shed",
	};

	return verdict < sizeof names / sizeof names[0] && names[verdict] ? names[verdict] : "unknown";
}

static unsigned count(const struct np_decision *d, uint32_t kind)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < d->n && i < NP_TRACE_INPUTS; i++)
		n += d->inputs[i].kind == kind;
	return n;
}

static int read_one(void *arg, void *record, size_t size)
{
	const struct np_decision *d = record;
	struct reader *reader = arg;
	struct np_steer_decision out = { .sz = sizeof out };

	if (size < sizeof *d)
		return 0;
	out.at_ns = d->at_ns;
	out.group = d->group;
	out.worker = (int)d->worker1 - 1;
	out.hash = d->hash;
	out.candidates = count(d, NP_INPUT_STATE);
	out.tried = count(d, NP_INPUT_SELECT);
	out.policy = steer_policy_name(d->policy);
	out.verdict = verdict_name(d->verdict);
	out.twin = twin_agrees(d);
	reader->r = reader->fn(reader->arg, &out);
	return reader->r ? -ECANCELED : 0;
}

static int read_for(struct ring_buffer *ring, const struct reader *reader, int ms)
{
	uint64_t end = ms < 0 ? UINT64_MAX : sys_clock_ns() + (uint64_t)ms * 1000000u, now;
	int r = 0;

	while (reader->r == 0 && (now = sys_clock_ns()) < end) {
		uint64_t left = (end - now + 999999u) / 1000000u;

		r = ring_buffer__poll(ring, left < INT_MAX ? (int)left : -1);
		if (r < 0 && r != -EINTR)
			break;
	}
	if (reader->r == 0)
		ring_buffer__consume(ring); /* what came while the time ran out */
	return reader->r ? reader->r : r < 0 && r != -EINTR ? r : 0;
}

int np_steer_trace(struct np_steer *s, unsigned of_65536, int ms, int (*fn)(void *arg, const struct np_steer_decision *d),
		   void *arg)
{
	struct reader reader = { fn, arg, 0 };
	struct ring_buffer *ring;
	struct words words;
	int r;

	if (s->level < NP_STEER_L3)
		return steer_fail(s, -NP_EUNSUPPORTED, "the service %s is at level %d: decisions are told from level 3 on",
				  s->name, (int)s->level);
	if (of_65536 < 1 || of_65536 > ALL_FLOWS)
		return steer_fail(s, -EINVAL, "%u of 65536 flows cannot be traced", of_65536);
	if (!s->maps.config)
		return steer_fail(s, -EPERM, "%s/np_config may only be read by this user: run it as root", s->dir);
	words_take(&words, NULL, 0);
	ring = ring_buffer__new(s->maps.fd[MAP_np_trace], read_one, &reader, NULL);
	words_give_back(&words);
	if (!ring)
		return steer_fail(s, -errno, "%s/np_trace cannot be read: %s", s->dir, strerror(errno));
	__atomic_store_n(&s->maps.config->trace, of_65536, __ATOMIC_RELAXED);
	r = read_for(ring, &reader, ms);
	__atomic_store_n(&s->maps.config->trace, 0, __ATOMIC_RELAXED);
	ring_buffer__free(ring);
	return r;
}

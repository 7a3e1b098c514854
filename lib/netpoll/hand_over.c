/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hand_over: the old process's side: what it serves goes to the next process, step by step
 *
 * At every step one of the two owns each listener and each connection, and the other has at most a
 * duplicate that it neither watches nor reads. Where the next process dies, or does not answer in
 * time, this one goes on with what is still its own.
 *
 *   step        its own still                      the next one's
 *   offered     everything, and serves it          nothing: it has duplicates of the listeners
 *   released    everything; accepts nothing, for   nothing
 *               as long as a poller takes
 *   yours       connections                        the listeners
 *   batches     those not committed                those that are
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "netpoll/handover.h"
#include "steer/steer.h"
#include "sys/clock.h"
#include "sys/io.h"
#include "sys/opts.h"

#define COME_MS    30000
#define WORK_MS    10000
#define ANSWER_MS  1000
#define LOOK_MS    5 /* between looks at connections that were busy */
#define LATE_LOOKS 3

struct hand_over {
	struct np_server *s;
	int sock;
	int work_ms, answer_ms;
	uint64_t until_ns; /* of what is waited for at this moment */
	unsigned credits;
	struct np_handed_over done;
};

static uint64_t hand_over_until(int ms)
{
	return ms < 0 ? UINT64_MAX : sys_clock_ns() + (uint64_t)ms * 1000000u;
}

static uint64_t hand_over_answer_until(const struct hand_over *h)
{
	return hand_over_until(h->answer_ms);
}

static int hand_over_send(struct hand_over *h, enum handover_type type, const void *p, size_t n)
{
	return handover_send(h->sock, type, p, n, NULL, 0, hand_over_answer_until(h));
}

/* The frame of that type, or a sentence about what came instead. */
static int hand_over_expect(struct hand_over *h, enum handover_type type,
			    struct handover_frame *ret, uint64_t until_ns)
{
	int r = handover_expect(h->sock, type, ret, until_ns);

	if (r < 0) {
		server_say(h->s, r, "the next process: %s", handover_words(ret, r));
		if (r != -ECONNREFUSED && r != -EPIPE)
			handover_refuse(h->sock, handover_words(ret, r));
		handover_frame_free(ret);
	}
	return r;
}

static int hand_over_await(struct hand_over *h, enum handover_type type, uint64_t until_ns)
{
	struct handover_frame f;
	int r = hand_over_expect(h, type, &f, until_ns);

	if (r == 0)
		handover_frame_free(&f);
	return r;
}

/* ------------------------------------------------------------------ listeners */

static bool hand_over_needs_pollers(const struct np_server *s)
{
	for (unsigned i = 0; i < s->n_addresses; i++)
		if (!s->addresses[i].shared)
			return true;
	return false;
}

static int hand_over_hello(struct hand_over *h)
{
	struct handover_hello hello = { 0 };
	struct handover_frame f;
	char words[96];
	int r = hand_over_expect(h, HANDOVER_HELLO, &f, h->until_ns);

	if (r < 0)
		return r;
	if (f.n == sizeof hello && !f.n_fds)
		memcpy(&hello, f.bytes, sizeof hello);
	handover_frame_free(&f);
	h->credits = hello.credits < SYS_PASS_MAX ? hello.credits : SYS_PASS_MAX;
	if (!hello.pollers || h->credits < CONN_SET_MAX) { /* no set could go */
		handover_refuse(h->sock, "no greeting that makes sense");
		return server_say(h->s, -EPROTO, "the next process: no greeting that makes sense");
	}
	if (hello.pollers == h->s->n_parts || !hand_over_needs_pollers(h->s))
		return 0;
	snprintf(words, sizeof words, "it has %u pollers, and there are listeners for %u",
		 hello.pollers, h->s->n_parts);
	handover_refuse(h->sock, words);
	return server_say(h->s, -EINVAL, "the next process: %s", words);
}

static int hand_over_offer_some(struct hand_over *h, const struct server_address *a, unsigned index,
				unsigned first, unsigned total)
{
	unsigned n = total - first < h->credits ? total - first : h->credits;
	struct {
		struct handover_address head;
		char path[sizeof a->ss];
	} m = { .head = {
			.index = index,
			.fds = total,
			.first = first,
			.flags = (a->own ? HANDOVER_OWN : 0) | (a->shared ? HANDOVER_SHARED : 0) |
				 (a->steered ? HANDOVER_STEERED : 0) |
				 (a->delays ? HANDOVER_DELAYS : 0),
			.device = a->file.device,
			.inode = a->file.inode,
			.addr_len = a->len,
		} };
	size_t path = a->file.path && a->file.noted ? strlen(a->file.path) : 0;

	if (path >= sizeof m.path) /* from a folder deep down: the file stays, as without a lock */
		path = 0;
	memcpy(m.head.addr, &a->ss, a->len);
	m.head.path_len = (uint32_t)path;
	if (path)
		memcpy(m.path, a->file.path, path);
	return handover_send(h->sock, HANDOVER_ADDRESS, &m, sizeof m.head + path, a->fds + first, n,
			     hand_over_answer_until(h));
}

static int hand_over_offer(struct hand_over *h)
{
	struct np_server *s = h->s;
	int r = 0;

	for (unsigned i = 0; i < s->n_addresses && r == 0; i++) {
		unsigned total = s->addresses[i].shared ? 1 : s->n_parts;

		for (unsigned k = 0; k < total && r == 0; k += h->credits)
			r = hand_over_offer_some(h, &s->addresses[i], i, k, total);
	}
	if (r == 0)
		r = hand_over_send(h, HANDOVER_OFFERED, NULL, 0);
	return r < 0 ? server_say(s, r, "the next process: %s", handover_words(NULL, r)) : 0;
}

/* The next process has not come so far: what was released is this one's again. */
static void hand_over_take_back(struct np_server *s)
{
	server_steer_listeners(s);
	server_accepts(s, true);
}

/* A poller that a handler keeps is waited for as long as an answer. */
static int hand_over_stop_accepting(struct hand_over *h)
{
	const char *words;
	int r;

	server_accepts(h->s, false);
	r = server_facts_await_hand_over(h->s, &h->s->accept_latch, hand_over_answer_until(h));
	if (r == 0)
		return 0;
	server_accepts(h->s, true);
	words = r == -ECANCELED ? "it is being stopped" : "a handler keeps one of its pollers";
	handover_refuse(h->sock, words);
	return server_say(h->s, r, "nothing is handed over: %s", words);
}

/* A shutdown through one of these would shut the next process's. */
static void hand_over_forget(struct np_server *s)
{
	for (unsigned i = 0; i < s->n_addresses; i++) {
		struct server_address *a = &s->addresses[i];

		a->own = false;
		a->file.noted = false;
		for (unsigned k = 0; k < s->n_parts; k++)
			sys_close(&a->fds[k]);
	}
}

static int hand_over_listeners(struct hand_over *h)
{
	struct np_server *s = h->s;
	int r = hand_over_offer(h);

	if (r == 0)
		r = hand_over_await(h, HANDOVER_BEGIN, h->until_ns);
	if (r == 0)
		r = hand_over_stop_accepting(h);
	if (r < 0)
		return r;
	server_release_listeners(s);
	r = hand_over_send(h, HANDOVER_RELEASED, NULL, 0);
	if (r == 0)
		r = hand_over_await(h, HANDOVER_LISTENING, hand_over_answer_until(h));
	if (r == 0)
		r = hand_over_send(h, HANDOVER_YOURS, NULL, 0);
	if (r < 0) {
		hand_over_take_back(s);
		return s->error[0] ?
			       r :
			       server_say(s, r, "the next process: %s", handover_words(NULL, r));
	}
	h->done.addresses = s->n_addresses;
	hand_over_forget(s);
	return 0;
}

/* ------------------------------------------------------------------ connections */

static void hand_over_write_conns(const struct handover_out *out, char *at)
{
	struct handover_conns head = { .poller = out->part->index, .n = out->n };
	struct handover_conn conn = { 0 };

	memcpy(at, &head, sizeof head);
	at += sizeof head;
	for (unsigned i = 0; i < out->n; i++, at += sizeof conn) {
		conn.set = out->set[i];
		conn.n = out->conn[i].n;
		memcpy(at, &conn, sizeof conn);
	}
	for (unsigned i = 0; i < out->n; at += out->conn[i++].n)
		memcpy(at, out->conn[i].bytes, out->conn[i].n);
}

static int hand_over_send_conns(struct hand_over *h, const struct handover_out *out)
{
	size_t n =
		sizeof(struct handover_conns) + out->n * sizeof(struct handover_conn) + out->bytes;
	int fds[SYS_PASS_MAX], r;
	char *p = malloc(n);

	if (!p)
		return -ENOMEM;
	hand_over_write_conns(out, p);
	for (unsigned i = 0; i < out->n; i++)
		fds[i] = out->conn[i].c->watch.fd;
	r = handover_send(h->sock, HANDOVER_CONNS, p, n, fds, out->n, hand_over_answer_until(h));
	free(p);
	return r == -EPIPE ? 0 : r; /* what it said before it went is the answer */
}

/* Of a set both are, or neither. */
static bool hand_over_answer_holds(const struct handover_out *out, const struct handover_frame *f)
{
	const char *taken = f->bytes;

	if (f->n != out->n || f->n_fds)
		return false;
	for (unsigned i = 0; i < out->n; i++)
		if (!out->set[i] && (taken[i] == 1) != (taken[i - 1] == 1))
			return false;
	return true;
}

/* Which the next process can have. Those are its own as soon as it is told so. */
static int hand_over_hear_answer(struct hand_over *h, struct handover_out *out)
{
	struct handover_frame f;
	int r = hand_over_expect(h, HANDOVER_IMPORTED, &f, hand_over_answer_until(h));

	if (r < 0)
		return r;
	if (!hand_over_answer_holds(out, &f))
		r = server_say(h->s, -EPROTO, "the next process: an answer to another question");
	else
		r = hand_over_send(h, HANDOVER_COMMIT, NULL, 0);
	for (unsigned i = 0; r == 0 && i < out->n; i++)
		out->taken[i] = ((const char *)f.bytes)[i] == 1;
	out->answered = r == 0;
	handover_frame_free(&f);
	return r;
}

static int hand_over_batch(struct hand_over *h, struct handover_out *out)
{
	int r = hand_over_send_conns(h, out);

	if (r == 0)
		r = hand_over_hear_answer(h, out);
	for (unsigned i = 0; r == 0 && i < out->n; i++) {
		h->done.handed += out->taken[i] && !out->conn[i].dialed;
		h->done.refused += !out->taken[i] && !out->conn[i].dialed;
	}
	if (r < 0 && !h->s->error[0])
		server_say(h->s, r, "the next process: %s", handover_words(NULL, r));
	return r;
}

/* As many as can go now. *ret_busy: so many may later. */
static int hand_over_part(struct hand_over *h, struct server_part *part, unsigned *ret_busy,
			  bool *ret_any)
{
	struct handover_out *out;
	unsigned n;
	int r = 0;

	do {
		out = handover_out_fill(part, h->credits, hand_over_answer_until(h));
		if (!out) { /* a handler keeps the poller */
			++*ret_busy;
			h->done.because[NP_STAYS_AT_WORK]++;
			return 0;
		}
		n = out->n;
		if (n) {
			r = hand_over_batch(h, out);
		} else {
			*ret_busy += out->busy;
			h->done.stays += out->stays;
			for (unsigned i = 0; i < NP_STAYS_N; i++)
				h->done.because[i] += out->because[i];
		}
		handover_out_settle(out);
		*ret_any |= n > 0;
	} while (n && r == 0);
	return r;
}

/* It says nothing now: what can be read is its end, or that of a socket which a stop has shut. */
static int hand_over_pause(struct hand_over *h)
{
	if (sys_wait_until(h->sock, POLLIN, sys_clock_ns() + LOOK_MS * 1000000u) < 0 ||
	    server_facts_hand_over_ends(h->s))
		return 0;
	return hand_over_await(h, HANDOVER_NONE, hand_over_answer_until(h));
}

/*
 * Each poller once. One that moved meanwhile may have gone from a poller that had not been looked
 * at to one that had. *ret_any: some have gone, or moved.
 */
static int hand_over_round(struct hand_over *h, unsigned *ret_busy, bool *ret_any)
{
	uint64_t moved = server_facts_moved(h->s);
	int r = 0;

	h->done.stays = *ret_busy = 0;
	memset(h->done.because, 0, sizeof h->done.because);
	*ret_any = false;
	for (unsigned i = 0; i < h->s->n_parts && r == 0; i++)
		r = hand_over_part(h, h->s->parts[i], ret_busy, ret_any);
	*ret_any |= moved != server_facts_moved(h->s);
	return r;
}

/*
 * Behind its time there are a few looks more: the whole process may have been stopped until then,
 * and a poller that goes on finds out in its next turn what has come meanwhile.
 */
static int hand_over_connections(struct hand_over *h)
{
	unsigned busy;
	bool any;
	int r;

	h->until_ns = hand_over_until(h->work_ms);
	for (unsigned late = 0;; late += sys_clock_ns() >= h->until_ns) {
		r = hand_over_round(h, &busy, &any);
		if (r < 0)
			return r;
		if ((!busy && !any) || late == LATE_LOOKS || server_facts_hand_over_ends(h->s))
			break;
		r = any ? 0 : hand_over_pause(h);
		if (r < 0)
			return r;
	}
	h->done.busy = busy;
	return hand_over_send(h, HANDOVER_END, NULL, 0);
}

/* ------------------------------------------------------------------ the call */

static int hand_over(struct hand_over *h, const char *where)
{
	struct np_server *s = h->s;
	int r;

	s->error[0] = '\0';
	if (s->phase != SERVER_RUNNING && s->phase != SERVER_DRAINING)
		return server_say(s, -EINVAL,
				  "the server does not run: there is nothing to hand over");
	if (s->addresses[0].fds[0] < 0)
		return server_say(s, -EALREADY, "what it listened on was handed over before");
	r = handover_meet(s, where, h->until_ns, &h->sock);
	server_facts_hand_over(s, h->sock);
	h->until_ns = handover_heard_until(h->until_ns);
	if (r == 0)
		r = hand_over_hello(h);
	if (r == 0)
		r = hand_over_listeners(h);
	if (r == 0)
		r = hand_over_connections(h);
	server_facts_hand_over_is_over(s);
	sys_close(&h->sock);
	return r;
}

int np_server_hand_over(struct np_server *s, const char *where, const struct np_hand_over_opts *o,
			struct np_handed_over *ret)
{
	struct np_hand_over_opts d;
	struct hand_over h = { .s = s, .sock = -1 };
	int r = sys_opts_take(&d, sizeof d, o);

	if (r < 0)
		return r;
	if (!where || d.come_ms < -1 || d.work_ms < -1 || d.answer_ms < -1)
		return -EINVAL;
	if (poller_self())
		return -EDEADLK;
	h.work_ms = d.work_ms ? d.work_ms : WORK_MS;
	h.answer_ms = d.answer_ms ? d.answer_ms : ANSWER_MS;
	h.until_ns = hand_over_until(d.come_ms ? d.come_ms : COME_MS);
	pthread_mutex_lock(&s->lock);
	r = hand_over(&h, where);
	pthread_mutex_unlock(&s->lock);
	if (ret)
		sys_opts_give(ret, &h.done, sizeof h.done);
	return r;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * channel: the callers on any thread that wait for answers on one connection, by their numbers
 *
 * A lock is held for the few instructions of looking up a number, never over a system call: callers
 * are on several threads, and the table is what they share. The thread that takes a caller out of
 * the table, under the lock, is the only one that may end its wait. A caller that gave up and finds
 * itself taken waits for what is on its way, which is not long.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "fiber/fiber.h"
#include "netpoll/call.h"
#include "netpoll/channel_look.h"
#include "netpoll/event.h"
#include "netpoll/linkbuf.h"
#include "netpoll/pollers_private.h"
#include "netpoll/registry.h"
#include "poll/baton.h"
#include "sys/opts.h"

#define TABLE 256 /* chains; a power of two. Numbers that follow each other are spread evenly */

/* On the caller's stack. */
struct caller {
	struct caller *next;
	uint64_t id;
	struct event done;
	struct np_linkbuf *answer;
	int result;
};

struct np_channel {
	struct noted noted;
	struct np_conn *conn; /* a reference */
	struct np_channel_opts opts;
	_Atomic(uint64_t) last_id;
	_Atomic(uint64_t) dropped;
	_Atomic(unsigned) refs; /* its user, its connection until on_close, every call inside */

	pthread_mutex_t lock;
	struct caller *table[TABLE];
	unsigned waiting; /* in the table */
	int error;        /* the connection has ended */
};

static void channel_ref(struct np_channel *ch)
{
	atomic_fetch_add_explicit(&ch->refs, 1, memory_order_relaxed);
}

static void channel_unref(struct np_channel *ch)
{
	if (atomic_fetch_sub_explicit(&ch->refs, 1, memory_order_acq_rel) != 1)
		return;
	registry_forget(&ch->noted);
	if (ch->conn)
		np_conn_unref(ch->conn);
	pthread_mutex_destroy(&ch->lock);
	free(ch);
}

/* ------------------------------------------------------------------ the table */

static struct caller **channel_chain(struct np_channel *ch, uint64_t id)
{
	return &ch->table[id & (TABLE - 1)];
}

/* Under the lock. @only, or the caller that waits for @id where that is NULL. */
static struct caller *channel_take(struct np_channel *ch, uint64_t id, const struct caller *only)
{
	for (struct caller **at = channel_chain(ch, id); *at; at = &(*at)->next) {
		struct caller *k = *at;

		if (k->id == id && (!only || k == only)) {
			*at = k->next;
			ch->waiting--;
			return k;
		}
	}
	return NULL;
}

static int channel_enter(struct np_channel *ch, struct caller *k)
{
	struct caller *there;
	int r;

	pthread_mutex_lock(&ch->lock);
	r = ch->error;
	for (there = *channel_chain(ch, k->id); there && r == 0; there = there->next)
		r = there->id == k->id ? -EEXIST : 0;
	if (r == 0) {
		k->next = *channel_chain(ch, k->id);
		*channel_chain(ch, k->id) = k;
		ch->waiting++;
	}
	pthread_mutex_unlock(&ch->lock);
	return r;
}

/* Whether @k was still in the table; if not, its wait is about to be ended. */
static bool channel_withdraw(struct np_channel *ch, struct caller *k)
{
	bool mine;

	pthread_mutex_lock(&ch->lock);
	mine = channel_take(ch, k->id, k) != NULL;
	pthread_mutex_unlock(&ch->lock);
	return mine;
}

static void channel_answer(struct caller *k, struct np_linkbuf *b, int result)
{
	k->answer = b;
	k->result = result;
	event_set(&k->done);
}

/* ------------------------------------------------------------------ the connection */

static int channel_on_answer(struct np_conn *c, void *arg)
{
	struct np_channel *ch = arg;
	struct np_linkbuf *b = NULL;
	struct caller *k;
	uint64_t id = 0;
	size_t len = 0;
	int r;

	r = ch->opts.frame(c, &id, &len, ch->opts.arg);
	if (r == 0)
		r = len ? np_conn_slice(c, len, &b) : -EBADMSG;
	if (r < 0)
		return r;
	pthread_mutex_lock(&ch->lock);
	k = channel_take(ch, id, NULL);
	pthread_mutex_unlock(&ch->lock);
	if (k) {
		channel_answer(k, b, 0);
		return 0;
	}
	np_linkbuf_free(&b);
	atomic_fetch_add_explicit(&ch->dropped, 1, memory_order_relaxed);
	return 0;
}

static void channel_on_close(struct np_conn *c, void *arg)
{
	struct np_channel *ch = arg;
	struct caller *all = NULL, *k;
	int why = np_conn_error(c);

	pthread_mutex_lock(&ch->lock);
	ch->error = why < 0 ? why : -NP_EEOF;
	for (unsigned i = 0; i < TABLE; i++)
		while ((k = ch->table[i])) {
			ch->table[i] = k->next;
			ch->waiting--;
			k->next = all;
			all = k;
		}
	pthread_mutex_unlock(&ch->lock);
	while ((k = all)) {
		all = k->next; /* before it is woken: then it is gone */
		channel_answer(k, NULL, ch->error);
	}
	channel_unref(ch);
}

static int channel_dial(struct np_channel *ch, const char *network, const char *address)
{
	static const struct np_handlers handlers = { .sz = sizeof handlers,
						     .on_request = channel_on_answer,
						     .on_close = channel_on_close,
						     .flags = HANDLERS_OURS };
	struct np_dial_opts d = {
		.sz = sizeof d,
		.handlers = &handlers,
		.arg = ch,
		.timeout_ms = ch->opts.dial_ms,
		.nagle = ch->opts.nagle,
		.keepalive_idle_s = ch->opts.keepalive_idle_s,
		.keepalive_intvl_s = ch->opts.keepalive_intvl_s,
		.keepalive_cnt = ch->opts.keepalive_cnt,
		.user_timeout_ms = ch->opts.user_timeout_ms,
	};

	return np_dial(NULL, NP_HERE, network, address, &d, &ch->conn);
}

int np_channel_dial(const char *network, const char *address, const struct np_channel_opts *o,
		    struct np_channel **ret)
{
	NP_GATE(np_channel_dial(network, address, o, ret));

	struct np_channel *ch;
	int r;

	*ret = NULL;
	ch = calloc(1, sizeof *ch);
	if (!ch)
		return -ENOMEM;
	pthread_mutex_init(&ch->lock, NULL);
	atomic_init(&ch->refs, 2);
	r = o ? sys_opts_take(&ch->opts, sizeof ch->opts, o) : -EINVAL;
	if (r == 0 && !ch->opts.frame)
		r = -EINVAL;
	if (r == 0)
		r = channel_dial(ch, network, address);
	if (r < 0) {
		channel_unref(ch);
		/* the connection's: here, a dial that failed has called nothing */
		channel_unref(ch);
		return r;
	}
	registry_note(REGISTRY_CHANNELS, &ch->noted);
	*ret = ch;
	return 0;
}

int np_channel_free(struct np_channel **p)
{
	NP_GATE(np_channel_free(p));

	struct np_channel *ch = *p;

	*p = NULL;
	if (!ch)
		return 0;
	np_conn_close(ch->conn);
	channel_unref(ch);
	return 0;
}

void channel_look(struct noted *n, struct channel_look *ret)
{
	struct np_channel *ch = container_of(n, struct np_channel, noted);

	pthread_mutex_lock(&ch->lock);
	*ret = (struct channel_look){ .waiting = ch->waiting, .error = ch->error };
	pthread_mutex_unlock(&ch->lock);
	ret->calls = atomic_load_explicit(&ch->last_id, memory_order_relaxed);
	ret->dropped = np_channel_dropped(ch);
	ret->poller = np_conn_poller(ch->conn);
}

/* ------------------------------------------------------------------ calls */

uint64_t np_channel_id(struct np_channel *ch)
{
	return atomic_fetch_add_explicit(&ch->last_id, 1, memory_order_relaxed) + 1;
}

int np_channel_error(struct np_channel *ch)
{
	int r;

	pthread_mutex_lock(&ch->lock);
	r = ch->error;
	pthread_mutex_unlock(&ch->lock);
	return r ? r : np_conn_is_active(ch->conn) ? 0 : -NP_ECLOSED;
}

struct np_conn *np_channel_conn(struct np_channel *ch)
{
	NP_GATE(np_channel_conn(ch));

	return ch->conn;
}

uint64_t np_channel_dropped(struct np_channel *ch)
{
	return atomic_load_explicit(&ch->dropped, memory_order_relaxed);
}

static int channel_call(struct np_channel *ch, struct caller *k, struct np_linkbuf **request,
			int ms)
{
	int r = channel_enter(ch, k);

	if (r < 0)
		return r;
	r = np_conn_send(ch->conn, request);
	if (r == 0)
		r = event_wait(&k->done, ms, "call");
	if (r == 0 || channel_withdraw(ch, k))
		return r == 0 ? k->result : r;
	r = event_wait_firm(&k->done, NULL, NULL, "call");
	return r < 0 ? r : k->result;
}

int np_call(struct np_channel *ch, uint64_t id, struct np_linkbuf **request, int ms,
	    struct np_linkbuf **ret_answer)
{
	NP_GATE(np_call(ch, id, request, ms, ret_answer));

	struct caller k = { .id = id };
	int r = -EINVAL;

	*ret_answer = NULL;
	event_init(&k.done);
	channel_ref(ch);
	if (np_poller_self() >= 0 && !fiber_self())
		r = -NP_ENOTFIBER;
	else if (ms >= -1 && request && *request)
		r = channel_call(ch, &k, request, ms);
	channel_unref(ch);
	if (r == 0)
		*ret_answer = k.answer;
	else if (k.answer)
		np_linkbuf_free(&k.answer);
	return r;
}

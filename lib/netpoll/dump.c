/* SPDX-License-Identifier: BSD-2-Clause */
/* dump: all sets, pollers first; each table is written from what was gathered. */
#include "netpoll/dump.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "netpoll/channel_look.h"
#include "netpoll/gather.h"
#include "netpoll/pollers_private.h"
#include "netpoll/pool_part.h"
#include "netpoll/server_private.h"
#include "netpoll/sheet.h"
#include "poll/baton.h"
#include "sys/addr.h"
#include "sys/clock.h"
#include "sys/io.h"
#include "sys/opts.h"
#include "sys/pass.h"
#include "sys/symbol.h"
#include "sys/text.h"

#define DUMP_ALL      ((1u << 7) - 1)
#define DUMP_ASKED    (NP_DUMP_POLLERS | NP_DUMP_CONNS | NP_DUMP_FIBERS) /* of the pollers */
#define DUMP_WRITE_NS 5000000000u
#define DUMP_PIECE    4096u /* what a pipe takes whole once it is writable */

struct dump_set {
	struct np_pollers *pollers;
	struct gather *gather; /* NULL: nothing is asked of them, or they have ended */
};

struct dump {
	struct sheet sheet;
	struct dump_set *sets;
	unsigned n, cap;
	int error;
};

/* What @fn is to be done for. */
static void dump_each_part(struct dump *d,
			   void (*fn)(struct dump *, unsigned set, const struct gather_part *))
{
	for (unsigned i = 0; i < d->n; i++)
		for (unsigned k = 0; d->sets[i].gather && k < d->sets[i].gather->n; k++)
			fn(d, registry_id(&d->sets[i].pollers->noted), &d->sets[i].gather->part[k]);
}

static void dump_symbol(struct dump *d, const void *fn)
{
	char name[160];

	sheet_text(&d->sheet, fn ? sys_symbol(fn, name, sizeof name) : NULL);
}

static void dump_count(struct dump *d, uint64_t n)
{
	if (n == CONN_LOOK_UNKNOWN)
		sheet_none(&d->sheet);
	else
		sheet_uint(&d->sheet, n);
}

static void dump_address(struct dump *d, const struct sockaddr_storage *ss, socklen_t len)
{
	char text[160];

	if (!len) {
		sheet_none(&d->sheet);
		return;
	}
	addr_format(ss, len, text, sizeof text);
	sheet_text(&d->sheet, text);
}

static void dump_place(struct dump *d, unsigned set, const struct gather_part *part)
{
	sheet_uint(&d->sheet, set);
	sheet_uint(&d->sheet, part->slot->index);
}

static uint64_t dump_since(uint64_t now, uint64_t then)
{
	return now > then ? now - then : 0;
}

/* ------------------------------------------------------------------ pollers */

static const struct column poller_columns[] = {
	{ "set", 3 },          { "poller", 6 },      { "cpu", 3 },    { "state", -7 },
	{ "delay_us", 8 },     { "conns", 6 },       { "fibers", 6 }, { "timers", 6 },
	{ "mail", 5 },         { "turns", 9 },       { "sleeps", 9 }, { "events", 9 },
	{ "mails", 8 },        { "slow_turns", 10 }, { "hogs", 4 },   { "stacks", 6 },
	{ "fibers_high", 11 }, { "refused", 7 },     { "memory", 9 }, { "handler", -30 },
	{ "handler_ms", 10 },  { "tag", -10 },       { "fd", 4 },
};

static void dump_poller_counts(struct dump *d, const struct gather_part *part)
{
	struct sheet *s = &d->sheet;
	uint64_t slow_turns, hogs;

	poller_hogs(part->slot->poller, &slow_turns, &hogs);
	sheet_uint(s, part->stats.turns);
	sheet_uint(s, part->stats.waits);
	sheet_uint(s, part->stats.events);
	sheet_uint(s, part->stats.mails);
	sheet_uint(s, slow_turns);
	sheet_uint(s, hogs);
	sheet_uint(s, part->fibers_stats.stacks);
	sheet_uint(s, part->fibers_stats.high);
	sheet_uint(s, part->fibers_stats.refused);
	sheet_uint(s, part->memory);
	for (unsigned i = 0; i < 4; i++)
		sheet_none(s);
}

static void dump_poller_stuck(struct dump *d, const struct gather_part *part,
			      const struct poller_sight *seen)
{
	struct sheet *s = &d->sheet;
	uint64_t slow_turns, hogs, now = sys_clock_ns() / 1000000u;

	poller_hogs(part->slot->poller, &slow_turns, &hogs);
	for (unsigned i = 0; i < 4; i++)
		sheet_none(s);
	sheet_uint(s, slow_turns);
	sheet_uint(s, hogs);
	for (unsigned i = 0; i < 4; i++)
		sheet_none(s);
	dump_symbol(d, seen->began_ms ? seen->handler : NULL);
	dump_count(d, seen->began_ms ? dump_since(now, seen->began_ms) : CONN_LOOK_UNKNOWN);
	sheet_text(s, seen->tag);
	dump_count(d, seen->began_ms && seen->fd >= 0 ? (uint64_t)seen->fd : CONN_LOOK_UNKNOWN);
}

static void dump_poller(struct dump *d, unsigned set, const struct gather_part *part)
{
	struct poller *p = part->slot->poller;
	bool answers = gather_state(part) == GATHER_ANSWERED;
	struct sheet *s = &d->sheet;
	struct poller_sight seen;

	poller_look(p, &seen);
	dump_place(d, set, part);
	if (poller_cpu(p) < 0)
		sheet_none(s);
	else
		sheet_int(s, poller_cpu(p));
	sheet_text(s, answers ? "answers" : seen.began_ms ? "stuck" : "silent");
	dump_count(d, answers ? (part->begun_ns - part->asked_ns) / 1000 : CONN_LOOK_UNKNOWN);
	dump_count(d, answers ? part->live_conns : CONN_LOOK_UNKNOWN);
	dump_count(d, answers ? part->fibers_stats.in_use : CONN_LOOK_UNKNOWN);
	dump_count(d, answers ? part->timers : CONN_LOOK_UNKNOWN);
	dump_count(d, answers ? part->mails_waiting : CONN_LOOK_UNKNOWN);
	if (answers)
		dump_poller_counts(d, part);
	else
		dump_poller_stuck(d, part, &seen);
}

/* ------------------------------------------------------------------ connections */

static const struct column conn_columns[] = {
	{ "set", 3 },       { "poller", 6 },     { "fd", 4 },          { "peer", -21 },
	{ "server", -12 },  { "transport", -9 }, { "life", -9 },       { "in", -6 },
	{ "out", -8 },      { "handler", -30 },  { "handler_ms", 10 }, { "waits", -10 },
	{ "waits_ms", 8 },  { "tag", -10 },      { "age_ms", 9 },      { "quiet_ms", 9 },
	{ "bytes_in", 10 }, { "bytes_out", 10 }, { "unread", 7 },      { "unsent", 7 },
	{ "in_flight", 9 }, { "built", 6 },      { "queued", 6 },      { "holds", 5 },
	{ "draining", -8 }, { "why", -10 },
};

static void dump_conn_handler(struct dump *d, const struct gather_part *part,
			      const struct conn_look *l)
{
	struct sheet *s = &d->sheet;
	const struct park_sight *k = &l->park;

	dump_symbol(d, l->handled ? k->handler : NULL);
	dump_count(d, l->handled ? dump_since(part->now_ms, k->handler_ms) : CONN_LOOK_UNKNOWN);
	sheet_text(s, l->handled ? k->what : l->holds ? "held" : l->service);
	dump_count(d, l->handled ? dump_since(part->now_ms, k->since_ms) : CONN_LOOK_UNKNOWN);
	sheet_text(s, l->tag);
}

static void dump_conn(struct dump *d, unsigned set, const struct gather_part *part,
		      const struct gather_conn *c)
{
	const struct conn_look *l = &c->look;
	struct sheet *s = &d->sheet;

	dump_place(d, set, part);
	sheet_int(s, l->fd);
	dump_address(d, &l->peer, l->peer_len);
	sheet_text(s, *c->server ? c->server : NULL);
	sheet_text(s, l->transport);
	sheet_text(s, l->life);
	sheet_text(s, l->in);
	sheet_text(s, l->out);
	dump_conn_handler(d, part, l);
	sheet_uint(s, l->age_ms);
	dump_count(d, l->quiet_ms);
	dump_count(d, l->bytes_in);
	dump_count(d, l->bytes_out);
	sheet_uint(s, l->unread);
	sheet_uint(s, l->unsent);
	dump_count(d, l->in_flight);
	sheet_uint(s, l->built);
	sheet_uint(s, l->queued);
	sheet_uint(s, l->holds);
	sheet_text(s, l->draining ? "yes" : "no");
	sheet_text(s, l->why ? np_strerror(l->why) : NULL);
}

static void dump_conns(struct dump *d, unsigned set, const struct gather_part *part)
{
	if (gather_state(part) == GATHER_ANSWERED)
		for (size_t i = 0; i < part->n_conns; i++)
			dump_conn(d, set, part, &part->conns[i]);
}

/* ------------------------------------------------------------------ fibers */

static const struct column fiber_columns[] = {
	{ "set", 3 },         { "poller", 6 },   { "fiber", -14 }, { "state", -6 },
	{ "waits", -10 },     { "waits_ms", 8 }, { "left_ms", 8 }, { "handler", -30 },
	{ "handler_ms", 10 }, { "fd", 4 },       { "tag", -10 },
};

static void dump_fiber(struct dump *d, unsigned set, const struct gather_part *part,
		       const struct gather_fiber *f)
{
	const struct park_sight *k = &f->park;
	struct sheet *s = &d->sheet;
	uint64_t now = part->now_ms;

	dump_place(d, set, part);
	sheet_format(s, "%p", f->id);
	sheet_text(s, !f->parked ? "runs" : k->woken ? "woken" : "parked");
	sheet_text(s, f->parked ? k->what : NULL);
	dump_count(d, f->parked ? dump_since(now, k->since_ms) : CONN_LOOK_UNKNOWN);
	dump_count(d, k->until_ms ? dump_since(k->until_ms, now) : CONN_LOOK_UNKNOWN);
	dump_symbol(d, k->handler);
	dump_count(d, f->parked ? dump_since(now, k->handler_ms) : CONN_LOOK_UNKNOWN);
	dump_count(d, f->parked && k->fd >= 0 ? (uint64_t)k->fd : CONN_LOOK_UNKNOWN);
	sheet_text(s, k->tag);
}

static void dump_fibers(struct dump *d, unsigned set, const struct gather_part *part)
{
	if (gather_state(part) != GATHER_ASKED)
		for (size_t i = 0; i < part->n_fibers; i++)
			dump_fiber(d, set, part, &part->fibers[i]);
}

/* ------------------------------------------------------------------ what any thread may read */

#define COUNT(member, width) COLUMN(struct np_server_stats, member, width)

static const struct column server_columns[] = {
	{ "server", -20 },
	{ "id", 2 },
	{ "phase", -8 },
	COUNT(conns, 7),
	COUNT(accepted, 9),
	COUNT(closed, 9),
	COUNT(at_limit, 8),
	COUNT(shed, 5),
	{ "errors", 6, offsetof(struct np_server_stats, handler_errors) },
	COUNT(cut, 5),
	COUNT(moved, 6),
	COUNT(drained, 7),
	COUNT(fresh, 6),
	COUNT(raced, 6),
	COUNT(rebalanced, 10),
	COUNT(handed_over, 11),
	COUNT(taken_over, 10),
};

static void dump_server(void *arg, struct noted *n)
{
	static const char *const phases[] = { "made", "running", "draining", "stopping",
					      "stopped" };
	struct np_server *server = container_of(n, struct np_server, noted);
	struct np_server_stats st = { .sz = sizeof st };
	struct sheet *s = arg;

	np_server_stats(server, &st);
	sheet_text(s, server->name);
	sheet_uint(s, registry_id(n));
	sheet_text(s, phases[atomic_load(&server->phase)]);
	sheet_counts(s, &st);
}

#undef COUNT
#define COUNT(member, width) COLUMN(struct np_pool_stats, member, width)

static const struct column pool_columns[] = {
	{ "network", -7 },  { "address", -21 },     { "pool", 4 },  COUNT(open, 6),
	COUNT(idle, 6),     COUNT(waiting, 7),      COUNT(gets, 9), COUNT(reused, 9),
	COUNT(dials, 7),    COUNT(dial_errors, 11), COUNT(died, 6), COUNT(expired, 7),
	COUNT(timeouts, 8),
};

static void dump_pool(void *arg, struct noted *n)
{
	struct np_pool *pool = container_of(n, struct np_pool, noted);
	struct np_pool_stats st = { .sz = sizeof st };
	struct sheet *s = arg;

	np_pool_stats(pool, &st);
	sheet_text(s, pool->network);
	sheet_text(s, pool->address);
	sheet_uint(s, registry_id(n));
	sheet_counts(s, &st);
}

static const struct column channel_columns[] = {
	{ "channel", -14 }, { "poller", 6 },  { "waiting", 7 },
	{ "calls", 9 },     { "dropped", 7 }, { "error", -10 },
};

static void dump_channel(void *arg, struct noted *n)
{
	struct sheet *s = arg;
	struct channel_look l;

	channel_look(n, &l);
	sheet_format(s, "%p", (void *)n);
	sheet_int(s, l.poller);
	sheet_uint(s, l.waiting);
	sheet_uint(s, l.calls);
	sheet_uint(s, l.dropped);
	sheet_text(s, l.error ? np_strerror(l.error) : NULL);
}

static const struct column offload_columns[] = {
	{ "set", 3 },     { "queued", 6 },   { "running", 7 },  { "done", 9 },
	{ "refused", 7 }, { "given_up", 8 }, { "handoffs", 8 }, { "handoffs_refused", 16 },
	{ "away", 4 },
};

/* Worker threads, and those that go on with a poller while a handler keeps its own. */
static void dump_offload(struct dump *d)
{
	struct sheet *s = &d->sheet;

	for (unsigned i = 0; i < d->n; i++) {
		struct np_pollers_stats st = { .sz = sizeof st };

		np_pollers_stats(d->sets[i].pollers, &st);
		sheet_uint(s, registry_id(&d->sets[i].pollers->noted));
		sheet_uint(s, st.offload_queued);
		sheet_uint(s, st.offload_running);
		sheet_uint(s, st.offload_done);
		sheet_uint(s, st.offload_refused);
		sheet_uint(s, st.offload_given_up);
		sheet_uint(s, st.handoffs);
		sheet_uint(s, st.handoffs_refused);
		sheet_uint(s, st.away);
	}
}

/* ------------------------------------------------------------------ all of it */

static void dump_find_set(void *arg, struct noted *n)
{
	struct dump *d = arg;
	struct dump_set *grown;

	if (d->n == d->cap) {
		d->cap += 16;
		grown = realloc(d->sets, d->cap * sizeof *grown);
		if (!grown) {
			d->error = -ENOMEM;
			d->cap = d->n;
			return;
		}
		d->sets = grown;
	}
	d->sets[d->n++] = (struct dump_set){ container_of(n, struct np_pollers, noted), NULL };
}

static void dump_gather(struct dump *d, unsigned parts)
{
	registry_each(REGISTRY_SETS, dump_find_set, d);
	for (unsigned i = 0; i < d->n && (parts & DUMP_ASKED) && d->error == 0; i++)
		if (atomic_load(&d->sets[i].pollers->phase) != POLLERS_ENDED)
			d->error = gather_ask(d->sets[i].pollers, parts, &d->sets[i].gather);
}

/* In the order in which a reader asks. */
static void dump_tables(struct dump *d, unsigned parts)
{
	struct sheet *s = &d->sheet;

	if (parts & NP_DUMP_POLLERS) {
		SHEET_TABLE(s, "pollers", poller_columns);
		dump_each_part(d, dump_poller);
	}
	if (parts & NP_DUMP_SERVERS) {
		SHEET_TABLE(s, "servers", server_columns);
		registry_each(REGISTRY_SERVERS, dump_server, s);
	}
	if (parts & NP_DUMP_CONNS) {
		SHEET_TABLE(s, "conns", conn_columns);
		dump_each_part(d, dump_conns);
	}
	if (parts & NP_DUMP_FIBERS) {
		SHEET_TABLE(s, "fibers", fiber_columns);
		dump_each_part(d, dump_fibers);
	}
	if (parts & NP_DUMP_POOLS) {
		SHEET_TABLE(s, "pools", pool_columns);
		registry_each(REGISTRY_POOLS, dump_pool, s);
	}
	if (parts & NP_DUMP_CHANNELS) {
		SHEET_TABLE(s, "channels", channel_columns);
		registry_each(REGISTRY_CHANNELS, dump_channel, s);
	}
	if (parts & NP_DUMP_OFFLOAD) {
		SHEET_TABLE(s, "offload", offload_columns);
		dump_offload(d);
	}
}

int dump_make(enum np_dump_format format, unsigned parts, char **ret, size_t *ret_n)
{
	struct dump d = { .error = 0 };
	FILE *to = open_memstream(ret, ret_n);

	if (!to)
		return -ENOMEM;
	parts = parts ? parts : DUMP_ALL;
	registry_hold_sets();
	dump_gather(&d, parts);
	sheet_open(&d.sheet, to, format);
	dump_tables(&d, parts);
	sheet_close(&d.sheet);
	for (unsigned i = 0; i < d.n; i++)
		if (d.sets[i].gather)
			gather_free(d.sets[i].gather);
	registry_release_sets();
	free(d.sets);
	if (sys_text_close(to, ret) < 0)
		d.error = -ENOMEM;
	if (d.error < 0)
		free(*ret);
	return d.error;
}

/* A descriptor that blocks is written to only as far as it takes at once. */
int dump_write(int fd, const char *p, size_t n)
{
	while (n) {
		int r = sys_wait_until(fd, POLLOUT, sys_clock_ns() + DUMP_WRITE_NS);
		ssize_t w = r < 0 ? r : sys_write_quietly(fd, p, n < DUMP_PIECE ? n : DUMP_PIECE);

		if (w < 0 && w != -EAGAIN)
			return (int)w;
		p += w > 0 ? w : 0;
		n -= w > 0 ? (size_t)w : 0;
	}
	return 0;
}

int np_dump(int fd, const struct np_dump_opts *opts)
{
	NP_GATE(np_dump(fd, opts));

	struct np_dump_opts o;
	size_t n;
	char *text;
	int r = sys_opts_take(&o, sizeof o, opts);

	if (r == 0 && fd < 0) /* which poll(2) would pass over */
		r = -EBADF;
	if (r == 0 && ((unsigned)o.format > NP_DUMP_TSV || o.parts & ~DUMP_ALL))
		r = -EINVAL;
	if (r == 0)
		r = dump_make((enum np_dump_format)o.format, o.parts, &text, &n);
	if (r < 0)
		return r;
	r = dump_write(fd, text, n);
	free(text);
	return r;
}

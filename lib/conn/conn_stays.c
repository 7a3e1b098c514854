/* SPDX-License-Identifier: BSD-2-Clause */
/* conn_stays: whether a connection may go to another process, now or ever, and why it may not. */
#include <errno.h>

#include "conn/conn_export.h"
#include "conn/conn_message.h"

struct conn_set conn_set_of(struct np_conn *c)
{
	struct np_conn *mate = conn_mate(c);

	return (struct conn_set){ .c = { c, mate }, .n = mate ? 2 : 1 };
}

bool conn_is_dialed(const struct np_conn *c)
{
	return c->group->on_travel;
}

/* Of the same server, or one that goes along. */
static bool stays_is_of(const struct np_conn *c, const struct conn_group *g)
{
	return c->group == g || (conn_is_dialed(c) && c->group->at(c->group, g->poller));
}

static bool stays_one_stays(const struct np_conn *c)
{
	return (c->flags & CONN_STAYS) || !c->group->handlers->on_export ||
	       c->transport == TRANSPORT_FILE || conn_filter_of(c);
}

bool conn_stays(const struct conn_set *s)
{
	for (unsigned i = 0; i < s->n; i++)
		if (stays_one_stays(s->c[i]) || !stays_is_of(s->c[i], s->c[0]->group))
			return true;
	return false;
}

/* Nobody counts on it here, or on_export knows of all who do. */
static bool stays_is_free(const struct np_conn *c)
{
	if (c->group->handlers->flags & NP_EXPORT_HELD)
		return true;
	/* another thread's: what it will ask for must not be asked in vain */
	return !c->holds && conn_refs(c) == 1;
}

/* The peer's FIN was read, and nothing keeps it open. */
static bool stays_ends(const struct np_conn *c)
{
	return conn_in_is_over(c) && !c->holds &&
	       (!(c->flags & CONN_HALF_OPEN) || c->out == CONN_OUT_SHUT);
}

static bool stays_is_going_on(const struct np_conn *c)
{
	return conn_life(c) == CONN_OPEN && (c->flags & CONN_CONNECTED) && !c->group->retiring &&
	       c->in != CONN_IN_FAILED && c->out != CONN_OUT_FAILED && !stays_ends(c) &&
	       !((c->flags & CONN_LEFT) && !(c->flags & CONN_TOLD));
}

/* Nothing is in the way but handlers. */
static bool stays_is_idle(const struct np_conn *c)
{
	if (!stays_is_going_on(c) || !stays_is_free(c) || c->calls || mailbox_any(&c->sendq) ||
	    (c->flags & (CONN_LATER | CONN_MOVES)))
		return false;
	return !c->io ||
	       (conn_len(c) <= CONN_MESSAGE_PART_MAX && conn_unsent(c) <= CONN_MESSAGE_PART_MAX);
}

static bool stays_one_is_quiet(const struct np_conn *c)
{
	if (!stays_is_idle(c) || c->inside || conn_is_served(c))
		return false;
	return !c->io || (!conn_has_request(c, c->io) && !c->io->held_sends && !c->io->stream.file);
}

bool conn_set_is_quiet(const struct conn_set *s)
{
	for (unsigned i = 0; i < s->n; i++)
		if (!stays_one_is_quiet(s->c[i]))
			return false;
	return true;
}

static enum np_stays stays_one_why(const struct np_conn *c, const struct conn_group *g)
{
	if (!c->group->handlers->on_export)
		return NP_STAYS_HANDLERS;
	if (conn_filter_of(c))
		return NP_STAYS_TLS;
	if (c->transport == TRANSPORT_FILE)
		return NP_STAYS_PIPE;
	if (!stays_is_of(c, g))
		return NP_STAYS_SET;
	if (c->flags & CONN_STAYS)
		return NP_STAYS_REFUSED;
	if (!(c->flags & CONN_CONNECTED))
		return NP_STAYS_BEGINS;
	if (!stays_is_going_on(c))
		return NP_STAYS_ENDS;
	return stays_is_free(c) ? NP_STAYS_AT_WORK : NP_STAYS_HELD;
}

enum np_stays conn_export_why(struct np_conn *c)
{
	struct conn_set s = conn_set_of(c);
	enum np_stays why = stays_one_why(c, c->group);

	return why == NP_STAYS_AT_WORK && s.n > 1 ? stays_one_why(s.c[1], c->group) : why;
}

const char *np_stays_words(enum np_stays why)
{
	static const char *const words[] = {
		[NP_STAYS_HANDLERS] = "no handler to write them down",
		[NP_STAYS_REFUSED] = "refused by a handler",
		[NP_STAYS_TLS] = "TLS",
		[NP_STAYS_PIPE] = "no socket",
		[NP_STAYS_SET] = "bound to one that cannot go",
		[NP_STAYS_ENDS] = "ending",
		[NP_STAYS_BEGINS] = "not connected yet",
		[NP_STAYS_HELD] = "held",
		[NP_STAYS_AT_WORK] = "at work",
	};

	return (unsigned)why < NP_STAYS_N ? words[why] : "for a reason of a later version";
}

bool conn_export_ask(struct np_conn *c)
{
	struct conn_set s = conn_set_of(c);
	int r = 0;

	if (conn_set_is_quiet(&s))
		return false; /* it was not for that */
	for (unsigned i = 0; i < s.n; i++)
		if (!stays_is_idle(s.c[i]) || !conn_part_may(s.c[i]))
			return false;
	for (unsigned i = 0; i < s.n && r == 0; i++)
		r = conn_part_begin(s.c[i]);
	for (unsigned i = 0; i < s.n && r < 0; i++)
		conn_stay(s.c[i]);
	return r == 0;
}

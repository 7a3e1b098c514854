/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_part: a handler that waits at a place where its connection may go, and is sent home for that
 *
 * One in a loop is never quiet. The places are np_conn_wait_movable(), and np_conn_forward() to the
 * other one of a set: the wait there ends with -NP_EMOVED, the handler returns, and at the next
 * turn the connection is quiet. It begins anew with on_request: where it has come to, or here.
 *
 *   io->parting   on_request is called   is left by
 *   0             yes                    conn_part_begin() -> ASKED, or ANEW where one was woken
 *   ASKED         no                     conn_part_end() -> 0
 *   ANEW          no                     conn_part_end() -> 0: it is called for what is there
 *
 * MOVES beside it: for another poller. Nobody else remembers that, if the request is taken back.
 * HOME: the handler that was woken has not returned, and is not judged by what it returns: it may
 * take its time, and then nothing comes of it (conn_serve.c).
 */
#include "conn/conn.h"
#include "poll/baton.h"
#include "sys/io.h"

/* Whether the handler of @from is parked until @to takes more. */
static bool part_forwards(const struct np_conn *from, const struct np_conn *to)
{
	return from && from->io && from->io->place == CONN_PLACE_FORWARD && !from->io->reader &&
	       to && to->io && to->io->writer;
}

/* Fibers that are inside, if none is but those that can be sent home. */
static unsigned part_inside(const struct np_conn *c)
{
	unsigned n = part_forwards(conn_mate(c), c);

	if (c->io && c->io->service == CONN_SERVED)
		n += 1u + (c->io->reader != NULL);
	return n;
}

static bool part_is_at_a_place(const struct np_conn *c)
{
	if (!c->io || c->io->service != CONN_SERVED)
		return true; /* one that is queued will find nothing to do */
	if (c->io->place == CONN_PLACE_FORWARD && (c->flags & CONN_LEFT))
		return false; /* it returns when all has gone on, and the FIN follows */
	if (c->io->reader)
		return c->io->place != CONN_PLACE_NONE;
	return part_forwards(c, conn_mate(c));
}

/* What lies in a pipe can go on as bytes; a file cannot. */
static bool part_file_may(const struct np_conn *c)
{
	const struct stream_file *file = c->io ? c->io->stream.file : NULL;

	return !file || (file->pipe && part_forwards(conn_mate(c), c));
}

bool conn_part_may(const struct np_conn *c)
{
	return !conn_is_aside(c) && c->inside == part_inside(c) && part_is_at_a_place(c) &&
	       part_file_may(c);
}

int conn_part_begin(struct np_conn *c)
{
	struct np_conn *mate = conn_mate(c);
	struct conn_io *io = c->io;
	int r;

	if (!io)
		return 0;
	if (part_forwards(c, mate) && mate->io->stream.file) {
		r = stream_pipe_to_output(&mate->io->stream);
		if (r < 0)
			return r;
	}
	io->on_request = NULL;
	if (io->service != CONN_SERVED) {
		io->parting |= CONN_PARTING_ASKED;
		return 0;
	}
	io->parting |= CONN_PARTING_ANEW | CONN_PARTING_HOME;
	if (io->reader)
		conn_wake(&io->reader, -NP_EMOVED);
	else
		conn_wake(&mate->io->writer, -NP_EMOVED);
	return 0;
}

bool conn_part_end(struct np_conn *c)
{
	struct conn_io *io = c->io;

	if (!conn_is_parting(c))
		return false;
	if (io->parting & CONN_PARTING_ANEW) {
		io->call_at = 1;
		io->wanted = false;
	}
	io->parting &= CONN_PARTING_HOME;
	conn_find_handler(c);
	return true;
}

void conn_stay(struct np_conn *c)
{
	if (conn_part_end(c))
		conn_pump(c, PUMP_ROOM | PUMP_FLUSH | PUMP_TELL);
}

bool conn_at_place(struct np_conn *c, enum conn_place place)
{
	if (!conn_handler(c) || conn_handler(c) != fiber_self() || !(c->flags & CONN_CONNECTED))
		return false; /* on_connect does not begin anew */
	c->io->place = place;
	return true;
}

int np_conn_wait_movable(struct np_conn *c, size_t n)
{
	NP_GATE(np_conn_wait_movable(c, n));

	bool own = conn_at_place(c, CONN_PLACE_READ);
	int r = np_conn_wait(c, n);

	if (own)
		c->io->place = CONN_PLACE_NONE;
	return r;
}

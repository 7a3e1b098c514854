/* SPDX-License-Identifier: BSD-2-Clause */
/* door: a guest is known by its connection's data, which is NULL where it has no place. */
#include "door.h"

static struct door_guest *door_oldest(struct door *d)
{
	struct door_guest *oldest = &d->guests[0];

	for (unsigned i = 0; i < DOOR_GUESTS; i++) {
		if (!d->guests[i].conn)
			return &d->guests[i];
		if (d->guests[i].came < oldest->came)
			oldest = &d->guests[i];
	}
	return oldest;
}

void door_stays(struct np_conn *c)
{
	struct door_guest *g = np_conn_data(c);

	if (g)
		g->conn = NULL;
	np_conn_set_data(c, NULL);
}

/* Counted from when it was heard last, from its request's first byte, from its close. */
static void door_hurry(struct np_conn *c)
{
	door_stays(c);
	np_conn_set_idle_timeout(c, DOOR_SHORT_MS);
	np_conn_set_request_timeout(c, DOOR_SHORT_MS);
	np_conn_set_linger(c, DOOR_SHORT_MS);
}

static int door_on_prepare(struct np_conn *c, void *arg)
{
	struct door *d = arg;
	struct door_guest *g = door_oldest(d);

	if (g->conn)
		door_hurry(g->conn);
	*g = (struct door_guest){ .conn = c, .came = ++d->came };
	np_conn_set_data(c, g);
	return 0;
}

static int door_on_connect(struct np_conn *c, void *arg)
{
	const struct door *d = arg;

	return d->handlers->on_connect ? d->handlers->on_connect(c, d->arg) : 0;
}

static int door_on_request(struct np_conn *c, void *arg)
{
	const struct door *d = arg;

	return d->handlers->on_request ? d->handlers->on_request(c, d->arg) : 0;
}

static void door_on_close(struct np_conn *c, void *arg)
{
	door_stays(c);
}

const struct np_handlers door_handlers = {
	.sz = sizeof door_handlers,
	.on_prepare = door_on_prepare,
	.on_connect = door_on_connect,
	.on_request = door_on_request,
	.on_close = door_on_close,
};

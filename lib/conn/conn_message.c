/* SPDX-License-Identifier: BSD-2-Clause */
/* conn_message: numbers of fixed width, in this machine's order, and five pieces of bytes. */
#include "conn/conn_message.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#define MESSAGE_MAGIC   0x4e50434fu
#define MESSAGE_VERSION 3

/* No holes, and a size that is the same everywhere. */
struct message_fixed {
	uint32_t magic;
	uint16_t version, flags;
	uint32_t size; /* of this struct */
	uint32_t transport;
	int32_t read_timeout_ms, write_timeout_ms, idle_timeout_ms, linger_ms, min_rate,
		request_timeout_ms;
	uint64_t in_high, out_high, in_max, send_high;
	uint64_t idle_ms, request_ms, read_left_ms, write_left_ms;
	uint64_t call_at, rx_total, tx_total;
	uint64_t length[CONN_MESSAGE_PARTS];
};

_Static_assert(sizeof(struct message_fixed) == 4 * 4 + 6 * 4 + (4 + 4 + 3 + 5) * 8, "no holes");

size_t conn_message_size(const struct conn_message *m)
{
	size_t n = sizeof(struct message_fixed);

	for (unsigned i = 0; i < CONN_MESSAGE_PARTS; i++)
		n += m->part[i].n;
	return n;
}

static void message_write_settings(struct message_fixed *f, const struct conn_settings *s)
{
	f->read_timeout_ms = s->read_timeout_ms;
	f->write_timeout_ms = s->write_timeout_ms;
	f->idle_timeout_ms = s->idle_timeout_ms;
	f->linger_ms = s->linger_ms;
	f->min_rate = s->min_rate;
	f->request_timeout_ms = s->request_timeout_ms;
	f->in_high = s->limits.in_high;
	f->out_high = s->limits.out_high;
	f->in_max = s->limits.in_max;
	f->send_high = s->limits.send_high;
}

void conn_message_write(const struct conn_message *m, void *dst)
{
	struct message_fixed f = {
		.magic = MESSAGE_MAGIC,
		.version = MESSAGE_VERSION,
		.flags = m->flags,
		.size = sizeof f,
		.transport = m->transport,
		.idle_ms = m->idle_ms,
		.request_ms = m->request_ms,
		.read_left_ms = m->read_left_ms,
		.write_left_ms = m->write_left_ms,
		.call_at = m->call_at,
		.rx_total = m->rx_total,
		.tx_total = m->tx_total,
	};
	char *p = dst;

	if (m->flags & CONN_MESSAGE_SETTINGS)
		message_write_settings(&f, &m->settings);
	for (unsigned i = 0; i < CONN_MESSAGE_PARTS; i++)
		f.length[i] = m->part[i].n;
	memcpy(p, &f, sizeof f);
	p += sizeof f;
	for (unsigned i = 0; i < CONN_MESSAGE_PARTS; i++) {
		if (m->part[i].n)
			memcpy(p, m->part[i].p, m->part[i].n);
		p += m->part[i].n;
	}
}

/* ------------------------------------------------------------------ reading */

static bool message_limits_hold(const struct message_fixed *f)
{
	return f->in_high && f->out_high && f->in_high <= f->in_max && f->send_high &&
	       f->send_high <= INT32_MAX && f->in_max <= SIZE_MAX / 4 &&
	       f->out_high <= SIZE_MAX / 4;
}

static bool message_settings_hold(const struct message_fixed *f)
{
	return f->read_timeout_ms >= 0 && f->write_timeout_ms >= 0 && f->idle_timeout_ms >= 0 &&
	       f->request_timeout_ms >= 0 && f->linger_ms >= NP_NOW && f->min_rate >= -1 &&
	       f->min_rate != 0 && message_limits_hold(f);
}

static void message_read_settings(const struct message_fixed *f, struct conn_settings *s)
{
	*s = (struct conn_settings){
		.limits = { .in_high = f->in_high,
			    .out_high = f->out_high,
			    .in_max = f->in_max,
			    .send_high = f->send_high },
		.read_timeout_ms = f->read_timeout_ms,
		.write_timeout_ms = f->write_timeout_ms,
		.idle_timeout_ms = f->idle_timeout_ms,
		.linger_ms = f->linger_ms,
		.min_rate = f->min_rate,
		.request_timeout_ms = f->request_timeout_ms,
	};
}

#define MESSAGE_MS_MAX (INT64_MAX / 4) /* sums of two of them, and now, do not overflow */

static bool message_times_hold(const struct message_fixed *f)
{
	return f->idle_ms <= MESSAGE_MS_MAX && f->request_ms <= MESSAGE_MS_MAX &&
	       f->read_left_ms <= MESSAGE_MS_MAX && f->write_left_ms <= MESSAGE_MS_MAX;
}

/* What was read to its end the peer has left, and pauses no more; FIN is behind all bytes. */
static bool message_ways_hold(const struct message_fixed *f)
{
	unsigned in = f->flags & (CONN_MESSAGE_LEFT | CONN_MESSAGE_ENDED | CONN_MESSAGE_PAUSED);

	if ((in & CONN_MESSAGE_ENDED) && in != (CONN_MESSAGE_LEFT | CONN_MESSAGE_ENDED))
		return false;
	if (!(f->flags & CONN_MESSAGE_SHUT))
		return true;
	return !(f->flags & CONN_MESSAGE_DRAINING) && !f->length[CONN_MESSAGE_OUT];
}

static bool message_holds(const struct message_fixed *f)
{
	if ((f->flags & ~CONN_MESSAGE_FLAGS) || !message_ways_hold(f))
		return false;
	if (f->transport != TRANSPORT_TCP && f->transport != TRANSPORT_UNIX)
		return false;
	if ((f->flags & CONN_MESSAGE_SETTINGS) && !message_settings_hold(f))
		return false;
	return message_times_hold(f) && f->call_at && f->call_at <= SIZE_MAX / 4;
}

static bool message_is_inet(uint16_t family)
{
	return family == AF_INET || family == AF_INET6;
}

static bool message_ends_hold(const struct conn_bytes *part)
{
	struct proxy_ends e;

	if (!part->n)
		return true;
	if (part->n != sizeof e)
		return false;
	memcpy(&e, part->p, sizeof e);
	return message_is_inet(e.from.family) && e.to.family == e.from.family;
}

/* The parts are exactly what follows. */
static int message_read_parts(const struct message_fixed *f, const char *p, size_t n,
			      struct conn_bytes part[])
{
	for (unsigned i = 0; i < CONN_MESSAGE_PARTS; i++) {
		if (f->length[i] > CONN_MESSAGE_PART_MAX || f->length[i] > n)
			return -EPROTO;
		part[i] = (struct conn_bytes){ p, f->length[i] };
		p += f->length[i];
		n -= f->length[i];
	}
	return n ? -EPROTO : 0;
}

int conn_message_read(const void *p, size_t n, struct conn_message *ret)
{
	struct conn_bytes part[CONN_MESSAGE_PARTS];
	struct message_fixed f;
	int r;

	if (n < sizeof f)
		return -EPROTO;
	memcpy(&f, p, sizeof f);
	if (f.magic != MESSAGE_MAGIC)
		return -EPROTO;
	if (f.version != MESSAGE_VERSION || f.size != sizeof f)
		return -EPROTONOSUPPORT;
	if (!message_holds(&f))
		return -EPROTO;
	r = message_read_parts(&f, (const char *)p + sizeof f, n - sizeof f, part);
	if (r < 0)
		return r;
	if (!message_ends_hold(&part[CONN_MESSAGE_ENDS]))
		return -EPROTO;
	*ret = (struct conn_message){
		.flags = f.flags,
		.transport = (enum transport_kind)f.transport,
		.idle_ms = f.idle_ms,
		.request_ms = f.request_ms,
		.read_left_ms = f.read_left_ms,
		.write_left_ms = f.write_left_ms,
		.call_at = f.call_at,
		.rx_total = f.rx_total,
		.tx_total = f.tx_total,
	};
	memcpy(ret->part, part, sizeof part);
	if (f.flags & CONN_MESSAGE_SETTINGS)
		message_read_settings(&f, &ret->settings);
	return 0;
}

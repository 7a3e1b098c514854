/* SPDX-License-Identifier: BSD-2-Clause */
/* handover_frame: a header, its descriptors, and as many bytes as it says. */
#include "netpoll/handover_frame.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "netpoll/status.h"
#include "sys/clock.h"
#include "sys/io.h"

#define FRAME_MAGIC   0x4e50484fu
#define FRAME_VERSION 2 /* 1 had no sets */
#define FRAME_MAX     (256u << 20)
#define FRAME_FIRST   65536u /* a length that is claimed commits no memory */
#define REFUSE_MS     100

struct frame_head {
	uint32_t magic;
	uint16_t version, type;
	uint32_t n_fds, n;
};

/* ------------------------------------------------------------------ sending */

static int frame_pause(uint64_t until_ns)
{
	if (sys_clock_ns() >= until_ns)
		return -ETIMEDOUT;
	sys_wait_readable(-1, 1);
	return 0;
}

static int frame_send_all(int sock, const char *p, size_t n, const int *fds, unsigned n_fds,
			  uint64_t until_ns)
{
	while (n) {
		ssize_t r = sys_pass_send(sock, p, n, fds, n_fds);

		if (r == -EAGAIN)
			r = sys_wait_until(sock, POLLOUT, until_ns);
		else if (r == -ETOOMANYREFS) /* of this user, in all sockets: no event will tell */
			r = frame_pause(until_ns);
		else if (r > 0)
			n_fds = 0;
		if (r < 0)
			return r == -ECONNRESET ? -EPIPE : (int)r;
		p += r;
		n -= (size_t)r;
	}
	return 0;
}

int handover_send(int sock, enum handover_type type, const void *p, size_t n, const int *fds,
		  unsigned n_fds, uint64_t until_ns)
{
	struct frame_head h = { FRAME_MAGIC, FRAME_VERSION, (uint16_t)type, n_fds, (uint32_t)n };
	int r = n > FRAME_MAX ? -EMSGSIZE : 0;

	if (r == 0)
		r = frame_send_all(sock, (const char *)&h, sizeof h, fds, n_fds, until_ns);
	return r == 0 ? frame_send_all(sock, p, n, NULL, 0, until_ns) : r;
}

void handover_refuse(int sock, const char *words)
{
	handover_send(sock, HANDOVER_REFUSED, words, strlen(words), NULL, 0,
		      sys_clock_ns() + REFUSE_MS * 1000000ull);
}

/* ------------------------------------------------------------------ receiving */

static void frame_add_fds(struct handover_frame *f, int *fds, unsigned n, int *ret_r)
{
	if (f->n_fds + n > SYS_PASS_MAX) {
		*ret_r = -EMSGSIZE;
		while (n)
			sys_close(&fds[--n]);
		return;
	}
	memcpy(f->fds + f->n_fds, fds, n * sizeof *fds);
	f->n_fds += n;
}

/* Exactly @n bytes. Return: as handover_recv(); *ret_any: some came. */
static int frame_recv_all(int sock, struct handover_frame *f, char *p, size_t n, bool *ret_any,
			  uint64_t until_ns)
{
	int fds[SYS_PASS_MAX], bad = 0;

	while (n) {
		unsigned n_fds = 0;
		ssize_t r = sys_pass_recv(sock, p, n, fds, &n_fds);

		if (r == -EAGAIN) {
			r = sys_wait_until(sock, POLLIN, until_ns);
			if (r < 0)
				return (int)r;
			continue;
		}
		if (r <= 0)
			return r == 0 || r == -ECONNRESET ? (*ret_any ? -EPROTO : -EPIPE) : (int)r;
		*ret_any = true;
		frame_add_fds(f, fds, n_fds, &bad);
		if (bad < 0)
			return bad;
		p += r;
		n -= (size_t)r;
	}
	return 0;
}

static int frame_check(const struct frame_head *h, unsigned n_fds)
{
	if (h->magic != FRAME_MAGIC)
		return -EPROTO;
	if (h->version != FRAME_VERSION)
		return -EPROTONOSUPPORT;
	if (h->n > FRAME_MAX || h->type < HANDOVER_HELLO || h->type > HANDOVER_REFUSED)
		return -EPROTO;
	return h->n_fds == n_fds ? 0 : -EBADMSG;
}

static int frame_recv_bytes(int sock, struct handover_frame *f, size_t n, uint64_t until_ns)
{
	bool any = true;
	int r = 0;

	while (f->n < n && r == 0) {
		size_t want = f->n ? f->n : FRAME_FIRST;
		char *grown;

		want = want < n - f->n ? want : n - f->n;
		grown = realloc(f->bytes, f->n + want + 1); /* a sentence gets its end */
		if (!grown)
			return -ENOMEM;
		f->bytes = grown;
		r = frame_recv_all(sock, f, grown + f->n, want, &any, until_ns);
		f->n += r == 0 ? want : 0;
	}
	if (f->bytes)
		((char *)f->bytes)[f->n] = '\0';
	return r;
}

int handover_recv(int sock, struct handover_frame *ret, uint64_t until_ns)
{
	struct handover_frame f = { .bytes = NULL };
	struct frame_head h;
	bool any = false;
	unsigned n_fds;
	int r;

	r = frame_recv_all(sock, &f, (char *)&h, sizeof h, &any, until_ns);
	if (r == 0)
		r = frame_check(&h, f.n_fds);
	n_fds = f.n_fds;
	if (r == 0)
		r = frame_recv_bytes(sock, &f, h.n, until_ns);
	if (r == 0 && f.n_fds != n_fds)
		r = -EBADMSG; /* some came in the middle */
	if (r < 0) {
		handover_frame_free(&f);
		return r;
	}
	f.type = (enum handover_type)h.type;
	*ret = f;
	return 0;
}

int handover_expect(int sock, enum handover_type type, struct handover_frame *ret,
		    uint64_t until_ns)
{
	int r = handover_recv(sock, ret, until_ns);

	if (r < 0) {
		*ret = (struct handover_frame){ .bytes = NULL };
		return r;
	}
	if (ret->type == type)
		return 0;
	return ret->type == HANDOVER_REFUSED ? -ECONNREFUSED : -EPROTO;
}

void handover_frame_free(struct handover_frame *f)
{
	for (unsigned i = 0; i < f->n_fds; i++)
		sys_close(&f->fds[i]);
	free(f->bytes);
	*f = (struct handover_frame){ .bytes = NULL };
}

const char *handover_words(const struct handover_frame *f, int r)
{
	switch (-r) {
	case ECONNREFUSED:
		return f->bytes ? f->bytes : "it refused";
	case EPIPE:
		return "the other process is gone";
	case ETIMEDOUT:
		return "the other process has not answered in time";
	case EPROTONOSUPPORT:
		return "the other process speaks another version";
	case EMSGSIZE:
		return "a message with too many descriptors, or too long";
	case EBADMSG:
		return "a message without the descriptors that it announces";
	case EPROTO:
		return "a message that is cut, or not as was agreed";
	default:
		return np_strerror(r);
	}
}

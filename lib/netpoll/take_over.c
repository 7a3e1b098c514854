/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * take_over: the new process's side
 *
 *   state      leaves it by
 *   offered    np_server_take_over(): it has duplicates of the listeners, and does nothing with
 *              them.  take_over_begin() -> released;  the end of the server -> none
 *   released   nobody accepts.  take_over_listens() -> receiving, or none where the old process
 *              has gone on by itself
 *   receiving  a thread of its own: batches of connections.  END, the old one's end, or
 *              take_over_end() -> over
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "netpoll/handover.h"
#include "sys/clock.h"
#include "sys/io.h"
#include "sys/sock.h"
#include "sys/thread.h"

#define ANSWER_MS   10000 /* it lets go of what this one does not answer for long before */
#define FOREVER_NS  UINT64_MAX
#define OFFER_LIMIT 1024 /* addresses */

struct take_over {
	struct np_server *s;
	int sock;
	bool receiving;
	bool *own; /* of each address, from YOURS on */
	struct sys_thread thread;
};

static uint64_t take_over_answer_until(void)
{
	return sys_clock_ns() + ANSWER_MS * 1000000ull;
}

static int take_over_expect(struct take_over *t, enum handover_type type,
			    struct handover_frame *ret, uint64_t until_ns)
{
	int r = handover_expect(t->sock, type, ret, until_ns);

	if (r < 0) {
		server_say(t->s, r, "the process before: %s", handover_words(ret, r));
		handover_frame_free(ret);
	}
	return r;
}

static int take_over_send(struct take_over *t, enum handover_type type)
{
	int r = handover_send(t->sock, type, NULL, 0, NULL, 0, take_over_answer_until());

	return r < 0 ? server_say(t->s, r, "the process before: %s", handover_words(NULL, r)) : 0;
}

/* ------------------------------------------------------------------ addresses */

static bool take_over_address_holds(const struct take_over *t, const struct handover_frame *f,
				    const struct handover_address *a)
{
	unsigned most = a->flags & HANDOVER_SHARED ? 1 : t->s->n_parts;

	return a->addr_len >= sizeof(sa_family_t) && a->addr_len <= sizeof a->addr &&
	       f->n == sizeof *a + a->path_len && a->path_len < sizeof a->addr &&
	       a->index < OFFER_LIMIT && a->fds == most && f->n_fds && a->first <= most &&
	       f->n_fds <= most - a->first;
}

/* The lock beside the file, and whose file it is from now on; what cannot be had stays with the
 * file's end: the next server replaces it. */
static void take_over_file(struct server_address *a, const struct handover_address *h,
			   const char *path)
{
	char name[sizeof h->addr];

	if (!h->path_len)
		return;
	memcpy(name, path, h->path_len);
	name[h->path_len] = '\0';
	if (socket_file_open(&a->file, name, NULL) < 0)
		return;
	socket_file_unlock(&a->file);
	a->file.device = h->device;
	a->file.inode = h->inode;
}

static int take_over_new_address(struct take_over *t, const struct handover_address *h,
				 const char *path)
{
	struct np_server *s = t->s;
	struct server_address *a;
	bool *own = realloc(t->own, (s->n_addresses + 1) * sizeof *own);

	if (!own)
		return -ENOMEM;
	t->own = own;
	if (server_address_new(s, &a) < 0)
		return -ENOMEM;
	memcpy(&a->ss, h->addr, h->addr_len);
	a->len = h->addr_len;
	a->shared = h->flags & HANDOVER_SHARED;
	a->steered = h->flags & HANDOVER_STEERED;
	a->delays = h->flags & HANDOVER_DELAYS;
	t->own[s->n_addresses] = h->flags & HANDOVER_OWN;
	take_over_file(a, h, path);
	server_facts_add_address(s);
	return 0;
}

static int take_over_is_listener(int fd)
{
	int listening = 0, r = sys_getsockopt_int(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening);

	return r == 0 && listening ? 0 : -EPROTO;
}

static int take_over_address(struct take_over *t, struct handover_frame *f)
{
	struct np_server *s = t->s;
	struct handover_address h;
	int r = 0;

	if (f->n < sizeof h)
		return -EPROTO;
	memcpy(&h, f->bytes, sizeof h);
	if (!take_over_address_holds(t, f, &h))
		return -EPROTO;
	for (unsigned i = 0; i < f->n_fds && r == 0; i++)
		r = take_over_is_listener(f->fds[i]);
	if (r == 0 && h.index == s->n_addresses && h.first == 0)
		r = take_over_new_address(t, &h, (const char *)f->bytes + sizeof h);
	else if (r == 0 && h.index + 1 != s->n_addresses)
		r = -EPROTO;
	for (unsigned i = 0; i < f->n_fds && r == 0; i++) {
		int *fd = &s->addresses[h.index].fds[h.first + i];

		if (*fd >= 0)
			return -EPROTO;
		*fd = f->fds[i];
		f->fds[i] = -1;
	}
	return r;
}

static bool take_over_has_all(const struct np_server *s)
{
	for (unsigned i = 0; i < s->n_addresses; i++)
		for (unsigned k = 0; k < (s->addresses[i].shared ? 1 : s->n_parts); k++)
			if (s->addresses[i].fds[k] < 0)
				return false;
	return s->n_addresses;
}

static int take_over_frame(struct take_over *t, struct handover_frame *f, bool *ret_all)
{
	if (f->type == HANDOVER_ADDRESS)
		return take_over_address(t, f);
	if (f->type == HANDOVER_REFUSED)
		return -ECONNREFUSED;
	*ret_all = f->type == HANDOVER_OFFERED && take_over_has_all(t->s);
	return *ret_all ? 0 : -EPROTO;
}

static int take_over_offer(struct take_over *t, uint64_t until_ns)
{
	struct handover_frame f = { .bytes = NULL };
	bool all = false;
	int r;

	do {
		handover_frame_free(&f);
		r = handover_recv(t->sock, &f, until_ns);
		if (r < 0)
			f = (struct handover_frame){ .bytes = NULL };
		else
			r = take_over_frame(t, &f, &all);
	} while (r == 0 && !all);
	if (r < 0) {
		server_say(t->s, r, "the process before: %s", handover_words(&f, r));
		if (r != -ECONNREFUSED)
			handover_refuse(t->sock, handover_words(&f, r));
	}
	handover_frame_free(&f);
	return r;
}

/* ------------------------------------------------------------------ the call */

static void take_over_free(struct np_server *s)
{
	struct take_over *t = s->taking;

	s->taking = NULL;
	sys_close(&t->sock);
	free(t->own);
	free(t);
}

static bool take_over_is_steered(const struct np_server *s)
{
	for (unsigned i = 0; i < s->n_addresses; i++)
		if (s->addresses[i].steered)
			return true;
	return false;
}

static int take_over(struct take_over *t, const char *where, uint64_t until_ns)
{
	struct np_server *s = t->s;
	struct handover_hello hello = { .pollers = s->n_parts, .credits = SYS_PASS_MAX };
	int r = handover_reach(s, where, until_ns, &t->sock);

	if (r < 0)
		return r;
	until_ns = handover_heard_until(until_ns);
	r = handover_send(t->sock, HANDOVER_HELLO, &hello, sizeof hello, NULL, 0, until_ns);
	if (r < 0)
		return server_say(s, r, "the process before: %s", handover_words(NULL, r));
	r = take_over_offer(t, until_ns);
	/* The program is loaded, and the claims are made, while the other one serves still. */
	if (r == 0 && take_over_is_steered(s))
		r = server_enter_service(s);
	return r;
}

/* Nothing of it is this one's yet: nothing is shut, and no file removed. */
static void take_over_give_up(struct np_server *s)
{
	take_over_free(s);
	server_close_listeners(s);
	server_facts_drop_addresses(s);
}

int np_server_take_over(struct np_server *s, const char *where, int timeout_ms)
{
	uint64_t until_ns = timeout_ms > 0 ? sys_clock_ns() + (uint64_t)timeout_ms * 1000000u :
					     FOREVER_NS;
	struct take_over *t;
	int r;

	if (!where || timeout_ms < -1)
		return -EINVAL;
	if (poller_self())
		return -EDEADLK;
	if (s->phase != SERVER_MADE || s->n_addresses)
		return server_say(s, -EBUSY,
				  "a server takes over before it listens anywhere, and starts");
	s->error[0] = '\0';
	t = calloc(1, sizeof *t);
	if (!t)
		return -ENOMEM;
	*t = (struct take_over){ .s = s, .sock = -1 };
	s->taking = t;
	r = take_over(t, where, until_ns);
	if (r < 0)
		take_over_give_up(s);
	return r < 0 ? r : (int)s->n_addresses;
}

/* ------------------------------------------------------------------ start */

int take_over_begin(struct np_server *s)
{
	struct handover_frame f;
	int r;

	if (!s->taking)
		return 0;
	r = take_over_send(s->taking, HANDOVER_BEGIN);
	if (r == 0)
		r = take_over_expect(s->taking, HANDOVER_RELEASED, &f, take_over_answer_until());
	if (r < 0) {
		take_over_give_up(s);
		return r;
	}
	handover_frame_free(&f);
	if (server_steer_listeners(s) < 0 && s->pollers->log)
		s->pollers->log(s->pollers->log_arg, NP_LOG_WARNING,
				"listeners that were taken over are not steered: the kernel's hash "
				"picks among them");
	return 0;
}

/* The process before has gone on by itself, with listeners that are its own. */
static void take_over_let_be(struct np_server *s)
{
	server_accepts(s, false);
	server_facts_await_hand_over(s, &s->accept_latch, take_over_answer_until());
	server_release_listeners(s);
}

static void take_over_receive(void *arg);

int take_over_listens(struct np_server *s)
{
	struct take_over *t = s->taking;
	struct handover_frame f;
	int r;

	if (!t)
		return 0;
	r = take_over_send(t, HANDOVER_LISTENING);
	if (r == 0)
		r = take_over_expect(t, HANDOVER_YOURS, &f, take_over_answer_until());
	if (r < 0) {
		take_over_let_be(s);
		return r;
	}
	handover_frame_free(&f);
	for (unsigned i = 0; i < s->n_addresses; i++) {
		s->addresses[i].own = t->own[i];
		s->addresses[i].file.noted = s->addresses[i].file.path;
	}
	t->receiving = sys_thread_start(&t->thread, "np-take-over", take_over_receive, t) == 0;
	if (!t->receiving)
		take_over_free(s); /* connections stay where they are */
	return 0;
}

int take_over_end(struct np_server *s, uint64_t until_ns)
{
	struct take_over *t = s->taking;
	int r = 0;

	if (!t)
		return 0;
	if (t->receiving) {
		sys_shutdown(t->sock, SHUT_RDWR);
		r = sys_thread_join(&t->thread, until_ns); /* it may wait for a poller */
	}
	if (r == 0)
		take_over_free(s);
	return r;
}

/* ------------------------------------------------------------------ connections */

/* Whether each set is whole. */
static bool take_over_sets_hold(const struct handover_in *in)
{
	unsigned n = 0; /* of a set, that are to come */

	for (unsigned i = 0; i < in->n; i++) {
		if ((n == 0) != (in->set[i] != 0) || in->set[i] > CONN_SET_MAX)
			return false;
		n = n ? n - 1 : in->set[i] - 1;
	}
	return n == 0;
}

/* What a frame says is where its bytes are. Return: 0; -EPROTO. */
static int take_over_read_conns(struct handover_in *in, const struct handover_frame *f)
{
	struct handover_conns head;
	struct handover_conn conn;
	const char *p = f->bytes;
	size_t left = f->n;

	if (left < sizeof head)
		return -EPROTO;
	memcpy(&head, p, sizeof head);
	left -= sizeof head;
	if (head.n != f->n_fds || left / sizeof conn < head.n)
		return -EPROTO;
	p += sizeof head;
	left -= head.n * sizeof conn;
	for (unsigned i = 0; i < head.n; i++) {
		memcpy(&conn, p + i * sizeof conn, sizeof conn);
		if (conn.n > left || conn.zero)
			return -EPROTO;
		in->set[i] = conn.set;
		in->arrival[i] = (struct conn_arrival){ .fd = f->fds[i],
							.bytes = (char *)f->bytes + f->n - left,
							.n = conn.n };
		left -= conn.n;
	}
	in->n = head.n;
	return left || !take_over_sets_hold(in) ? -EPROTO : 0;
}

static int take_over_answer(struct take_over *t, struct handover_in *in)
{
	struct handover_frame f;
	char taken[SYS_PASS_MAX];
	int r;

	for (unsigned i = 0; i < in->n; i += in->set[i])
		memset(taken + i, in->result[i] == 0, in->set[i]);
	r = handover_send(t->sock, HANDOVER_IMPORTED, taken, in->n, NULL, 0,
			  take_over_answer_until());
	if (r == 0) {
		r = handover_expect(t->sock, HANDOVER_COMMIT, &f, FOREVER_NS);
		handover_frame_free(&f);
	}
	return r;
}

/* They are read when the process before has said that they are this one's, and not earlier. */
static int take_over_conns(struct take_over *t, struct handover_in *in, struct handover_frame *f)
{
	struct handover_conns head;
	int r = take_over_read_conns(in, f);

	if (r < 0)
		return r;
	memcpy(&head, f->bytes, sizeof head);
	in->part = t->s->parts[head.poller % t->s->n_parts];
	for (unsigned i = 0; i < f->n_fds; i++)
		f->fds[i] = -1;
	handover_in_make(in);
	r = take_over_answer(t, in);
	handover_in_settle(in, r == 0);
	return r;
}

static int take_over_next(struct take_over *t, struct handover_in *in)
{
	struct handover_frame f;
	int r = handover_recv(t->sock, &f, FOREVER_NS);

	if (r < 0)
		return r;
	if (f.type == HANDOVER_CONNS)
		r = take_over_conns(t, in, &f);
	else
		r = f.type == HANDOVER_END ? 1 : -EPROTO;
	handover_frame_free(&f);
	return r;
}

static void take_over_receive(void *arg)
{
	struct take_over *t = arg;
	struct np_pollers *p = t->s->pollers;
	struct handover_in *in = malloc(sizeof *in);
	char words[128];
	int r = in ? 0 : -ENOMEM;

	if (in)
		latch_init(&in->done);
	while (r == 0)
		r = take_over_next(t, in);
	if (in)
		latch_fini(&in->done);
	free(in);
	if (r < 0) {
		handover_refuse(t->sock, handover_words(&(struct handover_frame){ 0 }, r));
		snprintf(words, sizeof words, "the process before hands over no more: %s",
			 handover_words(&(struct handover_frame){ 0 }, r));
		if (p->log)
			p->log(p->log_arg, NP_LOG_WARNING, words);
	}
	sys_shutdown(t->sock, SHUT_RDWR);
}

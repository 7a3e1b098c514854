/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lives: thousands of random connections against an oracle that knows every byte and the order of
 * callbacks
 *
 * A life is drawn from its seed by both sides: which frames the peer sends and in what chunks, how
 * the handler reads and answers them, and how it all ends. A frame is its length in four bytes and
 * so many bytes; its reply is the same length and the bytes inverted. Some are unix sockets, some
 * go from poller to poller, some are answered and ended by another thread, and many change settings
 * on their way, which nobody may see from outside. In the last run all of them speak TLS, and the
 * oracle is the same. What the peer has received is at every moment
 * the beginning of the replies to come; how much of it has to come in the end, and whether that end
 * is FIN or may be RST, depends on how it ended (the table of endings in lives_drawn.h).
 *
 * NP_LIVES=N says how many, NP_SEED=S where to begin: a failure names the seed of its life, and
 * NP_LIVES=1 NP_SEED=<that> lives it again.
 */
#include <errno.h>
#include <fcntl.h>
#include <netpoll/block.h>
#include <netpoll/client.h>
#include <netpoll/conn.h>
#include <netpoll/linkbuf.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lives_drawn.h"
#include "lives_wire.h"
#include "support/child.h"
#include "support/peer.h"
#include "support/serve.h"
#include "support/test.h"

#define POLLERS   3
#define PEERS     8
#define TINY      8192u /* every watermark of some connections */
#define LINGER_MS 10000
#define LONG_MS   60000 /* a limit that none reaches */

static struct {
	struct life *lives;
	unsigned n;
	_Atomic(unsigned) next, live, refs, dones, broken, moves;
	uint64_t seed;
	pthread_mutex_t lock;
	struct np_conn *to_close[PEERS]; /* by the closer, with a reference */
	unsigned n_to_close;
	struct message *messages, **last; /* of the sender */
	bool over;
	struct np_tls *tls[2]; /* NULL: plain; the second one signs in workers */
} all = { .lock = PTHREAD_MUTEX_INITIALIZER, .last = &all.messages };

static void broken(const struct life *l, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static void broken(const struct life *l, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	printf("NP_SEED=%llu (%s, %u frames, k %u, reads %u, writes %u%s%s%s%s%s%s%s): %s\n",
	       l ? (unsigned long long)l->seed : 0, l ? ending_names[l->ending] : "?",
	       l ? l->frames : 0, l ? l->k : 0, l ? l->reads : 0, l ? l->writes : 0,
	       l && l->tiny ? ", tiny" : "", l && l->urgent ? ", urgent" : "",
	       l && l->pauses ? ", pauses" : "", l && l->local ? ", local" : "",
	       l && l->moves ? ", moves" : "", l && l->settings ? ", settings" : "",
	       l && l->cut ? ", cut" : "", text);
	fflush(stdout);
	all.broken++;
}

/* ------------------------------------------------------------------ the server's side */

/* What one connection has seen so far; the order of callbacks is checked against it. */
struct seen {
	struct life *life;
	unsigned requests, callbacks;
	bool begun, connected, in_request, left, away; /* begun, connected: on_connect */
	uint64_t chance;
};

static int on_prepare(struct np_conn *c, void *arg)
{
	struct seen *v = calloc(1, sizeof *v);

	v->chance = (uint64_t)(uintptr_t)v ^ all.seed;
	np_conn_set_data(c, v);
	all.live++;
	return all.tls[0] ? np_conn_start_tls(c, all.tls[upto(&v->chance, 2)], NULL) : 0;
}

static void last_callback(struct np_conn *c, void *arg)
{
	struct seen *v = np_conn_data(c);

	if (v->callbacks++ != 0 || v->in_request)
		broken(v->life, "the close callback that was added last did not run first");
}

static void first_callback(struct np_conn *c, void *arg)
{
	struct seen *v = np_conn_data(c);

	if (v->callbacks++ != 1)
		broken(v->life, "the close callback that was added first did not run last");
}

/* ---- it goes from poller to poller, and takes it back now and then */

static void here(struct np_conn *c, struct seen *v, const char *what)
{
	if (np_poller_self() != np_conn_poller(c) || v->away)
		broken(v->life, "%s on poller %d of a connection of poller %d%s", what,
		       np_poller_self(), np_conn_poller(c), v->away ? ", which it has left" : "");
}

/* Return: whether it stays where it is, by the last call. */
static bool move_somewhere(struct np_conn *c, struct seen *v)
{
	int to = (int)upto(&v->chance, POLLERS), r = np_conn_move(c, to);

	if (r < 0 && np_conn_error(c) == 0 && r != -ECANCELED && r != -NP_EUNSUPPORTED)
		broken(v->life, "np_conn_move: %s", np_strerror(r));
	return r == 0 && to == np_conn_poller(c);
}

static void move_now_and_then(struct np_conn *c, struct seen *v, unsigned one_in)
{
	if (upto(&v->chance, one_in))
		return;
	move_somewhere(c, v);
	if (upto(&v->chance, 3) == 0)
		move_somewhere(c, v);
}

static void posted_move(struct np_conn *c, void *arg)
{
	struct seen *v = np_conn_data(c);

	if (!v) /* on_close was first */
		return;
	here(c, v, "np_conn_post");
	move_somewhere(c, v);
}

static void on_move(struct np_conn *c, void *arg, bool arrived)
{
	struct seen *v = np_conn_data(c);

	if (v->in_request || v->callbacks || v->away != arrived)
		broken(v->life, "on_move during a request, after the end, or out of order");
	v->away = false;
	here(c, v, "on_move");
	all.moves += arrived;
	if (arrived)
		move_now_and_then(c, v, 8);
	else
		v->away = upto(&v->chance, 8) || !move_somewhere(c, v);
}

static int on_connect(struct np_conn *c, void *arg)
{
	struct seen *v = np_conn_data(c);

	if (v->connected || v->requests || v->left)
		broken(v->life, "on_connect was not the first");
	v->begun = true;
	here(c, v, "on_connect");
	move_now_and_then(c, v, 4);
	np_conn_add_close_callback(c, first_callback, NULL);
	np_conn_add_close_callback(c, last_callback, NULL);
	if (upto(&v->chance, 4) == 0)
		np_yield();
	v->connected = true;
	return 0;
}

static void on_disconnect(struct np_conn *c, void *arg)
{
	struct seen *v = np_conn_data(c);

	if (!v->connected || v->left || v->callbacks)
		broken(v->life,
		       "on_disconnect came twice, before on_connect had ended, or after a close callback");
	here(c, v, "on_disconnect");
	v->left = true;
}

static void on_close(struct np_conn *c, void *arg)
{
	struct seen *v = np_conn_data(c);

	/* A handshake that has failed is not followed by on_connect, which adds the callbacks. */
	if (v->in_request || v->away || v->callbacks != (v->begun ? 2u : 0u))
		broken(v->life, "on_close during a request, or after %u close callbacks",
		       v->callbacks);
	if (fcntl(np_conn_fd(c), F_GETFD) < 0)
		broken(v->life, "the descriptor is closed in on_close");
	if (v->life) {
		v->life->why = np_conn_error(c);
		v->life->closed++;
		v->life->told = v->left;
	}
	np_conn_set_data(c, NULL);
	free(v);
	all.live--;
}

/*
 * The frame's bytes, by the handler's way of reading. 0; 1: called again when there is more; < 0.
 */
static int read_frame(struct np_conn *c, const struct life *l, unsigned char *frame,
		      uint32_t *ret_n)
{
	struct np_linkbuf *b;
	const void *p;
	int r = 0;

	if (l->reads == 1 && np_conn_len(c) < 4)
		return np_conn_want(c, 4) < 0 ? -EIO : 1;
	r = np_conn_peek(c, 4, &p);
	if (r < 0)
		return r;
	memcpy(ret_n, p, 4);
	if (*ret_n > 1u << 20)
		return -EBADMSG;
	if (l->reads == 1 && np_conn_len(c) < 4 + (size_t)*ret_n)
		return np_conn_want(c, 4 + *ret_n) < 0 ? -EIO : 1;
	r = np_conn_skip(c, 4);
	if (r < 0)
		return r;
	if (l->reads == 2) {
		for (uint32_t n = 0; n < *ret_n;) {
			ssize_t k = np_conn_read(c, frame + n, *ret_n - n);

			if (k <= 0)
				return k < 0 ? (int)k : -NP_EEOF;
			n += (uint32_t)k;
			np_conn_release(c);
		}
		return 0;
	}
	if (l->reads == 3) {
		r = np_conn_slice(c, *ret_n, &b);
		if (r < 0)
			return r;
		r = np_linkbuf_copy(b, frame, *ret_n);
		np_linkbuf_free(&b);
		return r;
	}
	if (l->reads == 4) {
		r = np_conn_wait(c, *ret_n);
		return r < 0 ? r : np_linkbuf_copy(np_conn_in(c), frame, *ret_n);
	}
	r = np_conn_next(c, *ret_n, &p);
	if (r == 0)
		memcpy(frame, p, *ret_n);
	return r;
}

static void freed(void *arg)
{
	free(arg);
	all.dones++;
}

/* Header and body, by the handler's way of writing; @body belongs to us. */
static int write_reply(struct np_conn *c, const struct life *l, unsigned char *body, uint32_t n)
{
	struct np_linkbuf *b = NULL;
	void *p;
	int r;

	if (l->writes == 4 || l->writes == 5) {
		r = np_linkbuf_new(0, &b);
		if (r == 0)
			r = np_linkbuf_write(b, &n, 4);
		if (r == 0)
			r = np_linkbuf_write(b, body, n);
		free(body);
		while (r == 0 && l->writes == 5 && (r = np_conn_send(c, &b)) == -EAGAIN)
			r = np_yield();
		if (r == 0 && l->writes == 4)
			r = np_conn_append(c, &b);
		np_linkbuf_free(&b);
		return r;
	}
	if (l->writes == 3) {
		/* Reserved as one, the last byte of it belongs behind the rest. */
		r = n ? np_conn_reserve(c, 5, &p) : np_conn_write(c, &n, 4);
		if (r < 0 || !n) {
			free(body);
			return r;
		}
		memcpy(p, &n, 4);
		((unsigned char *)p)[4] = body[n - 1];
		all.refs++;
		r = np_conn_write_direct(c, body, n - 1, 1, freed, body);
	} else {
		r = np_conn_write(c, &n, 4);
		if (r < 0 || l->writes == 0) {
			if (r == 0)
				r = np_conn_write(c, body, n);
			free(body);
			return r;
		}
		if (l->writes == 1) {
			r = np_conn_reserve(c, n + 10, &p);
			if (r == 0)
				memcpy(p, body, n);
			free(body);
			return r < 0 ? r : np_conn_trim(c, np_conn_pending(c) - 10);
		}
		all.refs++;
		r = np_conn_write_ref(c, body, n, freed, body);
	}
	if (r < 0) {
		all.refs--;
		free(body);
	}
	return r;
}

static const struct np_limits tiny = {
	.in_high = TINY, .out_high = TINY, .in_max = 1u << 20, .send_high = 4u << 20
};

static int hello(struct np_conn *c, struct seen *v)
{
	const void *p;
	uint32_t id;
	int r = np_conn_next(c, 4, &p);

	if (r < 0)
		return r;
	memcpy(&id, p, 4);
	if (id >= all.n) {
		broken(NULL, "the server read %u as the number of a life", id);
		return -EBADMSG;
	}
	v->life = &all.lives[id];
	if (v->life->tiny)
		np_conn_set_limits(c, &tiny);
	if (v->life->local)
		np_conn_set_linger(c, LINGER_MS);
	if (v->life->ending == TIMEOUT)
		np_conn_set_read_timeout(c, 20);
	if (v->life->ending == IDLE)
		np_conn_set_idle_timeout(c, 30);
	if (v->life->ending == THREAD) {
		pthread_mutex_lock(&all.lock);
		if (all.n_to_close < PEERS)
			all.to_close[all.n_to_close++] = np_conn_ref(c);
		pthread_mutex_unlock(&all.lock);
	}
	return 0;
}

static int on_request(struct np_conn *c, void *arg);

static void resume(struct np_conn *c, void *arg)
{
	np_conn_resume_read(c);
}

static void unhold(struct np_conn *c, void *arg)
{
	np_conn_unhold(c);
}

/* What nobody can see from outside; but for what the ending of this life has set. */
static void change_settings(struct np_conn *c, struct seen *v)
{
	bool timed = v->life->ending == TIMEOUT || v->life->ending == IDLE;

	switch (upto(&v->chance, 12)) {
	case 0:
		if (!timed)
			np_conn_set_read_timeout(c, LONG_MS);
		break;
	case 1:
		if (!timed)
			np_conn_set_read_deadline(c, (now_ms() + LONG_MS) * 1000000u);
		break;
	case 2:
		if (!timed)
			np_conn_set_idle_timeout(c, upto(&v->chance, 2) ? LONG_MS : -1);
		break;
	case 3:
		np_conn_set_write_timeout(c, LONG_MS);
		break;
	case 4:
		np_conn_set_request_timeout(c, upto(&v->chance, 2) ? LONG_MS : -1);
		break;
	case 5:
		np_conn_set_linger(c, LINGER_MS + 1);
		break;
	case 6:
		np_conn_set_min_rate(c, 1);
		break;
	case 7:
		np_conn_set_limits(c, upto(&v->chance, 2) ? &tiny : &(struct np_limits){ 0 });
		break;
	case 8:
		np_conn_cancel_on_leave(c, false);
		break;
	case 9:
		np_conn_hold(c);
		if (np_conn_post(c, unhold, NULL) < 0)
			np_conn_unhold(c);
		break;
	case 10:
		np_conn_pause_read(c);
		np_conn_resume_read(c);
		break;
	case 11:
		np_conn_set_on_request(c, upto(&v->chance, 2) ? on_request : NULL, NULL);
		break;
	}
}

/* The server's part of the ending, after the k-th frame. */
static int end_it(struct np_conn *c, const struct life *l)
{
	switch (l->ending) {
	case CLOSE:
		return np_conn_close(c);
	case ABORT:
		return np_conn_abort(c);
	case SHUTDOWN:
		return np_conn_shutdown_write(c);
	case ERROR:
		return -EPROTO;
	default:
		return 0;
	}
}

struct message {
	struct message *next;
	struct np_conn *c; /* with a reference, and held */
	const struct life *life;
	struct np_linkbuf *b;
	bool last;
};

static int give_to_sender(struct np_conn *c, const struct life *l, unsigned char *body, uint32_t n,
			  bool last)
{
	struct message *m = calloc(1, sizeof *m);
	int r = np_linkbuf_new(0, &m->b);

	if (r == 0)
		r = np_linkbuf_write(m->b, &n, 4);
	if (r == 0)
		r = np_linkbuf_write(m->b, body, n);
	free(body);
	ck_assert_int_eq(r, 0);
	np_conn_hold(c);
	m->c = np_conn_ref(c);
	m->life = l;
	m->last = last;
	pthread_mutex_lock(&all.lock);
	*all.last = m;
	all.last = &m->next;
	pthread_mutex_unlock(&all.lock);
	return 0;
}

static int answer(struct np_conn *c, struct seen *v)
{
	struct life *l = v->life;
	unsigned at = l->handled;
	unsigned char *frame;
	uint32_t n;
	int r;

	if (l->writes == BY_THREAD && at == l->k && (l->ending == CLOSE || l->ending == ABORT))
		return 0; /* the other thread will end it */
	frame = malloc(1u << 20);
	r = read_frame(c, l, frame, &n);
	if (r) {
		free(frame);
		return r < 0 ? r : 0;
	}
	if (at >= l->frames || n != l->size[at] ||
	    memcmp(frame, l->sent + 8 + l->reply_end[at], n)) {
		broken(l, "frame %u came in with %u other bytes", at, n);
		free(frame);
		return -EBADMSG;
	}
	l->handled++;
	if (l->ending == SEND_CLOSE || (l->ending == SHUTDOWN && at >= l->k)) {
		free(frame);
		return 0;
	}
	for (uint32_t i = 0; i < n; i++)
		frame[i] ^= 0xff;
	if (l->writes == BY_THREAD)
		return give_to_sender(c, l, frame, n, l->handled == l->k);
	r = write_reply(c, l, frame, n);
	if (r == 0 && l->writes != 5)
		r = upto(&v->chance, 4) ? np_conn_flush(c) : np_conn_sync(c);
	if (r == 0 && l->pauses && upto(&v->chance, 2)) {
		np_conn_pause_read(c);
		if (np_conn_post(c, resume, NULL) < 0)
			np_conn_resume_read(c);
	}
	return r == 0 && l->handled == l->k ? end_it(c, l) : r;
}

static int on_request(struct np_conn *c, void *arg)
{
	struct seen *v = np_conn_data(c);
	int r = 0;

	if (!v->connected || v->in_request || v->callbacks)
		broken(v->life,
		       "on_request beside itself, before on_connect had ended, or after a close callback");
	here(c, v, "on_request");
	v->in_request = true;
	v->requests++;
	if (!v->life)
		r = hello(c, v);
	else
		r = answer(c, v);
	if (r == 0 && v->life && v->life->settings)
		change_settings(c, v);
	if (r == 0 && v->life && v->life->moves) {
		move_now_and_then(c, v, 2);
		if (upto(&v->chance, 8) == 0)
			np_conn_post(c, posted_move, NULL);
	}
	v->in_request = false;
	return r;
}

/* Closes what the handlers hand to it, from a thread of its own. */
static void *closer(void *arg)
{
	uint64_t s = all.seed;
	struct np_conn *c;
	bool over = false;

	while (!over) {
		c = NULL;
		pthread_mutex_lock(&all.lock);
		if (all.n_to_close)
			c = all.to_close[--all.n_to_close];
		over = all.over && !c;
		pthread_mutex_unlock(&all.lock);
		if (!c) {
			test_pause();
			continue;
		}
		if (upto(&s, 2))
			test_pause();
		np_conn_close(c);
		if (upto(&s, 2))
			np_conn_close(c);
		np_conn_unref(c);
	}
	return NULL;
}

/* Sends what handlers give to it, and ends what is to end behind it. */
static void send_one(struct message *m)
{
	int r;

	while ((r = np_conn_send(m->c, &m->b)) == -EAGAIN)
		test_pause();
	if (r < 0 && r != -NP_ECLOSED)
		broken(m->life, "np_conn_send() returned %d", r);
	np_linkbuf_free(&m->b);
	if (m->last && m->life->ending == CLOSE)
		np_conn_close(m->c);
	if (m->last && m->life->ending == ABORT)
		np_conn_abort(m->c);
	if (m->last && m->life->ending == SHUTDOWN)
		np_conn_shutdown_write(m->c);
	if (np_conn_post(m->c, unhold, NULL) < 0)
		broken(m->life, "np_conn_post() failed");
	np_conn_unref(m->c);
	free(m);
}

static void *sender(void *arg)
{
	struct message *m;
	bool over = false;

	while (!over) {
		pthread_mutex_lock(&all.lock);
		m = all.messages;
		if (m && !(all.messages = m->next))
			all.last = &all.messages;
		over = all.over && !m;
		pthread_mutex_unlock(&all.lock);
		if (m)
			send_one(m);
		else
			test_pause();
	}
	return NULL;
}

/* ------------------------------------------------------------------ the peer's side */

struct peer {
	struct life *l;
	struct tls_peer wire;
	uint64_t chance;
	size_t sent, got, stop_at; /* sends so much and no more */
	unsigned char *replies;
	bool eof, reset, shut, urgent_done;
	bool more; /* OpenSSL may have more than it gave */
};

static void peer_sends(struct peer *p)
{
	size_t left = p->stop_at - p->sent,
	       n = 1 + upto(&p->chance, upto(&p->chance, 3) ? 4096 : 200000);
	bool last;
	ssize_t r;

	if (n > left)
		n = left;
	last = n == left && p->l->ending == HALF_CLOSE;
	/* MSG_MORE keeps the last bytes back until shutdown(2): data and FIN in one segment. */
	r = wire_send(&p->wire, p->l->sent + p->sent, n, last ? MSG_MORE : 0, &p->chance);
	if (r < 0 && errno != EAGAIN)
		/* the connection ended; what that means is judged by what comes in */
		p->stop_at = p->sent;
	if (r > 0)
		p->sent += (size_t)r;
	/* One urgent byte, which is not part of the stream. A second one could become part of it:
	 * tcp(7). */
	if (p->l->urgent && !p->urgent_done && r > 0 && upto(&p->chance, 3) == 0) {
		p->urgent_done = true;
		send(p->wire.fd, "!", 1, MSG_OOB | MSG_NOSIGNAL | MSG_DONTWAIT);
	}
}

static void peer_receives(struct peer *p)
{
	unsigned char buf[16384];
	ssize_t n = wire_recv(&p->wire, buf, 1 + upto(&p->chance, sizeof buf), &p->chance);

	p->more = p->wire.ssl && n > 0;
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		p->eof = n == 0;
		p->reset = n < 0;
		return;
	}
	if (p->got + (size_t)n > p->l->reply_end[p->l->frames] ||
	    memcmp(buf, p->replies + p->got, (size_t)n))
		broken(p->l, "the peer got wrong bytes at %zu", p->got);
	p->got += (size_t)n;
}

static size_t due(const struct life *l)
{
	switch (l->ending) {
	case PEER_FIN:
	case HALF_CLOSE:
		return l->reply_end[l->frames];
	case CLOSE:
	case ERROR:
	case SHUTDOWN:
		return l->reply_end[l->k];
	default:
		return 0;
	}
}

/* Whether the peer has nothing more to do than to close. */
static bool peer_is_through(struct peer *p)
{
	bool sent_all = p->sent == p->stop_at && !wire_stands(&p->wire);

	if (p->reset)
		return true;
	switch (p->l->ending) {
	case PEER_FIN:
		return sent_all && (p->got == due(p->l) || p->eof);
	case SEND_CLOSE:
	case PEER_RESET:
		return sent_all || p->eof;
	case SHUTDOWN:
		return p->eof && sent_all;
	default:
		return p->eof;
	}
}

static void judge_peer(const struct peer *p)
{
	const struct life *l = p->l;
	bool whole = false;

	if (p->got < due(l))
		broken(l, "%zu of %zu bytes of the replies came", p->got, due(l));
	if (p->reset && l->ending != ABORT && l->ending != PEER_RESET)
		broken(l, "the connection was reset after %zu bytes of replies", p->got);
	if (l->ending == CLOSE || l->ending == ERROR || l->ending == SHUTDOWN)
		whole = p->got == due(l);
	else if (l->ending == PEER_RESET || l->ending == ABORT || l->ending == SEND_CLOSE)
		whole = true;
	for (unsigned i = 0; i <= l->frames; i++)
		whole |= p->got == l->reply_end[i];
	if (!whole)
		broken(l, "the replies end after %zu bytes, in the middle", p->got);
}

static void peer_lives(struct peer *p)
{
	uint64_t until = now_ms() + AWAIT_MS;
	struct pollfd f = { .fd = p->wire.fd };

	while (!peer_is_through(p)) {
		bool more = p->sent < p->stop_at, here = p->more && !p->eof;

		if (!more && p->l->ending == HALF_CLOSE && !p->shut) {
			p->shut = true;
			wire_shut(&p->wire, true);
		}
		f.events = (short)((p->eof ? 0 : POLLIN) |
				   (wire_wants_out(&p->wire, more) ? POLLOUT : 0));
		poll(&f, 1, here ? 0 : 100);
		if (now_ms() > until) {
			broken(p->l, "hangs after %zu of %zu bytes sent, %zu received", p->sent,
			       p->stop_at, p->got);
			return;
		}
		if (upto(&p->chance, 20) == 0)
			test_pause();
		if ((f.events & POLLOUT) && (f.revents & (POLLOUT | POLLERR | POLLHUP)))
			peer_sends(p);
		if (here || (!p->eof && (f.revents & (POLLIN | POLLERR | POLLHUP))))
			peer_receives(p);
	}
	judge_peer(p);
}

/* How much the peer sends: all, or part of a frame that somebody then waits for in vain. */
static size_t stops_at(const struct life *l, uint64_t *chance)
{
	size_t n = 4 + upto(chance, (unsigned)l->len - 4);

	if (l->ending == PEER_RESET)
		return n - upto(chance, 4);
	if (l->ending != TIMEOUT && l->ending != IDLE)
		return l->len;
	for (unsigned i = 0; i < l->frames; i++)
		if (n == 4 + l->reply_end[i])
			return n + 1;
	return n;
}

static const struct np_handlers handlers = { .sz = sizeof handlers,
					     .on_prepare = on_prepare,
					     .on_connect = on_connect,
					     .on_request = on_request,
					     .on_disconnect = on_disconnect,
					     .on_close = on_close,
					     .on_move = on_move };

static int connect_locally(uint64_t *chance)
{
	struct np_conn *c;
	int fd[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	ck_assert_int_eq(
		np_conn_from_fd(pollers, (int)upto(chance, 2), &fd[0], &handlers, NULL, &c), 0);
	np_conn_unref(c);
	return fd[1];
}

static void live(struct life *l)
{
	struct peer p = { .l = l, .chance = l->seed ^ 0x5eed };
	size_t at = 0;
	int fd;

	p.replies = malloc(l->reply_end[l->frames]);
	for (unsigned i = 0; i < l->frames; i++) {
		memcpy(p.replies + at, &l->size[i], 4);
		at += 4;
		for (uint32_t k = 0; k < l->size[i]; k++, at++)
			p.replies[at] = l->sent[4 + at] ^ 0xff;
	}
	p.stop_at = stops_at(l, &p.chance);
	fd = l->local ? connect_locally(&p.chance) : serve_connect(0);
	wire_open(&p.wire, fd, all.tls[0], &p.chance);
	peer_lives(&p);
	if (l->ending != PEER_RESET)
		wire_part(&p.wire, !l->cut);
	wire_free(&p.wire);
	if (l->ending == PEER_RESET)
		peer_reset(&fd);
	else
		peer_close(&fd);
	free(p.replies);
}

static void *peer_thread(void *arg)
{
	unsigned i;

	while (!all.broken && (i = all.next++) < all.n)
		live(&all.lives[i]);
	wire_forget();
	return NULL;
}

/* ------------------------------------------------------------------ the oracle's last word */

static bool why_is_right(const struct life *l)
{
	switch (l->ending) {
	case PEER_FIN:
	case HALF_CLOSE:
	case SEND_CLOSE:
		/* a FIN that comes while reading is paused is not looked at by TLS */
		return l->why == (l->cut ? -NP_ECUT : -NP_EEOF) ||
		       (l->cut && l->pauses && l->why == -NP_EEOF);
	case ERROR:
		return l->why == -EPROTO;
	case CLOSE:
	case ABORT:
		return l->why == -NP_ECLOSED;
	case TIMEOUT:
	case IDLE:
		return np_err_is_timeout(l->why) || l->why == -ETIMEDOUT;
	case THREAD:
		return l->why == -NP_ECLOSED;
	default:
		return l->why < 0;
	}
}

static bool peer_left_first(const struct life *l)
{
	return l->ending == PEER_FIN || l->ending == HALF_CLOSE || l->ending == SEND_CLOSE;
}

static void judge(const struct life *l)
{
	unsigned least = l->frames, most = l->frames;

	if (l->ending == CLOSE || l->ending == ERROR || l->ending == ABORT)
		least = most = l->k;
	else if (l->ending == PEER_RESET || l->ending == THREAD || l->ending == TIMEOUT ||
		 l->ending == IDLE)
		least = 0;
	if (l->handled < least || l->handled > most)
		broken(l, "%u frames were handled; np_conn_error(): %s", l->handled,
		       np_strerror(l->why));
	/* A connection that is reset before its hello was read has no name. */
	if (l->closed > 1 || (!l->closed && l->ending != PEER_RESET))
		broken(l, "on_close ran %d times", l->closed);
	if (l->closed && l->told != peer_left_first(l) && l->ending != PEER_RESET &&
	    l->ending != SHUTDOWN)
		broken(l, "on_disconnect ran %d times", l->told);
	if (l->closed && !why_is_right(l))
		broken(l, "np_conn_error() says %d, %s", l->why, np_strerror(l->why));
}

static unsigned number(const char *name, unsigned otherwise)
{
	const char *v = getenv(name);

	return v ? (unsigned)strtoul(v, NULL, 10) : otherwise;
}

static void given_lives(void)
{
	uint64_t s;

	all.n = under_tsan() || under_asan() ? 400 : 1000;
	all.n = number("NP_LIVES", all.tls[0] ? all.n / 4 : all.n);
	all.seed = getenv("NP_SEED") ? strtoull(getenv("NP_SEED"), NULL, 10) : now_ms() * 1000003u;
	printf("NP_SEED=%llu NP_LIVES=%u\n", (unsigned long long)all.seed, all.n);
	fflush(stdout);
	all.lives = calloc(all.n, sizeof *all.lives);
	s = all.seed;
	for (unsigned i = 0; i < all.n; i++)
		draw(&all.lives[i], i ? mix(&s) : all.seed, i, all.tls[0]);
}

static void live_all(const struct np_server_opts *o)
{
	struct np_block_stats b = { .sz = sizeof b };
	pthread_t peers[PEERS], c, s;

	given_lives();
	serve(POLLERS, &handlers, NULL, o);
	pthread_create(&c, NULL, closer, NULL);
	pthread_create(&s, NULL, sender, NULL);
	for (int i = 0; i < PEERS; i++)
		pthread_create(&peers[i], NULL, peer_thread, NULL);
	for (int i = 0; i < PEERS; i++)
		pthread_join(peers[i], NULL);
	AWAIT(all.live == 0);
	pthread_mutex_lock(&all.lock);
	all.over = true;
	pthread_mutex_unlock(&all.lock);
	pthread_join(c, NULL);
	pthread_join(s, NULL);
	serve_end();
	for (unsigned i = 0; i < all.n; i++) {
		if (all.next > all.n) /* or some were not lived */
			judge(&all.lives[i]);
		free(all.lives[i].sent);
	}
	free(all.lives);
	ck_assert_uint_eq(all.broken, 0);
	ck_assert_uint_eq(all.refs, all.dones);
	ck_assert_int_eq(np_block_stats(&b), 0);
	ck_assert_uint_eq(b.blocks_in_use, 0);
	ck_assert_uint_eq(b.cells_in_use, 0);
	if (all.n >= 100)
		ck_assert_uint_gt(all.moves, 0);
}

START_TEST(random_lives_lose_no_byte_and_keep_the_order_of_callbacks)
{
	live_all(NP_OPTS(np_server_opts, .steer = NP_STEER_OFF, .linger_ms = LINGER_MS));
}
END_TEST

/* Each poller has room for four, moved ones included, and every clock runs. */
START_TEST(and_so_they_do_within_limits)
{
	live_all(NP_OPTS(np_server_opts, .steer = NP_STEER_OFF, .linger_ms = LINGER_MS,
			 .max_conns = 4 * POLLERS, .rebalance = -1, .memory_max = 192u << 20,
			 .idle_timeout_ms = AWAIT_MS, .request_timeout_ms = AWAIT_MS));
}
END_TEST

#ifdef NP_HAVE_TLS
START_TEST(and_so_they_do_with_tls)
{
	struct np_tls_opts here = { .sz = sizeof here, .offload_us = -1 };
	struct np_tls_opts workers = { .sz = sizeof workers, .offload_us = 1 };

	all.tls[0] = given_server_tls(&here);
	all.tls[1] = given_server_tls(&workers);
	live_all(NP_OPTS(np_server_opts, .steer = NP_STEER_OFF, .linger_ms = LINGER_MS));
	if (all.n >= 100) {
		ck_assert_uint_gt(tls_stats_of(all.tls[0]).resumed, 0);
		ck_assert_uint_gt(tls_stats_of(all.tls[1]).offloaded, 0);
	}
	ck_assert_uint_eq(tls_stats_of(all.tls[0]).not_tls, 0);
	np_tls_free(&all.tls[0]);
	np_tls_free(&all.tls[1]);
}
END_TEST

static void add_tls(Suite *s)
{
	TCase *t = add_case(s, "tls");

	tcase_add_unchecked_fixture(t, certs_setup, certs_teardown);
	tcase_add_test(t, and_so_they_do_with_tls);
}
#else
static void add_tls(Suite *s)
{
}
#endif

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "lives");

	tcase_add_test(t, random_lives_lose_no_byte_and_keep_the_order_of_callbacks);
	tcase_add_test(t, and_so_they_do_within_limits);
	add_tls(s);
}

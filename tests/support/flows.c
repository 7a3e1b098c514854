/* SPDX-License-Identifier: BSD-2-Clause */
/* flows: one thread, one epoll, and a clock of a millisecond. */
#include "support/flows.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/time.h>
#include <unistd.h>

#include "support/handover.h"
#include "support/test.h"

#define HEAD      4u     /* of a frame: its length */
#define FRAME_MAX 16384u /* behind that */
#define WINDOW    4u     /* frames that wait for their answers */
#define LATE      16u    /* one of so many reads late */
#define LATE_MS   100u
#define ALL_S     120 /* for all answers to come */
#define EVENTS    512

struct flow {
	int fd;
	uint32_t id;
	uint32_t frame, at;     /* the one that is sent next, and how much of it has been */
	uint32_t back, back_at; /* the one whose answer comes next, likewise */
	uint64_t asked_ns;      /* of the one that is timed; 0: none is */
	uint32_t timed;
	unsigned char tail[sizeof(struct hand_answer)];
	bool dead;
};

static struct {
	int sock, ep;
	struct flows_opts o;
	struct flow *flow;
	struct flows_facts facts;
	unsigned begun;
	unsigned next; /* whose turn it is */
	uint64_t turns, since_ns;
} me;

/* ------------------------------------------------------------------ what a frame is */

static uint32_t frame_mix(uint32_t id, uint32_t frame)
{
	uint32_t x = id * 2654435761u + frame * 2246822519u + 1;

	x ^= x >> 15;
	x *= 2654435761u;
	return x ^ x >> 13;
}

static uint32_t frame_len(uint32_t id, uint32_t frame)
{
	uint32_t mix = frame_mix(id, frame);

	return 1 + (mix >> 8) % (mix % 64 ? 700 : FRAME_MAX - 1);
}

static unsigned char frame_byte(uint32_t id, uint32_t frame, uint32_t n, uint32_t i)
{
	if (i < HEAD)
		return (unsigned char)(n >> 8 * i);
	if (i == HEAD)
		return 'e';
	return (unsigned char)(id * 7 + frame * 131 + i * 31 + (i >> 8));
}

/* ------------------------------------------------------------------ ends */

static void flow_dies(struct flow *f, uint64_t *why, const char *words)
{
	if (f->dead)
		return;
	f->dead = true;
	++*why;
	epoll_ctl(me.ep, EPOLL_CTL_DEL, f->fd, NULL);
	fprintf(stderr, "flow %u: %s at frame %u, byte %u (asked %u)\n", f->id, words, f->back,
		f->back_at, f->frame);
}

static void flow_failed(struct flow *f)
{
	flow_dies(f, &me.facts.resets, strerror(errno));
}

/* ------------------------------------------------------------------ asking */

static bool flow_is_late(const struct flow *f)
{
	return f->id % LATE == LATE - 1;
}

static void flow_asked(struct flow *f)
{
	me.facts.asked++;
	if (!f->asked_ns && !flow_is_late(f)) {
		f->asked_ns = now_ns();
		f->timed = f->frame;
	}
	f->frame++;
	f->at = 0;
}

/* The rest of the frame, or half of it. */
static void flow_send(struct flow *f, bool half)
{
	static unsigned char some[HEAD + FRAME_MAX];
	uint32_t n = frame_len(f->id, f->frame), all = HEAD + n, upto = half ? all / 2 : all;
	ssize_t sent;

	if (f->dead)
		return;
	for (uint32_t i = f->at; i < upto; i++)
		some[i] = frame_byte(f->id, f->frame, n, i);
	sent = send(f->fd, some + f->at, upto - f->at, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent > 0)
		f->at += (uint32_t)sent;
	else if (errno != EAGAIN)
		flow_failed(f);
	if (f->at == all)
		flow_asked(f);
}

static void flow_takes_its_turn(struct flow *f)
{
	if (f->at)
		flow_send(f, false);
	else if (f->frame - f->back < WINDOW)
		flow_send(f, frame_mix(f->id, f->frame) >> 24 < 32);
}

/* As many as are due since it began; what was late comes at once. */
static void flows_ask(void)
{
	uint64_t due = (now_ns() - me.since_ns) / 1000 * me.o.rate / 1000000;

	for (; me.turns < due; me.turns++, me.next = (me.next + 1) % me.o.n)
		flow_takes_its_turn(&me.flow[me.next]);
}

/* ------------------------------------------------------------------ hearing */

static void flow_answered(struct flow *f)
{
	struct hand_answer a;

	memcpy(&a, f->tail, sizeof a);
	if (me.o.counted && a.count != f->back + 1)
		flow_dies(f, &me.facts.wrong, "the server has counted otherwise");
	if (f->asked_ns && f->timed == f->back) {
		samples_add(me.o.answered, now_ns() - f->asked_ns);
		f->asked_ns = 0;
	}
	me.facts.answered++;
	f->back++;
	f->back_at = me.o.counted ? HEAD : 0;
}

/* Return: whether it is what has to come next. */
static bool flow_takes(struct flow *f, unsigned char byte)
{
	uint32_t n = frame_len(f->id, f->back), end = HEAD + n;
	uint32_t all = me.o.counted ? end + (uint32_t)sizeof f->tail : end;

	if (f->back == f->frame && (!f->at || f->back_at >= f->at))
		return false; /* it was not asked for */
	if (f->back_at < end && byte != frame_byte(f->id, f->back, n, f->back_at))
		return false;
	if (f->back_at >= end)
		f->tail[f->back_at - end] = byte;
	if (++f->back_at == all)
		flow_answered(f);
	return !f->dead;
}

static void flow_hear(struct flow *f)
{
	static unsigned char some[65536];
	ssize_t n = recv(f->fd, some, sizeof some, MSG_DONTWAIT);

	if (n < 0 && errno != EAGAIN)
		flow_failed(f);
	if (n == 0)
		flow_dies(f, &me.facts.ends, "EOF");
	me.facts.bytes += n > 0 ? (uint64_t)n : 0;
	for (ssize_t i = 0; i < n; i++)
		if (!flow_takes(f, some[i])) {
			flow_dies(f, &me.facts.wrong, "another byte than was to come");
			return;
		}
}

static void flows_hear_late_ones(void)
{
	for (unsigned i = LATE - 1; i < me.begun; i += LATE)
		if (!me.flow[i].dead)
			flow_hear(&me.flow[i]);
}

static void flows_hear(int ms)
{
	static uint64_t late_ns;
	struct epoll_event e[EVENTS];
	int n = epoll_wait(me.ep, e, EVENTS, ms);

	for (int i = 0; i < n; i++)
		flow_hear(e[i].data.ptr);
	if (now_ns() - late_ns < LATE_MS * 1000000u)
		return;
	late_ns = now_ns();
	flows_hear_late_ones();
}

/* ------------------------------------------------------------------ the whole */

static void flow_begin(struct flow *f, unsigned id)
{
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = f };
	int on = 1, small = 4096;

	*f = (struct flow){ .id = id, .back_at = me.o.counted ? HEAD : 0 };
	f->fd = socket(me.o.ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (f->fd < 0)
		child_fail("flow %u: socket: %s", id, strerror(errno));
	if (flow_is_late(f))
		setsockopt(f->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
	if (connect(f->fd, (struct sockaddr *)&me.o.ss, me.o.len) < 0)
		child_fail("flow %u: connect: %s", id, strerror(errno));
	setsockopt(f->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (!flow_is_late(f) && epoll_ctl(me.ep, EPOLL_CTL_ADD, f->fd, &e) < 0)
		child_fail("flow %u: epoll_ctl: %s", id, strerror(errno));
	flow_send(f, false);
}

static bool flow_waits(const struct flow *f)
{
	return !f->dead && (f->at || f->back < f->frame);
}

static unsigned flows_that_wait(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < me.o.n; i++)
		n += flow_waits(&me.flow[i]);
	return n;
}

/* What has been begun is asked, and answered. */
static void flows_settle(void)
{
	uint64_t end = now_ms() + ALL_S * 1000u;

	while (flows_that_wait() && now_ms() < end) {
		for (unsigned i = 0; i < me.o.n; i++)
			if (me.flow[i].at)
				flow_send(&me.flow[i], false);
		flows_hear(1);
	}
}

static void flow_end(struct flow *f)
{
	struct timeval t = { .tv_sec = ALL_S };
	char byte;

	if (!f->dead && flow_waits(f))
		flow_dies(f, &me.facts.unanswered, "no answer");
	if (!f->dead) {
		setsockopt(f->fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
		shutdown(f->fd, SHUT_WR);
		if (recv(f->fd, &byte, 1, 0) != 0)
			flow_dies(f, &me.facts.wrong, "something came behind the last answer");
	}
	close(f->fd);
}

static void flows_pace(void)
{
	me.turns = 0;
	me.since_ns = now_ns();
}

/* Return: what it is told meanwhile. */
static char flows_run(void)
{
	struct pollfd told = { .fd = me.sock, .events = POLLIN };

	flows_pace();
	while (poll(&told, 1, 0) == 0) {
		if (me.o.rate)
			flows_ask();
		flows_hear(1);
	}
	return child_hear(me.sock);
}

static char flows_wait_for_word(void)
{
	poll(&(struct pollfd){ .fd = me.sock, .events = POLLIN }, 1, -1);
	return child_hear(me.sock);
}

static void flows_child(int sock, void *arg)
{
	char what = 'g';

	me.sock = sock;
	poll(&(struct pollfd){ .fd = sock, .events = POLLIN }, 1, -1);
	child_recv(sock, &me.o, sizeof me.o);
	me.ep = epoll_create1(EPOLL_CLOEXEC);
	me.flow = calloc(me.o.n, sizeof *me.flow);
	while (me.begun < me.o.n) {
		flow_begin(&me.flow[me.begun], me.begun);
		me.begun++;
		flows_hear(0);
	}
	flows_settle();
	child_say(sock, 'a');
	while (what != 'x') {
		what = what == 'g' ? flows_run() : flows_wait_for_word();
		if (what == 'r') {
			flows_settle();
			child_say(sock, 'r');
		}
	}
	flows_settle();
	for (unsigned i = 0; i < me.o.n; i++)
		flow_end(&me.flow[i]);
	child_send(sock, &me.facts, sizeof me.facts);
}

/* ------------------------------------------------------------------ as the test sees it */

void flows_start(struct child *c)
{
	child_start(c, flows_child, NULL);
}

void flows_begin(struct child *c, const struct flows_opts *o)
{
	child_send(c->sock, o, sizeof *o);
}

static void flows_await_word(struct child *c)
{
	struct pollfd p = { .fd = c->sock, .events = POLLIN };

	ck_assert_int_eq(poll(&p, 1, 2 * ALL_S * 1000), 1);
}

void flows_await(struct child *c)
{
	flows_await_word(c);
	ck_assert_int_eq(child_hear(c->sock), 'a');
}

void flows_rest(struct child *c)
{
	child_say(c->sock, 'r');
	flows_await_word(c);
	ck_assert_int_eq(child_hear(c->sock), 'r');
}

void flows_go(struct child *c)
{
	child_say(c->sock, 'g');
}

void flows_end(struct child *c, struct flows_facts *ret)
{
	child_say(c->sock, 'x');
	flows_await_word(c);
	child_recv(c->sock, ret, sizeof *ret);
}

void flows_expect_whole(const struct flows_facts *f)
{
	ck_assert_uint_eq(f->resets, 0);
	ck_assert_uint_eq(f->ends, 0);
	ck_assert_uint_eq(f->wrong, 0);
	ck_assert_uint_eq(f->unanswered, 0);
	ck_assert_uint_eq(f->answered, f->asked);
}

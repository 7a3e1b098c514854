/* SPDX-License-Identifier: BSD-2-Clause */
/* handover: a child that serves, hands over, takes over and stops, as it is told. */
#include "support/handover.h"

#include <errno.h>
#include <netinet/in.h>
#include <netpoll/linkbuf.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/handover_pair.h"
#include "support/peer.h"
#include "support/test.h"

static struct {
	struct hand_opts o;
	bool serves;
	int fds_before;
	struct np_pollers *pollers;
	struct np_server *server;
	struct hand_facts facts;
	_Atomic(int) closes, emoved, disconnects, last_error, last_port, exports, imports;
	_Atomic(bool) awake;
	struct hand_pair pair;
} me;

static char big[HANDOVER_BIG];

static void big_fill(void)
{
	for (unsigned i = 0; i < HANDOVER_BIG; i++)
		big[i] = (char)(i * 7 + (i >> 8) * 3 + (i >> 16));
}

/* ------------------------------------------------------------------ handlers */

static int say_answer(struct np_conn *c, const char *body, uint32_t n)
{
	uint32_t *count = np_conn_data(c);
	struct hand_answer a = { ++*count, (uint32_t)getpid() };
	int r = *body == 'b' ? np_conn_write_ref(c, big, HANDOVER_BIG, NULL, NULL) :
			       np_conn_write(c, body, n);

	if (r == 0)
		r = np_conn_write(c, &a, sizeof a);
	return r < 0 ? r : np_conn_flush(c);
}

/* Returns for nothing but an end, or to move. */
static int on_request_loop(struct np_conn *c, void *arg)
{
	const void *p;
	uint32_t n;
	int r = 0;

	while (r == 0) {
		r = np_conn_wait_movable(c, sizeof n);
		while (r == -NP_EMOVED && me.o.lingers && !me.awake)
			np_sleep(1);
		if (r == -NP_EMOVED && me.o.returns_0)
			return 0;
		if (r == 0)
			r = np_conn_next(c, sizeof n, &p);
		if (r < 0)
			return r;
		memcpy(&n, p, sizeof n);
		r = np_conn_next(c, n, &p);
		if (r == 0)
			r = say_answer(c, p, n);
	}
	return r;
}

static int on_request(struct np_conn *c, void *arg)
{
	const void *p;
	uint32_t n;
	int r = np_conn_len(c) < sizeof n ? np_conn_want(c, sizeof n) : 1;

	if (r <= 0)
		return r;
	r = np_conn_peek(c, sizeof n, &p);
	if (r < 0)
		return r;
	memcpy(&n, p, sizeof n);
	if (np_conn_len(c) < sizeof n + n)
		return np_conn_want(c, sizeof n + n);
	r = np_conn_next(c, sizeof n + n, &p);
	if (r < 0)
		return r;
	while (((const char *)p)[sizeof n] == 's' && !me.awake)
		(void)(me.o.keeps ? usleep(1000) : np_sleep(1));
	return say_answer(c, (const char *)p + sizeof n, n);
}

static void bind_to_first(struct np_conn *c)
{
	static struct np_conn *first;

	if (first && np_conn_bind(c, first) < 0)
		child_fail("the first two connections are no set");
	me.o.binds = !first;
	first = c;
}

static int on_prepare(struct np_conn *c, void *arg)
{
	if (me.o.binds)
		bind_to_first(c);
	np_conn_set_data(c, calloc(1, sizeof(uint32_t)));
	return 0;
}

static void on_disconnect(struct np_conn *c, void *arg)
{
	me.disconnects++;
}

static void note_end(struct np_conn *c)
{
	struct sockaddr_storage ss;
	socklen_t len;

	if (np_conn_remote_addr(c, &ss, &len) == 0 && ss.ss_family == AF_INET)
		me.last_port = ntohs(((struct sockaddr_in *)&ss)->sin_port);
	me.last_error = np_conn_error(c);
	me.emoved += np_conn_error(c) == -NP_EMOVED;
	me.closes++;
}

static void on_close(struct np_conn *c, void *arg)
{
	free(np_conn_data(c));
	note_end(c);
}

static void strike(_Atomic(int) *calls, int nth, int signal)
{
	if (++*calls != nth)
		return;
	kill(getpid(), signal);
	poll(NULL, 0, 50); /* the signal is the process's, and not at once this thread's */
}

static int before_export(void)
{
	strike(&me.exports, me.o.export_nth, me.o.export_signal);
	return 0;
}

static int before_import(void)
{
	strike(&me.imports, me.o.import_nth, me.o.import_signal);
	return me.o.import_refuses && me.imports % me.o.import_refuses == 0 ? -EINVAL : 0;
}

static int on_export(struct np_conn *c, void *arg, struct np_linkbuf *blob)
{
	before_export();
	if (me.o.own_idle_ms)
		np_conn_set_idle_timeout(c, me.o.own_idle_ms);
	if (me.o.own_request_ms)
		np_conn_set_request_timeout(c, me.o.own_request_ms);
	return np_linkbuf_write(blob, np_conn_data(c), sizeof(uint32_t));
}

static int on_import(struct np_conn *c, void *arg, const void *blob, size_t n)
{
	uint32_t *count;

	if (before_import() < 0 || n != sizeof *count)
		return -EINVAL;
	count = malloc(sizeof *count);
	memcpy(count, blob, n);
	np_conn_set_data(c, count);
	return 0;
}

static void on_move(struct np_conn *c, void *arg, bool arrived)
{
}

/* ------------------------------------------------------------------ the child */

static void hand_make(void)
{
	struct np_handlers h = { .sz = sizeof h,
				 .on_prepare = on_prepare,
				 .on_request = me.o.loops ? on_request_loop : on_request,
				 .on_disconnect = on_disconnect,
				 .on_close = on_close,
				 .on_export = me.o.no_export ? NULL : on_export,
				 .on_import = on_import,
				 .on_move = on_move,
				 .flags = me.o.keeps ? NP_MAY_BLOCK : 0 };
	int r;

	me.pair = (struct hand_pair){ .leaves_mate = me.o.leaves_mate,
				      .binds_other = me.o.binds_other,
				      .on_export = before_export,
				      .on_import = before_import,
				      .on_end = note_end };
	if (me.o.upstream)
		snprintf(me.pair.upstream, sizeof me.pair.upstream, "%s", me.o.upstream);
	big_fill();
	r = np_pollers_start(NP_OPTS(np_pollers_opts, .count = me.o.pollers ? me.o.pollers : 2,
				     .pin = NP_OFF),
			     &me.pollers);
	if (r == 0)
		r = np_server_new(me.pollers, me.o.upstream ? &hand_pair_handlers : &h, &me.pair,
				  NP_OPTS(np_server_opts, .steer = me.o.steer,
					  .idle_timeout_ms = me.o.idle_ms, .drain_ms = 1,
					  .fresh_ms = 1, .rebalance = me.o.rebalance,
					  .proxy = me.o.proxy, .limits.out_high = 2 * HANDOVER_BIG),
				  &me.server);
	if (r < 0)
		child_fail("no server: %s", np_strerror(r));
}

static void hand_note(int r)
{
	me.facts.r = r;
	snprintf(me.facts.error, sizeof me.facts.error, "%s", np_server_error(me.server));
}

static void hand_serve(void)
{
	int r = np_server_listen(me.server, me.o.network ? me.o.network : "tcp",
				 me.o.address ? me.o.address : "127.0.0.1:0");

	if (r == 0)
		r = np_server_start(me.server);
	hand_note(r);
	if (r == 0)
		np_server_addr(me.server, 0, &me.facts.ss, &me.facts.len);
}

static void hand_hook(void (*fn)(void))
{
	if (fn)
		fn();
}

struct hand_call {
	char where[108];
	int timeout_ms, answer_ms;
};

static void *hand_drain(void *arg)
{
	int r = np_server_drain(me.server);

	if (r < 0)
		child_fail("no drain: %s", np_strerror(r));
	child_say(*(int *)arg, 'd');
	return NULL;
}

static void hand_do_over(int sock)
{
	struct hand_call call;
	pthread_t t;

	child_recv(sock, &call, sizeof call);
	hand_hook(me.o.before);
	if (me.o.drains)
		pthread_create(&t, NULL, hand_drain, &sock);
	me.facts.handed = (struct np_handed_over){ .sz = sizeof me.facts.handed };
	hand_note(np_server_hand_over(me.server, call.where,
				      NP_OPTS(np_hand_over_opts, .come_ms = call.timeout_ms,
					      .work_ms = me.o.work_ms ? me.o.work_ms : AWAIT_MS,
					      .answer_ms = call.answer_ms),
				      &me.facts.handed));
	if (me.o.drains)
		pthread_join(t, NULL);
}

static void hand_do_take(int sock)
{
	struct hand_call call;
	int r;

	child_recv(sock, &call, sizeof call);
	hand_hook(me.o.before);
	r = np_server_take_over(me.server, call.where, call.timeout_ms);
	if (r > 0)
		r = np_server_start(me.server);
	hand_note(r);
}

static void hand_tell(int sock)
{
	struct np_server_stats st = { .sz = sizeof st };

	np_server_stats(me.server, &st);
	me.facts.conns = st.conns;
	me.facts.handed_over = st.handed_over;
	me.facts.taken_over = st.taken_over;
	me.facts.closes = me.closes;
	me.facts.emoved = me.emoved;
	me.facts.disconnects = me.disconnects;
	me.facts.last_error = me.last_error;
	me.facts.last_port = me.last_port;
	child_send(sock, &me.facts, sizeof me.facts);
}

static void hand_end(int sock)
{
	me.awake = true;
	hand_note(np_server_stop(me.server, AWAIT_MS, NULL));
	hand_tell(sock);
	if (np_server_free(&me.server) < 0 || np_pollers_stop(me.pollers, AWAIT_MS) < 0 ||
	    np_pollers_free(&me.pollers) < 0)
		child_fail("something is left in use");
	if (open_fds() > me.fds_before)
		child_fail("%d descriptors are left", open_fds() - me.fds_before);
	_exit(0);
}

static void hand_awake(int sig)
{
	me.awake = true;
}

/* SIGUSR1 may come meanwhile. Return: false: the test has ended. */
static bool hand_hears(int sock, char *ret)
{
	ssize_t n;

	do
		n = recv(sock, ret, 1, 0);
	while (n < 0 && errno == EINTR);
	return n == 1;
}

static void hand_child(int sock, void *arg)
{
	char what;

	if (me.o.closes)
		close(me.o.closes);
	if (me.o.descriptors)
		setrlimit(RLIMIT_NOFILE,
			  &(struct rlimit){ (rlim_t)me.o.descriptors, (rlim_t)me.o.descriptors });
	me.fds_before = open_fds();
	signal(SIGUSR1, hand_awake); /* the child may be in a call when its handlers are to wake */
	hand_make();
	if (me.serves) {
		hand_serve();
		hand_tell(sock);
	}
	while (hand_hears(sock, &what)) {
		if (what == 'o')
			hand_do_over(sock);
		else if (what == 't')
			hand_do_take(sock);
		else if (what == 'x')
			hand_end(sock);
		else
			hand_hook(me.o.asked);
		hand_tell(sock);
	}
}

/* ------------------------------------------------------------------ as the test sees it */

static void hand_start(struct child *c, const struct hand_opts *o, bool serves)
{
	memset(&me.facts, 0, sizeof me.facts);
	me.o = o ? *o : (struct hand_opts){ 0 };
	me.serves = serves;
	child_start(c, hand_child, NULL);
}

void hand_old(struct child *c, const struct hand_opts *o, struct hand_facts *ret)
{
	hand_start(c, o, true);
	hand_hear(c, ret);
	ck_assert_msg(ret->r == 0, "%s", ret->error);
}

void hand_new(struct child *c, const struct hand_opts *o)
{
	hand_start(c, o, false);
}

static void hand_ask(struct child *c, char what, const char *where, int timeout_ms, int answer_ms)
{
	struct hand_call call = { .timeout_ms = timeout_ms, .answer_ms = answer_ms };

	snprintf(call.where, sizeof call.where, "%s", where);
	child_say(c->sock, what);
	child_send(c->sock, &call, sizeof call);
}

void hand_ask_over(struct child *c, const char *where, int come_ms, int answer_ms)
{
	hand_ask(c, 'o', where, come_ms, answer_ms);
}

void hand_ask_take(struct child *c, const char *where, int timeout_ms)
{
	hand_ask(c, 't', where, timeout_ms, 0);
}

void hand_hear(struct child *c, struct hand_facts *ret)
{
	child_recv(c->sock, ret, sizeof *ret);
}

void hand_facts(struct child *c, struct hand_facts *ret)
{
	child_say(c->sock, 'f');
	hand_hear(c, ret);
}

void hand_wake(struct child *c)
{
	kill(c->pid, SIGUSR1);
}

void hand_stop(struct child *c, struct hand_facts *ret)
{
	child_say(c->sock, 'x');
	hand_hear(c, ret);
	ck_assert_msg(ret->r == 0, "%s", ret->error);
	child_join(c);
}

/* ------------------------------------------------------------------ clients */

/* In one piece: else Nagle's algorithm waits for the peer's delayed ACK. */
void hand_request(int fd, char what, const void *more, uint32_t n)
{
	uint32_t len = 1 + n;
	char *p = malloc(sizeof len + len);

	memcpy(p, &len, sizeof len);
	p[sizeof len] = what;
	memcpy(p + sizeof len + 1, more, n);
	peer_send(fd, p, sizeof len + len);
	free(p);
}

struct hand_answer hand_receive(int fd, char what, const void *more, uint32_t n)
{
	uint32_t len = what == 'b' ? HANDOVER_BIG : 1 + n;
	struct hand_answer a;
	char *p = malloc(len);

	if (what == 'b')
		big_fill();
	peer_recv(fd, p, len);
	if (what == 'b') {
		ck_assert_mem_eq(p, big, len);
	} else {
		ck_assert_int_eq(p[0], what);
		ck_assert_mem_eq(p + 1, more, n);
	}
	free(p);
	peer_recv(fd, &a, sizeof a);
	return a;
}

struct hand_answer hand_echo(int fd)
{
	hand_request(fd, 'e', "hello", 5);
	return hand_receive(fd, 'e', "hello", 5);
}

bool hand_try_echo(int fd, struct hand_answer *ret)
{
	static const char request[] = { 1, 0, 0, 0, 'e' };
	char answer[1 + sizeof *ret];

	if (send(fd, request, sizeof request, MSG_NOSIGNAL) != sizeof request ||
	    recv(fd, answer, sizeof answer, MSG_WAITALL) != sizeof answer)
		return false;
	memcpy(ret, answer + 1, sizeof *ret);
	return true;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * handover_frames: what a process is told that sends something else than was agreed, and that the
 * one it sends it to goes on serving
 *
 * The other side of each is a real server (support/handover.h); this one speaks by hand.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "conn/conn_message.h"
#include "netpoll/handover_frame.h"
#include "netpoll/pollers.h"
#include "support/handover.h"
#include "support/peer.h"
#include "support/serve.h"
#include "support/test.h"
#include "sys/clock.h"
#include "sys/io.h"
#include "sys/sock.h"

static struct child server;
static struct hand_facts facts;
static struct handover_frame frame;
static char where[32];
static int client, sock;
static unsigned others = 2; /* that this one says it has */

static uint64_t soon(void)
{
	return sys_clock_ns() + AWAIT_MS * 1000000ull;
}

static socklen_t place(struct sockaddr_un *un)
{
	*un = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(where, sizeof where, "@np-frames-%d", (int)getpid());
	memcpy(un->sun_path + 1, where + 1, strlen(where + 1));
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(where));
}

/* ------------------------------------------------------------------ to one that hands over */

static void given_old_with(const struct hand_opts *o)
{
	hand_old(&server, o, &facts);
	client = peer_connect(&facts.ss, facts.len);
	hand_echo(client);
}

static void reach(const struct sockaddr_un *un, socklen_t len)
{
	ck_assert_int_eq(sys_socket(AF_UNIX, SOCK_STREAM, &sock), 0);
	AWAIT(sys_connect(sock, (const struct sockaddr *)un, len) == 0);
}

static void hand_over_to_this(int answer_ms)
{
	struct sockaddr_un un;
	socklen_t len = place(&un);

	hand_ask_over(&server, where, AWAIT_MS, answer_ms);
	reach(&un, len);
}

static void given_old(int answer_ms)
{
	given_old_with(NULL);
	hand_over_to_this(answer_ms);
}

static void say(enum handover_type type, const void *p, size_t n)
{
	ck_assert_int_eq(handover_send(sock, type, p, n, NULL, 0, soon()), 0);
}

static void say_hello(void)
{
	say(HANDOVER_HELLO, &(struct handover_hello){ others, SYS_PASS_MAX },
	    sizeof(struct handover_hello));
}

static void hear(enum handover_type type)
{
	handover_frame_free(&frame);
	ck_assert_int_eq(handover_expect(sock, type, &frame, soon()), 0);
}

/* Up to @type, as the next process does it. */
static void until(enum handover_type type)
{
	say_hello();
	do {
		handover_frame_free(&frame);
		ck_assert_int_eq(handover_recv(sock, &frame, soon()), 0);
	} while (frame.type != HANDOVER_OFFERED);
	if (type == HANDOVER_OFFERED)
		return;
	say(HANDOVER_BEGIN, NULL, 0);
	hear(HANDOVER_RELEASED);
	if (type == HANDOVER_RELEASED)
		return;
	say(HANDOVER_LISTENING, NULL, 0);
	hear(HANDOVER_YOURS);
	if (type == HANDOVER_YOURS)
		return;
	hear(HANDOVER_CONNS);
}

/* What the old one says of it; the connection is served as before. */
static void then_it_failed(int r, const char *words)
{
	struct hand_facts f;

	hand_hear(&server, &f);
	ck_assert_int_eq(f.r, r);
	ck_assert_msg(strstr(f.error, words), "%s", f.error);
	ck_assert_uint_eq(f.handed.handed, 0);
	ck_assert_uint_eq(hand_echo(client).pid, (uint32_t)server.pid);
}

static void and_it_accepts(void)
{
	int fresh = peer_connect(&facts.ss, facts.len);

	ck_assert_uint_eq(hand_echo(fresh).pid, (uint32_t)server.pid);
	peer_close(&fresh);
}

static void end(void)
{
	struct hand_facts f;

	handover_frame_free(&frame);
	sys_close(&sock);
	peer_close(&client);
	hand_stop(&server, &f);
}

static void expect_refusal(const char *words)
{
	handover_frame_free(&frame);
	ck_assert_int_eq(handover_expect(sock, HANDOVER_OFFERED, &frame, soon()), -ECONNREFUSED);
	ck_assert_msg(strstr(frame.bytes, words), "%s", (char *)frame.bytes);
}

static const char hello_bytes[] = "HPNHxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

/* magic, version, type, descriptors, bytes */
static void say_raw(uint32_t magic, uint16_t version, uint16_t type, uint32_t fds, uint32_t n)
{
	char raw[16];

	memcpy(raw, &magic, 4);
	memcpy(raw + 4, &version, 2);
	memcpy(raw + 6, &type, 2);
	memcpy(raw + 8, &fds, 4);
	memcpy(raw + 12, &n, 4);
	peer_send(sock, raw, sizeof raw);
}

#define MAGIC   0x4e50484fu
#define VERSION 2

START_TEST(garbage_is_refused)
{
	given_old(AWAIT_MS);
	peer_send(sock, hello_bytes, sizeof hello_bytes);
	expect_refusal("not as was agreed");
	then_it_failed(-EPROTO, "not as was agreed");
	and_it_accepts();
	end();
}
END_TEST

START_TEST(another_version_is_refused)
{
	given_old(AWAIT_MS);
	say_raw(MAGIC, 1, HANDOVER_HELLO, 0, 8);
	expect_refusal("another version");
	then_it_failed(-EPROTONOSUPPORT, "another version");
	and_it_accepts();
	end();
}
END_TEST

START_TEST(a_message_that_is_cut_is_refused)
{
	given_old(AWAIT_MS);
	say_raw(MAGIC, VERSION, HANDOVER_HELLO, 0, 8);
	sys_shutdown(sock, SHUT_WR);
	expect_refusal("cut");
	then_it_failed(-EPROTO, "cut");
	and_it_accepts();
	end();
}
END_TEST

START_TEST(a_length_without_end_is_refused)
{
	given_old(AWAIT_MS);
	say_raw(MAGIC, VERSION, HANDOVER_HELLO, 0, UINT32_MAX);
	expect_refusal("not as was agreed");
	then_it_failed(-EPROTO, "not as was agreed");
	end();
}
END_TEST

START_TEST(a_message_out_of_its_turn_is_refused)
{
	given_old(AWAIT_MS);
	say(HANDOVER_COMMIT, NULL, 0);
	expect_refusal("not as was agreed");
	then_it_failed(-EPROTO, "not as was agreed");
	and_it_accepts();
	end();
}
END_TEST

START_TEST(descriptors_that_were_not_announced_are_refused)
{
	int fds[1] = { 0 };
	char raw[16] = { 0 };

	given_old(AWAIT_MS);
	memcpy(raw, &(uint32_t){ MAGIC }, 4);
	raw[4] = VERSION;
	raw[6] = HANDOVER_HELLO;
	raw[12] = 8;
	ck_assert_int_eq(sys_pass_send(sock, raw, sizeof raw, fds, 1), sizeof raw);
	expect_refusal("descriptors");
	then_it_failed(-EBADMSG, "descriptors");
	and_it_accepts();
	end();
}
END_TEST

static void pass_many(const void *p, size_t n, int count)
{
	struct iovec iov = { (void *)p, n };
	char room[CMSG_SPACE(100 * sizeof(int))] = { 0 };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = room,
			    .msg_controllen = CMSG_SPACE((size_t)count * sizeof(int)) };
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN((size_t)count * sizeof(int)); /* all of them descriptor 0 */
	ck_assert_int_eq(sendmsg(sock, &m, MSG_NOSIGNAL), (ssize_t)n);
}

START_TEST(too_many_descriptors_are_refused_and_closed)
{
	char raw[16] = { 0 };

	given_old(AWAIT_MS);
	memcpy(raw, &(uint32_t){ MAGIC }, 4);
	raw[4] = VERSION;
	raw[6] = HANDOVER_HELLO;
	raw[8] = 100;
	pass_many(raw, sizeof raw, 100);
	expect_refusal("too many descriptors");
	then_it_failed(-EMSGSIZE, "too many descriptors");
	and_it_accepts();
	end();
}
END_TEST

/* ------------------------------------------------------------------ the next one ends */

START_TEST(a_next_process_that_ends_before_it_begins_changes_nothing)
{
	given_old(AWAIT_MS);
	until(HANDOVER_OFFERED);
	sys_close(&sock);
	then_it_failed(-EPIPE, "is gone");
	and_it_accepts();
	end();
}
END_TEST

START_TEST(one_that_ends_before_it_listens_gives_the_listeners_back)
{
	given_old(AWAIT_MS);
	until(HANDOVER_RELEASED);
	sys_close(&sock);
	then_it_failed(-EPIPE, "is gone");
	and_it_accepts();
	end();
}
END_TEST

START_TEST(one_that_does_not_listen_in_time_gives_them_back_too)
{
	given_old(200);
	until(HANDOVER_RELEASED);
	then_it_failed(-ETIMEDOUT, "not answered in time");
	and_it_accepts();
	end();
}
END_TEST

START_TEST(one_that_ends_with_connections_it_was_not_told_of_gives_them_back)
{
	given_old(AWAIT_MS);
	until(HANDOVER_CONNS);
	ck_assert_uint_eq(frame.n_fds, 1);
	handover_frame_free(&frame);
	sys_close(&sock);
	then_it_failed(-EPIPE, "is gone");
	end();
}
END_TEST

START_TEST(what_it_was_told_of_ends_with_it)
{
	given_old(AWAIT_MS);
	until(HANDOVER_CONNS);
	say(HANDOVER_IMPORTED, "\1", 1);
	hear(HANDOVER_COMMIT); /* from here on it is this one's, and dies with it */
	handover_frame_free(&frame);
	sys_close(&sock);
	ck_assert_int_eq(peer_drain(client), 0);
	hand_hear(&server, &facts);
	ck_assert_uint_eq(facts.handed.handed, 1);
	end();
}
END_TEST

/* Nothing is due from it while a handler is at work; its end is known at once all the same. */
START_TEST(one_that_ends_while_a_handler_is_at_work_ends_the_hand_over)
{
	given_old_with(&(struct hand_opts){ .work_ms = -1 });
	hand_request(client, 's', "", 0);
	hand_over_to_this(AWAIT_MS);
	until(HANDOVER_YOURS);
	if (_i)
		handover_refuse(sock, "enough of it");
	sys_close(&sock);
	hand_hear(&server, &facts);
	ck_assert_int_eq(facts.r, _i ? -ECONNREFUSED : -EPIPE);
	ck_assert_msg(strstr(facts.error, _i ? "enough of it" : "is gone"), "%s", facts.error);
	ck_assert_uint_eq(facts.handed.addresses, 1);
	hand_wake(&server);
	ck_assert_uint_eq(hand_receive(client, 's', "", 0).pid, (uint32_t)server.pid);
	end();
}
END_TEST

static _Atomic(bool) at_work, let_go, stopped, handed;

static int works(struct np_conn *c, void *arg)
{
	at_work = true;
	while (!let_go)
		np_sleep(1);
	return np_conn_skip(c, np_conn_len(c));
}

static int may_go(struct np_conn *c, void *arg, struct np_linkbuf *blob)
{
	return 0;
}

static void *hand_over(void *arg)
{
	np_server_hand_over(serve_server, where, NP_OPTS(np_hand_over_opts, .work_ms = -1), NULL);
	handed = true;
	return NULL;
}

static void *stop_at_leisure(void *arg)
{
	ck_assert_int_eq(np_server_stop(serve_server, -1, NULL), 0);
	stopped = true;
	return NULL;
}

START_TEST(a_stop_without_a_limit_ends_one_that_waits_for_handlers)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_request = works,
					      .on_export = may_go };
	pthread_t by_hand, by_stop;
	struct sockaddr_un un;
	socklen_t len = place(&un);

	serve((int)others, &h, NULL, NULL);
	client = serve_connect(0);
	peer_send(client, "x", 1);
	AWAIT(at_work);
	ck_assert_int_eq(pthread_create(&by_hand, NULL, hand_over, NULL), 0);
	reach(&un, len);
	until(HANDOVER_YOURS);
	ck_assert_int_eq(pthread_create(&by_stop, NULL, stop_at_leisure, NULL), 0);
	AWAIT(handed);
	let_go = true;
	AWAIT(stopped);
	pthread_join(by_hand, NULL);
	pthread_join(by_stop, NULL);
	handover_frame_free(&frame);
	sys_close(&sock);
	peer_close(&client);
	serve_end();
}
END_TEST

/* ------------------------------------------------------------------ a handler keeps a poller */

static void keeps_poller(void *arg)
{
	at_work = true;
	while (!let_go)
		;
}

static bool is_taken(int fd)
{
	int n = 1;

	return ioctl(fd, SIOCOUTQ, &n) == 0 && n == 0;
}

static void keep(struct np_server *s)
{
	at_work = false;
	ck_assert_int_eq(np_post(np_server_pollers(s), 0, keeps_poller, NULL), 0);
	AWAIT(at_work);
}

static int said;

static void *hand_over_for(void *answer_ms)
{
	said = np_server_hand_over(serve_server, where,
				   NP_OPTS(np_hand_over_opts, .work_ms = -1,
					   .answer_ms = (int)(intptr_t)answer_ms),
				   NULL);
	handed = true;
	return NULL;
}

static void given_hand_over_here(pthread_t *t, int answer_ms)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_request = works,
					      .on_export = may_go };
	struct sockaddr_un un;
	socklen_t len = place(&un);

	serve((int)others, &h, NULL, NULL);
	client = serve_connect(0);
	peer_send(client, "x", 1);
	AWAIT(at_work);
	ck_assert_int_eq(pthread_create(t, NULL, hand_over_for, (void *)(intptr_t)answer_ms), 0);
	reach(&un, len);
}

static void end_here(pthread_t t)
{
	pthread_join(t, NULL);
	handover_frame_free(&frame);
	sys_close(&sock);
	peer_close(&client);
	serve_end();
}

START_TEST(a_poller_that_is_kept_ends_it_in_the_time_of_an_answer)
{
	pthread_t t;
	int fresh;

	given_hand_over_here(&t, 200);
	until(HANDOVER_OFFERED);
	keep(serve_server);
	say(HANDOVER_BEGIN, NULL, 0);
	AWAIT(handed);

	ck_assert_int_eq(said, -ETIMEDOUT);
	ck_assert(strstr(np_server_error(serve_server), "a handler keeps one of its pollers"));
	handover_frame_free(&frame);
	ck_assert_int_eq(handover_expect(sock, HANDOVER_RELEASED, &frame, soon()), -ECONNREFUSED);
	let_go = true;
	for (unsigned i = 0; i < 8 * others; i++) { /* each of its listeners accepts */
		fresh = serve_connect(0);
		AWAIT(serve_conns() == 2);
		peer_close(&fresh);
		AWAIT(serve_conns() == 1);
	}
	end_here(t);
}
END_TEST

/* It waits without a limit, for listeners to be let go, or for a batch of connections. */
START_TEST(a_stop_has_its_limit_beside_one_that_waits_for_a_poller_that_is_kept)
{
	pthread_t t;

	given_hand_over_here(&t, -1);
	until(_i ? HANDOVER_RELEASED : HANDOVER_OFFERED);
	keep(serve_server);
	say(_i ? HANDOVER_LISTENING : HANDOVER_BEGIN, NULL, 0);
	if (_i)
		hear(HANDOVER_YOURS);
	AWAIT(is_taken(sock));
	ck_assert_int_eq(np_server_stop(serve_server, 1, NULL), -ETIMEDOUT);

	ck_assert(handed);
	ck_assert(strstr(np_server_error(serve_server), "handlers that do not return"));
	let_go = true;
	ck_assert_int_eq(np_server_stop(serve_server, AWAIT_MS, NULL), 0);
	if (!_i)
		ck_assert_int_eq(said, -ECANCELED);
	end_here(t);
}
END_TEST

START_TEST(an_answer_to_another_question_commits_nothing)
{
	given_old(AWAIT_MS);
	until(HANDOVER_CONNS);
	say(HANDOVER_IMPORTED, "\1\1", 2);
	then_it_failed(-EPROTO, "another question");
	end();
}
END_TEST

/* Of a set it takes one: nothing is committed, and both go on. */
START_TEST(an_answer_that_parts_a_set_commits_nothing)
{
	int other;

	given_old_with(&(struct hand_opts){ .pollers = 1, .binds = 1 });
	other = peer_connect(&facts.ss, facts.len);
	hand_echo(other);
	hand_over_to_this(AWAIT_MS);
	others = 1;
	until(HANDOVER_CONNS);
	ck_assert_uint_eq(frame.n_fds, 2);
	say(HANDOVER_IMPORTED, _i ? "\1\0" : "\0\1", 2);
	then_it_failed(-EPROTO, "another question");
	ck_assert_uint_eq(hand_echo(other).pid, (uint32_t)server.pid);
	peer_close(&other);
	end();
}
END_TEST

START_TEST(one_that_does_not_answer_in_time_has_nothing)
{
	given_old(200);
	until(HANDOVER_CONNS);
	then_it_failed(-ETIMEDOUT, "not answered in time");
	end();
}
END_TEST

/* ------------------------------------------------------------------ to one that takes over */

static int place_fd;

static void given_place(void)
{
	struct sockaddr_un un;
	socklen_t len = place(&un);

	ck_assert_int_eq(sys_socket(AF_UNIX, SOCK_STREAM, &place_fd), 0);
	ck_assert_int_eq(sys_bind(place_fd, (struct sockaddr *)&un, len), 0);
	ck_assert_int_eq(sys_listen(place_fd, 1), 0);
}

static void await_next(void)
{
	await_fd(place_fd, POLLIN);
	ck_assert_int_eq(sys_accept4(place_fd, NULL, NULL, &sock), 0);
	hear(HANDOVER_HELLO);
	ck_assert_uint_eq(frame.n, sizeof(struct handover_hello));
}

static void given_next(void)
{
	given_place();
	hand_new(&server, NULL);
	hand_ask_take(&server, where, AWAIT_MS);
	await_next();
}

static void given_listener(int *ret_fd, struct handover_address *ret)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof in;

	ck_assert_int_eq(sys_socket(AF_INET, SOCK_STREAM, ret_fd), 0);
	ck_assert_int_eq(sys_bind(*ret_fd, (struct sockaddr *)&in, len), 0);
	ck_assert_int_eq(sys_listen(*ret_fd, 16), 0);
	ck_assert_int_eq(getsockname(*ret_fd, (struct sockaddr *)&in, &len), 0);
	*ret = (struct handover_address){ .fds = 1, .flags = HANDOVER_SHARED, .addr_len = len };
	memcpy(ret->addr, &in, sizeof in);
	memcpy(&facts.ss, &in, sizeof in);
	facts.len = len;
}

static void offer(const struct handover_address *a, size_t n, const int *fds, unsigned n_fds)
{
	ck_assert_int_eq(handover_send(sock, HANDOVER_ADDRESS, a, n, fds, n_fds, soon()), 0);
}

/* It says so, and may listen by itself afterwards. */
static void then_it_takes_nothing(int r)
{
	struct hand_facts f;

	hand_hear(&server, &f);
	ck_assert_msg(f.r == r, "%d: %s", f.r, f.error);
	ck_assert_int_ne(f.error[0], 0);
	handover_frame_free(&frame);
	sys_close(&sock);
	sys_close(&place_fd);
	hand_stop(&server, &f);
}

static const struct {
	const char *what;
	int n;             /* bytes fewer */
	unsigned fds;      /* that come */
	unsigned of, from; /* the address has, and these begin there */
	uint32_t index, path_len, addr_len;
} offers[] = {
	{ .what = "cut", .n = 1, .fds = 1, .of = 1, .addr_len = 16 },
	{ .what = "no descriptor", .fds = 0, .of = 1, .addr_len = 16 },
	{ .what = "too many for it", .fds = 2, .of = 1, .addr_len = 16 },
	{ .what = "beyond its end", .fds = 1, .of = 1, .from = 1, .addr_len = 16 },
	{ .what = "of a later address", .fds = 1, .of = 1, .index = 1, .addr_len = 16 },
	{ .what = "with a path that is not there",
	  .fds = 1,
	  .of = 1,
	  .path_len = 4,
	  .addr_len = 16 },
	{ .what = "with no address", .fds = 1, .of = 1, .addr_len = 0 },
	{ .what = "with a long address", .fds = 1, .of = 1, .addr_len = 129 },
	{ .what = "of as many as it says", .fds = 1, .of = 7, .addr_len = 16 },
};

START_TEST(an_offer_that_does_not_hold_is_refused)
{
	struct handover_address a;
	int fds[2];

	given_next();
	given_listener(&fds[0], &a);
	fds[1] = fds[0];
	a.index = offers[_i].index;
	a.fds = offers[_i].of;
	a.first = offers[_i].from;
	a.path_len = offers[_i].path_len;
	a.addr_len = offers[_i].addr_len;
	offer(&a, sizeof a - (size_t)offers[_i].n, fds, offers[_i].fds);
	then_it_takes_nothing(-EPROTO);
	sys_close(&fds[0]);
}
END_TEST

START_TEST(a_descriptor_that_does_not_listen_is_refused)
{
	struct handover_address a;
	int fd, zero = 0;

	given_next();
	given_listener(&fd, &a);
	offer(&a, sizeof a, &zero, 1);
	then_it_takes_nothing(-EPROTO);
	sys_close(&fd);
}
END_TEST

START_TEST(an_old_process_that_ends_leaves_it_with_nothing)
{
	given_next();
	sys_close(&sock);
	then_it_takes_nothing(-EPIPE);
}
END_TEST

START_TEST(one_of_another_version_leaves_it_with_nothing)
{
	given_next();
	say_raw(MAGIC, 9, HANDOVER_OFFERED, 0, 0);
	then_it_takes_nothing(-EPROTONOSUPPORT);
}
END_TEST

/* ------------------------------------------------------------------ with connections */

static int pair[2];

/* It listens; and this one has a connection that it could hand over. */
/* Up to the moment at which connections may come. *ret_fd is the listener. */
static void give_listener(int *ret_fd)
{
	struct handover_address a;

	given_listener(ret_fd, &a);
	offer(&a, sizeof a, ret_fd, 1);
	say(HANDOVER_OFFERED, NULL, 0);
	hear(HANDOVER_BEGIN);
	say(HANDOVER_RELEASED, NULL, 0);
	hear(HANDOVER_LISTENING);
	say(HANDOVER_YOURS, NULL, 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
}

static void given_receiver(int *fd)
{
	struct hand_facts f;

	given_next();
	give_listener(fd);
	hand_hear(&server, &f);
	ck_assert_msg(f.r == 0, "%s", f.error);
}

/* The bad batch ends the hand-over and no more: it serves. */
static void then_it_serves_on(int *fd)
{
	struct hand_facts f;

	handover_frame_free(&frame);
	while (handover_recv(sock, &frame, soon()) == 0)
		handover_frame_free(&frame);
	frame = (struct handover_frame){ 0 };
	client = peer_connect(&facts.ss, facts.len);
	ck_assert_uint_eq(hand_echo(client).pid, (uint32_t)server.pid);
	hand_facts(&server, &f);
	ck_assert_uint_eq(f.conns, 1);
	close(pair[0]);
	close(pair[1]);
	sys_close(fd);
	sys_close(&place_fd);
	end();
}

/* As many bytes as a batch of two has. */
struct batch {
	struct handover_conns head;
	struct handover_conn conn[2];
	char message[40];
};

static void send_batch(const struct batch *b, unsigned n, unsigned fds)
{
	char raw[sizeof *b], *at = raw;

	memcpy(at, &b->head, sizeof b->head);
	at += sizeof b->head;
	memcpy(at, b->conn, n * sizeof *b->conn);
	at += n * sizeof *b->conn;
	memcpy(at, b->message, 20 * n);
	at += 20 * n;
	ck_assert_int_eq(
		handover_send(sock, HANDOVER_CONNS, raw, (size_t)(at - raw), pair, fds, soon()), 0);
}

#define NO_MESSAGE "no message, this onenor is this one, too"

static struct np_server *next;

static void *take_over(void *arg)
{
	ck_assert_int_eq(np_server_take_over(next, where, AWAIT_MS), 1);
	ck_assert_int_eq(np_server_start(next), 0);
	return NULL;
}

/* What came last is made by a poller that a handler keeps. */
START_TEST(a_stop_of_the_receiver_has_its_limit_beside_a_handler_that_does_not_return)
{
	static const struct np_handlers h = { .sz = sizeof h };
	struct batch b = { .head = { 0, 1 }, .conn = { { 1, 0, 20 } }, .message = NO_MESSAGE };
	pthread_t t;
	int fd;

	given_place();
	ck_assert_int_eq(np_server_new(NULL, &h, NULL, NULL, &next), 0);
	ck_assert_int_eq(pthread_create(&t, NULL, take_over, NULL), 0);
	await_next();
	give_listener(&fd);
	ck_assert_int_eq(pthread_join(t, NULL), 0);
	ck_assert_int_eq(np_post(np_server_pollers(next), 0, keeps_poller, NULL), 0);
	AWAIT(at_work);
	send_batch(&b, 1, 1);
	AWAIT(is_taken(sock));
	ck_assert_int_eq(np_server_stop(next, 1, NULL), -ETIMEDOUT);
	let_go = true;
	serve_over(&next);
	handover_frame_free(&frame);
	sys_close(&sock);
	sys_close(&fd);
	sys_close(&place_fd);
	close(pair[0]);
	close(pair[1]);
}
END_TEST

START_TEST(a_connection_whose_message_is_bad_is_not_taken)
{
	struct batch b = { .head = { 0, 1 }, .conn = { { 1, 0, 20 } }, .message = NO_MESSAGE };
	int fd;

	given_receiver(&fd);
	send_batch(&b, 1, 1);
	hear(HANDOVER_IMPORTED);
	ck_assert_uint_eq(frame.n, 1);
	ck_assert_int_eq(*(char *)frame.bytes, 0);
	say(HANDOVER_COMMIT, NULL, 0);
	say(HANDOVER_END, NULL, 0);
	then_it_serves_on(&fd);
}
END_TEST

/* Of a set none is taken; and it is not told apart which was bad. */
START_TEST(a_set_of_which_one_is_bad_is_not_taken)
{
	struct conn_message good = { .transport = TRANSPORT_UNIX, .call_at = 1 };
	struct {
		struct handover_conns head;
		struct handover_conn conn[2];
	} b = { .head = { 0, 2 } };
	size_t n = conn_message_size(&good);
	char raw[1024] = { 0 };
	int fd;

	given_receiver(&fd);
	good.part[CONN_MESSAGE_BLOB] = (struct conn_bytes){ (uint32_t[]){ 1 }, 4 };
	n = conn_message_size(&good);
	b.conn[0] = (struct handover_conn){ 2, 0, _i ? n : 20 };
	b.conn[1] = (struct handover_conn){ 0, 0, _i ? 20 : n };
	memcpy(raw, &b, sizeof b);
	conn_message_write(&good, raw + sizeof b + (_i ? 0 : 20));
	ck_assert_int_eq(
		handover_send(sock, HANDOVER_CONNS, raw, sizeof b + n + 20, pair, 2, soon()), 0);
	hear(HANDOVER_IMPORTED);
	ck_assert_uint_eq(frame.n, 2);
	ck_assert_mem_eq(frame.bytes, "\0\0", 2);
	say(HANDOVER_COMMIT, NULL, 0);
	say(HANDOVER_END, NULL, 0);
	then_it_serves_on(&fd);
}
END_TEST

/* One alone cannot be what only a set has. */
START_TEST(a_dialed_one_alone_is_not_taken)
{
	struct conn_message m = { .flags = CONN_MESSAGE_DIALED,
				  .transport = TRANSPORT_UNIX,
				  .call_at = 1 };
	size_t n = conn_message_size(&m);
	struct {
		struct handover_conns head;
		struct handover_conn conn;
	} b = { { 0, 1 }, { 1, 0, n } };
	char raw[1024];
	int fd;

	given_receiver(&fd);
	memcpy(raw, &b, sizeof b);
	conn_message_write(&m, raw + sizeof b);
	ck_assert_int_eq(handover_send(sock, HANDOVER_CONNS, raw, sizeof b + n, pair, 1, soon()),
			 0);
	hear(HANDOVER_IMPORTED);
	ck_assert_int_eq(*(char *)frame.bytes, 0);
	say(HANDOVER_COMMIT, NULL, 0);
	say(HANDOVER_END, NULL, 0);
	then_it_serves_on(&fd);
}
END_TEST

static const struct {
	uint32_t conns;
	unsigned n, fds; /* that come */
	struct handover_conn conn[2];
} batches[] = {
	{ 1, 1, 0, { { 1, 0, 20 } } },               /* no descriptor */
	{ 2, 1, 1, { { 1, 0, 20 } } },               /* not as many as connections */
	{ 1, 1, 2, { { 1, 0, 20 } } },               /* more */
	{ 1, 1, 1, { { 1, 0, 21 } } },               /* cut */
	{ 1, 1, 1, { { 1, 0, 19 } } },               /* something behind it */
	{ 1, 1, 1, { { 1, 0, UINT64_MAX } } },       /* no length */
	{ UINT32_MAX, 1, 1, { { 1, 0, 20 } } },      /* no number */
	{ 1, 1, 1, { { 2, 0, 20 } } },               /* half of a set */
	{ 1, 1, 1, { { 0, 0, 20 } } },               /* the other half */
	{ 1, 1, 1, { { 1, 1, 20 } } },               /* what is not said yet */
	{ 2, 2, 2, { { 2, 0, 20 }, { 1, 0, 20 } } }, /* a set that another begins in */
	{ 2, 2, 2, { { 1, 0, 20 }, { 0, 0, 20 } } }, /* one that nobody began */
	{ 2, 2, 2, { { 3, 0, 20 }, { 0, 0, 20 } } }, /* more than a set has */
	{ 2, 2, 1, { { 2, 0, 20 }, { 0, 0, 20 } } }, /* a set with one descriptor */
	{ 2, 2, 2, { { 2, 0, 20 }, { 0, 0, 21 } } }, /* whose second is cut */
};

START_TEST(a_batch_that_does_not_hold_ends_the_hand_over)
{
	struct batch b = { .head = { 0, batches[_i].conns }, .message = NO_MESSAGE };
	int fd;

	memcpy(b.conn, batches[_i].conn, sizeof b.conn);
	given_receiver(&fd);
	send_batch(&b, batches[_i].n, batches[_i].fds);
	then_it_serves_on(&fd);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "handover_frames");

	tcase_add_test(t, garbage_is_refused);
	tcase_add_test(t, another_version_is_refused);
	tcase_add_test(t, a_message_that_is_cut_is_refused);
	tcase_add_test(t, a_length_without_end_is_refused);
	tcase_add_test(t, a_message_out_of_its_turn_is_refused);
	tcase_add_test(t, descriptors_that_were_not_announced_are_refused);
	tcase_add_test(t, too_many_descriptors_are_refused_and_closed);
	tcase_add_test(t, a_next_process_that_ends_before_it_begins_changes_nothing);
	tcase_add_test(t, one_that_ends_before_it_listens_gives_the_listeners_back);
	tcase_add_test(t, one_that_does_not_listen_in_time_gives_them_back_too);
	tcase_add_test(t, one_that_ends_with_connections_it_was_not_told_of_gives_them_back);
	tcase_add_test(t, what_it_was_told_of_ends_with_it);
	tcase_add_loop_test(t, one_that_ends_while_a_handler_is_at_work_ends_the_hand_over, 0, 2);
	tcase_add_test(t, a_stop_without_a_limit_ends_one_that_waits_for_handlers);
	tcase_add_test(t, a_poller_that_is_kept_ends_it_in_the_time_of_an_answer);
	tcase_add_loop_test(t, a_stop_has_its_limit_beside_one_that_waits_for_a_poller_that_is_kept,
			    0, 2);
	tcase_add_test(t, an_answer_to_another_question_commits_nothing);
	tcase_add_loop_test(t, an_answer_that_parts_a_set_commits_nothing, 0, 2);
	tcase_add_test(t, one_that_does_not_answer_in_time_has_nothing);
	tcase_add_loop_test(t, an_offer_that_does_not_hold_is_refused, 0,
			    sizeof offers / sizeof *offers);
	tcase_add_test(t, a_descriptor_that_does_not_listen_is_refused);
	tcase_add_test(t, an_old_process_that_ends_leaves_it_with_nothing);
	tcase_add_test(t, one_of_another_version_leaves_it_with_nothing);
	tcase_add_test(t,
		       a_stop_of_the_receiver_has_its_limit_beside_a_handler_that_does_not_return);
	tcase_add_test(t, a_connection_whose_message_is_bad_is_not_taken);
	tcase_add_loop_test(t, a_set_of_which_one_is_bad_is_not_taken, 0, 2);
	tcase_add_test(t, a_dialed_one_alone_is_not_taken);
	tcase_add_loop_test(t, a_batch_that_does_not_hold_ends_the_hand_over, 0,
			    sizeof batches / sizeof *batches);
}

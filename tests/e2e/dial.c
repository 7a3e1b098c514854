/* SPDX-License-Identifier: BSD-2-Clause */
/* dial: connections that no server accepted; public headers only */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netpoll/client.h>
#include <netpoll/linkbuf.h>
#include <netpoll/server.h>
#include <poll.h>
#include <pty.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "support/names.h"
#include "support/peer.h"
#include "support/pollers.h"
#include "support/run.h"
#include "support/serve.h"
#include "support/test.h"

/* A server whose answer to each byte is the byte its arg says, or that byte itself. */
static int answer(struct np_conn *c, void *arg)
{
	const char *id = arg;
	const void *p;
	int r = np_conn_next(c, 1, &p);

	if (r == 0)
		r = np_conn_write(c, id ? id : p, 1);
	return r < 0 ? r : np_conn_flush(c);
}

static const struct np_handlers answers = { .sz = sizeof answers, .on_request = answer };

/* What a test's fiber does, and what came of it. */
struct call {
	int (*fn)(struct call *k);
	const char *network, *address;
	struct np_dial_opts o;
	int n;
};

static int call(void *arg)
{
	struct call *k = arg;

	return k->fn(k);
}

static int on_a_fiber(int (*fn)(struct call *), const char *network, const char *address,
		      const struct np_dial_opts *o)
{
	struct call k = { .fn = fn, .network = network, .address = address };

	k.o = o ? *o : (struct np_dial_opts){ .sz = sizeof k.o };
	return np_run(pollers, call, &k);
}

static void let_go(struct np_conn *c)
{
	np_conn_close(c);
	np_conn_unref(c);
}

static int dial(struct call *k, struct np_conn **ret)
{
	return np_dial(NULL, NP_HERE, k->network, k->address, &k->o, ret);
}

/* Sends @c and hears the answer. */
static int ask(struct np_conn *c, char what)
{
	const void *p;
	int r = np_conn_write(c, &what, 1);

	if (r == 0)
		r = np_conn_flush(c);
	if (r == 0)
		r = np_conn_next(c, 1, &p);
	return r < 0 ? r : *(const char *)p;
}

static int dial_and_ask(struct call *k)
{
	struct np_conn *c = NULL;
	int r = dial(k, &c);

	if (r < 0) {
		ck_assert_ptr_null(c);
		return r;
	}
	r = ask(c, 'x');
	let_go(c);
	return r;
}

/* ------------------------------------------------------------------ where to */

START_TEST(a_closed_port_refuses_and_gives_no_connection)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	/* bound, not listening: nobody else gets the port */
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof sa;
	char address[32];

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	snprintf(address, sizeof address, "127.0.0.1:%d", ntohs(sa.sin_port));
	serve(1, &answers, NULL, NULL);

	ck_assert_int_eq(on_a_fiber(dial_and_ask, "tcp", address, NULL), -ECONNREFUSED);
	ck_assert_int_eq(on_a_fiber(dial_and_ask, "tcp", serve_address(serve_server), NULL), 'x');

	serve_end();
	close(fd);
}
END_TEST

static int dial_and_look(struct call *k)
{
	struct sockaddr_storage here, there;
	socklen_t n_here, n_there;
	struct np_conn *c;
	char text[32];
	int r = dial(k, &c);

	if (r < 0)
		return r;
	ck_assert_int_eq(np_conn_local_addr(c, &here, &n_here), 0);
	ck_assert_int_eq(np_conn_remote_addr(c, &there, &n_there), 0);
	ck_assert_str_eq(inet_ntop(AF_INET, &((struct sockaddr_in *)&here)->sin_addr, text,
				   sizeof text),
			 "127.0.0.1");
	snprintf(text, sizeof text, "127.0.0.1:%d",
		 ntohs(((struct sockaddr_in *)&there)->sin_port));
	ck_assert_str_eq(text, k->address);
	let_go(c);
	return 0;
}

START_TEST(a_dialed_connection_knows_both_its_addresses)
{
	serve(1, &answers, NULL, NULL);
	ck_assert_int_eq(on_a_fiber(dial_and_look, "tcp", serve_address(serve_server), NULL), 0);
	serve_end();
}
END_TEST

static int dial_unix(struct call *k)
{
	struct sockaddr_storage here;
	struct np_conn *c;
	socklen_t len;
	int r = dial(k, &c);

	if (r < 0)
		return r;
	ck_assert_int_eq(np_conn_local_addr(c, &here, &len), 0);
	ck_assert_int_eq(here.ss_family, AF_UNIX);
	ck_assert_uint_eq(len, sizeof(sa_family_t)); /* unnamed */
	r = ask(c, 'u');
	let_go(c);
	return r;
}

static void unix_is_dialed(const char *address)
{
	given_pollers(NP_OPTS(np_pollers_opts, .count = 1));
	ck_assert_int_eq(np_server_new(pollers, &answers, NULL, NULL, &serve_server), 0);
	ck_assert_int_eq(np_server_listen(serve_server, "unix", address), 0);
	ck_assert_int_eq(np_server_start(serve_server), 0);

	ck_assert_int_eq(on_a_fiber(dial_unix, "unix", address, NULL), 'u');

	serve_over(&serve_server);
	end_pollers();
}

START_TEST(unix_sockets_are_dialed_by_path_and_by_abstract_name)
{
	char *dir = temp_dir(), path[200];

	snprintf(path, sizeof path, "%s/s", dir);
	unix_is_dialed(path);
	snprintf(path, sizeof path, "@np-dial-%d", (int)getpid());
	unix_is_dialed(path);
	remove_tree(&dir);
}
END_TEST

START_TEST(a_missing_socket_file_and_a_bad_address_say_which)
{
	serve(1, &answers, NULL, NULL);
	ck_assert_int_eq(on_a_fiber(dial_and_ask, "unix", "/nonexistent/s", NULL), -ENOENT);
	ck_assert_int_eq(on_a_fiber(dial_and_ask, "tcp", "127.0.0.1", NULL), -EINVAL);
	ck_assert_int_eq(on_a_fiber(dial_and_ask, "tcp4", "[::1]:80", NULL), -EAFNOSUPPORT);
	ck_assert_int_eq(on_a_fiber(dial_and_ask, "udp", "127.0.0.1:80", NULL), -NP_EUNSUPPORTED);
	ck_assert_int_eq(on_a_fiber(dial_and_ask, "tcp", "127.0.0.1:80",
				    NP_OPTS(np_dial_opts, .timeout_ms = -2)),
			 -EINVAL);
	ck_assert_int_eq(np_dial(pollers, 0, "tcp", "127.0.0.1:80", NULL, NULL), -NP_ENOTFIBER);
	serve_end();
}
END_TEST

START_TEST(a_dial_may_choose_where_it_comes_from)
{
	serve(1, &answers, NULL, NULL);
	ck_assert_int_eq(on_a_fiber(dial_and_ask, "tcp", serve_address(serve_server),
				    NP_OPTS(np_dial_opts, .local = "127.0.0.5:0")),
			 'x');
	ck_assert_int_eq(on_a_fiber(dial_and_ask, "tcp", serve_address(serve_server),
				    NP_OPTS(np_dial_opts, .local = "192.0.2.1:0")),
			 -EADDRNOTAVAIL);
	serve_end();
}
END_TEST

/* ------------------------------------------------------------------ names */

START_TEST(a_name_is_resolved_and_an_unknown_one_is_told_apart)
{
	char address[64];

	serve(1, &answers, NULL, NULL);
	snprintf(address, sizeof address, "localhost%s", strchr(serve_address(serve_server), ':'));
	ck_assert_int_eq(on_a_fiber(dial_and_ask, "tcp", address, NULL), 'x');
	ck_assert_int_eq(on_a_fiber(dial_and_ask, "tcp4", address, NULL), 'x');
	ck_assert_int_eq(on_a_fiber(dial_and_ask, "tcp", "no-such-name.invalid:80",
				    NP_OPTS(np_dial_opts, .timeout_ms = AWAIT_MS)),
			 -NP_ERESOLVE);
	serve_end();
}
END_TEST

/* "twin" has an address that never answers before the one that does. */
static void given_a_silent_address(const char *dir)
{
	must_sh("set -e\nPATH=$PATH:/sbin:/usr/sbin\n"
		"ip link add void type veth peer name hole && ip link set hole up && ip addr add 10.77.0.1/24 dev void && ip link set void up\n"
		"ip neigh add 10.77.0.2 lladdr 02:00:00:00:00:02 dev void\n"
		"printf '10.77.0.2 twin silent\\n127.0.0.1 twin\\n' >%s/hosts\n"
		"printf 'hosts: files\\n' >%s/nsswitch.conf\n"
		"printf 'precedence ::ffff:10.77.0.2/128 100\\nprecedence ::/0 10\\n' >%s/gai.conf\n",
		dir, dir, dir);
}

START_TEST(of_two_addresses_the_one_that_answers_wins_though_it_is_the_second)
{
	char *dir, address[64];
	uint64_t began;

	if (!can_root() || own_netns() < 0)
		SKIP("needs root and a network namespace");
	dir = temp_dir();
	given_a_silent_address(dir);
	if (!own_etc(dir)) {
		remove_tree(&dir);
		SKIP("needs a mount namespace");
	}
	serve(1, &answers, NULL, NP_OPTS(np_server_opts, .steer = NP_STEER_OFF));
	snprintf(address, sizeof address, "twin%s", strchr(serve_address(serve_server), ':'));

	began = now_ms();
	ck_assert_int_eq(on_a_fiber(dial_and_ask, "tcp4", address, NULL), 'x');
	ck_assert_uint_ge(now_ms() - began, 250); /* not before the first one had its time */
	/* One deadline for all of it, whatever waits. */
	ck_assert_int_eq(on_a_fiber(dial_and_ask, "tcp4", "silent:9",
				    NP_OPTS(np_dial_opts, .timeout_ms = 50)),
			 -NP_EDIALTIMEOUT);

	serve_end();
	drop_etc(dir);
	remove_tree(&dir);
}
END_TEST

/* ------------------------------------------------------------------ what goes wrong */

START_TEST(a_full_unix_listener_is_waited_for_until_the_deadline)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int l = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), fds[2];
	char name[64];
	int n = snprintf(un.sun_path + 1, sizeof un.sun_path - 1, "np-full-%d", (int)getpid());

	ck_assert_int_eq(bind(l, (struct sockaddr *)&un,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n)),
			 0);
	ck_assert_int_eq(listen(l, 0), 0);
	for (int i = 0; i < 2; i++) {
		fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		connect(fds[i], (struct sockaddr *)&un,
			(socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n));
	}
	snprintf(name, sizeof name, "@np-full-%d", (int)getpid());
	serve(1, &answers, NULL, NULL);

	ck_assert_int_eq(on_a_fiber(dial_and_ask, "unix", name,
				    NP_OPTS(np_dial_opts, .timeout_ms = 60)),
			 -NP_EDIALTIMEOUT);

	serve_end();
	close(fds[0]);
	close(fds[1]);
	close(l);
}
END_TEST

static int dial_only(struct call *k)
{
	struct np_conn *c;
	int r = dial(k, &c);

	if (r == 0)
		let_go(c);
	return r;
}

START_TEST(a_connection_to_itself_is_none)
{
	if (!can_root() || own_netns() < 0)
		SKIP("needs root and a network namespace");
	/* One local port is left to choose, and it is the one that is dialed. */
	ck_assert_int_eq(write_file("/proc/sys/net/ipv4/ip_local_port_range", "40001 40001"), 0);
	given_pollers(NP_OPTS(np_pollers_opts, .count = 1));

	ck_assert_int_lt(on_a_fiber(dial_only, "tcp", "127.0.0.1:40001", NULL), 0);

	end_pollers();
}
END_TEST

static int close_at_once(struct np_conn *c, void *arg)
{
	np_conn_close(c);
	return 0;
}

static int dial_100_in_a_hurry(struct call *k)
{
	k->o.timeout_ms = 1;
	for (int i = 0; i < 100; i++) {
		struct np_conn *c;
		int r = dial(k, &c);

		if (r == 0)
			let_go(c);
		else if (r != -NP_EDIALTIMEOUT)
			return r;
	}
	return 0;
}

START_TEST(a_hundred_hurried_dials_to_a_closing_server_succeed_or_time_out)
{
	static const struct np_handlers h = { .sz = sizeof h, .on_connect = close_at_once };

	serve(2, &h, NULL, NULL);
	ck_assert_int_eq(on_a_fiber(dial_100_in_a_hurry, "tcp", serve_address(serve_server), NULL),
			 0);
	serve_end();
}
END_TEST

/* ------------------------------------------------------------------ many */

static struct {
	_Atomic(unsigned) at[4]; /* closes by poller */
	_Atomic(unsigned) connects, closes;
} seen;

static int note_connect(struct np_conn *c, void *arg)
{
	ck_assert_int_eq(np_conn_poller(c), np_poller_self());
	seen.connects++;
	return 0;
}

static void note_close(struct np_conn *c, void *arg)
{
	seen.at[np_poller_self()]++;
	seen.closes++;
}

static const struct np_handlers noting = { .sz = sizeof noting,
					   .on_connect = note_connect,
					   .on_close = note_close };

static int dial_60(struct call *k)
{
	struct np_conn *c[60];

	k->o.handlers = &noting;
	for (int i = 0; i < 60; i++) {
		int r = np_dial(NULL, NP_SPREAD, k->network, k->address, &k->o, &c[i]);

		if (r < 0)
			return r;
	}
	for (int i = 0; i < 60; i++)
		let_go(c[i]);
	return 0;
}

START_TEST(sixty_dials_over_four_pollers_are_fifteen_each)
{
	serve(4, &answers, NULL, NULL);
	ck_assert_int_eq(on_a_fiber(dial_60, "tcp", serve_address(serve_server), NULL), 0);
	AWAIT(seen.closes == 60);
	for (int i = 0; i < 4; i++)
		ck_assert_uint_eq(seen.at[i], 15);
	serve_end();
}
END_TEST

static int dial_elsewhere_without_handlers(struct call *k)
{
	int other = (np_poller_self() + 1) % 2;
	struct np_conn *c;

	return np_dial(NULL, other, k->network, k->address, NULL, &c);
}

START_TEST(a_dial_to_another_poller_needs_handlers)
{
	serve(2, &answers, NULL, NULL);
	ck_assert_int_eq(on_a_fiber(dial_elsewhere_without_handlers, "tcp",
				    serve_address(serve_server), NULL),
			 -EINVAL);
	serve_end();
}
END_TEST

static char addresses[2][80];

static int dial_both_in_turn(struct call *k)
{
	for (int i = 0; i < 50; i++) {
		int r;

		k->address = addresses[i % 2];
		r = dial_and_ask(k);
		if (r != (i % 2 ? 'B' : 'A'))
			return r < 0 ? r : -EPROTO;
	}
	k->n = 50;
	return 0;
}

START_TEST(a_reused_descriptor_never_hears_the_other_servers_answer)
{
	static char a = 'A', b = 'B';
	struct np_server *second;
	struct np_task *t[20];
	struct call k[20];
	int r;

	serve(2, &answers, &a, NULL);
	ck_assert_int_eq(np_server_new(pollers, &answers, &b, NULL, &second), 0);
	ck_assert_int_eq(np_server_listen(second, "tcp", "127.0.0.1:0"), 0);
	ck_assert_int_eq(np_server_start(second), 0);
	snprintf(addresses[0], sizeof addresses[0], "%s", serve_address(serve_server));
	snprintf(addresses[1], sizeof addresses[1], "%s", serve_address(second));

	for (int i = 0; i < 20; i++) {
		k[i] = (struct call){ .fn = dial_both_in_turn,
				      .network = "tcp",
				      .o.sz = sizeof k[i].o };
		ck_assert_int_eq(np_go(pollers, NP_SPREAD, call, &k[i], &t[i]), 0);
	}
	for (int i = 0; i < 20; i++) {
		ck_assert_int_eq(np_join(&t[i], &r), 0);
		ck_assert_int_eq(r, 0);
		ck_assert_int_eq(k[i].n, 50);
	}

	serve_over(&second);
	serve_end();
}
END_TEST

/* ------------------------------------------------------------------ handlers and ends */

static struct {
	_Atomic(int) requests, callbacks, disconnects;
} client;

static int request_closes(struct np_conn *c, void *arg)
{
	client.requests++;
	np_conn_close(c);
	return np_conn_skip(c, np_conn_len(c));
}

static void close_callback(struct np_conn *c, void *arg)
{
	client.callbacks++;
}

static int dial_with_callbacks(struct call *k)
{
	struct np_conn *c;
	int r = dial(k, &c);

	if (r < 0)
		return r;
	r = np_conn_set_on_request(c, request_closes, NULL);
	if (r == 0)
		r = np_conn_add_close_callback(c, close_callback, NULL);
	if (r == 0)
		r = np_conn_write(c, "x", 1);
	if (r == 0)
		r = np_conn_flush(c);
	np_conn_unref(c);
	return r;
}

START_TEST(on_request_set_after_the_dial_closes_and_the_close_callback_runs)
{
	serve(1, &answers, NULL, NULL);
	ck_assert_int_eq(on_a_fiber(dial_with_callbacks, "tcp", serve_address(serve_server), NULL),
			 0);
	AWAIT(client.requests == 1 && client.callbacks == 1);
	serve_end();
}
END_TEST

static int answer_and_close(struct np_conn *c, void *arg)
{
	int r = answer(c, NULL);

	np_conn_close(c);
	return r;
}

static int dial_100_and_outlive(struct call *k)
{
	for (int i = 0; i < 100; i++) {
		const void *p;
		struct np_conn *c;
		int r = dial(k, &c);

		if (r < 0)
			return r;
		r = ask(c, 'x');
		if (r != 'x')
			return -EPROTO;
		ck_assert_int_eq(np_conn_next(c, 1, &p), -NP_EEOF);
		np_sleep(0); /* its end may be settled now: the reference keeps what may be asked */
		ck_assert(!np_conn_is_active(c) || np_conn_fd(c) >= 0);
		ck_assert_int_lt(np_conn_write(c, "x", 1) ? -1 : np_conn_flush(c), 1);
		let_go(c);
	}
	return 0;
}

START_TEST(a_connection_whose_server_left_may_still_be_touched)
{
	static const struct np_handlers h = { .sz = sizeof h, .on_request = answer_and_close };

	serve(1, &h, NULL, NULL);
	ck_assert_int_eq(on_a_fiber(dial_100_and_outlive, "tcp", serve_address(serve_server), NULL),
			 0);
	serve_end();
}
END_TEST

static int leave_one_behind(struct call *k)
{
	struct np_conn *c;
	int r;

	k->o.handlers = &noting;
	r = dial(k, &c);
	if (r == 0)
		np_conn_unref(c);
	return r;
}

START_TEST(a_stop_of_the_pollers_closes_what_was_dialed_and_left)
{
	serve(1, &answers, NULL, NULL);
	ck_assert_int_eq(on_a_fiber(leave_one_behind, "tcp", serve_address(serve_server), NULL), 0);
	AWAIT(serve_conns() == 1);
	AWAIT(seen.connects == 1);
	ck_assert_uint_eq(seen.closes, 0);
	serve_end();
	ck_assert_uint_eq(seen.closes, 1);
}
END_TEST

static _Atomic(int) waiting;

static int wait_for_nothing(void *arg)
{
	struct call k = { .network = "tcp", .address = arg, .o.sz = sizeof k.o };
	struct np_conn *c;
	const void *p;
	int r = dial(&k, &c);

	if (r < 0)
		return r;
	waiting = 1;
	r = np_conn_next(c, 1, &p);
	np_conn_unref(c);
	return r;
}

START_TEST(a_fiber_that_reads_a_dialed_connection_is_woken_by_the_stop)
{
	struct np_pollers *mine;
	struct np_task *t;
	char address[80];
	int r;

	serve(1, &answers, NULL, NULL);
	ck_assert_int_eq(np_pollers_start(NP_OPTS(np_pollers_opts, .count = 1), &mine), 0);
	snprintf(address, sizeof address, "%s", serve_address(serve_server));
	ck_assert_int_eq(np_go(mine, 0, wait_for_nothing, address, &t), 0);
	AWAIT(waiting);

	ck_assert_int_eq(np_pollers_stop(mine, 50), 0);
	ck_assert_int_eq(np_join(&t, &r), 0);
	ck_assert_int_eq(r, -NP_ECLOSED);

	ck_assert_int_eq(np_pollers_free(&mine), 0);
	serve_end();
}
END_TEST

/* ------------------------------------------------------------------ descriptors */

static int wrap(int *fd, const struct np_handlers *h, struct np_conn **ret)
{
	return np_conn_from_fd(pollers, 0, fd, h, NULL, ret);
}

START_TEST(one_end_of_a_socket_pair_is_a_connection)
{
	struct np_conn *c;
	int fds[2];
	char back;

	serve(1, &answers, NULL, NULL);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	ck_assert_int_eq(wrap(&fds[0], &answers, &c), 0);
	ck_assert_int_eq(fds[0], -1);

	peer_send(fds[1], "s", 1);
	peer_recv(fds[1], &back, 1);
	ck_assert_int_eq(back, 's');

	np_conn_close(c);
	np_conn_unref(c);
	peer_expect_eof(fds[1]);
	close(fds[1]);
	serve_end();
}
END_TEST

static _Atomic(int) got;

static int take_three(struct np_conn *c, void *arg)
{
	const void *p;
	int r = np_conn_next(c, 3, &p);

	if (r < 0)
		return r;
	got = !memcmp(p, "abc", 3);
	return 0;
}

static const struct np_handlers taking = { .sz = sizeof taking,
					   .on_request = take_three,
					   .on_close = note_close };

START_TEST(the_reading_end_of_a_pipe_is_a_connection_until_eof)
{
	struct np_conn *c;
	int fds[2];

	serve(1, &answers, NULL, NULL);
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	ck_assert_int_eq(wrap(&fds[0], &taking, &c), 0);
	np_conn_unref(c);
	ck_assert_int_eq(write(fds[1], "abc", 3), 3);
	AWAIT(got == 1);
	close(fds[1]);
	AWAIT(seen.closes == 1);
	serve_end();
}
END_TEST

START_TEST(a_terminal_is_a_connection)
{
	int master, slave;
	struct np_conn *c;
	char back[3];

	serve(1, &answers, NULL, NULL);
	if (openpty(&master, &slave, NULL, NULL, NULL) < 0) {
		serve_end();
		SKIP("no pseudo-terminals here");
	}
	ck_assert_int_eq(wrap(&slave, &answers, &c), 0);

	/* a terminal hands out lines; it echoes what is typed */
	ck_assert_int_eq(write(master, "q\n", 2), 2);
	for (size_t n = 0; n < 3;) {
		ssize_t r;

		await_fd(master, POLLIN);
		r = read(master, back + n, 3 - n);
		ck_assert_int_gt(r, 0);
		n += (size_t)r;
	}

	np_conn_close(c);
	np_conn_unref(c);
	close(master);
	serve_end();
}
END_TEST

START_TEST(what_is_no_connected_stream_is_refused_and_closed)
{
	struct np_conn *c;
	int fd, before;

	serve(1, &answers, NULL, NULL);
	before = open_fds();
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(wrap(&fd, &answers, &c), -NP_EUNSUPPORTED);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(wrap(&fd, &answers, &c), -ENOTCONN);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	ck_assert_int_eq(wrap(&fd, &answers, &c), -EINVAL);
	fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(wrap(&fd, &answers, &c), -EPERM);
	ck_assert_int_eq(fd, -1);
	fd = 54321;
	ck_assert_int_eq(wrap(&fd, &answers, &c), -EBADF);
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(wrap(&fd, NULL, &c), -EINVAL); /* no handlers, and not on that poller */
	ck_assert_int_eq(open_fds(), before);
	serve_end();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "where to");

	tcase_add_test(t, a_closed_port_refuses_and_gives_no_connection);
	tcase_add_test(t, a_dialed_connection_knows_both_its_addresses);
	tcase_add_test(t, unix_sockets_are_dialed_by_path_and_by_abstract_name);
	tcase_add_test(t, a_missing_socket_file_and_a_bad_address_say_which);
	tcase_add_test(t, a_dial_may_choose_where_it_comes_from);
	t = add_case(s, "names");
	tcase_add_test(t, a_name_is_resolved_and_an_unknown_one_is_told_apart);
	tcase_add_test(t, of_two_addresses_the_one_that_answers_wins_though_it_is_the_second);
	t = add_case(s, "what goes wrong");
	tcase_add_test(t, a_full_unix_listener_is_waited_for_until_the_deadline);
	tcase_add_test(t, a_connection_to_itself_is_none);
	tcase_add_test(t, a_hundred_hurried_dials_to_a_closing_server_succeed_or_time_out);
	t = add_case(s, "many");
	tcase_add_test(t, sixty_dials_over_four_pollers_are_fifteen_each);
	tcase_add_test(t, a_dial_to_another_poller_needs_handlers);
	tcase_add_test(t, a_reused_descriptor_never_hears_the_other_servers_answer);
	t = add_case(s, "handlers and ends");
	tcase_add_test(t, on_request_set_after_the_dial_closes_and_the_close_callback_runs);
	tcase_add_test(t, a_connection_whose_server_left_may_still_be_touched);
	tcase_add_test(t, a_stop_of_the_pollers_closes_what_was_dialed_and_left);
	tcase_add_test(t, a_fiber_that_reads_a_dialed_connection_is_woken_by_the_stop);
	t = add_case(s, "descriptors");
	tcase_add_test(t, one_end_of_a_socket_pair_is_a_connection);
	tcase_add_test(t, the_reading_end_of_a_pipe_is_a_connection_until_eof);
	tcase_add_test(t, a_terminal_is_a_connection);
	tcase_add_test(t, what_is_no_connected_stream_is_refused_and_closed);
}

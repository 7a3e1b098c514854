/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * restart: the examples as services: what they tell their supervisor, what signals do, and two
 * generations of one that overlap in a pinned service. Public headers only.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/child.h"
#include "support/peer.h"
#include "support/run.h"
#include "support/steer.h"
#include "support/test.h"
#include "support/web.h"

static char *dir;
static int told = -1;  /* $NOTIFY_SOCKET */
static char plain[64]; /* options of a server that has its port for itself */
static const char *example = "echo";
static struct sockaddr_storage at;

/* ------------------------------------------------------------------ the supervisor */

static void given_supervisor(bool abstract)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	char name[sizeof sa.sun_path] = "";
	socklen_t len;

	if (abstract)
		snprintf(name, sizeof name, "@np-restart-%d", (int)getpid());
	else
		snprintf(name, sizeof name, "%s/notify", dir);
	memcpy(sa.sun_path, name, sizeof name);
	if (abstract)
		sa.sun_path[0] = '\0';
	len = (socklen_t)(sizeof sa.sun_family + strlen(name));
	told = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(told, (struct sockaddr *)&sa, len), 0);
	setenv("NOTIFY_SOCKET", name, 1);
}

static char *is_told(void)
{
	static char text[512];
	ssize_t n;

	await_fd(told, POLLIN);
	n = recv(told, text, sizeof text - 1, 0);
	ck_assert_int_gt(n, 0);
	text[n] = '\0';
	return text;
}

/* Ready, and which process it is. */
static pid_t is_told_ready(void)
{
	const char *text = is_told();
	int pid = 0;

	ck_assert_msg(sscanf(text, "MAINPID=%d\nREADY=1", &pid) == 1, "%s", text);
	return pid;
}

/* ------------------------------------------------------------------ the service */

static void exec_example(int sock, void *options)
{
	const char *build = getenv("NP_BUILD");
	char *argv[16], path[256], text[512];
	int n = 0;

	snprintf(path, sizeof path, "%s/examples/%s", build ? build : "build", example);
	snprintf(text, sizeof text, "%s --pollers 1 %s", path, (char *)options);
	for (char *save, *word = strtok_r(text, " ", &save); word && n < 15;
	     word = strtok_r(NULL, " ", &save))
		argv[n++] = word;
	argv[n] = NULL;
	dup2(sock, STDOUT_FILENO);
	execv(path, argv);
	child_fail("cannot run %s: %s", path, strerror(errno));
}

static bool has_example(const char *name)
{
	const char *build = getenv("NP_BUILD");
	char path[256];

	snprintf(path, sizeof path, "%s/examples/%s", build ? build : "build", name);
	return access(path, X_OK) == 0;
}

static struct child given_service(const char *options)
{
	struct child c;

	child_start(&c, exec_example, (void *)options);
	ck_assert_int_eq(is_told_ready(), c.pid);
	return c;
}

#define PINNED "--service web --listen " WEB_AT

static int plain_connect(void)
{
	return peer_connect(&at, sizeof(struct sockaddr_in));
}

/* Where the next server is to listen. */
static void another_place(void)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&at;
	char place[32];
	int fd = peer_listen(place, sizeof place); /* a port that is free */

	close(fd);
	snprintf(plain, sizeof plain, "--steer off --listen %s", place);
	in->sin_family = AF_INET;
	in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	in->sin_port = htons((uint16_t)atoi(strchr(place, ':') + 1));
}

static void setup(void)
{
	another_place();
	dir = temp_dir();
	/* the next generation is no child of the test's, once the one before has ended */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
}

static void teardown(void)
{
	close(told);
	if (dir)
		remove_tree(&dir);
}

/* ------------------------------------------------------------------ what it tells */

START_TEST(it_says_when_it_is_ready_and_when_it_stops)
{
	struct child c;
	int fd;

	given_supervisor(_i);
	c = given_service(plain);
	fd = plain_connect();
	peer_echo(fd, 'e');
	kill(c.pid, SIGTERM);
	ck_assert_str_eq(is_told(), "STOPPING=1");
	peer_echo(fd, 'e'); /* it is waited for */
	peer_close(&fd);
	child_join(&c);
}
END_TEST

START_TEST(it_runs_where_there_is_nobody_to_tell)
{
	struct child c;
	char line[512] = "";
	int fd;

	unsetenv("NOTIFY_SOCKET");
	child_start(&c, exec_example, plain);
	for (size_t n = 0; !strchr(line, '\n'); n++)
		child_recv(c.sock, &line[n], 1);
	fd = plain_connect();
	peer_echo(fd, 'e');
	peer_close(&fd);
	kill(c.pid, SIGTERM);
	child_join(&c);
}
END_TEST

/* ------------------------------------------------------------------ what signals do */

/* Its answers are not read: it is at work for as long as the stop lets it. */
static int given_one_at_work(void)
{
	static const char some[65536];
	int fd = plain_connect();

	peer_echo(fd, 'e');
	do
		poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, 200);
	while (send(fd, some, sizeof some, MSG_DONTWAIT | MSG_NOSIGNAL) > 0);
	ck_assert_int_eq(errno, EAGAIN);
	return fd;
}

/* By itself it would last for an hour, and no test does. */
START_TEST(a_second_SIGTERM_ends_it_now)
{
	char options[96];
	struct child c;
	int fd;

	given_supervisor(false);
	snprintf(options, sizeof options, "%s --stop-ms 3600000", plain);
	c = given_service(options);
	fd = given_one_at_work();
	kill(c.pid, SIGTERM);
	ck_assert_str_eq(is_told(), "STOPPING=1");
	kill(c.pid, SIGTERM);
	child_join(&c);
	peer_close(&fd);
}
END_TEST

/* One that was told before it, and has the ten seconds that are usual, lasts longer. */
START_TEST(it_ends_in_the_time_that_it_was_given)
{
	struct child usual, given;
	char options[96];
	int fd[2];

	given_supervisor(false);
	usual = given_service(plain);
	fd[0] = given_one_at_work();
	another_place();
	snprintf(options, sizeof options, "%s --stop-ms 400", plain);
	given = given_service(options);
	fd[1] = given_one_at_work();
	kill(usual.pid, SIGTERM);
	ck_assert_str_eq(is_told(), "STOPPING=1");
	kill(given.pid, SIGTERM);
	ck_assert_str_eq(is_told(), "STOPPING=1");
	child_join(&given);
	ck_assert_int_eq(waitpid(usual.pid, NULL, WNOHANG), 0);
	kill(usual.pid, SIGTERM);
	child_join(&usual);
	peer_close(&fd[0]);
	peer_close(&fd[1]);
}
END_TEST

START_TEST(no_time_at_all_is_refused)
{
	static const char *const bad[] = { "0", "-2", "1s", "" };
	const char *build = getenv("NP_BUILD");

	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct ran r;

		sh(&r, "%s/examples/echo --steer off --listen 127.0.0.1:0 --stop-ms '%s'",
		   build ? build : "build", bad[i]);
		ck_assert_int_eq(r.code, 2);
		ck_assert_ptr_nonnull(strstr(r.err, "--stop-ms"));
		ran_free(&r);
	}
}
END_TEST

START_TEST(it_answers_what_came_while_it_was_stopped_and_its_time_ran_out)
{
	struct child c;
	int fd;

	given_supervisor(false);
	c = given_service(plain);
	fd = plain_connect();
	peer_echo(fd, 'e');
	kill(c.pid, SIGTERM);
	ck_assert_str_eq(is_told(), "STOPPING=1");
	peer_echo(fd, 'e'); /* the stop is under way */
	kill(c.pid, SIGSTOP);
	peer_send(fd, "late", 4);
	ck_assert_int_eq(poll(NULL, 0, 5500), 0); /* longer than drain_ms */
	kill(c.pid, SIGCONT);
	{
		char back[4];

		peer_recv(fd, back, 4);
	}
	peer_expect_eof(fd);
	peer_close(&fd);
	child_join(&c);
}
END_TEST

static pid_t replaced_by(pid_t old, int signal)
{
	pid_t pid;
	char *text;

	kill(old, signal);
	text = is_told();
	ck_assert_msg(strstr(text, "RELOADING=1\nMONOTONIC_USEC=") == text, "%s", text);
	pid = is_told_ready();
	ck_assert_int_ne(pid, old);
	return pid;
}

static pid_t replaced(pid_t old)
{
	return replaced_by(old, SIGHUP);
}

static void ends_well(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}

START_TEST(SIGHUP_starts_the_next_process_and_no_connection_is_lost)
{
	enum { TIMES = 3, PEERS = 8 };
	int fresh[TIMES][PEERS], kept;
	struct child c;
	pid_t pid;

	OWN_STEERING();
	given_supervisor(true); /* the folder of the fixture is out of sight now */
	web_load(1000);
	c = given_service(PINNED);
	pid = c.pid;
	kept = web_connect();
	peer_echo(kept, 'e');
	for (int t = 0; t < TIMES; t++) {
		for (int i = 0; i < PEERS; i++)
			fresh[t][i] = web_connect();
		pid = replaced(pid);
		peer_echo(kept, 'e'); /* of the first process, which waits for it */
		web_expect_all_served();
	}
	for (int t = 0; t < TIMES; t++)
		for (int i = 0; i < PEERS; i++) {
			peer_echo(fresh[t][i], 'e');
			peer_close(&fresh[t][i]);
		}
	peer_close(&kept);
	child_join(&c);
	for (int t = 1; t < TIMES; t++) /* the last one goes on, and is not taken for one of them */
		ck_assert_int_gt(waitpid(-1, NULL, 0), 0);
	kill(pid, SIGTERM);
	ends_well(pid);
}
END_TEST

/* Listeners of a private program, and connections that are kept alive: nothing ends. */
START_TEST(SIGUSR2_hands_connections_to_the_next_process)
{
	enum { TIMES = 3, PEERS = 8 };
	int kept[PEERS], fresh;
	struct child c;
	pid_t pid;

	given_supervisor(false);
	c = given_service(_i ? strstr(plain, "--listen") : plain);
	pid = c.pid;
	for (int i = 0; i < PEERS; i++) {
		kept[i] = plain_connect();
		peer_echo(kept[i], 'e');
	}
	for (int t = 0; t < TIMES; t++) {
		pid_t old = pid;

		pid = replaced_by(old, SIGUSR2);
		ends_well(old); /* nothing is left there that it would have to wait for */
		for (int i = 0; i < PEERS; i++)
			peer_echo(kept[i], 'e');
		fresh = plain_connect();
		peer_echo(fresh, 'e');
		peer_close(&fresh);
	}
	for (int i = 0; i < PEERS; i++)
		peer_close(&kept[i]);
	kill(pid, SIGTERM);
	ends_well(pid);
	close(c.sock);
}
END_TEST

static void given_example(const char *name, const char *options, struct child *ret)
{
	static char all[512];

	example = name;
	snprintf(all, sizeof all, "%s %s", plain, options);
	given_supervisor(false);
	*ret = given_service(all);
}

static void expect_answer(int fd, const char *begin)
{
	char got[2048] = "";

	for (size_t n = 0; !strstr(got, "\r\n\r\n"); n++) {
		ck_assert_uint_lt(n, sizeof got - 1);
		peer_recv(fd, &got[n], 1);
	}
	ck_assert_msg(strstr(got, begin) == got, "%s", got);
}

static void asks(int fd)
{
	static const char request[] = "HEAD /none HTTP/1.1\r\nHost: a\r\n\r\n";

	peer_send(fd, request, sizeof request - 1);
	expect_answer(fd, "HTTP/1.1 404 ");
}

/* A connection that is kept alive goes along, again and again; a head that is half here stays. */
START_TEST(SIGUSR2_hands_http_connections_over_between_two_requests)
{
	static const char half[] = "HEAD /none HTTP/1.1\r\nHo";
	static const char rest[] = "st: a\r\n\r\n";
	int kept, halved;
	struct child c;
	pid_t pid;

	if (!has_example("http/http"))
		SKIP("examples/http was not built: libhttp-parser-dev is missing");
	given_example("http/http", "", &c);
	kept = plain_connect();
	halved = plain_connect();
	asks(kept);
	asks(halved);
	pid = replaced_by(c.pid, SIGUSR2);
	asks(kept);
	asks(halved);
	ends_well(c.pid); /* nothing has stayed there */
	peer_send(halved, half, sizeof half - 1);
	asks(kept); /* a later request is served: that half has been read, or waits to be */
	for (int t = 0; t < 2; t++) {
		pid_t old = pid;

		pid = replaced_by(old, SIGUSR2);
		asks(kept);
		if (t == 0) {
			peer_send(halved, rest, sizeof rest - 1);
			expect_answer(halved, "HTTP/1.1 404 ");
			peer_close(&halved);
		}
		ends_well(old);
	}
	peer_close(&kept);
	kill(pid, SIGTERM);
	ends_well(pid);
	close(c.sock);
}
END_TEST

/* ------------------------------------------------------------------ TLS */

#define BIG (8 << 20)

static void given_https(struct child *ret)
{
	char options[400];

	must_sh("cd %s && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
		"-keyout key.pem -out cert.pem -days 30 -subj /CN=localhost 2>/dev/null && mkdir www && "
		"head -c %d /dev/urandom > www/big",
		dir, BIG);
	snprintf(options, sizeof options,
		 "--stop-ms 30000 --folder %s/www --tls %s/cert.pem,%s/key.pem", dir, dir, dir);
	given_example("http/http", options, ret);
}

static int port_of(void)
{
	return ntohs(((struct sockaddr_in *)&at)->sin_port);
}

/* What is typed goes to it, and what it shows comes back. */
static void exec_s_client(int sock, void *arg)
{
	char place[32];

	snprintf(place, sizeof place, "127.0.0.1:%d", port_of());
	dup2(sock, STDIN_FILENO);
	dup2(sock, STDOUT_FILENO);
	execlp("openssl", "openssl", "s_client", "-quiet", "-verify_quiet", "-connect", place,
	       NULL);
	child_fail("no openssl");
}

static FILE *begin(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static FILE *begin(const char *fmt, ...)
{
	char command[512];
	va_list ap;
	FILE *f;

	va_start(ap, fmt);
	vsnprintf(command, sizeof command, fmt, ap);
	va_end(ap);
	f = popen(command, "r");
	ck_assert_ptr_nonnull(f);
	return f;
}

static void ends_with(FILE *f, const char *text)
{
	char got[512];
	size_t n = fread(got, 1, sizeof got - 1, f);

	got[n] = '\0';
	ck_assert_str_eq(got, text);
	ck_assert_int_eq(pclose(f), 0);
}

/* The size of what has been written there so far; 0: nothing is there yet. */
static off_t size_of(const char *name)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	return stat(path, &st) == 0 ? st.st_size : 0;
}

/*
 * What OpenSSL knows of a connection cannot go along: it stays and is served to its end, with
 * close_notify, while the listeners are the next process's.
 */
START_TEST(SIGUSR2_drains_TLS_connections_and_hands_the_listeners_over)
{
	struct child c, kept;
	FILE *slow, *many;
	pid_t pid;

	if (!has_example("http/http") || !have("curl") || !have("openssl"))
		SKIP("needs examples/http, curl and openssl: scripts/deps --all");
	given_https(&c);
	child_start(&kept, exec_s_client, NULL);
	asks(kept.sock);
	slow = begin("curl -sSk --limit-rate 2M https://127.0.0.1:%d/big -o %s/got 2>&1", port_of(),
		     dir);
	AWAIT(size_of("got") > 0);
	many = begin(
		"for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do curl -sSk -o /dev/null "
		"-w '%%{http_code} ' https://127.0.0.1:%d/none; done 2>&1",
		port_of());
	pid = replaced_by(c.pid, SIGUSR2);

	ck_assert_int_lt(size_of("got"), BIG);
	asks(kept.sock); /* of the old process, and the last that it answers there */
	ends_with(begin("curl -sSk -o /dev/null -w '%%{http_code}' https://127.0.0.1:%d/none",
			port_of()),
		  "404");
	ends_with(
		many,
		"404 404 404 404 404 404 404 404 404 404 404 404 404 404 404 404 404 404 404 404 ");
	ends_with(slow, "");
	must_sh("cmp %s/got %s/www/big", dir, dir);
	child_join(&kept); /* an end without close_notify is an error to it */
	ends_well(c.pid);
	kill(pid, SIGTERM);
	ends_well(pid);
	close(c.sock);
}
END_TEST

static int upstream_accept(int listener)
{
	int fd;

	await_fd(listener, POLLIN);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	return fd;
}

static void goes_through(int from, int to)
{
	char back[2];

	peer_send(from, "ab", 2);
	await_fd(to, POLLIN);
	peer_recv(to, back, 2);
	ck_assert_mem_eq(back, "ab", 2);
}

/* Half-close goes through in whichever process: before, and behind the move. */
static void half_closes(int from, int to)
{
	ck_assert_int_eq(shutdown(from, SHUT_WR), 0);
	peer_expect_eof(to);
	goes_through(to, from);
}

START_TEST(SIGUSR2_hands_a_proxys_pairs_over_as_sets)
{
	char place[32], options[64];
	int listener = peer_listen(place, sizeof place), client[4], up[4];
	struct child c;
	pid_t pid;

	snprintf(options, sizeof options, "--upstream %s", place);
	given_example("proxy/proxy", options, &c);
	pid = c.pid;
	for (int i = 0; i < 4; i++) {
		client[i] = plain_connect();
		up[i] = upstream_accept(listener);
		goes_through(client[i], up[i]);
	}
	half_closes(client[1], up[1]);
	half_closes(up[2], client[2]);
	for (int t = 0; t < 3; t++) {
		pid_t old = pid;

		pid = replaced_by(old, SIGUSR2);
		ends_well(old); /* nothing has stayed there */
		goes_through(client[0], up[0]);
		goes_through(up[0], client[0]);
		goes_through(up[1], client[1]);
		goes_through(client[2], up[2]);
	}

	half_closes(client[3], up[3]);
	for (int i = 0; i < 4; i++) {
		bool client_first = i % 2;

		peer_close(client_first ? &client[i] : &up[i]);
		peer_expect_eof(client_first ? up[i] : client[i]);
		peer_close(client_first ? &up[i] : &client[i]);
	}
	kill(pid, SIGTERM);
	ends_well(pid);
	close(listener);
	close(c.sock);
}
END_TEST

/* A private program cannot be joined by another process: that one ends, and this one serves. */
START_TEST(where_the_next_process_does_not_start_this_one_goes_on)
{
	struct child c;
	char *text;
	int fd;

	given_supervisor(false);
	c = given_service(plain);
	fd = plain_connect();
	peer_echo(fd, 'e');
	kill(c.pid, SIGHUP);
	is_told();
	text = is_told();
	ck_assert_str_eq(text, "READY=1\nSTATUS=the next process did not start");
	peer_echo(fd, 'e');
	peer_close(&fd);
	fd = plain_connect();
	peer_echo(fd, 'e');
	peer_close(&fd);
	kill(c.pid, SIGTERM);
	child_join(&c);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *tc = add_case(s, "restart");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 3 * AWAIT_MS / 1000);
	tcase_add_loop_test(tc, it_says_when_it_is_ready_and_when_it_stops, 0, 2);
	tcase_add_test(tc, it_runs_where_there_is_nobody_to_tell);
	tcase_add_test(tc, a_second_SIGTERM_ends_it_now);
	tcase_add_test(tc, it_ends_in_the_time_that_it_was_given);
	tcase_add_test(tc, no_time_at_all_is_refused);
	tcase_add_test(tc, it_answers_what_came_while_it_was_stopped_and_its_time_ran_out);
	tcase_add_test(tc, SIGHUP_starts_the_next_process_and_no_connection_is_lost);
	tcase_add_loop_test(tc, SIGUSR2_hands_connections_to_the_next_process, 0, 2);
	tcase_add_test(tc, SIGUSR2_hands_http_connections_over_between_two_requests);
	tcase_add_test(tc, SIGUSR2_drains_TLS_connections_and_hands_the_listeners_over);
	tcase_add_test(tc, SIGUSR2_hands_a_proxys_pairs_over_as_sets);
	tcase_add_test(tc, where_the_next_process_does_not_start_this_one_goes_on);
}

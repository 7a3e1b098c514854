/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * npsteer_adopt: listeners, adopt and release on servers that others wrote: nginx, haproxy,
 * unbound
 *
 * Servers that are not installed are skipped, and said so.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "netpoll/steer_admin.h"
#include "support/child.h"
#include "support/json.h"
#include "support/test.h"
#include "support/tool.h"

#define PORT    7490
#define WORKERS 4

enum kind { NGINX, HAPROXY, UNBOUND, KINDS };
#define RESTARTED UNBOUND /* kinds below it are stopped and started under load */

static const char *const names[] = { "nginx", "haproxy", "unbound" };
static enum kind kind; /* of the server at PORT */

/* ------------------------------------------------------------------ given */

static bool installed(enum kind k)
{
	struct ran r;
	bool yes;

	setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	sh(&r, "command -v %s", names[k]);
	yes = r.code == 0;
	ran_free(&r);
	return yes;
}

#define NEEDS(kind)                                               \
	do {                                                      \
		NEEDS_RIGHTS();                                   \
		if (!installed(kind))                             \
			SKIP("%s is not installed", names[kind]); \
	} while (0)

static int ask_open(unsigned port)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct timeval deadline = { .tv_sec = AWAIT_MS / 1000 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), r;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline);
	if (connect(fd, (struct sockaddr *)&in, sizeof in) == 0)
		return fd;
	r = -errno;
	close(fd);
	return r;
}

static int send_request(int fd)
{
	static const char request[] = "GET / HTTP/1.0\r\n\r\n";

	return send(fd, request, sizeof request - 1, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int take_page(int fd)
{
	char text[512];
	ssize_t n = 0, got;

	while ((got = recv(fd, text + n, sizeof text - 1 - (size_t)n, 0)) > 0)
		n += got;
	if (got < 0)
		return -errno;
	text[n] = '\0';
	return strstr(text, " 200 ") ? 0 : -EPROTO;
}

static int ask_page(int fd)
{
	int r = send_request(fd);

	return r < 0 ? r : take_page(fd);
}

/* Where localhost is. The answer has the number of the question, and no error. */
static int ask_name(int fd)
{
	static const char question[] = "\0\33\0\7\1\0\0\1\0\0\0\0\0\0\11localhost\0\0\1\0\1";
	unsigned char head[6];
	ssize_t n;

	if (send(fd, question, sizeof question - 1, MSG_NOSIGNAL) < 0)
		return -errno;
	n = recv(fd, head, sizeof head, MSG_WAITALL);
	if (n < 0)
		return -errno;
	return n == sizeof head && head[3] == 7 && (head[4] & 0x80) && !(head[5] & 15) ? 0 :
											 -EPROTO;
}

/* One answer of the server at @port; 0 or -errno, -EPROTO where it is none. */
static int ask(unsigned port)
{
	int fd = ask_open(port), r;

	if (fd < 0)
		return fd;
	r = kind == UNBOUND ? ask_name(fd) : ask_page(fd);
	close(fd);
	return r;
}

static void ask_times(unsigned port, int n)
{
	for (int i = 0; i < n; i++) {
		int r = ask(port);

		ck_assert_msg(r == 0, "connection %d: %s", i, strerror(-r));
	}
}

static void nginx_conf(int workers)
{
	must_sh("mkdir -p '%1$s/tmp' && cat > '%1$s/nginx.conf' << E\n"
		"worker_processes %2$d; pid %1$s/pid; error_log %1$s/error;\n"
		"user root; events { worker_connections 256; }\n"
		"http { access_log off; client_body_temp_path %1$s/tmp; proxy_temp_path %1$s/tmp;\n"
		"fastcgi_temp_path %1$s/tmp; uwsgi_temp_path %1$s/tmp; scgi_temp_path %1$s/tmp;\n"
		"server { listen 127.0.0.1:%3$d reuseport; location / { return 200 ok; } }\n"
		"server { listen 127.0.0.1:%4$d; location / { return 200 ok; } } }\n"
		"E\n",
		tool_dir, workers, PORT, PORT + 1);
}

static void start(enum kind k)
{
	kind = k;
	if (k == NGINX) {
		nginx_conf(WORKERS);
		must_sh("nginx -e '%1$s/error' -p '%1$s' -c '%1$s/nginx.conf'", tool_dir);
	} else if (k == UNBOUND) {
		must_sh("cat > '%1$s/unbound.conf' << E\n"
			"server:\n interface: 127.0.0.1@%3$d\n num-threads: %2$d\n so-reuseport: yes\n"
			" do-udp: no\n outgoing-range: 64\n chroot: \"\"\n username: \"\"\n"
			" directory: \"%1$s\"\n pidfile: \"%1$s/pid\"\n use-syslog: no\n"
			" logfile: \"%1$s/error\"\n"
			"E\n"
			"unbound -c '%1$s/unbound.conf'",
			tool_dir, WORKERS, PORT);
	} else {
		must_sh("cat > '%1$s/haproxy.cfg' << E\n"
			"global\n nbthread %2$d\n maxconn 500\n"
			"defaults\n mode http\n timeout client 9s\n timeout server 9s\n"
			" timeout connect 9s\n"
			"frontend f\n bind 127.0.0.1:%3$d shards by-thread\n"
			" http-request return status 200\n"
			"E\n"
			"haproxy -q -f '%1$s/haproxy.cfg' -D -p '%1$s/pid'",
			tool_dir, WORKERS, PORT);
	}
	AWAIT(ask(PORT) == 0);
}

static void stop(enum kind k)
{
	must_sh("kill -%s $(cat '%s/pid')", k == NGINX ? "QUIT" : "TERM", tool_dir);
	AWAIT(ask(PORT) == -ECONNREFUSED);
}

static unsigned occurrences(const char *text, const char *part)
{
	unsigned n = 0;

	for (; (text = strstr(text, part)); text += strlen(part))
		n++;
	return n;
}

/* ------------------------------------------------------------------ the verbs */

START_TEST(listeners_shows_a_task_for_each_listener_of_a_server_that_can_be_steered)
{
	enum kind k = (enum kind)_i;
	struct ran r;
	char *json;

	NEEDS(k);
	start(k);
	json = answer("listeners --port 7490");
	ck_assert_uint_eq(occurrences(json, "\"can_be_steered\":true"), WORKERS);
	ck_assert_uint_eq(occurrences(json, "\"program\":false"), WORKERS);
	free(json);
	npsteer(&r, "listeners --port 7490");
	ck_assert_int_eq(r.code, DONE);
	must_have(r.out, "127.0.0.1:7490");
	ck_assert_uint_eq(occurrences(r.out, "  yes\n"), WORKERS);
	ran_free(&r);
	npsteer_as(&r, 1234, "listeners --port 7490");
	ck_assert_int_eq(r.code, DONE);
	must_have(r.out, "CAP_SYS_PTRACE");
	ran_free(&r);
	stop(k);
}
END_TEST

START_TEST(an_adopted_server_is_steered_until_it_is_released_and_never_notices)
{
	enum kind k = (enum kind)_i;
	struct ran r;
	char *json;

	NEEDS(k);
	must("load web --policy rr");
	start(k);
	json = answer("adopt web --port 7490");
	ck_assert_int_eq(json_number(json, "adopted"), WORKERS);
	must_have(json, names[k]);
	free(json);
	ask_times(PORT, 100);
	json = answer("stats web");
	ck_assert_int_eq(json_number(json, "steered"), 100);
	/* of the worker, and of its only listener */
	ck_assert_uint_eq(occurrences(json, "\"steered\":25"), 2 * WORKERS);
	free(json);
	json = answer("status web");
	ck_assert_uint_eq(occurrences(json, names[k]), WORKERS);
	ck_assert_uint_eq(occurrences(json, "\"adopted\":true,\"held\":false"), WORKERS);
	free(json);
	npsteer(&r, "status web");
	ck_assert_uint_eq(occurrences(r.out, "  ready  counted  "), WORKERS);
	ran_free(&r);
	fails_with(BUSY, "npsteer release web", "unload web");
	json = answer("release web");
	ck_assert_int_eq(json_number(json, "released"), WORKERS);
	free(json);
	ask_times(PORT, 20);
	json = answer("listeners --port 7490");
	ck_assert_uint_eq(occurrences(json, "\"program\":false"), WORKERS);
	free(json);
	must("unload web");
	stop(k);
	if (k == NGINX)
		must_sh("! grep -E 'alert|crit|emerg' '%s/error'", tool_dir);
}
END_TEST

START_TEST(what_cannot_be_adopted_has_an_exit_code_and_a_sentence)
{
	char *json;

	NEEDS(NGINX);
	must("load web");
	start(NGINX);
	fails_with(MISUSED, "which port?", "adopt web");
	fails_with(MISUSED, "not an address", "adopt web --port x");
	fails_with(MISUSED, "a process number", "adopt web --port 7490 --pid x");
	fails_with(MISUSED, "not both", "adopt web --port 7490 --pid 1 --cgroup /");
	fails_with(ABSENT, "nobody listens", "adopt web --port 7999");
	fails_with(ABSENT, "no service other", "adopt other --port 7490");
	fails_with(UNSUPPORTED, "without SO_REUSEPORT", "adopt web --port 7491");
	json = answer("adopt web --port 7490 --dry-run");
	ck_assert_uint_eq(occurrences(json, "would be adopted"), WORKERS);
	free(json);
	json = answer("status web");
	must_have(json, "\"workers\":[]");
	free(json);
	must("adopt web --port 7490");
	must("load second");
	fails_with(BUSY, "has a steering program already", "adopt second --port 7490");
	must("release web");
	stop(NGINX);
}
END_TEST

#define NUMBERS 256 /* of workers in one service */

/* Its last two listeners find no number: that is known when the deed is done. */
START_TEST(an_adoption_that_fails_half_way_says_so_in_json_too)
{
	struct np_steer_worker *own[NUMBERS - 2];
	struct np_steer *s;
	struct ran r;

	NEEDS(NGINX);
	start(NGINX);
	must("load web");
	ck_assert_int_eq(np_steer_open("web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN), &s),
			 0);
	for (unsigned i = 0; i < NUMBERS - 2; i++)
		ck_assert_int_eq(np_steer_worker(s, NULL, &own[i]), 0);
	npsteer(&r, "-j adopt web --port 7490");
	ck_assert_int_eq(r.code, FAILED);
	ck_assert_msg(json_valid(r.out), "%s", r.out);
	ck_assert_uint_eq(occurrences(r.out, "\"outcome\":\"left\""), WORKERS);
	must_have(r.out, "\"error\":{\"code\":1,\"message\":\"port 7490 cannot be adopted");
	ran_free(&r);
	fails_with(FAILED, "all 256 workers", "adopt web --port 7490");
	ask_times(PORT, 20);
	for (unsigned i = 0; i < NUMBERS - 2; i++)
		ck_assert_int_eq(np_steer_worker_close(&own[i]), 0);
	np_steer_close(&s);
	must("unload web");
	stop(NGINX);
}
END_TEST

/* ------------------------------------------------------------------ restarts under load */

#define CLIENTS 8

/* NP_ROUNDS: more of them. */
static unsigned rounds(void)
{
	const char *text = getenv("NP_ROUNDS");

	return text ? (unsigned)atoi(text) : 3;
}

struct tally {
	unsigned asked, lost;
	unsigned ended; /* of those lost: by the end of the process that had accepted them */
	int first;      /* what was said to the first that was lost */
};

/* What a client sees of a server that is killed while it has the connection. */
static bool is_end(int r)
{
	return r == -ECONNRESET || r == -EPIPE || r == -EPROTO;
}

/* Asks, one connection after another, until it hears something. */
static void client(int sock, void *arg)
{
	struct pollfd stop = { .fd = sock, .events = POLLIN };
	struct tally t = { 0 };

	while (poll(&stop, 1, 0) == 0) {
		int r = ask(PORT);

		t.asked++;
		t.ended += is_end(r);
		if (r < 0 && !t.lost++)
			t.first = r;
	}
	child_send(sock, &t, sizeof t);
}

static struct child clients[CLIENTS];

static void given_clients(void)
{
	for (int i = 0; i < CLIENTS; i++)
		child_start(&clients[i], client, NULL);
}

/* @may_end: so many of each client may have been accepted by a process that was killed. */
static void expect_none_lost(unsigned may_end)
{
	struct tally all = { 0 };

	for (int i = 0; i < CLIENTS; i++) {
		struct tally t;

		child_say(clients[i].sock, 'q');
		child_recv(clients[i].sock, &t, sizeof t);
		child_join(&clients[i]);
		ck_assert_msg(t.lost <= (may_end ? t.ended : 0) && t.ended <= may_end,
			      "client %d: %u of %u lost, %u of them accepted, the first: %s", i,
			      t.lost, t.asked, t.ended, strerror(-t.first));
		ck_assert_uint_gt(t.asked, 0);
		all.asked += t.asked;
		all.ended += t.ended;
	}
	fprintf(stderr, "%u rounds, %u connections, %u ended with the process that had them\n",
		rounds(), all.asked, all.ended);
}

static pid_t keeper;

/* npsteer adopt, in a process of its own until the test ends. */
static void given_keeper(const char *words)
{
	char path[300], command[400];

	snprintf(path, sizeof path, "%s/npsteer", tool_dir);
	snprintf(command, sizeof command, "exec '%s' adopt web --port %d %s > '%s/keeper'", path,
		 PORT, words, tool_dir);
	keeper = fork();
	if (keeper == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
}

static void end_keeper(void)
{
	int status;

	kill(keeper, SIGTERM);
	ck_assert_int_eq(waitpid(keeper, &status, 0), keeper);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == DONE, "status %#x", status);
}

static unsigned adopted(const char *kind)
{
	char part[64], *json = answer("status web");
	unsigned n;

	snprintf(part, sizeof part, "\"%s\":true", kind);
	n = occurrences(json, part);
	free(json);
	return n;
}

static pid_t server_pid(void)
{
	struct ran r;
	pid_t pid;

	sh(&r, "cat '%s/pid'", tool_dir);
	pid = atoi(r.out);
	ran_free(&r);
	ck_assert_int_gt(pid, 0);
	return pid;
}

START_TEST(a_server_that_is_stopped_and_started_under_hold_loses_no_connection)
{
	enum kind k = (enum kind)_i;

	NEEDS(k);
	must("load web");
	start(k);
	given_keeper("--hold 20");
	AWAIT(adopted("adopted") == WORKERS);
	given_clients();
	for (unsigned i = 0; i < rounds(); i++) {
		pid_t pid = server_pid();

		/* It ends when it has answered those that it has. */
		kill(pid, k == NGINX ? SIGQUIT : SIGUSR1);
		AWAIT(kill(pid, 0) < 0);
		AWAIT(adopted("held") == WORKERS);
		start(k);
		AWAIT(adopted("held") == 0 && adopted("adopted") == WORKERS);
	}
	expect_none_lost(0);
	end_keeper();
	must("release web");
	stop(k);
}
END_TEST

/*
 * SIGKILL, all of it, one process after the other: a client that has lost its connection with one
 * may be accepted by the next, so that each of them ends one at most. Nobody is refused.
 */
START_TEST(a_server_that_is_killed_and_started_under_hold_refuses_nobody)
{
	enum kind k = (enum kind)_i;

	NEEDS(k);
	must("load web");
	start(k);
	given_keeper("--hold 20");
	AWAIT(adopted("adopted") == WORKERS);
	given_clients();
	for (unsigned i = 0; i < rounds(); i++) {
		must_sh("kill -KILL %1$d $(cat /proc/%1$d/task/%1$d/children)", (int)server_pid());
		AWAIT(adopted("held") == WORKERS);
		start(k);
		AWAIT(adopted("held") == 0 && adopted("adopted") == WORKERS);
	}
	expect_none_lost(rounds() * WORKERS);
	end_keeper();
	must("release web");
	stop(k);
}
END_TEST

/* No duplicate of a listener is left open, by the tool that adopts once nor by one that watches. */
START_TEST(without_hold_a_server_that_quits_has_a_closed_port)
{
	NEEDS(NGINX);
	must("load web");
	start(NGINX);
	if (_i)
		given_keeper("--watch");
	else
		must("adopt web --port 7490");
	AWAIT(adopted("adopted") == WORKERS);

	must_sh("kill -KILL %1$d $(cat /proc/%1$d/task/%1$d/children)", (int)server_pid());

	AWAIT(ask(PORT) == -ECONNREFUSED);
	if (_i)
		end_keeper();
	must("release web");
}
END_TEST

START_TEST(a_reload_with_fewer_workers_loses_no_connection)
{
	const char *words = _i ? "--hold 20" : "--watch";

	NEEDS(NGINX);
	must("load web");
	start(NGINX);
	given_keeper(words);
	AWAIT(adopted("adopted") == WORKERS);
	given_clients();
	for (unsigned i = 0; i < rounds(); i++)
		for (int workers = WORKERS - 1; workers <= WORKERS; workers++) {
			nginx_conf(workers);
			kill(server_pid(), SIGHUP);
			AWAIT(adopted("adopted") == (unsigned)workers);
		}
	expect_none_lost(0);
	end_keeper();
	must("release web");
	stop(NGINX);
}
END_TEST

/* ------------------------------------------------------------------ a worker that stands still */

/* A worker of its own, under the master: of nginx; haproxy has one process. */
static pid_t worker_pid(void)
{
	struct ran r;
	pid_t pid;

	sh(&r, "cut -d' ' -f1 /proc/%1$d/task/%1$d/children", (int)server_pid());
	pid = atoi(r.out);
	ran_free(&r);
	ck_assert_int_gt(pid, 0);
	return pid;
}

/* How many lines of the watch have @part. */
static unsigned said(const char *part)
{
	struct ran r;
	unsigned n;

	sh(&r, "cat '%s/keeper'", tool_dir);
	n = occurrences(r.out, part);
	ran_free(&r);
	return n;
}

#define VISITORS 64

static int visitors[VISITORS];
static unsigned n_visitors;

/*
 * Each time, one more connection that waits for its page. The clients are not enough: all of them
 * may be waiting for the worker that is stopped, which has accepted them, and nobody comes.
 */
static bool said_to_visitors(const char *part, unsigned more_than)
{
	if (n_visitors < VISITORS) {
		int fd = ask_open(PORT);

		ck_assert_msg(fd >= 0, "%s", strerror(-fd));
		ck_assert_int_eq(send_request(fd), 0);
		visitors[n_visitors++] = fd;
	}
	return said(part) > more_than;
}

static void expect_visitors_served(void)
{
	while (n_visitors) {
		int fd = visitors[--n_visitors];

		ck_assert_int_eq(take_page(fd), 0);
		close(fd);
	}
}

START_TEST(a_stopped_worker_of_a_watched_server_loses_no_connection)
{
	struct ran r;

	NEEDS(NGINX);
	must("load web --policy hash --hang-ms 30");
	start(NGINX);
	given_keeper(_i ? "--hold 20" : "--watch --rescue stopped");
	AWAIT(adopted("adopted") == WORKERS);
	given_clients();
	for (unsigned i = 0; i < rounds(); i++) {
		pid_t pid = worker_pid();

		kill(pid, SIGSTOP);
		AWAIT(said_to_visitors("is stopped: ", i));
		kill(pid, SIGCONT);
		AWAIT(said("goes on") > i);
		expect_visitors_served();
	}
	expect_none_lost(0);
	sh(&r,
	   "grep -c 'worker [0-3] (nginx-[0-9]*) is stopped: [0-9]* connections that waited there "
	   "moved to others' '%s/keeper'",
	   tool_dir);
	ck_assert_int_ge(atoi(r.out), (int)rounds());
	ran_free(&r);
	end_keeper();
	must("release web");
	stop(NGINX);
	must_sh("! grep -E 'alert|crit|emerg' '%s/error'", tool_dir);
}
END_TEST

#define GO_PROCESSES 2

/* make tests builds it, where there is a Go. */
static bool have_go_server(void)
{
	struct ran r;
	bool yes;

	sh(&r, "test -x \"${NP_BUILD:-build}/tests/e2e/pages\"");
	yes = r.code == 0;
	ran_free(&r);
	return yes;
}

static void start_go(void)
{
	must_sh("cp \"${NP_BUILD:-build}/tests/e2e/pages\" '%s/pages'", tool_dir);
	must_sh("for i in $(seq %2$d); do '%1$s/pages' %3$d 2>> '%1$s/error' < /dev/null & "
		"echo $! >> '%1$s/pid'; done > /dev/null",
		tool_dir, GO_PROCESSES, PORT);
	AWAIT(ask(PORT) == 0);
}

/* Go's server ends where accept(2) fails once. */
START_TEST(a_go_server_that_is_stopped_and_rescued_again_and_again_lives_and_serves)
{
	unsigned n = 5 * rounds();
	pid_t pid;

	NEEDS_RIGHTS();
	if (!have_go_server())
		SKIP("tests/e2e/pages.go is not built: there was no Go");
	must("load web --policy hash --hang-ms 60");
	start_go();
	pid = server_pid(); /* the first one */
	given_keeper("--watch");
	AWAIT(adopted("adopted") == GO_PROCESSES);
	given_clients();
	for (unsigned i = 0; i < n; i++) {
		kill(pid, SIGSTOP);
		AWAIT(said_to_visitors("is stopped: ", i));
		kill(pid, SIGCONT);
		AWAIT(said("goes on") > i);
		expect_visitors_served();
	}
	expect_none_lost(0);
	ck_assert_uint_eq(adopted("adopted"), GO_PROCESSES);
	must("policy web rr");
	ask_times(PORT, 20);
	end_keeper();
	must("release web");
	must_sh("test ! -s '%s/error'", tool_dir);
	must_sh("kill $(cat '%s/pid')", tool_dir);
}
END_TEST

START_TEST(what_a_watch_cannot_do_is_said_at_once)
{
	NEEDS(NGINX);
	must("load web");
	fails_with(MISUSED, "seconds from 1", "adopt web --port 7490 --hold 0");
	fails_with(MISUSED, "changes nothing", "adopt web --port 7490 --watch --dry-run");
	fails_with(MISUSED, "not \"all\"", "adopt web --port 7490 --watch --rescue all");
	fails_with(MISUSED, "only who watches can rescue",
		   "adopt web --port 7490 --rescue stopped");
	fails_with(ABSENT, "no service other", "adopt other --port 7490 --watch");
	start(NGINX);
	fails_with(UNSUPPORTED, "without SO_REUSEPORT", "adopt web --port 7491 --watch");
	stop(NGINX);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "adopt");

	tcase_set_timeout(t, 60 + 10 * rounds());
	tcase_add_checked_fixture(t, tool_setup, tool_teardown);
	tcase_add_loop_test(
		t, listeners_shows_a_task_for_each_listener_of_a_server_that_can_be_steered, 0,
		KINDS);
	tcase_add_loop_test(t, an_adopted_server_is_steered_until_it_is_released_and_never_notices,
			    0, KINDS);
	tcase_add_test(t, what_cannot_be_adopted_has_an_exit_code_and_a_sentence);
	tcase_add_test(t, an_adoption_that_fails_half_way_says_so_in_json_too);
	tcase_add_loop_test(t, a_server_that_is_stopped_and_started_under_hold_loses_no_connection,
			    0, RESTARTED);
	tcase_add_loop_test(t, a_server_that_is_killed_and_started_under_hold_refuses_nobody, 0,
			    RESTARTED);
	tcase_add_loop_test(t, without_hold_a_server_that_quits_has_a_closed_port, 0, 2);
	tcase_add_loop_test(t, a_reload_with_fewer_workers_loses_no_connection, 0, 2);
	tcase_add_test(t, what_a_watch_cannot_do_is_said_at_once);
	t = add_case(s, "stands");
	tcase_set_timeout(t, 120 + 40 * rounds());
	tcase_add_checked_fixture(t, tool_setup, tool_teardown);
	tcase_add_loop_test(t, a_stopped_worker_of_a_watched_server_loses_no_connection, 0, 2);
	tcase_add_test(t, a_go_server_that_is_stopped_and_rescued_again_and_again_lives_and_serves);
}

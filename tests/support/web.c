/* SPDX-License-Identifier: BSD-2-Clause */
/* web: the child talks in lines of fixed size, so that its watchdog's thread may talk too. */
#include "support/web.h"

#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "netpoll/server.h"
#include "netpoll/steer_admin.h"
#include "support/peer.h"
#include "support/test.h"
#include "sys/halt.h"

struct line {
	char what[8]; /* "pid", "ready", "failed" */
	pid_t pid;
	char text[400];
};

/* ------------------------------------------------------------------ the server's process */

static void line_send(int sock, const char *what, pid_t pid, const char *text)
{
	struct line l = { .pid = pid };

	snprintf(l.what, sizeof l.what, "%s", what);
	snprintf(l.text, sizeof l.text, "%s", text);
	child_send(sock, &l, sizeof l);
}

static int echo(struct np_conn *c, void *arg)
{
	const char *in;
	char byte;

	if (np_conn_peek(c, 1, (const void **)&in) < 0)
		return -EPROTO;
	byte = *in;
	np_conn_skip(c, 1);
	np_conn_write(c, &byte, 1);
	return np_conn_flush(c);
}

static const struct np_handlers handlers = { .sz = sizeof handlers, .on_request = echo };

static void tell_failure(void *arg, int level, const char *msg)
{
	if (strstr(msg, "cannot be taken from it"))
		line_send(*(int *)arg, "failed", 0, msg);
}

static void serve(int sock, unsigned flags)
{
	struct np_server_opts o = { .sz = sizeof o,
				    .service = "web",
				    .steer = NP_STEER_REQUIRED,
				    .rescue = flags & WEB_NO_RESCUE ? NP_OFF : NP_ON };
	struct np_pollers *pollers;
	struct np_server *s;

	if (np_pollers_start(NP_OPTS(np_pollers_opts, .count = 1, .log = tell_failure,
				     .log_arg = &sock),
			     &pollers) < 0 ||
	    np_server_new(pollers, &handlers, NULL, &o, &s) < 0)
		child_fail("no server");
	if (np_server_listen(s, "tcp", WEB_AT) < 0)
		child_fail("%s", np_server_error(s));
	if (flags & WEB_LISTENS_ONLY) {
		line_send(sock, "ready", 0, "");
		child_hear(sock);
	}
	if (np_server_start(s) < 0)
		child_fail("%s", np_server_error(s));
	line_send(sock, "ready", 0, "");
	child_hear(sock);
	if (np_server_stop(s, AWAIT_MS, NULL) < 0 || np_server_free(&s) < 0 ||
	    np_pollers_stop(pollers, AWAIT_MS) < 0 || np_pollers_free(&pollers) < 0)
		child_fail("cannot stop");
}

/* unshare(2) moves the children that come after it, not the process itself. */
static void contain(int sock, unsigned flags)
{
	pid_t pid;
	int status;

	if (unshare(CLONE_NEWPID) < 0)
		child_fail("no PID namespace: %s", strerror(errno));
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		serve(sock, flags);
		_exit(0);
	}
	line_send(sock, "pid", pid, "");
	while (waitpid(pid, &status, 0) < 0)
		;
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

static void child_main(int sock, void *arg)
{
	unsigned flags = *(unsigned *)arg;

	if (flags & WEB_IN_CONTAINER)
		contain(sock, flags);
	else
		serve(sock, flags);
}

/* ------------------------------------------------------------------ the test's side */

/* What else was said before is passed over. */
static struct line line_await(const struct web *w, const char *what)
{
	struct line l;

	do
		child_recv(w->child.sock, &l, sizeof l);
	while (strcmp(l.what, what) != 0);
	return l;
}

void web_load(int hang_ms)
{
	ck_assert_int_eq(np_steer_load("web", NP_OPTS(np_steer_load_opts, .hang_ms = hang_ms)), 0);
}

void web_start(struct web *w, unsigned flags)
{
	child_start(&w->child, child_main, &flags);
	w->pid = w->child.pid;
	if (flags & WEB_IN_CONTAINER)
		w->pid = line_await(w, "pid").pid;
	line_await(w, "ready");
}

void web_go_on(struct web *w)
{
	child_say(w->child.sock, 'g');
	line_await(w, "ready");
}

void web_stop(struct web *w)
{
	ck_assert_int_eq(kill(w->pid, SIGSTOP), 0);
	AWAIT(sys_halt_of(w->pid) == SYS_HALT_STOPPED);
}

void web_cont(struct web *w)
{
	ck_assert_int_eq(kill(w->pid, SIGCONT), 0);
}

void web_await_failure(struct web *w, const char *part)
{
	struct line l = line_await(w, "failed");

	ck_assert_msg(strstr(l.text, part) != NULL, "%s", l.text);
}

void web_end(struct web *w)
{
	child_say(w->child.sock, 'e');
	child_join(&w->child);
}

int web_connect(void)
{
	struct sockaddr_storage ss;
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_port = htons(7421),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	memcpy(&ss, &in, sizeof in);
	return peer_connect(&ss, sizeof in);
}

void web_expect_all_served(void)
{
	int fds[WEB_CLIENTS];

	for (int i = 0; i < WEB_CLIENTS; i++)
		fds[i] = web_connect();
	for (int i = 0; i < WEB_CLIENTS; i++) {
		peer_echo(fds[i], 'x');
		peer_close(&fds[i]);
	}
}

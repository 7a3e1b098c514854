/* SPDX-License-Identifier: BSD-2-Clause */
/* tool: npsteer, run as its users run it. */
#include "support/tool.h"

#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/json.h"
#include "support/test.h"

#define USUAL "/sys/fs/bpf"

char *tool_dir;
bool tool_isolated;

/* A chroot whose root is no mount point cannot be made private. */
static bool isolate(void)
{
	return can_root() && can_bpf() && unshare(CLONE_NEWNS) == 0 &&
	       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 && own_netns() == 0 &&
	       mount("none", "/run", "tmpfs", 0, "mode=0755") == 0 &&
	       mount("none", USUAL, "tmpfs", 0, "mode=0755") == 0;
}

void tool_setup(void)
{
	tool_dir = temp_dir();
	must_sh("chmod 755 '%1$s' && cp \"${NP_BUILD:-build}/npsteer\" '%1$s' && chmod 755 '%1$s/npsteer'",
		tool_dir);
	tool_isolated = isolate();
	unsetenv("NP_BPFFS");
}

/* The mounts end with the test's process, who is alone in its namespace. */
void tool_teardown(void)
{
	remove_tree(&tool_dir);
}

/* npsteer with these words, as the shell splits them. */
void npsteer(struct ran *r, const char *words)
{
	sh(r, "'%s/npsteer' %s", tool_dir, words);
}

/* The same as uid 1234, in @gid only, without capabilities. */
void npsteer_as(struct ran *r, int gid, const char *words)
{
	sh(r, "setpriv --reuid 1234 --regid %d --clear-groups '%s/npsteer' %s", gid, tool_dir,
	   words);
}

void must(const char *words)
{
	struct ran r;

	npsteer(&r, words);
	ck_assert_msg(r.code == DONE, "npsteer %s: exit %d\n%s%s", words, r.code, r.out, r.err);
	ran_free(&r);
}

/* The answer of npsteer -j with these words; malloc'ed. */
char *answer(const char *words)
{
	struct ran r;

	sh(&r, "'%s/npsteer' -j %s", tool_dir, words);
	ck_assert_msg(r.code == DONE, "npsteer -j %s: exit %d\n%s%s", words, r.code, r.out, r.err);
	ck_assert_msg(json_valid(r.out), "no JSON: %s", r.out);
	ck_assert_int_eq(json_number(r.out, "schema"), 1);
	ck_assert_str_eq(r.err, "");
	free(r.err);
	return r.out;
}

void must_have(const char *text, const char *part)
{
	ck_assert_msg(strstr(text, part) != NULL, "no %s in: %s", part, text);
}

static void server_join(struct server *s, const char *service, enum np_switch rescue)
{
	char why[NP_STEER_TEXT_MAX] = "";
	int r = np_steer_open(service,
			      NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN, .rescue = rescue,
				      .error = why, .error_cap = sizeof why),
			      &s->steer);

	ck_assert_msg(r == 0, "%s", why);
}

static void server_listen(struct server *s, const char *name, const char *address)
{
	socklen_t len = sizeof s->at;
	int r;

	ck_assert_int_eq(np_steer_worker(s->steer, name, &s->worker), 0);
	r = np_steer_listen(s->worker, "tcp", address, 0, &s->fd);
	ck_assert_msg(r == 0, "%s", np_steer_error(s->steer));
	ck_assert_int_eq(getsockname(s->fd, (struct sockaddr *)&s->at, &len), 0);
}

void given_server(struct server *s, const char *service)
{
	server_join(s, service, 0);
	server_listen(s, "a \"worker\"", "127.0.0.1:0");
}

void given_worker(struct server *s, const char *service, const char *name, const char *address)
{
	server_join(s, service, NP_OFF);
	server_listen(s, name, address);
}

void server_end(struct server *s)
{
	close(s->fd);
	ck_assert_int_eq(np_steer_worker_close(&s->worker), 0);
	ck_assert_int_eq(np_steer_close(&s->steer), 0);
}

/* @n connections, one after another, accepted and closed by the server. */
void connect_times(const struct server *s, int n)
{
	for (int i = 0; i < n; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), got;

		ck_assert_int_eq(connect(fd, (const struct sockaddr *)&s->at, sizeof s->at), 0);
		await_fd(s->fd, POLLIN);
		got = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
		ck_assert_int_ge(got, 0);
		np_steer_conn_inc(s->worker);
		np_steer_conn_dec(s->worker);
		close(got);
		close(fd);
	}
}

/* It fails with that code and one sentence that has this part, in text and in JSON. */
void fails_with(int code, const char *part, const char *words)
{
	struct ran r;

	npsteer(&r, words);
	ck_assert_msg(r.code == code, "npsteer %s: exit %d, not %d\n%s%s", words, r.code, code,
		      r.out, r.err);
	ck_assert_str_eq(r.out, "");
	ck_assert_msg(!strncmp(r.err, "npsteer: ", 9) &&
			      strchr(r.err, '\n') == r.err + strlen(r.err) - 1,
		      "not one sentence: %s", r.err);
	must_have(r.err, part);
	ran_free(&r);

	sh(&r, "'%s/npsteer' -j %s", tool_dir, words);
	ck_assert_int_eq(r.code, code);
	ck_assert_msg(json_valid(r.out), "no JSON: %s", r.out);
	ck_assert_int_eq(json_number(r.out, "error.code"), code);
	ck_assert_str_eq(r.err, "");
	ran_free(&r);
}

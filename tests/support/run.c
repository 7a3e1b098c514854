/* SPDX-License-Identifier: BSD-2-Clause */
/* run: commands with a deadline, their output collected. */
#include "support/run.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/reaper.h"
#include "support/test.h"

#define RUN_MS 200000 /* a cold build of the tree on two busy CPUs, with room */

struct text {
	int fd;
	char *p;
	size_t n, cap;
};

/* One read into @t. False at the end of the stream. */
static bool text_fill(struct text *t)
{
	ssize_t n;

	if (t->cap - t->n < 4096) {
		t->cap += 65536;
		t->p = realloc(t->p, t->cap);
		ck_assert_ptr_nonnull(t->p);
	}
	n = read(t->fd, t->p + t->n, t->cap - t->n - 1);
	if (n > 0)
		t->n += (size_t)n;
	t->p[t->n] = '\0';
	return n > 0 || (n < 0 && errno == EINTR);
}

static void text_end(struct text *t)
{
	close(t->fd);
	t->fd = -1;
}

struct command {
	const char *const *argv;
	int out, err;
};

static void command_execute(void *arg)
{
	const struct command *c = arg;
	int null = open("/dev/null", O_RDONLY);

	if (null < 0 || dup2(null, 0) < 0 || dup2(c->out, 1) < 0 || dup2(c->err, 2) < 0)
		_exit(126);
	execvp(c->argv[0], (char *const *)c->argv);
	dprintf(2, "%s: %s\n", c->argv[0], strerror(errno));
	_exit(127);
}

/* Until both streams end. False at the deadline. */
static bool collect(struct text *out, struct text *err)
{
	uint64_t end = now_ms() + RUN_MS;

	while (out->fd >= 0 || err->fd >= 0) {
		struct pollfd p[2] = { { out->fd, POLLIN, 0 }, { err->fd, POLLIN, 0 } };
		uint64_t now = now_ms();

		if (now >= end)
			return false;
		if (poll(p, 2, (int)(end - now)) < 0 && errno != EINTR)
			return false;
		if (p[0].revents && !text_fill(out))
			text_end(out);
		if (p[1].revents && !text_fill(err))
			text_end(err);
	}
	return true;
}

static void text_begin(struct text *t, int fd)
{
	*t = (struct text){ .fd = fd, .cap = 4096 };
	t->p = calloc(1, t->cap);
	ck_assert_ptr_nonnull(t->p);
}

void run(struct ran *r, const char *const argv[])
{
	struct text out, err;
	struct reaper reaper;
	int po[2], pe[2], status = 0;
	bool in_time;

	ck_assert_int_eq(pipe2(po, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(pe, O_CLOEXEC), 0);
	reaper_start(&reaper, command_execute, &(struct command){ argv, po[1], pe[1] });
	close(po[1]);
	close(pe[1]);
	text_begin(&out, po[0]);
	text_begin(&err, pe[0]);
	in_time = collect(&out, &err);
	if (in_time)
		status = reaper_join(&reaper);
	else
		reaper_kill(&reaper);
	close(out.fd);
	close(err.fd);
	r->out = out.p;
	r->err = err.p;
	r->code = !in_time ? -1 : WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void ran_free(struct ran *r)
{
	free(r->out);
	free(r->err);
	r->out = r->err = NULL;
}

static void sh_v(struct ran *r, const char *fmt, va_list ap)
{
	char *script;

	ck_assert_int_ge(vasprintf(&script, fmt, ap), 0);
	run(r, (const char *const[]){ "sh", "-c", script, NULL });
	free(script);
}

void sh(struct ran *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	sh_v(r, fmt, ap);
	va_end(ap);
}

/* Check takes messages of some thousand bytes: of a build's output the end says why it failed. */
static const char *end_of(const char *text)
{
	size_t n = strlen(text);

	return n > 1500 ? text + n - 1500 : text;
}

void must_sh(const char *fmt, ...)
{
	struct ran r;
	va_list ap;

	va_start(ap, fmt);
	sh_v(&r, fmt, ap);
	va_end(ap);
	ck_assert_msg(r.code == 0, "exit %d from: %s\n%s%s", r.code, fmt, end_of(r.out),
		      end_of(r.err));
	ran_free(&r);
}

bool have(const char *tool)
{
	struct ran r;
	bool found;

	sh(&r, "command -v %s", tool);
	found = r.code == 0;
	ran_free(&r);
	return found;
}

/* ------------------------------------------------------------------ folders */

/* The runner's number is in it: the tests are its children, and it removes what they leave. */
static char temp_prefix[PATH_MAX];

void temp_dirs_begin(void)
{
	const char *base = getenv("TMPDIR");

	snprintf(temp_prefix, sizeof temp_prefix, "%s/np-test-%d-", base ? base : "/tmp",
		 (int)getpid());
}

static int temp_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	remove(path);
	return 0;
}

void temp_dirs_end(void)
{
	char pattern[PATH_MAX + 1];
	glob_t found;

	snprintf(pattern, sizeof pattern, "%s*", temp_prefix);
	if (glob(pattern, 0, NULL, &found))
		return;
	for (size_t i = 0; i < found.gl_pathc; i++)
		nftw(found.gl_pathv[i], temp_remove, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	globfree(&found);
}

char *temp_dir(void)
{
	char *dir;

	ck_assert_int_ge(asprintf(&dir, "%sXXXXXX", temp_prefix), 0);
	ck_assert_ptr_nonnull(mkdtemp(dir));
	return dir;
}

void remove_tree(char **dir)
{
	must_sh("rm -rf -- '%s'", *dir);
	free(*dir);
	*dir = NULL;
}

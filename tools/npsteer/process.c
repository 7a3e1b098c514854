/* SPDX-License-Identifier: BSD-2-Clause */
/* process: a question and its answer, and the verbs that show one as it comes. */
#include "process.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "npsteer.h"

#define ANSWER_S 15 /* a process waits five seconds for its pollers */

static bool process_is_number(const char *word)
{
	return word && *word && word[strspn(word, "0123456789")] == '\0';
}

/* Return: false: it is too long for a socket. */
static bool process_path(const char *word, char *dst, size_t cap)
{
	int n = process_is_number(word) ? snprintf(dst, cap, "/run/netpoll/%s.sock", word) :
					  snprintf(dst, cap, "%s", word);

	return n > 0 && (size_t)n < cap;
}

bool names_process(const char *word)
{
	struct sockaddr_un un;

	if (!word || !process_path(word, un.sun_path, sizeof un.sun_path))
		return false;
	return strchr(word, '/') || (process_is_number(word) && access(un.sun_path, F_OK) == 0);
}

/* An exit code, and the sentence in @why. */
static int process_fail(char why[PROCESS_WHY_MAX], enum exit_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int process_fail(char why[PROCESS_WHY_MAX], enum exit_code code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, PROCESS_WHY_MAX, fmt, ap);
	va_end(ap);
	return code;
}

static int process_unreachable(const char *path, int err, char why[PROCESS_WHY_MAX])
{
	switch (err) {
	case ENOENT:
		return process_fail(
			why, ABSENT,
			"there is no socket at %s: does the process live, and does it set np_server_opts.observe or np_pollers_opts.observe?",
			path);
	case ECONNREFUSED:
		return process_fail(why, ABSENT, "the process that had %s has ended", path);
	case EACCES:
	case EPERM:
		return process_fail(why, DENIED,
				    "%s is another user's: ask as that user, or as root", path);
	default:
		return process_fail(why, FAILED, "cannot ask %s: %s", path, strerror(err));
	}
}

static int process_connect(const char *word, int limit_s, int *ret_fd, char why[PROCESS_WHY_MAX])
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_sec = limit_s };
	int fd;

	if (!word)
		return process_fail(why, MISUSED,
				    "which process? Give its number, or the path of its socket");
	if (!process_is_number(word) && !strchr(word, '/'))
		return process_fail(why, MISUSED, "\"%s\" is no process number and no path", word);
	if (!process_path(word, un.sun_path, sizeof un.sun_path))
		return process_fail(why, MISUSED, "\"%s\" is too long for a socket", word);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return process_fail(why, FAILED, "cannot make a socket: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	if (connect(fd, (struct sockaddr *)&un, sizeof un) < 0) {
		int err = errno;

		close(fd);
		return process_unreachable(un.sun_path, err, why);
	}
	*ret_fd = fd;
	return DONE;
}

/* All until the end, with a zero behind it. NULL: none came in time. */
static char *process_read(int fd)
{
	size_t n = 0, cap = 1 << 16;
	char *text = malloc(cap);
	ssize_t r = 1;

	while (text && (r = recv(fd, text + n, cap - n - 1, 0)) != 0) {
		if (r < 0)
			break;
		n += (size_t)r;
		if (n + 1 == cap)
			text = realloc(text, cap *= 2);
	}
	if (!text)
		fail_without_memory();
	text[n] = '\0';
	if (r == 0)
		return text;
	free(text);
	return NULL;
}

int process_question(const char *word, const char *question, int limit_s, char **ret,
		     char why[PROCESS_WHY_MAX])
{
	int fd = -1, code = process_connect(word, limit_s, &fd, why);
	char line[64], *text = NULL;
	int len = snprintf(line, sizeof line, "%s\n", question);

	if (code != DONE)
		return code;
	if (send(fd, line, (size_t)len, MSG_NOSIGNAL) == len)
		text = process_read(fd);
	close(fd);
	if (text && !strncmp(text, "ok\n", 3)) {
		memmove(text, text + 3, strlen(text + 3) + 1);
		*ret = text;
		return DONE;
	}
	if (text && !strncmp(text, "error ", 6)) {
		text[strcspn(text, "\n")] = '\0';
		process_fail(why, FAILED, "%s: %s", word, text + 6);
	} else {
		process_fail(why, FAILED,
			     "%s gives no answer: it is stopped, or is no process of the library",
			     word);
	}
	free(text);
	return FAILED;
}

int process_ask(struct npsteer *n, const char *question, char **ret)
{
	char why[PROCESS_WHY_MAX];
	int code = process_question(n->service, question, ANSWER_S, ret, why);

	return code == DONE ? DONE : fail(n, (enum exit_code)code, "%s", why);
}

/* ------------------------------------------------------------------ shown as it comes */

static void process_indent(int depth)
{
	putchar('\n');
	while (depth-- > 0)
		putchar('\t');
}

/* JSON without blanks between its words, with line ends and tabs there. */
static void process_print_pretty(const char *p)
{
	bool quoted = false;
	int depth = 0;

	for (; *p; p++) {
		if (quoted || !strchr("{}[],:\n", *p)) {
			quoted ^= *p == '"';
			putchar(*p);
			if (quoted && *p == '\\')
				putchar(*++p);
			continue;
		}
		if (strchr("{[", *p)) {
			putchar(*p);
			if (!strchr("}]", p[1]))
				process_indent(++depth);
			else
				putchar(*++p);
		} else if (strchr("}]", *p)) {
			process_indent(--depth);
			putchar(*p);
		} else if (*p == ',') {
			putchar(*p);
			process_indent(depth);
		} else if (*p == ':') {
			fputs(": ", stdout);
		}
	}
	putchar('\n');
}

/* One value is one line. */
static void process_print_line(const char *p)
{
	for (; *p; p++)
		if (*p != '\n')
			putchar(*p);
	putchar('\n');
}

static int process_show(struct npsteer *n, const char *what)
{
	char question[32], *text;
	int code;

	snprintf(question, sizeof question, "%s %s", what, n->json ? "json" : "text");
	code = process_ask(n, question, &text);
	if (code != DONE)
		return code;
	if (n->json && n->say.pretty)
		process_print_pretty(text);
	else if (n->json)
		process_print_line(text);
	else
		fputs(text, stdout);
	free(text);
	return DONE;
}

int verb_conns(struct npsteer *n)
{
	return process_show(n, "conns");
}

int verb_fibers(struct npsteer *n)
{
	return process_show(n, "fibers");
}

int verb_dump(struct npsteer *n)
{
	return process_show(n, "all");
}

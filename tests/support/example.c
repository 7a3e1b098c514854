/* SPDX-License-Identifier: BSD-2-Clause */
/* example: its first line is read from its standard output, up to the newline and no further. */
#include "support/example.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/peer.h"
#include "support/test.h"

#define MAX_WORDS 64

struct command {
	const char *name;
	char *options;
	int inherited;
};

const char *example_path(const char *name)
{
	static char path[512];
	const char *build = getenv("NP_BUILD");

	snprintf(path, sizeof path, "%s/examples/%s", build ? build : "build", name);
	return path;
}

bool example_is_built(const char *name)
{
	return eaccess(example_path(name), X_OK) == 0;
}

static void pass_listener(int fd)
{
	char pid[16];

	dup2(fd, 3);
	snprintf(pid, sizeof pid, "%d", (int)getpid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "1", 1);
}

static void exec_example(int sock, void *arg)
{
	const struct command *cmd = arg;
	const char *path = example_path(cmd->name);
	char *argv[MAX_WORDS + 2] = { (char *)cmd->name }, *save;
	int n = 1;

	for (char *word = strtok_r(cmd->options, " ", &save); word && n <= MAX_WORDS;
	     word = strtok_r(NULL, " ", &save))
		argv[n++] = word;
	dup2(sock, STDOUT_FILENO);
	if (cmd->inherited >= 0)
		pass_listener(cmd->inherited);
	execv(path, argv);
	child_fail("cannot run %s: %s", path, strerror(errno));
}

/* "listening on port 7000", "on 127.0.0.1:7000", or "on [::]:7000". */
static int said_port(struct example *e)
{
	static const char *const words[] = { "port ", "127.0.0.1:", "[::]:" };
	const char *port;
	char c = 0;

	memset(e->line, 0, sizeof e->line);
	for (size_t n = 0; c != '\n' && n < sizeof e->line - 1; n++) {
		child_recv(e->child.sock, &c, 1);
		e->line[n] = c;
	}
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		port = strstr(e->line, words[i]);
		if (port)
			return atoi(port + strlen(words[i]));
	}
	ck_abort_msg("%s", e->line);
}

void example_start(struct example *e, const char *name, int inherited, const char *fmt, ...)
{
	struct command cmd = { name, NULL, inherited };
	va_list ap;

	va_start(ap, fmt);
	ck_assert_int_ge(vasprintf(&cmd.options, fmt, ap), 0);
	va_end(ap);
	child_start(&e->child, exec_example, &cmd);
	free(cmd.options);
	e->port = said_port(e);
	*(struct sockaddr_in *)&e->at =
		(struct sockaddr_in){ .sin_family = AF_INET,
				      .sin_port = htons((uint16_t)e->port),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

void example_end(struct example *e)
{
	ck_assert_int_eq(kill(e->child.pid, SIGTERM), 0);
	child_join(&e->child);
}

int example_connect(const struct example *e)
{
	return peer_connect(&e->at, sizeof(struct sockaddr_in));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* verb: started, waited for, asked, ended. */
#include "support/verb.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/peer.h"
#include "support/test.h"
#include "support/tool.h"

static void verb_read_line(const struct verb *v, char *dst, size_t cap)
{
	size_t n = 0;

	do {
		await_fd(v->out, POLLIN);
		ck_assert_msg(n < cap - 1 && read(v->out, dst + n, 1) == 1, "it has ended");
	} while (dst[n++] != '\n');
	dst[n] = '\0';
}

/* "web: an agent at 127.0.0.1:4711" */
static void verb_read_address(const struct verb *v, struct sockaddr_in *ret)
{
	char line[256], *port;

	verb_read_line(v, line, sizeof line);
	port = strrchr(line, ':');
	ck_assert_msg(port && atoi(port + 1) > 0, "%s", line);
	*ret = (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = htons((uint16_t)atoi(port + 1)) };
	ret->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
}

void verb_start(struct verb *v, const char *words, unsigned n)
{
	char command[512];
	int ends[2];

	snprintf(command, sizeof command, "exec '%s/npsteer' %s", tool_dir, words);
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	v->pid = fork();
	if (v->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(ends[1], STDOUT_FILENO);
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	close(ends[1]);
	v->out = ends[0];
	for (unsigned i = 0; i < n; i++)
		verb_read_address(v, &v->at[i]);
}

void verb_end(struct verb *v)
{
	int status;

	ck_assert_int_eq(kill(v->pid, SIGTERM), 0);
	ck_assert_int_eq(waitpid(v->pid, &status, 0), v->pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == DONE, "status %#x",
		      (unsigned)status);
	close(v->out);
}

int verb_connect(const struct verb *v, unsigned i)
{
	struct sockaddr_storage ss = { 0 };

	memcpy(&ss, &v->at[i], sizeof v->at[i]);
	return peer_connect(&ss, sizeof v->at[i]);
}

void verb_ask(const struct verb *v, unsigned i, const char *text, size_t n, char *dst, size_t cap)
{
	int fd = verb_connect(v, i);
	size_t got = 0;
	ssize_t r;

	if (n)
		peer_send(fd, text, n);
	while (got < cap - 1 && (r = recv(fd, dst + got, cap - 1 - got, 0)) > 0)
		got += (size_t)r;
	dst[got] = '\0';
	peer_close(&fd);
}

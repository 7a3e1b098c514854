/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * idle: what an idle connection costs in user space, measured from the outside
 *
 *   idle [CONNS]      default 10000
 *
 * The server is a process of its own: framed echo on one poller, every connection with an idle
 * timeout, keepalive and user data. Its resident memory (smaps_rollup, Rss less the file-backed and
 * shared part) is read when it serves nobody yet, when CONNS connections are idle after one request
 * each, and again after most of them have sent half of a 16 KiB frame and then the rest. What is
 * awaited is awaited by events: an answer for each request, and for the memory that it has not
 * fallen for three seconds.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netpoll/server.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SMALL    64u
#define LARGE    (16u << 10)
#define BURST(n) (8 * (n) / 9)

static void die(const char *what)
{
	fprintf(stderr, "idle: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* ------------------------------------------------------------------ server */

static int on_connect(struct np_conn *c, void *arg)
{
	np_conn_set_data(c, arg);
	return np_conn_set_keepalive(c, 60, 10, 5);
}

static int on_request(struct np_conn *c, void *arg)
{
	const void *p;
	uint32_t len;
	int r = np_conn_peek(c, 4, &p);

	if (r < 0)
		return r;
	memcpy(&len, p, 4);
	r = np_conn_next(c, 4 + ntohl(len), &p);
	if (r == 0)
		r = np_conn_write(c, p, 4 + ntohl(len));
	return r < 0 ? r : np_conn_flush(c);
}

static void serve(int to_parent)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_connect = on_connect,
					      .on_request = on_request };
	struct np_pollers *pollers;
	struct np_server *server;
	struct sockaddr_storage sa;
	socklen_t len;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (np_pollers_start(NP_OPTS(np_pollers_opts, .count = 1), &pollers) < 0 ||
	    np_server_new(pollers, &h, &sa,
			  NP_OPTS(np_server_opts, .steer = NP_STEER_OFF, .idle_timeout_ms = 600000),
			  &server) < 0 ||
	    np_server_listen(server, "tcp4", "127.0.0.1:0") < 0 || np_server_start(server) < 0 ||
	    np_server_addr(server, 0, &sa, &len) < 0)
		die("server");
	if (write(to_parent, &((struct sockaddr_in *)&sa)->sin_port, 2) != 2)
		die("write");
	pause();
}

/* ------------------------------------------------------------------ clients */

static char frame[4 + LARGE], answer[4 + LARGE];

static int dial(in_port_t port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = port };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0)
		die("connect");
	return fd;
}

static void say(int fd, const void *p, size_t n)
{
	if (send(fd, p, n, MSG_NOSIGNAL) != (ssize_t)n)
		die("send");
}

static void hear(int fd, size_t n)
{
	if (recv(fd, answer, n, MSG_WAITALL) != (ssize_t)n || memcmp(answer, frame, n))
		die("an answer differs from its request");
}

static void set_frame(uint32_t n)
{
	uint32_t be = htonl(n);

	memcpy(frame, &be, 4);
}

/* ------------------------------------------------------------------ memory */

/* Anonymous and private resident bytes: not the code, which all servers on the machine share. */
static long resident(pid_t pid)
{
	char path[64], line[256];
	long kb, sum = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
	f = fopen(path, "re");
	if (!f)
		die(path);
	while (fgets(line, sizeof line, f))
		if (sscanf(line, "Anonymous: %ld kB", &kb) == 1)
			sum += kb;
	fclose(f);
	return sum * 1024;
}

/* When it has stopped falling. */
static long settled(pid_t pid)
{
	long least = resident(pid), now;

	for (int same = 0; same < 3; same++) {
		sleep(1);
		now = resident(pid);
		if (now < least)
			same = -1;
		least = now < least ? now : least;
	}
	return resident(pid);
}

static void tell(const char *what, long base, long now, unsigned n)
{
	printf("%-44s %9ld KiB  %6.1f bytes for each connection\n", what, now / 1024,
	       (double)(now - base) / n);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	unsigned n = argc > 1 ? (unsigned)atoi(argv[1]) : 10000;
	int *fd = calloc(n, sizeof *fd), ready[2];
	struct rlimit files = { n + 64, n + 64 };
	in_port_t port;
	long base;
	pid_t pid;

	setrlimit(RLIMIT_NOFILE, &files);
	if (!fd || pipe(ready) < 0 || (pid = fork()) < 0)
		die("start");
	if (pid == 0) {
		serve(ready[1]);
		return 1;
	}
	if (read(ready[0], &port, 2) != 2)
		die("the server did not start");
	for (unsigned i = 4; i < sizeof frame; i++)
		frame[i] = (char)(i * 31);

	/* One connection first: what the process needs once is not counted for each. */
	set_frame(SMALL);
	fd[0] = dial(port);
	say(fd[0], frame, 4 + SMALL);
	hear(fd[0], 4 + SMALL);
	base = settled(pid);
	tell("one connection", base, base, n);

	for (unsigned i = 1; i < n; i++) {
		fd[i] = dial(port);
		say(fd[i], frame, 4 + SMALL);
		hear(fd[i], 4 + SMALL);
	}
	tell("idle after a request each", base, settled(pid), n);

	set_frame(LARGE);
	for (unsigned i = 0; i < BURST(n); i++)
		say(fd[i], frame, 4 + LARGE / 2);
	tell("half of a 16 KiB frame from most of them", base, resident(pid), n);
	for (unsigned i = 0; i < BURST(n); i++)
		say(fd[i], frame + 4 + LARGE / 2, LARGE / 2);
	for (unsigned i = 0; i < BURST(n); i++)
		hear(fd[i], 4 + LARGE);
	tell("idle after that burst", base, settled(pid), n);

	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return 0;
}

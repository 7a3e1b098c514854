/* SPDX-License-Identifier: BSD-2-Clause */
/* service: the main thread waits for signals; a stop has a thread of its own. */
#include "service.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "addresses.h"
#include "arguments.h"
#include "notify.h"

/* The end of a pipe: the process before this one reads it. */
#define READY_FD     "SERVICE_READY_FD"
/* Where it hands over: "fd:N". */
#define TAKE_OVER    "SERVICE_TAKE_OVER"
#define TAKE_OVER_MS 10000
#define NOW_MS       100

static int stop_ms = SERVICE_STOP_MS;

int service_set_stop_ms(const char *text)
{
	long long n;

	if (argument_number("--stop-ms", text, -1, INT_MAX, &n) < 0)
		return -1;
	if (n == 0)
		return argument_bad("no time at all:", "--stop-ms");
	stop_ms = (int)n;
	return 0;
}

int service_stop_ms(void)
{
	return stop_ms;
}

/* SIGUSR1: the stop has ended. */
static void service_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
	sigaddset(set, SIGUSR2);
	sigaddset(set, SIGUSR1);
}

void service_prepare(void)
{
	sigset_t set;

	service_signals(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

/* ------------------------------------------------------------------ the next process */

static void tell_ready(void)
{
	const char *text = getenv(READY_FD);
	int fd;

	notify("MAINPID=%d\nREADY=1", (int)getpid());
	if (!text)
		return;
	fd = atoi(text);
	unsetenv(READY_FD);
	if (write(fd, "r", 1) < 0)
		perror("the process before this one");
	close(fd);
}

int service_take_over(struct np_server *s)
{
	char *where = getenv(TAKE_OVER);
	int r = where ? np_server_take_over(s, where, TAKE_OVER_MS) : 0;

	unsetenv(TAKE_OVER);
	return r;
}

/* What it says is one byte; a process that dies before says none. */
static int await_ready(int fd)
{
	char byte;

	return read(fd, &byte, 1) == 1 ? 0 : -ECHILD;
}

/* Between fork and exec, where there were threads: signal-safety(7). */
static void exec_alone(char **argv, pid_t parent)
{
	sigset_t none;

	while (getppid() == parent)
		sched_yield();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execvp(argv[0], argv);
	_exit(127);
}

/*
 * It is no child of this process but, when it begins, of systemd's. One whose MAINPID= comes while
 * it is not is alien to systemd for good: systemctl stop sends it SIGKILL behind SIGTERM, at once.
 */
static int spawn_alone(char **argv)
{
	pid_t between = fork();
	int status;

	if (between == 0) {
		pid_t parent = getpid(), next = fork();

		if (next == 0)
			exec_alone(argv, parent);
		_exit(next < 0);
	}
	if (between < 0)
		return -errno;
	if (waitpid(between, &status, 0) < 0)
		return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EAGAIN;
}

/* *ret_ready: a pipe's end, at which it says that it is. */
static int start_next(char **argv, int *ret_ready)
{
	char number[16];
	int fds[2], r;

	if (pipe(fds) < 0)
		return -errno;
	fcntl(fds[0], F_SETFD, FD_CLOEXEC);
	snprintf(number, sizeof number, "%d", fds[1]);
	setenv(READY_FD, number, 1);
	r = spawn_alone(argv);
	unsetenv(READY_FD);
	close(fds[1]);
	if (r < 0)
		close(fds[0]);
	else
		*ret_ready = fds[0];
	return r;
}

static int replace(char **argv)
{
	int ready, r = start_next(argv, &ready);

	if (r < 0)
		return r;
	r = await_ready(ready);
	close(ready);
	return r;
}

/* @mine is taken. Return: whether what this one listened on is the next one's. */
static bool hand_over(struct np_server *s, int mine)
{
	struct np_handed_over done = { .sz = sizeof done };
	char where[16];

	snprintf(where, sizeof where, "fd:%d", mine);
	if (np_server_hand_over(s, where, NULL, &done) < 0)
		fprintf(stderr, "%s\n", np_server_error(s));
	fprintf(stderr, "handed over: %u addresses, %llu connections; %llu stay", done.addresses,
		(unsigned long long)done.handed, (unsigned long long)(done.stays + done.busy));
	for (int i = 0; i < NP_STAYS_N; i++)
		if (done.because[i])
			fprintf(stderr, ", %llu %s", (unsigned long long)done.because[i],
				np_stays_words(i));
	fprintf(stderr, "\n");
	return done.addresses;
}

/* Return: 0: the next process has what this one listened on; -errno: this one goes on. */
static int pass_on(struct np_server *s, char **argv)
{
	char where[16];
	int pair[2], ready, r;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		return -errno;
	fcntl(pair[0], F_SETFD, FD_CLOEXEC);
	snprintf(where, sizeof where, "fd:%d", pair[1]);
	setenv(TAKE_OVER, where, 1);
	r = start_next(argv, &ready);
	unsetenv(TAKE_OVER);
	close(pair[1]);
	if (r < 0) {
		close(pair[0]);
		return r;
	}
	r = hand_over(s, pair[0]) ? 0 : -ECHILD;
	await_ready(ready); /* before its pipe is closed */
	close(ready);
	return r;
}

static uint64_t monotonic_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

/* Return: whether the next process serves. */
static bool is_replaced(struct np_server *s, char **argv, int sig)
{
	int r;

	notify("RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)monotonic_us());
	r = sig == SIGUSR2 ? pass_on(s, argv) : replace(argv);
	if (r == 0)
		return true;
	fprintf(stderr, "%s: the next process did not start: this one goes on\n", argv[0]);
	notify("READY=1\nSTATUS=the next process did not start");
	return false;
}

/* ------------------------------------------------------------------ the end */

struct end {
	int result;
	unsigned forced;
	_Atomic(bool) done;
};

static void has_ended(void *arg, int result, unsigned forced)
{
	struct end *end = arg;

	end->result = result;
	end->forced = forced;
	atomic_store(&end->done, true); /* behind this it is gone */
	kill(getpid(), SIGUSR1);
}

/* @terms: how often it was asked to end. A supervisor may ask one that is replaced once more. */
static int await_end(struct np_server *s, const sigset_t *set, int terms)
{
	struct end end = { 0 };
	int sig, r = np_server_stop_async(s, stop_ms, has_ended, &end);

	if (r < 0)
		return np_server_stop(s, stop_ms, NULL);
	while (!atomic_load(&end.done) && sigwait(set, &sig) == 0)
		if (sig != SIGUSR1 && sig != SIGHUP && sig != SIGUSR2 && ++terms > 1)
			np_server_stop(s, NOW_MS, NULL); /* hurries the other one */
	if (end.forced)
		fprintf(stderr, "%u connections were cut off at the deadline\n", end.forced);
	return end.result;
}

static int tell_counts(struct np_server *s, int r)
{
	struct np_server_stats st = { .sz = sizeof st };

	np_server_stats(s, &st);
	fprintf(stderr,
		"served %llu connections; of the last, %llu closed while idle, %llu never asked, %llu asked too late\n",
		(unsigned long long)st.accepted, (unsigned long long)st.drained,
		(unsigned long long)st.fresh, (unsigned long long)st.raced);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int service_run(struct np_server *s, char **argv)
{
	bool replaced = false;
	sigset_t set;
	int sig;

	service_signals(&set);
	tell_ready();
	while (sigwait(&set, &sig) == 0) {
		if (sig == SIGHUP || sig == SIGUSR2)
			replaced = is_replaced(s, argv, sig);
		if (!replaced && sig != SIGTERM && sig != SIGINT)
			continue;
		if (!replaced) /* else systemd knows another process as the service */
			notify("STOPPING=1");
		break;
	}
	return tell_counts(s, await_end(s, &set, !replaced));
}

int service_failed(struct np_server *s, int error)
{
	const char *why = np_server_error(s);

	fprintf(stderr, "%s: %s\n", program_invocation_short_name, *why ? why : np_strerror(error));
	return -1;
}

static void announce(struct np_server *s)
{
	printf("listening on");
	addresses_print(s);
	printf(" pollers=%d\n", np_pollers_count(np_server_pollers(s)));
	fflush(stdout);
}

int service_serve(struct np_server *s, char **argv)
{
	int r = np_server_start(s);

	if (r < 0) {
		service_failed(s, r);
		return EXIT_FAILURE;
	}
	announce(s);
	return service_run(s, argv);
}

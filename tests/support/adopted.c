/* SPDX-License-Identifier: BSD-2-Clause */
/* adopted: verbs of a service whose workers are a foreign server's, each with its check. */
#include "support/adopted.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/privilege.h"
#include "support/restrict.h"
#include "support/steer.h"
#include "support/test.h"
#include "sys/halt.h"

char why[NP_STEER_TEXT_MAX];

const enum foreign_shape steerable[STEERABLE] = { FOREIGN_PROCESSES, FOREIGN_THREADS,
						  FOREIGN_BLOCKING };

const struct refused refused[REFUSED] = {
	{ FOREIGN_SHARED, 3, 3, "3 tasks share" },
	{ FOREIGN_ALONE, 3, 3, "without SO_REUSEPORT" },
	{ FOREIGN_PROCESSES, 1, 1, "the only listener of its address" },
	{ FOREIGN_MPTCP, 2, 1, "MPTCP" },
};

int see(void *arg, const struct np_steer_listener *l)
{
	struct seen *s = arg;

	if (l->n_acceptors == 1 && s->alone < FOREIGN_MAX)
		s->acceptor[s->alone++] = l->acceptors[0];
	s->n++;
	s->steerable += l->can_be_steered;
	s->acceptors = l->n_acceptors;
	s->holders = l->n_holders;
	s->reuseport = l->reuseport;
	s->program = l->program;
	snprintf(s->address, sizeof s->address, "%s", l->address);
	snprintf(s->verdict, sizeof s->verdict, "%s", l->verdict);
	return 0;
}

struct seen look(const char *address)
{
	struct seen s = { 0 };
	int r = np_steer_listeners(NP_OPTS(np_steer_find_opts, .address = address, .error = why,
					   .error_cap = sizeof why),
				   see, &s);

	ck_assert_msg(r == 0, "%d %s", r, why);
	return s;
}

struct np_steer *given_service(const char *name, const char *policy)
{
	struct np_steer *s;
	int r = np_steer_load(name, NP_OPTS(np_steer_load_opts, .policy = policy, .error = why,
					    .error_cap = sizeof why));

	ck_assert_msg(r >= 0, "%s", why);
	r = np_steer_open(name,
			  NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN, .rescue = NP_OFF,
				  .error = why, .error_cap = sizeof why),
			  &s);
	ck_assert_msg(r == 0, "%s", why);
	return s;
}

int adopt(struct np_steer *s, const char *address)
{
	return np_steer_adopt(s, NP_OPTS(np_steer_adopt_opts, .address = address), NULL, NULL);
}

int release(struct np_steer *s)
{
	return np_steer_release(s, NP_OPTS(np_steer_adopt_opts));
}

void must_adopt(struct np_steer *s, const char *address, int n)
{
	int r = adopt(s, address);

	ck_assert_msg(r == n, "%d: %s", r, np_steer_error(s));
}

struct np_steer *given_adopted(struct foreign *f, const char *policy, enum foreign_shape shape,
			       unsigned n)
{
	struct np_steer *s = given_service("web", policy);

	ck_assert_int_eq(foreign_start(f, shape, n, FOREIGN_PORT), 0);
	must_adopt(s, FOREIGN_AT, (int)n);
	return s;
}

void end_adopted(struct np_steer *s, struct foreign *f)
{
	foreign_end(f);
	end_service(s, "web");
}

void must_release(struct np_steer *s, int n)
{
	int r = release(s);

	ck_assert_msg(r == n, "%d: %s", r, np_steer_error(s));
}

void fails(int r, int err, const char *part, const struct np_steer *s)
{
	ck_assert_msg(r == err, "%d, not %d: %s", r, err, np_steer_error(s));
	ck_assert_msg(strstr(np_steer_error(s), part) != NULL, "%s", np_steer_error(s));
}

struct np_steer_worker_info worker(struct np_steer *s, unsigned w)
{
	struct np_steer_worker_info i = { .sz = sizeof i };

	ck_assert_int_eq(np_steer_worker_info(s, w, &i), 0);
	return i;
}

unsigned workers(struct np_steer *s)
{
	unsigned n = 0;

	for (unsigned w = 0; w < 32; w++)
		n += worker(s, w).claimed;
	return n;
}

struct np_steer_stats stats(struct np_steer *s)
{
	struct np_steer_stats t = { .sz = sizeof t };

	ck_assert_int_eq(np_steer_stats(s, &t), 0);
	return t;
}

void expect_nothing_left(struct np_steer *s, const char *address, unsigned listeners)
{
	struct np_steer_garbage g = { .sz = sizeof g };
	struct seen now = look(address);

	ck_assert_uint_eq(now.n, listeners);
	ck_assert_int_eq(now.program, 0);
	ck_assert_uint_eq(workers(s), 0);
	ck_assert_int_eq(np_steer_gc(s, &g), 0);
	ck_assert_uint_eq(g.groups + g.roster + g.owners + g.workers, 0);
}

void end_service(struct np_steer *s, const char *name)
{
	ck_assert_int_eq(np_steer_close(&s), 0);
	ck_assert_int_eq(np_steer_unload(name, NULL), 0);
}

/* ------------------------------------------------------------------ watched */

static void adopted_nothing(int sig)
{
}

/* np_steer_keep() until SIGUSR1. Its result, once that has come. */
void keep(int sock, void *arg)
{
	const struct keeping *k = arg;
	struct np_steer *s;
	int r;

	sigaction(SIGUSR1, &(struct sigaction){ .sa_handler = adopted_nothing }, NULL);
	if (np_steer_open("web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN, .rescue = NP_OFF),
			  &s) < 0)
		child_fail("the service cannot be joined");
	r = np_steer_keep(s,
			  NP_OPTS(np_steer_adopt_opts,
				  .address = k->address ? k->address : FOREIGN_AT,
				  .hold_ms = k->hold_ms, .rescue = k->rescue),
			  -1);
	child_send(sock, &r, sizeof r);
	np_steer_close(&s);
}

void given_keeper(struct child *c, const struct keeping *k)
{
	child_start(c, keep, (void *)k);
}

/* A signal that comes a moment before the wait does not end it: the next one does. */
void end_keeper(struct child *c)
{
	struct pollfd over = { .fd = c->sock, .events = POLLIN };
	int r;

	do
		kill(c->pid, SIGUSR1);
	while (poll(&over, 1, 20) == 0);
	child_recv(c->sock, &r, sizeof r);
	ck_assert_int_eq(r, -EINTR);
	child_join(c);
}

void await_workers(struct np_steer *s, unsigned n)
{
	struct np_steer_garbage g = { .sz = sizeof g };

	AWAIT(workers(s) == n);
	ck_assert_int_eq(np_steer_gc(s, &g), 0);
}

int queue_up(const char *address, int fds[], int n)
{
	for (int i = 0; i < n; i++) {
		fds[i] = client_connect(address);
		if (fds[i] < 0)
			return fds[i];
	}
	return 0;
}

void expect_letters(int fds[], int n)
{
	char letter;

	for (int i = 0; i < n; i++) {
		await_fd(fds[i], POLLIN);
		ck_assert_msg(recv(fds[i], &letter, 1, 0) == 1, "client %d: %s", i,
			      strerror(errno));
		client_close(&fds[i]);
	}
}

bool given_cgroup(pid_t pid, char *dst, size_t cap)
{
	static const char *const roots[] = { "/sys/fs/cgroup/unified", "/sys/fs/cgroup" };
	char path[96];
	FILE *f;

	for (unsigned i = 0; i < 2; i++) {
		snprintf(dst, cap, "%s/np_test-%d", roots[i], getpid());
		snprintf(path, sizeof path, "%s/cgroup.procs", dst);
		if (mkdir(dst, 0755) < 0)
			continue;
		f = fopen(path, "we");
		if (f && fprintf(f, "%d\n", pid) > 0 && fclose(f) == 0)
			return true;
		rmdir(dst);
	}
	return false;
}

void stop_process(pid_t pid)
{
	ck_assert_int_eq(kill(pid, SIGSTOP), 0);
	AWAIT(sys_halt_of(pid) == SYS_HALT_STOPPED);
}

void run_apart(int sock, void *arg)
{
	const bool *rootless = arg;
	unsigned got[FOREIGN_MAX];
	struct foreign f;
	int r;

	if (*rootless)
		own_userns();
	if (own_netns() < 0)
		child_fail("no network namespace");
	r = foreign_start(&f, FOREIGN_PROCESSES, 2, FOREIGN_PORT);
	child_send(sock, &r, sizeof r);
	child_send(sock, &f.child.pid, sizeof f.child.pid);
	child_hear(sock);
	foreign_count(FOREIGN_AT, 40, got);
	child_send(sock, got, sizeof got);
	child_hear(sock);
	foreign_end(&f);
}

/* In a child with capabilities of the machine's root but the one that it takes. */
static void do_without_ptrace(int sock, void *arg)
{
	int (*deed)(struct np_steer * s) = arg;
	uint64_t all = 1ull << CAP_BPF | 1ull << CAP_PERFMON | 1ull << CAP_NET_ADMIN;
	struct np_steer *s;
	int r;

	become(0, all);
	r = np_steer_open("web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN, .rescue = NP_OFF),
			  &s);
	if (r < 0)
		child_fail("the service cannot be joined: %d", r);
	r = deed(s);
	child_send(sock, &r, sizeof r);
	snprintf(why, sizeof why, "%s", np_steer_error(s));
	child_send(sock, why, sizeof why);
}

void fails_without_ptrace(int (*deed)(struct np_steer *s))
{
	struct child c;
	int r;

	child_start(&c, do_without_ptrace, deed);
	child_recv(c.sock, &r, sizeof r);
	child_recv(c.sock, why, sizeof why);
	child_join(&c);
	ck_assert_int_eq(r, -EPERM);
	ck_assert_msg(strstr(why, "CAP_SYS_PTRACE") != NULL, "%s", why);
}

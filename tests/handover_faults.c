/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * handover_faults: a hand-over in which one call of either process fails, or is the last that it
 * makes
 *
 * What fails: each system call that the two make for it, and each allocation. No connection is lost
 * by it: it is in the one process or in the other, and no descriptor is left. Where a process is
 * killed, at points that a seed chooses (NP_KILLS of them), what is lost is what it had, and no
 * byte comes twice.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/handover.h"
#include "support/peer.h"
#include "support/sanitizer.h"
#include "support/test.h"
#include "sys/fault.h"

#ifdef NP_FAULT

#define PAIRS     3
#define COME_MS   1000 /* of one that cannot come, too */
#define ANSWER_MS 2000 /* of one that cannot answer, too */

static struct child old, next;
static struct hand_facts facts;
static char where[32], upstream[32];

/* What is to happen to a process: it is forked with it. */
static struct {
	enum sys_call call; /* SYS_CALL_MAX: an allocation */
	unsigned nth;
	int err;
} fault;

/* Of all processes. */
static struct shared {
	unsigned hits;
	unsigned calls[SYS_CALL_MAX];
} * shared;

/* ------------------------------------------------------------------ memory */

static _Atomic(int) fail_in, failed;

#ifndef OTHERS_MALLOC
static bool memory_fails(void)
{
	if (!fail_in || --fail_in)
		return false;
	errno = ENOMEM;
	failed++;
	return true;
}

#pragma GCC visibility push(default)
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t m);
void *__libc_realloc(void *p, size_t n);

void *malloc(size_t n)
{
	return memory_fails() ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t m)
{
	return memory_fails() ? NULL : __libc_calloc(n, m);
}

void *realloc(void *p, size_t n)
{
	return memory_fails() ? NULL : __libc_realloc(p, n);
}
#pragma GCC visibility pop
#endif

/* ------------------------------------------------------------------ in the process */

static void arm(void)
{
	for (int i = 0; i < SYS_CALL_MAX; i++)
		sys_fault_arm((enum sys_call)i, 0, 0); /* they are counted */
	if (fault.call < SYS_CALL_MAX)
		sys_fault_arm(fault.call, fault.nth, fault.err);
	else
		fail_in = (int)fault.nth;
}

/* From here on nothing happens to it any more. */
static void disarm(void)
{
	fail_in = 0;
	if (fault.call < SYS_CALL_MAX)
		shared->hits += (unsigned)sys_fault_hit(fault.call);
	shared->hits += (unsigned)failed;
	failed = 0;
	for (int i = 0; i < SYS_CALL_MAX; i++) {
		shared->calls[i] = sys_fault_calls((enum sys_call)i);
		sys_fault_arm((enum sys_call)i, 0, 0);
	}
}

static void given_shared(void)
{
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	ck_assert_ptr_ne(shared, MAP_FAILED);
	snprintf(where, sizeof where, "@np-faults-%d", (int)getpid());
}

static void given_processes(struct hand_opts o, bool sender)
{
	struct hand_opts n = o;

	memset(shared, 0, sizeof *shared);
	*(sender ? &o.before : &n.before) = arm;
	*(sender ? &o.asked : &n.asked) = disarm;
	hand_old(&old, &o, &facts);
	hand_new(&next, &n);
}

/* ------------------------------------------------------------------ a call that fails */

static int listener, client[PAIRS], up[PAIRS];

static void goes_through(int from, int to)
{
	char back[4] = "";

	peer_send(from, "abcd", 4);
	await_fd(to, POLLIN);
	peer_recv(to, back, 4);
	ck_assert_mem_eq(back, "abcd", 4);
}

static void given_pairs(void)
{
	for (int i = 0; i < PAIRS; i++) {
		client[i] = peer_connect(&facts.ss, facts.len);
		await_fd(listener, POLLIN);
		up[i] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		ck_assert_int_ge(up[i], 0);
		goes_through(client[i], up[i]);
		goes_through(up[i], client[i]);
	}
}

/* Wherever they are by now. */
static void then_each_pair_goes_on(void)
{
	for (int i = 0; i < PAIRS; i++) {
		goes_through(client[i], up[i]);
		goes_through(up[i], client[i]);
	}
}

static void end_pairs(void)
{
	struct hand_facts f;

	for (int i = 0; i < PAIRS; i++) {
		shutdown(client[i], SHUT_WR); /* processes that were forked have duplicates */
		shutdown(up[i], SHUT_WR);
		peer_close(&client[i]);
		peer_close(&up[i]);
	}
	hand_stop(&old, &f);
	hand_stop(&next, &f);
}

/* Return: whether there was such a call. */
static bool hand_over_with(bool sender, bool serving)
{
	struct child *struck = sender ? &old : &next;
	struct hand_opts o = { .pollers = 1, .steer = NP_STEER_OFF, .upstream = upstream };
	struct hand_facts f;
	bool well;

	given_processes(o, sender);
	given_pairs();
	hand_ask_over(&old, where, COME_MS, ANSWER_MS);
	hand_ask_take(&next, where, COME_MS);
	hand_hear(&next, &f);
	well = f.r == 0;
	hand_hear(&old, &f);
	well &= f.r == 0 && f.handed.handed == PAIRS;
	if (serving)
		hand_facts(struck, &f);
	then_each_pair_goes_on();
	hand_facts(struck, &f); /* behind the last of what may fail */
	end_pairs();
	if (!shared->hits && !well)
		fprintf(stderr, "a hand-over without a fault: %s\n", f.error);
	return shared->hits || !well;
}

static const struct {
	enum sys_call call;
	int err;
	bool serving; /* connections that are served need it as well, and end where it fails */
} faults[] = {
	{ SYS_sendmsg, EPIPE },     { SYS_sendmsg, ENOBUFS },     { SYS_getsockopt, ENOBUFS },
	{ SYS_setsockopt, EINVAL }, { SYS_socket, EMFILE },       { SYS_connect, EACCES },
	{ SYS_bind, EACCES },       { SYS_listen, EADDRINUSE },   { SYS_accept4, EMFILE },
	{ SYS_epoll_ctl, ENOMEM },  { SYS_epoll_ctl, ENOSPC },    { SYS_mmap, ENOMEM, true },
	{ SYS_thread, EAGAIN },     { SYS_getsockname, ENOBUFS }, { SYS_eventfd, EMFILE },
	{ SYS_open, EMFILE },       { SYS_CALL_MAX, ENOMEM },
};
#define N_FAULTS (int)(sizeof faults / sizeof faults[0])

/* The first ones one by one, and then further and further apart. */
static unsigned step_on(unsigned nth)
{
	return nth < 16 ? nth + 1 : nth + nth / 8;
}

START_TEST(what_fails_once_costs_no_connection)
{
	bool sender = _i >= N_FAULTS, struck = true;

	fault.call = faults[_i % N_FAULTS].call;
	fault.err = faults[_i % N_FAULTS].err;
#ifdef OTHERS_MALLOC
	if (fault.call == SYS_CALL_MAX)
		SKIP("the sanitizer has its own malloc");
#endif
	given_shared();
	listener = peer_listen(upstream, sizeof upstream);
	for (fault.nth = 1; struck; fault.nth = step_on(fault.nth)) {
		printf("%s: %s %u: %s\n", sender ? "old" : "new",
		       fault.call < SYS_CALL_MAX ? sys_fault_name(fault.call) : "memory", fault.nth,
		       strerror(fault.err));
		fflush(stdout);
		struck = hand_over_with(sender, faults[_i % N_FAULTS].serving);
	}
	close(listener);
}
END_TEST

/* ------------------------------------------------------------------ a call that is the last */

#define CLIENTS 24
#define KILLS   10

static const enum sys_call lasts[] = { SYS_sendmsg, SYS_recv,   SYS_epoll_ctl, SYS_getsockopt,
				       SYS_close,   SYS_socket, SYS_epoll_wait };

static int asking[CLIENTS];
static unsigned calls_of[2][SYS_CALL_MAX]; /* of the new one, the old one */
static unsigned seed, kills;

/* Each has been answered once, and has half of its next request here. */
static void given_clients(void)
{
	for (int i = 0; i < CLIENTS; i++) {
		asking[i] = peer_connect(&facts.ss, facts.len);
		ck_assert_uint_eq(hand_echo(asking[i]).count, 1);
		peer_send(asking[i], "\6\0\0", 3);
	}
}

/* Its second answer, from process @pid, or nothing at all. */
static bool is_answered(int fd, pid_t pid)
{
	char got[6 + sizeof(struct hand_answer)];
	struct hand_answer a;
	ssize_t n;

	if (send(fd, "\0ehello", 7, MSG_NOSIGNAL) < 0)
		return false;
	n = recv(fd, got, sizeof got, MSG_WAITALL);
	if (n <= 0)
		return false;
	ck_assert_int_eq(n, sizeof got);
	ck_assert_mem_eq(got, "ehello", 6);
	memcpy(&a, got + 6, sizeof a);
	ck_assert_uint_eq(a.count, 2);
	ck_assert_uint_eq(a.pid, (uint32_t)pid);
	return true;
}

static unsigned count_answered(pid_t pid)
{
	unsigned n = 0;

	for (int i = 0; i < CLIENTS; i++)
		n += is_answered(asking[i], pid);
	return n;
}

/* Its answer to the call, and to a question: from then on it is not killed any more. */
static bool is_there(const struct child *c)
{
	struct hand_facts f;

	return recv(c->sock, &f, sizeof f, MSG_WAITALL) == sizeof f &&
	       send(c->sock, "f", 1, MSG_NOSIGNAL) == 1 &&
	       recv(c->sock, &f, sizeof f, MSG_WAITALL) == sizeof f;
}

static void end_clients(struct child *rest, struct child *struck, bool killed)
{
	struct hand_facts f;

	for (int i = 0; i < CLIENTS; i++)
		peer_close(&asking[i]);
	hand_stop(rest, &f);
	if (!killed)
		hand_stop(struck, &f);
	else if (close(struck->sock) == 0)
		ck_assert_int_eq(waitpid(struck->pid, NULL, 0), struck->pid);
}

/* What the other one says, behind the call. */
static unsigned expected(bool sender, const struct hand_facts *said)
{
	struct hand_facts f;

	if (!sender)
		return CLIENTS - (unsigned)said->handed.handed;
	if (said->r < 0)
		return 0;
	hand_facts(&next, &f);
	return (unsigned)f.taken_over;
}

/* Return: whether it came to that. */
static bool hand_over_and_kill(bool sender)
{
	struct child *struck = sender ? &old : &next, *rest = sender ? &next : &old;
	struct hand_facts f;
	unsigned answered;
	bool killed;

	given_processes((struct hand_opts){ .pollers = 2, .steer = NP_STEER_OFF }, sender);
	given_clients();
	hand_ask_over(&old, where, COME_MS, ANSWER_MS);
	hand_ask_take(&next, where, COME_MS);
	hand_hear(rest, &f);
	killed = !is_there(struck);
	answered = count_answered(killed ? rest->pid : next.pid);
	ck_assert_uint_eq(answered, killed ? expected(sender, &f) : CLIENTS);
	if (fault.nth)
		printf("%s before %s %u: %s, %u of %d are answered\n", sender ? "old" : "new",
		       sys_fault_name(fault.call), fault.nth, killed ? "killed" : "not killed",
		       answered, CLIENTS);
	fflush(stdout);
	end_clients(rest, struck, killed);
	return killed;
}

static unsigned any(unsigned n)
{
	return (unsigned)rand_r(&seed) % n;
}

static void count_calls(void)
{
	fault.call = SYS_CALL_MAX;
	fault.nth = 0;
	for (int sender = 0; sender < 2; sender++) {
		ck_assert(!hand_over_and_kill(sender));
		memcpy(calls_of[sender], shared->calls, sizeof calls_of[sender]);
	}
}

static void kill_somewhere(void)
{
	bool sender = any(2);

	fault.call = lasts[any(sizeof lasts / sizeof lasts[0])];
	if (!calls_of[sender][fault.call])
		return;
	fault.nth = 1 + any(calls_of[sender][fault.call]);
	fault.err = SYS_FAULT_KILL;
	kills += hand_over_and_kill(sender);
}

/* NP_SEED says where to begin. */
START_TEST(a_process_that_is_killed_takes_what_it_had_and_no_more)
{
	const char *n = getenv("NP_KILLS"), *s = getenv("NP_SEED");
	unsigned wanted = n ? (unsigned)atoi(n) : KILLS;

	seed = s ? (unsigned)strtoul(s, NULL, 10) : (unsigned)now_ms();
	printf("NP_SEED=%u\n", seed);
	given_shared();
	count_calls();
	for (unsigned i = 0; i < 5 * wanted && kills < wanted; i++)
		kill_somewhere();
	printf("killed: %u\n", kills);
	ck_assert_uint_eq(kills, wanted);
}
END_TEST

#endif

void add_cases(Suite *s)
{
#ifdef NP_FAULT
	TCase *t = add_case(s, "handover_faults"), *k = add_case(s, "killed");

	tcase_add_test(k, a_process_that_is_killed_takes_what_it_had_and_no_more);
	tcase_add_loop_test(t, what_fails_once_costs_no_connection, 0, 2 * N_FAULTS);
#endif
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_disturbed: whatever is written into the maps while clients connect, no connection fails
 *
 * Garbage, by a member: with the watchdog at work on lines that lie. Only sockets are left alone,
 * which the kernel checks itself, and of the two words that together say "refuse" one is never
 * right. And another policy each millisecond. NP_DISTURB_MS: for how long.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "steer/steer.h"
#include "support/steer.h"
#include "support/test.h"

#define WORKERS 4
#define CLIENTS 2

struct load {
	struct rig r;
	_Atomic(bool) stop;
	/* after the last client: one that is under way then wants to be served too */
	_Atomic(bool) closed;
	_Atomic(unsigned) served, failed, shut, written;
};

static int disturb_ms(void)
{
	const char *ms = getenv("NP_DISTURB_MS");

	return ms ? atoi(ms) : 3000;
}

struct acceptor {
	struct load *load;
	unsigned i;
};

/* ------------------------------------------------------------------ the world */

static void *accept_loop(void *arg)
{
	struct acceptor *a = arg;
	struct load *l = a->load;
	struct pollfd p = { .fd = l->r.fd[a->i], .events = POLLIN };
	struct np_steer_worker *w = l->r.w[a->i];
	int fd;

	while (!l->closed) {
		np_steer_idle(w);
		poll(&p, 1, 20);
		np_steer_busy(w);
		while ((fd = accept4(p.fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
			np_steer_conn_inc(w);
			close(fd);
			np_steer_conn_dec(w);
		}
		if (errno == EINVAL) {
			l->shut++;
			/* may find no room among garbage; the socket listens all the same */
			np_steer_relisten(w, p.fd);
		}
	}
	np_steer_idle(w);
	return NULL;
}

/* Connected, accepted, closed by the server: anything else has failed. */
static bool is_served(const char *address)
{
	struct timeval t = { .tv_sec = AWAIT_MS / 1000 };
	int fd = client_connect(address);
	bool served;
	char c;

	if (fd < 0) {
		fprintf(stderr, "connect: %s\n", strerror(-fd));
		return false;
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
	served = recv(fd, &c, 1, 0) == 0;
	if (!served)
		fprintf(stderr, "recv: %s\n", strerror(errno));
	client_close(&fd);
	return served;
}

static void *connect_loop(void *arg)
{
	struct load *l = arg;

	while (!l->stop) {
		if (is_served(l->r.address))
			l->served++;
		else
			l->failed++;
	}
	return NULL;
}

/* ------------------------------------------------------------------ the garbage */

struct target {
	enum map which;
	uint32_t entries;
};

static const struct target targets[] = {
	{ MAP_np_workers, 8 }, { MAP_np_ctl, 8 },        { MAP_np_service, 1 },
	{ MAP_np_config, 1 },  { MAP_np_info, 8 },       { MAP_np_groups, 2 },
	{ MAP_np_roster, 8 },  { MAP_np_cpu2worker, 2 }, { MAP_np_cursor, 1 },
	{ MAP_np_health, 8 },  { MAP_np_table, 2 },      { MAP_np_owners, 0 },
};
#define TARGETS (sizeof targets / sizeof targets[0])

/* Often small, since most words count things. */
static uint32_t random_word(unsigned *seed)
{
	uint32_t w = (uint32_t)rand_r(seed) << 16 ^ (uint32_t)rand_r(seed);

	return rand_r(seed) % 2 ? w : w % 5;
}

/* One word in an entry of its map. */
static void spoil_entry(struct np_steer *s, const struct target *t, unsigned *seed)
{
	uint32_t key = (uint32_t)rand_r(seed) % t->entries;
	static uint32_t value[sizeof(struct np_table) / 4];
	struct bpf_map_info info;
	unsigned len = sizeof info;

	memset(&info, 0, sizeof info);
	ck_assert_int_eq(bpf_obj_get_info_by_fd(s->maps.fd[t->which], &info, &len), 0);
	if (map_lookup(&s->maps, t->which, &key, value) < 0)
		return;
	value[(unsigned)rand_r(seed) % (info.value_size / 4)] = random_word(seed);
	if (t->which == MAP_np_config)
		((struct np_config *)value)->rst_confirm &= ~1u; /* NP_RST_CONFIRM is odd */
	map_update(&s->maps, t->which, &key, value, BPF_ANY);
}

static void spoil_owner(struct np_steer *s, unsigned *seed)
{
	uint64_t cookie;
	uint32_t slot = random_word(seed);

	if (map_next_key(&s->maps, MAP_np_owners, NULL, &cookie) == 0)
		map_update(&s->maps, MAP_np_owners, &cookie, &slot, BPF_ANY);
}

static void *garbage_loop(void *arg)
{
	struct load *l = arg;
	unsigned seed = 11;

	while (!l->stop) {
		const struct target *t = &targets[(unsigned)rand_r(&seed) % TARGETS];

		if (t->entries)
			spoil_entry(l->r.s, t, &seed);
		else
			spoil_owner(l->r.s, &seed);
		if (++l->written % 64 == 0)
			test_pause();
	}
	return NULL;
}

/* -------------------------------------------------------------- another policy each millisecond */

static _Atomic(unsigned) decisions[32]; /* by policy in force */

static int hear(void *arg, const struct np_steer_decision *d)
{
	struct load *l = arg;

	for (unsigned i = 0; np_steer_policies(i); i++)
		if (!strcmp(np_steer_policies(i), d->policy))
			decisions[i]++;
	return l->stop;
}

static void *trace_loop(void *arg)
{
	struct load *l = arg;

	/* In pieces: once the load has ended no decision comes that could end it. */
	while (!l->stop)
		np_steer_trace(l->r.s, 65536 / 8, 200, hear, l);
	return NULL;
}

/* Each policy has been heard of; "auto" is a rule that says which one is in force. */
static bool each_decided(void)
{
	for (unsigned i = 0; np_steer_policies(i); i++)
		if (!decisions[i] && strcmp(np_steer_policies(i), "auto"))
			return false;
	return true;
}

static void *switch_loop(void *arg)
{
	struct load *l = arg;
	pthread_t tracing;
	unsigned n = 0;

	ck_assert_int_eq(pthread_create(&tracing, NULL, trace_loop, l), 0);
	while (!l->stop) {
		if (!np_steer_policies(n))
			n = 0;
		ck_assert_int_eq(np_steer_set_policy(l->r.s, np_steer_policies(n++)), 0);
		l->written++;
		test_pause(); /* a millisecond */
	}
	pthread_join(tracing, NULL);
	return NULL;
}

/* ------------------------------------------------------------------ the load */

static struct load l;

/* For as long as was asked for, and until @enough, where that is not NULL. */
static void connect_while(void *(*disturb)(void *), bool (*enough)(void))
{
	pthread_t accepting[WORKERS], connecting[CLIENTS], disturbing;
	struct acceptor acceptors[WORKERS];
	uint64_t end;

	write_file("/proc/sys/net/ipv4/ip_local_port_range", "1024 65535");
	rig_start(&l.r, WORKERS, NP_OPTS(np_steer_opts, .hang_ms = 40));
	for (unsigned i = 0; i < WORKERS; i++) {
		acceptors[i] = (struct acceptor){ &l, i };
		ck_assert_int_eq(pthread_create(&accepting[i], NULL, accept_loop, &acceptors[i]),
				 0);
	}
	for (unsigned i = 0; i < CLIENTS; i++)
		ck_assert_int_eq(pthread_create(&connecting[i], NULL, connect_loop, &l), 0);
	ck_assert_int_eq(pthread_create(&disturbing, NULL, disturb, &l), 0);
	for (end = now_ms() + (uint64_t)disturb_ms(); now_ms() < end && !l.failed;)
		test_pause();
	AWAIT(!enough || enough() || l.failed);
	l.stop = true;
	pthread_join(disturbing, NULL);
	for (unsigned i = 0; i < CLIENTS; i++)
		pthread_join(connecting[i], NULL);
	l.closed = true;
	for (unsigned i = 0; i < WORKERS; i++)
		pthread_join(accepting[i], NULL);
	fprintf(stderr, "%u words written, %u connections served, %u failed, %u listeners shut\n",
		l.written, l.served, l.failed, l.shut);
	ck_assert_uint_eq(l.failed, 0);
	ck_assert_uint_gt(l.served, 100);
}

START_TEST(no_connection_fails_whatever_is_in_the_maps)
{
	OWN_STEERING();
	if (under_tsan())
		SKIP("writes past the atomics on purpose");
	_Static_assert(NP_RST_CONFIRM & 1, "see spoil_entry()");
	connect_while(garbage_loop, NULL);
	/* The lines may say anything now: what rig_stop() asks them is not to be had. */
	for (unsigned i = 0; i < WORKERS; i++) {
		rig_close_listener(&l.r, i);
		__atomic_store_n(&steer_worker_line(l.r.w[i])->conns, 0, __ATOMIC_RELAXED);
		ck_assert_int_eq(np_steer_worker_close(&l.r.w[i]), 0);
	}
	ck_assert_int_eq(np_steer_close(&l.r.s), 0);
}
END_TEST

START_TEST(no_connection_fails_while_the_policy_is_another_each_millisecond)
{
	OWN_STEERING();
	connect_while(switch_loop, each_decided);
	for (unsigned i = 0; np_steer_policies(i); i++)
		fprintf(stderr, "%s %u  ", np_steer_policies(i), decisions[i]);
	fputc('\n', stderr);
	rig_stop(&l.r);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "disturbed");

	tcase_set_timeout(t, 240);
	tcase_add_test(t, no_connection_fails_whatever_is_in_the_maps);
	tcase_add_test(t, no_connection_fails_while_the_policy_is_another_each_millisecond);
}

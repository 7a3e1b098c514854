/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_count_adopted: connections counted by the kernel for servers that npsteer has adopted
 *
 * They are no workers before, and whoever adopts them ends: what is counted then is counted by no
 * process, and what their lines say is what they say themselves.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "count_abi.h"

#include "count.skel.h"
#include "steer/count.h"
#include "steer/steer.h"
#include "steer/tracer.h"
#include "support/child.h"
#include "support/keeper.h"
#include "support/killed.h"
#include "support/privilege.h"
#include "support/steer.h"
#include "support/test.h"
#include "support/traced.h"
#include "sys/process.h"

#define CROWD 400

static char why[NP_STEER_TEXT_MAX];

static void street_load(void)
{
	int r = np_steer_load("web",
			      NP_OPTS(np_steer_load_opts, .error = why, .error_cap = sizeof why));

	ck_assert_msg(r == 0, "%d %s", r, why);
}

/* Keepers that are no workers yet. */
static void street_fill(struct keeper *k, unsigned n, int *clients, unsigned live)
{
	for (unsigned i = 0; i < n; i++)
		keeper_start(&k[i], "127.0.0.1");
	for (unsigned i = 0; i < live; i++)
		clients[i] = keeper_client(KEEPER_AT, 'k');
	AWAIT(keeper_ask(&k[0]).live + keeper_ask(&k[1]).live == live);
}

/* Of a pinned service that nobody has open. */
static void street_open(struct keeper *k, unsigned n, int *clients, unsigned live)
{
	street_load();
	street_fill(k, n, clients, live);
}

static struct np_steer *street_join(void)
{
	struct np_steer *s;
	int r = np_steer_open("web",
			      NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN, .error = why,
				      .error_cap = sizeof why),
			      &s);

	ck_assert_msg(r == 0, "%d %s", r, why);
	return s;
}

static int street_adopt(bool no_count)
{
	struct np_steer *s = street_join();
	int r = np_steer_adopt(
		s, NP_OPTS(np_steer_adopt_opts, .address = KEEPER_AT, .no_count = no_count), NULL,
		NULL);

	ck_assert_msg(r == 2, "%d %s", r, np_steer_error(s));
	np_steer_close(&s);
	return r;
}

/* Of worker @w, which is @k: what its line says, once that is what @k says. */
static bool street_agrees(struct np_steer *s, struct keeper *k, unsigned w)
{
	struct np_steer_worker_info i;

	np_steer_worker_info_init(&i);
	ck_assert_int_eq(np_steer_worker_info(s, w, &i), 0);
	ck_assert(i.counted && i.adopted);
	for (unsigned n = 0; n < 2; n++)
		if (k[n].child.pid == i.pid)
			return i.conns == keeper_ask(&k[n]).live &&
			       i.accepted_total == keeper_ask(&k[n]).accepted;
	return false;
}

/* The same of what is live alone. */
static bool street_is_live(struct np_steer *s, struct keeper *k, unsigned w)
{
	struct np_steer_worker_info i;

	np_steer_worker_info_init(&i);
	ck_assert_int_eq(np_steer_worker_info(s, w, &i), 0);
	for (unsigned n = 0; n < 2; n++)
		if (k[n].child.pid == i.pid)
			return i.conns == keeper_ask(&k[n]).live;
	return false;
}

static uint64_t cookie_of(pid_t pid, int number)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof cookie;
	int fd = -1;

	ck_assert_int_eq(sys_process_take(pid, number, &fd), 0);
	ck_assert_int_eq(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len), 0);
	close(fd);
	return cookie;
}

/* Of all sockets, or where this kernel refuses that iterator, of those that have a descriptor. */
static bool tags_counted(struct np_steer *s, bool of_files, unsigned *ret)
{
	union bpf_iter_link_info about = { .map.map_fd = (uint32_t)s->maps.fd[MAP_np_tags] };
	LIBBPF_OPTS(bpf_iter_attach_opts, o, .link_info = of_files ? NULL : &about,
		    .link_info_len = of_files ? 0 : sizeof about);
	struct count_bpf *b = count_bpf__open();
	struct bpf_program *sweep = of_files ? b->progs.np_count_sweep_files :
					       b->progs.np_count_sweep;
	struct bpf_link *link;
	bool can;
	char none;
	int fd;

	bpf_program__set_autoload(sweep, true);
	ck_assert_int_eq(bpf_map__reuse_fd(b->maps.np_tags, s->maps.fd[MAP_np_tags]), 0);
	ck_assert_int_eq(bpf_map__reuse_fd(b->maps.np_workers, s->maps.fd[MAP_np_workers]), 0);
	can = count_bpf__load(b) == 0;
	if (can) {
		link = bpf_program__attach_iter(sweep, &o);
		ck_assert_ptr_nonnull(link);
		fd = bpf_iter_create(bpf_link__fd(link));
		ck_assert_int_eq(read(fd, &none, 1), 0);
		*ret = (unsigned)(b->bss->np_sweep.kept + b->bss->np_sweep.swept);
		close(fd);
		bpf_link__destroy(link);
	}
	count_bpf__destroy(b);
	return can;
}

static unsigned tags_left(struct np_steer *s)
{
	unsigned n;

	if (!tags_counted(s, false, &n))
		ck_assert(tags_counted(s, true, &n));
	return n;
}

static void no_tag_is_left(struct np_steer *s)
{
	ck_assert_uint_eq(tags_left(s), 0);
}

static void street_close(struct keeper *k, int *clients, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		close(clients[i]);
	for (unsigned i = 0; i < 2; i++)
		keeper_end(&k[i]);
	ck_assert_int_eq(np_steer_unload("web", NULL), 0);
}

#define NEEDS_PERFMON(s)                                                     \
	do {                                                                 \
		if (!count_is_on(s))                                         \
			SKIP("connections cannot be counted here: %s", why); \
	} while (0)

/* The process that adopted them has ended. */
START_TEST(adopted_servers_are_counted_by_no_process_and_nothing_is_left_after_release)
{
	struct np_steer_info info;
	struct np_steer *s;
	struct keeper k[2];
	int c[60];

	OWN_STEERING();
	street_open(k, 2, c, 40);
	street_adopt(false);
	s = street_join();
	NEEDS_PERFMON(s);
	np_steer_info_init(&info);
	ck_assert_int_eq(np_steer_info(s, &info), 0);
	ck_assert_int_eq(info.level, NP_STEER_L5);
	AWAIT(street_agrees(s, k, 0) && street_agrees(s, k, 1));
	for (unsigned i = 40; i < 60; i++)
		c[i] = keeper_client(KEEPER_AT, 'k');
	for (unsigned i = 0; i < 10; i++)
		close(c[i]);
	AWAIT(keeper_ask(&k[0]).live + keeper_ask(&k[1]).live == 50);
	AWAIT(street_agrees(s, k, 0) && street_agrees(s, k, 1));
	street_adopt(false); /* again: everything is there */
	ck_assert(street_agrees(s, k, 0) && street_agrees(s, k, 1));
	ck_assert_uint_ge(tags_left(s), 52);
	ck_assert_int_eq(np_steer_release(s, NP_OPTS(np_steer_adopt_opts, .address = NULL)), 2);
	ck_assert(!count_is_on(s));
	no_tag_is_left(s);
	ck_assert_uint_eq(s->maps.workers[0].conns | s->maps.workers[0].counted, 0);
	ck_assert_uint_eq(s->maps.service->seeding, 0);
	np_steer_close(&s);
	street_close(k, c + 10, 50);
}
END_TEST

static void adopt_street(void *arg)
{
	street_adopt(false);
}

/* A look at each descriptor would be one for each. What the machine's others do is some reads. */
START_TEST(an_adoption_makes_as_many_system_calls_whatever_connections_there_are)
{
	unsigned few, many;
	struct np_steer *s;
	struct keeper k[2];
	int c[CROWD + 4];

	OWN_STEERING();
	street_open(k, 2, c, 4);
	few = traced_calls(adopt_street, NULL);
	s = street_join();
	NEEDS_PERFMON(s);
	ck_assert_int_eq(np_steer_release(s, NULL), 2);
	for (unsigned i = 4; i < CROWD + 4; i++)
		c[i] = keeper_client(KEEPER_AT, 'k');
	AWAIT(keeper_ask(&k[0]).live + keeper_ask(&k[1]).live == CROWD + 4);
	many = traced_calls(adopt_street, NULL);
	ck_assert(street_agrees(s, k, 0) && street_agrees(s, k, 1));
	ck_assert_msg(many < few + CROWD / 10, "%u calls, and %u of %d more connections", few, many,
		      CROWD);
	np_steer_close(&s);
	street_close(k, c, CROWD + 4);
}
END_TEST

/* Whose connections are whose, of threads that share their descriptors, their epolls tell. */
START_TEST(threads_of_one_process_are_counted_each_for_itself)
{
	struct np_steer_worker_info i;
	struct np_steer *s;
	struct keeper k[3];
	bool met[3] = { false };
	int c[60];

	OWN_STEERING();
	ck_assert_int_eq(np_steer_load("web", NULL), 0);
	keeper_start_threads(k, 3, "127.0.0.1");
	for (unsigned n = 0; n < 60; n++)
		c[n] = keeper_client(KEEPER_AT, 'k');
	AWAIT(keeper_ask(&k[0]).live + keeper_ask(&k[1]).live + keeper_ask(&k[2]).live == 60);
	s = street_join();
	ck_assert_int_eq(np_steer_adopt(s, NP_OPTS(np_steer_adopt_opts, .address = KEEPER_AT), NULL,
					NULL),
			 3);
	NEEDS_PERFMON(s);
	for (unsigned w = 0; w < 3; w++) {
		np_steer_worker_info_init(&i);
		ck_assert_int_eq(np_steer_worker_info(s, w, &i), 0);
		for (unsigned n = 0; n < 3; n++)
			if (map_listener(&s->maps, NP_SLOT(0, w)) ==
			    cookie_of(k[n].child.pid, k[n].listener)) {
				ck_assert_uint_eq(i.conns, keeper_ask(&k[n]).live);
				met[n] = true;
			}
	}
	ck_assert(met[0] && met[1] && met[2]);
	ck_assert_int_eq(np_steer_release(s, NULL), 3);
	np_steer_close(&s);
	for (unsigned n = 0; n < 60; n++)
		close(c[n]);
	keeper_end_threads(k, 3);
	ck_assert_int_eq(np_steer_unload("web", NULL), 0);
}
END_TEST

START_TEST(gc_ends_the_counting_of_servers_that_have_gone)
{
	struct np_steer_garbage g;
	struct np_steer *s;
	struct keeper k[2];

	OWN_STEERING();
	np_steer_garbage_init(&g);
	street_open(k, 2, NULL, 0);
	street_adopt(false);
	s = street_join();
	NEEDS_PERFMON(s);
	s->maps.service->seeding = KEEPER_PORT;
	ck_assert_int_eq(np_steer_gc(s, &g), 0);
	ck_assert_uint_eq(s->maps.service->seeding, 0);
	ck_assert(count_is_on(s) && count_has(s, 0));
	for (unsigned i = 0; i < 2; i++)
		child_kill(&k[i].child);
	ck_assert_int_eq(np_steer_gc(s, &g), 0);
	ck_assert(!count_is_on(s) && !count_has(s, 0));
	no_tag_is_left(s);
	np_steer_close(&s);
	ck_assert_int_eq(np_steer_unload("web", NULL), 0);
}
END_TEST

START_TEST(who_asks_for_no_counting_gets_none)
{
	struct np_steer *s;
	struct keeper k[2];

	OWN_STEERING();
	street_open(k, 2, NULL, 0);
	street_adopt(true);
	s = street_join();
	ck_assert(!count_is_on(s) && !count_has(s, 0));
	no_tag_is_left(s);
	street_adopt(false); /* now it is asked for */
	ck_assert(count_is_on(s) && count_has(s, 0) && count_has(s, 1));
	np_steer_close(&s);
	street_close(k, NULL, 0);
}
END_TEST

/* In a child. */
static void without_perfmon(int sock, void *arg)
{
	void (*deed)(void) = arg;

	become(0, 1ull << CAP_BPF | 1ull << CAP_NET_ADMIN | 1ull << CAP_SYS_PTRACE);
	deed();
}

static void street_must_adopt(void)
{
	street_adopt(false);
}

static void do_without_perfmon(void (*deed)(void))
{
	struct child c;

	child_start(&c, without_perfmon, deed);
	child_join(&c);
}

/* Its load has pinned what finds and counts them: no kernel's BTF is read for an adoption. */
START_TEST(who_adopts_needs_no_perfmon_where_the_load_had_it)
{
	struct np_steer *s;
	struct keeper k[2];
	int c[20];

	OWN_STEERING();
	street_open(k, 2, c, 10);
	s = street_join();
	if (tracer_load(count_tracer(s)) < 0)
		SKIP("connections cannot be counted here: %s", count_tracer(s)->why);
	do_without_perfmon(street_must_adopt);
	ck_assert(count_is_on(s));
	for (unsigned i = 10; i < 20; i++)
		c[i] = keeper_client(KEEPER_AT, 'k');
	AWAIT(street_agrees(s, k, 0) && street_agrees(s, k, 1));
	do_without_perfmon(street_must_adopt); /* again: everything is there */
	ck_assert(street_agrees(s, k, 0) && street_agrees(s, k, 1));
	ck_assert_int_eq(np_steer_release(s, NULL), 2);
	ck_assert(!count_is_on(s));
	no_tag_is_left(s);
	np_steer_close(&s);
	street_close(k, c, 20);
}
END_TEST

START_TEST(without_perfmon_the_sockets_of_a_cgroup_are_counted_from_then_on)
{
	struct np_steer *s;
	struct keeper k[2];
	int c[40];

	OWN_STEERING();
	do_without_perfmon(street_load);
	street_fill(k, 2, c, 10);
	do_without_perfmon(street_must_adopt);
	s = street_join();
	if (!count_is_on(s))
		SKIP("this process has no cgroup2");
	for (unsigned i = 10; i < 40; i++)
		c[i] = keeper_client(KEEPER_AT, 'k');
	for (unsigned i = 10; i < 20; i++)
		close(c[i]);
	AWAIT(s->maps.workers[0].conns + s->maps.workers[1].conns == 20);
	for (unsigned i = 0; i < 10; i++)
		close(c[i]); /* those that were there count for nobody */
	AWAIT(keeper_ask(&k[0]).live + keeper_ask(&k[1]).live == 20);
	ck_assert_uint_eq(s->maps.workers[0].accepted_total + s->maps.workers[1].accepted_total,
			  30);
	ck_assert_uint_eq(s->maps.workers[0].closed_total + s->maps.workers[1].closed_total, 10);
	street_adopt(false); /* with all rights: both programs see the same, and count once */
	AWAIT(street_is_live(s, k, 0) && street_is_live(s, k, 1));
	for (unsigned i = 20; i < 30; i++)
		close(c[i]);
	AWAIT(keeper_ask(&k[0]).live + keeper_ask(&k[1]).live == 10);
	AWAIT(street_is_live(s, k, 0) && street_is_live(s, k, 1));
	ck_assert_int_eq(np_steer_release(s, NULL), 2);
	ck_assert(!count_is_on(s));
	no_tag_is_left(s);
	np_steer_close(&s);
	street_close(k, c + 30, 10);
}
END_TEST

#ifdef NP_FAULT

static int adopt_both(struct np_steer *s, void *arg)
{
	int r = np_steer_adopt(s, NP_OPTS(np_steer_adopt_opts, .address = KEEPER_AT), NULL, NULL);

	return r == 2 ? 0 : -1;
}

/* Killed, it may have counted some of them already, under a generation that goes on or has gone. */
START_TEST(an_adoption_that_was_killed_is_brought_to_its_end_by_the_next_one)
{
	struct strike x = { SYS_bpf, 1, SYS_FAULT_KILL };
	struct np_steer *s;
	struct keeper k[2];
	int c[20];

	OWN_STEERING();
	street_open(k, 2, c, 20);
	s = street_join();
	for (; killed_by(&x, "web", adopt_both, NULL); x.nth += x.nth / 2 + 1) {
		close(keeper_client(KEEPER_AT, 'c'));
		street_adopt(false);
		NEEDS_PERFMON(s);
		AWAIT(street_is_live(s, k, 0) && street_is_live(s, k, 1));
		close(c[x.nth % 20]);
		c[x.nth % 20] = keeper_client(KEEPER_AT, 'k');
		AWAIT(street_is_live(s, k, 0) && street_is_live(s, k, 1));
		ck_assert_int_eq(np_steer_release(s, NULL), 2);
		ck_assert(!count_is_on(s));
		no_tag_is_left(s);
	}
	np_steer_release(s, NULL);
	np_steer_close(&s);
	street_close(k, c, 20);
}
END_TEST

#endif

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "count");

	tcase_add_test(t,
		       adopted_servers_are_counted_by_no_process_and_nothing_is_left_after_release);
	tcase_add_test(t, threads_of_one_process_are_counted_each_for_itself);
	tcase_add_test(t, an_adoption_makes_as_many_system_calls_whatever_connections_there_are);
	tcase_add_test(t, gc_ends_the_counting_of_servers_that_have_gone);
	tcase_add_test(t, who_asks_for_no_counting_gets_none);
	tcase_add_test(t, who_adopts_needs_no_perfmon_where_the_load_had_it);
	tcase_add_test(t, without_perfmon_the_sockets_of_a_cgroup_are_counted_from_then_on);
#ifdef NP_FAULT
	tcase_add_test(t, an_adoption_that_was_killed_is_brought_to_its_end_by_the_next_one);
#endif
	tcase_set_timeout(t, 600);
}

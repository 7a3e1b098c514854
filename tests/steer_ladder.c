/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_ladder: which level whom gets, by rights and by what was asked for; and each level serves
 */
#include <sched.h>
#include <string.h>
#include <sys/socket.h>

#include "netpoll/steer_admin.h"
#include "support/child.h"
#include "support/privilege.h"
#include "support/steer.h"
#include "support/test.h"

#ifndef CAP_PERFMON
#define CAP_PERFMON 38
#endif

#define NOBODY 1234

struct rung {
	const char *who;
	uid_t uid;
	uint64_t caps;
	const char *service; /* to join; NULL: private */
	const char *policy;
	enum np_steer_level level;
	const char *reason; /* part of it */
};

static const struct rung ladder[] = {
	{ "root", 0, 0, NULL, "rr", NP_STEER_L4, "a private program" },
	{ "CAP_BPF", NOBODY, 1ull << CAP_BPF, NULL, "rr", NP_STEER_L3, "a private program" },
	{ "CAP_BPF and CAP_PERFMON", NOBODY, 1ull << CAP_BPF | 1ull << CAP_PERFMON, NULL, "rr",
	  NP_STEER_L4, "a private program" },
	{ "nobody, of a pinned service", NOBODY, 0, "web", "hash", NP_STEER_L4,
	  "joined the service" },
	{ "nobody, asking for cpu", NOBODY, 0, NULL, "cpu", NP_STEER_L1,
	  "may not load BPF programs" },
	{ "nobody", NOBODY, 0, NULL, "rr", NP_STEER_L0, "may not load BPF programs" },
	{ "CAP_PERFMON alone", NOBODY, 1ull << CAP_PERFMON, NULL, NULL, NP_STEER_L0,
	  "may not load BPF programs" },
};
#define RUNGS (int)(sizeof ladder / sizeof ladder[0])

static void climb(int sock, void *arg)
{
	const struct rung *rung = arg;
	struct np_steer_info info = { .sz = sizeof info };
	struct rig r;

	if (rung->uid)
		become(rung->uid, rung->caps);
	rig_open(&r, rung->service, NP_OPTS(np_steer_opts, .policy = rung->policy));
	for (unsigned i = 0; i < 4; i++)
		rig_worker(&r, "127.0.0.1:0");
	if (np_steer_info(r.s, &info) < 0 || info.level != (int)rung->level)
		child_fail("%s: level %d, not %d: %s", rung->who, info.level, (int)rung->level,
			   info.reason);
	if (!strstr(info.reason, rung->reason))
		child_fail("%s: reason \"%s\"", rung->who, info.reason);
	rig_drive(&r, 200);
	for (unsigned i = 0; i < 4; i++)
		if (!r.accepted[i] && rung->level != NP_STEER_L1)
			child_fail("%s: worker %u got nothing", rung->who, i);
	if (rung->level >= NP_STEER_L2 && rig_stats(&r).steered != 200)
		child_fail("%s: not all were steered", rung->who);
	rig_stop(&r);
	child_say(sock, 'k');
}

START_TEST(each_set_of_rights_has_its_level)
{
	struct rung rung = ladder[_i];
	struct child c;

	OWN_STEERING();
	if (rung.service)
		ck_assert_int_eq(np_steer_load(rung.service,
					       NP_OPTS(np_steer_load_opts, .for_group = true,
						       .gid = NOBODY)),
				 0);
	child_start(&c, climb, &rung);
	child_hear(c.sock);
	child_join(&c);
	if (rung.service)
		ck_assert_int_eq(np_steer_unload(rung.service, NULL), 0);
}
END_TEST

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof set, &set) < 0)
		child_fail("cannot pin to CPU %d", cpu);
}

/* On loopback the SYN is handled on the CPU that sends it. The one CPU is asked for before, the
 * other after listening. */
static void prefer_cpus(int sock, void *arg)
{
	struct rig r;

	become(NOBODY, 0);
	rig_open(&r, NULL, NP_OPTS(np_steer_opts, .policy = "cpu"));
	for (unsigned i = 0; i < 4; i++)
		rig_worker(&r, "127.0.0.1:0");
	if (np_steer_set_cpu(r.w[2], 0) < 0 || np_steer_set_cpu(r.w[1], 1) < 0)
		child_fail("%s", np_steer_error(r.s));
	pin(0);
	rig_drive(&r, 100);
	if (r.accepted[2] != 100)
		child_fail("worker 2 got %u of CPU 0", r.accepted[2]);
	pin(1);
	rig_drive(&r, 100);
	if (r.accepted[1] != 100)
		child_fail("worker 1 got %u of CPU 1", r.accepted[1]);
	rig_stop(&r);
	child_say(sock, 'k');
}

START_TEST(level_1_gives_to_the_worker_of_the_syns_cpu)
{
	struct child c;
	cpu_set_t all;

	OWN_STEERING();
	ck_assert_int_eq(sched_getaffinity(0, sizeof all, &all), 0);
	if (!CPU_ISSET(0, &all) || !CPU_ISSET(1, &all))
		SKIP("needs CPUs 0 and 1");
	child_start(&c, prefer_cpus, NULL);
	child_hear(c.sock);
	child_join(&c);
}
END_TEST

START_TEST(level_1_is_not_had_where_it_was_not_asked_for)
{
	struct np_steer_info info = { .sz = sizeof info };
	struct np_steer *s;

	ck_assert_int_eq(
		np_steer_open(NULL, NP_OPTS(np_steer_opts, .mode = NP_STEER_OFF, .policy = "cpu"),
			      &s),
		0);
	ck_assert_int_eq(np_steer_info(s, &info), 0);
	ck_assert_int_eq(info.level, NP_STEER_L0);
	ck_assert_str_eq(info.policy, "kernel");
	ck_assert_int_eq(np_steer_close(&s), 0);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "ladder");

	tcase_add_loop_test(t, each_set_of_rights_has_its_level, 0, RUNGS);
	tcase_add_test(t, level_1_gives_to_the_worker_of_the_syns_cpu);
	tcase_add_test(t, level_1_is_not_had_where_it_was_not_asked_for);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * npsteer: every verb, in text and JSON, its sentences and exit codes, and that nothing stays
 * behind
 *
 * Each test has mount and network namespaces of its own: /run and /sys/fs/bpf start empty and
 * without a BPF file system, and everything npsteer mounts or pins ends with the test.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "netpoll/steer.h"
#include "steer_abi.h"
#include "support/json.h"
#include "support/test.h"
#include "support/tool.h"

#define USUAL "/sys/fs/bpf"
#define OWN   "/run/netpoll/bpf"

/* ------------------------------------------------------------------ then */

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

static bool is_bpffs(const char *path)
{
	struct statfs f;

	return statfs(path, &f) == 0 && (unsigned)f.f_type == 0xcafe4a11u;
}

/* ------------------------------------------------------------------ load and unload */

START_TEST(load_mounts_a_missing_bpffs_and_says_so)
{
	struct ran r;

	NEEDS_RIGHTS();
	npsteer(&r, "load web");

	ck_assert_int_eq(r.code, DONE);
	must_have(r.out, "mounted a BPF file system at " USUAL "\n");
	must_have(r.out, "web loaded: level 4, policy auto, in " USUAL "/netpoll/web\n");
	ck_assert(is_bpffs(USUAL) && exists(USUAL "/netpoll/web/np_stats"));
	ran_free(&r);
}
END_TEST

START_TEST(load_again_is_success_and_changes_nothing)
{
	char *a;

	NEEDS_RIGHTS();
	must("load web --policy rr");

	a = answer("load web");
	must_have(a, "\"already\":true,\"mounted\":null");
	must_have(a, "\"policy\":\"rr\"");
	free(a);
}
END_TEST

START_TEST(load_answers_with_what_it_made)
{
	char *a;

	NEEDS_RIGHTS();
	a = answer("load --hang-ms 0 --policy cpu");

	ck_assert_str_eq(a, "{\"schema\":1,\"service\":\"default\",\"path\":\"" USUAL
			    "/netpoll/default\","
			    "\"already\":false,\"mounted\":\"" USUAL
			    "\",\"level\":4,\"policy\":\"cpu\",\"hang_ms\":0}\n");
	free(a);
}
END_TEST

START_TEST(unload_removes_every_pin)
{
	char *a;

	NEEDS_RIGHTS();
	must("load web");
	a = answer("unload web");

	ck_assert_str_eq(a, "{\"schema\":1,\"service\":\"web\",\"unloaded\":true}\n");
	ck_assert(!exists(USUAL "/netpoll/web"));
	free(a);
	fails_with(ABSENT, "no service web", "unload web");
}
END_TEST

START_TEST(a_service_with_workers_is_neither_unloaded_nor_replaced)
{
	struct server s;

	NEEDS_RIGHTS();
	must("load web");
	given_server(&s, "web");

	fails_with(BUSY, "1 worker", "unload web");
	fails_with(BUSY, "1 worker", "load web --force");
	connect_times(&s, 1);

	server_end(&s);
	must("load web --force");
	must("unload web");
}
END_TEST

START_TEST(unload_with_force_leaves_the_workers_at_work)
{
	struct server s;

	NEEDS_RIGHTS();
	must("load web");
	given_server(&s, "web");
	must("unload web --force");

	ck_assert(!exists(USUAL "/netpoll/web"));
	connect_times(&s, 3);
	server_end(&s);
}
END_TEST

START_TEST(a_group_that_cannot_pass_gets_a_bpffs_of_our_own)
{
	struct ran r;
	char *a;

	NEEDS_RIGHTS();
	ck_assert_int_eq(mount("bpf", USUAL, "bpf", 0, "mode=0700"), 0);
	a = answer("load web --group 4321");

	must_have(a, "\"mounted\":\"" OWN "\"");
	must_have(a, "\"path\":\"" OWN "/netpoll/web\"");
	free(a);

	npsteer_as(&r, 4321, "-j status web");
	ck_assert_msg(r.code == DONE, "%s", r.out);
	ran_free(&r);
	npsteer_as(&r, 1234, "status web");
	ck_assert_int_eq(r.code, DENIED);
	ran_free(&r);
	/* It stays where it is. */
	a = answer("load web");
	must_have(a, "\"path\":\"" OWN "/netpoll/web\",\"already\":true");
	free(a);
	must("unload web");
}
END_TEST

START_TEST(a_group_that_cannot_pass_the_given_place_is_told_where)
{
	NEEDS_RIGHTS();
	ck_assert_int_eq(mount("bpf", USUAL, "bpf", 0, "mode=0700"), 0);

	fails_with(DENIED, "because " USUAL " has mode", "load web --group 4321 --bpffs " USUAL);
	ck_assert(!exists(USUAL "/netpoll/web"));
}
END_TEST

START_TEST(a_load_that_fails_takes_its_mount_back)
{
	static const char *const wrong[][2] = {
		{ "load a.b", "no name for a service" },
		{ "load web --policy nonesuch", "no policy" },
		{ "load web --group nonesuch", "no group" },
		{ "load web --hang-ms soon", "milliseconds" },
	};

	NEEDS_RIGHTS();
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		fails_with(MISUSED, wrong[i][1], wrong[i][0]);
		ck_assert(!is_bpffs(USUAL));
	}
}
END_TEST

START_TEST(short_of_memory_no_lower_level_is_pinned)
{
	struct ran r;

	NEEDS_RIGHTS();
	if (under_asan())
		SKIP("ASan takes terabytes of address space");
	sh(&r, "ulimit -v 13000; '%s/npsteer' load web", tool_dir);
	ck_assert_msg(r.code != DONE, "%s", r.out);
	must_have(r.err, "memory");
	ck_assert(!exists(USUAL "/netpoll/web"));
	ran_free(&r);
	must("load web");
}
END_TEST

/* On a bpffs as `mount -t bpf bpf DIR` makes it a stranger came first. The next place is used. */
START_TEST(a_strangers_folder_hides_no_service)
{
	struct ran r;
	char *a;

	NEEDS_RIGHTS();
	must("load web --bpffs " USUAL);
	must_sh("mkdir -p " OWN " && mount --move " USUAL " " OWN);
	ck_assert_int_eq(mount("bpf", USUAL, "bpf", 0, NULL), 0);
	must_sh("setpriv --reuid 1234 --regid 1234 --clear-groups mkdir -p " USUAL "/netpoll/web");

	a = answer("status web");
	must_have(a, "\"path\":\"" OWN "/netpoll/web\"");
	free(a);
	a = answer("status");
	must_have(a, "\"path\":\"" OWN "/netpoll/web\"");
	free(a);
	a = answer("check");
	must_have(a, USUAL "/netpoll belongs to uid 1234");
	free(a);
	must("unload web");
	npsteer(&r, "load web");
	ck_assert_int_eq(r.code, DENIED);
	must_have(r.err, "belongs to uid 1234");
	ck_assert(exists(USUAL "/netpoll/web"));
	ran_free(&r);
}
END_TEST

/* Of a RuntimeDirectory=netpoll, say: whose folder it is could put another in its place. */
START_TEST(nothing_is_mounted_where_a_stranger_owns_the_way)
{
	NEEDS_RIGHTS();
	must_sh("mkdir -p " OWN " && chown 1234:1234 /run/netpoll");
	ck_assert_int_eq(mount("bpf", USUAL, "bpf", 0, "mode=0700"), 0);

	fails_with(DENIED, "others may write or own", "load web --group 4321");
	ck_assert(!is_bpffs(OWN));
	must_sh("rm -r /run/netpoll && ln -s '%s' /run/netpoll", tool_dir);
	fails_with(FAILED, "Not a directory", "load web --group 4321");
	must_sh("! test -e '%s/bpf'", tool_dir);
}
END_TEST

/* ------------------------------------------------------------------ rights, kernels, ABIs */

START_TEST(without_rights_the_sentence_asks_for_root)
{
	static const char *const words[] = { "load web",      "load new",  "unload web",
					     "policy web rr", "stats web", "status web" };
	struct ran r;

	NEEDS_RIGHTS();
	must("load web");
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		npsteer_as(&r, 1234, words[i]);
		ck_assert_msg(r.code == DENIED, "npsteer %s: exit %d %s", words[i], r.code, r.err);
		ck_assert_msg(strstr(r.err, "root") || strstr(r.err, "--group"), "npsteer %s: %s",
			      words[i], r.err);
		ran_free(&r);
	}
}
END_TEST

START_TEST(without_rights_a_missing_bpffs_is_explained)
{
	struct ran r;

	NEEDS_RIGHTS();
	npsteer_as(&r, 1234, "load web");

	ck_assert_int_eq(r.code, DENIED);
	must_have(r.err, "as root, `mount -t bpf -o mode=0755 bpf " USUAL "`");
	ran_free(&r);
	fails_with(ABSENT, "no BPF file system at " USUAL, "status");
}
END_TEST

START_TEST(a_member_of_the_group_sees_but_does_not_set)
{
	struct ran r;

	NEEDS_RIGHTS();
	must("load web --group 4321");

	npsteer_as(&r, 4321, "stats web");
	ck_assert_msg(r.code == DONE, "%s", r.err);
	ran_free(&r);
	npsteer_as(&r, 4321, "policy web rr");
	ck_assert_int_eq(r.code, DENIED);
	ran_free(&r);
}
END_TEST

/* From here on bpf(2) is a system call this kernel has never heard of. */
static void given_no_bpf(void)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_bpf, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = { .len = sizeof f / sizeof f[0], .filter = f };

	ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p), 0);
}

START_TEST(a_kernel_without_bpf_is_named)
{
	struct ran r;

	NEEDS_RIGHTS();
	ck_assert_int_eq(mount("bpf", USUAL, "bpf", 0, NULL), 0);
	given_no_bpf();

	fails_with(UNSUPPORTED, "CONFIG_BPF_SYSCALL", "load web");
	npsteer(&r, "check");
	ck_assert_int_eq(r.code, UNSUPPORTED);
	must_have(r.out, "level 0: ");
	ran_free(&r);
}
END_TEST

/* Pins as a library of another ABI would have left them. */
static void given_other_abi(const char *path)
{
	struct np_config *c;
	union bpf_attr a;
	int fd;

	memset(&a, 0, sizeof a);
	a.pathname = (uintptr_t)path;
	fd = (int)syscall(SYS_bpf, BPF_OBJ_GET, &a, sizeof a);
	ck_assert_int_ge(fd, 0);
	c = mmap(NULL, sizeof *c, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert(c != MAP_FAILED);
	c->abi = 101;
	munmap(c, sizeof *c);
	close(fd);
}

START_TEST(pins_of_another_abi_are_refused_and_named)
{
	NEEDS_RIGHTS();
	must("load web");
	given_other_abi(USUAL "/netpoll/web/np_config");

	fails_with(FOREIGN, "of ABI 101 ", "status web");
	fails_with(FOREIGN, "of ABI 101 ", "policy web rr");
	fails_with(FOREIGN, "of ABI 101 ", "load web");
	must("status"); /* of all: one that is foreign does not hide the others */
	must("load web --force");
	must("status web");
}
END_TEST

/* ------------------------------------------------------------------ looking */

START_TEST(status_shows_who_serves_what)
{
	char *a, want[128];
	struct server s;

	NEEDS_RIGHTS();
	must("load web");
	given_server(&s, "web");
	connect_times(&s, 5);
	a = answer("status web");

	ck_assert_int_eq(json_number(a, "services.groups.listeners"), 1);
	ck_assert_int_eq(json_number(a, "services.workers.accepted_total"), 5);
	ck_assert_int_eq(json_number(a, "services.workers.closed_total"), 5);
	ck_assert_int_eq(json_number(a, "services.workers.pid"), getpid());
	snprintf(want, sizeof want, "\"address\":\"127.0.0.1:%d\"", ntohs(s.at.sin_port));
	must_have(a, want);
	must_have(a, "\"name\":\"a \\\"worker\\\"\",\"state\":\"ready\"");
	free(a);
	server_end(&s);

	a = answer("status web");
	must_have(a, "\"workers\":[]");
	free(a);
}
END_TEST

START_TEST(status_lists_every_service)
{
	char *a;

	NEEDS_RIGHTS();
	must("load one");
	must("load two");
	a = answer("status");

	must_have(a, "\"service\":\"one\"");
	must_have(a, "\"service\":\"two\"");
	free(a);
}
END_TEST

START_TEST(stats_count_each_connection_once)
{
	struct server s;
	char *a;

	NEEDS_RIGHTS();
	must("load web");
	given_server(&s, "web");
	connect_times(&s, 7);
	a = answer("stats web");

	ck_assert_int_eq(json_number(a, "total.syn_total"), 7);
	ck_assert_int_eq(json_number(a, "total.steered"), 7);
	ck_assert_int_eq(json_number(a, "workers.accepted_total"), 7);
	ck_assert_int_eq(json_number(a, "workers.steered"), 7);
	ck_assert_int_eq(json_number(a, "groups.address.workers.steered"), 7);
	free(a);
	server_end(&s);
}
END_TEST

START_TEST(stats_are_what_bpftool_dumps_by_name)
{
	struct server s;

	NEEDS_RIGHTS();
	must("load web");
	given_server(&s, "web");
	connect_times(&s, 3);

	must_sh("PATH=$PATH:/usr/sbin:/sbin; bpftool map dump pinned " USUAL
		"/netpoll/web/np_stats | awk '/\"syn_total\":/ { n += $2 } END { exit n != 3 }'");
	server_end(&s);
}
END_TEST

START_TEST(stats_watch_prints_as_many_lines_as_asked)
{
	char *second, *last;
	struct ran r;
	int lines = 0;

	NEEDS_RIGHTS();
	must("load web");
	npsteer(&r, "-j stats web -w 0.01 -n 2");

	ck_assert_int_eq(r.code, DONE);
	second = strchr(r.out, '\n');
	ck_assert_ptr_nonnull(second);
	*second++ = '\0';
	ck_assert(json_valid(r.out) && json_valid(second));
	ck_assert_int_eq(json_number(r.out, "per_second.steered"), 0);
	ran_free(&r);

	npsteer(&r, "stats web -w 0.01 -n 3");
	ck_assert_int_eq(r.code, DONE);
	for (last = strchr(r.out, '\n'); last; last = strchr(last + 1, '\n'))
		lines++;
	ck_assert_int_eq(lines, 1 + 3); /* the heading too */
	ran_free(&r);
}
END_TEST

START_TEST(policy_shows_switches_and_refuses)
{
	char *a;

	NEEDS_RIGHTS();
	must("load web");
	a = answer("policy web");
	must_have(a, "\"policy\":\"auto\",\"hang_ms\":100,\"policies\":[\"hash\",\"rr\"");
	free(a);

	a = answer("policy web rr hang_ms=250");
	must_have(a, "\"policy\":\"rr\",\"hang_ms\":250");
	free(a);

	fails_with(MISUSED, "no policy \"nonesuch\"", "policy web nonesuch");
	fails_with(MISUSED, "milliseconds", "policy web hang_ms=-1");
	fails_with(ABSENT, "no service other", "policy other rr");
	a = answer("policy web");
	must_have(a, "\"policy\":\"rr\",\"hang_ms\":250");
	free(a);
}
END_TEST

START_TEST(check_tells_level_and_findings)
{
	char *a;

	NEEDS_RIGHTS();
	a = answer("check");
	ck_assert_int_eq(json_number(a, "level"), 4);
	must_have(a, USUAL " is not mounted");
	ck_assert(!is_bpffs(USUAL));
	free(a);

	must("load web --group 4321");
	a = answer("check --group 4321");
	must_have(a, USUAL " can be reached by group 4321");
	must_have(a, "web can be joined: level 4");
	free(a);
}
END_TEST

START_TEST(check_tells_who_keeps_a_group_out)
{
	char *a;

	NEEDS_RIGHTS();
	ck_assert_int_eq(mount("bpf", USUAL, "bpf", 0, "mode=0700"), 0);
	a = answer("check --group 4321");

	must_have(a, "cannot be reached by group 4321, because " USUAL " has mode");
	free(a);
}
END_TEST

START_TEST(check_without_rights_names_the_capability)
{
	struct ran r;

	NEEDS_RIGHTS();
	npsteer_as(&r, 1234, "-j check");

	ck_assert_int_eq(r.code, DENIED);
	ck_assert(json_valid(r.out));
	ck_assert_int_eq(json_number(r.out, "level"), 0);
	must_have(r.out, "{\"name\":\"CAP_BPF\",\"state\":\"lacking\"");
	ran_free(&r);
}
END_TEST

/* ------------------------------------------------------------ the command line; needs no rights */

START_TEST(a_wrong_command_line_is_refused_in_one_sentence)
{
	static const char *const wrong[][2] = {
		{ "frobnicate", "no verb \"frobnicate\"" },
		{ "status --frobnicate", "unknown option --frobnicate" },
		{ "load --policy", "--policy needs a value" },
		{ "unload --policy rr", "unload takes no --policy" },
		{ "check web", "\"web\" is one word too many" },
		{ "load web now", "\"now\" is one word too many" },
		{ "stats -w soon", "-w takes seconds" },
		{ "stats -n 3", "-n counts the lines of -w" },
		{ "stats -w 1 -n 0", "-n takes a number" },
	};

	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		struct ran r;

		npsteer(&r, wrong[i][0]);
		ck_assert_msg(r.code == MISUSED, "npsteer %s: exit %d", wrong[i][0], r.code);
		must_have(r.err, wrong[i][1]);
		ran_free(&r);
		/* -j in front: behind an option without its value it would be that value */
		sh(&r, "'%s/npsteer' -j %s", tool_dir, wrong[i][0]);
		ck_assert_int_eq(r.code, MISUSED);
		ck_assert(json_valid(r.out));
		ran_free(&r);
	}
}
END_TEST

START_TEST(help_and_version_need_nothing)
{
	struct ran r;

	npsteer(&r, "help");
	ck_assert_int_eq(r.code, DONE);
	must_have(r.out, "usage: npsteer");
	ran_free(&r);
	npsteer(&r, "--version");
	ck_assert_int_eq(r.code, DONE);
	ran_free(&r);
	npsteer(&r, "");
	ck_assert_int_eq(r.code, MISUSED);
	ran_free(&r);
}
END_TEST

START_TEST(an_answer_that_cannot_be_written_is_no_success)
{
	struct ran r;

	sh(&r, "'%s/npsteer' help > /dev/full", tool_dir);
	ck_assert_int_eq(r.code, FAILED);
	must_have(r.err, "cannot be written");
	ran_free(&r);
}
END_TEST

START_TEST(a_line_without_a_verb_is_answered_in_json_too)
{
	struct ran r;

	sh(&r, "'%s/npsteer' -j", tool_dir);
	ck_assert_int_eq(r.code, MISUSED);
	must_have(r.out, "\"error\":{\"code\":2");
	ran_free(&r);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "npsteer"), *line = add_case(s, "line");

	tcase_add_checked_fixture(t, tool_setup, tool_teardown);
	tcase_add_test(t, load_mounts_a_missing_bpffs_and_says_so);
	tcase_add_test(t, load_again_is_success_and_changes_nothing);
	tcase_add_test(t, load_answers_with_what_it_made);
	tcase_add_test(t, unload_removes_every_pin);
	tcase_add_test(t, a_service_with_workers_is_neither_unloaded_nor_replaced);
	tcase_add_test(t, unload_with_force_leaves_the_workers_at_work);
	tcase_add_test(t, a_group_that_cannot_pass_gets_a_bpffs_of_our_own);
	tcase_add_test(t, a_group_that_cannot_pass_the_given_place_is_told_where);
	tcase_add_test(t, a_load_that_fails_takes_its_mount_back);
	tcase_add_test(t, short_of_memory_no_lower_level_is_pinned);
	tcase_add_test(t, a_strangers_folder_hides_no_service);
	tcase_add_test(t, nothing_is_mounted_where_a_stranger_owns_the_way);
	tcase_add_test(t, without_rights_the_sentence_asks_for_root);
	tcase_add_test(t, without_rights_a_missing_bpffs_is_explained);
	tcase_add_test(t, a_member_of_the_group_sees_but_does_not_set);
	tcase_add_test(t, a_kernel_without_bpf_is_named);
	tcase_add_test(t, pins_of_another_abi_are_refused_and_named);
	tcase_add_test(t, status_shows_who_serves_what);
	tcase_add_test(t, status_lists_every_service);
	tcase_add_test(t, stats_count_each_connection_once);
	tcase_add_test(t, stats_are_what_bpftool_dumps_by_name);
	tcase_add_test(t, stats_watch_prints_as_many_lines_as_asked);
	tcase_add_test(t, policy_shows_switches_and_refuses);
	tcase_add_test(t, check_tells_level_and_findings);
	tcase_add_test(t, check_tells_who_keeps_a_group_out);
	tcase_add_test(t, check_without_rights_names_the_capability);
	tcase_add_test(t, a_wrong_command_line_is_refused_in_one_sentence);
	tcase_add_test(t, help_and_version_need_nothing);
	tcase_add_checked_fixture(line, tool_setup, tool_teardown);
	tcase_add_test(line, an_answer_that_cannot_be_written_is_no_success);
	tcase_add_test(line, a_line_without_a_verb_is_answered_in_json_too);
}

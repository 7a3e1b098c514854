/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tutorial: the programs that doc/tutorial.md and the README print, compiled as printed, doing what
 * the page says
 *
 * Each test that runs one has a network namespace of its own, where the page's port is free.
 */
#include <stdlib.h>

#include "support/compiler.h"
#include "support/run.h"
#include "support/test.h"

static char *dir;
static const char *build;

static void setup(void)
{
	build = getenv("NP_BUILD") ? getenv("NP_BUILD") : "build";
	dir = temp_dir();
	must_sh("scripts/doc-programs '%s' README.md doc/tutorial.md", dir);
}

static void teardown(void)
{
	remove_tree(&dir);
}

/* Once for all tests. */
static void given(const char *program)
{
	must_sh("test ! -x '%2$s/%3$s' || exit 0; b=$(realpath '%1$s') && i=$(realpath include) && cd '%2$s' && "
		"%4$s -Wall -Wextra -Wno-unused-parameter -Werror -pthread -I\"$i\" %3$s.c -o %3$s "
		"-L\"$b\" -lnetpoll-bpf -Wl,-rpath,\"$b\"",
		build, dir, program, compiler_c());
}

/*
 * A shell in $dir with: start PROGRAM ARGS, which leaves its process number in $pid and returns
 * when it answers; await COMMAND, until it succeeds. What is left running at its end is killed.
 */
#define SHELL                                                                                     \
	"cd '%1$s'; export NP_BPFFS=/nowhere; all=; trap 'kill -9 $all 2>/dev/null' EXIT; "       \
	"start() { \"$@\" > out.$# 2>&1 & pid=$!; all=\"$all $pid\"; for i in $(seq 400); do "    \
	"[ \"$(./client 127.0.0.1:7000 'add 1 1' 2>/dev/null)\" = 2 ] && return; sleep 0.05; "    \
	"done; cat out.$#; return 1; }; "                                                         \
	"await() { for i in $(seq 400); do \"$@\" > /dev/null 2>&1 && return; sleep 0.05; done; " \
	"echo \"in vain: $*\"; return 1; }; "

#define OWN_PORT()                                                     \
	do {                                                           \
		if (!can_root() || own_netns() < 0)                    \
			SKIP("needs root and network namespaces: its " \
			     "port is fixed");                         \
	} while (0)

START_TEST(every_program_compiles_as_printed)
{
	given("server");
	given("client");
	given("service");
	given("echo");
}
END_TEST

START_TEST(the_readmes_server_is_short_and_echoes)
{
	OWN_PORT();
	given("echo");

	must_sh(SHELL "test $(wc -l < echo.c) -le 30 && { ./echo & all=$!; } && "
		      "await sh -c \"echo hello | nc -N localhost 7000 | grep -qx hello\"",
		dir);
}
END_TEST

START_TEST(the_readmes_cxx_server_echoes)
{
	OWN_PORT();
	NEEDS_CXX();
	must_sh("b=$(realpath '%1$s') && i=$(realpath include) && cd '%2$s' && "
		"%3$s -std=c++17 -Wall -Wextra -Werror -pthread -I\"$i\" echo.cc -o echo-cxx "
		"-L\"$b\" -lnetpoll-bpf -Wl,-rpath,\"$b\"",
		build, dir, compiler_cxx());
	must_sh(SHELL "{ ./echo-cxx & all=$!; } && "
		      "await sh -c \"echo hello | nc -N localhost 7000 | grep -qx hello\"",
		dir);
}
END_TEST

START_TEST(the_readmes_server_says_why_it_cannot_listen)
{
	OWN_PORT();
	given("echo");

	must_sh(SHELL
		"{ ./echo & all=$!; } && await sh -c \"echo | nc -N localhost 7000 | grep -q '^'\" && "
		"{ ./echo 2> said || :; } && grep -q 'echo: :7000 is taken' said",
		dir);
}
END_TEST

START_TEST(the_first_server_answers_and_refuses)
{
	OWN_PORT();
	given("server");
	given("client");

	must_sh(SHELL "start ./server :7000 && "
		      "./client 127.0.0.1:7000 'add 2 3' 'add 40 2' 'sub 1 1' > heard && "
		      "printf '5\\n42\\nInvalid argument: add A B is all I know\\n' | cmp - heard",
		dir);
}
END_TEST

/* Nothing is answered, the connection ends, others go on. */
START_TEST(a_frame_that_is_too_long_ends_its_connection_only)
{
	OWN_PORT();
	given("server");
	given("client");

	must_sh(SHELL
		"start ./server :7000 && "
		"printf '\\377\\377\\377\\377\\0\\0\\0\\1\\0\\0\\0\\0' | nc -N 127.0.0.1 7000 > heard && test ! -s heard && "
		"await grep -q 'a connection ended: ' out.2 && ./client 127.0.0.1:7000 'add 2 2' | grep -qx 4",
		dir);
}
END_TEST

START_TEST(a_deadline_ends_the_wait_and_not_the_connection)
{
	OWN_PORT();
	given("service");
	given("client");

	must_sh(SHELL
		"start ./service :7000 && "
		"./client 127.0.0.1:7000 'wait 50' -w 20 'wait 500' 'add 1 1' > heard && "
		"printf 'waited\\nConnection timed out: not in that time\\n2\\n' | cmp - heard",
		dir);
}
END_TEST

START_TEST(a_stop_answers_what_is_at_work)
{
	OWN_PORT();
	given("service");
	given("client");

	must_sh(SHELL
		"start ./service :7000 && { ./client 127.0.0.1:7000 'wait 400' > heard & client=$!; } && "
		"await sh -c \"ss -tn state established '( sport = 7000 )' | grep -q 7000\" && kill -TERM $pid && "
		"wait $client && grep -qx waited heard && wait $pid && "
		"tail -n 2 out.2 > last && printf 'stopping\\nended, 0 cut short\\n' | cmp - last",
		dir);
}
END_TEST

/* One connection: asked of the old process, answered by it, and asked on of the new one. */
START_TEST(a_restart_is_not_seen_by_a_client)
{
	OWN_PORT();
	given("service");
	given("client");

	must_sh(SHELL
		"start ./service :7000; old=$pid; "
		"./service :7000 take-over > out.new 2>&1 & new=$!; all=\"$all $new\"; "
		"{ ./client 127.0.0.1:7000 'wait 300' 'wait 300' 'wait 300' 'add 20 1' > heard & client=$!; }; "
		"await sh -c \"ss -tn state established '( sport = 7000 )' | grep -q 7000\"; kill -USR2 $old; "
		"wait $client && printf 'waited\\nwaited\\nwaited\\n21\\n' | cmp - heard && "
		"wait $old && grep -qx 'handed over' out.2 && grep -qx 'ended, 0 cut short' out.2 && "
		"./client 127.0.0.1:7000 'add 3 4' | grep -qx 7 && kill -TERM $new && wait $new",
		dir);
}
END_TEST

START_TEST(without_a_successor_the_service_says_so_and_goes_on)
{
	OWN_PORT();
	given("client");
	must_sh("cd '%s' && sed 's/MEET, NULL, NULL)/MEET, NP_OPTS(np_hand_over_opts, .come_ms = 100), NULL)/' "
		"service.c > hasty.c",
		dir);
	given("hasty");

	must_sh(SHELL
		"start ./hasty :7000 && kill -USR2 $pid && "
		"await grep -q 'did not take over' out.2 && ./client 127.0.0.1:7000 'add 3 4' | grep -qx 7",
		dir);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "tutorial");

	tcase_add_unchecked_fixture(t, setup, teardown);
	tcase_add_test(t, every_program_compiles_as_printed);
	tcase_add_test(t, the_readmes_server_is_short_and_echoes);
	tcase_add_test(t, the_readmes_cxx_server_echoes);
	tcase_add_test(t, the_readmes_server_says_why_it_cannot_listen);
	tcase_add_test(t, the_first_server_answers_and_refuses);
	tcase_add_test(t, a_frame_that_is_too_long_ends_its_connection_only);
	tcase_add_test(t, a_deadline_ends_the_wait_and_not_the_connection);
	tcase_add_test(t, a_stop_answers_what_is_at_work);
	tcase_add_test(t, a_restart_is_not_seen_by_a_client);
	tcase_add_test(t, without_a_successor_the_service_says_so_and_goes_on);
}

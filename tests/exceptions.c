/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * exceptions: fibers that wait in C++ catch blocks keep their exceptions apart
 *
 * One program (support/catching.cc), in every way in which a C++ runtime meets the library.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/compiler.h"
#include "support/run.h"
#include "support/test.h"

#define PC      "lib/netpoll/libnetpoll-bpf.pc.in"
#define PROGRAM "tests/support/catching.cc"

static char *dir;
static const char *build;

static void setup(void)
{
	build = getenv("NP_BUILD") ? getenv("NP_BUILD") : "build";
	dir = temp_dir();
}

static void teardown(void)
{
	remove_tree(&dir);
}

static const char *const ways[] = {
	/* shared; with another standard; the library's archive; the runtime inside the program */
	"-std=c++11 '-L%s' -lnetpoll-bpf",
	"-std=c++17 -O2 '-L%s' -lnetpoll-bpf",
	"-std=c++11 '%s/libnetpoll-bpf.a' "
	"$(pkg-config --libs $(sed -n 's/@CARES@//; s/^Requires.private: *//p' " PC "))"
	" $(sed -n 's/^Libs.private: *//p' " PC ") $(pkg-config --silence-errors --libs libcares)",
	"-std=c++17 -static-libstdc++ -static-libgcc '-L%s' -lnetpoll-bpf",
};

START_TEST(each_fiber_sees_its_own_exceptions)
{
	char how[512];

	NEEDS_CXX();
	if (strstr(ways[_i], "static-lib") && under_tsan())
		SKIP("clang's sanitizer runtime brings libstdc++");
	snprintf(how, sizeof how, ways[_i], build);
	must_sh("%1$s -g -pthread -Wall -Wextra -Wno-deprecated-declarations -Werror "
		"-Iinclude " PROGRAM " -o '%2$s/p' %3$s && LD_LIBRARY_PATH='%4$s' '%2$s/p'",
		compiler_cxx(), dir, how, build);
}
END_TEST

/* A C program that has the library, and gets a runtime later, where nobody but the plug-in itself
 * sees it. */
static const char host[] = "#include <dlfcn.h>\n"
			   "#include <netpoll/status.h>\n"
			   "#include <stdio.h>\n"
			   "int main(int argc, char **argv)\n"
			   "{\n"
			   "	void *h = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);\n"
			   "	int (*run)(void);\n"
			   "	if (!h || !*np_strerror(0))\n"
			   "		return puts(h ? \"?\" : dlerror()), 3;\n"
			   "	*(void **)&run = dlsym(h, \"catching\");\n"
			   "	return run ? run() : 4;\n"
			   "}\n";

START_TEST(a_plug_in_that_brings_the_runtime_is_seen_when_pollers_start)
{
	NEEDS_CXX();
	if (under_tsan())
		SKIP("clang's sanitizer runtime brings libstdc++");
	must_sh("cat > '%1$s/host.c' <<'END'\n%2$sEND\n", dir, host);
	must_sh("%1$s -std=c++17 -g -pthread -fPIC -shared -DCATCHING_OBJECT -Iinclude " PROGRAM
		" -o '%2$s/plug.so' && "
		"cc %4$s -Iinclude '%2$s/host.c' -o '%2$s/host' '-L%3$s' -Wl,--no-as-needed -lnetpoll-bpf -ldl && "
		"LD_LIBRARY_PATH='%3$s' '%2$s/host' '%2$s/plug.so'",
		compiler_cxx(), dir, build, under_asan() ? "-fsanitize=address,undefined" : "");
}
END_TEST

/* A function of C++ given to the C calls, without netpoll.hh. */
static const char thrower[] = "#include <netpoll/pollers.h>\n"
			      "#include <stdexcept>\n"
			      "static int task(void *)\n"
			      "{\n"
			      "	np_yield();\n"
			      "	throw std::runtime_error(\"out of a task\");\n"
			      "}\n"
			      "int main()\n"
			      "{\n"
			      "	np_pollers *p;\n"
			      "	if (np_pollers_start(nullptr, &p) < 0)\n"
			      "		return 2;\n"
			      "	np_run(p, task, nullptr);\n"
			      "	return 3;\n"
			      "}\n";

START_TEST(one_that_leaves_a_function_given_to_the_c_calls_ends_the_program)
{
	struct ran r;

	NEEDS_CXX();
	must_sh("cat > '%1$s/p.cc' <<'END'\n%2$sEND\n", dir, thrower);
	must_sh("%1$s -std=c++17 -g -pthread -Iinclude '%2$s/p.cc' -o '%2$s/p' '-L%3$s' -lnetpoll-bpf",
		compiler_cxx(), dir, build);
	sh(&r, "ulimit -c 0; LD_LIBRARY_PATH='%s' '%s/p'", build, dir);
	ck_assert_int_eq(r.code, 128 + SIGABRT);
	ck_assert_ptr_nonnull(strstr(r.err, "out of a task"));
	ran_free(&r);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "exceptions");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, each_fiber_sees_its_own_exceptions, 0,
			    (int)(sizeof ways / sizeof *ways));
	tcase_add_test(t, a_plug_in_that_brings_the_runtime_is_seen_when_pollers_start);
	tcase_add_test(t, one_that_leaves_a_function_given_to_the_c_calls_ends_the_program);
}

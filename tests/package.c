/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * package: what a user gets: headers, an installed tree, pkg-config, and the scripts that guard it
 *
 * The tree is built and installed as a user would, in the release flavour, whatever flavour this
 * test itself runs in. Runs in the top folder of the tree, as scripts/run-tests does.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "netpoll/version.h"
#include "support/release.h"
#include "support/run.h"
#include "support/test.h"

static char *dir; /* a folder for this test */

static void setup(void)
{
	dir = temp_dir();
}

static void teardown(void)
{
	remove_tree(&dir);
}

/* Prints every symbol a version of this library must have, so that linking it proves something. */
static const char user_program[] = "#include <netpoll/status.h>\n"
				   "#include <stdio.h>\n"
				   "int main(void)\n"
				   "{\n"
				   "	return puts(np_strerror(-NP_EEOF)) < 0;\n"
				   "}\n";

static void given_user_program(void)
{
	must_sh("cat > '%s/user.c' <<'END'\n%sEND\n", dir, user_program);
}

/* Under $dir/usr, as PREFIX, so that the .pc is right without a sysroot. */
static void given_installed(void)
{
	release_make("install PREFIX='%s/usr'", dir);
}

START_TEST(each_header_compiles_alone_as_c99)
{
	must_sh("for h in include/netpoll/*.h; do "
		"echo \"#include <netpoll/${h##*/}>\" | cc -std=c99 -Wall -Wextra -Werror -pedantic "
		"-Iinclude -fsyntax-only -xc - || exit 1; done");
}
END_TEST

START_TEST(each_header_compiles_alone_as_cxx11)
{
	if (!have("c++"))
		SKIP("no C++ compiler");
	must_sh("for h in include/netpoll/*.h; do "
		"echo \"#include <netpoll/${h##*/}>\" | c++ -std=c++11 -Wall -Wextra -Werror -pedantic "
		"-Iinclude -fsyntax-only -xc++ - || exit 1; done");
}
END_TEST

START_TEST(all_headers_compile_together_twice)
{
	must_sh("(cd include && for h in netpoll/*.h netpoll/*.h; do echo \"#include <$h>\"; done) "
		"| cc -std=c99 -Wall -Wextra -Werror -pedantic -Iinclude -fsyntax-only -xc -");
}
END_TEST

START_TEST(a_program_links_the_installed_shared_library_through_pkg_config)
{
	given_user_program();
	given_installed();

	must_sh("export PKG_CONFIG_PATH='%1$s/usr/lib/pkgconfig' LD_LIBRARY_PATH='%1$s/usr/lib' && cd '%1$s' && "
		"cc -Wall -Werror user.c $(pkg-config --cflags --libs libnetpoll-bpf) -o user && "
		"./user | grep -q 'end of stream' && readelf -d user | grep -q 'libnetpoll-bpf.so.0' && "
		"test \"$(pkg-config --modversion libnetpoll-bpf)\" = %2$s",
		dir, NP_VERSION);
}
END_TEST

START_TEST(a_program_links_the_installed_archive_through_pkg_config)
{
	given_user_program();
	given_installed();

	must_sh("export PKG_CONFIG_PATH='%1$s/usr/lib/pkgconfig' && cd '%1$s' && "
		"cc -Wall -Werror -static user.c $(pkg-config --static --cflags --libs libnetpoll-bpf) -o user && "
		"./user | grep -q 'end of stream'",
		dir);
}
END_TEST

static void given_cmake_program(void)
{
	given_user_program();
	must_sh("cat > '%s/CMakeLists.txt' <<'END'\n"
		"cmake_minimum_required(VERSION 3.16)\n"
		"project(user C)\n"
		"find_package(netpoll-bpf 0.1 REQUIRED)\n"
		"add_executable(user user.c)\n"
		"target_link_libraries(user netpoll-bpf::netpoll-bpf)\n"
		"add_executable(user-static user.c)\n"
		"target_link_libraries(user-static netpoll-bpf::static)\n"
		"END\n",
		dir);
}

/* As printed by find_package(netpoll-bpf @asked). */
static bool cmake_finds(const char *asked)
{
	struct ran r;
	bool found;

	sh(&r,
	   "mkdir -p '%1$s/ask' && cd '%1$s/ask' && rm -rf CMakeCache.txt && printf 'cmake_minimum_required(VERSION 3.16)\n"
	   "project(ask NONE)\nfind_package(netpoll-bpf %2$s REQUIRED)\n' > CMakeLists.txt && "
	   "cmake -DCMAKE_PREFIX_PATH='%1$s/moved' .",
	   dir, asked);
	found = r.code == 0;
	ran_free(&r);
	return found;
}

START_TEST(a_program_finds_the_moved_tree_by_cmake)
{
	if (!have("cmake"))
		SKIP("cmake is not installed (scripts/deps --all installs it)");
	given_cmake_program();
	given_installed();
	must_sh("mv '%1$s/usr' '%1$s/moved'", dir);

	must_sh("cd '%1$s' && cmake -DCMAKE_PREFIX_PATH='%1$s/moved' -S . -B b && cmake --build b && "
		"b/user | grep -q 'end of stream' && b/user-static | grep -q 'end of stream' && "
		"readelf -d b/user | grep -q 'libnetpoll-bpf.so.0' && ! readelf -d b/user-static | grep -q libnetpoll",
		dir);
	ck_assert(cmake_finds(""));
	ck_assert(cmake_finds(NP_VERSION " EXACT"));
	ck_assert(!cmake_finds("99.0"));
	ck_assert(!cmake_finds("0.9999"));
}
END_TEST

START_TEST(install_stays_below_destdir_and_uninstall_takes_all_of_it)
{
	release_make("install DESTDIR='%s' PREFIX=/opt/np", dir);
	must_sh("cd '%s' && test \"$(ls)\" = opt && test \"$(ls opt)\" = np && "
		"grep -q '^prefix=/opt/np$' opt/np/lib/pkgconfig/libnetpoll-bpf.pc && "
		"test -s opt/np/share/man/man3/np_conn_until.3",
		dir);

	release_make("uninstall DESTDIR='%s' PREFIX=/opt/np", dir);
	must_sh("left=$(find '%s' ! -type d); test -z \"$left\" || { echo \"left: $left\"; exit 1; }",
		dir);
}
END_TEST

START_TEST(the_demo_holds_and_leaves_nothing)
{
	struct ran r;

	release_make("all '%s/tests/bench/restart'", release_dir());
	sh(&r, "scripts/demo-run '%s'", release_dir());

	ck_assert_msg(r.code == 0, "exit %d\n%s%s", r.code, r.out, r.err);
	ck_assert_msg(strstr(r.out, "sum of the verdicts") || strstr(r.out, "at level 0"), "%s%s",
		      r.out, r.err);
	ck_assert_int_ne(access("/sys/fs/bpf/netpoll/demo", F_OK), 0);
	ran_free(&r);
}
END_TEST

START_TEST(the_debian_packages_have_the_trees_version_and_nodes)
{
	must_sh("test \"$(sed -n '1s/^libnetpoll-bpf (\\([^)]*\\)).*/\\1/p' debian/changelog)\" = %s",
		NP_VERSION);
	must_sh("nodes=$(sed -n 's/^\\(LIBNETPOLL_BPF_[0-9]*\\) {.*/\\1/p' lib/netpoll/libnetpoll-bpf.map) && "
		"test \"$nodes\" && test \"$nodes\" = "
		"\"$(sed -n 's/^ (symver)\\(LIBNETPOLL_BPF_[0-9]*\\) .*/\\1/p' debian/libnetpoll-bpf0.symbols)\"");
}
END_TEST

START_TEST(the_library_needs_no_executable_stack)
{
	release_make("lib");
	must_sh("readelf -lW '%s/libnetpoll-bpf.so' | grep GNU_STACK | grep -qv E", release_dir());
}
END_TEST

START_TEST(the_layer_check_names_a_wrong_include)
{
	struct ran r;

	must_sh("mkdir -p '%1$s/lib/buffer' '%1$s/lib/poll' && cd '%1$s/lib' && : > poll/poller.h && "
		"printf '#include <stdio.h>\\n#include \"poll/poller.h\"\\n' > buffer/linkbuf.c",
		dir);
	sh(&r, "scripts/check-layers '%s'", dir);

	ck_assert_int_ne(r.code, 0);
	ck_assert_ptr_nonnull(strstr(r.err, "lib/buffer/linkbuf.c:2: buffer may not use poll"));
	ran_free(&r);
}
END_TEST

START_TEST(the_export_check_names_what_leaks)
{
	struct ran r;

	must_sh("cd '%s' && echo 'int np_x(void); int np_x(void) { return 0; } int leak;' > x.c && "
		"cc -fPIC -c x.c && cc -shared x.o -o libnetpoll-bpf.so && ar rcs libnetpoll-bpf.a x.o",
		dir);
	sh(&r, "scripts/check-exports '%s'", dir);

	ck_assert_int_ne(r.code, 0);
	ck_assert_ptr_nonnull(
		strstr(r.err, "shared library exports what is not np_*:\n    leak\n"));
	ck_assert_ptr_nonnull(strstr(r.err, "archive exports what is not np_*:\n    leak\n"));
	ck_assert_ptr_nonnull(strstr(r.err, "no public header declares it:\n    leak\n    np_x\n"));
	ran_free(&r);
}
END_TEST

START_TEST(the_abi_check_names_what_changed)
{
	struct ran r;

	if (!have("abidiff"))
		SKIP("abidiff is not installed (scripts/deps installs abigail-tools)");
	must_sh("cp -r --parents include scripts Makefile lib/netpoll '%1$s' && cd '%1$s' && scripts/check-abi --renew && "
		"scripts/check-abi && sed -i 's/NP_ESHORT = 0x10A/NP_ESHORT = 0x1AA/' include/netpoll/status.h",
		dir);
	sh(&r, "'%s/scripts/check-abi'", dir);

	ck_assert_int_ne(r.code, 0);
	ck_assert_ptr_nonnull(strstr(r.err, "'np_status::NP_ESHORT' from value '266' to '426'"));
	ck_assert_ptr_nonnull(strstr(r.err, "make abi-baseline"));
	ran_free(&r);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "package");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, each_header_compiles_alone_as_c99);
	tcase_add_test(t, each_header_compiles_alone_as_cxx11);
	tcase_add_test(t, all_headers_compile_together_twice);
	tcase_add_test(t, a_program_links_the_installed_shared_library_through_pkg_config);
	tcase_add_test(t, a_program_links_the_installed_archive_through_pkg_config);
	tcase_add_test(t, a_program_finds_the_moved_tree_by_cmake);
	tcase_add_test(t, install_stays_below_destdir_and_uninstall_takes_all_of_it);
	tcase_add_test(t, the_demo_holds_and_leaves_nothing);
	tcase_add_test(t, the_debian_packages_have_the_trees_version_and_nodes);
	tcase_add_test(t, the_library_needs_no_executable_stack);
	tcase_add_test(t, the_layer_check_names_a_wrong_include);
	tcase_add_test(t, the_export_check_names_what_leaks);
	tcase_add_test(t, the_abi_check_names_what_changed);
}

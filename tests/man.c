/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * man: what there is to read about it: a page for each public function, and npsteer(8)
 *
 * The pages are made by scripts/man3. What they have to say is taken from the headers here anew, by
 * other means, so that a comment which the script does not understand is seen.
 */
#include <stdlib.h>
#include <string.h>

#include "support/run.h"
#include "support/test.h"

static char *dir; /* the pages are in its man3 */
static const char *build;

static void setup(void)
{
	build = getenv("NP_BUILD") ? getenv("NP_BUILD") : "build";
	dir = temp_dir();
	must_sh("scripts/man3 '%s/man3'", dir);
}

static void teardown(void)
{
	remove_tree(&dir);
}

/* The shell's declared: every public function, of this library and of those beside it. */
#define DECLARED                                                                     \
	"declared() { cat include/netpoll/*.h | tr '\\n' ' ' | "                     \
	"grep -oE 'NP_([A-Z]+_)?API [^;{(]*[(]' | grep -oE 'np_[a-z0-9_]+ ?[(]$' | " \
	"tr -d ' (' | LC_ALL=C sort -u; }; "

START_TEST(every_public_function_and_header_has_a_page)
{
	must_sh(DECLARED
		"for f in $(declared) $(ls include/netpoll | sed -n '/[.]h$/s/^/netpoll_/p'); do "
		"test -s '%s'/man3/$f.3 || { echo \"no page: $f\"; exit 1; }; done",
		dir);
}
END_TEST

START_TEST(there_is_no_page_of_what_does_not_exist)
{
	must_sh(DECLARED
		"declared > '%1$s/declared' && "
		"scripts/man3 --names | grep -v '^netpoll_.*[.]h$' | LC_ALL=C sort > '%1$s/pages' && "
		"cmp '%1$s/declared' '%1$s/pages' && "
		"test $(ls '%1$s/man3' | wc -l) = $(scripts/man3 --names | wc -l)",
		dir);
}
END_TEST

START_TEST(each_page_says_what_it_is_about)
{
	must_sh("cd '%s/man3' && bad=$(grep -L '^[.]so ' *.3 | xargs grep -L '^[^ ].* .- [^ ]'); "
		"test -z \"$bad\" || { echo \"$bad\"; exit 1; }",
		dir);
}
END_TEST

/* A function that shares a comment with another one is in the NAME of the page it refers to. */
START_TEST(a_page_that_refers_is_named_by_the_one_it_refers_to)
{
	must_sh("cd '%s/man3' && grep -l '^[.]so ' *.3 | while read -r p; do "
		"to=$(sed 's|^[.]so man3/||' $p); "
		"sed -n '/^[.]SH NAME/{n;p;}' $to | grep -qw \"${p%%.3}\" || { echo \"$p\"; exit 1; }; done",
		dir);
}
END_TEST

/* Each code in the comment that stands last before a declaration, in the text of its page. */
START_TEST(a_page_has_every_code_that_the_header_names)
{
	must_sh("cat include/netpoll/*.h | awk -v dir='%1$s/man3' '"
		"/^\\/\\*/ { said = \"\" } { said = said \" \" $0 } "
		"/^NP_([A-Z]+_)?API / { inside = 1; name = \"\" } "
		"inside { decl = decl \" \" $0 } "
		"inside && /;$/ { inside = 0; name = decl; sub(/ ?\\(.*/, \"\", name); sub(/.*[ *]/, \"\", name); decl = \"\"; "
		"  s = said; sub(/ NP_([A-Z]+_)?API .*/, \"\", s); "
		"  while (match(s, /-(NP_)?E[A-Z0-9]+[A-Z]/)) { print name, substr(s, RSTART, RLENGTH); s = substr(s, RSTART + RLENGTH) } }"
		"' | sort -u > '%1$s/codes' && test $(wc -l < '%1$s/codes') -gt 300 && "
		"cd '%1$s/man3' && awk 'FNR == 1 { page = FILENAME; sub(/[.]3$/, \"\", page) } "
		"/^[.]so / { sub(/.*\\//, \"\"); sub(/[.]3$/, \"\"); refers[page] = $0 } "
		"FILENAME == \"../codes\" { at = ($1 in refers) ? refers[$1] : $1; "
		"  if (!((at, $2) in said)) { print \"no \" $2 \" in \" at; bad = 1 } next } "
		"{ gsub(/\\\\f[BIP]|\\\\/, \"\"); while (match($0, /-(NP_)?E[A-Z0-9]+[A-Z]/)) { "
		"  said[page, substr($0, RSTART, RLENGTH)]; $0 = substr($0, RSTART + RLENGTH) } } "
		"END { exit bad }' np_*.3 ../codes",
		dir);
}
END_TEST

/* Each piece of a comment of three words and more, as punctuation divides it; but labels. */
START_TEST(no_page_loses_what_a_comment_says)
{
	must_sh("words() { tr 'A-Z' 'a-z' | sed 's/[^a-z0-9]\\{1,\\}/ /g; s/^ *//; s/ *$//'; }; "
		"sed 's/\\\\f[BIP]//g; s/\\\\e/\\\\/g; s/^[.][A-Z]* *//' '%1$s'/man3/*.3 | words | tr '\\n' ' ' | tr -s ' ' > '%1$s/pages' && "
		"cat include/netpoll/*.h | sed -n 's/^ [*] //p' | sed 's/[*]\\/$//; s/ - /\\n/g; s/[.:;]/\\n/g' | words | "
		"awk 'NF > 2' | grep -vxE 'return of .*|thread may park lifetime return|np .* and the like' > '%1$s/pieces' && "
		"test $(wc -l < '%1$s/pieces') -gt 1500 && "
		"awk 'NR == FNR { pages = $0; next } "
		"!index(pages, \" \" $0 \" \") { print \"in no page: \" $0; bad = 1 } END { exit bad }' "
		"'%1$s/pages' '%1$s/pieces'",
		dir);
}
END_TEST

START_TEST(troff_has_nothing_to_say_about_the_pages)
{
	if (!have("groff"))
		SKIP("groff is not installed (scripts/deps installs groff-base)");
	must_sh("cd '%1$s' && groff -man -ww -Tutf8 -P-cbou man3/*.3 > page 2> said; "
		"test ! -s said || { head said; exit 1; }; grep -q NP_EREADTIMEOUT page",
		dir);
	if (!have("scdoc"))
		SKIP("scdoc is not installed");
	must_sh("env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make --no-print-directory -s FLAVOUR=release O='%1$s/o' man && cd '%1$s/o/man' && "
		"groff -man -ww -Tutf8 -P-cbou *.[378] > page 2> said; "
		"test ! -s said || { head said; exit 1; }; grep -q 'netpoll_conn.h(3)' page",
		dir);
}
END_TEST

START_TEST(man_finds_a_function_by_its_own_and_by_a_shared_page)
{
	if (!have("man"))
		SKIP("man is not installed (scripts/deps installs man-db)");
	must_sh("page=$(MANWIDTH=200 man -M '%1$s' 3 np_conn_until) && echo \"$page\" | grep -q 'NP_ETOOLONG (none within max' && "
		"page=$(MANWIDTH=200 man -M '%1$s' 3 np_conn_unref) && echo \"$page\" | grep -q 'void np_conn_unref(struct np_conn'",
		dir);
}
END_TEST

/* Verbs and flags: as a word of their own in the page's source, whose marks are taken away. */
START_TEST(npsteers_page_has_every_verb_and_flag_of_its_help)
{
	must_sh("sed 's/[*_\\\\]//g' doc/man/npsteer.8.scd > '%2$s/page' && '%1$s/npsteer' --help > '%2$s/help' && "
		"{ sed -n 's/^  \\([a-z][a-z]*\\).*/\\1/p' '%2$s/help'; "
		"grep -oE -e '(^|[[ |])--?[a-zA-Z][a-z-]*' '%2$s/help' | tr -d '[ |'; } | sort -u > '%2$s/words' && "
		"test $(wc -l < '%2$s/words') -gt 30 && "
		"while read -r w; do grep -qE -e \"(^|[^a-zA-Z-])$w([^a-zA-Z-]|\\$)\" '%2$s/page' || "
		"{ echo \"npsteer.8.scd lacks $w\"; exit 1; }; done < '%2$s/words' && "
		"for v in $(sed -n 's/^  \\([a-z][a-z]*\\) .*/\\1/p' '%2$s/help'); do "
		"sed -n '/^# VERBS/,/^# [A-U]/p' doc/man/npsteer.8.scd | grep -qE \"^\\*.*\\b$v\\b.*\\*$\" || "
		"{ echo \"npsteer.8.scd: VERBS lacks $v\"; exit 1; }; done",
		build, dir);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "man");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, every_public_function_and_header_has_a_page);
	tcase_add_test(t, there_is_no_page_of_what_does_not_exist);
	tcase_add_test(t, each_page_says_what_it_is_about);
	tcase_add_test(t, a_page_that_refers_is_named_by_the_one_it_refers_to);
	tcase_add_test(t, a_page_has_every_code_that_the_header_names);
	tcase_add_test(t, no_page_loses_what_a_comment_says);
	tcase_add_test(t, troff_has_nothing_to_say_about_the_pages);
	tcase_add_test(t, man_finds_a_function_by_its_own_and_by_a_shared_page);
	tcase_add_test(t, npsteers_page_has_every_verb_and_flag_of_its_help);
}

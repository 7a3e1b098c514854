/* SPDX-License-Identifier: BSD-2-Clause */
/* names_conf: words about host names that a lookup over sockets honours, and those it leaves. */
#include <stdio.h>
#include <string.h>

#include "support/test.h"
#include "sys/names_conf.h"

/* NULL for a text that is empty: fmemopen(3) takes none. */
static FILE *given_file(const char *text)
{
	FILE *f = *text ? fmemopen((char *)text, strlen(text), "r") : NULL;

	ck_assert(f || !*text);
	return f;
}

static void done_file(FILE *f)
{
	if (f)
		fclose(f);
}

static const struct {
	const char *text, *lookups; /* NULL: not for us */
} switches[] = {
	{ "hosts: files dns\n", "fb" },
	{ "passwd: files\n  hosts :\tfiles   dns # and no more\nnetworks: files\n", "fb" },
	{ "hosts:dns files", "bf" },
	{ "#hosts: files dns\n", NULL },
	{ "hosts: files\n", NULL },
	{ "hosts: dns\n", NULL },
	{ "hosts:\n", NULL },
	{ "hosts: files files dns\n", NULL },
	{ "hosts: files mdns4_minimal [NOTFOUND=return] dns\n", NULL },
	{ "hosts: files [NOTFOUND=return] dns\n", NULL },
	{ "hosts: files resolve dns\n", NULL },
	{ "hosts: files dns myhostname\n", NULL },
	{ "hosts: files dns\nhosts: files dns\n", NULL },
	{ "passwd: files\n", NULL },
	{ "", NULL },
};

START_TEST(files_and_dns_are_honoured_and_nothing_else_of_nsswitch)
{
	FILE *f = given_file(switches[_i].text);
	struct names_conf c;

	ck_assert_int_eq(names_conf_nsswitch(f, &c), switches[_i].lookups != NULL);
	if (switches[_i].lookups)
		ck_assert_str_eq(c.lookups, switches[_i].lookups);
	done_file(f);
}
END_TEST

static const struct {
	const char *text;
	bool ok;
} gais[] = {
	{ "", true },
	{ "# all of it\n\n  # is comment\n#precedence ::ffff:0:0/96 100\n", true },
	{ "# one word\nprecedence ::ffff:0:0/96 100\n", false },
	{ "reload no", false },
};

START_TEST(a_gai_conf_that_says_anything_is_for_getaddrinfo)
{
	FILE *f = given_file(gais[_i].text);

	ck_assert_int_eq(names_conf_gai(f), gais[_i].ok);
	done_file(f);
}
END_TEST

static const struct {
	const char *text;
	bool ok;
	int timeout_ms, attempts;
} resolvs[] = {
	{ "", true, 5000, 2 },
	{ "nameserver 127.0.0.1\nsearch a.test b.test\n", true, 5000, 2 },
	{ "options timeout:1 attempts:3\n", true, 1000, 3 },
	{ "options edns0 trust-ad\noptions ndots:5\trotate timeout:2\n", true, 2000, 2 },
	{ "; options timeout:1\n#options timeout:1\noptions attempts:1 # one\n", true, 5000, 1 },
	{ "options timeout:99 attempts:99\n", true, 30000, 5 }, /* the most that glibc takes */
	{ "options timeout:0 attempts:-1\n", true, 1000, 1 },
	{ "options timeout: attempts:x\n", true, 1000, 1 },
	{ "options\n", true, 5000, 2 },
	{ "options single-request\n", false, 0, 0 },
	{ "options timeout:1 use-vc\n", false, 0, 0 },
	{ "options no-aaaa\n", false, 0, 0 },
	{ "options a-word-that-is-longer-than-any-option-of-today\n", false, 0, 0 },
	{ "nameserver fe80::1%eth0\n", false, 0, 0 },
	{ "nameserver fe80::1\nnameserver\n", true, 5000, 2 },
};

START_TEST(an_option_of_resolv_conf_is_heeded_or_left_to_getaddrinfo)
{
	FILE *f = given_file(resolvs[_i].text);
	struct names_conf c;

	ck_assert_int_eq(names_conf_resolv(f, &c), resolvs[_i].ok);
	if (resolvs[_i].ok) {
		ck_assert_int_eq(c.timeout_ms, resolvs[_i].timeout_ms);
		ck_assert_int_eq(c.attempts, resolvs[_i].attempts);
	}
	done_file(f);
}
END_TEST

/* As RES_OPTIONS, which is read last. */
START_TEST(later_options_win)
{
	struct names_conf c;

	ck_assert(names_conf_resolv(NULL, &c));
	ck_assert(names_conf_options("timeout:3  attempts:4", &c));
	ck_assert(names_conf_options(" timeout:1 ", &c));
	ck_assert(names_conf_options("", &c));
	ck_assert(names_conf_options(NULL, &c));
	ck_assert_int_eq(c.timeout_ms, 1000);
	ck_assert_int_eq(c.attempts, 4);
	ck_assert(!names_conf_options("timeout:1 inet6", &c));
}
END_TEST

#define COUNT(a) ((int)(sizeof(a) / sizeof(a)[0]))

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "names_conf");

	tcase_add_loop_test(t, files_and_dns_are_honoured_and_nothing_else_of_nsswitch, 0,
			    COUNT(switches));
	tcase_add_loop_test(t, a_gai_conf_that_says_anything_is_for_getaddrinfo, 0, COUNT(gais));
	tcase_add_loop_test(t, an_option_of_resolv_conf_is_heeded_or_left_to_getaddrinfo, 0,
			    COUNT(resolvs));
	tcase_add_test(t, later_options_win);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* proxy_header: what is a header, whom it names, and which sources are believed. */
#include "conn/proxy_header.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conn/proxy_from.h"
#include "support/test.h"

/* In memory of its own size, so that a byte behind it is seen. */
static long parse(const void *p, size_t n, struct proxy_ends *ret)
{
	void *copy = malloc(n ? n : 1);
	long r;

	memset(ret, 0, sizeof *ret);
	if (n)
		memcpy(copy, p, n);
	r = proxy_header_parse(copy, n, ret);
	free(copy);
	return r;
}

static const char *text(const struct proxy_end *e)
{
	static char line[2][80];
	static int which;
	char host[INET6_ADDRSTRLEN];

	if (!e->family)
		return "none";
	inet_ntop(e->family, e->addr, host, sizeof host);
	which = !which;
	snprintf(line[which], sizeof line[which], "%s %d", host, ntohs(e->port));
	return line[which];
}

/* ------------------------------------------------------------------ version 1 */

static const struct {
	const char *line, *from, *to; /* from NULL: it is none */
} lines[] = {
	{ "PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\n", "192.0.2.1 1000", "192.0.2.2 80" },
	{ "PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n", "0.0.0.0 0", "255.255.255.255 65535" },
	{ "PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", "2001:db8::1 1", "2001:db8::2 65535" },
	{ "PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 0 80\r\n", "::ffff:192.0.2.1 0",
	  "::ffff:192.0.2.2 80" },
	{ "PROXY UNKNOWN what ever\r\n", "none", "none" },
	{ "PROXY UNKNOWN\r\n", "none", "none" },
	/* the longest that there may be */
	{ "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
	  " ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
	  "none", "none" },
	{ "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
	  " ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535 \r\n",
	  NULL, NULL },
	{ "PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\n", NULL, NULL },
	{ "PROXY UNKNOWNX\r\n", NULL, NULL },
	{ "PROXY  UNKNOWN\r\n", NULL, NULL },
	{ "PROXY\r\n", NULL, NULL },
	{ "PROXY \r\n", NULL, NULL },
	{ "PROXYTCP4 192.0.2.1 192.0.2.2 1000 80\r\n", NULL, NULL },
	{ "PROXY  TCP4 192.0.2.1 192.0.2.2 1000 80\r\n", NULL, NULL },
	{ "PROXY TCP4 192.0.2.1  192.0.2.2 1000 80\r\n", NULL, NULL },
	{ "PROXY TCP4 192.0.2.1\t192.0.2.2 1000 80\r\n", NULL, NULL },
	{ "PROXY TCP4 192.0.2.1 192.0.2.2 +11 80\r\n", NULL, NULL },
	{ "PROXY TCP4 192.0.2.1 192.0.2.2 -1 80\r\n", NULL, NULL },
	{ "PROXY TCP4 192.0.2.1 192.0.2.2 00011 80\r\n", NULL, NULL },
	{ "PROXY TCP4 192.0.2.1 192.0.2.2 1000 80 \r\n", NULL, NULL },
	{ "PROXY TCP4 2001:db8::1 2001:db8::2 1000 80\r\n", NULL, NULL },
	{ "PROXY TCP4 192.0.2.1 192.0.2.2 1000 65536\r\n", NULL, NULL },
	{ "PROXY TCP4 192.0.2.1 192.0.2.2 1000\r\n", NULL, NULL },
	{ "PROXY TCP4 192.0.2.300 192.0.2.2 1000 80\r\n", NULL, NULL },
	{ "PROXY TCP4 192.0.2.1 192.0.2.2 1000 80 more\r\n", NULL, NULL },
	{ "PROXY UDP4 192.0.2.1 192.0.2.2 1000 80\r\n", NULL, NULL },
	{ "proxy TCP4 192.0.2.1 192.0.2.2 1000 80\r\n", NULL, NULL },
	{ "GET / HTTP/1.1\r\n\r\n", NULL, NULL },
	{ "POST / HTTP/1.1\r\n\r\n", NULL, NULL },
	{ "\n", NULL, NULL },
	{ "P\n", NULL, NULL },
};

/* However many of its bytes are there, the answer is "more" or the same. */
START_TEST(a_line_is_a_header_or_is_refused)
{
	const char *line = lines[_i].line;
	size_t len = strlen(line);
	struct proxy_ends e;
	long r = parse(line, len, &e);

	if (!lines[_i].from) {
		ck_assert_msg(r == -EBADMSG, "%s: %ld", line, r);
		return;
	}
	ck_assert_msg(r == (long)len, "%s: %ld", line, r);
	ck_assert_str_eq(text(&e.from), lines[_i].from);
	ck_assert_str_eq(text(&e.to), lines[_i].to);
	for (size_t n = 0; n < len; n++)
		ck_assert_int_eq(parse(line, n, &e), 0);
}
END_TEST

START_TEST(a_zero_byte_ends_no_line)
{
	static const char line[] = "PROXY UNKNOWN\0\r\n";
	struct proxy_ends e;

	ck_assert_int_eq(parse(line, sizeof line - 1, &e), -EBADMSG);
}
END_TEST

START_TEST(what_is_none_is_known_by_its_first_wrong_byte)
{
	struct proxy_ends e;

	ck_assert_int_eq(parse("G", 1, &e), -EBADMSG);
	ck_assert_int_eq(parse("PO", 2, &e), -EBADMSG);
	ck_assert_int_eq(parse("\r\n\r\nX", 5, &e), -EBADMSG);
}
END_TEST

/* ------------------------------------------------------------------ version 2 */

static size_t binary(char *dst, int command, int kind, size_t len)
{
	memcpy(dst, "\r\n\r\n\0\r\nQUIT\n", 12);
	dst[12] = (char)command;
	dst[13] = (char)kind;
	dst[14] = (char)(len >> 8);
	dst[15] = (char)len;
	memset(dst + 16, 1, len);
	return 16 + len;
}

static const struct {
	int command, kind;
	size_t len;
	const char *from; /* NULL: it is none */
} binaries[] = {
	{ 0x21, 0x11, 12, "1.1.1.1 257" },
	{ 0x21, 0x11, 100, "1.1.1.1 257" }, /* more behind: TLVs */
	{ 0x21, 0x11, 65535, "1.1.1.1 257" },
	{ 0x21, 0x11, 11, NULL }, /* too short for what it says */
	{ 0x21, 0x11, 0, NULL },
	{ 0x21, 0x21, 36, "101:101:101:101:101:101:101:101 257" },
	{ 0x21, 0x21, 65535, "101:101:101:101:101:101:101:101 257" },
	{ 0x21, 0x21, 35, NULL },
	{ 0x21, 0x31, 216, "none" }, /* a unix socket's */
	{ 0x21, 0x31, 215, NULL },
	{ 0x21, 0x12, 12, "none" }, /* datagrams are none of ours */
	{ 0x21, 0x12, 11, NULL },
	{ 0x21, 0x00, 0, "none" },
	{ 0x21, 0x00, 50, "none" },
	{ 0x21, 0x41, 216, NULL }, /* no such family */
	{ 0x21, 0x13, 12, NULL },  /* no such kind */
	{ 0x20, 0x00, 0, "none" }, /* LOCAL: a health check, whatever it says of addresses */
	{ 0x20, 0x11, 3, "none" },
	{ 0x20, 0xff, 65535, "none" },
	{ 0x2f, 0x11, 12, NULL }, /* no such command */
	{ 0x11, 0x11, 12, NULL }, /* no such version */
};

START_TEST(a_binary_header_is_one_or_is_refused)
{
	static char header[16 + 65535];
	size_t n = binary(header, binaries[_i].command, binaries[_i].kind, binaries[_i].len);
	struct proxy_ends e;
	long r = parse(header, n, &e);

	if (!binaries[_i].from) {
		ck_assert_int_eq(r, -EBADMSG);
		ck_assert_int_eq(parse(header, 16, &e), -EBADMSG);
		return;
	}
	ck_assert_int_eq(r, (long)n);
	ck_assert_str_eq(text(&e.from), binaries[_i].from);
	ck_assert_str_eq(text(&e.to), binaries[_i].from); /* all its bytes are the same */
	for (size_t k = 0; k < 16; k++)
		ck_assert_int_eq(parse(header, k, &e), 0);
	for (size_t k = 16; k < n && k < PROXY_LOOK_MAX; k++) {
		r = parse(header, k, &e);
		ck_assert(r == 0 || r == (long)n);
	}
}
END_TEST

/* ------------------------------------------------------------------ sources */

static bool has(const char *list, int family, const char *address)
{
	struct sockaddr_storage ss = { .ss_family = (sa_family_t)family };
	struct proxy_from *f;
	bool r;

	ck_assert_msg(proxy_from_parse(list, &f) == 0, "%s", list);
	if (family == AF_INET)
		inet_pton(family, address, &((struct sockaddr_in *)&ss)->sin_addr);
	if (family == AF_INET6)
		inet_pton(family, address, &((struct sockaddr_in6 *)&ss)->sin6_addr);
	r = proxy_from_has(f, &ss);
	proxy_from_free(f);
	return r;
}

START_TEST(a_source_is_believed_that_is_of_a_prefix)
{
	ck_assert(has("192.0.2.1", AF_INET, "192.0.2.1"));
	ck_assert(!has("192.0.2.1", AF_INET, "192.0.2.2"));
	ck_assert(has("10.0.0.0/8", AF_INET, "10.255.1.2"));
	ck_assert(!has("10.0.0.0/8", AF_INET, "11.0.0.0"));
	ck_assert(has("10.128.0.0/9", AF_INET, "10.129.0.0"));
	ck_assert(!has("10.128.0.0/9", AF_INET, "10.127.0.0"));
	ck_assert(has("0.0.0.0/0", AF_INET, "255.255.255.255"));
	ck_assert(!has("0.0.0.0/0", AF_INET6, "::1"));
	ck_assert(has("1.2.3.4, 2001:db8::/33", AF_INET6, "2001:db8:7fff::1"));
	ck_assert(!has("1.2.3.4,2001:db8::/33", AF_INET6, "2001:db8:8000::1"));
	ck_assert(has("::1/128", AF_INET6, "::1"));
	ck_assert(has("1.2.3.4 unix", AF_UNIX, ""));
	ck_assert(!has("0.0.0.0/0 ::/0", AF_UNIX, ""));
}
END_TEST

/* As the list of a dual-stack balancer has them. */
START_TEST(an_ipv4_source_may_be_written_in_the_form_of_ipv6)
{
	ck_assert(has("::ffff:192.0.2.1", AF_INET, "192.0.2.1"));
	ck_assert(!has("::ffff:192.0.2.1", AF_INET, "192.0.2.2"));
	ck_assert(has("::ffff:192.0.2.0/120", AF_INET, "192.0.2.255"));
	ck_assert(!has("::ffff:192.0.2.0/120", AF_INET, "192.0.3.0"));
	ck_assert(has("::ffff:0:0/96", AF_INET, "255.255.255.255"));
	ck_assert(!has("::ffff:0:0/96", AF_INET6, "::1"));
	ck_assert(!has("::/0", AF_INET, "192.0.2.1"));
}
END_TEST

START_TEST(what_is_no_list_of_sources_is_refused)
{
	static const char *const lists[] = {
		"",
		" , ",
		"localhost",
		"10.0.0.0/33",
		"10.0.0.0/",
		"10.0.0.0/+8",
		"10.0.0.0/8x",
		"10.0.0.1/8", /* it would believe all of 10 */
		"::1/129",
		"::1/64",
		"1.2.3.4;5.6.7.8",
		"unix/8",
		"10.0.0.0/8, x",
		"10000000000000000000000000000000000000000000000000000000"
		"00000000000000000000000000000000000000000000000000"
	};
	struct proxy_from *f = NULL;

	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
		ck_assert_msg(proxy_from_parse(lists[i], &f) == -EINVAL, "%s", lists[i]);
	ck_assert_ptr_null(f);
	proxy_from_free(NULL);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "proxy_header");

	tcase_add_loop_test(t, a_line_is_a_header_or_is_refused, 0,
			    (int)(sizeof lines / sizeof *lines));
	tcase_add_test(t, a_zero_byte_ends_no_line);
	tcase_add_test(t, what_is_none_is_known_by_its_first_wrong_byte);
	tcase_add_loop_test(t, a_binary_header_is_one_or_is_refused, 0,
			    (int)(sizeof binaries / sizeof *binaries));
	tcase_add_test(t, a_source_is_believed_that_is_of_a_prefix);
	tcase_add_test(t, an_ipv4_source_may_be_written_in_the_form_of_ipv6);
	tcase_add_test(t, what_is_no_list_of_sources_is_refused);
}

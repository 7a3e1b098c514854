/* SPDX-License-Identifier: BSD-2-Clause */
/* addr: what text is an address, of which network, and what is said of any other. */
#include "sys/addr.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>

#include "netpoll/status.h"
#include "support/test.h"

static const struct {
	const char *network, *address;
	int result;
	const char *printed; /* by addr_format() */
	bool v6only, any_stack;
} addresses[] = {
	{ "tcp", "127.0.0.1:80", 0, "127.0.0.1:80" },
	{ "tcp4", "0.0.0.0:0", 0, "0.0.0.0:0" },
	{ "tcp", "[::1]:65535", 0, "[::1]:65535" },
	{ "tcp6", "[::]:80", 0, "[::]:80", .v6only = true },
	{ "tcp", "[::ffff:1.2.3.4]:1", 0, "1.2.3.4:1" },
	{ "tcp4", "[::ffff:1.2.3.4]:1", 0, "1.2.3.4:1" },
	{ "tcp6", "[::ffff:1.2.3.4]:1", -EAFNOSUPPORT },
	{ "tcp6", "[fe80::1%lo]:80", 0, "[fe80::1%lo]:80", .v6only = true },
	/* lo is the first of every namespace */
	{ "tcp6", "[fe80::1%1]:80", 0, "[fe80::1%lo]:80", .v6only = true },
	{ "tcp", ":80", 0, "[::]:80", .any_stack = true },
	{ "tcp4", ":80", 0, "0.0.0.0:80" },
	{ "tcp6", ":80", 0, "[::]:80", .v6only = true },
	{ "unix", "/run/x.sock", 0, "unix:/run/x.sock" },
	{ "unix", "@name", 0, "unix:@name" },
	{ "unix", "relative", 0, "unix:relative" },

	{ NULL, "127.0.0.1:80", -EINVAL },
	{ "tcp", NULL, -EINVAL },
	{ "udp", "127.0.0.1:80", -NP_EUNSUPPORTED },
	{ "", "127.0.0.1:80", -NP_EUNSUPPORTED },
	{ "tcp", "", -EINVAL },
	{ "tcp", "127.0.0.1", -EINVAL },
	{ "tcp", "127.0.0.1:", -EINVAL },
	{ "tcp", "127.0.0.1:65536", -EINVAL },
	{ "tcp", "127.0.0.1:99999999999999999999", -EINVAL },
	{ "tcp", "127.0.0.1:-1", -EINVAL },
	{ "tcp", "127.0.0.1: 80", -EINVAL },
	{ "tcp", "127.0.0.1:80x", -EINVAL },
	{ "tcp", "127.0.0.1:http", -EINVAL },
	{ "tcp", "::1:80", -EINVAL },
	{ "tcp", "[::1]80", -EINVAL },
	{ "tcp", "[::1", -EINVAL },
	{ "tcp", "[::1]:", -EINVAL },
	{ "tcp", "[]:80", -EINVAL },
	{ "tcp", "[127.0.0.1]:80", -EINVAL },
	{ "tcp", "[fe80::1%nosuch0]:80", -ENODEV },
	{ "tcp", "[fe80::1%]:80", -EINVAL },
	{ "tcp", "[fe80::1%0]:80", -ENODEV },
	{ "tcp", "[fe80::1%1x]:80", -ENODEV },
	{ "tcp", "[fe80::1%-1]:80", -ENODEV },
	{ "tcp", "[fe80::1%4294967297]:80", -ENODEV }, /* not 1 */
	{ "tcp", "[fe80::1%18446744073709551617]:80", -ENODEV },
	{ "tcp", ":", -EINVAL },
	{ "tcp4", "[::1]:80", -EAFNOSUPPORT },
	{ "tcp6", "127.0.0.1:80", -EAFNOSUPPORT },
	{ "tcp", "localhost:80", -NP_ERESOLVE },
	{ "tcp", "256.0.0.1:80", -NP_ERESOLVE },
	{ "unix", "", -EINVAL },
};

static const unsigned n_addresses = sizeof addresses / sizeof addresses[0];

START_TEST(an_address_is_parsed_or_refused_with_its_reason)
{
	struct addr a = { .len = 12345 };
	char printed[128];

	ck_assert_msg(addr_parse(addresses[_i].network, addresses[_i].address, &a) ==
			      addresses[_i].result,
		      "%s %s", addresses[_i].network, addresses[_i].address);
	if (addresses[_i].result < 0) {
		ck_assert_uint_eq(a.len, 12345);
		return;
	}
	addr_format(&a.ss, a.len, printed, sizeof printed);
	ck_assert_str_eq(printed, addresses[_i].printed);
	ck_assert_int_eq(a.v6only, addresses[_i].v6only);
	ck_assert_int_eq(a.any_stack, addresses[_i].any_stack);
}
END_TEST

START_TEST(a_zone_becomes_the_scope)
{
	struct addr a;

	ck_assert_int_eq(addr_parse("tcp", "[fe80::1%lo]:80", &a), 0);
	ck_assert_uint_eq(((struct sockaddr_in6 *)&a.ss)->sin6_scope_id, if_nametoindex("lo"));
}
END_TEST

START_TEST(a_unix_path_has_107_bytes_at_most_and_an_abstract_name_no_terminator)
{
	struct sockaddr_un *un;
	struct addr a;
	char path[110];

	memset(path, 'x', sizeof path);
	path[107] = '\0';
	ck_assert_int_eq(addr_parse("unix", path, &a), 0);
	path[107] = 'x';
	path[108] = '\0';
	ck_assert_int_eq(addr_parse("unix", path, &a), -ENAMETOOLONG);
	path[0] = '@';
	ck_assert_int_eq(addr_parse("unix", path, &a), 0);
	ck_assert_uint_eq(a.len, sizeof(struct sockaddr_un));
	path[108] = 'x';
	path[109] = '\0';
	ck_assert_int_eq(addr_parse("unix", path, &a), -ENAMETOOLONG);

	ck_assert_int_eq(addr_parse("unix", "@ab", &a), 0);
	un = (struct sockaddr_un *)&a.ss;
	ck_assert_mem_eq(un->sun_path, "\0ab", 3);
	ck_assert_uint_eq(a.len, offsetof(struct sockaddr_un, sun_path) + 3);
}
END_TEST

START_TEST(a_host_as_long_as_names_get_does_not_overflow)
{
	char address[512];
	struct addr a;

	memset(address, 'h', sizeof address);
	strcpy(address + 500, ":80");
	ck_assert_int_eq(addr_parse("tcp", address, &a), -EINVAL);
	address[0] = '[';
	address[499] = ']';
	ck_assert_int_eq(addr_parse("tcp", address, &a), -EINVAL);
}
END_TEST

START_TEST(the_port_can_be_read_and_set_where_there_is_one)
{
	struct addr a;

	ck_assert_int_eq(addr_parse("tcp", "[::1]:80", &a), 0);
	addr_set_port(&a.ss, 81);
	ck_assert_int_eq(addr_port(&a.ss), 81);
	ck_assert_int_eq(addr_parse("unix", "@x", &a), 0);
	addr_set_port(&a.ss, 81);
	ck_assert_int_eq(addr_port(&a.ss), 0);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *c = add_case(s, "addr");

	tcase_add_loop_test(c, an_address_is_parsed_or_refused_with_its_reason, 0,
			    (int)n_addresses);
	tcase_add_test(c, a_zone_becomes_the_scope);
	tcase_add_test(c, a_unix_path_has_107_bytes_at_most_and_an_abstract_name_no_terminator);
	tcase_add_test(c, a_host_as_long_as_names_get_does_not_overflow);
	tcase_add_test(c, the_port_can_be_read_and_set_where_there_is_one);
}

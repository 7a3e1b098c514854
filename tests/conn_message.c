/* SPDX-License-Identifier: BSD-2-Clause */
/* conn_message: what is written is read back; what is cut or could not be, is refused. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conn/conn_message.h"
#include "support/test.h"

static const struct proxy_ends ends = { { AF_INET, 1, { 1, 2, 3, 4 } },
					{ AF_INET, 2, { 5, 6, 7, 8 } } };
static const struct proxy_ends no_ends = { { AF_INET, 1, { 1 } }, { AF_INET6, 2, { 5 } } };

static const struct conn_message given = {
	.flags = CONN_MESSAGE_SETTINGS | CONN_MESSAGE_REQUEST | CONN_MESSAGE_PAUSED,
	.transport = TRANSPORT_TCP,
	.settings = { .limits = { 100, 200, 300, 400 },
		      .read_timeout_ms = 1,
		      .write_timeout_ms = 2,
		      .idle_timeout_ms = 3,
		      .linger_ms = NP_NOW,
		      .min_rate = -1,
		      .request_timeout_ms = 4 },
	.idle_ms = 5,
	.request_ms = 6,
	.read_left_ms = 7,
	.write_left_ms = 8,
	.call_at = 9,
	.rx_total = 10,
	.tx_total = 11,
	.part = { { "input", 5 }, { "out", 3 }, { "", 0 }, { "blob", 4 }, { &ends, sizeof ends } },
};

static char *written(const struct conn_message *m, size_t *ret_n)
{
	char *p = malloc(conn_message_size(m));

	*ret_n = conn_message_size(m);
	conn_message_write(m, p);
	return p;
}

START_TEST(what_is_written_is_read_back)
{
	struct conn_message m;
	size_t n;
	char *p = written(&given, &n);

	ck_assert_int_eq(conn_message_read(p, n, &m), 0);
	ck_assert_uint_eq(m.flags, given.flags);
	ck_assert_int_eq(m.transport, given.transport);
	ck_assert_mem_eq(&m.settings, &given.settings, sizeof m.settings);
	ck_assert_uint_eq(m.idle_ms, 5);
	ck_assert_uint_eq(m.request_ms, 6);
	ck_assert_uint_eq(m.read_left_ms, 7);
	ck_assert_uint_eq(m.write_left_ms, 8);
	ck_assert_uint_eq(m.call_at, 9);
	ck_assert_uint_eq(m.rx_total, 10);
	ck_assert_uint_eq(m.tx_total, 11);
	for (unsigned i = 0; i < CONN_MESSAGE_PARTS; i++) {
		ck_assert_uint_eq(m.part[i].n, given.part[i].n);
		ck_assert_mem_eq(m.part[i].p, given.part[i].p, given.part[i].n);
	}
	free(p);
}
END_TEST

START_TEST(one_that_is_cut_anywhere_or_goes_on_is_refused)
{
	struct conn_message m;
	size_t n;
	char *p = written(&given, &n), *longer = calloc(1, n + 1);

	for (size_t cut = 0; cut < n; cut++) {
		char *part = malloc(cut ? cut : 1); /* so that a byte too many read is found */

		memcpy(part, p, cut);
		ck_assert_int_eq(conn_message_read(part, cut, &m), -EPROTO);
		free(part);
	}
	memcpy(longer, p, n);
	ck_assert_int_eq(conn_message_read(longer, n + 1, &m), -EPROTO);
	free(longer);
	free(p);
}
END_TEST

START_TEST(another_version_is_told_apart_from_garbage)
{
	struct conn_message m;
	size_t n;
	char *p = written(&given, &n);

	p[4]++; /* the version is the second word's first half */
	ck_assert_int_eq(conn_message_read(p, n, &m), -EPROTONOSUPPORT);
	p[0]++;
	ck_assert_int_eq(conn_message_read(p, n, &m), -EPROTO);
	free(p);
}
END_TEST

static void must_refuse(const struct conn_message *m)
{
	struct conn_message back;
	size_t n;
	char *p = written(m, &n);

	ck_assert_int_eq(conn_message_read(p, n, &back), -EPROTO);
	free(p);
}

START_TEST(ways_that_no_connection_has_are_refused)
{
	static const uint16_t flags[] = {
		CONN_MESSAGE_ENDED, /* and nobody has left */
		CONN_MESSAGE_ENDED | CONN_MESSAGE_LEFT | CONN_MESSAGE_PAUSED,
		CONN_MESSAGE_SHUT, /* and output is left */
		CONN_MESSAGE_SHUT | CONN_MESSAGE_DRAINING,
		CONN_MESSAGE_FLAGS + 1,
	};
	struct conn_message m = given;

	for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
		m.flags = flags[i];
		must_refuse(&m);
	}
}
END_TEST

START_TEST(numbers_that_no_connection_has_are_refused)
{
	struct conn_message m;

#define REFUSE(field, value)     \
	do {                     \
		m = given;       \
		m.field = value; \
		must_refuse(&m); \
	} while (0)
	REFUSE(flags, 0x8000);
	REFUSE(part[CONN_MESSAGE_ENDS].n, sizeof ends - 1);
	REFUSE(part[CONN_MESSAGE_ENDS].p, &no_ends);
	REFUSE(transport, TRANSPORT_FILE);
	REFUSE(transport, 7);
	REFUSE(call_at, 0);
	REFUSE(call_at, UINT64_MAX);
	REFUSE(idle_ms, UINT64_MAX);
	REFUSE(request_ms, UINT64_MAX);
	REFUSE(read_left_ms, UINT64_MAX);
	REFUSE(write_left_ms, UINT64_MAX);
	REFUSE(settings.read_timeout_ms, -1);
	REFUSE(settings.idle_timeout_ms, -5);
	REFUSE(settings.linger_ms, NP_NOW - 1);
	REFUSE(settings.min_rate, 0);
	REFUSE(settings.min_rate, -2);
	REFUSE(settings.limits.in_high, 301);
	REFUSE(settings.limits.in_high, 0);
	REFUSE(settings.limits.send_high, UINT32_MAX);
	REFUSE(settings.limits.in_max, SIZE_MAX);
#undef REFUSE
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "conn_message");

	tcase_add_test(t, what_is_written_is_read_back);
	tcase_add_test(t, one_that_is_cut_anywhere_or_goes_on_is_refused);
	tcase_add_test(t, another_version_is_told_apart_from_garbage);
	tcase_add_test(t, ways_that_no_connection_has_are_refused);
	tcase_add_test(t, numbers_that_no_connection_has_are_refused);
}

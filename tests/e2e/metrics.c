/* SPDX-License-Identifier: BSD-2-Clause */
/* metrics: what np_metrics_write() counts, and whether Prometheus can read it. */
#include <errno.h>
#include <float.h>
#include <locale.h>
#include <math.h>
#include <netpoll/linkbuf.h>
#include <netpoll/observe.h>
#include <netpoll/server.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/exposed.h"
#include "support/peer.h"
#include "support/serve.h"
#include "support/test.h"

static struct np_server *server;

static int echo(struct np_conn *c, void *arg)
{
	const void *p;
	int r = np_conn_next(c, 4, &p);

	if (r == 0)
		r = np_conn_write(c, p, 4);
	return r < 0 ? r : np_conn_flush(c);
}

/* On pollers of its own. */
static struct np_server *named_server(const char *name, bool metrics)
{
	static const struct np_handlers h = { .sz = sizeof h, .on_request = echo };
	struct np_server *s;

	ck_assert_int_eq(np_server_new(NULL, &h, NULL,
				       NP_OPTS(np_server_opts, .steer = NP_STEER_OFF, .name = name,
					       .drain_ms = 1, .fresh_ms = 1, .metrics = metrics),
				       &s),
			 0);
	ck_assert_int_eq(np_server_listen(s, "tcp", "127.0.0.1:0"), 0);
	ck_assert_int_eq(np_server_start(s), 0);
	return s;
}

/* Its name has to be escaped, and is no text. */
static void given_server(bool metrics)
{
	server = named_server("e\"\\c\xff\n", metrics);
}

static int connected(void)
{
	return peer_of(server, 0);
}

static void exchange(int fd, unsigned n)
{
	char answer[4];

	for (unsigned i = 0; i < n; i++) {
		peer_send(fd, "ping", 4);
		peer_recv(fd, answer, 4);
	}
}

static void end_named(struct np_server **s)
{
	serve_over(s);
}

static void end_server(void)
{
	end_named(&server);
}

/* The sum of all samples with this name, whatever their labels; -1: there is none. */
static double sample(const char *name)
{
	char *text = exposed(NP_METRICS_OPENMETRICS, NULL), *rest = text, *line;
	size_t n = strlen(name);
	double sum = -1;

	while ((line = strsep(&rest, "\n")))
		if (!strncmp(line, name, n) && (line[n] == ' ' || line[n] == '{'))
			sum = (sum < 0 ? 0 : sum) + strtod(strrchr(line, ' '), NULL);
	free(text);
	return sum;
}

/* ------------------------------------------------------------------ counts */

START_TEST(requests_and_connections_are_counted)
{
	int a, b;

	given_server(true);
	a = connected();
	b = connected();
	exchange(a, 100);
	exchange(b, 5);

	AWAIT(sample("np_requests_total") == 105);
	ck_assert(sample("np_connections") == 2);
	ck_assert(sample("np_connections_accepted_total") == 2);
	ck_assert(sample("np_handler_seconds_count") >= 1);
	ck_assert(sample("np_handler_seconds_count") <= 105);
	ck_assert(sample("np_request_age_seconds_count") == sample("np_handler_seconds_count"));
	AWAIT(sample("np_first_byte_seconds_count") == 2);
	ck_assert(sample("np_accept_wait_seconds_count") == 2);
	ck_assert(sample("np_server_draining") == 0);
	peer_close(&a);
	peer_close(&b);
	end_server();
}
END_TEST

START_TEST(a_drain_is_timed)
{
	int fd;

	given_server(true);
	fd = connected();
	exchange(fd, 1);
	np_server_drain(server);
	AWAIT(sample("np_server_draining") == 1);
	peer_close(&fd);
	AWAIT(sample("np_drain_seconds_count") == 1);
	end_server();
}
END_TEST

START_TEST(off_nothing_is_timed_and_the_rest_is_there)
{
	int fd;

	given_server(false);
	fd = connected();
	exchange(fd, 10);
	ck_assert(sample("np_requests_total") == -1);
	ck_assert(sample("np_handler_seconds_count") == 0);
	ck_assert(sample("np_connections_accepted_total") == 1);
	peer_close(&fd);
	end_server();
}
END_TEST

START_TEST(a_name_is_utf_8_and_in_one_line_whatever_it_was)
{
	char *text;

	given_server(false);
	text = exposed(NP_METRICS_TEXT, NULL);
	ck_assert_ptr_nonnull(strstr(text, "np_connections{server=\"e\\\"\\\\c??\",id=\"0\"} 0\n"));
	free(text);
	end_server();
}
END_TEST

/* The library's page has this line. */
static void must_expose(const char *line)
{
	char *text = exposed(NP_METRICS_TEXT, NULL);

	ck_assert_msg(strstr(text, line) != NULL, "no %s in\n%s", line, text);
	free(text);
}

/* One that is gone takes its number along: what the others have counted stays theirs. */
START_TEST(servers_of_one_name_are_told_apart_for_as_long_as_they_live)
{
	struct np_server *first = named_server("web", true);
	int fd;

	server = named_server("web", true);
	fd = connected();
	exchange(fd, 1);
	must_expose("\nnp_connections_accepted_total{server=\"web\",id=\"0\"} 0\n"
		    "np_connections_accepted_total{server=\"web\",id=\"1\"} 1\n");
	must_expose("\nnp_server_draining{server=\"web\",id=\"0\"} 0\n"
		    "np_server_draining{server=\"web\",id=\"1\"} 0\n");
	end_named(&first);
	first = named_server("web", true);
	must_expose("counter\nnp_connections_accepted_total{server=\"web\",id=\"1\"} 1\n"
		    "np_connections_accepted_total{server=\"web\",id=\"2\"} 0\n");
	must_expose("gauge\nnp_offload_queued{set=\"1\"} 0\n"
		    "np_offload_queued{set=\"2\"} 0\n");
	must_expose("counter\nnp_requests_total{set=\"1\",poller=\"0\"} ");
	peer_close(&fd);
	end_server();
	end_named(&first);
}
END_TEST

START_TEST(what_is_no_format_is_refused)
{
	struct np_linkbuf *b;

	ck_assert_int_eq(np_linkbuf_new(0, &b), 0);
	ck_assert_int_eq(np_metrics_write(NULL, 0), -EINVAL);
	ck_assert_int_eq(np_metrics_write(b, 2), -EINVAL);
	ck_assert_int_eq(np_metrics_write(b, -1), -EINVAL);
	ck_assert_uint_eq(np_linkbuf_pending(b), 0);
	np_linkbuf_free(&b);
}
END_TEST

/* ------------------------------------------------------------------ read by others */

/* A program's own families, with what has to be escaped in them. */
static void add_own(struct np_metrics *m)
{
	static const struct np_metric_label odd[] = {
		{ "a",
		  "quote \" backslash \\ line\n tab\t \xff \xc3\xa4 \xe2\x82\xac \xed\xa0\x80" },
		{ "_b9", "" },
		{ 0 },
	};

	np_metrics_family(m, "shop_orders", NP_METRIC_COUNTER, "Orders \\ taken\nsince the start.");
	np_metrics_count(m, NULL, UINT64_MAX);
	np_metrics_family(m, "shop_load", NP_METRIC_GAUGE, "How busy it is.");
	np_metrics_real(m, odd, 0.25);
	np_metrics_family(m, "shop_empty", NP_METRIC_GAUGE, "Without a sample.");
}

START_TEST(values_of_labels_are_escaped_and_shown)
{
	char *text = exposed(NP_METRICS_TEXT, add_own);

	ck_assert_ptr_nonnull(strstr(text, "\nshop_orders_total 18446744073709551615\n"));
	ck_assert_ptr_nonnull(
		strstr(text, "\nshop_load{a=\"quote \\\" backslash \\\\ line? tab? ? \xc3\xa4 "
			     "\xe2\x82\xac ???\",_b9=\"\"} 0.250000\n"));
	free(text);
}
END_TEST

/* A program may have a locale in which the point of a number is none. */
static void given_locale_with_comma(char *dir)
{
	must_sh("printf 'comment_char %%%%\nescape_char /\nLC_NUMERIC\ndecimal_point \"<U002C>\"\n"
		"thousands_sep \"\"\ngrouping -1\nEND LC_NUMERIC\n' >%s/source; "
		"localedef -c -i %s/source -f UTF-8 %s/comma 2>/dev/null || test -d %s/comma",
		dir, dir, dir, dir);
	setenv("LOCPATH", dir, 1);
	ck_assert_ptr_nonnull(setlocale(LC_NUMERIC, "comma"));
	ck_assert_str_eq(localeconv()->decimal_point, ",");
}

static void add_reals(struct np_metrics *m)
{
	static const double reals[] = { 0.25, -1e15, 1e-7, DBL_MAX, NAN, INFINITY, -INFINITY };

	np_metrics_family(m, "real", NP_METRIC_GAUGE, "Numbers.");
	for (unsigned i = 0; i < sizeof reals / sizeof *reals; i++)
		np_metrics_real(m, NULL, reals[i]);
}

START_TEST(numbers_are_written_as_prometheus_reads_them_in_any_locale)
{
	char *dir, *text;

	if (!have("localedef"))
		SKIP("needs localedef (libc-bin)");
	dir = temp_dir();
	given_locale_with_comma(dir);
	given_server(true);
	text = exposed(NP_METRICS_TEXT, add_reals);
	ck_assert_ptr_nonnull(strstr(text,
				     "\nreal 0.250000\nreal -1000000000000000.000000\n"
				     "real 0.000000\nreal 179769313486231570814527423731704"));
	ck_assert_ptr_nonnull(strstr(text, "\nreal NaN\nreal +Inf\nreal -Inf\n"));
	ck_assert_ptr_nonnull(strstr(text, "np_handler_seconds_bucket{le=\"0."));
	ck_assert_ptr_nonnull(strstr(text, "np_handler_seconds_bucket{le=\"+Inf\"} 0\n"));
	ck_assert_ptr_nonnull(strstr(text, "\nnp_handler_seconds_sum 0.000000\n"));
	ck_assert_ptr_nonnull(strstr(text, "\nnp_poller_busy_seconds{set=\"0\",poller=\"0\"} 0."));
	free(text);
	end_server();
	remove_tree(&dir);
}
END_TEST

static void bad_name(struct np_metrics *m)
{
	np_metrics_family(m, "9lives", NP_METRIC_GAUGE, "x");
}

static void bad_sample(struct np_metrics *m)
{
	np_metrics_count(m, NULL, 1);
}

static void bad_type(struct np_metrics *m)
{
	np_metrics_family(m, "x", 2, "x");
}

static void bad_label(struct np_metrics *m)
{
	static const struct np_metric_label label[] = { { "a:b", "x" }, { 0 } };

	np_metrics_family(m, "x", NP_METRIC_GAUGE, "x");
	np_metrics_count(m, label, 1);
}

static void no_value(struct np_metrics *m)
{
	static const struct np_metric_label label[] = { { "a", NULL }, { 0 } };

	np_metrics_family(m, "x", NP_METRIC_GAUGE, "x");
	np_metrics_count(m, label, 1);
}

START_TEST(what_prometheus_would_not_take_is_not_written)
{
	static void (*const bad[])(struct np_metrics *) = { bad_name, bad_sample, bad_type,
							    bad_label, no_value };
	struct np_linkbuf *b;
	struct np_metrics *m;

	ck_assert_int_eq(np_linkbuf_new(0, &b), 0);
	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		ck_assert_int_eq(np_metrics_begin(b, NP_METRICS_TEXT, &m), 0);
		bad[i](m);
		ck_assert_int_eq(np_metrics_end(&m), -EINVAL);
		ck_assert_ptr_null(m);
	}
	ck_assert_uint_eq(np_linkbuf_pending(b), 0);
	ck_assert_int_eq(np_metrics_begin(NULL, NP_METRICS_TEXT, &m), -EINVAL);
	ck_assert_int_eq(np_metrics_begin(b, 2, &m), -EINVAL);
	np_linkbuf_free(&b);
}
END_TEST

START_TEST(promtool_finds_nothing_wrong_with_the_text_format)
{
	struct ran r;
	int fd;

	given_server(true);
	fd = connected();
	exchange(fd, 10);
	EXPOSED_TO_PROMTOOL(&r, add_own);
	ran_free(&r);
	peer_close(&fd);
	end_server();
}
END_TEST

START_TEST(prometheus_own_parser_reads_the_openmetrics)
{
	struct ran r;
	int fd;

	given_server(true);
	fd = connected();
	exchange(fd, 10);
	EXPOSED_TO_PARSER(&r, add_own);
	ck_assert_ptr_nonnull(strstr(r.out, "np_handler_seconds 5"));
	ck_assert_ptr_nonnull(strstr(r.out, "np_connections_accepted 1\n"));
	ck_assert_ptr_nonnull(strstr(r.out, "shop_load 1\n"));
	ran_free(&r);
	peer_close(&fd);
	end_server();
}
END_TEST

START_TEST(servers_of_one_name_are_no_samples_twice)
{
	struct np_server *other = named_server("web", true);
	struct ran r;

	server = named_server("web", true);
	EXPOSED_TO_PROMTOOL(&r, NULL);
	ran_free(&r);
	EXPOSED_TO_PARSER(&r, NULL);
	ck_assert_ptr_nonnull(strstr(r.out, "np_connections 2\n"));
	ck_assert_ptr_nonnull(strstr(r.out, "np_connections_accepted 2\n"));
	ran_free(&r);
	end_server();
	end_named(&other);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "counts"), *o = add_case(s, "others");

	tcase_add_test(t, requests_and_connections_are_counted);
	tcase_add_test(t, a_drain_is_timed);
	tcase_add_test(t, off_nothing_is_timed_and_the_rest_is_there);
	tcase_add_test(t, a_name_is_utf_8_and_in_one_line_whatever_it_was);
	tcase_add_test(t, servers_of_one_name_are_told_apart_for_as_long_as_they_live);
	tcase_add_test(t, what_is_no_format_is_refused);
	tcase_add_test(o, values_of_labels_are_escaped_and_shown);
	tcase_add_test(o, numbers_are_written_as_prometheus_reads_them_in_any_locale);
	tcase_add_test(o, what_prometheus_would_not_take_is_not_written);
	tcase_add_test(o, promtool_finds_nothing_wrong_with_the_text_format);
	tcase_add_test(o, prometheus_own_parser_reads_the_openmetrics);
	tcase_add_test(o, servers_of_one_name_are_no_samples_twice);
}

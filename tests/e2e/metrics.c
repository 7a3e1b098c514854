/* SPDX-License-Identifier: BSD-2-Clause */
/* metrics: what np_metrics_write() counts, and whether Prometheus can read it. */
#include <errno.h>
#include <netpoll/linkbuf.h>
#include <netpoll/observe.h>
#include <netpoll/server.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/peer.h"
#include "support/run.h"
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

/* On pollers of its own, with a name that has to be escaped, and is no text. */
static void given_server(bool metrics)
{
	static const struct np_handlers h = { .sz = sizeof h, .on_request = echo };

	ck_assert_int_eq(np_server_new(NULL, &h, NULL,
				       NP_OPTS(np_server_opts, .steer = NP_STEER_OFF,
					       .name = "e\"\\c\xff\n", .drain_ms = 1, .fresh_ms = 1,
					       .metrics = metrics),
				       &server),
			 0);
	ck_assert_int_eq(np_server_listen(server, "tcp", "127.0.0.1:0"), 0);
	ck_assert_int_eq(np_server_start(server), 0);
}

static int connected(void)
{
	struct sockaddr_storage ss;
	socklen_t len;

	ck_assert_int_eq(np_server_addr(server, 0, &ss, &len), 0);
	return peer_connect(&ss, len);
}

static void exchange(int fd, unsigned n)
{
	char answer[4];

	for (unsigned i = 0; i < n; i++) {
		peer_send(fd, "ping", 4);
		peer_recv(fd, answer, 4);
	}
}

static void end_server(void)
{
	ck_assert_int_eq(np_server_stop(server, AWAIT_MS, NULL), 0);
	ck_assert_int_eq(np_server_free(&server), 0);
}

static char *written(int format)
{
	struct np_linkbuf *b;
	char *text;

	ck_assert_int_eq(np_linkbuf_new(0, &b), 0);
	ck_assert_int_eq(np_metrics_write(b, format), 0);
	ck_assert_int_eq(np_linkbuf_flush(b), 0);
	ck_assert_int_eq(np_linkbuf_dup(b, np_linkbuf_len(b), &text), 0);
	np_linkbuf_free(&b);
	return text;
}

/* The sum of all samples with this name, whatever their labels; -1: there is none. */
static double sample(const char *name)
{
	char *text = written(NP_METRICS_OPENMETRICS), *rest = text, *line;
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
	text = written(NP_METRICS_TEXT);
	ck_assert_ptr_nonnull(strstr(text, "np_connections{server=\"e\\\"\\\\c??\"} 0\n"));
	free(text);
	end_server();
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

/* @command gets what was written on stdin. */
static void read_by(struct ran *r, int format, const char *command)
{
	char *dir = temp_dir(), *text = written(format);
	char path[128];
	FILE *f;

	snprintf(path, sizeof path, "%s/metrics", dir);
	f = fopen(path, "w");
	fputs(text, f);
	fclose(f);
	sh(r, "%s < %s", command, path);
	free(text);
	remove_tree(&dir);
}

START_TEST(promtool_finds_nothing_wrong_with_the_text_format)
{
	struct ran r;
	int fd;

	sh(&r, "command -v promtool");
	if (r.code != 0)
		SKIP("needs promtool (prometheus): scripts/deps --all");
	ran_free(&r);
	given_server(true);
	fd = connected();
	exchange(fd, 10);
	read_by(&r, NP_METRICS_TEXT, "promtool check metrics");
	ck_assert_msg(r.code == 0, "%d: %s%s", r.code, r.out, r.err);
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
	read_by(&r, NP_METRICS_OPENMETRICS, "/usr/bin/python3 tests/support/openmetrics.py");
	peer_close(&fd);
	end_server();
	if (r.code == 77 || r.code == 127) {
		ran_free(&r);
		SKIP("needs python3-prometheus-client: scripts/deps --all");
	}
	ck_assert_msg(r.code == 0, "%d: %s%s", r.code, r.out, r.err);
	ck_assert_ptr_nonnull(strstr(r.out, "np_handler_seconds 5"));
	ck_assert_ptr_nonnull(strstr(r.out, "np_connections_accepted 1\n"));
	ran_free(&r);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("metrics");
	TCase *t = tcase_create("counts"), *o = tcase_create("others");

	tcase_add_test(t, requests_and_connections_are_counted);
	tcase_add_test(t, a_drain_is_timed);
	tcase_add_test(t, off_nothing_is_timed_and_the_rest_is_there);
	tcase_add_test(t, a_name_is_utf_8_and_in_one_line_whatever_it_was);
	tcase_add_test(t, what_is_no_format_is_refused);
	suite_add_tcase(s, t);
	tcase_add_test(o, promtool_finds_nothing_wrong_with_the_text_format);
	tcase_add_test(o, prometheus_own_parser_reads_the_openmetrics);
	suite_add_tcase(s, o);
	return run_suite(s);
}

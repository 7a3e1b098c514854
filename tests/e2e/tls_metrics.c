/* SPDX-License-Identifier: BSD-2-Clause */
/* tls_metrics: what TLS contexts have counted, on the page that the library and a program write */
#include <netpoll/tls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/exposed.h"

static struct np_tls *contexts[3];
static char *dir;

static struct np_tls *given_context(const char *name)
{
	char cert[128], key[128];
	const struct np_tls_cert c = { cert, key };
	struct np_tls *t;

	must_sh("cd %s && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
		"-keyout %s.key -out %s.pem -days 30 -subj /CN=%s 2>/dev/null",
		dir, name, name, name);
	snprintf(cert, sizeof cert, "%s/%s.pem", dir, name);
	snprintf(key, sizeof key, "%s/%s.key", dir, name);
	ck_assert_int_eq(np_tls_server_new(NP_OPTS(np_tls_opts, .certs = &c, .n_certs = 1), &t), 0);
	return t;
}

static void setup(void)
{
	dir = temp_dir();
	contexts[0] = given_context("one");
	contexts[2] = given_context("two");
	ck_assert_int_eq(np_tls_reload(contexts[2]), 0);
}

static void teardown(void)
{
	np_tls_free(&contexts[0]);
	np_tls_free(&contexts[2]);
	remove_tree(&dir);
}

static void add_one(struct np_metrics *m)
{
	np_tls_metrics(m, contexts, NULL, 1);
}

/* One of them is none. */
static void add_all(struct np_metrics *m)
{
	static const char *const names[] = { "front", "none", "ba\"ck" };

	np_tls_metrics(m, contexts, names, 3);
}

static void add_unnamed(struct np_metrics *m)
{
	np_tls_metrics(m, contexts, NULL, 3);
}

static void add_namesakes(struct np_metrics *m)
{
	static const char *const names[] = { "same", "same", "same" };

	np_tls_metrics(m, contexts, names, 3);
}

static void add_one_named(struct np_metrics *m)
{
	static const char *const names[] = { "front", NULL, NULL };

	np_tls_metrics(m, contexts, names, 3);
}

static void (*const odd_names[])(struct np_metrics *) = { add_unnamed, add_namesakes,
							  add_one_named };
static const char *const odd_labels[] = {
	"{context=\"0\"} 0\nnp_tls_reloads_total{context=\"2\"}",
	"{context=\"same\"} 0\nnp_tls_reloads_total{context=\"same 2\"}",
	"{context=\"front\"} 0\nnp_tls_reloads_total{context=\"2\"}"
};

static void must_say(const char *text, const char *line)
{
	ck_assert_msg(strstr(text, line) != NULL, "no %s in\n%s", line, text);
}

START_TEST(each_context_has_its_samples)
{
	char *text = exposed(NP_METRICS_TEXT, add_all);

	must_say(text,
		 "# TYPE np_tls_reloads_total counter\nnp_tls_reloads_total{context=\"front\"} 0\n"
		 "np_tls_reloads_total{context=\"ba\\\"ck\"} 1\n# HELP");
	must_say(text, "\nnp_tls_handshakes_under_way{context=\"front\"} 0\n");
	free(text);
	text = exposed(NP_METRICS_OPENMETRICS, add_one);
	must_say(text, "# TYPE np_tls_handshakes counter\nnp_tls_handshakes_total 0\n# HELP");
	free(text);
}
END_TEST

START_TEST(contexts_without_a_name_or_of_one_name_are_told_apart)
{
	char *text = exposed(NP_METRICS_TEXT, odd_names[_i]);
	struct ran r;

	must_say(text, odd_labels[_i]);
	free(text);
	EXPOSED_TO_PARSER(&r, odd_names[_i]);
	must_say(r.out, "np_tls_handshakes 2\n");
	ran_free(&r);
}
END_TEST

START_TEST(promtool_finds_nothing_wrong_with_it)
{
	struct ran r;

	EXPOSED_TO_PROMTOOL(&r, add_all);
	ran_free(&r);
}
END_TEST

START_TEST(prometheus_own_parser_reads_it)
{
	struct ran r;

	EXPOSED_TO_PARSER(&r, add_all);
	must_say(r.out, "np_tls_handshakes 2\n");
	ran_free(&r);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "tls_metrics");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, each_context_has_its_samples);
	tcase_add_loop_test(t, contexts_without_a_name_or_of_one_name_are_told_apart, 0, 3);
	tcase_add_test(t, promtool_finds_nothing_wrong_with_it);
	tcase_add_test(t, prometheus_own_parser_reads_it);
}

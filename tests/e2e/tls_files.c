/* SPDX-License-Identifier: BSD-2-Clause */
/* tls_files: what a context reads: certificates of several names, new ones, wrong ones */
#include <arpa/inet.h>
#include <errno.h>
#include <unistd.h>

#include "support/tls_echo.h"

/* The common name of the certificate that a peer gets which asks for @name; "" for an alert. */
static const char *who_answers(const char *name, const char *sigalgs)
{
	static char cn[64];
	struct tls_peer p;

	cn[0] = '\0';
	tls_peer_init(&p, serve_connect(0));
	if (name)
		SSL_set_tlsext_host_name(p.ssl, name);
	if (sigalgs)
		SSL_set1_sigalgs_list(p.ssl, sigalgs);
	if (tls_peer_shake_to_the_end(&p)) {
		X509 *leaf = SSL_get0_peer_certificate(p.ssl);

		X509_NAME_get_text_by_NID(X509_get_subject_name(leaf), NID_commonName, cn,
					  sizeof cn);
		tls_peer_push(&p);
		tls_peer_part(&p);
	} else {
		tls_peer_free(&p);
	}
	return cn;
}

static struct np_tls_cert certs[3];

static void given_three_names(bool strict)
{
	certs[0] = (struct np_tls_cert){ in_certs("localhost.pem"), in_certs("localhost.key") };
	certs[1] = (struct np_tls_cert){ in_certs("two.pem"), in_certs("two.key") };
	certs[2] = (struct np_tls_cert){ in_certs("tworsa.pem"), in_certs("tworsa.key") };
	given_server(NP_OPTS(np_tls_opts, .certs = certs, .n_certs = 3, .strict_sni = strict));
}

START_TEST(each_name_gets_its_certificate_and_others_the_first)
{
	given_three_names(false);
	ck_assert_str_eq(who_answers("localhost", NULL), "localhost");
	ck_assert_str_eq(who_answers("two.example", NULL), "two");
	ck_assert_str_eq(who_answers("a.wild.example", NULL), "two");
	ck_assert_str_eq(who_answers("nobody.example", NULL), "localhost");
	ck_assert_str_eq(who_answers(NULL, NULL), "localhost");
	/* the same names by a key of another kind, for a client that takes no other */
	ck_assert_str_eq(who_answers("two.example", "RSA-PSS+SHA256"), "tworsa");
	end_server();
}
END_TEST

/* More names than a server remembers, and between them the others. */
START_TEST(each_of_many_names_gets_its_certificate_each_time)
{
	char name[64];

	given_three_names(false);
	for (int i = 0; i < 40; i++) {
		snprintf(name, sizeof name, "host%d.wild.example", i);
		ck_assert_str_eq(who_answers(name, NULL), "two");
		ck_assert_str_eq(who_answers("localhost", NULL), "localhost");
		ck_assert_str_eq(who_answers(name, NULL), "two");
	}
	end_server();
}
END_TEST

START_TEST(an_unknown_name_gets_an_alert_where_that_is_asked_for)
{
	given_three_names(true);
	ck_assert_str_eq(who_answers("two.example", NULL), "two");
	ck_assert_str_eq(who_answers("nobody.example", NULL), "");
	ck_assert_int_eq(ERR_GET_REASON(ERR_peek_error()), SSL_R_TLSV1_UNRECOGNIZED_NAME);
	ck_assert_str_eq(who_answers(NULL, NULL), "localhost");
	end_server();
}
END_TEST

START_TEST(a_slow_signature_is_made_by_a_worker)
{
	certs[0] = (struct np_tls_cert){ in_certs("tworsa.pem"), in_certs("tworsa.key") };
	given_server(NP_OPTS(np_tls_opts, .certs = certs, .n_certs = 1, .offload_us = 1));
	for (int i = 0; i < 4; i++)
		ck_assert_str_eq(who_answers("two.example", NULL), "tworsa");
	ck_assert_uint_eq(tls_stats_of(tls).offloaded, 4);
	ck_assert_uint_eq(tls_stats_of(tls).handshakes, 4);
	end_server();
}
END_TEST

/* ------------------------------------------------------------------ new files */

START_TEST(new_files_are_taken_without_a_restart_and_wrong_ones_change_nothing)
{
	struct tls_peer old;
	char why[256];

	must_sh("cd %s && cp localhost.pem live.pem && cp localhost.key live.key", certs_dir);
	certs[0] = (struct np_tls_cert){ in_certs("live.pem"), in_certs("live.key") };
	given_server(NP_OPTS(np_tls_opts, .certs = certs, .n_certs = 1));
	given_peer(&old);
	must_sh("cd %s && cp two.pem live.pem", certs_dir); /* the key is still the old one */
	ck_assert_int_eq(np_tls_reload(tls), -NP_ETLS);
	ck_assert_uint_gt(np_tls_error(tls, why, sizeof why), 0);
	ck_assert_msg(strstr(why, "live.key is not that of certificate"), "%s", why);
	ck_assert_str_eq(who_answers(NULL, NULL), "localhost");
	must_sh("cd %s && cp two.key live.key", certs_dir);
	ck_assert_int_eq(np_tls_reload(tls), 0);
	ck_assert_str_eq(who_answers(NULL, NULL), "two");
	ck_assert_uint_eq(tls_stats_of(tls).reloads, 1);
	tls_peer_say(&old, "goes on", 7); /* what was open stays as it was */
	tls_peer_expect(&old, "goes on");
	tls_peer_part(&old);
	end_server();
}
END_TEST

static const struct wrong {
	const char *cert, *key, *why;
} wrongs[] = {
	{ "nowhere.pem", "localhost.key", "nowhere.pem: No such file or directory" },
	{ "localhost.pem", "nowhere.key", "nowhere.key: No such file or directory" },
	{ "localhost.pem", "two.key", "two.key is not that of certificate" },
	{ "localhost.pem", "tworsa.key", "tworsa.key is not that of certificate" },
	{ "localhost.key", "localhost.key", "certificate " },
	{ "localhost.pem", "localhost.pem", "key " },
	{ "localhost.pem", "secret.key", "secret.key has a password" },
	{ "chain.pem", "localhost.key", "certificate 2 is not the issuer of the one before it" },
	{ "empty", "localhost.key", "certificate " },
	{ "fifo", "localhost.key", "fifo: not a file" },
	{ "localhost.pem", "fifo", "fifo: not a file" },
	{ "folder", "localhost.key", "folder: not a file" },
};

START_TEST(what_is_wrong_with_a_file_is_one_clear_sentence)
{
	const struct wrong *w = &wrongs[_i];
	struct np_tls_cert cert = { in_certs(w->cert), in_certs(w->key) };
	struct np_tls *t = NULL;
	char why[256] = "";

	ck_assert_int_eq(np_tls_server_new(NP_OPTS(np_tls_opts, .certs = &cert, .n_certs = 1,
						   .error = why, .error_size = sizeof why),
					   &t),
			 -NP_ETLS);
	ck_assert_ptr_null(t);
	ck_assert_msg(strstr(why, w->why) != NULL, "%s", why);
	ck_assert_ptr_null(strchr(why, '\n'));
}
END_TEST

/* What a stranger puts in the place of the ticket file, and what is said. */
static const struct {
	const char *how, *why;
} replaced[] = {
	{ "mkdir t", "t: not a file" },
	{ "mkfifo t", "t: not a file" },
	{ "ln -s fifo t", "t: not a file" },
	{ "ln -s nowhere t", "t: No such file or directory" },
	{ "head -c 31 secret > t", "t: 31 bytes, and at least 32 are needed" },
	{ ": > t", "t: 0 bytes" },
	{ "cp secret t && chmod o+w t", "t: others own it, or may write it" },
	{ "cp secret t && chown 1 t", "t: others own it, or may write it" },
};

START_TEST(a_ticket_file_that_is_replaced_leaves_the_one_before)
{
	char why[256];

	if (geteuid() != 0 && strstr(replaced[_i].how, "chown"))
		SKIP("needs root to give a file away");
	must_sh("cd %s && rm -rf t && cp secret t", certs_dir);
	given_server(NP_OPTS(np_tls_opts, .ticket_file = in_certs("t")));
	must_sh("cd %s && rm t && %s", certs_dir, replaced[_i].how);
	ck_assert_int_eq(np_tls_reload(tls), -NP_ETLS);
	np_tls_error(tls, why, sizeof why);
	ck_assert_msg(strstr(why, replaced[_i].why) != NULL, "%s", why);
	ck_assert_str_eq(who_answers(NULL, NULL), "localhost");
	must_sh("cd %s && rm -rf t && ln -s secret t", certs_dir); /* a link is as good */
	ck_assert_int_eq(np_tls_reload(tls), 0);
	end_server();
}
END_TEST

START_TEST(options_that_are_none_are_refused)
{
	struct np_tls_cert cert = { in_certs("localhost.pem"), in_certs("localhost.key") };
	const char *const empty[] = { "", NULL };
	struct np_tls_opts good = { .sz = sizeof good, .certs = &cert, .n_certs = 1 }, o;
	struct np_tls *t = NULL;

	ck_assert_int_eq(np_tls_server_new(NULL, &t), -EINVAL);
	o = good, o.handshake_ms = -2;
	ck_assert_int_eq(np_tls_server_new(&o, &t), -EINVAL);
	o = good, o.offload_us = -2;
	ck_assert_int_eq(np_tls_server_new(&o, &t), -EINVAL);
	o = good, o.ticket_s = -1;
	ck_assert_int_eq(np_tls_server_new(&o, &t), -EINVAL);
	o = good, o.max_handshakes = -2;
	ck_assert_int_eq(np_tls_server_new(&o, &t), -EINVAL);
	o = good, o.alpn = empty;
	ck_assert_int_eq(np_tls_server_new(&o, &t), -EINVAL);
	o = good, o.sz = 0;
	ck_assert_int_eq(np_tls_server_new(&o, &t), -EINVAL);
	o = good, o.ticket_file = in_certs("empty");
	ck_assert_int_eq(np_tls_server_new(&o, &t), -NP_ETLS);
	ck_assert_ptr_null(t);
	ck_assert_int_eq(np_tls_free(&t), 0);
}
END_TEST

static void setup(void)
{
	certs_setup();
	make_cert("two", EC, "DNS:two.example,DNS:*.wild.example", "-days 30");
	make_cert("tworsa", "rsa:2048", "DNS:two.example,DNS:*.wild.example", "-days 30");
	must_sh("cd %s && openssl ec -in localhost.key -aes128 -passout pass:x -out secret.key 2>/dev/null && "
		"cat localhost.pem two.pem > chain.pem && : > empty && mkfifo fifo && mkdir folder && "
		"head -c 48 /dev/urandom > secret",
		certs_dir);
}

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "tls_files");

	tcase_add_unchecked_fixture(t, setup, certs_teardown);
	tcase_add_test(t, each_name_gets_its_certificate_and_others_the_first);
	tcase_add_test(t, each_of_many_names_gets_its_certificate_each_time);
	tcase_add_test(t, an_unknown_name_gets_an_alert_where_that_is_asked_for);
	tcase_add_test(t, a_slow_signature_is_made_by_a_worker);
	tcase_add_test(t, new_files_are_taken_without_a_restart_and_wrong_ones_change_nothing);
	tcase_add_loop_test(t, what_is_wrong_with_a_file_is_one_clear_sentence, 0,
			    sizeof wrongs / sizeof wrongs[0]);
	tcase_add_loop_test(t, a_ticket_file_that_is_replaced_leaves_the_one_before, 0,
			    sizeof replaced / sizeof replaced[0]);
	tcase_add_test(t, options_that_are_none_are_refused);
}

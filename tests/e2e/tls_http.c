/* SPDX-License-Identifier: BSD-2-Clause */
/* tls_http: examples/http --tls: curl, and a client that sees how each connection ends */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <unistd.h>

#include "support/http.h"
#include "support/tls_peer.h"

#define BIG   (3u << 20)
#define HELLO "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"

static struct answer a;
static char *dir; /* www/ten.txt, www/big.bin */

static void given_folder(void)
{
	dir = temp_dir();
	must_sh("cd %s && mkdir www && printf 0123456789 >www/ten.txt && head -c %u /dev/urandom >www/big.bin",
		dir, BIG);
}

static void remove_folder(void)
{
	remove_tree(&dir);
}

static void given_https(const char *more)
{
	char options[900];

	snprintf(options, sizeof options, "--tls %s,%s --folder %s/www %s",
		 in_certs("localhost.pem"), in_certs("localhost.key"), dir, more);
	http_start(options);
}

/* ------------------------------------------------------------------ curl */

/* In the folder; %s in @what is where the server is. Its output has to be @expected. */
static void curl_says(const char *version, const char *what, const char *expected)
{
	char url[64], text[512];
	struct ran r;

	snprintf(url, sizeof url, "https://localhost:%d", http_port());
	snprintf(text, sizeof text, what, url);
	sh(&r, "cd %s && curl -sS -m 20 --cacert %s --tlsv%s --tls-max %s %s", dir,
	   in_certs("ca.pem"), version, version, text);
	ck_assert_msg(!strcmp(r.out, expected), "TLS %s: curl %s: %d %s%s", version, text, r.code,
		      r.out, r.err);
	ran_free(&r);
}

START_TEST(curl_is_served_over_tls_1_2_and_1_3)
{
	static const struct {
		const char *what, *expected;
	} cases[] = {
		{ "%s/hello", "hello\n" },
		{ "-o none -w '%%{http_version} %%{ssl_verify_result}' %s/hello", "1.1 0" },
		{ "-I %s/big.bin | grep -ic '^content-length: 3145728'", "1\n" },
		{ "%s/big.bin | cmp - www/big.bin", "" },
		{ "-r 2-4 %s/ten.txt", "234" },
		{ "-r 100000-2999999 %s/big.bin | cmp -n 2900000 -i 0:100000 - www/big.bin", "" },
		{ "-r 0-0,9-9 %s/ten.txt | grep -c Content-Range", "2\n" },
		{ "-o none -w '%%{http_code}' -r 10- %s/ten.txt", "416" },
		{ "-T www/big.bin %s/upload", "3145728\n" },
		{ "-T - %s/upload <www/big.bin", "3145728\n" },
		{ "-T www/big.bin %s/echo | cmp - www/big.bin", "" },
		{ "-T - %s/echo <www/big.bin | cmp - www/big.bin", "" },
		{ "-o none -w '%%{num_connects}' '%s/hello?[1-5]'", "10000" },
		{ "-o none -w '%%{http_code}' --path-as-is %s/../../etc/passwd", "404" },
	};
	const char *version = _i ? "1.3" : "1.2";

	NEEDS_HTTP();
	if (!have("curl"))
		SKIP("curl is missing: scripts/deps");
	given_https("");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		curl_says(version, cases[i].what, cases[i].expected);
	http_end();
}
END_TEST

START_TEST(curl_without_the_root_trusts_nobody)
{
	struct ran r;

	NEEDS_HTTP();
	if (!have("curl"))
		SKIP("curl is missing: scripts/deps");
	given_https("");
	sh(&r, "curl -sS -m 20 https://localhost:%d/hello", http_port());
	ck_assert_int_eq(r.code, 60);
	ran_free(&r);
	http_end();
}
END_TEST

/* ------------------------------------------------------------------ a client of one's own */

static void given_client(struct tls_peer *p)
{
	tls_peer_init(p, http_connect());
	tls_peer_shake(p);
}

static void say(struct tls_peer *p, const char *text)
{
	tls_peer_say(p, text, strlen(text));
}

static void hear_head(struct tls_peer *p)
{
	size_t n = 0;

	while (n < 4 || memcmp(a.head + n - 4, "\r\n\r\n", 4)) {
		ck_assert_uint_lt(n, sizeof a.head - 1);
		tls_peer_hear(p, a.head + n++, 1);
	}
	a.head[n] = '\0';
	ck_assert_msg(sscanf(a.head, "HTTP/1.1 %d ", &a.status) == 1, "%s", a.head);
}

static void hear_answer(struct tls_peer *p)
{
	const char *length;

	hear_head(p);
	length = strstr(a.head, "Content-Length: ");
	a.n = length ? strtoul(length + 16, NULL, 10) : 0;
	ck_assert_uint_lt(a.n, sizeof a.body);
	tls_peer_hear(p, a.body, a.n);
	a.body[a.n] = '\0';
}

/* The server's close_notify: all that it had to say has come. */
static void expect_end(struct tls_peer *p)
{
	char rest[16];

	ck_assert_int_eq(tls_peer_read(p, rest, sizeof rest), 0);
}

START_TEST(pipelined_requests_are_answered_in_order_however_records_cut_them)
{
	static const char all[] = HELLO
		"GET /ten.txt HTTP/1.1\r\nHost: a\r\n\r\n"
		"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nlast";
	const size_t sizes[] = { sizeof all, 1, 7 };
	struct tls_peer p;

	NEEDS_HTTP();
	given_https("");
	for (int i = 0; i < 3; i++) {
		given_client(&p);
		for (size_t at = 0, n = sizeof all - 1; at < n; at += sizes[i])
			tls_peer_write(&p, all + at, n - at < sizes[i] ? n - at : sizes[i]);
		tls_peer_push(&p);
		hear_answer(&p);
		answer_must_be(&a, 200, "hello\n");
		hear_answer(&p);
		answer_must_be(&a, 200, "0123456789");
		hear_answer(&p);
		answer_must_be(&a, 200, "last");
		tls_peer_part(&p);
	}
	http_end();
}
END_TEST

/* The whole of a file that a client takes in small pieces, the output standing again and again. */
START_TEST(a_file_comes_whole_to_a_client_that_is_slow)
{
	static char file[BIG], got[BIG];
	struct tls_peer p;
	char path[512];
	int fd, size = 65536;

	NEEDS_HTTP();
	snprintf(path, sizeof path, "%s/www/big.bin", dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(read(fd, file, sizeof file), BIG);
	close(fd);
	given_https("");
	tls_peer_init(&p, http_connect());
	ck_assert_int_eq(setsockopt(p.fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size), 0);
	tls_peer_shake(&p);
	say(&p, "GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n" HELLO);
	hear_head(&p);
	answer_must_have(&a, "Content-Length: 3145728");
	tls_peer_hear(&p, got, sizeof got);
	ck_assert(!memcmp(got, file, sizeof got));
	hear_answer(&p); /* what follows is the next answer */
	answer_must_be(&a, 200, "hello\n");
	tls_peer_part(&p);
	http_end();
}
END_TEST

START_TEST(a_file_that_gets_shorter_while_it_is_sent_has_no_end)
{
	static char rest[1 << 16];
	struct tls_peer p;
	char path[512];
	ssize_t n;

	NEEDS_HTTP();
	snprintf(path, sizeof path, "%s/www/long", dir);
	must_sh("truncate -s 1G %s", path);
	given_https("");
	given_client(&p);
	say(&p, "GET /long HTTP/1.1\r\nHost: a\r\n\r\n");
	hear_head(&p);
	ck_assert_int_eq(truncate(path, 1000), 0);
	do
		n = tls_peer_read(&p, rest, sizeof rest);
	while (n > 0);
	ck_assert_int_eq(n, -1); /* no close_notify */
	tls_peer_free(&p);
	http_end();
}
END_TEST

/* ------------------------------------------------------------------ ends */

START_TEST(the_last_answer_is_followed_by_close_notify)
{
	struct tls_peer p;

	NEEDS_HTTP();
	given_https("");
	given_client(&p);
	say(&p, "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
	hear_answer(&p);
	answer_must_have(&a, "Connection: close");
	expect_end(&p);
	tls_peer_free(&p);
	http_end();
}
END_TEST

START_TEST(a_body_that_is_cut_is_no_request_and_one_that_ends_is_a_bad_one)
{
	static const char head[] =
		"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc";
	struct tls_peer p;
	char rest[16];

	NEEDS_HTTP();
	given_https("");
	given_client(&p);
	say(&p, head);
	SSL_shutdown(p.ssl);
	tls_peer_push(&p);
	hear_answer(&p);
	ck_assert_int_eq(a.status, 400);
	expect_end(&p);
	tls_peer_free(&p);

	given_client(&p);
	say(&p, head);
	shutdown(p.fd, SHUT_WR); /* anybody on the way can do this */
	ck_assert_int_eq(tls_peer_read(&p, rest, sizeof rest), -1);
	tls_peer_free(&p);
	http_end();
}
END_TEST

START_TEST(a_drain_lets_a_kept_connection_ask_once_more)
{
	struct tls_peer kept, busy;

	NEEDS_HTTP();
	given_https("");
	given_client(&kept);
	given_client(&busy);
	say(&kept, HELLO);
	hear_answer(&kept);
	say(&busy, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc");
	hear_head(&busy);
	tls_peer_expect(&busy, "abc");

	ck_assert_int_eq(kill(http.child.pid, SIGTERM), 0);
	do {
		say(&kept, HELLO);
		hear_answer(&kept);
		ck_assert_int_eq(a.status, 200);
	} while (!answer_has(&a, "Connection: close")); /* it learns of it a moment later */
	expect_end(&kept);
	say(&busy, "def");
	tls_peer_expect(&busy, "def");
	tls_peer_free(&kept);
	tls_peer_free(&busy);
	http_ended();
}
END_TEST

START_TEST(handshakes_go_to_workers_as_the_option_says)
{
	static const char *const counts[][2] = {
		{ "--offload-us 1", "\nnp_tls_offloaded_total 1\n" },
		{ "--offload-us -1", "\nnp_tls_offloaded_total 0\n" }
	};
	char options[64];
	struct tls_peer p;
	char text[32768];
	ssize_t n;

	NEEDS_HTTP();
	snprintf(options, sizeof options, "--metrics %s", counts[_i][0]);
	given_https(options);
	tls_peer_init(&p, http_connect());
	tls_peer_shake(&p);
	tls_peer_say(&p, "GET /metrics HTTP/1.0\r\nHost: a\r\n\r\n", 38);
	for (size_t at = 0; (n = tls_peer_read(&p, text + at, sizeof text - 1 - at)) > 0;)
		text[at += (size_t)n] = '\0';
	ck_assert_msg(strstr(text, counts[_i][1]), "%s: %s", options, strstr(text, "np_tls_off"));
	tls_peer_part(&p);
	http_end();
}
END_TEST

/* ------------------------------------------------------------------ who is not served */

START_TEST(plain_http_gets_an_alert_and_no_answer)
{
	int fd;

	NEEDS_HTTP();
	given_https("");
	fd = http_connect();
	http_send(fd, HELLO);
	ck_assert_int_eq(alert_in_the_clear(fd), SSL_AD_UNEXPECTED_MESSAGE);
	peer_close(&fd);
	http_end();
}
END_TEST

START_TEST(http_1_1_is_agreed_on_and_http_2_alone_is_refused)
{
	static const unsigned char both[] = "\x02h2\x08http/1.1", h2[] = "\x02h2";
	const unsigned char *agreed;
	struct tls_peer p;
	unsigned n;

	NEEDS_HTTP();
	given_https("");
	tls_peer_init(&p, http_connect());
	ck_assert_int_eq(SSL_set_alpn_protos(p.ssl, both, sizeof both - 1), 0);
	tls_peer_shake(&p);
	SSL_get0_alpn_selected(p.ssl, &agreed, &n);
	ck_assert_uint_eq(n, 8);
	ck_assert_mem_eq(agreed, "http/1.1", 8);
	tls_peer_part(&p);
	tls_peer_init(&p, http_connect());
	ck_assert_int_eq(SSL_set_alpn_protos(p.ssl, h2, sizeof h2 - 1), 0);
	ck_assert(!tls_peer_shake_to_the_end(&p));
	tls_peer_free(&p);
	http_end();
}
END_TEST

START_TEST(what_is_wrong_with_a_certificate_is_told_before_anything_listens)
{
	static const struct {
		const char *tls, *err;
		int code;
	} cases[] = {
		{ "", "--tls takes CERT,KEY", 2 },
		{ "localhost.pem", "--tls takes CERT,KEY", 2 },
		{ "localhost.pem,", "--tls takes CERT,KEY", 2 },
		{ ",localhost.key", "--tls takes CERT,KEY", 2 },
		{ "none.pem,localhost.key", "none.pem", 1 },
		{ "localhost.pem,none.key", "none.key", 1 },
		{ "localhost.pem,ca.key", "ca.key", 1 },
	};
	char http_path[PATH_MAX];
	struct ran r;

	NEEDS_HTTP();
	ck_assert_ptr_nonnull(realpath(getenv("NP_BUILD") ?: "build", http_path));
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		sh(&r, "cd %s && %s/examples/http/http --listen 127.0.0.1:0 --tls '%s'", certs_dir,
		   http_path, cases[i].tls);
		ck_assert_msg(r.code == cases[i].code && strstr(r.err, cases[i].err) && !*r.out,
			      "'%s': %d %s", cases[i].tls, r.code, r.err);
		ran_free(&r);
	}
}
END_TEST

/* A restart starts the next program with them. */
START_TEST(the_arguments_stay_as_they_were_given)
{
	char pair[600];
	struct ran r;

	NEEDS_HTTP();
	given_https("");
	snprintf(pair, sizeof pair, "%s,%s", in_certs("localhost.pem"), in_certs("localhost.key"));
	sh(&r, "tr '\\0' ' ' </proc/%d/cmdline", (int)http.child.pid);
	ck_assert_msg(strstr(r.out, pair) != NULL, "%s", r.out);
	ran_free(&r);
	http_end();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "tls_http");

	tcase_set_timeout(t, 60);
	tcase_add_unchecked_fixture(t, certs_setup, certs_teardown);
	tcase_add_checked_fixture(t, given_folder, remove_folder);
	tcase_add_loop_test(t, curl_is_served_over_tls_1_2_and_1_3, 0, 2);
	tcase_add_test(t, curl_without_the_root_trusts_nobody);
	tcase_add_test(t, pipelined_requests_are_answered_in_order_however_records_cut_them);
	tcase_add_test(t, a_file_comes_whole_to_a_client_that_is_slow);
	tcase_add_test(t, a_file_that_gets_shorter_while_it_is_sent_has_no_end);
	tcase_add_test(t, the_last_answer_is_followed_by_close_notify);
	tcase_add_test(t, a_body_that_is_cut_is_no_request_and_one_that_ends_is_a_bad_one);
	tcase_add_test(t, a_drain_lets_a_kept_connection_ask_once_more);
	tcase_add_test(t, plain_http_gets_an_alert_and_no_answer);
	tcase_add_loop_test(t, handshakes_go_to_workers_as_the_option_says, 0, 2);
	tcase_add_test(t, http_1_1_is_agreed_on_and_http_2_alone_is_refused);
	tcase_add_test(t, what_is_wrong_with_a_certificate_is_told_before_anything_listens);
	tcase_add_test(t, the_arguments_stay_as_they_were_given);
}

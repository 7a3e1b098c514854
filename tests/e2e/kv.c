/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kv: examples/kv, byte by byte
 *
 * What Redis says to the same is in kv_redis.c; real clients use it in `make check-kv`.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "support/kv.h"
#include "support/peer.h"
#include "support/run.h"
#include "support/test.h"

/* ------------------------------------------------------------------ bytes in any pieces */

static const char stream_in[] = "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$5\r\n\r\n\0x\n\r\n"
				"*2\r\n$3\r\nGET\r\n$1\r\na\r\n"
				"incr n\r\n"
				"*5\r\n$4\r\nMSET\r\n$1\r\nb\r\n$1\r\n1\r\n$1\r\nc\r\n$1\r\n2\r\n"
				"*4\r\n$4\r\nMGET\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n"
				"echo \"q \\x41\"\r\n"
				"*2\r\n$3\r\nDEL\r\n$1\r\nn\r\n";
static const char stream_out[] = "+OK\r\n"
				 "$5\r\n\r\n\0x\n\r\n"
				 ":1\r\n"
				 "+OK\r\n"
				 "*3\r\n$5\r\n\r\n\0x\n\r\n$1\r\n1\r\n$1\r\n2\r\n"
				 "$3\r\nq A\r\n"
				 ":1\r\n";

static void expect_bytes(int fd, const char *p, size_t n)
{
	char got[1024];

	peer_recv(fd, got, n);
	ck_assert_mem_eq(got, p, n);
}

START_TEST(a_stream_may_be_cut_at_every_byte)
{
	const size_t n = sizeof stream_in - 1;
	int fd;

	kv_start("--pollers 2");
	fd = kv_client();
	for (size_t cut = 1; cut < n; cut++) {
		peer_send(fd, stream_in, cut);
		peer_send(fd, stream_in + cut, n - cut);
		expect_bytes(fd, stream_out, sizeof stream_out - 1);
	}
	for (size_t i = 0; i < n; i++)
		peer_send(fd, stream_in + i, 1);
	expect_bytes(fd, stream_out, sizeof stream_out - 1);
	peer_close(&fd);
	kv_end();
}
END_TEST

START_TEST(a_pipeline_over_shards_is_answered_in_order)
{
	struct bytes in = { 0 }, out = { 0 };
	char *got;
	int fd;

	kv_start("--pollers 3");
	for (int i = 0; i < 3000; i++) {
		char words[64];

		snprintf(words, sizeof words, "SET key%d %d", i, i);
		kv_add_command(&in, words);
		bytes_add_text(&out, "+OK\r\n");
		snprintf(words, sizeof words, "GET key%d", i);
		kv_add_command(&in, words);
		bytes_add_text(&out, "$%d\r\n%d\r\n", snprintf(words, sizeof words, "%d", i), i);
		snprintf(words, sizeof words, "MGET key%d key%d none", i, i / 2);
		kv_add_command(&in, words);
		bytes_add_text(&out, "*3\r\n$%d\r\n%d\r\n", snprintf(words, sizeof words, "%d", i),
			       i);
		bytes_add_text(&out, "$%d\r\n%d\r\n$-1\r\n",
			       snprintf(words, sizeof words, "%d", i / 2), i / 2);
	}
	kv_add_command(&in, "DBSIZE");
	bytes_add_text(&out, ":3000\r\n");
	fd = kv_client();
	got = malloc(out.n);
	for (size_t sent = 0, n; sent < in.n; sent += n) {
		n = in.n - sent < 65536 ? in.n - sent : 65536;
		peer_send(fd, in.p + sent, n);
	}
	peer_recv(fd, got, out.n);
	ck_assert_mem_eq(got, out.p, out.n);
	free(got);
	free(in.p);
	free(out.p);
	peer_close(&fd);
	kv_end();
}
END_TEST

START_TEST(what_was_asked_before_a_fin_is_answered)
{
	int fd;

	kv_start("--pollers 2");
	fd = kv_client();
	peer_send(fd, stream_in, sizeof stream_in - 1);
	peer_send(fd, "*2\r\n$3\r\nGET\r\n$1", 16); /* and this is none */
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	expect_bytes(fd, stream_out, sizeof stream_out - 1);
	peer_expect_eof(fd);
	peer_close(&fd);
	kv_end();
}
END_TEST

START_TEST(a_client_that_resets_harms_nobody)
{
	struct bytes in = { 0 };
	int fd, other;

	kv_start("--pollers 3");
	other = kv_client();
	for (int i = 0; i < 500; i++) {
		char words[64];

		snprintf(words, sizeof words, "SET key%d v", i);
		kv_add_command(&in, words);
		kv_add_command(&in, "MGET key1 key2 key3");
	}
	for (int i = 0; i < 20; i++) {
		fd = kv_client();
		peer_send(fd, in.p, in.n);
		peer_reset(&fd);
		kv_expect(other, "PING", "+PONG\r\n");
	}
	free(in.p);
	peer_close(&other);
	kv_end();
}
END_TEST

/* ------------------------------------------------------------------ transactions */

START_TEST(a_transaction_runs_where_all_its_keys_are)
{
	int fd;

	kv_start("--pollers 3");
	fd = kv_client();
	kv_expect(fd, "MULTI", "+OK\r\n");
	kv_expect(fd, "SET {x}a 1", "+QUEUED\r\n");
	kv_expect(fd, "INCR {x}b", "+QUEUED\r\n");
	kv_expect(fd, "ECHO hi", "+QUEUED\r\n");
	kv_expect(fd, "LPUSH {x}b 1", "+QUEUED\r\n");
	kv_expect(fd, "MGET {x}a {x}b", "+QUEUED\r\n");
	kv_expect(fd, "EXEC",
		  "*5\r\n+OK\r\n:1\r\n$2\r\nhi\r\n"
		  "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
		  "*2\r\n$1\r\n1\r\n$1\r\n1\r\n");
	peer_close(&fd);
	kv_end();
}
END_TEST

START_TEST(a_transaction_over_shards_is_refused)
{
	bool refused = false;
	int fd;

	kv_start("--pollers 3");
	fd = kv_client();
	kv_expect(fd, "MULTI", "+OK\r\n");
	for (int i = 0; i < 20; i++) {
		struct bytes b = { 0 };
		char words[32];

		snprintf(words, sizeof words, "SET k%d v", i);
		kv_ask(fd, words);
		kv_read_answer(fd, &b);
		refused |= !strncmp(b.p, "-CROSSSLOT ", 11);
		free(b.p);
	}
	ck_assert(refused);
	kv_expect(fd, "EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n");
	ck_assert_int_eq(kv_integer(fd, "DBSIZE"), 0);
	peer_close(&fd);
	kv_end();
}
END_TEST

/* ------------------------------------------------------------------ who listens */

START_TEST(what_is_published_reaches_subscribers_of_every_poller)
{
	enum { N = 12 };
	int fds[N], fd;

	kv_start("--pollers 3");
	for (int i = 0; i < N; i++) {
		fds[i] = kv_client();
		if (i % 3 == 2)
			kv_expect(fds[i], "PSUBSCRIBE n?ws",
				  "*3\r\n$10\r\npsubscribe\r\n$4\r\nn?ws\r\n:1\r\n");
		else
			kv_expect(fds[i], "SUBSCRIBE news",
				  "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
	}
	fd = kv_client();
	for (int k = 0; k < 50; k++)
		ck_assert_int_eq(kv_integer(fd, "PUBLISH news hi"), N);
	for (int i = 0; i < N; i++)
		for (int k = 0; k < 50; k++)
			kv_expect_answer(
				fds[i],
				i % 3 == 2 ?
					"*4\r\n$8\r\npmessage\r\n$4\r\nn?ws\r\n$4\r\nnews\r\n$2\r\nhi\r\n" :
					"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n");
	kv_expect(
		fds[0], "GET x",
		"-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context\r\n");
	kv_expect(fds[0], "PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
	kv_expect(fds[0], "UNSUBSCRIBE", "*3\r\n$11\r\nunsubscribe\r\n$4\r\nnews\r\n:0\r\n");
	kv_expect(fds[0], "GET x", "$-1\r\n");
	peer_close(&fds[1]);
	AWAIT(kv_integer(fd, "PUBLISH news hi") == N - 2);
	for (int i = 0; i < N; i++)
		if (i != 1)
			peer_close(&fds[i]);
	peer_close(&fd);
	kv_end();
}
END_TEST

START_TEST(a_subscriber_that_does_not_read_is_reset_and_the_others_are_told)
{
	struct bytes in = { 0 };
	static char block[65536];
	int deaf, good, fd;
	long told = 2;

	kv_start("--pollers 2 --output-max 1000000");
	deaf = kv_client();
	good = kv_client();
	fd = kv_client();
	kv_expect(deaf, "SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
	kv_expect(good, "SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
	bytes_add_text(&in, "*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n");
	memset(block, 'x', sizeof block);
	kv_add_arg(&in, block, sizeof block);
	for (int i = 0; told == 2 && i < 2000; i++) {
		struct bytes b = { 0 };

		peer_send(fd, in.p, in.n);
		kv_read_answer(fd, &b);
		told = atol(b.p + 1);
		b.n = 0;
		kv_read_answer(good, &b);
		free(b.p);
	}
	ck_assert_int_eq(told, 1);
	AWAIT(send(deaf, "PING\r\n", 6, MSG_NOSIGNAL) < 0);
	kv_expect(fd, "PING", "+PONG\r\n");
	free(in.p);
	peer_close(&deaf);
	peer_close(&good);
	peer_close(&fd);
	kv_end();
}
END_TEST

/* ------------------------------------------------------------------ bounds */

static long resident_kib(void)
{
	char path[64], line[256];
	long kib = -1;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/status", (int)kv_server.child.pid);
	f = fopen(path, "r");
	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof line, f))
		if (sscanf(line, "VmRSS: %ld", &kib) == 1)
			break;
	fclose(f);
	return kib;
}

START_TEST(at_the_memory_limit_what_adds_is_refused_and_the_rest_works)
{
	static char block[10000];
	bool refused = false;
	int fd;

	kv_start("--pollers 2 --maxmemory 2000000");
	fd = kv_client();
	memset(block, 'x', sizeof block);
	for (int i = 0; i < 1000 && !refused; i++) {
		struct bytes in = { 0 }, b = { 0 };
		char key[16];

		bytes_add_text(&in, "*3\r\n$3\r\nSET\r\n");
		kv_add_arg(&in, key, (size_t)snprintf(key, sizeof key, "k%d", i));
		kv_add_arg(&in, block, sizeof block);
		peer_send(fd, in.p, in.n);
		kv_read_answer(fd, &b);
		refused = !strcmp(b.p,
				  "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
		free(in.p);
		free(b.p);
	}
	ck_assert(refused);
	ck_assert_int_gt(kv_integer(fd, "STRLEN k0"), 0);
	kv_expect(fd, "FLUSHALL", "+OK\r\n");
	for (int i = 0; i < 10; i++) {
		struct bytes b = { 0 };
		char words[32];

		/* what was flushed is freed bit by bit */
		snprintf(words, sizeof words, "SET n%d v", i);
		do {
			b.n = 0;
			kv_ask(fd, words);
			kv_read_answer(fd, &b);
		} while (!strncmp(b.p, "-OOM", 4));
		ck_assert_str_eq(b.p, "+OK\r\n");
		free(b.p);
	}
	peer_close(&fd);
	kv_end();
}
END_TEST

START_TEST(lengths_that_are_only_claimed_take_no_memory)
{
	enum { N = 50 };
	int fds[N], fd;
	long before;

	kv_start("--pollers 2");
	fd = kv_client();
	kv_expect(fd, "PING", "+PONG\r\n");
	before = resident_kib();
	for (int i = 0; i < N; i++) {
		static const char claim[] = "*2147483647\r\n$536870912\r\nabc";

		fds[i] = kv_client();
		peer_send(fds[i], claim, sizeof claim - 1);
	}
	kv_expect(fd, "PING", "+PONG\r\n");
	if (!under_asan() && !under_tsan())
		ck_assert_int_lt(resident_kib() - before, 16384);
	for (int i = 0; i < N; i++)
		peer_close(&fds[i]);
	peer_close(&fd);
	kv_end();
}
END_TEST

/* Answers of 200 MB are asked for: those that wait are bounded, and all come when they are read. */
START_TEST(a_client_that_does_not_read_is_not_read_from)
{
	struct bytes in = { 0 };
	static char block[100000];
	struct pollfd p;
	size_t asked = 0, sent = 0, got = 0;
	ssize_t n;
	long before;
	int fd;

	kv_start("--pollers 2");
	fd = kv_client();
	memset(block, 'x', sizeof block);
	bytes_add_text(&in, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n");
	kv_add_arg(&in, block, sizeof block);
	peer_send(fd, in.p, in.n);
	kv_expect_answer(fd, "+OK\r\n");
	in.n = 0;
	for (int i = 0; i < 2000; i++)
		kv_add_command(&in, "GET k");
	before = resident_kib();
	p = (struct pollfd){ fd, POLLOUT, 0 };
	while (asked < in.n && poll(&p, 1, 300) == 1)
		if ((n = send(fd, in.p + asked, in.n - asked, MSG_DONTWAIT)) > 0)
			asked += (size_t)n;
	if (!under_asan() && !under_tsan())
		ck_assert_int_lt(resident_kib() - before, 32768);
	sent = 2000 * (sizeof block + 11);
	while (got < sent) {
		if (asked < in.n && (n = send(fd, in.p + asked, in.n - asked, MSG_DONTWAIT)) > 0)
			asked += (size_t)n;
		n = recv(fd, block, sizeof block, 0);
		ck_assert_int_gt(n, 0);
		got += (size_t)n;
	}
	ck_assert_uint_eq(got, sent);
	free(in.p);
	peer_close(&fd);
	kv_end();
}
END_TEST

/* As hiredis does it, in a blocking way: 800 KB of questions, for 20 MB of answers. */
START_TEST(a_whole_pipeline_may_be_sent_before_an_answer_is_read)
{
	struct bytes in = { 0 };
	static char value[1000], block[65536];
	size_t left;
	ssize_t n;
	int fd;

	kv_start("--pollers 2");
	fd = kv_client();
	memset(value, 'x', sizeof value);
	bytes_add_text(&in, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n");
	kv_add_arg(&in, value, sizeof value);
	peer_send(fd, in.p, in.n);
	kv_expect_answer(fd, "+OK\r\n");
	in.n = 0;
	for (int i = 0; i < 20000; i++)
		bytes_add_text(&in, "GET k%*s\r\n", 35, "");
	peer_send(fd, in.p, in.n);
	for (left = 20000 * (sizeof value + 9); left; left -= (size_t)n) {
		n = recv(fd, block, left < sizeof block ? left : sizeof block, 0);
		if (n <= 0)
			ck_abort_msg("%zu bytes are missing: %s", left, strerror(errno));
	}
	free(in.p);
	peer_close(&fd);
	kv_end();
}
END_TEST

/* ------------------------------------------------------------------ keys */

START_TEST(a_key_ends_though_nobody_looks_for_it)
{
	int fd;

	kv_start("--pollers 2");
	fd = kv_client();
	for (int i = 0; i < 1000; i++) {
		char words[64];

		snprintf(words, sizeof words, "SET key%d v PX %d", i, 1 + i % 300);
		kv_expect(fd, words, "+OK\r\n");
	}
	kv_expect(fd, "SET stays v PX 1000000", "+OK\r\n");
	AWAIT(kv_integer(fd, "DBSIZE") == 1);
	peer_close(&fd);
	kv_end();
}
END_TEST

/* Every key that is there from the first call to the last is seen, while others come and go. */
START_TEST(a_scan_sees_every_key_while_the_table_is_resized)
{
	enum { N = 500 };
	bool seen[N] = { false };
	struct bytes b = { 0 };
	char words[64], cursor[32] = "0";
	int fd, more = 0;

	kv_start("--pollers 3");
	fd = kv_client();
	for (int i = 0; i < N; i++) {
		snprintf(words, sizeof words, "SET s%d v", i);
		kv_expect(fd, words, "+OK\r\n");
	}
	do {
		snprintf(words, sizeof words, "SCAN %s COUNT 7", cursor);
		kv_ask(fd, words);
		b.n = 0;
		kv_read_answer(fd, &b);
		ck_assert_int_eq(sscanf(b.p, "*2\r\n$%*d\r\n%31[0-9]", cursor), 1);
		for (char *p = b.p; (p = strstr(p, "\r\ns")); p += 3)
			if (atoi(p + 3) < N)
				seen[atoi(p + 3)] = true;
		for (int i = 0; i < 20; i++) {
			snprintf(words, sizeof words, "SET more%d v", more++);
			kv_expect(fd, words, "+OK\r\n");
		}
	} while (strcmp(cursor, "0") != 0);
	for (int i = 0; i < N; i++)
		ck_assert_msg(seen[i], "s%d was not seen", i);
	free(b.p);
	peer_close(&fd);
	kv_end();
}
END_TEST

START_TEST(a_unix_socket_is_served)
{
	struct sockaddr_storage ss = { 0 };
	struct sockaddr_un *un = (struct sockaddr_un *)&ss;
	char *dir = temp_dir(), options[256];
	int fd;

	snprintf(options, sizeof options, "--pollers 2 --listen unix:%s/kv.sock", dir);
	kv_start(options);
	un->sun_family = AF_UNIX;
	snprintf(un->sun_path, sizeof un->sun_path, "%s/kv.sock", dir);
	fd = peer_connect(&ss, sizeof *un);
	kv_expect(fd, "SET a b", "+OK\r\n");
	kv_expect(fd, "GET a", "$1\r\nb\r\n");
	peer_close(&fd);
	kv_end();
	remove_tree(&dir);
}
END_TEST

/* Scripts wait for that line, and take the port from it. */
START_TEST(each_address_it_listens_on_is_said)
{
	char *dir = temp_dir(), options[256], line[512];

	snprintf(options, sizeof options, "--pollers 1 --listen unix:%s/kv.sock", dir);
	kv_start(options);
	snprintf(line, sizeof line, "listening on 127.0.0.1:%d unix:%s/kv.sock pollers=1\n",
		 kv_server.port, dir);
	ck_assert_str_eq(kv_server.line, line);
	kv_end();
	remove_tree(&dir);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "kv");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_stream_may_be_cut_at_every_byte);
	tcase_add_test(t, a_pipeline_over_shards_is_answered_in_order);
	tcase_add_test(t, what_was_asked_before_a_fin_is_answered);
	tcase_add_test(t, a_client_that_resets_harms_nobody);
	tcase_add_test(t, a_transaction_runs_where_all_its_keys_are);
	tcase_add_test(t, a_transaction_over_shards_is_refused);
	tcase_add_test(t, what_is_published_reaches_subscribers_of_every_poller);
	tcase_add_test(t, a_subscriber_that_does_not_read_is_reset_and_the_others_are_told);
	tcase_add_test(t, at_the_memory_limit_what_adds_is_refused_and_the_rest_works);
	tcase_add_test(t, lengths_that_are_only_claimed_take_no_memory);
	tcase_add_test(t, a_client_that_does_not_read_is_not_read_from);
	tcase_add_test(t, a_whole_pipeline_may_be_sent_before_an_answer_is_read);
	tcase_add_test(t, a_key_ends_though_nobody_looks_for_it);
	tcase_add_test(t, a_scan_sees_every_key_while_the_table_is_resized);
	tcase_add_test(t, a_unix_socket_is_served);
	tcase_add_test(t, each_address_it_listens_on_is_said);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tls_memory: what OpenSSL holds for a connection, counted by its own allocator
 *
 * And what memory_max takes it for: the library cannot ask OpenSSL, and goes by figures.
 */
#include <arpa/inet.h>
#include <malloc.h>
#include <netpoll/conn.h>
#include <netpoll/linkbuf.h>
#include <netpoll/observe.h>
#include <openssl/crypto.h>
#include <stdatomic.h>
#include <unistd.h>

#include "support/child.h"
#include "support/tls_peer.h"

#define CONNS    32
#define IDLE_MAX (16 * 1024)

static _Atomic(long) held;
static _Atomic(int) opened;

static void *count_malloc(size_t n, const char *file, int line)
{
	void *p = malloc(n);

	held += p ? (long)malloc_usable_size(p) : 0;
	return p;
}

static void count_free(void *p, const char *file, int line)
{
	held -= p ? (long)malloc_usable_size(p) : 0;
	free(p);
}

static void *count_realloc(void *p, size_t n, const char *file, int line)
{
	long before = p ? (long)malloc_usable_size(p) : 0;
	void *q = realloc(p, n);

	if (q || !n)
		held += (q ? (long)malloc_usable_size(q) : 0) - before;
	return q;
}

static int on_connect(struct np_conn *c, void *arg)
{
	opened++;
	return 0;
}

static int echo(struct np_conn *c, void *arg)
{
	struct np_linkbuf *all;
	int r = np_conn_slice(c, np_conn_len(c), &all);

	if (r == 0)
		r = np_conn_append(c, &all);
	return r < 0 ? r : np_conn_flush(c);
}

/* In another process, whose OpenSSL is not counted: at each word CONNS connections talk. */
static void peers(int sock, void *arg)
{
	static struct tls_peer p[CONNS];
	static char text[40000], got[40000];

	for (int i = 0; i < CONNS; i++)
		given_peer(&p[i]);
	for (;;) {
		child_say(sock, 'd');
		if (child_hear(sock) == 'e')
			break;
		for (int i = 0; i < CONNS; i++) {
			tls_peer_say(&p[i], text, sizeof text);
			tls_peer_hear(&p[i], got, sizeof got);
		}
	}
	for (int i = 0; i < CONNS; i++)
		tls_peer_part(&p[i]);
}

START_TEST(an_idle_connection_holds_at_most_16_kib_of_openssls)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_connect = on_connect,
					      .on_request = echo };
	struct np_tls *tls;
	struct child c;
	long before, fresh, used;

	if (under_asan() || under_tsan())
		SKIP("the sanitizer's allocator is not what is counted");
	ck_assert_int_eq(CRYPTO_set_mem_functions(count_malloc, count_realloc, count_free), 1);
	tls = given_server_tls(NULL);
	serve(1, &h, NULL, NP_OPTS(np_server_opts, .tls = tls));
	before = held;
	child_start(&c, peers, NULL);
	child_hear(c.sock);
	AWAIT(opened == CONNS);
	fresh = (held - before) / CONNS;
	child_say(c.sock, 'm');
	child_hear(c.sock);
	used = (held - before) / CONNS;
	printf("OpenSSL's bytes for an idle connection: %ld, and behind traffic: %ld\n", fresh,
	       used);
	ck_assert_int_le(fresh, IDLE_MAX);
	ck_assert_int_le(used, fresh + 256);
	child_say(c.sock, 'e');
	child_join(&c);
	serve_end();
	np_tls_free(&tls);
}
END_TEST

/* ------------------------------------------------------------------ what is counted of it */

enum stage { SILENT, SHAKING, OPEN, HALF_RECORD, OPEN_AGAIN, STAGES };

static const char *const stage_names[] = { "silent", "shaking", "open", "half a record",
					   "open again" };

static void half_a_record(struct tls_peer *p, bool first)
{
	static char text[8000];
	char *bytes;
	size_t n;

	if (first)
		tls_peer_write(p, text, sizeof text);
	n = (size_t)BIO_get_mem_data(p->out, &bytes);
	if (first)
		peer_send(p->fd, bytes, n / 2);
	else
		peer_send(p->fd, bytes + n / 2, n - n / 2);
	if (first)
		return;
	(void)BIO_reset(p->out);
	tls_peer_hear(p, text, sizeof text);
}

/* In another process: CONNS connections go through the stages together, one at each word. */
static void staged_peers(int sock, void *arg)
{
	static struct tls_peer p[CONNS];

	for (enum stage s = 0; s < STAGES; s++) {
		for (int i = 0; i < CONNS; i++) {
			if (s == SILENT)
				tls_peer_init(&p[i], serve_connect(0));
			if (s == SHAKING) {
				SSL_do_handshake(p[i].ssl);
				tls_peer_push(&p[i]);
				tls_peer_pull(&p[i]); /* its flight has come: ours is kept back */
			}
			if (s == OPEN)
				tls_peer_shake(&p[i]);
			if (s == HALF_RECORD || s == OPEN_AGAIN)
				half_a_record(&p[i], s == HALF_RECORD);
		}
		child_say(sock, 'd');
		child_hear(sock);
	}
	for (int i = 0; i < CONNS; i++)
		tls_peer_part(&p[i]);
}

/* What the poller counts; a dump of its table. */
static long counted(void)
{
	char text[4096], *at;
	int pipes[2];
	ssize_t n;

	ck_assert_int_eq(pipe(pipes), 0);
	ck_assert_int_eq(np_dump(pipes[1], NP_OPTS(np_dump_opts, .format = NP_DUMP_JSON,
						   .parts = NP_DUMP_POLLERS)),
			 0);
	close(pipes[1]);
	n = read(pipes[0], text, sizeof text - 1);
	close(pipes[0]);
	ck_assert_int_gt(n, 0);
	text[n] = '\0';
	at = strstr(text, "\"memory\":");
	ck_assert_ptr_nonnull(at);
	return atol(at + 9);
}

/* Of each connection; itself, and its I/O state, lie in slabs that count with what they spare. */
#define SLABS 8192

static bool is_about(long real, long taken)
{
	return taken >= real - real / 10 && taken <= real + real / 10 + SLABS;
}

START_TEST(memory_max_counts_about_what_openssl_holds)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_connect = on_connect,
					      .on_request = echo };
	long before, real_before, real, taken;
	struct np_tls *tls;
	struct child c;

	if (under_asan() || under_tsan())
		SKIP("the sanitizer's allocator is not what is counted");
	ck_assert_int_eq(CRYPTO_set_mem_functions(count_malloc, count_realloc, count_free), 1);
	tls = given_server_tls(NULL);
	serve(1, &h, NULL, NP_OPTS(np_server_opts, .tls = tls));
	before = counted();
	real_before = held;
	child_start(&c, staged_peers, NULL);
	for (enum stage s = 0; s < STAGES; s++) {
		child_hear(c.sock);
		AWAIT(s == SILENT ? serve_conns() == CONNS : s == SHAKING || opened == CONNS);
		AWAIT(is_about(real = (held - real_before) / CONNS,
			       taken = (counted() - before) / CONNS));
		printf("%s: %ld bytes of OpenSSL's, and %ld are counted\n", stage_names[s], real,
		       taken);
		child_say(c.sock, 'm');
	}
	child_join(&c);
	AWAIT(serve_conns() == 0);
	ck_assert_int_le(counted() - before, (long)CONNS * SLABS); /* none of OpenSSL's is */
	serve_end();
	np_tls_free(&tls);
}
END_TEST

#define BOUND   (2l << 20)
#define FLOODED 200

/* Each of them has said hello, and never goes on: without a bound they would hold 9 MB. */
START_TEST(handshakes_that_stand_are_bounded_by_memory_max)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_connect = on_connect,
					      .on_request = echo };
	struct np_server_stats st = { .sz = sizeof st };
	static struct tls_peer flood[FLOODED];
	struct np_tls *tls = given_server_tls(NULL);
	struct tls_peer p;

	serve(1, &h, NULL, NP_OPTS(np_server_opts, .tls = tls, .memory_max = BOUND));
	for (int i = 0; i < FLOODED; i++) {
		tls_peer_init(&flood[i], serve_connect(0));
		SSL_do_handshake(flood[i].ssl);
		tls_peer_push(&flood[i]);
	}
	given_peer(&p);
	tls_peer_say(&p, "still served", 12);
	tls_peer_expect(&p, "still served");
	AWAIT(counted() <= BOUND);
	ck_assert_int_eq(np_server_stats(serve_server, &st), 0);
	ck_assert_uint_gt(st.memory_closed, 0);
	ck_assert_uint_lt(st.memory_closed, FLOODED);
	tls_peer_part(&p);
	for (int i = 0; i < FLOODED; i++)
		tls_peer_free(&flood[i]);
	serve_end();
	np_tls_free(&tls);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "tls_memory");

	tcase_add_unchecked_fixture(t, certs_setup, certs_teardown);
	tcase_add_test(t, an_idle_connection_holds_at_most_16_kib_of_openssls);
	tcase_add_test(t, memory_max_counts_about_what_openssl_holds);
	tcase_add_test(t, handshakes_that_stand_are_bounded_by_memory_max);
}

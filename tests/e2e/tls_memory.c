/* SPDX-License-Identifier: BSD-2-Clause */
/* tls_memory: what OpenSSL holds for a connection that is idle, counted by its own allocator */
#include <arpa/inet.h>
#include <malloc.h>
#include <netpoll/conn.h>
#include <netpoll/linkbuf.h>
#include <openssl/crypto.h>
#include <stdatomic.h>
#include <unistd.h>

#include "e2e/tls_peer.h"
#include "support/child.h"

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

int main(void)
{
	Suite *s = suite_create("e2e/tls_memory");
	TCase *t = tcase_create("tls_memory");

	tcase_add_unchecked_fixture(t, certs_setup, certs_teardown);
	tcase_add_test(t, an_idle_connection_holds_at_most_16_kib_of_openssls);
	suite_add_tcase(s, t);
	return run_suite(s);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* tls_client: dialed connections and pools with TLS: who is believed, and what goes on */
#include <arpa/inet.h>
#include <errno.h>
#include <netpoll/client.h>
#include <netpoll/pool.h>
#include <stdatomic.h>
#include <unistd.h>

#include "support/tls_peer.h"

static struct {
	_Atomic(int) requests, closes, error;
	char peer[128], why[256];
	_Atomic(bool) verified;
} saw;

static struct np_tls *server_tls, *client_tls;
static char address[64];

static int echo(struct np_conn *c, void *arg)
{
	struct np_tls_info info = { .sz = sizeof info };
	const void *p;
	size_t n = np_conn_len(c);
	int r = np_conn_next(c, n, &p);

	if (np_tls_conn_info(c, &info) == 0) {
		snprintf(saw.peer, sizeof saw.peer, "%s", info.peer);
		saw.verified = info.verified;
	}
	saw.requests++;
	if (r == 0)
		r = np_conn_write(c, p, n);
	return r < 0 ? r : np_conn_flush(c);
}

static void on_close(struct np_conn *c, void *arg)
{
	saw.error = np_conn_error(c);
	snprintf(saw.why, sizeof saw.why, "%s", np_tls_conn_error(c));
	saw.closes++;
}

static const struct np_handlers echoes = { .sz = sizeof echoes,
					   .on_request = echo,
					   .on_close = on_close };

/* A server with the certificate NAME. */
static void given_server(const char *name, struct np_tls_opts *o)
{
	static struct np_tls_cert cert;
	static char files[2][256];
	struct np_tls_opts own = { .sz = sizeof own };
	struct sockaddr_storage ss;
	socklen_t len;

	o = o ? o : &own;
	snprintf(files[0], sizeof files[0], "%s/%s.pem", certs_dir, name);
	snprintf(files[1], sizeof files[1], "%s/%s.key", certs_dir, name);
	cert = (struct np_tls_cert){ files[0], files[1] };
	o->certs = &cert;
	o->n_certs = 1;
	server_tls = given_server_tls(o);
	serve(1, &echoes, NULL, NP_OPTS(np_server_opts, .tls = server_tls));
	ck_assert_int_eq(np_server_addr(serve_server, 0, &ss, &len), 0);
	snprintf(address, sizeof address, "127.0.0.1:%d",
		 ntohs(((struct sockaddr_in *)&ss)->sin_port));
}

static void given_client(struct np_tls_opts *o)
{
	static char why[256];
	struct np_tls_opts own = { .sz = sizeof own };

	o = o ? o : &own;
	if (!o->ca_file)
		o->ca_file = in_certs("ca.pem");
	o->error = why;
	o->error_size = sizeof why;
	ck_assert_msg(np_tls_client_new(o, &client_tls) == 0, "%s", why);
}

static void over(void)
{
	serve_end();
	np_tls_free(&server_tls);
	np_tls_free(&client_tls);
}

struct dialed {
	const char *host; /* NULL: that of the address */
	const char *address;
	int result, timeout_ms;
	bool resumed;
	char alpn[16];
};

/* Dials, and has "ping" echoed. */
static int dial(void *arg)
{
	struct dialed *d = arg;
	struct np_tls_info info = { .sz = sizeof info };
	struct np_conn *c;
	const void *p;
	int r;

	r = np_dial(NULL, NP_HERE, "tcp", d->address ? d->address : address,
		    NP_OPTS(np_dial_opts, .tls = client_tls, .tls_host = d->host,
			    .timeout_ms = d->timeout_ms ? d->timeout_ms : 10000),
		    &c);
	d->result = r;
	if (r < 0)
		return r;
	r = np_tls_conn_info(c, &info);
	d->resumed = info.resumed;
	snprintf(d->alpn, sizeof d->alpn, "%s", r == 0 ? info.alpn : "");
	if (r == 0)
		r = np_conn_write(c, "ping", 4);
	if (r == 0)
		r = np_conn_flush(c);
	if (r == 0)
		r = np_conn_next(c, 4, &p);
	d->result = r;
	np_conn_close(c);
	np_conn_unref(c);
	return r;
}

static int dialed(struct dialed *d)
{
	np_run(pollers, dial, d);
	return d->result;
}

/* ------------------------------------------------------------------ who is believed */

START_TEST(the_right_name_or_address_is_believed)
{
	struct dialed by_address = { 0 }, by_name = { .host = "localhost" },
		      with_dot = { .host = "localhost." };

	given_server("localhost", NULL);
	given_client(NULL);
	ck_assert_int_eq(dialed(&by_address), 0); /* an IP SAN: 127.0.0.1 */
	ck_assert_int_eq(dialed(&by_name), 0);
	ck_assert_int_eq(dialed(&with_dot), 0);
	ck_assert_uint_eq(tls_stats_of(server_tls).handshakes, 3);
	over();
}
END_TEST

static void is_refused(const char *host, const char *why)
{
	struct dialed d = { .host = host };
	char text[256];

	ck_assert_int_eq(dialed(&d), -NP_EVERIFY);
	ck_assert_uint_gt(np_tls_error(client_tls, text, sizeof text), 0);
	ck_assert_msg(strstr(text, why) != NULL, "%s", text);
	ck_assert_int_eq(saw.requests, 0);
}

START_TEST(a_certificate_for_somebody_else_is_refused)
{
	given_server("other", NULL);
	given_client(NULL);
	is_refused("localhost", "ostname mismatch");
	is_refused(NULL, "IP address mismatch");
	AWAIT(saw.closes == 2);
	ck_assert_int_eq(saw.error, -NP_ETLS); /* the client's alert says why */
	ck_assert_ptr_nonnull(strstr(saw.why, "alert"));
	ck_assert_uint_eq(tls_stats_of(client_tls).refused, 2);
	over();
}
END_TEST

START_TEST(an_expired_certificate_and_one_of_tomorrow_are_refused)
{
	given_server(_i ? "tomorrow" : "expired", NULL);
	given_client(NULL);
	is_refused("localhost", _i ? "not yet valid" : "expired");
	over();
}
END_TEST

START_TEST(an_unknown_authority_is_refused_unless_nobody_is_asked_for)
{
	struct dialed d = { 0 };

	given_server("localhost", NULL);
	given_client(NP_OPTS(np_tls_opts, .ca_file = in_certs("stranger.pem")));
	is_refused("localhost", "issuer");
	np_tls_free(&client_tls);
	given_client(NP_OPTS(np_tls_opts, .verify = NP_TLS_VERIFY_OFF));
	ck_assert_int_eq(dialed(&d), 0);
	over();
}
END_TEST

/* ------------------------------------------------------------------ a client's own certificate */

START_TEST(a_server_that_asks_for_a_certificate_gets_one_or_refuses)
{
	struct np_tls_cert own = { in_certs("client.pem"), in_certs("client.key") };
	struct dialed none = { 0 }, with = { 0 };

	given_server("localhost", NP_OPTS(np_tls_opts, .verify = NP_TLS_VERIFY_REQUIRED,
					  .ca_file = in_certs("ca.pem")));
	given_client(NULL);
	ck_assert_int_eq(dialed(&none), -NP_ETLS); /* TLS 1.3: behind its handshake */
	ck_assert_int_eq(saw.requests, 0);
	np_tls_free(&client_tls);
	given_client(NP_OPTS(np_tls_opts, .certs = &own, .n_certs = 1));
	ck_assert_int_eq(dialed(&with), 0);
	ck_assert_str_eq(saw.peer, "CN=client");
	ck_assert(saw.verified);
	ck_assert_uint_eq(tls_stats_of(server_tls).refused, 1);
	over();
}
END_TEST

/* ------------------------------------------------------------------ what goes on */

START_TEST(the_next_connection_goes_on_with_the_session)
{
	struct dialed first = { .host = "localhost" }, second = { .host = "localhost" },
		      other = { 0 };

	given_server("localhost", NULL);
	given_client(NULL);
	ck_assert_int_eq(dialed(&first), 0);
	ck_assert(!first.resumed);
	ck_assert_int_eq(dialed(&second), 0);
	ck_assert(second.resumed);
	ck_assert_int_eq(dialed(&other), 0); /* another name is another session */
	ck_assert(!other.resumed);
	ck_assert_uint_eq(tls_stats_of(server_tls).resumed, 1);
	over();
}
END_TEST

START_TEST(a_server_that_says_nothing_is_given_up_in_time)
{
	char at[64];
	int mute = peer_listen(at, sizeof at);
	struct dialed d = { .address = at, .host = "localhost", .timeout_ms = 50 };

	given_server("localhost", NULL);
	given_client(NULL);
	ck_assert_int_eq(dialed(&d), -NP_EDIALTIMEOUT);
	over();
	close(mute);
}
END_TEST

static int by_pool(void *arg)
{
	struct np_pool *pool = arg;
	struct np_conn *c;
	const void *p;
	int r = 0;

	for (int i = 0; i < 3 && r == 0; i++) {
		r = np_pool_get(pool, &c);
		if (r < 0)
			return r;
		r = np_conn_write(c, "pool", 4);
		if (r == 0)
			r = np_conn_sync(c);
		if (r == 0)
			r = np_conn_next(c, 4, &p);
		if (r == 0)
			np_pool_put(pool, &c);
		else
			np_pool_drop(pool, &c);
	}
	return r;
}

START_TEST(a_pool_uses_its_connections_again)
{
	struct np_pool_stats st = { .sz = sizeof st };
	struct np_pool *pool;

	given_server("localhost", NULL);
	given_client(NULL);
	ck_assert_int_eq(
		np_pool_new(pollers, "tcp", address,
			    NP_OPTS(np_pool_opts, .tls = client_tls, .tls_host = "localhost"),
			    &pool),
		0);
	ck_assert_int_eq(np_run(pollers, by_pool, pool), 0);
	ck_assert_int_eq(np_pool_stats(pool, &st), 0);
	ck_assert_uint_eq(st.dials, 1);
	ck_assert_uint_eq(st.reused, 2);
	ck_assert_int_eq(np_pool_free(&pool), 0);
	over();
}
END_TEST

static int without_host(void *arg)
{
	struct np_conn *c;

	return np_dial(NULL, NP_HERE, "unix", arg, NP_OPTS(np_dial_opts, .tls = client_tls), &c);
}

START_TEST(nobody_in_particular_cannot_be_verified)
{
	char path[256];

	snprintf(path, sizeof path, "%s/sock", certs_dir);
	given_server("localhost", NULL);
	given_client(NULL);
	ck_assert_int_eq(np_server_stop(serve_server, AWAIT_MS, NULL), 0);
	ck_assert_int_eq(np_server_free(&serve_server), 0);
	ck_assert_int_eq(np_server_new(pollers, &echoes, NULL,
				       NP_OPTS(np_server_opts, .tls = server_tls, .drain_ms = 1,
					       .fresh_ms = 1),
				       &serve_server),
			 0);
	ck_assert_int_eq(np_server_listen(serve_server, "unix", path), 0);
	ck_assert_int_eq(np_server_start(serve_server), 0);
	ck_assert_int_eq(np_run(pollers, without_host, path), -EINVAL);
	over();
}
END_TEST

static void setup(void)
{
	certs_setup();
	make_cert("other", EC, "DNS:example.com", "-days 30");
	make_cert("client", EC, "DNS:client", "-days 30");
	must_sh("cd %s && openssl req -x509 -newkey " EC
		" -nodes -keyout stranger.key -out stranger.pem -days 30 -subj /CN=stranger 2>/dev/null",
		certs_dir);
	/* x509 has no dates in this OpenSSL but by days: ca has. */
	must_sh("cd %s && touch index.txt && echo 01 > serial && printf '[ca]\\ndefault_ca=d\\n[d]\\n"
		"database=index.txt\\nserial=serial\\nnew_certs_dir=.\\ndefault_md=sha256\\npolicy=p\\n"
		"unique_subject=no\\n[p]\\ncommonName=supplied\\n[x]\\nsubjectAltName=DNS:localhost\\n' > "
		"ca.cnf && for t in expired:20200101000000Z:20210101000000Z "
		"tomorrow:20900101000000Z:20910101000000Z; do IFS=: read -r n from to <<EOF\n$t\nEOF\n"
		"openssl req -new -newkey " EC
		" -nodes -keyout $n.key -out $n.csr -subj /CN=localhost 2>/dev/null && openssl ca -batch "
		"-config ca.cnf -extensions x -cert ca.pem -keyfile ca.key -in $n.csr -out $n.pem -startdate "
		"$from -enddate $to -notext 2>/dev/null; done",
		certs_dir);
}

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "tls_client");

	tcase_add_unchecked_fixture(t, setup, certs_teardown);
	tcase_add_test(t, the_right_name_or_address_is_believed);
	tcase_add_test(t, a_certificate_for_somebody_else_is_refused);
	tcase_add_loop_test(t, an_expired_certificate_and_one_of_tomorrow_are_refused, 0, 2);
	tcase_add_test(t, an_unknown_authority_is_refused_unless_nobody_is_asked_for);
	tcase_add_test(t, a_server_that_asks_for_a_certificate_gets_one_or_refuses);
	tcase_add_test(t, the_next_connection_goes_on_with_the_session);
	tcase_add_test(t, a_server_that_says_nothing_is_given_up_in_time);
	tcase_add_test(t, a_pool_uses_its_connections_again);
	tcase_add_test(t, nobody_in_particular_cannot_be_verified);
}

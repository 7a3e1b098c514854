/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * load_tls: a client with TLS that says what its server's CPU time was
 *
 *   load_tls echo ADDR:PORT CONNS BYTES REQUESTS SERVER_PID [MS]
 *   load_tls shake ADDR:PORT 1.2|1.3 full|resumed COUNT SERVER_PID [MS]
 *
 * echo: on CONNS connections one frame of BYTES each is sent, then all answers are read, until
 * REQUESTS have come; a tenth more before that is the warm-up. shake: COUNT connections one after
 * the other, each a handshake and close_notify, full or going on with the ticket of the one before.
 * With MS both end after so many milliseconds, and a fifth of that for the warm-up, whichever comes
 * first. Both print "COUNT server_cpu_ns". The server's CPU time is as in load.c.
 */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>

#include "client.h"

static void fail(const char *what)
{
	fprintf(stderr, "load_tls: %s\n", what);
	ERR_print_errors_fp(stderr);
	exit(1);
}

static SSL *dial(SSL_CTX *ctx, const struct sockaddr_in *sa, SSL_SESSION *session)
{
	SSL *ssl = SSL_new(ctx);

	if (!ssl || !SSL_set_fd(ssl, client_dial(sa)))
		fail("SSL_new");
	session = session ? SSL_SESSION_dup(session) : NULL; /* this one is spoilt by its end */
	if (session)
		SSL_set_session(ssl, session);
	SSL_SESSION_free(session);
	if (SSL_connect(ssl) != 1)
		fail("no handshake");
	return ssl;
}

static void hang_up(SSL *ssl)
{
	int fd = SSL_get_fd(ssl);

	SSL_free(ssl);
	close(fd);
}

/* So many of something, or so long. */
struct stint {
	uint64_t most, done, until_ns;
};

static struct stint stint(uint64_t most, uint64_t ms)
{
	return (struct stint){ .most = most,
			       .until_ns = ms ? client_now_ns() + ms * 1000000 : UINT64_MAX };
}

static bool stint_goes_on(const struct stint *s)
{
	return s->done < s->most && client_now_ns() < s->until_ns;
}

/* ------------------------------------------------------------------ echo */

static void round_trip(SSL **ssl, unsigned conns, const char *frame, char *in, int n)
{
	for (unsigned i = 0; i < conns; i++)
		if (SSL_write(ssl[i], frame, n) != n)
			fail("SSL_write");
	for (unsigned i = 0; i < conns; i++) {
		for (int at = 0, r; at < n; at += r)
			if ((r = SSL_read(ssl[i], in + at, n - at)) <= 0)
				fail("SSL_read");
		if (memcmp(in, frame, (size_t)n))
			fail("an answer differs from its request");
	}
}

static void echo(SSL_CTX *ctx, char **argv)
{
	struct sockaddr_in sa = client_address(argv[2]);
	unsigned conns = (unsigned)atoi(argv[3]);
	uint32_t size = (uint32_t)atoi(argv[4]);
	uint64_t total = strtoull(argv[5], NULL, 10), before;
	uint64_t ms = argv[7] ? strtoull(argv[7], NULL, 10) : 0;
	int pid = atoi(argv[6]);
	struct stint s;
	char *frame = client_frames(1, size), *in = malloc(size + 4);
	SSL **ssl = calloc(conns, sizeof *ssl);

	if (!in || !ssl || !conns)
		fail("memory");
	for (unsigned i = 0; i < conns; i++)
		ssl[i] = dial(ctx, &sa, NULL);
	for (s = stint(total / 10, ms / 5); stint_goes_on(&s); s.done += conns)
		round_trip(ssl, conns, frame, in, (int)size + 4);
	before = client_cpu_ns(pid);
	for (s = stint(total, ms); stint_goes_on(&s); s.done += conns)
		round_trip(ssl, conns, frame, in, (int)size + 4);
	printf("%llu %llu\n", (unsigned long long)s.done,
	       (unsigned long long)(client_cpu_ns(pid) - before));
	for (unsigned i = 0; i < conns; i++)
		hang_up(ssl[i]);
	free(ssl);
	free(in);
	free(frame);
}

/* ------------------------------------------------------------------ handshakes */

static SSL_SESSION *ticket;

/*
 * TLS 1.3 sends tickets behind the handshake. A copy: OpenSSL spoils the session of a connection
 * that its server ends without close_notify, as nginx does.
 */
static int take_ticket(SSL *ssl, SSL_SESSION *session)
{
	SSL_SESSION_free(ticket);
	ticket = SSL_SESSION_dup(session);
	return 0;
}

static void shake_once(SSL_CTX *ctx, const struct sockaddr_in *sa, bool resumed)
{
	char rest[64];
	bool has_ticket = resumed && ticket;
	SSL *ssl = dial(ctx, sa, has_ticket ? ticket : NULL);

	if (has_ticket && !SSL_session_reused(ssl))
		fail("the server has not taken the ticket");
	if (SSL_version(ssl) == TLS1_3_VERSION && !SSL_session_reused(ssl))
		SSL_read(ssl, rest, sizeof rest); /* one record, a ticket */
	SSL_shutdown(ssl);
	while (recv(SSL_get_fd(ssl), rest, sizeof rest, 0) > 0)
		; /* bytes that nobody has read would make close(2) a reset */
	hang_up(ssl);
}

static void shake(SSL_CTX *ctx, char **argv)
{
	struct sockaddr_in sa = client_address(argv[2]);
	int version = strcmp(argv[3], "1.2") ? TLS1_3_VERSION : TLS1_2_VERSION;
	bool resumed = strcmp(argv[4], "full") != 0;
	unsigned n = (unsigned)atoi(argv[5]);
	int pid = atoi(argv[6]);
	uint64_t ms = argv[7] ? strtoull(argv[7], NULL, 10) : 0, before;
	struct stint s;

	SSL_CTX_set_min_proto_version(ctx, version);
	SSL_CTX_set_max_proto_version(ctx, version);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_clear_mode(ctx, SSL_MODE_AUTO_RETRY);
	SSL_CTX_sess_set_new_cb(ctx, take_ticket);
	for (s = stint(n / 10 + 1, ms / 5); stint_goes_on(&s); s.done++)
		shake_once(ctx, &sa, resumed);
	if (resumed && !ticket)
		fail("the server sends no ticket");
	before = client_cpu_ns(pid);
	for (s = stint(n, ms); stint_goes_on(&s); s.done++)
		shake_once(ctx, &sa, resumed);
	printf("%llu %llu\n", (unsigned long long)s.done,
	       (unsigned long long)(client_cpu_ns(pid) - before));
	SSL_SESSION_free(ticket);
}

int main(int argc, char **argv)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	signal(SIGPIPE, SIG_IGN);
	if (!ctx)
		fail("SSL_CTX_new");
	SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM");
	if ((argc == 7 || argc == 8) && !strcmp(argv[1], "echo")) {
		echo(ctx, argv);
	} else if ((argc == 7 || argc == 8) && !strcmp(argv[1], "shake")) {
		shake(ctx, argv);
	} else {
		fprintf(stderr,
			"usage: load_tls echo ADDR:PORT CONNS BYTES REQUESTS SERVER_PID [MS]\n"
			"       load_tls shake ADDR:PORT 1.2|1.3 full|resumed COUNT SERVER_PID [MS]\n");
		return 2;
	}
	SSL_CTX_free(ctx);
	return 0;
}

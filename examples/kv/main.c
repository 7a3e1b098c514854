/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kv: a key-value server that speaks to Redis' clients, with the keys divided among its pollers
 *
 *   kv --listen 127.0.0.1:6379 --listen unix:/run/kv.sock --maxmemory 1073741824
 *
 * doc/kv.md says which commands there are and what is otherwise than in Redis.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "command.h"
#include "examples/service/service.h"
#include "hash.h"
#include "shard.h"

#define ADDRESSES  16
#define INPUT_MAX  (1u << 30) /* of one command */
/* Clients send a whole pipeline before they read: it is taken though its answers are not. */
#define INPUT_HIGH (64u << 20)
#define OUTPUT_MAX (32u << 20)

struct options {
	const char *listen[ADDRESSES];
	int n_listen;
	size_t maxmemory;
	struct np_pollers_opts pollers;
	struct np_server_opts server;
};

static void usage(FILE *f)
{
	fprintf(f,
		"usage: kv --listen ADDR:PORT|unix:PATH [--listen ...] [--pollers N]\n"
		"          [--maxmemory BYTES] [--output-max BYTES] [--clients-memory BYTES]\n"
		"          [--max-clients N] [--steer auto|required|off]\n"
		"  --listen          127.0.0.1:6379, [::1]:6379, :6379 (both), unix:/path, unix:@abstract\n"
		"  --pollers         threads; default: the CPUs this process may use\n"
		"  --maxmemory       of keys and values; beyond it commands that add are refused; no limit\n"
		"  --output-max      what may wait for a subscriber that does not read; 33554432\n"
		"  --clients-memory  of all that clients have sent or not read yet; no limit\n"
		"  --max-clients     no limit\n");
}

static int bad(const char *what, const char *value)
{
	fprintf(stderr, "kv: %s '%s'; see kv --help\n", what, value);
	return -1;
}

static int number(const char *text, unsigned long long min, unsigned long long max, size_t *ret)
{
	unsigned long long n;
	char *end;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (end == text || *end || *text == '-' || errno || n < min || n > max)
		return bad("not a number that this option takes:", text);
	*ret = (size_t)n;
	return 0;
}

static int steer(const char *text, enum np_steer_mode *ret)
{
	static const char *const names[] = { "auto", "required", "off" };

	for (int i = 0; i < 3; i++)
		if (!strcmp(text, names[i])) {
			*ret = (enum np_steer_mode)i;
			return 0;
		}
	return bad("--steer is auto, required or off, not", text);
}

static int take(struct options *o, int ch)
{
	size_t n = 0;
	int r;

	switch (ch) {
	case 'l':
		if (o->n_listen == ADDRESSES)
			return bad("too many addresses at", optarg);
		o->listen[o->n_listen++] = optarg;
		return 0;
	case 'n':
		r = number(optarg, 1, INT_MAX, &n);
		o->pollers.count = (int)n;
		return r;
	case 'm':
		return number(optarg, 0, SIZE_MAX, &o->maxmemory);
	case 'o':
		return number(optarg, 1, INT_MAX, &o->server.limits.send_high);
	case 'c':
		return number(optarg, 1u << 20, SIZE_MAX, &o->server.memory_max);
	case 'C':
		r = number(optarg, 1, INT_MAX, &n);
		o->server.max_conns = (int)n;
		return r;
	case 's':
		return steer(optarg, &o->server.steer);
	case 'h':
		usage(stdout);
		exit(EXIT_SUCCESS);
	default:
		usage(stderr);
		return -1;
	}
}

static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "listen", required_argument, NULL, 'l' },
		{ "pollers", required_argument, NULL, 'n' },
		{ "maxmemory", required_argument, NULL, 'm' },
		{ "output-max", required_argument, NULL, 'o' },
		{ "clients-memory", required_argument, NULL, 'c' },
		{ "max-clients", required_argument, NULL, 'C' },
		{ "steer", required_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int ch;

	np_pollers_opts_init(&o->pollers);
	np_server_opts_init(&o->server);
	o->server.limits.in_max = INPUT_MAX;
	o->server.limits.in_high = INPUT_HIGH;
	o->server.limits.send_high = OUTPUT_MAX;
	while ((ch = getopt_long(argc, argv, "", longs, NULL)) != -1)
		if (take(o, ch) < 0)
			return -1;
	if (!o->n_listen || optind < argc) {
		usage(stderr);
		return -1;
	}
	return 0;
}

static int listen_all(struct np_server *s, const struct options *o)
{
	for (int i = 0; i < o->n_listen; i++) {
		const char *a = o->listen[i];
		bool is_unix = !strncmp(a, "unix:", 5);
		int r = np_server_listen(s, is_unix ? "unix" : "tcp", is_unix ? a + 5 : a);

		if (r < 0)
			return r;
	}
	return 0;
}

/* One line, printed when connections are being served: scripts wait for it. */
static void announce(struct np_server *s)
{
	struct sockaddr_storage ss;
	socklen_t len;

	printf("listening on");
	for (int i = 0; np_server_addr(s, i, &ss, &len) == 0; i++)
		if (ss.ss_family == AF_INET || ss.ss_family == AF_INET6)
			printf(" port %d", ntohs(((struct sockaddr_in *)&ss)->sin_port));
		else
			printf(" unix");
	printf(" pollers=%d\n", shards.n);
	fflush(stdout);
}

/* INFO's: before the first client comes. */
static void note_port(struct np_server *s)
{
	struct sockaddr_storage ss;
	socklen_t len;

	for (int i = 0; np_server_addr(s, i, &ss, &len) == 0; i++)
		if (!shards.port && (ss.ss_family == AF_INET || ss.ss_family == AF_INET6))
			shards.port = ntohs(((struct sockaddr_in *)&ss)->sin_port);
}

static int serve(struct np_server *s, const struct options *o, char **argv)
{
	int r = listen_all(s, o);

	note_port(s);
	if (r == 0)
		r = np_server_start(s);
	if (r < 0) {
		fprintf(stderr, "kv: %s\n",
			np_server_error(s)[0] ? np_server_error(s) : np_strerror(r));
		return EXIT_FAILURE;
	}
	announce(s);
	return service_run(s, argv);
}

static int prepare(struct options *o, struct np_pollers **ret_p, struct np_server **ret_s)
{
	int r = hash_init();

	command_init();
	if (r == 0)
		r = np_pollers_start(&o->pollers, ret_p);
	if (r == 0)
		r = shards_open(*ret_p, o->maxmemory);
	if (r == 0)
		r = np_server_new(*ret_p, &client_handlers, NULL, &o->server, ret_s);
	return r;
}

int main(int argc, char **argv)
{
	struct np_pollers *pollers = NULL;
	struct np_server *server = NULL;
	static struct options o;
	int code = EXIT_FAILURE, r;

	if (parse(argc, argv, &o) < 0)
		return 2;
	/* Blocked before the pollers start, so that they inherit it and sigwait() gets them. */
	service_prepare();

	r = prepare(&o, &pollers, &server);
	if (r < 0)
		fprintf(stderr, "kv: cannot start: %s\n", np_strerror(r));
	else
		code = serve(server, &o, argv);
	np_server_free(&server);
	if (pollers) {
		np_pollers_stop(pollers, SERVICE_STOP_MS);
		np_pollers_free(&pollers);
	}
	shards_close();
	return code;
}

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
#include "examples/service/addresses.h"
#include "examples/service/arguments.h"
#include "examples/service/service.h"
#include "hash.h"
#include "shard.h"

#define INPUT_MAX  (1u << 30) /* of one command */
/* Clients send a whole pipeline before they read: it is taken though its answers are not. */
#define INPUT_HIGH (64u << 20)
#define OUTPUT_MAX (32u << 20)

struct options {
	struct addresses listen;
	size_t maxmemory;
	struct np_pollers_opts pollers;
	struct np_server_opts server;
};

static void usage(FILE *f)
{
	fprintf(f,
		"usage: kv --listen ADDR:PORT|unix:PATH [--listen ...] [--pollers N]\n"
		"          [--maxmemory BYTES] [--output-max BYTES] [--clients-memory BYTES]\n"
		"          [--max-clients N] [--stop-ms MS] [--steer auto|required|off]\n"
		"  --listen          127.0.0.1:6379, [::1]:6379, :6379 (both), unix:/path, unix:@abstract\n"
		"  --pollers         threads; default: the CPUs this process may use\n"
		"  --maxmemory       of keys and values; beyond it commands that add are refused; no limit\n"
		"  --output-max      what may wait for a subscriber that does not read; 33554432\n"
		"  --clients-memory  of all that clients have sent or not read yet; no limit\n"
		"  --max-clients     no limit\n"
		"  --stop-ms         how long the end may take; 10000; -1: until the last client has left\n");
}

static int bytes(const char *option, long long least, size_t *ret)
{
	long long n;
	int r = argument_number(option, optarg, least, LLONG_MAX, &n);

	if (r == 0)
		*ret = (size_t)n;
	return r;
}

static int take(void *arg, int ch)
{
	struct options *o = arg;

	switch (ch) {
	case 'l':
		return addresses_add(&o->listen, optarg);
	case 'n':
		return argument_int("--pollers", optarg, 1, &o->pollers.count);
	case 'm':
		return bytes("--maxmemory", 0, &o->maxmemory);
	case 'o':
		return bytes("--output-max", 1, &o->server.limits.send_high);
	case 'c':
		return bytes("--clients-memory", 1 << 20, &o->server.memory_max);
	case 'C':
		return argument_int("--max-clients", optarg, 1, &o->server.max_conns);
	case 's':
		return argument_steer(optarg, &o->server.steer);
	case 'x':
		return service_set_stop_ms(optarg);
	}
	return -1;
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
		{ "stop-ms", required_argument, NULL, 'x' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	static const struct arguments arguments = { longs, take, usage };

	np_pollers_opts_init(&o->pollers);
	np_server_opts_init(&o->server);
	o->server.limits.in_max = INPUT_MAX;
	o->server.limits.in_high = INPUT_HIGH;
	o->server.limits.send_high = OUTPUT_MAX;
	if (arguments_take(&arguments, argc, argv, o) < 0)
		return -1;
	if (!o->listen.n || optind < argc) {
		usage(stderr);
		return -1;
	}
	return 0;
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
	if (addresses_listen(&o->listen, s) < 0)
		return EXIT_FAILURE;
	note_port(s);
	return service_serve(s, argv);
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
		np_pollers_stop(pollers, service_stop_ms());
		np_pollers_free(&pollers);
	}
	shards_close();
	return code;
}

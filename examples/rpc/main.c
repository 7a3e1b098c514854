/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rpc: calls in frames: a server, a gateway that asks several of them at once, and a client
 *
 *   rpc serve --listen 127.0.0.1:7001
 *   rpc fanout --listen 127.0.0.1:7000 --to 127.0.0.1:7001 --to 127.0.0.1:7002 --deadline-ms 50
 *   rpc call --to 127.0.0.1:7001 --count 1000 --callers 100 --size 64
 */
#include <arpa/inet.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "examples/service/arguments.h"
#include "examples/service/service.h"
#include "rpc.h"

static void usage(FILE *f)
{
	fprintf(f,
		"usage: rpc serve --listen ADDR:PORT [--pollers N] [--slow-ms MS] [--stop-ms MS]\n"
		"       rpc fanout --listen ADDR:PORT --to ADDR:PORT [--to ...] [--deadline-ms MS] [--pollers N]\n"
		"                  [--stop-ms MS]\n"
		"       rpc call --to ADDR:PORT [--count N] [--callers N] [--size BYTES] [--deadline-ms MS]\n"
		"  a frame is its payload's length in 4 bytes, big-endian, and the payload; what is called\n"
		"  and answered begins with the number of the call, 8 bytes\n"
		"  --slow-ms      for a body that begins with \"slow\"; 1000\n"
		"  --deadline-ms  for a call and its answers; 100\n"
		"  --stop-ms      how long the end may take; 10000; -1: until the last connection has ended\n");
}

static int take(void *arg, int ch)
{
	struct rpc_opts *o = arg;

	switch (ch) {
	case 'l':
		return addresses_add(&o->listen, optarg);
	case 't':
		if (o->n_backends == RPC_BACKENDS) {
			fprintf(stderr, "rpc: %d servers at most\n", RPC_BACKENDS);
			return -1;
		}
		o->backend[o->n_backends++] = optarg;
		return 0;
	case 'p':
		return argument_int("--pollers", optarg, 1, &o->pollers);
	case 's':
		return argument_int("--slow-ms", optarg, 0, &o->slow_ms);
	case 'd':
		return argument_int("--deadline-ms", optarg, 1, &o->deadline_ms);
	case 'c':
		return argument_int("--count", optarg, 1, &o->count);
	case 'k':
		return argument_int("--callers", optarg, 1, &o->callers);
	case 'z':
		return argument_int("--size", optarg, 0, &o->size);
	case 'x':
		return service_set_stop_ms(optarg);
	}
	return -1;
}

static int parse(int argc, char **argv, struct rpc_opts *o)
{
	static const struct option longs[] = {
		{ "listen", required_argument, NULL, 'l' },
		{ "to", required_argument, NULL, 't' },
		{ "pollers", required_argument, NULL, 'p' },
		{ "slow-ms", required_argument, NULL, 's' },
		{ "deadline-ms", required_argument, NULL, 'd' },
		{ "count", required_argument, NULL, 'c' },
		{ "callers", required_argument, NULL, 'k' },
		{ "size", required_argument, NULL, 'z' },
		{ "stop-ms", required_argument, NULL, 'x' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	static const struct arguments arguments = { longs, take, usage };

	if (arguments_take(&arguments, argc, argv, o) < 0)
		return -1;
	return 0;
}

int rpc_pollers(const struct rpc_opts *o, struct np_pollers **ret)
{
	const struct np_pollers_opts po = { .sz = sizeof po, .count = o->pollers };

	*ret = NULL;
	return np_pollers_start(&po, ret);
}

void rpc_end(struct np_pollers **p)
{
	if (!*p)
		return;
	np_pollers_stop(*p, service_stop_ms());
	np_pollers_free(p);
}

int rpc_serve(const struct rpc_opts *o, struct np_pollers *p, const struct np_handlers *h,
	      void *arg, char **argv)
{
	struct np_server *s = NULL;
	int r = np_server_new(p, h, arg, NULL, &s), code = EXIT_FAILURE;

	if (r < 0)
		fprintf(stderr, "rpc: cannot start: %s\n", np_strerror(r));
	else if (addresses_listen(&o->listen, s) == 0)
		code = service_serve(s, argv);
	np_server_free(&s);
	return code;
}

int main(int argc, char **argv)
{
	static struct rpc_opts o = {
		.slow_ms = 1000, .deadline_ms = 100, .count = 1000, .callers = 10, .size = 64
	};
	const char *what = argc > 1 ? argv[1] : "";

	if (!strcmp(what, "--help")) {
		usage(stdout);
		return EXIT_SUCCESS;
	}
	if (argc < 2 || parse(argc - 1, argv + 1, &o) < 0)
		return argc < 2 ? (usage(stderr), 2) : 2;
	/* Blocked before the pollers start, so that they inherit it and sigwait() gets them. */
	service_prepare();
	if (!strcmp(what, "serve") && o.listen.n)
		return serve_main(&o, argv);
	if (!strcmp(what, "fanout") && o.listen.n && o.n_backends)
		return fanout_main(&o, argv);
	if (!strcmp(what, "call") && o.n_backends == 1)
		return call_main(&o);
	usage(stderr);
	return 2;
}

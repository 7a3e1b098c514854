/* SPDX-License-Identifier: BSD-2-Clause */
/* options: a wrong one is named, and none is guessed. */
#include "options.h"

#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "examples/service/arguments.h"
#include "examples/service/service.h"

static void usage(FILE *f)
{
	fprintf(f,
		"usage: http --listen ADDR:PORT|unix:PATH [--listen ...] [--folder DIR] [--log FILE|-]\n"
		"            [--keep-ms MS] [--metrics] [--may-block] [--head-ms MS] [--request-ms MS]\n"
		"            [--idle-ms MS] [--body-max BYTES]\n"
		"            [--max-conns N] [--pollers N] [--steer auto|required|off] [--service NAME]\n"
		"            [--policy NAME] [--stop-ms MS] [--tls CERT,KEY ... [--offload-us US]]\n"
		"  --listen      may be left out where systemd hands sockets over (LISTEN_FDS)\n"
		"  --folder      what is served; nothing outside it, no symbolic links, no dot files\n"
		"  --keep-ms     a file that was sent stays open for so long; 1000; 0: not at all\n"
		"  --log         a line for each answer; - is standard output\n"
		"  --metrics     /metrics tells what was counted, for Prometheus\n"
		"  --may-block   a disk that is slow does not keep the poller (doc/threads.md)\n"
		"  --head-ms     for the head of a request, from its first byte on; 10000; -1: no limit\n"
		"  --request-ms  for its body, from there on; 300000; -1: no limit\n"
		"  --idle-ms     for a client that does nothing: sends, takes or asks for; 60000; -1: no limit\n"
		"  --body-max    bytes of a body; 67108864\n"
		"  --max-conns   connections at once; no limit\n"
		"  --service     join this service, made by 'npsteer load NAME'\n"
		"  --policy      how the kernel chooses a poller for a new connection (see npsteer(8))\n"
		"  --stop-ms     how long the end may take; 10000; -1: until the last connection has ended\n"
		"  --tls         https on all addresses, with this certificate and key (PEM files);\n"
		"                several, for several names\n"
		"  --offload-us  a handshake that signs for longer goes to a worker thread; 1000; -1: none\n");
}

/* Milliseconds; -1: no limit. */
static int limit(const char *option, int *ret)
{
	long long n;

	if (argument_number(option, optarg, -1, INT_MAX, &n) < 0)
		return -1;
	if (n == 0)
		return argument_bad("no time at all:", option);
	*ret = (int)n;
	return 0;
}

static int take_body_max(struct options *o)
{
	long long n;
	int r = argument_number("--body-max", optarg, 0, LLONG_MAX, &n);

	if (r == 0)
		o->site.body_max = (uint64_t)n;
	return r;
}

static int take_idle(struct options *o)
{
	struct np_server_opts *s = &o->server;
	int r = limit("--idle-ms", &s->idle_timeout_ms);

	s->read_timeout_ms = s->write_timeout_ms = s->idle_timeout_ms;
	return r;
}

static int take(void *arg, int ch)
{
	struct options *o = arg;

	switch (ch) {
	case 'l':
		return addresses_add(&o->listen, optarg);
	case 'f':
		o->folder = optarg;
		return 0;
	case 'k':
		return argument_int("--keep-ms", optarg, 0, &o->site.files.keep_ms);
	case 'L':
		o->log = optarg;
		return 0;
	case 'm':
		o->site.metrics = o->pollers.metrics = true;
		return 0;
	case 'B':
		o->may_block = true;
		return 0;
	case 'H':
		return limit("--head-ms", &o->site.head_ms);
	case 'r':
		return limit("--request-ms", &o->site.request_ms);
	case 'i':
		return take_idle(o);
	case 'b':
		return take_body_max(o);
	case 'M':
		return argument_int("--max-conns", optarg, 1, &o->server.max_conns);
	case 'n':
		return argument_int("--pollers", optarg, 1, &o->pollers.count);
	case 's':
		return argument_steer(optarg, &o->server.steer);
	case 'S':
		o->server.service = optarg;
		return 0;
	case 'p':
		o->server.policy = optarg;
		return 0;
	case 't':
		return certs_add(&o->certs, optarg);
	case 'u':
		return argument_int("--offload-us", optarg, -1, &o->certs.offload_us);
	case 'x':
		return service_set_stop_ms(optarg);
	}
	return -1;
}

static void set_defaults(struct options *o)
{
	memset(o, 0, sizeof *o);
	np_pollers_opts_init(&o->pollers);
	np_server_opts_init(&o->server);
	o->server.idle_timeout_ms = o->server.read_timeout_ms = o->server.write_timeout_ms = 60000;
	o->site.head_ms = 10000;
	o->site.request_ms = 300000;
	o->site.body_max = 64u << 20;
	o->site.files.keep_ms = 1000;
	o->site.files.folder = o->site.files.descriptors = -1;
}

int options_parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "listen", required_argument, NULL, 'l' },
		{ "folder", required_argument, NULL, 'f' },
		{ "keep-ms", required_argument, NULL, 'k' },
		{ "log", required_argument, NULL, 'L' },
		{ "metrics", no_argument, NULL, 'm' },
		{ "may-block", no_argument, NULL, 'B' },
		{ "head-ms", required_argument, NULL, 'H' },
		{ "request-ms", required_argument, NULL, 'r' },
		{ "idle-ms", required_argument, NULL, 'i' },
		{ "body-max", required_argument, NULL, 'b' },
		{ "max-conns", required_argument, NULL, 'M' },
		{ "pollers", required_argument, NULL, 'n' },
		{ "steer", required_argument, NULL, 's' },
		{ "service", required_argument, NULL, 'S' },
		{ "policy", required_argument, NULL, 'p' },
		{ "tls", required_argument, NULL, 't' },
		{ "offload-us", required_argument, NULL, 'u' },
		{ "stop-ms", required_argument, NULL, 'x' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	static const struct arguments arguments = { longs, take, usage };

	set_defaults(o);
	if (arguments_take(&arguments, argc, argv, o) < 0)
		return -1;
	if (optind < argc)
		return argument_bad("no option:", argv[optind]);
	return 0;
}

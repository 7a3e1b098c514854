/* SPDX-License-Identifier: BSD-2-Clause */
/* options: a wrong one is named, and none is guessed. */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void usage(FILE *f)
{
	fprintf(f,
		"usage: http --listen ADDR:PORT|unix:PATH [--listen ...] [--folder DIR] [--log FILE|-]\n"
		"            [--metrics] [--may-block] [--head-ms MS] [--request-ms MS] [--idle-ms MS] [--body-max BYTES]\n"
		"            [--max-conns N] [--pollers N] [--steer auto|required|off] [--service NAME]\n"
		"            [--policy NAME] [--tls CERT,KEY ...]\n"
		"  --listen      may be left out where systemd hands sockets over (LISTEN_FDS)\n"
		"  --folder      what is served; nothing outside it, no symbolic links, no dot files\n"
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
		"  --tls         https on all addresses, with this certificate and key (PEM files);\n"
		"                several, for several names\n");
}

static int bad(const char *what, const char *value)
{
	fprintf(stderr, "http: %s '%s'; see http --help\n", what, value);
	return -1;
}

static int number(const char *option, long long least, long long most, long long *ret)
{
	char *end;
	long long n;

	errno = 0;
	n = strtoll(optarg, &end, 10);
	if (errno || end == optarg || *end || n < least || n > most) {
		fprintf(stderr, "http: %s takes a number from %lld on, not '%s'; see http --help\n",
			option, least, optarg);
		return -1;
	}
	*ret = n;
	return 0;
}

/* Milliseconds; -1: no limit. */
static int limit(const char *option, int *ret)
{
	long long n;

	if (number(option, -1, INT_MAX, &n) < 0)
		return -1;
	if (n == 0)
		return bad("no time at all: ", option);
	*ret = (int)n;
	return 0;
}

static int count(const char *option, int *ret)
{
	long long n;
	int r = number(option, 1, INT_MAX, &n);

	if (r == 0)
		*ret = (int)n;
	return r;
}

static int take_steer(struct options *o)
{
	static const char *const names[] = { "auto", "required", "off" };

	for (int i = 0; i < 3; i++)
		if (!strcmp(optarg, names[i]))
			return o->server.steer = (enum np_steer_mode)i, 0;
	return bad("--steer is auto, required or off, not", optarg);
}

static int take_listen(struct options *o)
{
	if (o->n_listen == ADDRESSES)
		return bad("too many addresses at", optarg);
	o->listen[o->n_listen++] = optarg;
	return 0;
}

static int take_tls(struct options *o)
{
	if (certs_add(&o->certs, optarg) < 0)
		return bad("not CERT,KEY, or too many of them:", optarg);
	return 0;
}

static int take_body_max(struct options *o)
{
	long long n;
	int r = number("--body-max", 0, LLONG_MAX, &n);

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

static int take(struct options *o, int ch)
{
	switch (ch) {
	case 'l':
		return take_listen(o);
	case 'f':
		o->folder = optarg;
		return 0;
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
		return count("--max-conns", &o->server.max_conns);
	case 'n':
		return count("--pollers", &o->pollers.count);
	case 's':
		return take_steer(o);
	case 'S':
		o->server.service = optarg;
		return 0;
	case 'p':
		o->server.policy = optarg;
		return 0;
	case 't':
		return take_tls(o);
	case 'h':
		usage(stdout);
		exit(EXIT_SUCCESS);
	default:
		usage(stderr);
		return -1;
	}
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
	o->site.files.folder = o->site.files.descriptors = -1;
}

int options_parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "listen", required_argument, NULL, 'l' },
		{ "folder", required_argument, NULL, 'f' },
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
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int ch;

	set_defaults(o);
	while ((ch = getopt_long(argc, argv, "", longs, NULL)) != -1)
		if (take(o, ch) < 0)
			return -1;
	if (optind < argc)
		return bad("no option:", argv[optind]);
	return 0;
}

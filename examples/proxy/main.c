/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * proxy: a TCP proxy, steered over pinned pollers
 *
 *   proxy --listen :8080 --upstream 10.0.0.1:80 --upstream 10.0.0.2:80 \
 *         --balance least --send-proxy 2
 *   proxy --listen :8443 --tls cert.pem,key.pem --upstream 10.0.0.1:443 --upstream-tls system
 *
 * Both connections of a pair live on one poller. Half-close goes through; a side that reads slowly
 * stops the other one; a reset on one side is one on the other.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netpoll/server.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "examples/certs/certs.h"
#include "examples/service/addresses.h"
#include "examples/service/arguments.h"
#include "examples/service/service.h"
#include "pair.h"

struct options {
	struct addresses listen;
	struct np_pollers_opts pollers;
	struct np_server_opts server;
	struct pair_opts pair;
	struct certs certs;
	const char *upstream_tls;
};

static void usage(FILE *f)
{
	fprintf(f,
		"usage: proxy --listen ADDR:PORT|unix:PATH [--listen ...]\n"
		"             --upstream ADDR:PORT|unix:PATH [--upstream ...] [--balance turn|least]\n"
		"             [--accept-proxy [--proxy-from LIST] [--header-ms MS]]\n"
		"             [--send-proxy 1|2] [--connect-ms MS] [--retry-ms MS] [--idle-ms MS] [--pollers N] [--steer auto|required|off]\n"
		"             [--service NAME] [--policy NAME] [--rebalance MOVES] [--stop-ms MS]\n"
		"             [--tls CERT,KEY ... [--offload-us US]] [--upstream-tls CA|system [--upstream-name HOST]]\n"
		"  --listen        may be left out where systemd hands sockets over (LISTEN_FDS)\n"
		"  --upstream      up to 64; names are resolved for each connection\n"
		"  --balance       in turn (default), or to the one with the fewest connections\n"
		"  --accept-proxy  clients begin with a PROXY header, version 1 or 2\n"
		"  --proxy-from    and come from these only: 10.0.0.0/8, 192.0.2.1, unix; any\n"
		"  --send-proxy    upstream connections begin with one\n"
		"  --header-ms     for the whole of a client's header; 3000\n"
		"  --connect-ms    for an upstream to answer; 5000\n"
		"  --retry-ms      so long one that did not is passed over; 2000\n"
		"  --idle-ms       end a pair on which nothing moves; never\n"
		"  --tls           clients speak TLS; PEM files\n"
		"  --offload-us    a handshake that signs for longer goes to a worker; 1000; -1: none\n"
		"  --upstream-tls  upstream does; who is trusted: a PEM file, or the system's\n"
		"  --upstream-name whose certificate upstream has; the host of its address\n"
		"  --stop-ms       how long the end may take; 10000; -1: until the last pair has ended\n"
		"  --rebalance     so many pairs a second at most go to an idler poller; none\n");
}

static int add_upstream(struct options *o, const char *address)
{
	struct upstreams *u = &o->pair.upstreams;

	if (u->n == UPSTREAMS)
		return argument_bad("too many upstreams at", address);
	u->up[u->n].network = address_network(&address);
	u->up[u->n++].address = address;
	return 0;
}

static int take(void *arg, int ch)
{
	static const char *const balance[] = { "turn", "least" };
	static const char *const versions[] = { "none", "1", "2" };
	struct options *o = arg;

	switch (ch) {
	case 'l':
		return addresses_add(&o->listen, optarg);
	case 'u':
		return add_upstream(o, optarg);
	case 'b':
		return argument_choice("--balance is turn or least, not", optarg, balance, 2,
				       &o->pair.upstreams.by_load);
	case 'a':
		o->server.proxy = NP_PROXY_REQUIRED;
		return 0;
	case 'A':
		o->server.proxy_from = optarg;
		return 0;
	case 'x':
		return argument_choice("--send-proxy is 1 or 2, not", optarg, versions, 3,
				       &o->pair.send_header);
	case 'c':
		return argument_int("--connect-ms", optarg, 1, &o->pair.connect_ms);
	case 'H':
		return argument_int("--header-ms", optarg, 1, &o->server.proxy_header_ms);
	case 'r':
		return argument_int("--retry-ms", optarg, 0, &o->pair.upstreams.retry_ms);
	case 'i':
		return argument_int("--idle-ms", optarg, 1, &o->pair.idle_ms);
	case 'n':
		return argument_int("--pollers", optarg, 1, &o->pollers.count);
	case 's':
		return argument_steer(optarg, &o->server.steer);
	case 'R':
		return argument_int("--rebalance", optarg, 1, &o->server.rebalance);
	case 'S':
		o->server.service = optarg;
		return 0;
	case 'p':
		o->server.policy = optarg;
		return 0;
	case 't':
		return certs_add(&o->certs, optarg);
	case 'O':
		return argument_int("--offload-us", optarg, -1, &o->certs.offload_us);
	case 'T':
		o->upstream_tls = optarg;
		return 0;
	case 'N':
		o->pair.tls_host = optarg;
		return 0;
	case 'X':
		return service_set_stop_ms(optarg);
	}
	return -1;
}

static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "listen", required_argument, NULL, 'l' },
		{ "upstream", required_argument, NULL, 'u' },
		{ "balance", required_argument, NULL, 'b' },
		{ "accept-proxy", no_argument, NULL, 'a' },
		{ "proxy-from", required_argument, NULL, 'A' },
		{ "send-proxy", required_argument, NULL, 'x' },
		{ "connect-ms", required_argument, NULL, 'c' },
		{ "retry-ms", required_argument, NULL, 'r' },
		{ "idle-ms", required_argument, NULL, 'i' },
		{ "pollers", required_argument, NULL, 'n' },
		{ "steer", required_argument, NULL, 's' },
		{ "service", required_argument, NULL, 'S' },
		{ "policy", required_argument, NULL, 'p' },
		{ "header-ms", required_argument, NULL, 'H' },
		{ "rebalance", required_argument, NULL, 'R' },
		{ "tls", required_argument, NULL, 't' },
		{ "offload-us", required_argument, NULL, 'O' },
		{ "upstream-tls", required_argument, NULL, 'T' },
		{ "upstream-name", required_argument, NULL, 'N' },
		{ "stop-ms", required_argument, NULL, 'X' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	static const struct arguments arguments = { longs, take, usage };

	np_pollers_opts_init(&o->pollers);
	np_server_opts_init(&o->server);
	o->pair.connect_ms = 5000;
	o->pair.upstreams.retry_ms = 2000;
	if (arguments_take(&arguments, argc, argv, o) < 0)
		return -1;
	if (!o->pair.upstreams.n || optind < argc) {
		usage(stderr);
		return -1;
	}
	if (o->server.proxy_from && !o->server.proxy)
		return argument_bad("--proxy-from wants --accept-proxy beside it:",
				    o->server.proxy_from);
	if (o->upstream_tls && o->pair.send_header)
		return argument_bad("--send-proxy would be within the TLS of --upstream-tls",
				    o->upstream_tls);
	return 0;
}

static int make_tls(struct options *o)
{
	if (certs_load(&o->certs, NULL, &o->server.tls) < 0)
		return -1;
	return o->upstream_tls ? certs_trust(o->upstream_tls, &o->pair.tls) : 0;
}

int main(int argc, char **argv)
{
	struct np_pollers *pollers = NULL;
	struct np_server *server = NULL;
	static struct options o;
	int code = EXIT_FAILURE, r;

	if (parse(argc, argv, &o) < 0)
		return 2;
	if (make_tls(&o) < 0)
		return EXIT_FAILURE;
	/* Blocked before the pollers start, so that they inherit it and sigwait() gets them. */
	service_prepare();

	r = np_pollers_start(&o.pollers, &pollers);
	if (r == 0)
		r = np_server_new(pollers, &pair_client_handlers, &o.pair, &o.server, &server);
	if (r < 0)
		fprintf(stderr, "proxy: cannot start: %s\n", np_strerror(r));
	else
		code = addresses_take_over(&o.listen, server) < 0 ? EXIT_FAILURE :
								    service_serve(server, argv);
	np_server_free(&server);
	if (pollers) {
		np_pollers_stop(pollers, service_stop_ms());
		np_pollers_free(&pollers);
	}
	certs_free(&o.certs, &o.server.tls);
	certs_free(&o.certs, &o.pair.tls);
	return code;
}
